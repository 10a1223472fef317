/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What concerns more than one key. A contradiction is an error and is never resolved by a guess; what follows from another
 * key where nothing was said is filled in.
 */
#include "config.h"

#include "conf/check.h"

#include "conf/check_backend.h"
#include "conf/check_file.h"
#include "conf/check_locks.h"
#include "conf/check_unique.h"
#include "conf/units.h"

#define QUOTE_SIZE	96

static config_setting_t *
member(config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key);
}

/* A template's name: a letter or digit, then what names have, with one %U at most. */
static const char *
template_name_fault(const char *name)
{
	const char *percent = strchr(name, '%');
	char plain[DEFINITION_NAME_MAX + 1];

	if (percent == name)
		return "a letter or digit before %U";
	if (percent && (percent[1] != 'U' || strchr(percent + 1, '%')))
		return "%U once, and no other %";
	(void)snprintf(plain, sizeof(plain), "%.*s%s", (int)(percent ? percent - name : 128), name,
	    percent ? percent + 2 : "");
	if (!definition_name_valid(plain))
		return "a letter or digit, then letters, digits, dots, underscores, hyphens and one %U";
	return NULL;
}

static void
check_name(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	static const char expected[] = "a letter or digit, then letters, digits, dots, underscores and hyphens";
	const char *fault = NULL;
	char found[QUOTE_SIZE];

	if (!definition->name)
		return;	/* missing or refused already */
	if (definition->is_template)
		fault = template_name_fault(definition->name);
	else if (!definition_name_valid(definition->name))
		fault = expected;
	if (fault)
		read_problem(reader, member(group, "name"), NULL, "%s is no %s; expected %s",
		    units_quote(found, sizeof(found), definition->name),
		    definition->is_template ? "template's name" : "name", fault);
}

static void
check_sizes(struct reader *reader, config_setting_t *group, struct definition *definition)
{
	config_setting_t *max_size = member(group, "max_size");
	char size[32], max[32];

	if (definition->is_template) {
		if (!max_size)
			read_problem(reader, group, "max_size", "is missing; a template requires it");
		return;
	}
	if (!max_size)
		definition->max_size_bytes = definition->size_bytes;
	else if (definition->max_size_bytes && definition->max_size_bytes < definition->size_bytes)
		read_problem(reader, max_size, NULL, "%s is less than size, %s; expected at least that",
		    units_format_size(max, sizeof(max), definition->max_size_bytes),
		    units_format_size(size, sizeof(size), definition->size_bytes));
}

static void
check_memory(struct reader *reader, config_setting_t *group, struct definition *definition)
{
	config_setting_t *mlock = member(group, "mlock");

	if (!mlock)
		definition->mlock = definition->prefault;
	else if (definition->mlock && !definition->prefault)
		read_problem(reader, mlock, NULL,
		    "true contradicts prefault = false: memory that is locked is there; set prefault = true, or "
		    "mlock = false");
}

static void
check_lifetime(struct reader *reader, config_setting_t *group, struct definition *definition)
{
	config_setting_t *linger = member(group, "linger");

	if (definition->is_template && !member(group, "lifetime"))
		definition->lifetime = DEFINITION_ATTACHED;
	if (linger && definition->linger_ms && definition->lifetime != DEFINITION_ATTACHED)
		read_problem(reader, linger, NULL,
		    "contradicts lifetime = \"persistent\", which never ends; remove it, or set lifetime = "
		    "\"attached\"");
}

/* Keys of one backend in a definition of another one. */
static void
check_keys(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	const struct keys_row *rows;
	size_t n;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		const struct keys_row *row = &rows[i];
		config_setting_t *setting;

		if (row->scope != KEYS_DEFINITION || !row->backends)
			continue;
		setting = member(group, row->key);
		if (!setting || (row->type == KEYS_TYPE_LIST && config_setting_length(setting) == 0))
			continue;
		if (!(row->backends >> definition->backend & 1))
			read_problem(reader, setting, NULL,
			    "belongs to backend \"%s\", and this one's is \"%s\"; remove it",
			    definition_backend_name((enum definition_backend)__builtin_ctz(row->backends)),
			    definition_backend_name(definition->backend));
	}
}

void
check_definition(struct reader *reader, config_setting_t *group, struct definition *definition)
{
	if (definition->is_template && !member(group, "mode"))
		definition->mode = 0600;
	check_name(reader, group, definition);
	check_sizes(reader, group, definition);
	check_memory(reader, group, definition);
	check_lifetime(reader, group, definition);
	check_backend(reader, group, definition);
	if (definition->n_locks)
		check_locks(reader, member(group, "locks"), definition);
	if (definition->backend == DEFINITION_FILE)
		check_file(reader, group, definition);
	check_keys(reader, group, definition);
}

