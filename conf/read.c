/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * From libconfig's tree of settings to a struct conf, by the table of keys. Nothing stops at a problem: each is
 * reported, and the rest is read on, so that one run names all that is wrong.
 */
#include "config.h"

#include "conf/read.h"

#include "conf/check.h"
#include "conf/check_locks.h"
#include "conf/grammar.h"
#include "conf/report.h"
#include "conf/units.h"
#include "conf/value.h"

#define PATH_SIZE	512
#define QUOTE_SIZE	96

/* Appends a setting's path, as in "segments[2].allow[0].user". Its depth is bounded by the source's nesting. */
static size_t
append_path(const config_setting_t *setting, char *buf, size_t size)
{
	size_t n;

	if (!setting->parent)
		return 0;
	n = append_path(setting->parent, buf, size);
	if (n >= size)
		return n;
	if (!setting->name)
		return n + (size_t)snprintf(buf + n, size - n, "[%d]", config_setting_index(setting));
	return n + (size_t)snprintf(buf + n, size - n, "%s%.64s", n ? "." : "", setting->name);
}

void
read_problem(struct reader *reader, const config_setting_t *setting, const char *key,
    const char *format, ...)
{
	char path[PATH_SIZE] = "";
	const char *file;
	unsigned line;
	va_list args;
	size_t n = 0;
	int r;

	if (reader->report->n_problems < CONF_REPORT_MAX)	/* an element's index costs a search */
		n = append_path(setting, path, sizeof(path));
	if (key && n < sizeof(path))
		(void)snprintf(path + n, sizeof(path) - n, "%s%s", n ? "." : "", key);
	source_find(reader->source, setting->line, &file, &line);
	va_start(args, format);
	r = report_add_v(reader->report, file, line, path[0] ? path : NULL, format, args);
	va_end(args);
	if (r < 0)
		reader->error = r;
}

void
read_problem_at(struct reader *reader, const char *file, unsigned line, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = report_add_v(reader->report, file, line, NULL, format, args);
	va_end(args);
	if (r < 0)
		reader->error = r;
}

void
read_defaults(struct reader *reader, enum keys_scope scope, unsigned where, void *base)
{
	const struct keys_row *rows;
	size_t n;
	int r;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].scope != scope || (where && !(rows[i].where & where)))
			continue;
		r = value_set_default(&rows[i], base);
		if (r < 0)
			reader->error = r;
	}
}

/* What a setting was written as. Its string belongs to libconfig. */
static struct value
value_of(const config_setting_t *setting)
{
	struct value value = { .kind = VALUE_TABLE };

	switch (setting->type) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		value.kind = VALUE_INTEGER;
		value.integer = setting->type == CONFIG_TYPE_INT ? setting->value.ival :
		    setting->value.llval;
		break;
	case CONFIG_TYPE_FLOAT:
		value.kind = VALUE_FLOAT;
		break;
	case CONFIG_TYPE_STRING:
		value.kind = VALUE_STRING;
		value.string = setting->value.sval ? setting->value.sval : "";
		break;
	case CONFIG_TYPE_BOOL:
		value.kind = VALUE_BOOL;
		value.boolean = setting->value.ival != 0;
		break;
	case CONFIG_TYPE_ARRAY:
		value.kind = VALUE_ARRAY;
		break;
	case CONFIG_TYPE_LIST:
		value.kind = VALUE_LIST;
		break;
	default:
		break;
	}
	return value;
}

/* A key that the table does not have: what it may have been meant to be. */
static void
refuse_unknown(struct reader *reader, config_setting_t *setting, enum keys_scope scope, unsigned where)
{
	const char *nearest = keys_nearest(scope, where, setting->name);
	char found[QUOTE_SIZE];

	(void)units_quote(found, sizeof(found), setting->name);
	if (nearest)
		read_problem(reader, setting, NULL, "unknown key %s; did you mean \"%s\"?", found, nearest);
	else
		read_problem(reader, setting, NULL,
		    "unknown key %s; expected one of those that segmentd.conf(5) has for %s", found,
		    keys_scope_name(scope));
}

