/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The mark beside a file: what was written is read, and nothing else is taken for one. */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/mark.h"
#include "tests/suite_run.h"

static const struct mark known = {
	.state = MARK_USED, .boot = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", .generation = UINT64_MAX, .size_bytes = 4097, .pid = 12,
};

static int
mark_file(void)
{
	int fd = memfd_create("mark", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(mark_write(fd, &known), 0);
	return fd;
}

static enum mark_state
state_of(int fd)
{
	struct mark mark;

	ck_assert_int_eq(mark_read(fd, &mark), 0);
	return mark.state;
}

START_TEST(what_was_written_is_read)
{
	cleanup_close int fd = mark_file();
	struct mark mark, again;
	struct stat st;

	ck_assert_int_eq(mark_read(fd, &mark), 0);
	ck_assert_int_eq(mark.state, known.state);
	ck_assert_str_eq(mark.boot, known.boot);
	ck_assert_uint_eq(mark.generation, known.generation);
	ck_assert_uint_eq(mark.size_bytes, known.size_bytes);
	ck_assert_int_eq(mark.pid, known.pid);
	/* Of now: this boot's, and two at once are of the same. */
	ck_assert_int_eq(mark_now(&mark, MARK_SPOILED, 5), 0);
	ck_assert_int_eq(mark_now(&again, MARK_SPOILED, 5), 0);
	ck_assert_str_eq(mark.boot, again.boot);
	ck_assert_uint_eq(strlen(mark.boot), 36);
	ck_assert_int_eq(mark_write(fd, &mark), 0);
	ck_assert_int_eq(state_of(fd), MARK_SPOILED);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, MARK_BYTES);
}
END_TEST

START_TEST(any_other_byte_makes_it_none)
{
	cleanup_close int fd = mark_file();

	for (off_t at = 0; at < MARK_BYTES; at++) {
		char was, other;

		ck_assert_int_eq(pread(fd, &was, 1, at), 1);
		for (int bit = 0; bit < 8; bit++) {
			other = (char)(was ^ 1 << bit);
			ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
			ck_assert_msg(state_of(fd) == MARK_INVALID, "byte %d, bit %d", (int)at, bit);
		}
		ck_assert_int_eq(pwrite(fd, &was, 1, at), 1);
	}
	ck_assert_int_eq(state_of(fd), MARK_USED);
}
END_TEST

START_TEST(any_other_length_makes_it_none)
{
	cleanup_close int fd = mark_file();

	ck_assert_int_eq(pwrite(fd, "\n", 1, MARK_BYTES), 1);
	ck_assert_int_eq(state_of(fd), MARK_INVALID);
	for (off_t length = 0; length < MARK_BYTES; length++) {
		cleanup_close int cut_fd = mark_file();

		ck_assert_int_eq(ftruncate(cut_fd, length), 0);
		ck_assert_int_eq(state_of(cut_fd), MARK_INVALID);
	}
	/* What was longer is not, once it is written again. */
	ck_assert_int_eq(mark_write(fd, &known), 0);
	ck_assert_int_eq(state_of(fd), MARK_USED);
}
END_TEST

START_TEST(who_has_it_locked_is_told)
{
	char path[64];
	cleanup_close int fd = mark_file(), other_fd = -1;
	pid_t pid = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other_fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(other_fd, 0);
	ck_assert_int_eq(mark_await_free(fd, &pid), 0);
	/* It was only asked, and not taken. */
	ck_assert_int_eq(flock(other_fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(mark_await_free(fd, &pid), -EBUSY);
	ck_assert_int_eq(pid, getpid());
	ck_assert_int_eq(flock(other_fd, LOCK_UN), 0);
	ck_assert_int_eq(mark_await_free(fd, &pid), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mark");
	TCase *tcase = tcase_create("mark");

	tcase_add_test(tcase, what_was_written_is_read);
	tcase_add_test(tcase, any_other_byte_makes_it_none);
	tcase_add_test(tcase, any_other_length_makes_it_none);
	tcase_add_test(tcase, who_has_it_locked_is_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
