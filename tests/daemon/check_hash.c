/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Tables where memory is short: what could not be added is in none, and all else is found as before. */
#include "config.h"

#include <check.h>
#include <stdlib.h>

static unsigned n_allocations, n_fails;

static void *
sparse_malloc(size_t size)
{
	return ++n_allocations == n_fails ? NULL : malloc(size);
}

#define uthash_malloc(size)	sparse_malloc(size)

#include "base/base.h"
#include "daemon/hash.h"
#include "tests/suite_run.h"

#define ITEMS	2000

struct item {
	unsigned key;
	UT_hash_handle hh;
};

static void
check_has(struct item *table, unsigned key, bool wanted)
{
	struct item *item;

	HASH_FIND(hh, table, &key, sizeof(key), item);
	ck_assert_int_eq(item != NULL, wanted);
	ck_assert(!item || item->key == key);
}

static unsigned
count_by_walk(struct item *table)
{
	unsigned n = 0;

	for (const struct item *item = table; item; item = item->hh.next)
		n++;
	return n;
}

START_TEST(addition_without_memory_changes_nothing)
{
	static struct item items[ITEMS];
	struct item *table;
	unsigned n_refused;

	n_fails = 0;
	do {
		table = NULL;
		n_refused = 0;
		n_allocations = 0;
		n_fails++;
		for (unsigned i = 0; i < ITEMS; i++) {
			items[i] = (struct item) { .key = i };
			HASH_ADD(hh, table, key, sizeof(items[i].key), &items[i]);
			if (HASH_TAKES(&items[i]))
				continue;
			n_refused++;
			check_has(table, i, false);
			ck_assert_uint_eq(HASH_COUNT(table), i);
			ck_assert_uint_eq(count_by_walk(table), i);
			for (unsigned j = 0; j < i; j++)
				check_has(table, j, true);
			HASH_ADD(hh, table, key, sizeof(items[i].key), &items[i]);
			ck_assert(HASH_TAKES(&items[i]));
		}
		for (unsigned i = 0; i < ITEMS; i++)
			check_has(table, i, true);
		ck_assert_uint_eq(HASH_COUNT(table), ITEMS);
		ck_assert_uint_eq(count_by_walk(table), ITEMS);
		for (unsigned i = 0; i < ITEMS; i++)
			HASH_DELETE(hh, table, &items[i]);
		ck_assert_ptr_null(table);
		ck_assert_uint_le(n_refused, 1);
	} while (n_refused);
	/* The table, its buckets, and as often as they doubled: each was refused once. */
	ck_assert_uint_gt(n_fails, 5);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hash");
	TCase *tcase = tcase_create("hash");

	tcase_add_test(tcase, addition_without_memory_changes_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
