/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Worker processes are there to be killed. Here they are, and stopped, while they have a job: that costs the segment that
 * the job was for, and nothing else. To catch one at work for certain, the only worker is stopped while it is idle; the
 * next job is then its.
 */
#include "config.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/system/suite.h"

#define SIZE	(8 * MIB)
#define READ	PROTOCOL_ACCESS_READ
#define WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)

static const char keys[] = "\tworkers = 1;";
static const char body[] =
    "segments = ( { name = \"book\"; size = \"1MiB\"; mlock = false; } );"
    "templates = ( { name = \"job-\"; max_size = \"64MiB\"; max_count = 100; mlock = false; linger = \"0s\"; } );";

/* The one worker; starts one by a job if there is none. */
static pid_t
find_worker(const struct harness_daemon *daemon, struct harness_conn *conn)
{
	pid_t children[8];
	size_t n = harness_children(daemon->pid, children, BASE_ARRAY_SIZE(children));
	int fd;

	if (n == 0) {
		ck_assert_int_eq(harness_create(conn, "job-first", SIZE, NULL, &fd), 0);
		ck_assert_int_eq(close(fd), 0);
		harness_await_gone(conn, "job-first");
		n = harness_children(daemon->pid, children, BASE_ARRAY_SIZE(children));
	}
	harness_assert(n == 1, "%zu workers", n);
	return children[0];
}

static char
process_state(pid_t pid)
{
	char path[64], state = 0;
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		return 0;
	return state;
}

static void
stop_process(pid_t pid)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	while (process_state(pid) != 'T')
		harness_assert(harness_clock_ns() < deadline, "the worker does not stop");
}

/* How long a turn of it on a CPU is. 0: the kernel has one length for all. */
static uint64_t
turn_ns(pid_t pid)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime_ns, deadline_ns, period_ns;
	} attributes = { 0 };

	ck_assert_int_eq(syscall(SYS_sched_getattr, pid, &attributes, sizeof(attributes), 0), 0);
	return attributes.runtime_ns;
}

/* Asks for a segment and does not await it. */
static void
send_create(struct harness_conn *conn, const char *name)
{
	struct protocol_create request = { .size_bytes = SIZE };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	harness_fill(conn, &request.header, PROTOCOL_CREATE, sizeof(request));
	ck_assert_int_eq(harness_send(conn->fd, &request, sizeof(request), NULL, 0), sizeof(request));
}

static void
expect_serving(struct harness_conn *conn)
{
	uint64_t begin_ns = clock_monotonic_ns();
	int fd;

	ck_assert_int_eq(harness_attach(conn, "book", READ, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(conn, "book", 0, 0);
	harness_assert(clock_monotonic_ns() - begin_ns < NS_PER_SEC, "attach and detach took more than a second");
}

/* A daemon whose only worker is stopped with job-a to be done. */
struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_conn creator;
	struct harness_usage before;
	pid_t worker;
};

static void
set_scene(struct scene *scene)
{
	struct protocol_segment row;

	harness_daemon_start(&scene->daemon, keys, body);
	harness_open(&scene->conn, scene->daemon.socket);
	harness_open(&scene->creator, scene->daemon.socket);
	scene->worker = find_worker(&scene->daemon, &scene->conn);
	harness_usage_read(scene->daemon.pid, &scene->before);
	stop_process(scene->worker);
	send_create(&scene->creator, "job-a");
	/* Made, and not ready: its worker does nothing. */
	while (harness_find(&scene->conn, "job-a", &row) == -ENOENT)
		;
	ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	expect_serving(&scene->conn);
}

/* The creator is told, nothing is left of it, and the next one is served. */
static void
expect_failure_and_recovery(struct scene *scene, const char *reason)
{
	struct protocol_segment row;
	struct harness_reply reply;
	int fd, r;

	ck_assert_int_gt(harness_receive(scene->creator.fd, &reply), 0);
	harness_assert(reply.header.status < 0, "created by a dead worker: %d", reply.header.status);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), reason), "the reason is '%s'",
	    reply.bytes + sizeof(reply.header));
	expect_serving(&scene->conn);
	r = harness_find(&scene->conn, "job-a", &row);
	if (r == 0) {
		ck_assert_uint_eq(row.state, PROTOCOL_FAILED);
		ck_assert_uint_eq(row.resident_bytes, 0);
		ck_assert_int_eq(harness_remove(&scene->conn, "job-a", 0), 0);
		harness_await_gone(&scene->conn, "job-a");
	} else
		ck_assert_int_eq(r, -ENOENT);
	ck_assert_int_eq(harness_create(&scene->conn, "job-b", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&scene->conn, "job-b");
	harness_usage_await(&scene->conn, scene->daemon.pid, &scene->before);
	harness_daemon_stop(&scene->daemon);
}

