/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What differs between what runs and what a configuration says, key by key, and what a reload may do with it. The rows of
 * the table say what a key's change is; size alone depends on the values. Most definitions are as they were: comparing is
 * done on the fields, and words are made only of what differs.
 */
#include "config.h"

#include "conf/plan.h"

#include "base/base.h"
#include "conf/field.h"
#include "conf/plan_list.h"
#include "conf/units.h"
#include "conf/value.h"

#define WHY_SIZE	256

static const char *const effect_names[PLAN_EFFECT_N] = { "live", "grow", "drained", "never" };

/* One comparison. */
struct comparison {
	const struct definition *running, *next;	/* NULL: of the daemon's keys */
	plan_change_fn fn;
	void *arg;
	unsigned effects;
};

const char *
plan_effect_name(enum plan_effect effect)
{
	return effect < PLAN_EFFECT_N ? effect_names[effect] : "unknown";
}

/* Whether the first class that fits a user may now give less than before: as on a file, it alone decides. */
static bool
owner_takes(const struct definition *running, unsigned class)
{
	unsigned mine = running->mode >> (3 * class) & 6, others = running->mode & 6, group = running->mode >> 3 & 6;
	unsigned before = class == 2 ? group | others : others;

	/* who was in the class falls out of it, and who comes into it was in another one */
	return (mine & ~others) || (before & ~mine);
}

static bool
takes_access(const struct keys_row *row, const struct definition *running, const struct definition *next)
{
	if (row->type == KEYS_TYPE_USER)
		return owner_takes(running, 2);
	if (row->type == KEYS_TYPE_GROUP)
		return owner_takes(running, 1);
	if (row->type == KEYS_TYPE_MODE)
		return running->mode & ~next->mode;
	return false;
}

/* size and max_size, where the values decide. PLAN_NEVER: why says why. */
static enum plan_effect
judge_size(const struct definition *running, const struct definition *next, char *why)
{
	char max[32];

	if (next->size_bytes < running->size_bytes) {
		(void)snprintf(why, WHY_SIZE, "size is never lowered while the segment is there");
		return PLAN_NEVER;
	}
	if (next->size_bytes <= running->max_size_bytes)
		return PLAN_GROW;
	(void)snprintf(why, WHY_SIZE, "size is raised up to %s at most, the max_size that the segment was made with",
	    units_format_size(max, sizeof(max), running->max_size_bytes));
	return PLAN_NEVER;
}

static enum plan_effect
judge(const struct comparison *comparison, const struct keys_row *row, char *why)
{
	if (comparison->running && comparison->running->is_template)
		return PLAN_LIVE;
	if (comparison->running && row->offset == offsetof(struct definition, size_bytes))
		return judge_size(comparison->running, comparison->next, why);
	switch (row->reload) {
	case KEYS_LIVE:
		return PLAN_LIVE;
	case KEYS_DRAINED:
		return PLAN_DRAINED;
	default:
		(void)snprintf(why, WHY_SIZE, "%s never changes while %s", row->key,
		    comparison->running ? "the segment is there" : "the daemon runs");
		return PLAN_NEVER;
	}
}

/* A value's words; those of the same name with another number get the number beside them. */
static int
format_value(const struct keys_row *row, const void *base, char **ret_text)
{
	int r = value_format(row, base, ret_text);

	if (r == 0 && !*ret_text) {
		*ret_text = strdup(PLAN_NONE);
		r = *ret_text ? 0 : -ENOMEM;
	}
	return r;
}

static int
add_number(const struct keys_row *row, const void *base, char **text)
{
	const struct conf_daemon *daemon = base;
	bool is_admin = row->type == KEYS_TYPE_ADMIN_GROUP;
	char *longer;
	int r;

	if (is_admin && !daemon->has_admin_gid)
		r = asprintf(&longer, "%s (no such group)", *text);
	else
		r = asprintf(&longer, "%s (%s %lu)", *text, row->type == KEYS_TYPE_USER ? "uid" : "gid",
		    (unsigned long)(is_admin ? daemon->admin_gid :
		    *(const uint32_t *)(const void *)((const char *)base + row->offset)));
	if (r < 0)
		return -ENOMEM;
	free(*text);
	*text = longer;
	return 0;
}

/* What a key was and is: of a list how many entries, and in text which. */
static int
format_change(const struct keys_row *row, const void *a, const void *b, char **ret_from, char **ret_to)
{
	int r = format_value(row, a, ret_from);

	if (r == 0)
		r = format_value(row, b, ret_to);
	if (r == 0 && streq(*ret_from, *ret_to))
		r = add_number(row, a, ret_from);
	else
		return r;
	return r ? r : add_number(row, b, ret_to);
}

