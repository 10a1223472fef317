/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A pool of huge pages that others take of in the moment between the look at it and the reservation: the kernel's refusals, and
 * what the pool has then, are the test's own.
 */
#include "config.h"

#include <check.h>
#include <limits.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/worker/object.h"
#include "daemon/worker/populate.h"
#include "host/file.h"
#include "host/pools.h"
#include "tests/suite_run.h"

#define HUGE	(2 * MIB)
#define LENGTH	(4 * MIB)

int __wrap_object_map(int fd, const struct job_object *object, uint64_t offset, size_t length, size_t alignment,
    struct object_map *ret_map);
int __wrap_file_read_number(const char *root, const char *path, uint64_t *ret_value);

/* What others do: refusals, and after how many the pool is short. */
static unsigned n_refusals, n_asked, short_after;

/* The pool's numbers, as they are read one after the other. */
static struct {
	uint64_t n_free;
	uint64_t n_reserved;
	unsigned n_touched;		/* of the reserved ones, one is touched at every look at what is free */
} pool;

int
__wrap_object_map(int fd, const struct job_object *object, uint64_t offset, size_t length, size_t alignment,
    struct object_map *ret_map)
{
	ck_assert_uint_eq(length, LENGTH);
	if (n_asked++ < n_refusals)
		return -ENOMEM;
	*ret_map = (struct object_map)OBJECT_MAP_NULL;
	return 0;
}

int
__wrap_file_read_number(const char *root, const char *path, uint64_t *ret_value)
{
	const char *name = strrchr(path, '/') + 1;

	if (streq(name, "nr_hugepages")) {
		*ret_value = 16;
	} else if (streq(name, "free_hugepages")) {
		*ret_value = n_asked > short_after ? 1 : pool.n_free;
		if (pool.n_touched) {
			pool.n_touched--;
			pool.n_free--;
			pool.n_reserved--;
		}
	} else if (streq(name, "resv_hugepages")) {
		*ret_value = pool.n_reserved;
	} else {
		return -ENOENT;
	}
	return 0;
}

static void
setup(void)
{
	n_refusals = n_asked = 0;
	short_after = UINT_MAX;
	pool.n_free = 4;
	pool.n_reserved = 2;
	pool.n_touched = 0;
}

static int
reserve(struct job_result *ret_result)
{
	const struct job job = {
		.kind = JOB_RESERVE_POOL, .length_bytes = LENGTH, .object = { .kind = JOB_OBJECT_FD, .page_bytes = HUGE },
	};

	*ret_result = (struct job_result) { 0 };
	return populate_reserve_range(-1, &job, NULL, ret_result);
}

START_TEST(refused_what_fits_by_now_it_asks_again)
{
	struct job_result result;

	n_refusals = 2;
	ck_assert_int_eq(reserve(&result), 0);
	ck_assert_uint_eq(n_asked, 3);
	ck_assert_str_eq(result.text, "");
}
END_TEST

START_TEST(refused_what_others_have_it_says_what_is_left)
{
	struct job_result result;

	n_refusals = UINT_MAX;
	short_after = 1;
	ck_assert_int_eq(reserve(&result), JOB_E_MEMORY);
	ck_assert_uint_eq(n_asked, 2);
	ck_assert_msg(strstr(result.text, "4 MiB of 2 MiB pages are needed, but the pool has 0 B") != NULL, "%s", result.text);
}
END_TEST

START_TEST(refused_without_end_it_ends)
{
	struct job_result result;

	n_refusals = UINT_MAX;
	ck_assert_int_eq(reserve(&result), -ENOMEM);
	ck_assert_uint_eq(n_asked, POOLS_TRIES);
	ck_assert_msg(strstr(result.text, "the kernel does not reserve 4194304 bytes") != NULL, "%s", result.text);
}
END_TEST

START_TEST(page_that_is_touched_meanwhile_stays_its_owners)
{
	struct pool read;

	for (unsigned n = 0; n <= 2; n++) {
		pool.n_free = 4;
		pool.n_reserved = 2;
		pool.n_touched = n;
		ck_assert_int_eq(pools_read(HUGE, &read), 0);
		ck_assert_uint_eq(pool.n_touched, 0);
		ck_assert_uint_eq(read.n_free - read.n_reserved, 2);
	}
}
END_TEST

/* Others touch theirs without end: it does not wait for them. */
START_TEST(pool_that_never_rests_is_read_all_the_same)
{
	struct pool read;

	pool.n_free = pool.n_reserved = pool.n_touched = 1000;
	ck_assert_int_eq(pools_read(HUGE, &read), 0);
	ck_assert_uint_gt(pool.n_touched, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("taken");
	TCase *tcase = tcase_create("taken");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, refused_what_fits_by_now_it_asks_again);
	tcase_add_test(tcase, refused_what_others_have_it_says_what_is_left);
	tcase_add_test(tcase, refused_without_end_it_ends);
	tcase_add_test(tcase, page_that_is_touched_meanwhile_stays_its_owners);
	tcase_add_test(tcase, pool_that_never_rests_is_read_all_the_same);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
