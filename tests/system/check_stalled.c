/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients that ask and do not read, close by halves, or die while their request waits: the daemon keeps at most one unread
 * fd for each, serves the others meanwhile, and has nothing left of them in the end.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/system/lacking.h"
#include "tests/system/suite.h"
#include "tests/system/tracer.h"

#define PIPELINED	400		/* more requests than a socket takes in */
#define MANY_ROWS	100		/* of segments: a reply of some 25 KB */
#define WAITERS		400

/* Sends requests by turns as long as the socket takes them, and reads nothing. The number that were sent. */
static unsigned
pipeline(struct harness_conn *conn, bool attaches)
{
	union suite_request request;
	unsigned n = 0;

	(void)fcntl(conn->fd, F_SETFL, O_NONBLOCK);
	while (n < PIPELINED) {
		size_t size = attaches && n % 2 == 0 ? suite_fill_attach(&request, conn->serial + n + 1) :
		    suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), conn->serial + n + 1);
		ssize_t r = harness_send(conn->fd, request.bytes, size, NULL, 0);

		if (r == -EAGAIN)
			break;
		harness_assert(r == (ssize_t)size, "request %u: %s", n, strerror((int)-r));
		n++;
	}
	(void)fcntl(conn->fd, F_SETFL, 0);
	return n;
}

/* Everything that was asked is answered, in its order. */
static void
read_answers(struct harness_conn *conn, unsigned n, bool attaches)
{
	for (unsigned i = 0; i < n; i++) {
		bool is_attach = attaches && i % 2 == 0;
		struct harness_reply reply;
		ssize_t size = harness_receive(conn->fd, &reply);

		harness_assert(size > 0, "no answer to request %u of %u: %zd", i, n, size);
		harness_assert(reply.header.serial == conn->serial + i + 1 && reply.header.status == 0 &&
		    reply.header.type == (is_attach ? PROTOCOL_ATTACH : PROTOCOL_LIST),
		    "serial %ju, status %d, type %u in the answer to %u", (uintmax_t)reply.header.serial,
		    reply.header.status, reply.header.type, i);
		ck_assert_uint_eq(reply.n_fds, is_attach);
		for (unsigned j = 0; j < reply.n_fds; j++)
			(void)close(reply.fds[j]);
	}
	conn->serial += n;
}

START_TEST(who_reads_nothing_holds_one_fd_and_delays_nobody)
{
	struct harness_conn conn;
	struct suite_scene scene;
	unsigned n;

	suite_begin(&scene, NULL, suite_desk);
	harness_open(&conn, scene.daemon.socket);
	n = pipeline(&conn, true);
	harness_assert(n > 10, "only %u requests were taken", n);
	harness_await_counts(&scene.watcher, "desk", 1, 0);
	for (int i = 0; i < 50; i++) {
		struct protocol_segment row;

		suite_serves(&scene.daemon);
		ck_assert_int_eq(harness_find(&scene.watcher, "desk", &row), 0);
		harness_assert(row.readers == 1, "%u fds are on their way to who reads none", row.readers);
	}
	/* Others get theirs meanwhile. */
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_WRITE));
	read_answers(&conn, n, true);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	ck_assert_int_ge(suite_attach(&conn, "desk", SUITE_READ), 0);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

START_TEST(unread_answers_do_not_grow_the_daemon)
{
	struct harness_conn conn;
	struct suite_scene scene;
	uint64_t before_kib;
	unsigned n;

	suite_begin(&scene, NULL, suite_desk);
	for (int i = 0; i < MANY_ROWS; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "scratch-%d", i);
		ck_assert_int_eq(harness_create(&scene.watcher, name, 4096, NULL, NULL), 0);
	}
	harness_usage_read(scene.daemon.pid, &scene.before);
	harness_open(&conn, scene.daemon.socket);
	before_kib = harness_status_figure(scene.daemon.pid, "VmRSS:");
	n = pipeline(&conn, false);
	for (int i = 0; i < 50; i++)
		suite_serves(&scene.daemon);
	harness_assert(harness_status_figure(scene.daemon.pid, "VmRSS:") < before_kib + 8192,
	    "%ju KiB, were %ju", (uintmax_t)harness_status_figure(scene.daemon.pid, "VmRSS:"), (uintmax_t)before_kib);
	read_answers(&conn, n, false);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