void
check_allow(struct reader *reader, config_setting_t *group, const struct definition_allow *allow)
{
	config_setting_t *user = member(group, "user"), *by_group = member(group, "group");

	if (user && by_group)
		read_problem(reader, by_group, NULL, "stands beside user; expected one of them, and an entry each");
	else if (!user && !by_group)
		read_problem(reader, group, NULL, "names nobody; expected user or group");
}

void
check_orphan(struct reader *reader, config_setting_t *group, const struct conf_orphan *orphan)
{
	bool posix = member(group, "posix") != NULL;

	if (posix && orphan->is_sysv)
		read_problem(reader, member(group, "sysv"), NULL,
		    "stands beside posix; expected one of them, and a rule each");
	else if (!posix && !orphan->is_sysv)
		read_problem(reader, group, NULL, "says of nothing; expected posix or sysv");
}

/* A definition, and which one it was in the order of reading. */
struct ranked {
	const struct definition *definition;
	size_t rank;
};

static int
by_name(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int order = strcmp(x->definition->name, y->definition->name);

	return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static void
check_twice(struct reader *reader, const char *what, struct definition **definitions, size_t n)
{
	cleanup_free struct ranked *sorted = calloc(n + 1, sizeof(*sorted));
	char found[QUOTE_SIZE];
	size_t n_sorted = 0;

	if (!sorted) {
		reader->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (definitions[i]->name)
			sorted[n_sorted++] = (struct ranked){ definitions[i], i };
	qsort(sorted, n_sorted, sizeof(*sorted), by_name);
	for (size_t i = 1; i < n_sorted; i++) {
		const struct definition *first = sorted[i - 1].definition, *second = sorted[i].definition;

		if (!streq(first->name, second->name))
			continue;
		(void)units_quote(found, sizeof(found), second->name);
		read_problem_at(reader, second->file, second->line,
		    "%s %s is defined in %s:%u already; expected each name once", what, found, first->file,
		    first->line);
	}
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Whether a name can begin in both ways, %U standing for any uid. A plain name has no %U and is its own only beginning;
 * either may end first. Recursion only where %U meets a digit or %U, and there is one %U in each at most.
 */
static bool
beginnings_meet(const char *a, const char *b)
{
	bool uid_a = a[0] == '%', uid_b = b[0] == '%';

	if (!a[0] || !b[0])
		return true;
	if (uid_a && uid_b)
		return beginnings_meet(a + 2, b + 2) || beginnings_meet(a, b + 2) ||
		    beginnings_meet(a + 2, b);
	if (uid_b)
		return beginnings_meet(b, a);
	if (uid_a)
		return is_digit(b[0]) && (beginnings_meet(a + 2, b + 1) || beginnings_meet(a, b + 1));
	return a[0] == b[0] && beginnings_meet(a + 1, b + 1);
}

/* Whether name, as a whole, is one that clients may create from the template: its beginning, and more. */
static bool
stands_for(const char *pattern, const char *name)
{
	for (; *pattern && *pattern != '%'; pattern++, name++)
		if (*pattern != *name)
			return false;
	if (!*pattern)
		return *name != '\0';
	while (is_digit(*name))
		if (stands_for(pattern + 2, ++name))
			return true;
	return false;
}

/* Whether a template has a name that is in order; others were refused, and stand for nothing. */
static bool
is_named(const struct definition *template_)
{
	return template_->name && !template_name_fault(template_->name);
}

static void
check_templates(struct reader *reader, struct definition **templates, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (is_named(templates[i]) && is_named(templates[j]) &&
			    !streq(templates[i]->name, templates[j]->name) &&
			    beginnings_meet(templates[i]->name, templates[j]->name))
				read_problem_at(reader, templates[i]->file, templates[i]->line,
				    "template \"%s\" and template \"%s\" of %s:%u can stand for the same name; "
				    "expected names that tell them apart", templates[i]->name,
				    templates[j]->name, templates[j]->file, templates[j]->line);
}

static void
check_collisions(struct reader *reader, const struct definition *template_,
    struct definition **segments, size_t n)
{
	char found[QUOTE_SIZE];

	if (!is_named(template_))
		return;
	for (size_t i = 0; i < n; i++)
		if (segments[i]->name && stands_for(template_->name, segments[i]->name))
			read_problem_at(reader, segments[i]->file, segments[i]->line,
			    "segment %s has a name that clients may create from template \"%s\" of %s:%u; "
			    "expected another name",
			    units_quote(found, sizeof(found), segments[i]->name), template_->name,
			    template_->file, template_->line);
}

void
check_names(struct reader *reader)
{
	struct conf *conf = reader->conf;

	check_twice(reader, "segment", conf->segments, conf->n_segments);
	check_twice(reader, "template", conf->templates, conf->n_templates);
	check_templates(reader, conf->templates, conf->n_templates);
	check_unique(reader);
	for (size_t i = 0; i < conf->n_templates; i++)
		check_collisions(reader, conf->templates[i], conf->segments, conf->n_segments);
}
