/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Events, on the wire: who is told what, and what it costs everybody when a subscriber does not read, lies, or when a thousand
 * clients die at once.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "tests/system/suite.h"

#define N_DYING		1000
#define N_BURIED	40
#define N_SUBSCRIBERS	1000
#define N_TOLD		20		/* attachments that all of them are told of: two events each */
#define N_UNREAD	2000		/* attachments that come and go while nobody reads: two events each */
#define N_KEPT		2048		/* events that the daemon keeps */

static const char events_body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; },\n"
    "\t{ name = \"side\"; size = \"64KiB\"; prefault = false; mlock = false; },\n"
    "\t{ name = \"open\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"scratch-\"; max_size = \"1MiB\"; max_count = 200; prefault = false; mlock = false; } );";

static int
subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session)
{
	struct protocol_subscribe request = { .flags = flags, .session = session };
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
}

/* A connection that is told of everything. */
static void
observe(struct suite_scene *scene, struct harness_conn *conn)
{
	suite_dial(scene, conn, true);
	ck_assert_int_eq(subscribe(conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
}

/* A connection that is told of what another one is attached to. */
static void
follow(struct suite_scene *scene, struct harness_conn *conn, const struct harness_conn *watched)
{
	suite_dial(scene, conn, true);
	ck_assert_int_eq(subscribe(conn, PROTOCOL_SUBSCRIBE_ON, watched->session), 0);
}

static void
check_event(const struct harness_reply *reply, struct protocol_event *ret_event)
{
	struct protocol_event event;

	harness_assert(reply->size == sizeof(event), "an event of %zu bytes", reply->size);
	memcpy(&event, reply->bytes, sizeof(event));
	harness_assert(event.header.type == PROTOCOL_EVENT && event.header.serial == 0 && event.header.status == 0 &&
	    event.header.flags == (PROTOCOL_REPLY | PROTOCOL_PUSHED) && event.header.size == sizeof(event),
	    "type %u, serial %ju, flags %#x", event.header.type, (uintmax_t)event.header.serial, event.header.flags);
	harness_assert(event.kind < PROTOCOL_EVENT_N && reply->n_fds == 0, "kind %u, %u fds", event.kind, reply->n_fds);
	*ret_event = event;
}

static void
next_event(struct harness_conn *conn, struct protocol_event *ret_event)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(conn->fd, &reply);

	harness_assert(n > 0, "no event came: %zd", n);
	check_event(&reply, ret_event);
}

static void
expect_event(struct harness_conn *conn, enum protocol_event_kind kind, const char *segment, pid_t pid)
{
	struct protocol_event event;

	next_event(conn, &event);
	harness_assert(event.kind == kind && streq(event.segment, segment) && event.pid == pid && event.lost == 0 &&
	    event.lock == -1, "event %u of '%s' (pid %d, %ju lost) came instead of %d of '%s' (pid %d)", event.kind,
	    event.segment, event.pid, (uintmax_t)event.lost, kind, segment, (int)pid);
	harness_assert(event.time_ns > clock_realtime_ns() - 60 * NS_PER_SEC && event.time_ns <= clock_realtime_ns(),
	    "at %ju", (uintmax_t)event.time_ns);
}

/* Nothing has been sent: asked after a round trip of another client, so that whatever was posted has been pumped. */
static void
expect_silence(struct suite_scene *scene, struct harness_conn *conn)
{
	struct pollfd poll_fd = { .fd = conn->fd, .events = POLLIN };

	for (int i = 0; i < 3; i++)
		suite_serves(&scene->daemon);
	harness_assert(poll(&poll_fd, 1, 0) == 0, "something came");
}

/* Attaches and gives back n times; each is two events. */
static void
come_and_go(struct suite_scene *scene, const char *name, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = suite_attach(&scene->watcher, name, SUITE_READ);

		(void)close(fd);
		if (i % 64 == 63)
			harness_await_counts(&scene->watcher, name, 0, 0);
	}
	harness_await_counts(&scene->watcher, name, 0, 0);
}

