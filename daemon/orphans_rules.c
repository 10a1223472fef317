/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* There are 1,024 rules at most, and they are gone through for each object: whoever asks bounds how often. */
#include "config.h"

#include <fnmatch.h>
#include <stdarg.h>

#include "base/base.h"
#include "conf/units.h"
#include "daemon/orphans_rules.h"

struct orphans_rules *
orphans_rules_new(struct conf_orphan **list, size_t *n)
{
	struct orphans_rules *rules = malloc(sizeof(*rules));

	if (!rules)
		return NULL;
	*rules = (struct orphans_rules) { .n_refs = 1, .list = take_ptr(*list), .n = *n };
	*n = 0;
	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].is_sysv)
			rules->n_sysv++;
		else
			rules->n_posix++;
	return rules;
}

struct orphans_rules *
orphans_rules_ref(struct orphans_rules *rules)
{
	rules->n_refs++;
	return rules;
}

struct orphans_rules *
orphans_rules_unref(struct orphans_rules *rules)
{
	if (!rules || --rules->n_refs)
		return NULL;
	conf_orphans_free(rules->list, rules->n);
	free(rules);
	return NULL;
}

const struct conf_orphan *
orphans_rules_of_name(const struct orphans_rules *rules, const char *name)
{
	char path[2 + 255];
	int n = snprintf(path, sizeof(path), "/%s", name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return NULL;
	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].posix && fnmatch(rules->list[i].posix, path, FNM_PATHNAME | FNM_PERIOD) == 0)
			return &rules->list[i];
	return NULL;
}

const struct conf_orphan *
orphans_rules_of_segment(const struct orphans_rules *rules, const struct shmid_ds *status)
{
	for (size_t i = 0; i < rules->n; i++) {
		const struct conf_orphan *rule = &rules->list[i];

		if (rule->is_sysv && (!rule->has_user || rule->user == status->shm_perm.uid) &&
		    (!rule->has_key || rule->key == (uint32_t)status->shm_perm.__key) &&
		    (!rule->has_mode || rule->mode == (status->shm_perm.mode & 0777u)))
			return rule;
	}
	return NULL;
}

static bool
is_same_number(bool has_a, uint32_t a, bool has_b, uint32_t b)
{
	return has_a == has_b && (!has_a || a == b);
}

bool
orphans_rule_is_same(const struct conf_orphan *a, const struct conf_orphan *b)
{
	if (a->is_sysv != b->is_sysv)
		return false;
	if (!a->is_sysv)
		return streq(a->posix, b->posix);
	return is_same_number(a->has_user, a->user, b->has_user, b->user) &&
	    is_same_number(a->has_key, a->key, b->has_key, b->key) &&
	    is_same_number(a->has_mode, a->mode, b->has_mode, b->mode);
}

bool
orphans_rule_is_equal(const struct conf_orphan *a, const struct conf_orphan *b)
{
	return orphans_rule_is_same(a, b) && a->after_ms == b->after_ms && a->remove == b->remove;
}

bool
orphans_rules_are_equal(const struct conf_orphan *a, size_t n_a, const struct conf_orphan *b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (!orphans_rule_is_equal(&a[i], &b[i]))
			return false;
	return true;
}

void
orphans_rules_move(struct orphans_rules *rules, struct conf_orphan *list)
{
	for (size_t i = 0; rules && i < rules->n; i++) {
		char *file = rules->list[i].file;

		rules->list[i].file = list[i].file;
		rules->list[i].line = list[i].line;
		list[i].file = file;
	}
}

static void BASE_PRINTF(4, 5)
add(char *buf, size_t size, bool *is_first, const char *format, ...)
{
	size_t n = strlen(buf);
	va_list args;

	n += (size_t)snprintf(buf + n, size - n, "%s", *is_first ? " " : ", ");
	*is_first = false;
	if (n >= size)
		return;
	va_start(args, format);
	(void)vsnprintf(buf + n, size - n, format, args);
	va_end(args);
}

const char *
orphans_rule_describe(const struct conf_orphan *rule, char *buf, size_t size)
{
	bool is_first = true;

	if (!rule->is_sysv) {
		/* It was read from a file, where what is not printable is refused. */
		(void)snprintf(buf, size, "posix \"%s\"", rule->posix);
		return buf;
	}
	(void)snprintf(buf, size, "sysv");
	if (rule->has_user)
		add(buf, size, &is_first, "uid %u", rule->user);
	if (rule->has_key)
		add(buf, size, &is_first, "key 0x%08x", rule->key);
	if (rule->has_mode)
		add(buf, size, &is_first, "mode %04o", rule->mode);
	return buf;
}

const char *
orphans_rule_describe_deed(const struct conf_orphan *rule, char *buf, size_t size)
{
	char after[32];

	(void)snprintf(buf, size, "%s after %s", rule->remove ? "remove" : "report",
	    units_format_time(after, sizeof(after), rule->after_ms));
	return buf;
}
