/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A reader lays thousands of locks on a segment's memory, which each mark and each close then goes over: it makes the daemon's work
 * for that segment dear, and takes no more than a part of the daemon's time by it. Who asks for that segment is given it all the
 * same, one after the other; who asks for another does not wait.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "tests/system/suite.h"

#define N_LOCKS		12000		/* a mark takes 0.2 ms with them, and a second or two is needed to lay them */
#define N_FLOODERS	3
#define N_ROWS		PROTOCOL_ATTACH_ROWS
#define FLOOD_NS	(2 * NS_PER_SEC)

static const char body[] =
    "segments = ( { name = \"book\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; },\n"
    "    { name = \"other\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"job-\"; max_size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );";

struct hostile {
	const char *socket;
	const char *name;
};

struct world {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct harness_child child;
	struct hostile hostile;
	int created_fd;
};

static int
attach(struct harness_conn *conn, const char *name, struct protocol_attached *ret_attached)
{
	int fd, r = harness_attach(conn, name, SUITE_READ, ret_attached, &fd);

	harness_assert(r == 0, "attach %s: %s", name, strerror(-r));
	return fd;
}

static void
pass_by(struct harness_conn *conn, const char *name)
{
	struct protocol_attached attached;
	int fd = attach(conn, name, &attached);

	harness_assert(harness_detach(conn, &attached) == 0, "detach");
	(void)close(fd);
}

static void
become_stranger(void)
{
	if (geteuid() == 0)
		harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
}

static void
flood(const struct hostile *hostile)
{
	struct harness_conn conn;

	harness_open(&conn, hostile->socket);
	for (;;)
		pass_by(&conn, hostile->name);
}

/* Lays the locks; then it attaches and detaches as fast as it can, if it is told so. */
static void
crowd(int control, void *arg)
{
	const struct hostile *hostile = arg;
	struct harness_conn conn;
	int fd;

	become_stranger();
	harness_open(&conn, hostile->socket);
	fd = attach(&conn, hostile->name, NULL);
	/* From the last one on: where each is laid is found at once then. */
	for (off_t at = 2 * N_LOCKS; at; at -= 2) {
		struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

		harness_assert(fcntl(fd, F_OFD_SETLK, &lock) == 0, "lock: %s", strerror(errno));
	}
	harness_say(control, "laid");
	harness_expect(control, "flood");
	for (unsigned i = 0; i < N_FLOODERS; i++)
		if (harness_fork() == 0)
			flood(hostile);
	harness_say(control, "flooding");
	harness_expect(control, "end");
}

static void
world_begin(struct world *world, const char *name)
{
	*world = (struct world) { .hostile.name = name, .child = HARNESS_CHILD_NULL, .created_fd = -1 };
	harness_daemon_start(&world->daemon, NULL, body);
	world->hostile.socket = world->daemon.socket;
	harness_open(&world->conn, world->daemon.socket);
	harness_usage_read(world->daemon.pid, &world->before);
	if (!strcmp(name, "job-a"))
		harness_assert(harness_create(&world->conn, name, 4096, NULL, &world->created_fd) == 0, "create");
	harness_child_start(&world->child, crowd, &world->hostile);
	harness_expect(world->child.control, "laid");
}

static void
world_end(struct world *world)
{
	harness_usage_await(&world->conn, world->daemon.pid, &world->before);
	harness_daemon_stop(&world->daemon);
}

static uint64_t
cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t id;

	harness_assert(clock_getcpuclockid(pid, &id) == 0 && clock_gettime(id, &t) == 0, "the daemon's clock");
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

