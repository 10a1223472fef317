/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Without a service manager: memory that was lost with a killed daemon comes back from the clients that have it, and they are
 * attached as before. And those who bring something else.
 */
#include "config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "client/segment.h"
#include "tests/system/reloading.h"
#include "tests/system/suite.h"

static const char body[] =
    "segments = ( { name = \"s\"; size = \"64KiB\"; prefault = false; mlock = false; required = false; },\n"
    "\t{ name = \"large\"; size = \"4MiB\"; mlock = false; required = false; },\n"
    "\t{ name = \"locked\"; size = \"64KiB\"; mlock = false; required = false; locks = (\n"
    "\t\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); } );\n"
    "templates = ( { name = \"t-\"; max_size = \"1MiB\"; max_count = 4; mlock = false; prefault = false; } );";

/* Nothing is to depend on how fast this machine is. */
static const char patient[] = "await_returns = \"1h\";";

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
restart(void)
{
	harness_daemon_kill(&daemon_);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
}

static struct segment *
attach(struct segment_client *client, const char *name, unsigned flags)
{
	struct segment *segment = NULL;
	int r = segment_attach(client, name, NULL, flags, &segment);

	harness_assert(r == 0, "attaching '%s': %d: %s", name, r, segment_error());
	return segment;
}

static struct segment_client *
connect_client(void)
{
	struct segment_client *client;

	harness_assert(segment_connect(&client, daemon_.socket) == 0, "%s", segment_error());
	return client;
}

static void
expect_same(struct segment *segment, struct segment *again)
{
	static volatile char *one, *other;

	one = segment_data(segment);
	other = segment_data(again);
	harness_assert(segment_generation(segment) == segment_generation(again), "another generation");
	one[100]++;
	harness_assert(other[100] == one[100], "it is other memory");
}

/* Once with a writer, once with a reader: several daemons. */
START_TEST(memory_comes_back_from_its_client)
{
	static const char *const names[] = { "s", "large" };
	struct harness_conn watcher = HARNESS_CONN_NULL;
	struct segment_client *client;
	struct segment *segment, *again, *writer;

	harness_daemon_start(&daemon_, patient, body);
	client = connect_client();
	writer = attach(client, names[_i / 2], SEGMENT_WRITE);
	((char *)segment_data(writer))[7] = 42;
	segment = writer;
	if (_i % 2) {
		segment = attach(client, names[_i / 2], SEGMENT_READ);
		ck_assert_int_eq(segment_detach(writer), 0);
	}
	for (int i = 0; i < 3; i++) {
		restart();
		again = attach(client, names[_i / 2], SEGMENT_WRITE);
		ck_assert_int_eq(((volatile char *)segment_data(again))[7], 42);
		ck_assert_uint_eq(segment_generation(again), segment_generation(segment));
		((char *)segment_data(again))[8] = (char)i;
		ck_assert_int_eq(((volatile char *)segment_data(segment))[8], i);
		watcher = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&watcher, daemon_.socket);
		harness_await_counts(&watcher, names[_i / 2], _i % 2, 2 - _i % 2);
		ck_assert_int_eq(segment_detach(again), 0);
		harness_await_counts(&watcher, names[_i / 2], _i % 2, 1 - _i % 2);
		harness_close(&watcher);
	}
	/* It is the session's, which gives it back. */
	harness_open(&watcher, daemon_.socket);
	ck_assert_int_eq(segment_detach(segment), 0);
	harness_await_counts(&watcher, names[_i / 2], 0, 0);
	harness_close(&watcher);
	segment_disconnect(client);
	harness_daemon_stop(&daemon_);
}
END_TEST

struct other {
	const char *name;
	unsigned flags;
};

static void
attach_and_call(int control, void *arg)
{
	const struct other *other = arg;
	struct segment_client *client = connect_client();
	struct segment *segment = attach(client, other->name, other->flags), *again;

	harness_say(control, "attached");
	harness_expect(control, "call");
	again = attach(client, other->name, other->flags);
	expect_same(segment, again);
	harness_say(control, "called");
	harness_expect(control, "end");
}

static void
attach_and_stay(int control, void *arg)
{
	const struct other *other = arg;

	(void)attach(connect_client(), other->name, other->flags);
	harness_say(control, "attached");
	harness_expect(control, "end");
}

