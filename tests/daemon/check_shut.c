/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How a connection is ended whose peer has sent what nobody reads any more: what is little is read away, all else left to workers. And
 * what is taken off the queue where the peer has gone with a reply unread.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/session_parts.h"
#include "tests/suite_run.h"

#define FEW	20		/* requests of one that is honest, and dies */
#define MOST	100		/* that are read away in a turn, by far */

static void
dial(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

static void
say(int to, const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = "" };
	struct iovec io = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(fd));
	}
	ck_assert_int_eq(sendmsg(to, &message, MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static unsigned
say_all(int to)
{
	unsigned n = 0;

	while (send(to, "x", 1, MSG_NOSIGNAL) == 1)
		n++;
	return n;
}

/* What is in the queue still; empty messages end it. */
static unsigned
count(int fd)
{
	unsigned n = 0;
	char byte;

	while (recv(fd, &byte, sizeof(byte), 0) > 0)
		n++;
	return n;
}

START_TEST(little_is_read_away)
{
	int fds[2];

	dial(fds);
	for (unsigned i = 0; i < FEW; i++)
		say(fds[1], i % 2 ? "x" : "", -1);
	ck_assert(session_shut(fds[0]));
	ck_assert_uint_eq(count(fds[0]), 0);
	/* For both sides. */
	ck_assert_int_eq(send(fds[1], "x", 1, MSG_NOSIGNAL), -1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

/* A sender may have as large a buffer as it likes, in thousands of messages. */
START_TEST(much_is_no_matter_of_the_loops)
{
	const int size = 4 * (int)MIB;
	unsigned n;
	int fds[2];

	dial(fds);
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	n = say_all(fds[1]);
	ck_assert_uint_gt(n, 2 * MOST);
	ck_assert(!session_shut(fds[0]));
	ck_assert_uint_ge(count(fds[0]), n - MOST);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
END_TEST

START_TEST(what_brings_descriptors_is_left_there)
{
	int fds[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	dial(fds);
	say(fds[1], "x", -1);
	say(fds[1], "x", null);
	say(fds[1], "x", -1);
	ck_assert(!session_shut(fds[0]));
	ck_assert_uint_eq(count(fds[0]), 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)close(null);
}
END_TEST

/* The kernel tells who is left of that first, once, and not what is in the queue. */
START_TEST(so_it_is_where_the_peer_has_not_read_all)
{
	int fds[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	dial(fds);
	say(fds[0], "a reply", -1);
	say(fds[1], "x", -1);
	say(fds[1], "x", null);
	(void)close(fds[1]);
	ck_assert(!session_shut(fds[0]));
	ck_assert_uint_eq(count(fds[0]), 1);
	(void)close(fds[0]);
	(void)close(null);
}
END_TEST

/* Nor is a request done twice for that. */
START_TEST(what_was_answered_is_taken_off)
{
	struct session session = { 0 };
	int fds[2];

	dial(fds);
	session.fd = fds[0];
	say(fds[1], "a request", -1);
	say(fds[1], "x", -1);
	say(fds[0], "a reply", -1);
	(void)close(fds[1]);
	session_consume(&session);
	ck_assert_uint_eq(count(fds[0]), 1);
	(void)close(fds[0]);
}
END_TEST

/* What it had asked for counts, and what it has sent back since. */
START_TEST(what_was_asked_for_before_is_seen)
{
	struct protocol_detach detach = {
		.header = { .size = sizeof(detach), .type = PROTOCOL_DETACH, .serial = 7 }, .attachment = 4, .generation = 5,
	};
	union {
		struct protocol_detach detach;
		char bytes[PROTOCOL_REQUEST_MAX];
	} request;
	struct session session = { 0 };
	int fds[2];
	size_t n;

	for (unsigned i = 0; i < 3; i++) {
		dial(fds);
		session.fd = fds[0];
		ck_assert_int_eq(send(fds[1], &detach, sizeof(detach), MSG_NOSIGNAL), sizeof(detach));
		say(fds[0], "a reply", -1);
		(void)close(fds[1]);
		switch (i) {
		case 0:
			ck_assert_int_eq(session_peek(&session, &request, sizeof(request), &n), 0);
			ck_assert_uint_eq(n, sizeof(detach));
			break;
		case 1:
			ck_assert_uint_eq(session_pending_serial(&session), 7);
			break;
		default:
			ck_assert(session_has_pending_detach(&session, 4, 5));
			break;
		}
		(void)close(fds[0]);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("shut");
	TCase *tcase = tcase_create("shut");

	tcase_add_test(tcase, little_is_read_away);
	tcase_add_test(tcase, much_is_no_matter_of_the_loops);
	tcase_add_test(tcase, what_brings_descriptors_is_left_there);
	tcase_add_test(tcase, so_it_is_where_the_peer_has_not_read_all);
	tcase_add_test(tcase, what_was_answered_is_taken_off);
	tcase_add_test(tcase, what_was_asked_for_before_is_seen);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