START_TEST(who_lays_locks_takes_a_part_of_the_time)
{
	static const char told[] = "segment 'book': an attach takes ";
	uint64_t begun_ns, used_ns, passed_ns, cost_us, n_rests;
	struct world world;
	unsigned n = 0;

	world_begin(&world, "book");
	harness_say(world.child.control, "flood");
	harness_expect(world.child.control, "flooding");
	begun_ns = clock_monotonic_ns();
	used_ns = cpu_ns(world.daemon.pid);
	do {
		pass_by(&world.conn, "other");
		if (n++ % 64 == 0)
			pass_by(&world.conn, "book");
		/* Most of what the daemon does is the flood's, and not ours. */
		(void)poll(NULL, 0, 1);
		passed_ns = clock_monotonic_ns() - begun_ns;
	} while (passed_ns < FLOOD_NS);
	used_ns = cpu_ns(world.daemon.pid) - used_ns;
	harness_assert(used_ns < passed_ns * 6 / 10, "%" PRIu64 " of %" PRIu64 " ms", used_ns / NS_PER_MS, passed_ns / NS_PER_MS);
	harness_daemon_await_log(&world.daemon, told);
	cost_us = strtoull(strstr(harness_daemon_log(&world.daemon), told) + sizeof(told) - 1, NULL, 10);
	n_rests = suite_figure(&world.daemon, "segmentd_attach_rests_total");
	ck_assert_uint_gt(n_rests, 10);
	/* Each rest is eight times as long as its attach, which does not always take the same. */
	passed_ns = clock_monotonic_ns() - begun_ns;
	harness_assert(n_rests * cost_us * 1000 * 4 < passed_ns, "%" PRIu64 " attaches of %" PRIu64 " us in %" PRIu64 " ms", n_rests,
	    cost_us, passed_ns / NS_PER_MS);
	/* The flood's processes end with their connections' errors: it is their parent that is waited for. */
	harness_child_kill(&world.child);
	harness_daemon_stop(&world.daemon);
}
END_TEST

/* Rows from first to before end are of the segment that is not crowded. */
static void
send_many(int fd, struct harness_conn *conn, const char *name, unsigned first, unsigned end)
{
	union suite_request request = { 0 };
	struct protocol_attach_row *rows = (void *)(&request.many + 1);
	size_t size = sizeof(request.many) + N_ROWS * sizeof(*rows);

	harness_fill(conn, &request.header, PROTOCOL_ATTACH_MANY, size);
	request.many.n_rows = N_ROWS;
	for (unsigned i = 0; i < N_ROWS; i++) {
		(void)snprintf(rows[i].name, sizeof(rows[i].name), "%s", i >= first && i < end ? "other" : name);
		rows[i].access = SUITE_READ;
	}
	harness_assert(harness_send(fd, &request, size, NULL, 0) == (ssize_t)size, "send: %s", strerror(errno));
}

