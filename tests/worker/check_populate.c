/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A real worker that populates and frees: of which pages, without a store of others' being lost, and on kernels that cannot what
 * ours can. What it says is checked against the kernel.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "host/memory.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define SCAN_IOCTL	0xc0606610u	/* PAGEMAP_SCAN */
#define SIZE		(6 * MIB + 12345)

static uint64_t
rounded(uint64_t bytes)
{
	return round_up(bytes, (uint64_t)sysconf(_SC_PAGESIZE));
}

/* Bytes that huge pages map in a mapping of our own. */
static uint64_t
huge_mapped(int fd, uint64_t length)
{
	cleanup_fclose FILE *f = NULL;
	char *area, *at, line[512];
	unsigned long long start, end, kib, bytes = 0;
	bool ours = false;
	uint64_t page;

	(void)memory_huge(&page);
	area = mmap(NULL, length + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	at = (char *)(uintptr_t)round_up((uintptr_t)area, page);
	ck_assert_ptr_ne(mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), MAP_FAILED);
	for (uint64_t i = 0; i < length; i += 4096)
		(void)*(volatile char *)(at + i);
	f = fopen("/proc/self/smaps", "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			ours = start == (uintptr_t)at;
		else if (ours && sscanf(line, "ShmemPmdMapped: %llu", &kib) == 1)
			bytes = kib * KIB;
	}
	(void)munmap(area, length + page);
	return bytes;
}

/* Whether a huge page can be had here and now, by advice or collapse, of whatever the worker does not use. */
static bool
huge_to_be_had(uint64_t page)
{
	int fd = harness_memfd(page);
	char *area, *at;
	bool had;

	area = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	at = (char *)(uintptr_t)round_up((uintptr_t)area, page);
	ck_assert_ptr_ne(mmap(at, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), MAP_FAILED);
	(void)madvise(at, page, MADV_HUGEPAGE);
	*at = 1;
	(void)madvise(at, page, MADV_COLLAPSE);
	had = huge_mapped(fd, page) == page;
	(void)munmap(area, 2 * page);
	(void)close(fd);
	return had;
}

static void
fill(int fd, uint64_t offset, uint64_t length)
{
	for (uint64_t i = offset; i < offset + length; i += sizeof(i))
		ck_assert_int_eq(pwrite(fd, &i, sizeof(i), (off_t)i), sizeof(i));
}

static void
assert_filled(int fd, uint64_t offset, uint64_t length)
{
	uint64_t value;

	for (uint64_t i = offset; i < offset + length; i += sizeof(i)) {
		ck_assert_int_eq(pread(fd, &value, sizeof(value), (off_t)i), sizeof(value));
		ck_assert_uint_eq(value, i);
	}
}

static void
assert_done(const struct job_result *result, uint64_t length)
{
	ck_assert_msg(result->status == 0, "%d: %s", result->status, result->text);
	ck_assert_str_eq(result->text, "");
	ck_assert_uint_eq(result->resident_bytes, length);
}

START_TEST(base_pages_with_a_tail)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE);

	harness_start(&h, NULL, NULL);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_BASE, fd, 0, SIZE, 0);
	assert_done(&result, SIZE);
	ck_assert_uint_eq(result.huge_bytes, 0);
	ck_assert_uint_eq(harness_allocated(fd), rounded(SIZE));
	harness_stop(&h);
}
END_TEST

START_TEST(huge_pages_where_the_host_lets_us)
{
	struct harness h;
	struct job_result result;
	uint64_t page, whole;
	int fd = harness_memfd(SIZE);

	harness_start(&h, NULL, NULL);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, 0);
	assert_done(&result, SIZE);
	ck_assert_uint_ge(harness_allocated(fd), rounded(SIZE));
	whole = huge_mapped(fd, rounded(SIZE));
	ck_assert_uint_eq(result.huge_bytes, whole);
	if (memory_huge(&page) == MEMORY_HUGE_NONE)
		printf("note: this host has no huge pages for shared memory\n");
	else if (!huge_to_be_had(page))
		printf("note: no huge page is to be had: memory is fragmented\n");
	else
		ck_assert_uint_eq(whole, SIZE / page * page);
	harness_stop(&h);
}
END_TEST

START_TEST(pieces_of_a_sealed_object)
{
	struct harness h;
	uint64_t page;
	int fd;

	(void)memory_huge(&page);
	fd = harness_memfd(3 * page);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	ck_assert_int_eq(fchmod(fd, 0600), 0);
	harness_start(&h, NULL, NULL);
	for (uint64_t offset = 0; offset < 3 * page; offset += page) {
		struct job_result result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, offset, page, 0);

		assert_done(&result, page);
		ck_assert_uint_eq(harness_allocated(fd), offset + page);
	}
	harness_stop(&h);
}
END_TEST

