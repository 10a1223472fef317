/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Descriptors that were sent and are not read count, in the kernel, as the daemon's own, and there is a limit for all of them
 * together. Who lets them lie, and sees to it that no mark shows them, must not use it up for everybody else.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/system/apart.h"
#include "tests/system/suite.h"

#define MARKS		((off_t)1 << 40)	/* where the daemon's marks begin */
#define PATIENCE_MS	HARNESS_TIMEOUT_MS	/* of one who is served in less than one */
#define REFUSED		8		/* tries, after which one more would be refused, too */

struct plot {
	const struct harness_daemon *daemon;
	unsigned way;			/* how they are given up */
};

static const char body[] = "segments = ( { name = \"wide\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; },"
    "{ name = \"desk\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );";

static void
lay_lock(int fd, uint32_t beyond)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MARKS + beyond + 1, .l_len = 0 };

	harness_assert(fcntl(fd, F_OFD_SETLK, &lock) == 0, "the lock over all marks: %s", strerror(errno));
}

/* Asks for as many descriptors as one message may bring, and reads none of them. */
static void
leave_unread(struct harness_conn *conn)
{
	static union suite_request request;
	struct protocol_attach_row *rows = (void *)(request.bytes + sizeof(request.many));
	size_t size = sizeof(request.many) + PROTOCOL_ATTACH_ROWS * sizeof(*rows);

	(void)suite_fill(&request, PROTOCOL_ATTACH_MANY, size, ++conn->serial);
	request.many.n_rows = PROTOCOL_ATTACH_ROWS;
	for (unsigned i = 0; i < PROTOCOL_ATTACH_ROWS; i++) {
		rows[i].access = SUITE_WRITE;
		(void)snprintf(rows[i].name, sizeof(rows[i].name), "wide");
	}
	harness_assert(harness_send(conn->fd, &request, size, NULL, 0) == (ssize_t)size, "send: %s", strerror(errno));
}

/* Gives them up again, as far as the daemon can tell. */
static void
detach_all(struct harness_conn *conn, const struct protocol_attached *first, unsigned round)
{
	static union suite_request request;

	for (unsigned i = 1; i <= PROTOCOL_ATTACH_ROWS; i++) {
		(void)suite_fill(&request, PROTOCOL_DETACH, sizeof(request.detach), ++conn->serial);
		request.header.flags = PROTOCOL_QUIET;
		request.detach.attachment = first->attachment + round * PROTOCOL_ATTACH_ROWS + i;
		request.detach.generation = first->generation;
		(void)harness_send(conn->fd, &request, sizeof(request.detach), NULL, 0);
	}
}

/* Ends the connection for the daemon, and keeps what came. */
static void
end_session(struct harness_conn *conn, unsigned way)
{
	if (way == 1)
		(void)shutdown(conn->fd, SHUT_WR);
	else
		(void)harness_send(conn->fd, "?", 1, NULL, 0);
}

/* Whether the daemon counts none of them any more, soon. */
static bool
await_given_up(struct harness_conn *conn)
{
	uint64_t deadline = clock_monotonic_ns() + NS_PER_SEC / 2;
	struct protocol_segment row;

	do
		harness_assert(harness_find(conn, "wide", &row) == 0, "find");
	while (row.writers > 1 && clock_monotonic_ns() < deadline);
	return row.writers == 1;
}

/* What came brings nothing more that could lie there. It stays where it is. */
static bool
is_refused(const struct harness_conn *conn)
{
	struct protocol_header header = { 0 };

	return recv(conn->fd, &header, sizeof(header), MSG_PEEK | MSG_DONTWAIT) == sizeof(header) && header.status == -EDQUOT;
}