START_TEST(killed_worker_costs_its_segment)
{
	struct scene scene;

	set_scene(&scene);
	ck_assert_int_eq(kill(scene.worker, SIGKILL), 0);
	expect_failure_and_recovery(&scene, "SIGKILL");
}
END_TEST

START_TEST(stuck_worker_costs_its_segment)
{
	struct scene scene;

	set_scene(&scene);
	expect_failure_and_recovery(&scene, "no progress for 10 seconds");
	ck_assert_int_eq(process_state(scene.worker), 0);
}
END_TEST

static void
expect_going_on(struct scene *scene)
{
	struct harness_reply reply;

	ck_assert_int_eq(kill(scene->worker, SIGCONT), 0);
	ck_assert_int_gt(harness_receive(scene->creator.fd, &reply), 0);
	harness_assert(reply.header.status == 0, "it is not created: %s", reply.bytes + sizeof(reply.header));
	ck_assert_uint_eq(reply.n_fds, 1);
	ck_assert_int_eq(close(reply.fds[0]), 0);
	harness_await_gone(&scene->conn, "job-a");
	harness_usage_await(&scene->conn, scene->daemon.pid, &scene->before);
	harness_daemon_stop(&scene->daemon);
}

START_TEST(stopped_worker_goes_on)
{
	struct scene scene;

	set_scene(&scene);
	expect_going_on(&scene);
}
END_TEST

/* It had no more time than the daemon, which is the first to go on. */
START_TEST(worker_is_not_stuck_where_the_machine_stood_still)
{
	struct scene scene;

	set_scene(&scene);
	suite_stand_still(&scene.daemon, 11000);
	expect_serving(&scene.conn);
	ck_assert_int_eq(process_state(scene.worker), 'T');
	expect_going_on(&scene);
}
END_TEST

