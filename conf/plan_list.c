/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What differs between two lists of a definition. An entry is known by what it is about: a user or group, a lock's name.
 * Both lists are sorted by that and walked together, so that a thousand locks cost no more than sorting them.
 */
#include "config.h"

#include "conf/plan_list.h"

#include "base/base.h"
#include "conf/units.h"

#define TOLD_MAX	8		/* entries that are named; the rest is counted */
#define QUOTE_SIZE	160

/* A kind of list: its entries as pointers, in the order of by. */
struct list_kind {
	const char *key;
	int (*by)(const void *a, const void *b);
	bool (*same)(const void *a, const void *b);
	void (*print)(FILE *out, const void *entry);
	bool (*takes_access)(const void *a, const void *b);	/* b NULL: removed */
};

/* Entries of one list, sorted; pointers into the definition. */
struct list {
	const void **entries;
	size_t n;
};

static int
allow_by(const void *a, const void *b)
{
	const struct definition_allow *x = *(const struct definition_allow *const *)a;
	const struct definition_allow *y = *(const struct definition_allow *const *)b;

	if (x->is_group != y->is_group)
		return x->is_group ? 1 : -1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (int)y->write - (int)x->write;	/* the greater right first: the others of the same say nothing */
}

static bool
allow_same(const void *a, const void *b)
{
	return ((const struct definition_allow *)a)->write == ((const struct definition_allow *)b)->write;
}

static void
allow_print(FILE *out, const void *entry)
{
	const struct definition_allow *allow = entry;
	char quoted[QUOTE_SIZE];

	(void)fprintf(out, "%s %s (%s)", allow->is_group ? "group" : "user",
	    units_quote(quoted, sizeof(quoted), allow->name ? allow->name : ""), allow->write ? "rw" : "r");
}

static bool
allow_takes(const void *a, const void *b)
{
	return !b || (((const struct definition_allow *)a)->write && !((const struct definition_allow *)b)->write);
}

static int
lock_by(const void *a, const void *b)
{
	return strcmp((*(const struct definition_lock *const *)a)->name, (*(const struct definition_lock *const *)b)->name);
}

static bool
lock_same(const void *a, const void *b)
{
	const struct definition_lock *x = a, *y = b;

	return x->is_mutex == y->is_mutex && x->offset_bytes == y->offset_bytes &&
	    x->length_bytes == y->length_bytes && x->undo_bytes == y->undo_bytes && x->at_bytes == y->at_bytes &&
	    x->init == y->init && x->on_death == y->on_death;
}

static void
lock_print(FILE *out, const void *entry)
{
	char quoted[QUOTE_SIZE];

	(void)fputs(units_quote(quoted, sizeof(quoted), ((const struct definition_lock *)entry)->name), out);
}

static bool
lock_takes(const void *a, const void *b)
{
	return false;
}

static const struct list_kind kinds[] = {
	{ "allow", allow_by, allow_same, allow_print, allow_takes },
	{ "locks", lock_by, lock_same, lock_print, lock_takes },
};

/* The order of two entries by what they are about: same() says whether the rest is the same, too. */
static int
order_of(const struct list_kind *kind, const void *a, const void *b)
{
	const struct definition_allow *x = a, *y = b;

	if (kind->by == lock_by)
		return lock_by(&a, &b);
	if (x->is_group == y->is_group && x->id == y->id)
		return 0;
	return allow_by(&a, &b);
}

static const struct list_kind *
kind_of(const struct keys_row *row)
{
	return streq(row->key, "allow") ? &kinds[0] : &kinds[1];
}