static const struct keys_row *
find_row(struct reader *reader, config_setting_t *setting, enum keys_scope scope, unsigned where)
{
	const struct keys_row *row = keys_find(scope, setting->name);

	if (!row) {
		refuse_unknown(reader, setting, scope, where);
		return NULL;
	}
	if (!where || row->where & where)
		return row;
	if (where == KEYS_OF_TEMPLATE)
		read_problem(reader, setting, NULL, streq(row->key, "size") ?
		    "a template has no size, since the creator says it; expected max_size" :
		    "belongs to a segment and not to a template; remove it");
	else
		read_problem(reader, setting, NULL, "belongs to a template and not to a segment; remove it");
	return NULL;
}

static void
read_value(struct reader *reader, config_setting_t *setting, const struct keys_row *row, void *base)
{
	struct value value = value_of(setting);
	BASE_UNINITIALIZED char why[VALUE_WHY_SIZE];
	int r = value_set(row, &value, base, why);

	if (r < 0)
		reader->error = r;
	else if (r > 0)
		read_problem(reader, setting, NULL, "%s", why);
}

/* Whether a setting is what a row of groups or lists of groups expects; else the problem is reported. */
static bool
has_shape(struct reader *reader, config_setting_t *setting, const struct keys_row *row, int type)
{
	struct value value = value_of(setting);
	char expected[256];

	/* "[ ]" holds nothing, as "( )" does */
	if (setting->type == type ||
	    (type == CONFIG_TYPE_LIST && setting->type == CONFIG_TYPE_ARRAY &&
	     config_setting_length(setting) == 0))
		return true;
	read_problem(reader, setting, NULL, "found %s; expected %s", value_kind_name(value.kind),
	    value_expected(row, expected, sizeof(expected)));
	return false;
}

/* How many elements a list has; 0 after a problem with it. */
static unsigned
list_length(struct reader *reader, config_setting_t *setting, const struct keys_row *row)
{
	unsigned n;

	if (!has_shape(reader, setting, row, CONFIG_TYPE_LIST))
		return 0;
	n = (unsigned)config_setting_length(setting);
	if (n > row->max) {
		read_problem(reader, setting, NULL, "has %u entries; expected %llu at most", n,
		    (unsigned long long)row->max);
		return 0;
	}
	return n;
}

/* Element i of a list of groups, or NULL after a problem with it. */
static config_setting_t *
list_group(struct reader *reader, config_setting_t *list, unsigned i)
{
	config_setting_t *element = config_setting_get_elem(list, i);
	struct value value = value_of(element);

	if (element->type == CONFIG_TYPE_GROUP)
		return element;
	read_problem(reader, element, NULL, "found %s; expected a group { ... }",
	    value_kind_name(value.kind));
	return NULL;
}

/* Reads the plain keys of a group, and calls others for those that are groups or lists themselves. */
static void
read_group(struct reader *reader, config_setting_t *group, enum keys_scope scope, unsigned where,
    void *base, void (*others)(struct reader *, config_setting_t *, const struct keys_row *, void *))
{
	unsigned n = (unsigned)config_setting_length(group);
	const struct keys_row *rows;
	size_t n_rows;

	for (unsigned i = 0; i < n && !reader->error; i++) {
		config_setting_t *setting = config_setting_get_elem(group, i);
		const struct keys_row *row = find_row(reader, setting, scope, where);

		if (!row)
			continue;
		if (row->type == KEYS_TYPE_TABLE || row->type == KEYS_TYPE_LIST)
			others(reader, setting, row, base);
		else
			read_value(reader, setting, row, base);
	}
	rows = keys_rows(&n_rows);
	for (size_t i = 0; i < n_rows; i++)
		if (rows[i].scope == scope && rows[i].required && (!where || rows[i].where & where) &&
		    !config_setting_get_member(group, rows[i].key))
			read_problem(reader, group, rows[i].key, "is missing; it is required");
}

static void
read_allow(struct reader *reader, config_setting_t *list, const struct keys_row *row,
    struct definition *definition)
{
	unsigned n = list_length(reader, list, row);