/* One that calls brings it back for all: also for one that never calls again, and one that died meanwhile. */
START_TEST(others_have_it_as_before)
{
	struct other other = { "s", SEGMENT_WRITE };
	struct harness_child calling = HARNESS_CHILD_NULL, silent = HARNESS_CHILD_NULL, dying = HARNESS_CHILD_NULL;
	struct harness_conn watcher = HARNESS_CONN_NULL;

	harness_daemon_start(&daemon_, patient, body);
	harness_child_start(&calling, attach_and_call, &other);
	harness_child_start(&silent, attach_and_stay, &other);
	harness_child_start(&dying, attach_and_stay, &other);
	harness_expect(calling.control, "attached");
	harness_expect(silent.control, "attached");
	harness_expect(dying.control, "attached");
	harness_daemon_kill(&daemon_);
	harness_child_kill(&dying);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_say(calling.control, "call");
	harness_expect(calling.control, "called");
	harness_open(&watcher, daemon_.socket);
	harness_await_counts(&watcher, "s", 0, 3);
	harness_child_kill(&silent);
	harness_await_counts(&watcher, "s", 0, 2);
	harness_child_kill(&calling);
	harness_await_counts(&watcher, "s", 0, 0);
	harness_close(&watcher);
	harness_daemon_stop(&daemon_);
}
END_TEST

static void
lock_and_stay(int control, void *arg)
{
	struct segment *segment = attach(connect_client(), "locked", SEGMENT_WRITE);
	const char after = 2;

	harness_assert(segment_lock(segment, 0) == 0, "%s", segment_error());
	harness_assert(segment_set(segment, 0, (char *)segment_data(segment) + 100, &after, 1) == 0, "%s", segment_error());
	harness_say(control, "attached");
	harness_expect(control, "unlock");
	harness_assert(segment_unlock(segment, 0) == 0, "%s", segment_error());
	harness_say(control, "unlocked");
	harness_expect(control, "end");
}

