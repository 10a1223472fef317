/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every backend promises, where something is not to be had or is rare: a failed creation leaves nothing behind, locking
 * without a mapping locks, and pages of a pool are of its size by the kernel's word. Each test runs over the table.
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>

#include "tests/daemon/conform.h"
#include "tests/system/pool.h"

/* The descriptors run out at each place where one is needed. */
START_TEST(a_failed_creation_leaves_nothing)
{
	struct conform_trace before;
	struct rlimit was, limit;
	unsigned n_failed = 0;
	int r;

	if (!conform_start(_i))
		return;
	conform_close();
	/* Contents that stay are there from now on. */
	conform_trace(&before);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (rlim_t room = 0;; room++) {
		int lowest = dup(STDERR_FILENO);

		ck_assert_int_ge(lowest, 0);
		(void)close(lowest);
		limit = (struct rlimit) { (rlim_t)lowest + room, was.rlim_max };
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		r = conform_create();
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
		if (r == 0)
			break;
		ck_assert_int_lt(r, 0);
		n_failed++;
		/* Where workers make files, what is lost on the way from them is found and removed by the next one. */
		if (!conform_has(BACKEND_DURABLE))
			conform_expect_trace(&before, "without a descriptor");
		ck_assert_uint_lt(n_failed, 16);
	}
	ck_assert_uint_gt(n_failed, 0);
	conform_close();
	conform_expect_trace(&before, "after the one that was made");
	conform_end();
}
END_TEST

START_TEST(a_size_that_cannot_be_leaves_nothing)
{
	struct conform_trace before;
	int r;

	if (!conform_start(_i))
		return;
	conform_close();
	conform_trace(&before);
	conform.definition->size_bytes = conform.definition->max_size_bytes = 1024 * TIB;
	r = conform.row->probe ? conform.row->probe(conform.definition, conform.text, sizeof(conform.text)) : 0;
	if (r == 0)
		r = conform_create();
	/* Where no page is taken before it is wanted there is no limit but the kernel's largest file. */
	if (r == 0)
		conform_close();
	else
		ck_assert_int_ne(conform.text[0], '\0');
	conform_expect_trace(&before, "of that size");
	conform_end();
}
END_TEST

/* Made, and then not to be had in its size: what there is of it goes again. */
START_TEST(a_size_that_is_not_allowed_leaves_nothing)
{
	struct rlimit was, limit;
	struct conform_trace before, first;
	int r;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	conform_trace(&before);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = (struct rlimit) { CONFORM_SIZE / 2, was.rlim_max };
	/* As the daemon does: it is told by an error then. */
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	r = conform_create();
	/* What has a descriptor has a size that is judged so. */
	ck_assert(r < 0 || !conform_has(BACKEND_FD));
	ck_assert(r == 0 || conform.text[0]);
	conform_close();
	/* A worker has come, perhaps, and stays for the second time. */
	conform_trace(&first);
	before.n_fds = first.n_fds;
	conform_expect_trace(&before, "of a size that is not allowed");
	ck_assert_int_eq(conform_create(), r);
	conform_close();
	conform_expect_trace(&before, "of a size that is not allowed, again");
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	conform_end();
}
END_TEST