static bool
is_answered(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

/* The locks go with who has laid them, and that is told. */
static void
leave(struct world *world)
{
	harness_child_kill(&world->child);
	harness_await_counts(&world->conn, "book", 0, 0);
	pass_by(&world->conn, "book");
	harness_daemon_await_log(&world->daemon, "an attach takes as little time as it should again");
}

START_TEST(many_go_in_turns)
{
	const struct protocol_attached_many *many;
	struct harness_reply reply;
	struct harness_conn asker;
	struct world world;

	world_begin(&world, "book");
	harness_open(&asker, world.daemon.socket);
	send_many(asker.fd, &asker, "book", N_ROWS / 2, N_ROWS / 2 + 1);
	for (unsigned i = 0; i < 20; i++)
		pass_by(&world.conn, "other");
	harness_assert(!is_answered(asker.fd), "all were attached in one turn");
	harness_await_readable(asker.fd, "the answer");
	harness_assert(harness_receive(asker.fd, &reply) > 0, "the answer");
	ck_assert_int_eq(reply.header.status, 0);
	many = (const void *)&reply;
	ck_assert_uint_eq(many->n_rows, N_ROWS);
	ck_assert_uint_eq(reply.n_fds, N_ROWS);
	/* How many, depends on where in the list each mark belongs. */
	ck_assert_uint_gt(suite_figure(&world.daemon, "segmentd_attach_rests_total"), 0);
	for (unsigned i = 0; i < N_ROWS; i++) {
		struct stat found, first;

		ck_assert_int_eq(fstat(reply.fds[0], &first), 0);
		ck_assert_int_eq(fstat(reply.fds[i], &found), 0);
		ck_assert_int_eq(found.st_ino != first.st_ino, i == N_ROWS / 2);
	}
	harness_daemon_await_log(&world.daemon, "segment 'book': an attach takes ");
	harness_await_counts(&world.conn, "other", 1, 0);
	harness_close(&asker);
	for (unsigned i = 0; i < N_ROWS; i++)
		(void)close(reply.fds[i]);
	leave(&world);
	world_end(&world);
}
END_TEST

/* 0: who asked goes; 1: a segment of them goes. */
START_TEST(what_is_left_half_way_leaves_nothing)
{
	struct harness_conn asker;
	struct harness_reply reply;
	struct world world;
	struct protocol_segment row;

	world_begin(&world, "job-a");
	harness_open(&asker, world.daemon.socket);
	send_many(asker.fd, &asker, "job-a", N_ROWS / 2, N_ROWS / 2 + 1);
	/* Some of it is attached: besides the creator's and the other's. */
	do
		ck_assert_int_eq(harness_find(&world.conn, "job-a", &row), 0);
	while (row.readers < 4);
	harness_assert(!is_answered(asker.fd), "all were attached in one turn");
	if (_i == 0) {
		harness_close(&asker);
		harness_await_counts(&world.conn, "job-a", 1, 1);
	}
	ck_assert_int_eq(harness_remove(&world.conn, "job-a", PROTOCOL_REMOVE_NOW), 0);
	if (_i == 1) {
		harness_await_readable(asker.fd, "the answer");
		harness_assert(harness_receive(asker.fd, &reply) > 0, "the answer");
		ck_assert_int_eq(reply.header.status, -ENOENT);
		ck_assert_uint_eq(reply.n_fds, 0);
		harness_close(&asker);
	}
	harness_child_kill(&world.child);
	(void)close(world.created_fd);
	harness_await_counts(&world.conn, "other", 0, 0);
	world_end(&world);
}
END_TEST

/* Sends so many requests for figures, to be answered one after the other as soon as the daemon goes on. */
static void
ask_for_figures(struct harness_conn *conn, unsigned n)
{
	struct protocol_header request;

	while (n--) {
		request = (struct protocol_header) { 0 };
		harness_fill(conn, &request, PROTOCOL_METRICS, sizeof(request));
		ck_assert_int_eq(harness_send(conn->fd, &request, sizeof(request), NULL, 0), sizeof(request));
	}
}

/* Who goes in the middle leaves descriptors: those that cost nothing are closed at once, and who it was for pays for the others. */
START_TEST(what_waits_to_be_closed_is_charged)
{
	enum { N_CROWDED = 24, N_SOME = 8, N_FIGURES = 6, N_SESSIONS = 2 };
	uint64_t n_sessions, n_closings = 0;
	struct protocol_segment row;
	struct harness_reply reply;
	struct harness_conn asker;
	struct world world;

	world_begin(&world, "book");
	harness_open(&asker, world.daemon.socket);
	send_many(asker.fd, &asker, "book", 0, N_ROWS - N_CROWDED);
	do
		ck_assert_int_eq(harness_find(&world.conn, "book", &row), 0);
	while (row.readers < 1 + N_SOME);
	ck_assert_int_eq(kill(world.daemon.pid, SIGSTOP), 0);
	harness_assert(!is_answered(asker.fd), "all were attached by then");
	harness_close(&asker);
	ask_for_figures(&world.conn, N_FIGURES);
	ck_assert_int_eq(kill(world.daemon.pid, SIGCONT), 0);
	/* Some are always on their way, so that those of the turn in which it goes are among them. */
	for (unsigned n = N_FIGURES; n; n--) {
		ck_assert_int_gt(harness_receive(world.conn.fd, &reply), 0);
		n_sessions = suite_figure_of(&reply, "segmentd_sessions");
		if (n_sessions > N_SESSIONS) {
			ask_for_figures(&world.conn, 1);
			n++;
			continue;
		}
		n_closings = max_u64(n_closings, suite_figure_of(&reply, "segmentd_descriptors_closing"));
		ck_assert_uint_ge(suite_figure_of(&reply, "segmentd_charged{kind=\"descriptors\"}"),
		    2 * n_sessions + suite_figure_of(&reply, "segmentd_descriptors_closing"));
	}
	ck_assert_uint_ge(n_closings, N_SOME / 2);
	ck_assert_uint_le(n_closings, N_CROWDED);
	harness_child_kill(&world.child);
	harness_await_counts(&world.conn, "other", 0, 0);
	world_end(&world);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("crowded");
	TCase *tcase = tcase_create("crowded");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_lays_locks_takes_a_part_of_the_time);
	tcase_add_test(tcase, many_go_in_turns);
	tcase_add_test(tcase, what_waits_to_be_closed_is_charged);
	tcase_add_loop_test(tcase, what_is_left_half_way_leaves_nothing, 0, 2);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