/* Locks come back with it, those of one who dies before, after it, and not at all; and also by one who can only read them. */
START_TEST(locks_come_back)
{
	enum { DIES_BEFORE, DIES_AFTER, LIVES, ONLY_READER } which = (unsigned)_i;
	struct harness_child owner = HARNESS_CHILD_NULL;
	struct segment_client *client;
	struct segment *segment, *again;

	harness_daemon_start(&daemon_, patient, body);
	client = connect_client();
	segment = attach(client, "locked", which == ONLY_READER ? SEGMENT_READ : SEGMENT_WRITE);
	harness_child_start(&owner, lock_and_stay, NULL);
	harness_expect(owner.control, "attached");
	harness_daemon_kill(&daemon_);
	if (which == DIES_BEFORE)
		harness_child_kill(&owner);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	again = attach(client, "locked", SEGMENT_WRITE);
	ck_assert_uint_eq(segment_generation(again), segment_generation(segment));
	if (which == LIVES || which == ONLY_READER) {
		ck_assert_int_eq(segment_trylock(again, 0), -EBUSY);
		harness_say(owner.control, "unlock");
		harness_expect(owner.control, "unlocked");
	}
	if (which != DIES_BEFORE)
		harness_child_kill(&owner);
	harness_assert(segment_lock(again, 0) == 0, "%s", segment_error());
	ck_assert_int_eq(segment_recovered(again, 0), which < LIVES);
	ck_assert_int_eq(((volatile char *)segment_data(segment))[100], which < LIVES ? 0 : 2);
	ck_assert_int_eq(segment_unlock(again, 0), 0);
	ck_assert_int_eq(segment_detach(again), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(what_a_client_created_comes_back)
{
	struct segment_client *client;
	struct segment *segment, *again;

	harness_daemon_start(&daemon_, patient, body);
	client = connect_client();
	harness_assert(segment_create(client, "t-1", 100000, 0, &segment) == 0, "%s", segment_error());
	restart();
	again = attach(client, "t-1", SEGMENT_WRITE);
	expect_same(segment, again);
	ck_assert_int_eq(segment_detach(again), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(memory_that_nobody_brings_is_made_anew)
{
	struct harness_conn watcher = HARNESS_CONN_NULL;
	struct protocol_segment row;
	struct segment_client *client;
	struct segment *segment, *again;

	harness_daemon_start(&daemon_, patient, body);
	client = connect_client();
	segment = attach(client, "s", SEGMENT_WRITE);
	((char *)segment_data(segment))[0] = 1;
	restart();
	harness_open(&watcher, daemon_.socket);
	ck_assert_int_eq(harness_find(&watcher, "s", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_DECLARED);
	suite_expect_reason(&watcher, "s", "waits for its memory");
	(void)reloading_hangup(&daemon_, _i ? "await_returns = \"0s\";" : "await_returns = \"10ms\";", body);
	suite_ready(&watcher, "s");
	harness_daemon_await_log(&daemon_, "segment 's': nobody has brought its memory back");
	again = attach(client, "s", SEGMENT_WRITE);
	ck_assert_uint_ne(segment_generation(again), segment_generation(segment));
	ck_assert_int_eq(((char *)segment_data(again))[0], 0);
	ck_assert_int_eq(((char *)segment_data(segment))[0], 1);
	harness_await_counts(&watcher, "s", 0, 1);
	ck_assert_int_eq(segment_detach(again), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_close(&watcher);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* By hand */

static int
ask_return(struct harness_conn *conn, const struct protocol_attached *attached, uint32_t flags, const int *fds, unsigned n_fds,
    uint32_t *ret_wants)
{
	struct protocol_return request = {
		.generation = attached->generation, .attachment = attached->attachment, .flags = flags,
	};
	struct harness_reply reply;

	harness_fill(conn, &request.header, PROTOCOL_RETURN, sizeof(request));
	harness_assert(harness_send(conn->fd, &request, sizeof(request), fds, n_fds) == sizeof(request), "send: %s", strerror(errno));
	harness_await_readable(conn->fd, "an answer");
	harness_assert(harness_receive(conn->fd, &reply) > 0, "the daemon hung up");
	harness_assert(reply.header.type == PROTOCOL_RETURN && reply.header.serial == request.header.serial, "it answers another request");
	*ret_wants = reply.header.status ? 0 : ((struct protocol_returned *)(void *)reply.bytes)->wants;
	return reply.header.status;
}

static int
sealed(const char *name, off_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	return fd;
}

static void
claim(int control, void *arg)
{
	const struct protocol_attached *attached = arg;
	struct harness_conn conn = HARNESS_CONN_NULL;
	int fd = sealed("mine", 65536);
	uint32_t wants;

	harness_open(&conn, daemon_.socket);
	harness_assert(ask_return(&conn, attached, 0, NULL, 0, &wants) == -ESTALE, "a stranger has the attachment");
	harness_assert(ask_return(&conn, attached, PROTOCOL_RETURN_DATA, &fd, 1, &wants) == -ESTALE, "a stranger's memory is taken");
	harness_close(&conn);
}

START_TEST(nothing_else_is_taken_for_it)
{
	struct harness_conn conn = HARNESS_CONN_NULL, watcher = HARNESS_CONN_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_attached attached, other;
	int fd, own, pair[2], many[2];
	uint32_t wants;

	harness_daemon_start(&daemon_, patient, body);
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "s");
	ck_assert_int_eq(harness_attach(&conn, "s", SUITE_WRITE, &attached, &fd), 0);
	own = sealed("segmentd:s", (off_t)attached.map_bytes);
	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	harness_close(&conn);
	restart();
	conn = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(&conn, daemon_.socket);
	/* Others' attachments, and such as there never were. */
	harness_child_start(&child, claim, &attached);
	harness_child_await_success(&child);
	other = attached;
	other.generation++;
	ck_assert_int_eq(ask_return(&conn, &other, PROTOCOL_RETURN_DATA, &fd, 1, &wants), -ESTALE);
	other = attached;
	other.attachment++;
	ck_assert_int_eq(ask_return(&conn, &other, PROTOCOL_RETURN_DATA, &fd, 1, &wants), -ESTALE);
	/* Other objects, of the same size and seals, or none at all; more than one; and none where one was said to come. */
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA, &own, 1, &wants), -ESTALE);
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA, &pair[0], 1, &wants), -EBADF);
	many[0] = fd;
	many[1] = own;
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA, many, 2, &wants), -E2BIG);
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA, NULL, 0, &wants), 0);
	ck_assert_uint_eq(wants, PROTOCOL_RETURN_DATA);
	ck_assert_int_eq(ask_return(&conn, &attached, 0, &fd, 1, &wants), -EINVAL);
	ck_assert_int_eq(ask_return(&conn, &attached, 8, &fd, 1, &wants), -EINVAL);
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA | PROTOCOL_RETURN_CONTROL, &fd, 1, &wants), -EINVAL);
	/* It has no locks. */
	ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_CONTROL, &fd, 1, &wants), -ESTALE);
	/* And it is taken for itself, again and again. */
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(ask_return(&conn, &attached, PROTOCOL_RETURN_DATA, &fd, 1, &wants), 0);
		ck_assert_uint_eq(wants, 0);
	}
	harness_open(&watcher, daemon_.socket);
	harness_await_counts(&watcher, "s", 0, 1);
	/* Whose it is nobody else of the same process gets. */
	ck_assert_int_eq(ask_return(&watcher, &attached, 0, NULL, 0, &wants), -EBUSY);
	(void)close(fd);
	harness_await_counts(&watcher, "s", 0, 0);
	harness_close(&watcher);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* A descriptor goes with no other request. */