static int
tell(struct comparison *comparison, const struct keys_row *row, const void *a, const void *b)
{
	cleanup_free char *from = NULL, *to = NULL, *text = NULL;
	struct plan_change change = { .row = row };
	char why[WHY_SIZE] = "";
	int r;

	change.effect = judge(comparison, row, why);
	comparison->effects |= 1u << change.effect;
	if (!comparison->fn)
		return 0;
	if (row->type == KEYS_TYPE_LIST) {
		r = plan_list_format(row, a, b, &from, &to, &text, &change.takes_access);
	} else {
		r = format_change(row, a, b, &from, &to);
		if (r == 0 && asprintf(&text, "%s %s -> %s", row->key, from, to) < 0)
			text = NULL;
		if (comparison->running)
			change.takes_access = takes_access(row, a, b);
	}
	if (r || !text)
		return -ENOMEM;
	change.from = from;
	change.to = to;
	change.text = text;
	change.why = why[0] ? why : NULL;
	comparison->fn(&change, comparison->arg);
	return 0;
}

/* Whether a max_size was not given and is size's value: it says nothing of its own then. */
static bool
follows_size(const struct keys_row *row, const struct definition *running, const struct definition *next)
{
	return row->offset == offsetof(struct definition, max_size_bytes) && !running->is_template &&
	    running->max_size_bytes == running->size_bytes && next->max_size_bytes == next->size_bytes;
}

int
plan_compare(const struct definition *running, const struct definition *next, plan_change_fn fn, void *arg,
    unsigned *ret_effects)
{
	struct comparison comparison = { .running = running, .next = next, .fn = fn, .arg = arg };
	unsigned where = running->is_template ? KEYS_OF_TEMPLATE : KEYS_OF_SEGMENT;
	const struct keys_row *rows;
	size_t n;
	int r = 0;

	rows = keys_rows(&n);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (rows[i].scope != KEYS_DEFINITION || !(rows[i].where & where))
			continue;
		if (rows[i].type == KEYS_TYPE_LIST)
			r = plan_list_equal(&rows[i], running, next);
		else
			r = field_equal(&rows[i], running, next);
		if (r == 0 && !follows_size(&rows[i], running, next))
			r = tell(&comparison, &rows[i], running, next);
	}
	if (r >= 0 && ret_effects)
		*ret_effects = comparison.effects;
	return r < 0 ? r : 0;
}

bool
plan_equal(const struct definition *running, const struct definition *next)
{
	unsigned effects;

	return plan_compare(running, next, NULL, NULL, &effects) == 0 && effects == 0;
}

/* Takes over where a definition stands. */
static int
merge_place(const struct definition *from, struct definition *to)
{
	if (from->file && definition_set_file(to, from->file))
		return -ENOMEM;
	to->line = from->line;
	return 0;
}

struct definition *
plan_merge(const struct definition *running, const struct definition *next)
{
	struct definition *merged = definition_copy(running->is_template ? next : running);
	const struct keys_row *rows;
	size_t n;
	int r;

	if (!merged || running->is_template)
		return merged;
	r = merge_place(next, merged);
	rows = keys_rows(&n);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (rows[i].scope == KEYS_DEFINITION && rows[i].reload == KEYS_LIVE &&
		    rows[i].offset != offsetof(struct definition, size_bytes))
			r = field_copy(&rows[i], next, merged);
	return r ? definition_unref(merged) : merged;
}

struct definition *
plan_grow(const struct definition *running, uint64_t size_bytes)
{
	struct definition *grown = definition_copy(running);

	if (grown)
		grown->size_bytes = size_bytes;
	return grown;
}

int
plan_compare_daemon(const struct conf_daemon *running, const struct conf_daemon *next, plan_change_fn fn, void *arg,
    unsigned *ret_effects)
{
	struct comparison comparison = { .fn = fn, .arg = arg };
	const struct keys_row *rows;
	size_t n;
	int r = 0;

	rows = keys_rows(&n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		bool is_limit = rows[i].scope == KEYS_LIMITS;
		const void *a = is_limit ? (const void *)&running->limits : running;
		const void *b = is_limit ? (const void *)&next->limits : next;

		if ((is_limit || rows[i].scope == KEYS_DAEMON) && !field_equal(&rows[i], a, b))
			r = tell(&comparison, &rows[i], a, b);
	}
	if (r == 0 && ret_effects)
		*ret_effects = comparison.effects;
	return r;
}