static void
hoard(int control, void *arg)
{
	const struct plot *plot = arg;
	const struct harness_daemon *daemon = plot->daemon;
	unsigned way = plot->way;
	struct protocol_attached first;
	struct harness_conn conn;
	struct rlimit limit;
	unsigned n, n_refused = 0;
	int fd;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	n = (unsigned)min_u64(limit.rlim_max, 65536) / PROTOCOL_ATTACH_ROWS + 8;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, daemon->socket);
	harness_assert(harness_attach(&conn, "wide", SUITE_WRITE, &first, &fd) == 0, "the first");
	lay_lock(fd, first.attachment);
	/* Who is refused has what it can have, and tries on for a while: each time may take long on a busy machine. */
	for (unsigned i = 0; i < n && n_refused < REFUSED; i++) {
		struct harness_conn one;
		struct pollfd ready;

		harness_open(&one, daemon->socket);
		leave_unread(&one);
		ready = (struct pollfd) { .fd = one.fd, .events = POLLIN };
		if (poll(&ready, 1, 500) == 0)
			break;
		n_refused += is_refused(&one);
		if (way == 0)
			detach_all(&one, &first, i);
		else
			end_session(&one, way);
		if (!await_given_up(&conn))
			break;
	}
	harness_say(control, "hoarded");
	harness_expect(control, "end");
}

START_TEST(descriptors_left_unread_hold_up_nobody)
{
	struct harness_daemon daemon;
	struct plot plot = { &daemon, (unsigned)_i };
	struct harness_child child;
	struct harness_conn conn;
	union suite_request request;
	struct pollfd ready;
	uint64_t in_flight;
	size_t size;

	harness_need_root();
	harness_daemon_start(&daemon, "limits = { attachments = 256; };", body);
	harness_child_start(&child, hoard, &plot);
	harness_expect(child.control, "hoarded");
	harness_open(&conn, daemon.socket);
	size = suite_fill_attach(&request, ++conn.serial);
	ck_assert_int_eq(harness_send(conn.fd, &request, size, NULL, 0), (int)size);
	ready = (struct pollfd) { .fd = conn.fd, .events = POLLIN };
	harness_assert(harness_poll(&ready, 1, PATIENCE_MS) == 1, "another uid is not served");
	/* Two for each attachment that it might have, and ours. Who only detaches is not heard before it has read. */
	in_flight = suite_figure(&daemon, "segmentd_charged{kind=\"in_flight\"}");
	harness_assert(in_flight > (_i == 0 ? 0 : 256) && in_flight <= 513, "%" PRIu64 " are in flight", in_flight);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_close(&conn);
	while (suite_figure(&daemon, "segmentd_charged{kind=\"in_flight\"}"))
		(void)sched_yield();
	harness_daemon_stop(&daemon);
}
END_TEST

#define FEW_FDS		4096	/* that the daemon may have, and its uid in flight */
#define MANY_FDS	(FEW_FDS + 400)
#define FDS_A_MESSAGE	200

static void
limit_fds(void *arg)
{
	const struct rlimit limit = { FEW_FDS, FEW_FDS };

	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Another program of the daemon's uid, which lets them lie. The socket that has them. */
static int
put_in_flight(int pair[2])
{
	const int size = 1 << 20;
	int fds[FDS_A_MESSAGE];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(null, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (unsigned i = 0; i < FDS_A_MESSAGE; i++)
		fds[i] = null;
	for (unsigned i = 0; i < MANY_FDS / FDS_A_MESSAGE; i++)
		harness_assert(harness_send(pair[0], "?", 1, fds, FDS_A_MESSAGE) == 1, "send: %s", strerror(errno));
	return close(null);
}

START_TEST(a_daemon_that_can_send_nothing_says_so)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn;
	int pair[2];

	/* Those of others of this uid would be in the way after ours, and ours in others'. */
	apart_enter();
	harness_daemon_prepare(&daemon, NULL, "templates = ( { name = \"t-\"; max_size = \"1MiB\"; max_count = 4; mlock = false; } );");
	daemon.before_exec = limit_fds;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(put_in_flight(pair), 0);
	suite_send_create(&conn, "t-a", MIB);
	harness_daemon_await_log(&daemon, " has more descriptors in flight than the 4096 that the kernel allows it");
	ck_assert_ptr_null(strstr(harness_daemon_log(&daemon), "can be sent descriptors again"));
	(void)close(pair[0]);
	(void)close(pair[1]);
	harness_daemon_await_log(&daemon, "workers can be sent descriptors again");
	harness_await_readable(conn.fd, "the answer");
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("inflight");
	TCase *tcase = tcase_create("inflight");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, descriptors_left_unread_hold_up_nobody, 0, 3);
	tcase_add_test(tcase, a_daemon_that_can_send_nothing_says_so);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