START_TEST(other_requests_bring_nothing)
{
	union suite_request request = { .bytes = "" };
	struct harness_conn conn = HARNESS_CONN_NULL;
	int fd = sealed("any", 4096);

	harness_daemon_start(&daemon_, patient, body);
	harness_open(&conn, daemon_.socket);
	harness_fill(&conn, &request.header, PROTOCOL_LIST, sizeof(request.list));
	ck_assert_int_eq(harness_send(conn.fd, &request, sizeof(request.list), &fd, 1), sizeof(request.list));
	suite_farewell(conn.fd, -EPROTO, "file descriptors were sent along", "a list with a descriptor");
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

#define LINGERING_N	8

/* A socket whose last reference keeps whoever lets go of it: what it was given is never read. */
static int
lingering(void)
{
	static int listening = -1;
	const struct linger linger = { .l_onoff = 1, .l_linger = 1000 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	static const char bytes[65536];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listening < 0) {
		listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		(void)bind(listening, (struct sockaddr *)&address, sizeof(address));
	}
	if (fd < 0 || listen(listening, 64) || getsockname(listening, (struct sockaddr *)&address, &length) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		harness_skip("there is no network of this host alone: %s", strerror(errno));
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

static void
send_lingering(struct harness_conn *conn, const void *message, size_t size, unsigned n)
{
	int fds[4];

	for (unsigned i = 0; i < n; i++)
		fds[i] = lingering();
	ck_assert_int_eq(harness_send(conn->fd, message, size, fds, n), (ssize_t)size);
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* In any message, and behind any: whoever lets go of it would wait for 1,000 seconds. */
START_TEST(nobody_waits_for_what_is_dropped)
{
	struct protocol_attached none = { .generation = 7, .attachment = 7 };
	struct protocol_return asked = { .generation = 7, .attachment = 7, .flags = PROTOCOL_RETURN_DATA };
	union suite_request request = { .bytes = "" };
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_reply reply;
	uint32_t wants;

	harness_daemon_start(&daemon_, patient, body);
	harness_open(&conn, daemon_.socket);
	suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), conn.serial + 1);
	/* It finds all of them in the queue. */
	ck_assert_int_eq(kill(daemon_.pid, SIGSTOP), 0);
	switch (_i) {
	case 0:
		send_lingering(&conn, &request, sizeof(request.list), 4);
		break;
	case 1:
		/* Empty messages are the end for the daemon, and what is behind them is not looked at. */
		ck_assert_int_eq(send(conn.fd, "", 0, MSG_NOSIGNAL), 0);
		send_lingering(&conn, "", 0, 1);
		send_lingering(&conn, &request, sizeof(request.list), 1);
		break;
	case 2:
		/* Whoever has ended is buried later. */
		ck_assert_int_eq(send(conn.fd, &request, 3, MSG_NOSIGNAL), 3);
		send_lingering(&conn, &request, sizeof(request.list), 1);
		harness_close(&conn);
		break;
	default:
		/* What a request may bring, and is refused. Whoever brought it is served when it is read away. */
		harness_fill(&conn, &asked.header, PROTOCOL_RETURN, sizeof(asked));
		send_lingering(&conn, &asked, sizeof(asked), 2);
	}
	ck_assert_int_eq(kill(daemon_.pid, SIGCONT), 0);
	for (int i = 0; i < 3; i++)
		suite_serves(&daemon_);
	if (_i > 2) {
		harness_await_readable(conn.fd, "a refusal");
		ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, -ESTALE);
		ck_assert_int_eq(ask_return(&conn, &none, 0, NULL, 0, &wants), -ESTALE);
		harness_close(&conn);
	}
	suite_serves(&daemon_);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* Nor does it keep a worker for longer than a moment each: a uid's connections are read away one after the other. */
START_TEST(what_lingers_takes_a_moment)
{
	struct protocol_attached none = { .generation = 7, .attachment = 7 };
	struct harness_conn hostile[LINGERING_N], conn = HARNESS_CONN_NULL;
	union suite_request request = { .bytes = "" };
	uint64_t since_ns;
	uint32_t wants;
	int fd;

	harness_daemon_start(&daemon_, patient, body);
	harness_open(&conn, daemon_.socket);
	for (unsigned i = 0; i < LINGERING_N; i++) {
		hostile[i] = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&hostile[i], daemon_.socket);
	}
	suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), conn.serial + 1);
	ck_assert_int_eq(kill(daemon_.pid, SIGSTOP), 0);
	for (unsigned i = 0; i < LINGERING_N; i++) {
		send_lingering(&hostile[i], &request, sizeof(request.list), 1);
		harness_close(&hostile[i]);
	}
	ck_assert_int_eq(kill(daemon_.pid, SIGCONT), 0);
	since_ns = harness_clock_ns();
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* It is behind those, as is what comes after it. */
	ck_assert_int_eq(ask_return(&conn, &none, PROTOCOL_RETURN_DATA, &fd, 1, &wants), -ESTALE);
	ck_assert_int_eq(ask_return(&conn, &none, 0, NULL, 0, &wants), -ESTALE);
	harness_assert(harness_clock_ns() - since_ns < LINGERING_N / 2 * NS_PER_SEC, "%d sockets that linger took %" PRIu64 " ms",
	    LINGERING_N, (harness_clock_ns() - since_ns) / NS_PER_MS);
	(void)close(fd);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