START_TEST(contents_survive)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE);

	fill(fd, 4096, 64 * KIB);
	fill(fd, 3 * MIB - 8, 16);
	fill(fd, 4 * MIB, MIB);
	harness_start(&h, NULL, NULL);
	for (int pages = JOB_PAGES_BASE; pages <= JOB_PAGES_AUTO; pages++) {
		result = harness_job(&h, JOB_POPULATE, (enum job_pages)pages, fd, 0, SIZE, 0);
		assert_done(&result, SIZE);
		assert_filled(fd, 4096, 64 * KIB);
		assert_filled(fd, 3 * MIB - 8, 16);
		assert_filled(fd, 4 * MIB, MIB);
	}
	harness_stop(&h);
}
END_TEST

/* Counts in each page of [0, size) until told to stop; then says whether every count is there. */
static void
count_until_told(int fd, uint64_t size, int until)
{
	volatile uint64_t *words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct pollfd p = { .fd = until, .events = POLLIN };
	uint64_t rounds = 0;

	if (words == MAP_FAILED)
		_exit(1);
	while (poll(&p, 1, 0) == 0 || rounds < 3) {
		for (uint64_t i = 0; i < size / 8; i += 512)
			words[i] = words[i] + 1;
		rounds++;
	}
	for (uint64_t i = 0; i < size / 8; i += 512)
		if (words[i] != rounds)
			_exit(2);
	_exit(0);
}

START_TEST(stores_meanwhile_are_not_lost)
{
	struct harness h;
	uint64_t size = 8 * MIB;
	int fd = harness_memfd(size), told[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)close(told[1]);
		count_until_told(fd, size, told[0]);
	}
	harness_start(&h, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		struct job_result result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, size, 0);

		assert_done(&result, size);
	}
	ck_assert_int_eq(write(told[1], "", 1), 1);	/* closing would not do: the worker has it too */
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	harness_stop(&h);
}
END_TEST

static void
deny_fallocate(const void *arg)
{
	harness_deny(SYS_fallocate, 1, FALLOC_FL_KEEP_SIZE, EOPNOTSUPP);
}

/* Nor those of who has had the file before, on a file system where blocks cannot be reserved but by writing. */
START_TEST(stores_to_a_file_are_not_lost)
{
	struct harness h;
	uint64_t size = 8 * MIB;
	int fd = harness_memfd(2 * size), told[2], status;
	pid_t pid;

	/* Of what is only reserved the kernel says that it is a hole. */
	for (uint64_t i = 0; i < size; i += 4096)
		ck_assert_int_eq(pwrite(fd, "", 1, (off_t)i), 1);
	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)close(told[1]);
		count_until_told(fd, size, told[0]);
	}
	harness_start(&h, deny_fallocate, NULL);
	for (uint64_t i = 1; i <= 50; i++) {
		const struct job job = { .id = i, .kind = JOB_RESERVE, .length_bytes = 2 * size,
			.object.kind = JOB_OBJECT_FILE };
		struct job_result result;

		harness_send(&h, &job, sizeof(job), &fd, 1);
		ck_assert(harness_receive(&h, &result));
		ck_assert_int_eq(result.status, 0);
		ck_assert_uint_eq(harness_allocated(fd), 2 * size);
		ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)size, (off_t)size), 0);
	}
	ck_assert_int_eq(write(told[1], "", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	harness_stop(&h);
}
END_TEST

static void
deny_populate(const void *arg)
{
	harness_deny(SYS_madvise, 2, MADV_POPULATE_WRITE, EINVAL);
	harness_deny(SYS_madvise, 2, MADV_COLLAPSE, EINVAL);
	harness_deny(SYS_ioctl, 1, SCAN_IOCTL, ENOTTY);
}

START_TEST(old_kernel_without_populate)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE);

	fill(fd, 2 * MIB, 64 * KIB);
	harness_start(&h, deny_populate, NULL);
	for (int pages = JOB_PAGES_BASE; pages <= JOB_PAGES_AUTO; pages++) {
		result = harness_job(&h, JOB_POPULATE, (enum job_pages)pages, fd, 0, SIZE, 0);
		assert_done(&result, SIZE);
		ck_assert_uint_eq(harness_allocated(fd), rounded(SIZE));
		assert_filled(fd, 2 * MIB, 64 * KIB);
	}
	harness_stop(&h);
}
END_TEST