START_TEST(what_cannot_be_mapped_leaves_nothing)
{
	char *area;

	if (!conform_start(_i))
		return;
	area = mmap(NULL, CONFORM_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	/* Of no whole page: what map() refuses it does without a mapping. */
	ck_assert_int_lt(conform.row->map(&conform.object, area + 1), 0);
	ck_assert_int_eq(munmap(area, CONFORM_SIZE), 0);
	conform_finish();
}
END_TEST

START_TEST(locked_without_a_mapping_is_locked)
{
	struct shmid_ds shm;
	int r;

	if (!conform_start(_i))
		return;
	if (!conform.row->lock) {
		(void)printf("SKIP: %s: it is locked by its mapping\n", conform.row->name);
		conform_finish();
		return;
	}
	r = conform.row->lock(&conform.object);
	if (r == -EPERM || r == -ENOMEM)
		(void)printf("SKIP: %s: it cannot be locked here: %s\n", conform.row->name, strerror(-r));
	else
		ck_assert_int_eq(r, 0);
	if (r == 0 && conform.object.shm_id >= 0) {
		ck_assert_int_eq(shmctl(conform.object.shm_id, IPC_STAT, &shm), 0);
		ck_assert_uint_ne(shm.shm_perm.mode & SHM_LOCKED, 0);
	}
	conform_finish();
}
END_TEST

/* A figure of /proc/self/smaps of the mapping that holds an address, in bytes. */
static uint64_t
smaps_figure(const void *address, const char *key)
{
	cleanup_fclose FILE *f = fopen("/proc/self/smaps", "re");
	uintptr_t start, end_;
	char line[512];
	bool is_it = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end_) == 2)
			is_it = (uintptr_t)address >= start && (uintptr_t)address < end_;
		else if (is_it && strncmp(line, key, strlen(key)) == 0)
			return strtoull(line + strlen(key), NULL, 10) * KIB;
	}
	return 0;
}

static void
check_pool(int row, enum definition_page_size page_size, uint64_t bytes)
{
	struct conform_trace before;
	char *map;

	/* A page of a GiB takes seconds to be cleared. */
	if (row < DEFINITION_BACKEND_N && backend_has((enum definition_backend)row, BACKEND_HUGETLB) &&
	    (bytes < GIB || harness_is_full()))
		pool_set_free(bytes, -1, max_u64(CONFORM_SIZE / bytes, 1));
	if (!conform_begin(row, page_size))
		return;
	conform_trace(&before);
	if (conform_create()) {
		(void)printf("SKIP: %s: %s\n", conform.row->name, conform.text);
		ck_assert_int_ne(conform.text[0], '\0');
		conform_expect_trace(&before, "of huge pages that are not to be had");
		conform_end();
		return;
	}
	ck_assert_uint_eq(conform.object.page_bytes, bytes);
	ck_assert_uint_eq(conform.object.map_bytes % bytes, 0);
	map = conform_map();
	ck_assert_uint_eq(smaps_figure(map, "KernelPageSize:"), bytes);
	if (conform_work(JOB_POPULATE, conform.object.map_bytes) == -ENOMEM) {
		(void)printf("SKIP: %s: %s\n", conform.row->name, conform.text);
		conform_unmap(map);
		conform_finish();
		return;
	}
	ck_assert_msg(conform.result.status == 0, "%s", conform.text);
	conform_expect_resident(conform.object.map_bytes);
	map[conform.object.map_bytes - 1] = 'x';
	conform_unmap(map);
	conform_close();
	conform_end();
}

START_TEST(pages_of_a_pool_are_the_kernels)
{
	check_pool(_i, DEFINITION_PAGE_2MIB, 2 * MIB);
}
END_TEST

START_TEST(pages_of_the_large_pool_are_the_kernels)
{
	check_pool(_i, DEFINITION_PAGE_1GIB, GIB);
}
END_TEST

static Suite *
conformlimits_suite(void)
{
	const TTest *const tests[] = {
		a_failed_creation_leaves_nothing,
		a_size_that_cannot_be_leaves_nothing,
		a_size_that_is_not_allowed_leaves_nothing,
		what_cannot_be_mapped_leaves_nothing,
		locked_without_a_mapping_is_locked,
	};
	Suite *suite = suite_create("conformlimits");
	TCase *tcase = tcase_create("backend"), *pools = tcase_create("pools");

	for (size_t i = 0; i < BASE_ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tcase, tests[i], 0, CONFORM_ROWS);
	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(pools, pool_borrow, pool_give_back);
	tcase_set_timeout(pools, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(pools, pages_of_a_pool_are_the_kernels, 0, CONFORM_ROWS);
	tcase_add_loop_test(pools, pages_of_the_large_pool_are_the_kernels, 0, CONFORM_ROWS);
	suite_add_tcase(suite, pools);
	return suite;
}

int
main(int argc, char **argv)
{
	return conform_main(argc, argv, conformlimits_suite);
}
