/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Socket activation: sockets of the right and of wrong kinds, handed down as the service manager does. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#include "base/base.h"
#include "systemd/listen.h"
#include "tests/service/suite.h"

static char directory[] = "/tmp/check_listen.XXXXXX";
static char path[sizeof(directory) + 16];

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/socket", directory);
}

static void
teardown(void)
{
	(void)unlink(path);
	(void)rmdir(directory);
}

/*
 * Keeps the numbers that sockets are handed down at from Check, which would put its own files there: /dev/null on each,
 * which hand_down() replaces.
 */
static void
reserve_numbers(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 8);
	if (fd >= 0)
		(void)close(fd);
}

/* Makes n fds from 3 on what the manager hands down. */
static void
hand_down(const int *fds, int n)
{
	char number[32];
	int i;

	for (i = 0; i < n; i++)
		ck_assert_int_eq(fcntl(fds[i], F_DUPFD_CLOEXEC, 100 + i), 100 + i);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(dup2(100 + i, 3 + i), 3 + i);	/* without CLOEXEC, as over an exec */
	for (i = 0; i < n; i++)
		(void)close(100 + i);
	(void)snprintf(number, sizeof(number), "%jd", (intmax_t)getpid());
	ck_assert_int_eq(setenv("LISTEN_PID", number, 1), 0);
	(void)snprintf(number, sizeof(number), "%d", n);
	ck_assert_int_eq(setenv("LISTEN_FDS", number, 1), 0);
}

static void
assert_refused(const int *fds, int n)
{
	int fd = -7, i;

	hand_down(fds, n);
	ck_assert_int_eq(listen_inherited(&fd), -EINVAL);
	ck_assert_int_eq(fd, -7);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(fcntl(3 + i, F_GETFD), -1);	/* nothing leaks */
}

START_TEST(right_socket_is_taken)
{
	int fd = suite_bind(path, SOCK_SEQPACKET), ret = -7;

	ck_assert_int_eq(listen(fd, 8), 0);
	hand_down(&fd, 1);
	ck_assert_int_eq(listen_inherited(&ret), 0);
	ck_assert_int_eq(ret, 3);
	ck_assert_int_eq(fcntl(ret, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(fcntl(ret, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(accept(ret, NULL, NULL), -1);
	ck_assert_int_eq(errno, EAGAIN);
	/* Children must not think that it is theirs. */
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_ptr_null(getenv("LISTEN_PID"));
}
END_TEST

START_TEST(nothing_handed_down_is_no_error)
{
	int ret = -7;

	ck_assert_int_eq(unsetenv("LISTEN_FDS"), 0);
	ck_assert_int_eq(unsetenv("LISTEN_PID"), 0);
	ck_assert_int_eq(listen_inherited(&ret), 0);
	ck_assert_int_eq(ret, -1);
}
END_TEST

START_TEST(meant_for_another_process_is_left_alone)
{
	int fd = suite_bind(path, SOCK_SEQPACKET), ret = -7;

	ck_assert_int_eq(listen(fd, 8), 0);
	hand_down(&fd, 1);
	ck_assert_int_eq(setenv("LISTEN_PID", "1", 1), 0);
	ck_assert_int_eq(listen_inherited(&ret), 0);
	ck_assert_int_eq(ret, -1);
	ck_assert_int_ge(fcntl(3, F_GETFD), 0);
}
END_TEST

START_TEST(stream_socket_is_refused)
{
	int fd = suite_bind(path, SOCK_STREAM);

	ck_assert_int_eq(listen(fd, 8), 0);
	assert_refused(&fd, 1);
}
END_TEST

START_TEST(datagram_socket_is_refused)
{
	int fd = suite_bind(path, SOCK_DGRAM);

	assert_refused(&fd, 1);
}
END_TEST

START_TEST(socket_that_does_not_listen_is_refused)
{
	int fd = suite_bind(path, SOCK_SEQPACKET);

	assert_refused(&fd, 1);
}
END_TEST

START_TEST(internet_socket_is_refused)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	assert_refused(&fd, 1);
}
END_TEST

START_TEST(file_is_refused)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	assert_refused(&fd, 1);
}
END_TEST

START_TEST(two_sockets_are_refused)
{
	int fds[2];
	char other[sizeof(path) + 8];

	(void)snprintf(other, sizeof(other), "%s.2", path);
	fds[0] = suite_bind(path, SOCK_SEQPACKET);
	fds[1] = suite_bind(other, SOCK_SEQPACKET);
	ck_assert_int_eq(listen(fds[0], 8), 0);
	ck_assert_int_eq(listen(fds[1], 8), 0);
	(void)unlink(other);
	assert_refused(fds, 2);
}
END_TEST

START_TEST(nonsense_in_the_environment_is_an_error)
{
	char number[32];
	int ret = -7;

	(void)snprintf(number, sizeof(number), "%jd", (intmax_t)getpid());
	ck_assert_int_eq(setenv("LISTEN_PID", number, 1), 0);
	ck_assert_int_eq(setenv("LISTEN_FDS", "many", 1), 0);
	ck_assert_int_lt(listen_inherited(&ret), 0);
	ck_assert_int_eq(ret, -7);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("listen");
	TCase *tcase = tcase_create("activation");

	reserve_numbers();
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, right_socket_is_taken);
	tcase_add_test(tcase, nothing_handed_down_is_no_error);
	tcase_add_test(tcase, meant_for_another_process_is_left_alone);
	tcase_add_test(tcase, stream_socket_is_refused);
	tcase_add_test(tcase, datagram_socket_is_refused);
	tcase_add_test(tcase, socket_that_does_not_listen_is_refused);
	tcase_add_test(tcase, internet_socket_is_refused);
	tcase_add_test(tcase, file_is_refused);
	tcase_add_test(tcase, two_sockets_are_refused);
	tcase_add_test(tcase, nonsense_in_the_environment_is_an_error);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