	definition->allow = calloc(n + 1, sizeof(*definition->allow));
	if (!definition->allow) {
		reader->error = -ENOMEM;
		return;
	}
	for (unsigned i = 0; i < n && !reader->error; i++) {
		config_setting_t *group = list_group(reader, list, i);
		struct definition_allow *allow = &definition->allow[definition->n_allow];

		if (!group)
			continue;
		definition->n_allow++;
		read_defaults(reader, KEYS_ALLOW, 0, allow);
		read_group(reader, group, KEYS_ALLOW, 0, allow, NULL);
		check_allow(reader, group, allow);
	}
}

static void
read_locks(struct reader *reader, config_setting_t *list, const struct keys_row *row,
    struct definition *definition)
{
	unsigned n = list_length(reader, list, row);

	definition->locks = calloc(n + 1, sizeof(*definition->locks));
	if (!definition->locks) {
		reader->error = -ENOMEM;
		return;
	}
	for (unsigned i = 0; i < n && !reader->error; i++) {
		config_setting_t *group = list_group(reader, list, i);
		struct definition_lock *lock = &definition->locks[definition->n_locks];

		if (!group)
			continue;
		definition->n_locks++;
		read_defaults(reader, KEYS_LOCK, 0, lock);
		check_lock_begin(group, lock);
		read_group(reader, group, KEYS_LOCK, 0, lock, NULL);
	}
}

static void
read_definition_list(struct reader *reader, config_setting_t *setting, const struct keys_row *row,
    void *base)
{
	if (streq(row->key, "allow"))
		read_allow(reader, setting, row, base);
	else
		read_locks(reader, setting, row, base);
}

static struct definition *
new_definition(struct reader *reader, config_setting_t *group, bool is_template)
{
	struct definition *definition = definition_new();
	const char *file;

	if (!definition)
		return NULL;
	source_find(reader->source, group->line, &file, &definition->line);
	definition->is_template = is_template;
	return definition_set_file(definition, file) ? definition_unref(definition) : definition;
}

static void
read_definition(struct reader *reader, config_setting_t *group, bool is_template,
    struct definition **ret_definition)
{
	unsigned where = is_template ? KEYS_OF_TEMPLATE : KEYS_OF_SEGMENT;
	struct definition *definition = new_definition(reader, group, is_template);

	if (!definition) {
		reader->error = -ENOMEM;
		return;
	}
	*ret_definition = definition;
	read_defaults(reader, KEYS_DEFINITION, where, definition);
	read_group(reader, group, KEYS_DEFINITION, where, definition, read_definition_list);
	check_definition(reader, group, definition);
}

/* Appends a list's definitions to those that other files brought. */
static void
read_definitions(struct reader *reader, config_setting_t *list, const struct keys_row *row,
    bool is_template, struct definition ***definitions, size_t *n_definitions)
{
	unsigned n = list_length(reader, list, row);
	struct definition **grown;

	if (*n_definitions + n > row->max) {
		read_problem(reader, list, NULL, "makes it %zu in all files; expected %llu at most",
		    *n_definitions + n, (unsigned long long)row->max);
		return;
	}
	grown = reallocarray(*definitions, *n_definitions + n + 1, sizeof(**definitions));
	if (!grown) {
		reader->error = -ENOMEM;
		return;
	}
	*definitions = grown;
	for (unsigned i = 0; i < n && !reader->error; i++) {
		config_setting_t *group = list_group(reader, list, i);
		struct definition *definition = NULL;

		if (group)
			read_definition(reader, group, is_template, &definition);
		if (definition)
			grown[(*n_definitions)++] = definition;
	}
}

static void
read_orphan_sysv(struct reader *reader, config_setting_t *setting, const struct keys_row *row, void *base)
{
	struct conf_orphan *orphan = base;

	orphan->is_sysv = true;
	if (!has_shape(reader, setting, row, CONFIG_TYPE_GROUP))
		return;
	read_group(reader, setting, KEYS_ORPHAN_SYSV, 0, orphan, NULL);
	if (config_setting_length(setting) == 0)
		read_problem(reader, setting, NULL, "is empty; expected user, key or mode");
}