/* With --now and without: nobody has it, so that there is nothing to wait for. */
START_TEST(segment_is_removed_while_it_is_created)
{
	struct scene scene;
	struct harness_reply reply;
	struct protocol_segment row;
	int fd;

	set_scene(&scene);
	ck_assert_int_eq(harness_remove(&scene.conn, "job-a", _i ? PROTOCOL_REMOVE_NOW : 0), 0);
	/* Its name goes at once; what the worker is at follows. */
	ck_assert_int_eq(harness_find(&scene.conn, "job-a", &row), -ENOENT);
	expect_serving(&scene.conn);
	ck_assert_int_eq(kill(scene.worker, SIGCONT), 0);
	ck_assert_int_gt(harness_receive(scene.creator.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -ESHUTDOWN);
	/* It is not made again, and its creator may make another. */
	ck_assert_int_eq(harness_find(&scene.conn, "job-a", &row), -ENOENT);
	ck_assert_int_eq(harness_create(&scene.creator, "job-b", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&scene.conn, "job-b");
	harness_usage_await(&scene.conn, scene.daemon.pid, &scene.before);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

START_TEST(creator_that_dies_meanwhile_leaves_nothing)
{
	struct scene scene;

	set_scene(&scene);
	harness_close(&scene.creator);
	expect_serving(&scene.conn);
	ck_assert_int_eq(kill(scene.worker, SIGCONT), 0);
	harness_await_gone(&scene.conn, "job-a");
	harness_usage_await(&scene.conn, scene.daemon.pid, &scene.before);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

START_TEST(daemon_stops_with_its_worker_stuck)
{
	struct scene scene;
	uint64_t begin_ns;
	int worker;

	set_scene(&scene);
	worker = (int)syscall(SYS_pidfd_open, scene.worker, 0);
	ck_assert_int_ge(worker, 0);
	begin_ns = harness_clock_ns();
	harness_daemon_stop(&scene.daemon);
	harness_assert(harness_clock_ns() - begin_ns < 5 * NS_PER_SEC, "it took more than 5 s to stop");
	harness_await_readable(worker, "the worker's end");
}
END_TEST

START_TEST(worker_ends_with_its_daemon)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	int worker;

	harness_daemon_start(&daemon, keys, body);
	harness_open(&conn, daemon.socket);
	worker = (int)syscall(SYS_pidfd_open, find_worker(&daemon, &conn), 0);
	ck_assert_int_ge(worker, 0);
	harness_daemon_kill(&daemon);
	harness_await_readable(worker, "the worker's end");
	harness_daemon_remove(&daemon);
}
END_TEST

/* Whatever it does at that moment: populate, give pages back, close. */
START_TEST(workers_killed_at_random_leave_nothing)
{
	unsigned n_rounds = 30 * harness_scale(), seed = 20260, n_created = 0;
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct protocol_segment rows[256];

	harness_daemon_start(&daemon, "\tworkers = 2;", body);
	harness_open(&conn, daemon.socket);
	(void)find_worker(&daemon, &conn);
	harness_usage_read(daemon.pid, &before);
	before.children = 2;
	before.sockets += 2;		/* a worker's channel each, and a pidfd */
	before.fds += 4;
	for (unsigned i = 0; i < n_rounds; i++) {
		struct harness_conn creator;
		struct harness_reply reply;
		pid_t children[8];
		size_t n;

		harness_open(&creator, daemon.socket);
		send_create(&creator, "job-x");
		for (int turns = rand_r(&seed) % 8; turns > 0; turns--)
			(void)harness_list(&conn, rows, BASE_ARRAY_SIZE(rows));
		n = harness_children(daemon.pid, children, BASE_ARRAY_SIZE(children));
		for (size_t k = 0; k < n; k++)
			(void)kill(children[k], SIGKILL);
		ck_assert_int_gt(harness_receive(creator.fd, &reply), 0);
		n_created += reply.header.status == 0;
		if (reply.n_fds)
			(void)close(reply.fds[0]);
		harness_close(&creator);
		(void)harness_remove(&conn, "job-x", 0);
		harness_await_gone(&conn, "job-x");
	}
	(void)printf("%u of %u segments were created beside killed workers\n", n_created, n_rounds);
	expect_serving(&conn);
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

enum { QUEUED = 20 };

/* Another uid's segments: as many as there are are made one after the other. */
static void
create_as_nobody(int control, void *arg)
{
	const struct scene *scene = arg;
	struct harness_conn conn;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, scene->daemon.socket);
	for (int i = 0; i < 3; i++) {
		char name[32];
		int fd;

		(void)snprintf(name, sizeof(name), "job-nobody-%d", i);
		ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, &fd), 0);
		(void)close(fd);
	}
	harness_say(control, "created");
	harness_expect(control, "end");
	harness_close(&conn);
}

/* All workers are at one uid's job, which comes to no end, and more of its jobs wait: another's are done all the same. */
START_TEST(uid_that_has_all_workers_delays_no_other)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conns[QUEUED];
	struct protocol_segment row;
	struct harness_reply reply;
	struct scene scene;
	char name[32];

	harness_need_root();
	set_scene(&scene);
	for (int i = 0; i < QUEUED; i++) {
		harness_open(&conns[i], scene.daemon.socket);
		(void)snprintf(name, sizeof(name), "job-more-%d", i);
		send_create(&conns[i], name);
		while (harness_find(&scene.conn, name, &row) == -ENOENT)
			;
	}
	harness_child_start(&child, create_as_nobody, &scene);
	harness_expect(child.control, "created");
	/* The extra one does nothing for who has the others. */
	for (int i = 0; i < QUEUED; i++) {
		(void)snprintf(name, sizeof(name), "job-more-%d", i);
		ck_assert_int_eq(harness_find(&scene.conn, name, &row), 0);
		ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	}
	ck_assert_int_eq(kill(scene.worker, SIGCONT), 0);
	for (int i = 0; i < QUEUED; i++) {
		ck_assert_int_gt(harness_receive(conns[i].fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, 0);
		(void)close(reply.fds[0]);
		harness_close(&conns[i]);
	}
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_close(&scene.creator);
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

/* Many wait for the daemon, and few for a worker. */
START_TEST(daemon_has_short_turns_and_workers_have_not)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	uint64_t usual_ns = turn_ns(0);
	pid_t worker;

	if (!usual_ns)
		harness_skip("Linux 6.12 has turns of a process's own, this one does not");
	harness_daemon_start(&daemon, keys, body);
	harness_open(&conn, daemon.socket);
	worker = find_worker(&daemon, &conn);
	ck_assert_uint_lt(turn_ns(daemon.pid), usual_ns);
	ck_assert_uint_eq(turn_ns(worker), usual_ns);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("workers");
	TCase *tcase = tcase_create("workers");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, killed_worker_costs_its_segment);
	tcase_add_test(tcase, stuck_worker_costs_its_segment);
	tcase_add_test(tcase, stopped_worker_goes_on);
	tcase_add_test(tcase, worker_is_not_stuck_where_the_machine_stood_still);
	tcase_add_loop_test(tcase, segment_is_removed_while_it_is_created, 0, 2);
	tcase_add_test(tcase, creator_that_dies_meanwhile_leaves_nothing);
	tcase_add_test(tcase, daemon_stops_with_its_worker_stuck);
	tcase_add_test(tcase, worker_ends_with_its_daemon);
	tcase_add_test(tcase, workers_killed_at_random_leave_nothing);
	tcase_add_test(tcase, daemon_has_short_turns_and_workers_have_not);
	tcase_add_test(tcase, uid_that_has_all_workers_delays_no_other);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