/* The entries that say something, in order. */
static int
list_sort(const struct list_kind *kind, const struct definition *definition, struct list *ret_list)
{
	bool is_allow = kind->by == allow_by;
	size_t n = is_allow ? definition->n_allow : definition->n_locks, n_kept = 0;
	const void **entries = calloc(n + 1, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		entries[i] = is_allow ? (const void *)&definition->allow[i] : &definition->locks[i];
	qsort(entries, n, sizeof(*entries), kind->by);
	for (size_t i = 0; i < n; i++)
		if (n_kept == 0 || order_of(kind, entries[n_kept - 1], entries[i]) != 0)
			entries[n_kept++] = entries[i];
	*ret_list = (struct list){ .entries = entries, .n = n_kept };
	return 0;
}

/* Where both lists are the same as they stand, which is nearly always. */
static bool
equal_in_order(const struct list_kind *kind, const struct definition *a, const struct definition *b)
{
	bool is_allow = kind->by == allow_by;
	size_t n = is_allow ? a->n_allow : a->n_locks;

	if (n != (is_allow ? b->n_allow : b->n_locks))
		return false;
	for (size_t i = 0; i < n; i++) {
		const void *x = is_allow ? (const void *)&a->allow[i] : &a->locks[i];
		const void *y = is_allow ? (const void *)&b->allow[i] : &b->locks[i];

		if (order_of(kind, x, y) != 0 || !kind->same(x, y))
			return false;
	}
	return true;
}

/* What is being said of two lists, in text; out NULL: nothing, they are only counted. */
struct telling {
	const struct list_kind *kind;
	FILE *out;
	size_t n;
	bool takes_access;
};

static void
tell(struct telling *telling, const void *a, const void *b)
{
	if (a)
		telling->takes_access = telling->takes_access || telling->kind->takes_access(a, b);
	if (++telling->n > TOLD_MAX || !telling->out)
		return;
	(void)fputs(telling->n == 1 ? " " : ", ", telling->out);
	telling->kind->print(telling->out, a ? a : b);
	(void)fputs(!a ? " added" : !b ? " removed" : " changed", telling->out);
	if (a && b && telling->kind->by == allow_by) {
		(void)fputs(" to ", telling->out);
		telling->kind->print(telling->out, b);
	}
}

/* Walks both lists, and tells each entry that is in one alone or differs. */
static void
walk(struct telling *telling, const struct list *a, const struct list *b)
{
	size_t i = 0, j = 0;

	while (i < a->n || j < b->n) {
		int order = i == a->n ? 1 : j == b->n ? -1 : order_of(telling->kind, a->entries[i], b->entries[j]);

		if (order < 0) {
			tell(telling, a->entries[i++], NULL);
		} else if (order > 0) {
			tell(telling, NULL, b->entries[j++]);
		} else {
			if (!telling->kind->same(a->entries[i], b->entries[j]))
				tell(telling, a->entries[i], b->entries[j]);
			i++;
			j++;
		}
	}
}

static int
compare(const struct list_kind *kind, const struct definition *a, const struct definition *b, struct telling *telling)
{
	cleanup_free const void **first = NULL, **second = NULL;
	struct list x, y;

	telling->kind = kind;
	if (list_sort(kind, a, &x) < 0)
		return -ENOMEM;
	first = x.entries;
	if (list_sort(kind, b, &y) < 0)
		return -ENOMEM;
	second = y.entries;
	walk(telling, &x, &y);
	return 0;
}

int
plan_list_equal(const struct keys_row *row, const struct definition *a, const struct definition *b)
{
	const struct list_kind *kind = kind_of(row);
	struct telling telling = { 0 };
	int r;

	if (equal_in_order(kind, a, b))
		return 1;
	r = compare(kind, a, b, &telling);
	return r < 0 ? r : telling.n == 0;
}

static int
format_count(size_t n, char **ret_text)
{
	return asprintf(ret_text, "%zu %s", n, n == 1 ? "entry" : "entries") < 0 ? -ENOMEM : 0;
}

int
plan_list_format(const struct keys_row *row, const struct definition *a, const struct definition *b,
    char **ret_from, char **ret_to, char **ret_text, bool *ret_takes_access)
{
	const struct list_kind *kind = kind_of(row);
	bool is_allow = kind->by == allow_by;
	struct telling telling = { 0 };
	char *text = NULL;
	size_t size;
	int r;

	*ret_from = *ret_to = *ret_text = NULL;
	if (format_count(is_allow ? a->n_allow : a->n_locks, ret_from) < 0) {
		*ret_from = NULL;
		return -ENOMEM;
	}
	if (format_count(is_allow ? b->n_allow : b->n_locks, ret_to) < 0) {
		*ret_to = NULL;
		return -ENOMEM;
	}
	telling.out = open_memstream(&text, &size);
	if (!telling.out)
		return -ENOMEM;
	(void)fprintf(telling.out, "%s:", row->key);
	r = compare(kind, a, b, &telling);
	if (telling.n > TOLD_MAX)
		(void)fprintf(telling.out, ", and %zu more", telling.n - TOLD_MAX);
	if ((ferror(telling.out) | fclose(telling.out)) && r == 0)
		r = -ENOMEM;
	*ret_text = text;
	*ret_takes_access = telling.takes_access;
	return r;
}