START_TEST(who_reads_nothing_and_dies_leaves_nothing)
{
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	for (int i = 0; i < 20; i++) {
		struct harness_conn conn;

		harness_open(&conn, scene.daemon.socket);
		(void)pipeline(&conn, true);
		harness_close(&conn);
	}
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	suite_end(&scene);
}
END_TEST

START_TEST(half_closed_sockets_end_their_sessions)
{
	union suite_request request;
	struct harness_reply reply;
	struct harness_conn conn;
	struct suite_scene scene;
	size_t size;

	suite_begin(&scene, NULL, suite_desk);
	/* What was asked before the end is answered. */
	harness_open(&conn, scene.daemon.socket);
	size = suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), 7);
	ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, NULL, 0), (ssize_t)size);
	ck_assert_int_eq(shutdown(conn.fd, SHUT_WR), 0);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	ck_assert_int_eq(harness_receive(conn.fd, &reply), 0);
	harness_close(&conn);

	/* Who takes no answer gets none, nor an fd. */
	harness_open(&conn, scene.daemon.socket);
	ck_assert_int_eq(shutdown(conn.fd, SHUT_RD), 0);
	size = suite_fill_attach(&request, 7);
	(void)harness_send(conn.fd, request.bytes, size, NULL, 0);
	suite_expect_clean(&scene);
	harness_close(&conn);

	suite_dial(&scene, &conn, false);
	ck_assert_int_eq(shutdown(conn.fd, SHUT_RDWR), 0);
	suite_expect_clean(&scene);
	harness_close(&conn);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	suite_end(&scene);
}
END_TEST

/* A client that asks, and never reads the answer. */
struct asker {
	const char *socket;
	union suite_request request;
	size_t size;
};

static void
ask_and_stay(int control, void *arg)
{
	struct asker *asker = arg;
	struct harness_conn conn;

	harness_open(&conn, asker->socket);
	asker->request.header.serial = conn.serial + 1;
	harness_assert(harness_send(conn.fd, asker->request.bytes, asker->size, NULL, 0) == (ssize_t)asker->size, "send");
	harness_say(control, "asked");
	harness_expect(control, "end");
}

START_TEST(clients_that_die_while_they_wait_leave_nothing)
{
	struct harness_child children[8];
	struct asker wait = { 0 }, create = { 0 };
	struct protocol_segment row;
	struct suite_scene scene;
	pid_t worker;

	harness_daemon_start(&scene.daemon, "workers = 1;",
	    "segments = ( { name = \"slow\"; size = \"384MiB\"; required = false; mlock = false; } );\n"
	    "templates = ( { name = \"scratch-\"; max_size = \"4MiB\"; max_count = 9; mlock = false; } );");
	worker = suite_worker_stop(&scene.daemon);
	harness_open(&scene.watcher, scene.daemon.socket);
	harness_usage_read(scene.daemon.pid, &scene.before);
	wait.socket = create.socket = scene.daemon.socket;
	wait.size = suite_fill(&wait.request, PROTOCOL_WAIT, sizeof(wait.request.wait), 0);
	wait.request.wait.progress_bytes = PROTOCOL_WAIT_STATE;
	(void)snprintf(wait.request.wait.name, sizeof(wait.request.wait.name), "slow");
	create.size = suite_fill(&create.request, PROTOCOL_CREATE, sizeof(create.request.create), 0);
	create.request.create.size_bytes = 4 * MIB;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(children); i++) {
		(void)snprintf(create.request.create.name, sizeof(create.request.create.name), "scratch-%zu", i);
		harness_child_start(&children[i], ask_and_stay, i % 2 ? &create : &wait);
		harness_expect(children[i].control, "asked");
	}
	suite_serves(&scene.daemon);
	ck_assert_int_eq(harness_find(&scene.watcher, "scratch-1", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(children); i++)
		harness_child_kill(&children[i]);
	/* What was being made for them alone goes with them. */
	for (size_t i = 1; i < BASE_ARRAY_SIZE(children); i += 2) {
		char name[32];

		(void)snprintf(name, sizeof(name), "scratch-%zu", i);
		harness_await_gone(&scene.watcher, name);
	}
	suite_expect_clean(&scene);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	suite_ready(&scene.watcher, "slow");
	suite_end(&scene);
}
END_TEST

