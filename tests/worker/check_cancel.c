/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A job that is cancelled while it is being done ends in the middle, after so many bytes at most and not after so much time:
 * how busy the machine is has nothing to do with it. The time is printed.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "tests/harness-clock.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#define SIZE		(512 * MIB)	/* 150 ms of base pages */
#define BLOCKS_BYTES	(16 * MIB)	/* of a file by one call */
#define TIMEOUT_MS	30000

static void
send_job(struct harness *harness, uint64_t id, enum job_kind kind, int fd)
{
	struct job job = { .id = id, .kind = kind, .pages = JOB_PAGES_BASE, .length_bytes = SIZE };

	harness_send(harness, &job, sizeof(job), &fd, 1);
}

static void
send_cancel(struct harness *harness, uint64_t id)
{
	struct job job = { .id = id, .kind = JOB_CANCEL };

	harness_send(harness, &job, sizeof(job), NULL, 0);
}

/* The worker is in the middle of it: there is no event for that but the kernel's count. */
static void
await_pages(int fd)
{
	uint64_t until_ns = harness_clock_ns() + TIMEOUT_MS * NS_PER_MS;

	while (harness_allocated(fd) == 0)
		ck_assert_uint_lt(harness_clock_ns(), until_ns);
}

static bool
has_room(void)
{
	long pages = sysconf(_SC_AVPHYS_PAGES);

	if (pages > 0 && (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) > 2 * SIZE)
		return true;
	printf("skipped: less than %u MiB of memory are free\n", (unsigned)(2 * SIZE / MIB));
	return false;
}

START_TEST(populating_ends_in_the_middle)
{
	struct harness harness;
	struct job_result result;
	cleanup_close int fd = harness_memfd(SIZE);
	uint64_t begun_ns, before;

	if (!has_room())
		return;
	harness_start(&harness, NULL, NULL);
	send_job(&harness, 7, JOB_POPULATE, fd);
	await_pages(fd);
	send_cancel(&harness, 7);
	begun_ns = clock_monotonic_ns();
	before = harness_allocated(fd);
	ck_assert(harness_receive(&harness, &result));
	printf("cancelled in %llu us, at %llu MiB\n", (unsigned long long)(clock_monotonic_ns() - begun_ns) / 1000,
	    (unsigned long long)harness_allocated(fd) / MIB);
	ck_assert_uint_eq(result.id, 7);
	ck_assert_int_eq(result.status, -ECANCELED);
	/* The chunk that it is at, and the next, where it had asked just before. */
	ck_assert_uint_le(harness_allocated(fd), before + 2 * CANCEL_BYTES);
	/* It has closed the object, and serves on. */
	send_job(&harness, 8, JOB_CLOSE, fd);
	ck_assert(harness_receive(&harness, &result));
	ck_assert_uint_eq(result.id, 8);
	ck_assert_int_eq(result.status, 0);
	harness_stop(&harness);
}
END_TEST

static void
deny_fallocate(const void *arg)
{
	harness_deny(SYS_fallocate, 1, FALLOC_FL_KEEP_SIZE, EOPNOTSUPP);
}

/* By pieces that are reserved, or where the file system does not know how by what is written. */
START_TEST(reserving_blocks_of_a_file_ends_in_the_middle)
{
	static const uint64_t more_bytes[] = { 2 * BLOCKS_BYTES, 2 * CANCEL_BYTES };
	struct job job = { .id = 5, .kind = JOB_RESERVE, .length_bytes = SIZE, .object.kind = JOB_OBJECT_FILE };
	struct harness harness;
	struct job_result result;
	cleanup_close int fd = harness_memfd(SIZE);
	uint64_t before;

	if (!has_room())
		return;
	harness_start(&harness, _i ? deny_fallocate : NULL, NULL);
	harness_send(&harness, &job, sizeof(job), &fd, 1);
	await_pages(fd);
	send_cancel(&harness, 5);
	before = harness_allocated(fd);
	ck_assert(harness_receive(&harness, &result));
	ck_assert_int_eq(result.status, -ECANCELED);
	ck_assert_str_eq(result.text, "");
	ck_assert_uint_le(harness_allocated(fd), before + more_bytes[_i]);
	harness_stop(&harness);
}
END_TEST

START_TEST(giving_back_ends_in_the_middle)
{
	struct harness harness;
	struct job_result result;
	cleanup_close int fd = harness_memfd(SIZE);
	uint64_t whole;

	if (!has_room())
		return;
	harness_start(&harness, NULL, NULL);
	send_job(&harness, 1, JOB_POPULATE, fd);
	ck_assert(harness_receive(&harness, &result));
	ck_assert_int_eq(result.status, 0);
	whole = harness_allocated(fd);
	send_job(&harness, 2, JOB_FREE, fd);
	while (harness_allocated(fd) == whole)
		;
	send_cancel(&harness, 2);
	ck_assert(harness_receive(&harness, &result));
	/* It may have been quicker than this process. */
	ck_assert_int_eq(result.status, harness_allocated(fd) ? -ECANCELED : 0);
	harness_stop(&harness);
}
END_TEST

START_TEST(one_that_comes_too_late_or_is_of_another_job_is_dropped)
{
	struct harness harness;
	struct job_result result;
	cleanup_close int fd = harness_memfd(64 * KIB);
	struct job job = { .id = 3, .kind = JOB_POPULATE, .pages = JOB_PAGES_BASE, .length_bytes = 64 * KIB };

	harness_start(&harness, NULL, NULL);
	send_cancel(&harness, 2);
	harness_send(&harness, &job, sizeof(job), &fd, 1);
	send_cancel(&harness, 2);
	ck_assert(harness_receive(&harness, &result));
	ck_assert_uint_eq(result.id, 3);
	ck_assert_int_eq(result.status, 0);
	ck_assert_uint_eq(harness_allocated(fd), 64 * KIB);
	harness_stop(&harness);
}
END_TEST

START_TEST(the_end_of_the_daemon_ends_it_as_well)
{
	struct harness harness;
	cleanup_close int fd = harness_memfd(SIZE);
	int status;

	if (!has_room())
		return;
	harness_start(&harness, NULL, NULL);
	send_job(&harness, 1, JOB_POPULATE, fd);
	await_pages(fd);
	close_fd(&harness.socket);
	status = harness_wait(&harness);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_uint_lt(harness_allocated(fd), SIZE);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("worker/cancel");
	TCase *tcase = tcase_create("cancel");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, populating_ends_in_the_middle);
	tcase_add_loop_test(tcase, reserving_blocks_of_a_file_ends_in_the_middle, 0, 2);
	tcase_add_test(tcase, giving_back_ends_in_the_middle);
	tcase_add_test(tcase, one_that_comes_too_late_or_is_of_another_job_is_dropped);
	tcase_add_test(tcase, the_end_of_the_daemon_ends_it_as_well);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