static void
bring_lingering(int control, void *arg)
{
	struct protocol_return asked = { .flags = PROTOCOL_RETURN_DATA };
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	struct harness_reply reply;
	int fd;

	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "s", SUITE_WRITE, &attached, &fd), 0);
	harness_close(&conn);
	harness_say(control, "attached");
	harness_expect(control, "bring");
	conn = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(&conn, daemon_.socket);
	asked.generation = attached.generation;
	asked.attachment = attached.attachment;
	harness_fill(&conn, &asked.header, PROTOCOL_RETURN, sizeof(asked));
	send_lingering(&conn, &asked, sizeof(asked), 1);
	harness_say(control, "brought");
	harness_await_readable(conn.fd, "a refusal");
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	harness_assert(reply.header.status == -EBADF, "a socket for memory: status %d", reply.header.status);
	harness_expect(control, "end");
}

/* Who has it, too, brings what keeps a worker: the memory comes back from another one all the same. */
START_TEST(one_that_hinders_keeps_it_from_nobody)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct segment_client *client;
	struct segment *segment, *again;

	harness_daemon_start(&daemon_, patient, body);
	client = connect_client();
	segment = attach(client, "s", SEGMENT_WRITE);
	harness_child_start(&child, bring_lingering, NULL);
	harness_expect(child.control, "attached");
	restart();
	harness_say(child.control, "bring");
	harness_expect(child.control, "brought");
	again = attach(client, "s", SEGMENT_WRITE);
	expect_same(segment, again);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	ck_assert_int_eq(segment_detach(again), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* Two of a process at once: the one that came too late is told that it has it, and nothing of what it brought stays. */
START_TEST(two_bring_it_at_once)
{
	struct harness_conn conns[2] = { HARNESS_CONN_NULL, HARNESS_CONN_NULL }, watcher = HARNESS_CONN_NULL;
	struct protocol_attached attached[2];
	struct harness_reply reply;
	int fds[2];

	harness_daemon_start(&daemon_, patient, body);
	for (int i = 0; i < 2; i++) {
		harness_open(&conns[i], daemon_.socket);
		suite_ready(&conns[i], "s");
		ck_assert_int_eq(harness_attach(&conns[i], "s", SUITE_WRITE, &attached[i], &fds[i]), 0);
	}
	restart();
	for (int i = 0; i < 2; i++) {
		struct protocol_return asked = {
			.generation = attached[i].generation, .attachment = attached[i].attachment, .flags = PROTOCOL_RETURN_DATA,
		};

		harness_close(&conns[i]);
		conns[i] = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&conns[i], daemon_.socket);
		harness_fill(&conns[i], &asked.header, PROTOCOL_RETURN, sizeof(asked));
		ck_assert_int_eq(harness_send(conns[i].fd, &asked, sizeof(asked), &fds[i], 1), sizeof(asked));
	}
	for (int i = 0; i < 2; i++) {
		harness_await_readable(conns[i].fd, "an answer");
		ck_assert_int_gt(harness_receive(conns[i].fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, 0);
	}
	harness_open(&watcher, daemon_.socket);
	for (unsigned i = 0; i < 2; i++) {
		harness_await_counts(&watcher, "s", 0, 2 - i);
		(void)close(fds[i]);
	}
	harness_await_counts(&watcher, "s", 0, 0);
	for (int i = 0; i < 2; i++)
		harness_close(&conns[i]);
	harness_close(&watcher);
	harness_daemon_stop(&daemon_);
}
END_TEST

/*
 * The connection alone was lost: the same daemon has the attachment, and gives it to the next connection, also where it hears of that
 * one sooner than of the end.
 */
START_TEST(broken_connection_costs_no_attachment)
{
	struct harness_conn conn = HARNESS_CONN_NULL, watcher = HARNESS_CONN_NULL, old;
	struct protocol_hello hello = {
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct protocol_attached attached;
	struct protocol_return asked;
	struct harness_reply reply;
	int fd;

	harness_daemon_start(&daemon_, patient, body);
	harness_open(&conn, daemon_.socket);
	harness_open(&watcher, daemon_.socket);
	suite_ready(&conn, "s");
	ck_assert_int_eq(harness_attach(&conn, "s", SUITE_WRITE, &attached, &fd), 0);
	ck_assert_int_eq(kill(daemon_.pid, SIGSTOP), 0);
	/* The new one is there before the old one is closed. */
	old = conn;
	conn = (struct harness_conn) HARNESS_CONN_NULL;
	conn.fd = harness_dial(daemon_.socket);
	harness_fill(&conn, &hello.header, PROTOCOL_HELLO, sizeof(hello));
	ck_assert_int_eq(harness_send(conn.fd, &hello, sizeof(hello), NULL, 0), sizeof(hello));
	asked = (struct protocol_return) { .generation = attached.generation, .attachment = attached.attachment };
	harness_fill(&conn, &asked.header, PROTOCOL_RETURN, sizeof(asked));
	ck_assert_int_eq(harness_send(conn.fd, &asked, sizeof(asked), NULL, 0), sizeof(asked));
	harness_close(&old);
	ck_assert_int_eq(kill(daemon_.pid, SIGCONT), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
		harness_assert(reply.header.status == 0, "status %d: %s", reply.header.status, reply.bytes + sizeof(reply.header));
	}
	harness_await_counts(&watcher, "s", 0, 1);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	(void)close(fd);
	harness_await_counts(&watcher, "s", 0, 0);
	harness_close(&watcher);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("return");
	TCase *tcase = tcase_create("return");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, memory_comes_back_from_its_client, 0, 4);
	tcase_add_test(tcase, others_have_it_as_before);
	tcase_add_loop_test(tcase, locks_come_back, 0, 4);
	tcase_add_test(tcase, what_a_client_created_comes_back);
	tcase_add_loop_test(tcase, memory_that_nobody_brings_is_made_anew, 0, 2);
	tcase_add_test(tcase, nothing_else_is_taken_for_it);
	tcase_add_test(tcase, other_requests_bring_nothing);
	tcase_add_loop_test(tcase, nobody_waits_for_what_is_dropped, 0, 4);
	tcase_add_test(tcase, what_lingers_takes_a_moment);
	tcase_add_test(tcase, one_that_hinders_keeps_it_from_nobody);
	tcase_add_test(tcase, two_bring_it_at_once);
	tcase_add_test(tcase, broken_connection_costs_no_attachment);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
