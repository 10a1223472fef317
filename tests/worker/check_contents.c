/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A file that is copied piece by piece, and does not stay what it was. */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#define PIECE	(64 * KIB)
#define LENGTH	(PIECE + 1000)
#define LIMIT	(4 * PIECE)

static struct {
	struct harness worker;
	char path[64];
	int fd;				/* the file */
	int data_fd;
	int path_fd;
	uint64_t n_jobs;
} test;

static void
setup(void)
{
	static char bytes[LENGTH];

	(void)snprintf(test.path, sizeof(test.path), "/tmp/segmentd-contents-XXXXXX");
	test.fd = mkstemp(test.path);
	memset(bytes, 'x', sizeof(bytes));
	ck_assert_int_eq(write(test.fd, bytes, sizeof(bytes)), sizeof(bytes));
	test.data_fd = harness_memfd(LIMIT);
	test.path_fd = harness_memfd(0);
	ck_assert_int_eq(write(test.path_fd, test.path, strlen(test.path)), (ssize_t)strlen(test.path));
	harness_start(&test.worker, NULL, NULL);
}

static void
teardown(void)
{
	harness_stop(&test.worker);
	(void)close(test.fd);
	(void)close(test.data_fd);
	(void)close(test.path_fd);
	(void)unlink(test.path);
}

static struct job_result
copy(uint64_t offset, uint64_t reserve_bytes, const struct job_file *file)
{
	struct job job = {
		.id = ++test.n_jobs, .kind = JOB_INIT, .offset_bytes = offset, .length_bytes = PIECE,
		.limit_bytes = LIMIT, .reserve_bytes = reserve_bytes, .file = *file,
	};
	int fds[] = { test.data_fd, test.path_fd };
	struct job_result result;

	harness_send(&test.worker, &job, sizeof(job), fds, 2);
	ck_assert(harness_receive(&test.worker, &result));
	ck_assert_uint_eq(result.id, job.id);
	return result;
}

static struct job_result
copy_first(void)
{
	struct job_result result = copy(0, 0, &(struct job_file) { 0 });

	ck_assert_msg(result.status == 0, "%s", result.text);
	ck_assert_uint_eq(result.file.size_bytes, LENGTH);
	ck_assert_uint_ne(result.file.inode, 0);
	return result;
}

static void
expect_stale(const struct job_result *first, const char *text)
{
	struct job_result result = copy(PIECE, 0, &first->file);

	ck_assert_int_eq(result.status, -ESTALE);
	ck_assert_msg(strstr(result.text, text) && strstr(result.text, test.path), "%s", result.text);
}

START_TEST(pieces_make_a_whole)
{
	struct job_result result = copy_first();
	char byte;

	result = copy(PIECE, 0, &result.file);
	ck_assert_int_eq(result.status, 0);
	ck_assert_int_eq(pread(test.data_fd, &byte, 1, LENGTH - 1), 1);
	ck_assert_int_eq(byte, 'x');
	ck_assert_int_eq(pread(test.data_fd, &byte, 1, LENGTH), 1);
	ck_assert_int_eq(byte, 0);
	/* Behind its end there is nothing to do. */
	result = copy(2 * PIECE, 0, &result.file);
	ck_assert_int_eq(result.status, 0);
}
END_TEST

START_TEST(one_that_shrank_is_no_contents)
{
	struct job_result first = copy_first();

	ck_assert_int_eq(ftruncate(test.fd, PIECE + 10), 0);
	expect_stale(&first, "while it was copied");
}
END_TEST

START_TEST(one_that_grew_is_no_contents)
{
	struct job_result first = copy_first();

	ck_assert_int_eq(ftruncate(test.fd, LENGTH + 1), 0);
	expect_stale(&first, "while it was copied");
}
END_TEST

START_TEST(one_that_was_replaced_is_no_contents)
{
	struct job_result first = copy_first();
	cleanup_close int fd = -1;

	/* The old one is still there, so that its number is. */
	ck_assert_int_eq(unlink(test.path), 0);
	fd = open(test.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, LENGTH), 0);
	expect_stale(&first, "replaced");
}
END_TEST

START_TEST(one_that_was_written_to_is_no_contents)
{
	struct job_result first = copy_first();
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	ck_assert_int_eq(pwrite(test.fd, "y", 1, LENGTH - 1), 1);
	ck_assert_int_eq(futimens(test.fd, times), 0);
	expect_stale(&first, "was written to");
}
END_TEST

START_TEST(memory_is_asked_for_where_it_is_not_had)
{
	struct job_result result = copy(0, 1024 * TIB, &(struct job_file) { 0 });

	ck_assert_int_eq(result.status, JOB_E_MEMORY);
	ck_assert_ptr_nonnull(strstr(result.text, "/proc/meminfo"));
	for (off_t at = 0; at < (off_t)PIECE; at += 4096)
		ck_assert_int_eq(pwrite(test.data_fd, "", 1, at), 1);
	result = copy(0, 1024 * TIB, &(struct job_file) { 0 });
	ck_assert_msg(result.status == 0, "%s", result.text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("contents");
	TCase *tcase = tcase_create("contents");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, pieces_make_a_whole);
	tcase_add_test(tcase, one_that_shrank_is_no_contents);
	tcase_add_test(tcase, one_that_grew_is_no_contents);
	tcase_add_test(tcase, one_that_was_replaced_is_no_contents);
	tcase_add_test(tcase, one_that_was_written_to_is_no_contents);
	tcase_add_test(tcase, memory_is_asked_for_where_it_is_not_had);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