START_TEST(life_of_a_segment_is_told)
{
	struct harness_conn conn, maker;
	struct protocol_attached attached;
	struct protocol_event event;
	struct suite_scene scene;
	int fd;

	suite_begin(&scene, NULL, events_body);
	observe(&scene, &conn);
	suite_dial(&scene, &maker, true);
	ck_assert_int_eq(harness_create(&maker, "scratch-a", 4096, &attached, &fd), 0);
	expect_event(&conn, PROTOCOL_EVENT_READY, "scratch-a", 0);
	expect_event(&conn, PROTOCOL_EVENT_ATTACHED, "scratch-a", getpid());
	ck_assert_int_eq(harness_remove(&maker, "scratch-a", 0), 0);
	expect_event(&conn, PROTOCOL_EVENT_DRAINING, "scratch-a", 0);
	(void)close(fd);
	next_event(&conn, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_DETACHED && event.pid == getpid() && event.uid == getuid(),
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	next_event(&conn, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_REMOVED && event.pid == 0 && event.uid == PROTOCOL_NOBODY,
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	/* Off: silence. On again: it goes on. */
	ck_assert_int_eq(subscribe(&conn, 0, 0), 0);
	come_and_go(&scene, "desk", 3);
	expect_silence(&scene, &conn);
	/* And it gets fds as any other meanwhile. */
	fd = suite_attach(&conn, "side", SUITE_READ);
	(void)close(fd);
	harness_await_counts(&scene.watcher, "side", 0, 0);
	ck_assert_int_eq(subscribe(&conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	come_and_go(&scene, "desk", 1);
	expect_event(&conn, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	harness_close(&maker);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

static void
attach_and_stay(int control, void *arg)
{
	const char *socket = arg;
	struct harness_conn conn;

	harness_open(&conn, socket);
	(void)suite_attach(&conn, "desk", SUITE_WRITE);
	harness_say(control, "attached");
	harness_expect(control, "end");
}

START_TEST(death_is_told_to_those_that_are_attached)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn desk, desk_events, side, side_events;
	struct protocol_event event;
	struct suite_scene scene;
	int desk_fd, side_fd;
	pid_t pid;

	suite_begin(&scene, NULL, events_body);
	suite_dial(&scene, &desk, true);
	suite_dial(&scene, &side, true);
	/* Attached before the subscription, and after it. */
	desk_fd = suite_attach(&desk, "desk", SUITE_READ);
	follow(&scene, &desk_events, &desk);
	follow(&scene, &side_events, &side);
	side_fd = suite_attach(&side, "side", SUITE_READ);
	harness_child_start(&child, attach_and_stay, scene.daemon.socket);
	harness_expect(child.control, "attached");
	pid = child.pid;
	expect_event(&desk_events, PROTOCOL_EVENT_ATTACHED, "desk", pid);
	harness_child_kill(&child);
	for (int i = 0; i < 2; i++) {
		next_event(&desk_events, &event);
		harness_assert((event.kind == PROTOCOL_EVENT_DIED || event.kind == PROTOCOL_EVENT_DETACHED) &&
		    event.pid == pid && event.uid == getuid() && streq(event.segment, "desk"), "event %u, pid %d, uid %u",
		    event.kind, event.pid, event.uid);
	}
	expect_silence(&scene, &desk_events);
	expect_silence(&scene, &side_events);
	/* Who closes its connection and lives on is not dead. */
	harness_close(&side);
	(void)close(desk_fd);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	/* Its own end is no news; and what it is not attached to any more is none of its business. */
	expect_silence(&scene, &desk_events);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	expect_silence(&scene, &desk_events);
	(void)close(side_fd);
	harness_close(&desk);
	harness_close(&desk_events);
	harness_close(&side_events);
	suite_end(&scene);
}
END_TEST

/* More at once than the daemon puts off closing; and the first that is told finds the table right. */
START_TEST(the_dead_are_in_no_table_and_leave_no_descriptors)
{
	struct harness_child children[N_BURIED];
	struct harness_usage before;
	struct protocol_event event;
	struct protocol_segment row;
	struct suite_scene scene;
	struct harness_conn conn;

	suite_begin(&scene, NULL, events_body);
	observe(&scene, &conn);
	harness_usage_read(scene.daemon.pid, &before);
	for (int i = 0; i < N_BURIED; i++) {
		children[i] = (struct harness_child)HARNESS_CHILD_NULL;
		harness_child_start(&children[i], attach_and_stay, scene.daemon.socket);
		harness_expect(children[i].control, "attached");
		expect_event(&conn, PROTOCOL_EVENT_ATTACHED, "desk", children[i].pid);
	}
	for (int i = 0; i < N_BURIED; i++) {
		pid_t pid = children[i].pid;

		if (i < 3) {
			harness_child_kill(&children[i]);
			do
				next_event(&conn, &event);
			while (event.kind != PROTOCOL_EVENT_DIED);
			ck_assert_int_eq(event.pid, pid);
			ck_assert_int_eq(harness_find(&scene.watcher, "desk", &row), 0);
			ck_assert_uint_eq(row.readers + row.writers, N_BURIED - 1 - (unsigned)i);
		} else
			(void)kill(pid, SIGKILL);
	}
	for (int i = 3; i < N_BURIED; i++)
		harness_child_kill(&children[i]);
	harness_usage_await(&scene.watcher, scene.daemon.pid, &before);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

START_TEST(ready_is_told_to_who_waits_for_it)
{
	struct harness_conn conn, events;
	struct suite_scene scene;
	pid_t worker;

	harness_daemon_start(&scene.daemon, "workers = 1;",
	    "segments = ( { name = \"slow\"; size = \"64MiB\"; required = false; mlock = false; } );");
	worker = suite_worker_stop(&scene.daemon);
	harness_open(&conn, scene.daemon.socket);
	follow(&scene, &events, &conn);
	ck_assert_int_eq(harness_attach(&conn, "slow", SUITE_READ, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	expect_event(&events, PROTOCOL_EVENT_READY, "slow", 0);
	ck_assert_int_eq(harness_attach(&conn, "slow", SUITE_READ, NULL, NULL), 0);
	harness_close(&events);
	harness_close(&conn);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

struct stranger {
	const char *socket;
	uint64_t foreign_session;
};

static void
be_a_stranger(int control, void *arg)
{
	struct stranger *stranger = arg;
	struct harness_conn conn, own, all;
	struct protocol_event event;
	int fd;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, stranger->socket);
	harness_open(&own, stranger->socket);
	harness_open(&all, stranger->socket);
	ck_assert_int_eq(subscribe(&own, PROTOCOL_SUBSCRIBE_ON, stranger->foreign_session), -ENOENT);
	ck_assert_int_eq(subscribe(&own, PROTOCOL_SUBSCRIBE_ON, conn.session), 0);
	ck_assert_int_eq(subscribe(&all, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	harness_say(control, "subscribed");
	harness_expect(control, "moved");
	/* Of all that has happened, the first that exists for it: of "open", to which it was not attached then. */
	expect_event(&all, PROTOCOL_EVENT_ATTACHED, "open", getppid());
	expect_event(&all, PROTOCOL_EVENT_DETACHED, "open", getppid());
	fd = suite_attach(&conn, "open", SUITE_READ);
	next_event(&all, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_ATTACHED && event.pid == getpid() && event.uid == HARNESS_NOBODY,
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	harness_say(control, "attached");
	harness_expect(control, "moved");
	expect_event(&own, PROTOCOL_EVENT_ATTACHED, "open", getppid());
	(void)close(fd);
}

START_TEST(strangers_see_what_they_may_attach_and_no_more)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct stranger stranger;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, events_body);
	stranger = (struct stranger) { .socket = scene.daemon.socket, .foreign_session = scene.watcher.session };
	harness_child_start(&child, be_a_stranger, &stranger);
	harness_expect(child.control, "subscribed");
	come_and_go(&scene, "desk", 3);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-a", 4096, NULL, NULL), 0);
	harness_await_gone(&scene.watcher, "scratch-a");
	come_and_go(&scene, "open", 1);
	harness_say(child.control, "moved");
	harness_expect(child.control, "attached");
	(void)close(suite_attach(&scene.watcher, "open", SUITE_READ));
	harness_say(child.control, "moved");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

/* Reads until `total` events were received or counted as lost. The number that were lost. */
static uint64_t
account_for(struct harness_conn *conn, uint64_t total)
{
	uint64_t n = 0, lost = 0;

	while (n + lost < total) {
		struct protocol_event event;

		next_event(conn, &event);
		lost += event.lost;
		n += event.kind != PROTOCOL_EVENT_LOST;
	}
	harness_assert(n + lost == total, "%ju events and %ju lost of %ju", (uintmax_t)n, (uintmax_t)lost, (uintmax_t)total);
	return lost;
}

START_TEST(who_does_not_read_is_told_how_many_were_lost)
{
	struct protocol_list list = { 0 };
	struct harness_conn idle, reader;
	struct suite_scene scene;
	uint64_t before_kib, grown_kib, lost;

	suite_begin(&scene, NULL, events_body);
	observe(&scene, &reader);
	come_and_go(&scene, "desk", N_KEPT);
	ck_assert_uint_lt(account_for(&reader, 2 * N_KEPT), 2 * N_KEPT);
	harness_close(&reader);

	observe(&scene, &idle);
	before_kib = harness_status_figure(scene.daemon.pid, "VmRSS:");
	come_and_go(&scene, "desk", N_UNREAD);
	/* What it asks meanwhile is answered in its time. */
	harness_fill(&idle, &list.header, PROTOCOL_LIST, sizeof(list));
	ck_assert_int_eq(harness_send(idle.fd, &list, sizeof(list), NULL, 0), (ssize_t)sizeof(list));
	suite_serves(&scene.daemon);
	grown_kib = harness_status_figure(scene.daemon.pid, "VmRSS:") - before_kib;
	/* A sanitizer keeps what was freed for a while. */
	harness_assert((int64_t)grown_kib < (harness_has_sanitizers() ? 16384 : 1024), "grown by %ju KiB", (uintmax_t)grown_kib);

	lost = 0;
	for (uint64_t n = 0, n_replies = 0; n + lost < 2 * N_UNREAD || n_replies < 1;) {
		struct harness_reply reply;
		struct protocol_event event;

		ck_assert_int_gt(harness_receive(idle.fd, &reply), 0);
		if (reply.header.type == PROTOCOL_LIST) {
			ck_assert_uint_eq(reply.header.serial, idle.serial);
			ck_assert_int_eq(reply.header.status, 0);
			n_replies++;
			continue;
		}
		check_event(&reply, &event);
		lost += event.lost;
		n++;
		harness_assert(n + lost <= 2 * N_UNREAD, "%ju events and %ju lost", (uintmax_t)n, (uintmax_t)lost);
	}
	printf("%d events while nobody read: %ju lost, %ju KiB grown\n", 2 * N_UNREAD, (uintmax_t)lost, (uintmax_t)grown_kib);
	ck_assert_uint_gt(lost, 2 * N_UNREAD - N_KEPT - 1000);
	/* All is well again. */
	come_and_go(&scene, "side", 1);
	expect_event(&idle, PROTOCOL_EVENT_ATTACHED, "side", getpid());
	expect_event(&idle, PROTOCOL_EVENT_DETACHED, "side", getpid());
	harness_close(&idle);
	suite_end(&scene);
}
END_TEST

/* CPU time of the daemon while nothing happens; a death would show on its pidfd. */
static uint64_t
cpu_at_rest(const struct suite_scene *scene, int ms)
{
	struct pollfd death = { .fd = scene->daemon.pidfd, .events = POLLIN };
	struct timespec before, after;
	clockid_t clock;

	ck_assert_int_eq(clock_getcpuclockid(scene->daemon.pid, &clock), 0);
	(void)clock_gettime(clock, &before);
	ck_assert_int_eq(poll(&death, 1, ms), 0);
	(void)clock_gettime(clock, &after);
	return (uint64_t)(after.tv_sec - before.tv_sec) * NS_PER_SEC + (uint64_t)after.tv_nsec - (uint64_t)before.tv_nsec;
}

START_TEST(who_does_not_read_costs_no_time)
{
	struct protocol_subscribe off = { .flags = 0 };
	struct harness_reply reply;
	struct harness_conn idle;
	struct suite_scene scene;
	uint64_t cpu_ns;

	suite_begin(&scene, NULL, events_body);
	observe(&scene, &idle);
	come_and_go(&scene, "desk", 500);
	cpu_ns = cpu_at_rest(&scene, 300);
	harness_assert(cpu_ns < 30 * NS_PER_MS, "%ju us at rest", (uintmax_t)cpu_ns / 1000);
	/* It has enough of events: its answer waits until it has read, and so does the daemon. */
	harness_fill(&idle, &off.header, PROTOCOL_SUBSCRIBE, sizeof(off));
	ck_assert_int_eq(harness_send(idle.fd, &off, sizeof(off), NULL, 0), (ssize_t)sizeof(off));
	cpu_ns = cpu_at_rest(&scene, 300);
	harness_assert(cpu_ns < 30 * NS_PER_MS, "%ju us at rest with an answer due", (uintmax_t)cpu_ns / 1000);
	do
		ck_assert_int_gt(harness_receive(idle.fd, &reply), 0);
	while (reply.header.type == PROTOCOL_EVENT);
	ck_assert_uint_eq(reply.header.serial, idle.serial);
	ck_assert_int_eq(reply.header.status, 0);
	come_and_go(&scene, "desk", 10);
	expect_silence(&scene, &idle);
	cpu_ns = cpu_at_rest(&scene, 300);
	harness_assert(cpu_ns < 30 * NS_PER_MS, "%ju us at rest in the end", (uintmax_t)cpu_ns / 1000);
	(void)close(suite_attach(&idle, "desk", SUITE_READ));
	harness_close(&idle);
	suite_end(&scene);
}
END_TEST

START_TEST(a_loss_is_told_though_no_event_follows)
{
	struct harness_conn desk, idle, reader;
	struct protocol_event event;
	struct suite_scene scene;
	uint64_t n = 0;
	int fd;

	suite_begin(&scene, NULL, events_body);
	suite_dial(&scene, &desk, true);
	fd = suite_attach(&desk, "desk", SUITE_READ);
	follow(&scene, &idle, &desk);
	/* More than its socket takes; then others' events push what it was to be sent out of what is kept. */
	for (int i = 0; i < 500; i++)
		(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	harness_await_counts(&scene.watcher, "desk", 1, 0);
	observe(&scene, &reader);
	come_and_go(&scene, "side", N_KEPT);
	(void)account_for(&reader, 2 * N_KEPT);
	do {
		next_event(&idle, &event);
		n += event.kind != PROTOCOL_EVENT_LOST;
	} while (event.kind != PROTOCOL_EVENT_LOST);
	ck_assert_uint_eq(n + event.lost, 1000);
	ck_assert_uint_gt(event.lost, 0);
	expect_silence(&scene, &idle);
	(void)close(fd);
	harness_close(&reader);
	harness_close(&idle);
	harness_close(&desk);
	suite_end(&scene);
}
END_TEST

/* Descriptors for this process and its children. */
static void
need_fds(rlim_t n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < n)
		harness_skip("RLIMIT_NOFILE is %ju at most, and %ju are needed", (uintmax_t)limit.rlim_max, (uintmax_t)n);
	limit.rlim_cur = limit.rlim_cur < n ? n : limit.rlim_cur;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void
attach_often_and_stay(int control, void *arg)
{
	const char *socket = arg;

	for (int i = 0; i < N_DYING; i++) {
		struct harness_conn conn;

		harness_open(&conn, socket);
		(void)suite_attach(&conn, "desk", SUITE_READ);
	}
	harness_say(control, "attached");
	harness_expect(control, "end");
}

/* What others wait while a thousand sessions end, in the worst case. */
static uint64_t
worst_round_trip(struct suite_scene *scene, int until_readable)
{
	struct pollfd poll_fd = { .fd = until_readable, .events = POLLIN };
	uint64_t worst_ns = 0, quiet = 0;

	while (quiet < 100) {
		uint64_t began_ns = clock_monotonic_ns();
		struct protocol_segment row;

		ck_assert_int_eq(harness_find(&scene->watcher, "side", &row), 0);
		worst_ns = max_u64(worst_ns, clock_monotonic_ns() - began_ns);
		quiet += poll(&poll_fd, 1, 0) == 1;
	}
	return worst_ns;
}

START_TEST(a_thousand_deaths_at_once_are_told)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	unsigned n_died = 0, n_detached = 0;
	struct harness_conn conn;
	struct suite_scene scene;
	uint64_t worst_ns;
	pid_t pid;

	need_fds(4 * N_DYING);
	suite_begin(&scene, NULL, events_body);
	harness_child_start(&child, attach_often_and_stay, scene.daemon.socket);
	harness_expect(child.control, "attached");
	observe(&scene, &conn);
	pid = child.pid;
	harness_child_kill(&child);
	worst_ns = worst_round_trip(&scene, conn.fd);
	while (n_died < N_DYING || n_detached < N_DYING) {
		struct protocol_event event;

		next_event(&conn, &event);
		harness_assert(event.lost == 0 && event.pid == pid && streq(event.segment, "desk"),
		    "%ju lost, pid %d, '%s'", (uintmax_t)event.lost, event.pid, event.segment);
		n_died += event.kind == PROTOCOL_EVENT_DIED;
		n_detached += event.kind == PROTOCOL_EVENT_DETACHED;
	}
	printf("%u died and %u detached were told; the worst round trip of another meanwhile took %ju us\n", n_died,
	    n_detached, (uintmax_t)worst_ns / 1000);
	expect_silence(&scene, &conn);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

/* Each attached to the same, and told of the other. */
static void
subscribe_often(int control, void *arg)
{
	static struct harness_conn attached[N_SUBSCRIBERS], conns[N_SUBSCRIBERS];
	const char *socket = arg;

	for (int i = 0; i < N_SUBSCRIBERS; i++) {
		harness_open(&attached[i], socket);
		(void)suite_attach(&attached[i], "desk", SUITE_READ);
	}
	for (int i = 0; i < N_SUBSCRIBERS; i++) {
		harness_open(&conns[i], socket);
		harness_assert(subscribe(&conns[i], PROTOCOL_SUBSCRIBE_ON, attached[i].session) == 0, "subscriber %d", i);
	}
	harness_say(control, "subscribed");
	for (int i = 0; i < N_SUBSCRIBERS; i++) {
		for (int n = 0; n < N_TOLD; n++) {
			expect_event(&conns[i], PROTOCOL_EVENT_ATTACHED, "desk", getppid());
			expect_event(&conns[i], PROTOCOL_EVENT_DETACHED, "desk", getppid());
		}
	}
	harness_say(control, "told");
	harness_expect(control, "end");
}

START_TEST(a_thousand_subscribers_hold_up_nobody)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	uint64_t worst_ns = 0, began_ns;
	struct suite_scene scene;

	need_fds(4 * N_SUBSCRIBERS);
	suite_begin(&scene, "limits = { attachments = 2000; };", events_body);
	harness_child_start(&child, subscribe_often, scene.daemon.socket);
	harness_expect(child.control, "subscribed");
	began_ns = clock_monotonic_ns();
	for (int n = 0; n < N_TOLD; n++) {
		(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
		for (unsigned readers = 0; readers != N_SUBSCRIBERS;) {
			uint64_t asked_ns = clock_monotonic_ns();
			struct protocol_segment row;

			ck_assert_int_eq(harness_find(&scene.watcher, "desk", &row), 0);
			worst_ns = max_u64(worst_ns, clock_monotonic_ns() - asked_ns);
			readers = row.readers;
		}
	}
	harness_expect(child.control, "told");
	printf("%d events each for %d subscribers in %ju ms; the worst round trip of another meanwhile took %ju us\n",
	    2 * N_TOLD, N_SUBSCRIBERS, (uintmax_t)((clock_monotonic_ns() - began_ns) / NS_PER_MS), (uintmax_t)worst_ns / 1000);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

struct sibling {
	const char *socket;
	uint64_t session;
};

/* Of the same uid, in another process. */
static void
subscribe_to_another_process(int control, void *arg)
{
	struct sibling *sibling = arg;
	struct harness_conn conn;

	harness_open(&conn, sibling->socket);
	harness_assert(subscribe(&conn, PROTOCOL_SUBSCRIBE_ON, sibling->session) == -ENOENT, "subscribed");
}

START_TEST(wrong_subscriptions_are_refused)
{
	static const struct {
		uint32_t flags;
		int session;		/* 0, its own (1), or another of the process (2) */
		int status;
		const char *text;
	} wrong[] = {
		{ 4, 0, -EINVAL, "flags" },
		{ UINT32_MAX, 0, -EINVAL, "flags" },
		{ PROTOCOL_SUBSCRIBE_ALL, 0, -EINVAL, "flags" },
		{ PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 2, -EINVAL, "names a session" },
		{ 0, 2, -EINVAL, "names a session" },
		{ PROTOCOL_SUBSCRIBE_ON, 0, -ENOENT, "no other connection" },
		{ PROTOCOL_SUBSCRIBE_ON, 1, -ENOENT, "no other connection" },
	};
	struct harness_child child = HARNESS_CHILD_NULL;
	union suite_request request;
	struct harness_conn conn, other;
	struct suite_scene scene;
	struct sibling sibling;
	size_t size;

	suite_begin(&scene, NULL, events_body);
	suite_dial(&scene, &conn, true);
	suite_dial(&scene, &other, true);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(wrong); i++) {
		memset(&request, 0, sizeof(request));
		request.subscribe.flags = wrong[i].flags;
		request.subscribe.session = wrong[i].session == 1 ? conn.session : wrong[i].session == 2 ? other.session : 0;
		suite_refused(&conn, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), wrong[i].status, wrong[i].text);
	}
	memset(&request, 0, sizeof(request));
	suite_refused(&conn, PROTOCOL_EVENT, &request, sizeof(struct protocol_event), -EOPNOTSUPP, "is not known");
	sibling = (struct sibling) { .socket = scene.daemon.socket, .session = other.session };
	harness_child_start(&child, subscribe_to_another_process, &sibling);
	harness_child_await_success(&child);

	/* No fds for who is subscribed. */
	ck_assert_int_eq(subscribe(&conn, PROTOCOL_SUBSCRIBE_ON, other.session), 0);
	size = suite_fill_attach(&request, 0);
	suite_refused(&conn, PROTOCOL_ATTACH, &request, size, -EBUSY, "another connection");
	size = suite_fill(&request, PROTOCOL_CREATE, sizeof(request.create), 0);
	(void)snprintf(request.create.name, sizeof(request.create.name), "scratch-a");
	request.create.size_bytes = 4096;
	suite_refused(&conn, PROTOCOL_CREATE, &request, size, -EBUSY, "another connection");
	harness_close(&conn);

	/* What has not the form costs the session. */
	suite_dial(&scene, &conn, true);
	size = suite_fill(&request, PROTOCOL_SUBSCRIBE, sizeof(request.subscribe), 7);
	request.subscribe.zero = 1;
	ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, NULL, 0), (ssize_t)size);
	suite_farewell(conn.fd, -EPROTO, "must be zero", "padding of SUBSCRIBE");
	harness_close(&conn);
	suite_dial(&scene, &conn, true);
	size = suite_fill(&request, PROTOCOL_SUBSCRIBE, sizeof(request.subscribe) - 8, 7);
	ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, NULL, 0), (ssize_t)size);
	suite_farewell(conn.fd, -EPROTO, "not the size of its type", "a short SUBSCRIBE");
	harness_close(&conn);
	harness_close(&other);
	suite_end(&scene);
}
END_TEST

/* So many events have been sent to the connection, and not been read. */
static void
await_unread(struct suite_scene *scene, const struct harness_conn *conn, unsigned n)
{
	int bytes;

	/* Each question is a turn of the daemon's loop, or more. */
	do {
		harness_await_counts(&scene->watcher, "desk", 1, 0);
		harness_assert(ioctl(conn->fd, FIONREAD, &bytes) == 0, "FIONREAD: %m");
	} while ((size_t)bytes < n * sizeof(struct protocol_event));
}

START_TEST(a_subscription_ends_with_the_session_that_it_names)
{
	struct harness_conn desk, first, second;
	struct protocol_event event;
	struct suite_scene scene;
	int fd;

	suite_begin(&scene, NULL, events_body);
	suite_dial(&scene, &desk, true);
	fd = suite_attach(&desk, "desk", SUITE_READ);
	follow(&scene, &first, &desk);
	come_and_go(&scene, "side", 1);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	await_unread(&scene, &first, 2);
	/* Another takes its place: what was sent can still be read. */
	follow(&scene, &second, &desk);
	expect_event(&first, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	expect_event(&first, PROTOCOL_EVENT_DETACHED, "desk", getpid());
	harness_expect_hangup(first.fd);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	expect_event(&second, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	next_event(&second, &event);
	/* It names itself anew, and again. */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(subscribe(&second, PROTOCOL_SUBSCRIBE_ON, desk.session), 0);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	expect_event(&second, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	next_event(&second, &event);
	harness_close(&desk);
	harness_expect_hangup(second.fd);
	(void)close(fd);
	harness_close(&first);
	harness_close(&second);
	suite_end(&scene);
}
END_TEST

START_TEST(subscriptions_to_all_are_limited)
{
	struct harness_conn conns[64], conn;
	union suite_request request = { 0 };
	struct suite_scene scene;

	suite_begin(&scene, NULL, events_body);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		observe(&scene, &conns[i]);
	suite_dial(&scene, &conn, true);
	request.subscribe.flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL;
	suite_refused(&conn, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), -EDQUOT, "as many");
	/* Again, by one that has one. */
	ck_assert_int_eq(subscribe(&conns[0], PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	come_and_go(&scene, "desk", 10);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		ck_assert_uint_eq(account_for(&conns[i], 20), 0);
		harness_close(&conns[i]);
	}
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("events");
	TCase *tcase = tcase_create("events");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, life_of_a_segment_is_told);
	tcase_add_test(tcase, death_is_told_to_those_that_are_attached);
	tcase_add_test(tcase, the_dead_are_in_no_table_and_leave_no_descriptors);
	tcase_add_test(tcase, ready_is_told_to_who_waits_for_it);
	tcase_add_test(tcase, strangers_see_what_they_may_attach_and_no_more);
	tcase_add_test(tcase, who_does_not_read_is_told_how_many_were_lost);
	tcase_add_test(tcase, who_does_not_read_costs_no_time);
	tcase_add_test(tcase, a_loss_is_told_though_no_event_follows);
	tcase_add_test(tcase, a_thousand_deaths_at_once_are_told);
	tcase_add_test(tcase, a_thousand_subscribers_hold_up_nobody);
	tcase_add_test(tcase, wrong_subscriptions_are_refused);
	tcase_add_test(tcase, a_subscription_ends_with_the_session_that_it_names);
	tcase_add_test(tcase, subscriptions_to_all_are_limited);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
