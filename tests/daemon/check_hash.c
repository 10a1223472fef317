/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Tables where memory is short: what could not be added is in none, and all else is found as before. And tables whose keys somebody
 * chose for them to meet in one place.
 */
#include "config.h"

#include <check.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* As Python's hash() of these bytes has it, with a key of zeros. */
START_TEST(it_is_siphash)
{
	static const uint64_t key[2] = { 0, 0 };

	ck_assert(hash_keyed(key, "a", 1) == UINT64_C(0x407448d2b89b1813));
	ck_assert(hash_keyed(key, "abcdefgh", 8) == UINT64_C(0x3f7b849c0b8e35ea));
	ck_assert(hash_keyed(key, "abcdefghijk", 11) == UINT64_C(0x14215fc65e2c3bd4));
}
END_TEST

/* Those that uthash's own function puts into one of a thousand places: anybody can choose them. */
START_TEST(chosen_keys_do_not_meet)
{
	static struct item items[ITEMS];
	struct item *table = NULL;
	unsigned most = 0, n = 0;

	for (unsigned key = 0; n < ITEMS; key++) {
		unsigned hash;

		HASH_JEN(&key, sizeof(key), hash);
		if (hash % 1024)
			continue;
		items[n].key = key;
		HASH_ADD(hh, table, key, sizeof(items[n].key), &items[n]);
		ck_assert(HASH_TAKES(&items[n]));
		n++;
	}
	for (unsigned i = 0; i < table->hh.tbl->num_buckets; i++)
		most = (unsigned)max_u64(most, table->hh.tbl->buckets[i].count);
	ck_assert_uint_le(most, 64);
	HASH_CLEAR(hh, table);
}
END_TEST

static uint32_t
hash_elsewhere(void)
{
	uint32_t hash = 0;
	int ends[2];
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		hash = hash_bytes("a name", 6);
		_exit(write(ends[1], &hash, sizeof(hash)) != sizeof(hash));
	}
	ck_assert_int_eq(read(ends[0], &hash, sizeof(hash)), sizeof(hash));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return hash;
}

/* So what was learned from one daemon says nothing of the next. */
START_TEST(each_process_has_a_key_of_its_own)
{
	uint32_t one = hash_elsewhere(), other = hash_elsewhere();

	ck_assert(one != other || one != hash_elsewhere());
	ck_assert_uint_eq(hash_bytes("a name", 6), hash_bytes("a name", 6));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hash");
	TCase *tcase = tcase_create("hash");

	tcase_add_test(tcase, addition_without_memory_changes_nothing);
	tcase_add_test(tcase, it_is_siphash);
	tcase_add_test(tcase, chosen_keys_do_not_meet);
	tcase_add_test(tcase, each_process_has_a_key_of_its_own);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