#define LIARS		8

/* A request that waits for long, and behind it the connection itself, of which nobody has anything else; or behind something empty. */
static void
lie_in_own_queue(const struct harness_daemon *daemon, bool hides)
{
	union suite_request request;
	struct harness_conn conn;
	size_t size;
	ssize_t n;

	harness_open(&conn, daemon->socket);
	size = suite_fill(&request, PROTOCOL_WAIT, sizeof(request.wait), ++conn.serial);
	request.wait.progress_bytes = PROTOCOL_WAIT_STATE;
	(void)snprintf(request.wait.name, sizeof(request.wait.name), "slow-a");
	ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, NULL, 0), (ssize_t)size);
	/* It has been looked at by then. */
	suite_serves(daemon);
	if (hides)
		ck_assert_int_eq(harness_send(conn.fd, request.bytes, 0, NULL, 0), 0);
	size = suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), ++conn.serial);
	n = harness_send(conn.fd, request.bytes, size, &conn.fd, 1);
	/* It may be disconnected for the empty one already. */
	ck_assert(n == (ssize_t)size || (hides && n == -EPIPE));
	(void)close(conn.fd);
}

static const char slow[] =
    "templates = ( { name = \"slow-\"; max_size = \"4MiB\"; max_count = 9; mode = \"0666\"; mlock = false; linger = \"0s\"; } );";

/* Stops the only worker while it is idle, and has slow-a wait for it. */
static pid_t
begin_to_wait(struct suite_scene *scene, struct harness_conn *creator)
{
	union suite_request request = { .create = { .size_bytes = 4 * MIB, .name = "slow-a" } };
	struct protocol_segment row;
	pid_t worker;
	int fd;

	harness_open(&scene->watcher, scene->daemon.socket);
	harness_open(creator, scene->daemon.socket);
	ck_assert_int_eq(harness_create(&scene->watcher, "slow-first", 4 * MIB, NULL, &fd), 0);
	(void)close(fd);
	harness_await_gone(&scene->watcher, "slow-first");
	worker = suite_worker_stop(&scene->daemon);
	harness_fill(creator, &request.header, PROTOCOL_CREATE, sizeof(request.create));
	ck_assert_int_eq(harness_send(creator->fd, &request, sizeof(request.create), NULL, 0), sizeof(request.create));
	while (harness_find(&scene->watcher, "slow-a", &row) == -ENOENT)
		;
	ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	harness_usage_read(scene->daemon.pid, &scene->before);
	return worker;
}

/* The worker goes on by then; or it has been idle for so long that it is gone. */
static void
end_to_wait(struct suite_scene *scene, struct harness_conn *creator)
{
	struct harness_reply reply;

	ck_assert_int_gt(harness_receive(creator->fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	(void)close(reply.fds[0]);
	harness_close(creator);
	harness_await_gone(&scene->watcher, "slow-a");
	harness_close(&scene->watcher);
	harness_daemon_stop(&scene->daemon);
}

START_TEST(who_is_no_process_does_not_stay_in_its_own_queue)
{
	struct lacking process = lacking_peer_process;
	struct harness_conn creator;
	struct suite_scene scene;
	pid_t worker;

	harness_daemon_prepare(&scene.daemon, "workers = 1;", slow);
	scene.daemon.before_exec = lacking_deny;
	scene.daemon.before_exec_arg = &process;
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	worker = begin_to_wait(&scene, &creator);
	for (int i = 0; i < LIARS; i++)
		lie_in_own_queue(&scene.daemon, i % 2);
	suite_expect_clean(&scene);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	end_to_wait(&scene, &creator);
}
END_TEST

/* As many as it may have connections; then it is told so as anybody is. */
static void
lie_and_stay(int control, void *arg)
{
	const struct harness_daemon *daemon = arg;
	struct harness_conn conn;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	/* One is for who looks whether the others have been. */
	for (int i = 0; i < LIARS - 1; i++)
		lie_in_own_queue(daemon, i % 2);
	harness_open(&conn, daemon->socket);
	suite_farewell(harness_dial(daemon->socket), -EDQUOT, "limits.clients", "one more");
	harness_say(control, "full");
	harness_expect(control, "end");
}

START_TEST(who_lies_in_its_own_queue_counts_until_its_process_ends)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn creator;
	struct suite_scene scene;
	pid_t worker;

	harness_need_root();
	harness_daemon_start(&scene.daemon, "workers = 1; limits = { clients = 8; };", slow);
	worker = begin_to_wait(&scene, &creator);
	harness_child_start(&child, lie_and_stay, &scene.daemon);
	harness_expect(child.control, "full");
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_charged{kind=\"clients\"}"), LIARS + 3);
	suite_serves(&scene.daemon);
	harness_child_kill(&child);
	suite_expect_clean(&scene);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	end_to_wait(&scene, &creator);
}
END_TEST

