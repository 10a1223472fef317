/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is given to the service manager to keep, at a socket that plays its part: messages, descriptors, and that nobody waits. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "base/base.h"
#include "systemd/store.h"
#include "tests/service/manager.h"
#include "tests/service/suite.h"

static char heard[4096];

/* The next message, and the one descriptor that comes with it, or -1. */
static int
hear(void)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec part = { heard, sizeof(heard) - 1 };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(manager, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(msg.msg_flags & MSG_CTRUNC, 0);
	heard[n] = '\0';
	if (!CMSG_FIRSTHDR(&msg))
		return -1;
	ck_assert_uint_eq(control.header.cmsg_len, CMSG_LEN(sizeof(int)));
	ck_assert_int_eq(control.header.cmsg_type, SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static bool
hangs_up(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

START_TEST(what_is_put_is_heard)
{
	int ends[2], fd;
	char byte;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(store_put("box-1-a", ends[1]), 0);
	fd = hear();
	ck_assert_str_eq(heard, "FDSTORE=1\nFDPOLL=0\nFDNAME=box-1-a");
	ck_assert_int_ge(fd, 0);
	/* It is that descriptor, and ours is still open. */
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	ck_assert_int_eq(store_remove("box-1-a"), 0);
	ck_assert_int_eq(hear(), -1);
	ck_assert_str_eq(heard, "FDSTOREREMOVE=1\nFDNAME=box-1-a");
}
END_TEST

START_TEST(barrier_hangs_up_when_it_is_heard)
{
	int fd = -1, theirs;

	ck_assert_int_eq(store_barrier(&fd), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert(!hangs_up(fd));
	theirs = hear();
	ck_assert_str_eq(heard, "BARRIER=1");
	ck_assert(!hangs_up(fd));
	(void)close(theirs);
	ck_assert(hangs_up(fd));
}
END_TEST

START_TEST(names_are_checked)
{
	static const char *const bad[] = { "", "a b", "a\nREADY=1", "a:b", "\x7f", "gr\xc3\xb6\xc3\x9f" };
	char name[257];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(store_put(bad[i], 0), -EINVAL);
		ck_assert_int_eq(store_remove(bad[i]), -EINVAL);
	}
	memset(name, 'x', 256);
	name[256] = '\0';
	ck_assert_int_eq(store_remove(name), -EINVAL);
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
	name[255] = '\0';
	ck_assert_int_eq(store_remove(name), 0);
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_uint_eq(strlen(heard), strlen("FDSTOREREMOVE=1\nFDNAME=") + 255);
}
END_TEST

START_TEST(full_queue_is_said_and_not_waited_for)
{
	int fd = -7, r, n = 0;

	while ((r = store_remove("x")) == 0)
		ck_assert_int_lt(++n, 100000);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_int_eq(store_put("x", 0), -EAGAIN);
	ck_assert_int_eq(store_barrier(&fd), -EAGAIN);
	ck_assert_int_eq(fd, -7);
	for (; n; n--)
		ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_int_eq(store_put("x", 0), 0);
	ck_assert_int_ge(hear(), 0);
}
END_TEST

START_TEST(without_a_manager_there_is_no_store)
{
	int fd = -7;

	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert_int_eq(store_put("x", 0), -ENOENT);
	ck_assert_int_eq(store_remove("x"), -ENOENT);
	ck_assert_int_eq(store_barrier(&fd), -ENOENT);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", "relative", 1), 0);
	ck_assert_int_eq(store_put("x", 0), -EAFNOSUPPORT);
	ck_assert_int_eq(store_barrier(&fd), -EAFNOSUPPORT);
	/* One that is gone. */
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", manager_path, 1), 0);
	ck_assert_int_eq(unlink(manager_path), 0);
	ck_assert_int_eq(store_put("x", 0), -ENOENT);
	ck_assert_int_eq(store_barrier(&fd), -ENOENT);
	ck_assert_int_eq(fd, -7);
}
END_TEST

START_TEST(bad_descriptor_is_an_error)
{
	ck_assert_int_eq(store_put("x", 9999), -EBADF);
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *tcase = tcase_create("store");

	tcase_add_checked_fixture(tcase, manager_start, manager_stop);
	tcase_add_test(tcase, what_is_put_is_heard);
	tcase_add_test(tcase, barrier_hangs_up_when_it_is_heard);
	tcase_add_test(tcase, names_are_checked);
	tcase_add_test(tcase, full_queue_is_said_and_not_waited_for);
	tcase_add_test(tcase, without_a_manager_there_is_no_store);
	tcase_add_test(tcase, bad_descriptor_is_an_error);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