static void
deny_scan(const void *arg)
{
	harness_deny(SYS_ioctl, 1, SCAN_IOCTL, ENOTTY);
}

START_TEST(old_kernel_counts_huge_pages_by_smaps)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE);

	harness_start(&h, deny_scan, NULL);
	for (int i = 0; i < 2; i++) {
		result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, 0);
		assert_done(&result, SIZE);
		ck_assert_uint_eq(result.huge_bytes, huge_mapped(fd, rounded(SIZE)));
	}
	harness_stop(&h);
}
END_TEST

START_TEST(freed_range_has_no_pages)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(68 * MIB), p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	harness_start(&h, NULL, NULL);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, 68 * MIB, 0);
	assert_done(&result, 68 * MIB);
	result = harness_job(&h, JOB_FREE, 0, fd, 2 * MIB, 66 * MIB, 0);
	ck_assert_int_eq(result.status, 0);
	ck_assert_uint_eq(harness_allocated(fd), 2 * MIB);
	result = harness_job(&h, JOB_FREE, 0, p[1], 0, 4096, 0);
	ck_assert_int_lt(result.status, 0);
	ck_assert_str_ne(result.text, "");
	harness_stop(&h);
}
END_TEST

/* What a writer of an object that is not sealed has added to it, a large hole before it or not. */
START_TEST(what_was_added_goes_with_it)
{
	const struct job job = { .id = 1, .kind = JOB_FREE, .length_bytes = MIB, .limit_bytes = MIB };
	int fd = harness_memfd(INT64_MAX - 4095);
	struct job_result result;
	struct harness h;
	struct stat st;

	ck_assert_int_eq(fallocate(fd, 0, 0, 3 * MIB), 0);
	ck_assert_int_eq(fallocate(fd, 0, (off_t)1 << 50, 36 * MIB), 0);
	ck_assert_uint_eq(harness_allocated(fd), 39 * MIB);
	harness_start(&h, NULL, NULL);
	harness_send(&h, &job, sizeof(job), &fd, 1);
	ck_assert(harness_receive(&h, &result));
	ck_assert_int_eq(result.status, 0);
	ck_assert_uint_eq(harness_allocated(fd), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, MIB);
	harness_stop(&h);
}
END_TEST

START_TEST(objects_that_cannot_be_populated)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE), p[2], null;

	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	harness_start(&h, NULL, NULL);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, 0);
	ck_assert_int_eq(result.status, -EPERM);
	ck_assert_ptr_nonnull(strstr(result.text, "cannot map"));
	ck_assert_int_lt(harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, p[0], 0, 4096, 0).status, 0);
	ck_assert_int_lt(harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, null, 0, 4096, 0).status, 0);
	harness_stop(&h);
}
END_TEST

START_TEST(reserve_is_kept)
{
	struct harness h;
	struct job_result result;
	int fd = harness_memfd(SIZE);

	harness_start(&h, NULL, NULL);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, UINT64_MAX);
	ck_assert_int_eq(result.status, JOB_E_MEMORY);
	ck_assert_ptr_nonnull(strstr(result.text, "memory_reserve"));
	ck_assert_uint_eq(harness_allocated(fd), 0);
	/* What is resident already needs nothing. */
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_BASE, fd, 0, SIZE, 0);
	assert_done(&result, SIZE);
	result = harness_job(&h, JOB_POPULATE, JOB_PAGES_BASE, fd, 0, SIZE, UINT64_MAX);
	assert_done(&result, SIZE);
	harness_stop(&h);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/populate");
	TCase *tcase = tcase_create("populate");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, base_pages_with_a_tail);
	tcase_add_test(tcase, huge_pages_where_the_host_lets_us);
	tcase_add_test(tcase, pieces_of_a_sealed_object);
	tcase_add_test(tcase, contents_survive);
	tcase_add_test(tcase, stores_meanwhile_are_not_lost);
	tcase_add_test(tcase, stores_to_a_file_are_not_lost);
	tcase_add_test(tcase, old_kernel_without_populate);
	tcase_add_test(tcase, old_kernel_counts_huge_pages_by_smaps);
	tcase_add_test(tcase, freed_range_has_no_pages);
	tcase_add_test(tcase, what_was_added_goes_with_it);
	tcase_add_test(tcase, objects_that_cannot_be_populated);
	tcase_add_test(tcase, reserve_is_kept);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