/* As many as may be told something that the kernel has to know, between two times at which others are heard. */
static unsigned
most_controls(pid_t pid, const struct harness_conn *last)
{
	struct pollfd poll_fd = { .fd = last->fd, .events = POLLIN };
	unsigned n = 0, most = 0;
	bool is_entry = false;

	ck_assert_int_eq(ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD), 0);
	ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	for (;;) {
		struct __ptrace_syscall_info info = { 0 };
		int status = harness_await_state(pid, __WALL, "the traced daemon"), sig = WSTOPSIG(status);

		ck_assert(WIFSTOPPED(status));
		if (sig == (SIGTRAP | 0x80)) {
			ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), 0);
			is_entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
			sig = 0;
		} else if (status >> 16)
			sig = 0;
		n += is_entry && info.entry.nr == SYS_epoll_ctl;
		if (is_entry && (info.entry.nr == SYS_epoll_wait || info.entry.nr == SYS_epoll_pwait)) {
			most = n > most ? n : most;
			n = 0;
			if (poll(&poll_fd, 1, 0) == 1)
				break;
		}
		is_entry = false;
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(uintptr_t)sig), 0);
	}
	ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
	return most;
}

/* What hundreds wait for has come: each is told, in its turn. */
START_TEST(who_waited_is_woken_in_turns)
{
	struct harness_conn creator, conns[WAITERS];
	struct protocol_wait request;
	struct harness_reply reply;
	struct suite_scene scene;
	unsigned most;
	pid_t worker;

	tracer_skip_unless_permitted();
	harness_daemon_start(&scene.daemon, "workers = 1;", slow);
	worker = begin_to_wait(&scene, &creator);
	for (unsigned i = 0; i < WAITERS; i++) {
		harness_open(&conns[i], scene.daemon.socket);
		request = (struct protocol_wait) { .progress_bytes = PROTOCOL_WAIT_STATE, .name = "slow-a" };
		harness_fill(&conns[i], &request.header, PROTOCOL_WAIT, sizeof(request));
		ck_assert_int_eq(harness_send(conns[i].fd, &request, sizeof(request), NULL, 0), sizeof(request));
	}
	/* All of them wait by then. */
	suite_serves(&scene.daemon);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	most = most_controls(scene.daemon.pid, &conns[0]);
	harness_assert(most < WAITERS, "%u calls of epoll_ctl in one turn, for %u that waited", most, WAITERS);
	for (unsigned i = 0; i < WAITERS; i++) {
		ck_assert_int_gt(harness_receive(conns[i].fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, 0);
		harness_close(&conns[i]);
	}
	end_to_wait(&scene, &creator);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("stalled");
	TCase *tcase = tcase_create("stalled");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_reads_nothing_holds_one_fd_and_delays_nobody);
	tcase_add_test(tcase, unread_answers_do_not_grow_the_daemon);
	tcase_add_test(tcase, who_reads_nothing_and_dies_leaves_nothing);
	tcase_add_test(tcase, half_closed_sockets_end_their_sessions);
	tcase_add_test(tcase, clients_that_die_while_they_wait_leave_nothing);
	tcase_add_test(tcase, who_waited_is_woken_in_turns);
	tcase_add_test(tcase, who_is_no_process_does_not_stay_in_its_own_queue);
	tcase_add_test(tcase, who_lies_in_its_own_queue_counts_until_its_process_ends);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