static void
read_orphans(struct reader *reader, config_setting_t *list, const struct keys_row *row)
{
	unsigned n = list_length(reader, list, row);
	struct conf *conf = reader->conf;
	struct conf_orphan *grown;
	const char *file;

	if (conf->n_orphans + n > row->max) {
		read_problem(reader, list, NULL, "makes it %zu in all files; expected %llu at most", conf->n_orphans + n,
		    (unsigned long long)row->max);
		return;
	}
	grown = reallocarray(conf->orphans, conf->n_orphans + n + 1, sizeof(*grown));
	if (!grown) {
		reader->error = -ENOMEM;
		return;
	}
	conf->orphans = grown;
	for (unsigned i = 0; i < n && !reader->error; i++) {
		config_setting_t *group = list_group(reader, list, i);
		struct conf_orphan *orphan = &conf->orphans[conf->n_orphans];

		if (!group)
			continue;
		conf->n_orphans++;
		*orphan = (struct conf_orphan){ 0 };
		source_find(reader->source, group->line, &file, &orphan->line);
		orphan->file = strdup(file);
		if (!orphan->file)
			reader->error = -ENOMEM;
		read_defaults(reader, KEYS_ORPHAN, 0, orphan);
		read_group(reader, group, KEYS_ORPHAN, 0, orphan, read_orphan_sysv);
		check_orphan(reader, group, orphan);
	}
}

static void
read_limits(struct reader *reader, config_setting_t *setting, const struct keys_row *row, void *base)
{
	struct conf_daemon *daemon = base;

	if (has_shape(reader, setting, row, CONFIG_TYPE_GROUP))
		read_group(reader, setting, KEYS_LIMITS, 0, &daemon->limits, NULL);
}

static void
read_daemon(struct reader *reader, config_setting_t *setting, const struct keys_row *row)
{
	const char *file;

	if (!has_shape(reader, setting, row, CONFIG_TYPE_GROUP))
		return;
	if (reader->daemon_file) {
		read_problem(reader, setting, NULL, "stands in %s:%u already; expected one daemon group in all "
		    "files", reader->daemon_file, reader->daemon_line);
		return;
	}
	source_find(reader->source, setting->line, &file, &reader->daemon_line);
	reader->daemon_file = strdup(file);
	if (!reader->daemon_file)
		reader->error = -ENOMEM;
	reader->has_socket = config_setting_get_member(setting, "socket") != NULL;
	reader->has_state_dir = config_setting_get_member(setting, "state_dir") != NULL;
	read_group(reader, setting, KEYS_DAEMON, 0, &reader->conf->daemon, read_limits);
}

static void
read_top(struct reader *reader, config_setting_t *setting, const struct keys_row *row, void *base)
{
	struct conf *conf = base;

	if (streq(row->key, "daemon"))
		read_daemon(reader, setting, row);
	else if (streq(row->key, "segments"))
		read_definitions(reader, setting, row, false, &conf->segments, &conf->n_segments);
	else if (streq(row->key, "templates"))
		read_definitions(reader, setting, row, true, &conf->templates, &conf->n_templates);
	else
		read_orphans(reader, setting, row);
}

/* What libconfig refuses although the grammar has it: a key twice in its group. It stops at the first. */
static void
report_syntax(struct reader *reader, const config_t *config)
{
	const char *text = config_error_text(config);
	const char *file;
	unsigned line;

	if (!text || streq(text, "memory exhausted") || streq(text, "out of memory")) {
		reader->error = -ENOMEM;
		return;
	}
	source_find(reader->source, (unsigned)max_u64(1, (uint64_t)config_error_line(config)), &file, &line);
	if (streq(text, "duplicate setting name"))
		read_problem_at(reader, file, line,
		    "this key stands in its group already; expected each key once");
	else
		read_problem_at(reader, file, line, "libconfig refuses this line: %s", text);
}

void
read_source(struct reader *reader, const struct source *source)
{
	config_t config;
	int r;

	reader->source = source;
	r = grammar_check(source, reader->report);
	if (r) {
		reader->error = r < 0 ? r : reader->error;
		return;
	}
	config_init(&config);
	if (config_read_string(&config, source->text))
		read_group(reader, config_root_setting(&config), KEYS_TOP, 0, reader->conf, read_top);
	else
		report_syntax(reader, &config);
	config_destroy(&config);
}
