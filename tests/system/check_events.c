/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Events, on the wire: who is told what, and whose subscription is refused or ends. */
#include "config.h"

#include <signal.h>
#include <sys/ioctl.h>

#include "tests/harness_manager.h"
#include "tests/system/telling.h"
#include "tests/system/tracer.h"

#define N_BURIED	40

START_TEST(life_of_a_segment_is_told)
{
	struct harness_conn conn, maker;
	struct protocol_attached attached;
	struct protocol_event event;
	struct suite_scene scene;
	int fd;

	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &conn);
	suite_dial(&scene, &maker, true);
	ck_assert_int_eq(harness_create(&maker, "scratch-a", 4096, &attached, &fd), 0);
	telling_expect(&conn, PROTOCOL_EVENT_READY, "scratch-a", 0);
	telling_expect(&conn, PROTOCOL_EVENT_ATTACHED, "scratch-a", getpid());
	ck_assert_int_eq(harness_remove(&maker, "scratch-a", 0), 0);
	telling_expect(&conn, PROTOCOL_EVENT_DRAINING, "scratch-a", 0);
	(void)close(fd);
	telling_next(&conn, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_DETACHED && event.pid == getpid() && event.uid == getuid(),
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	telling_next(&conn, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_REMOVED && event.pid == 0 && event.uid == PROTOCOL_NOBODY,
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	/* Off: silence. On again: it goes on. */
	ck_assert_int_eq(telling_subscribe(&conn, 0, 0), 0);
	telling_come_and_go(&scene, "desk", 3);
	telling_expect_silence(&scene, &conn);
	/* And it gets fds as any other meanwhile. */
	fd = suite_attach(&conn, "side", SUITE_READ);
	(void)close(fd);
	harness_await_counts(&scene.watcher, "side", 0, 0);
	ck_assert_int_eq(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	telling_come_and_go(&scene, "desk", 1);
	telling_expect(&conn, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
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

	suite_begin(&scene, NULL, telling_body);
	suite_dial(&scene, &desk, true);
	suite_dial(&scene, &side, true);
	/* Attached before the subscription, and after it. */
	desk_fd = suite_attach(&desk, "desk", SUITE_READ);
	telling_follow(&scene, &desk_events, &desk);
	telling_follow(&scene, &side_events, &side);
	side_fd = suite_attach(&side, "side", SUITE_READ);
	harness_child_start(&child, attach_and_stay, scene.daemon.socket);
	harness_expect(child.control, "attached");
	pid = child.pid;
	telling_expect(&desk_events, PROTOCOL_EVENT_ATTACHED, "desk", pid);
	harness_child_kill(&child);
	for (int i = 0; i < 2; i++) {
		telling_next(&desk_events, &event);
		harness_assert((event.kind == PROTOCOL_EVENT_DIED || event.kind == PROTOCOL_EVENT_DETACHED) &&
		    event.pid == pid && event.uid == getuid() && streq(event.segment, "desk"), "event %u, pid %d, uid %u",
		    event.kind, event.pid, event.uid);
	}
	telling_expect_silence(&scene, &desk_events);
	telling_expect_silence(&scene, &side_events);
	/* Who closes its connection and lives on is not dead. */
	harness_close(&side);
	(void)close(desk_fd);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	/* Its own end is no news; and what it is not attached to any more is none of its business. */
	telling_expect_silence(&scene, &desk_events);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	telling_expect_silence(&scene, &desk_events);
	(void)close(side_fd);
	harness_close(&desk);
	harness_close(&desk_events);
	harness_close(&side_events);
	suite_end(&scene);
}
END_TEST

#define DETACHED_AT_ONCE	5	/* more than the daemon answers of one connection in one turn */

/* Detaches without waiting for the answer, and ends: all of it before the daemon looks. */
static void
detach_and_end(int control, void *arg)
{
	struct protocol_attached attached[DETACHED_AT_ONCE];
	struct harness_conn conn;
	int fds[DETACHED_AT_ONCE];

	harness_open(&conn, arg);
	for (size_t i = 0; i < DETACHED_AT_ONCE; i++)
		harness_assert(harness_attach(&conn, "desk", SUITE_WRITE, &attached[i], &fds[i]) == 0, "attachment %zu", i);
	harness_say(control, "attached");
	harness_expect(control, "end");
	for (size_t i = 0; i < DETACHED_AT_ONCE; i++) {
		struct protocol_detach request = {
			.attachment = attached[i].attachment, .generation = attached[i].generation,
		};

		(void)close(fds[i]);
		harness_fill(&conn, &request.header, PROTOCOL_DETACH, sizeof(request));
		request.header.flags |= PROTOCOL_QUIET;
		(void)harness_send(conn.fd, &request, sizeof(request), NULL, 0);
	}
}

START_TEST(who_detached_before_it_ended_did_not_die_with_it)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn desk, desk_events;
	struct suite_scene scene;
	pid_t pid;
	int fd;

	suite_begin(&scene, NULL, telling_body);
	suite_dial(&scene, &desk, true);
	fd = suite_attach(&desk, "desk", SUITE_READ);
	telling_follow(&scene, &desk_events, &desk);
	harness_child_start(&child, detach_and_end, scene.daemon.socket);
	harness_expect(child.control, "attached");
	pid = child.pid;
	for (int i = 0; i < DETACHED_AT_ONCE; i++)
		telling_expect(&desk_events, PROTOCOL_EVENT_ATTACHED, "desk", pid);
	harness_assert(kill(scene.daemon.pid, SIGSTOP) == 0, "the daemon is stopped");
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_assert(kill(scene.daemon.pid, SIGCONT) == 0, "the daemon goes on");
	for (int i = 0; i < DETACHED_AT_ONCE; i++)
		telling_expect(&desk_events, PROTOCOL_EVENT_DETACHED, "desk", pid);
	telling_expect_silence(&scene, &desk_events);
	(void)close(fd);
	harness_close(&desk);
	harness_close(&desk_events);
	suite_end(&scene);
}
END_TEST

START_TEST(who_detached_while_there_was_no_daemon_did_not_die_either)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_manager manager;
	struct harness_conn events, conn;
	pid_t pid;

	harness_manager_start(&manager, NULL, telling_body);
	harness_open(&events, manager.daemon.socket);
	ck_assert_int_eq(telling_subscribe(&events, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	harness_child_start(&child, detach_and_end, manager.daemon.socket);
	harness_expect(child.control, "attached");
	pid = child.pid;
	for (int i = 0; i < DETACHED_AT_ONCE; i++)
		telling_expect(&events, PROTOCOL_EVENT_ATTACHED, "desk", pid);
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	for (int i = 0; i < DETACHED_AT_ONCE; i++)
		telling_expect(&events, PROTOCOL_EVENT_DETACHED, "desk", pid);
	/* Nothing but what this one does comes after it. */
	harness_open(&conn, manager.daemon.socket);
	(void)close(suite_attach(&conn, "side", SUITE_READ));
	telling_expect(&events, PROTOCOL_EVENT_ATTACHED, "side", getpid());
	telling_expect(&events, PROTOCOL_EVENT_DETACHED, "side", getpid());
	harness_close(&conn);
	harness_close(&events);
	harness_manager_stop(&manager);
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

	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &conn);
	harness_usage_read(scene.daemon.pid, &before);
	for (int i = 0; i < N_BURIED; i++) {
		children[i] = (struct harness_child)HARNESS_CHILD_NULL;
		harness_child_start(&children[i], attach_and_stay, scene.daemon.socket);
		harness_expect(children[i].control, "attached");
		telling_expect(&conn, PROTOCOL_EVENT_ATTACHED, "desk", children[i].pid);
	}
	for (int i = 0; i < N_BURIED; i++) {
		pid_t pid = children[i].pid;

		if (i < 3) {
			harness_child_kill(&children[i]);
			do
				telling_next(&conn, &event);
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

	tracer_skip_unless_permitted();
	harness_daemon_prepare(&scene.daemon, "workers = 1;",
	    "segments = ( { name = \"slow\"; size = \"64MiB\"; required = false; mlock = false; } );");
	tracer_arm(&scene.daemon);
	harness_daemon_launch(&scene.daemon);
	worker = tracer_hold_worker(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&conn, scene.daemon.socket);
	telling_follow(&scene, &events, &conn);
	ck_assert_int_eq(harness_attach(&conn, "slow", SUITE_READ, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	telling_expect(&events, PROTOCOL_EVENT_READY, "slow", 0);
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
	ck_assert_int_eq(telling_subscribe(&own, PROTOCOL_SUBSCRIBE_ON, stranger->foreign_session), -ENOENT);
	ck_assert_int_eq(telling_subscribe(&own, PROTOCOL_SUBSCRIBE_ON, conn.session), 0);
	ck_assert_int_eq(telling_subscribe(&all, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	harness_say(control, "subscribed");
	harness_expect(control, "moved");
	/* Of all that has happened, the first that exists for it: of "open", to which it was not attached then. */
	telling_expect(&all, PROTOCOL_EVENT_ATTACHED, "open", getppid());
	telling_expect(&all, PROTOCOL_EVENT_DETACHED, "open", getppid());
	fd = suite_attach(&conn, "open", SUITE_READ);
	telling_next(&all, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_ATTACHED && event.pid == getpid() && event.uid == HARNESS_NOBODY,
	    "event %u of pid %d, uid %u", event.kind, event.pid, event.uid);
	harness_say(control, "attached");
	harness_expect(control, "moved");
	telling_expect(&own, PROTOCOL_EVENT_ATTACHED, "open", getppid());
	(void)close(fd);
}

START_TEST(strangers_see_what_they_may_attach_and_no_more)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct stranger stranger;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, telling_body);
	stranger = (struct stranger) { .socket = scene.daemon.socket, .foreign_session = scene.watcher.session };
	harness_child_start(&child, be_a_stranger, &stranger);
	harness_expect(child.control, "subscribed");
	telling_come_and_go(&scene, "desk", 3);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-a", 4096, NULL, NULL), 0);
	harness_await_gone(&scene.watcher, "scratch-a");
	telling_come_and_go(&scene, "open", 1);
	harness_say(child.control, "moved");
	harness_expect(child.control, "attached");
	(void)close(suite_attach(&scene.watcher, "open", SUITE_READ));
	harness_say(child.control, "moved");
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
	harness_assert(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON, sibling->session) == -ENOENT, "subscribed");
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

	suite_begin(&scene, NULL, telling_body);
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
	ck_assert_int_eq(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON, other.session), 0);
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

	suite_begin(&scene, NULL, telling_body);
	suite_dial(&scene, &desk, true);
	fd = suite_attach(&desk, "desk", SUITE_READ);
	telling_follow(&scene, &first, &desk);
	telling_come_and_go(&scene, "side", 1);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	await_unread(&scene, &first, 2);
	/* Another takes its place: what was sent can still be read. */
	telling_follow(&scene, &second, &desk);
	telling_expect(&first, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	telling_expect(&first, PROTOCOL_EVENT_DETACHED, "desk", getpid());
	harness_expect_hangup(first.fd);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	telling_expect(&second, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	telling_next(&second, &event);
	/* It names itself anew, and again. */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(telling_subscribe(&second, PROTOCOL_SUBSCRIBE_ON, desk.session), 0);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	telling_expect(&second, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	telling_next(&second, &event);
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

	suite_begin(&scene, NULL, telling_body);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		telling_observe(&scene, &conns[i]);
	suite_dial(&scene, &conn, true);
	request.subscribe.flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL;
	suite_refused(&conn, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), -EDQUOT,
	    "subscriptions to all events already, as many as the daemon allows each uid; close some, or subscribe to");
	/* Nor by way of one to what a session is attached to. */
	ck_assert_int_eq(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON, scene.watcher.session), 0);
	suite_refused(&conn, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), -EDQUOT, "subscriptions to all events");
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_charges_refused_total{kind=\"all_events\"}"), 2);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_charged{kind=\"all_events\"}"), BASE_ARRAY_SIZE(conns));
	/* Again, by one that has one. */
	ck_assert_int_eq(telling_subscribe(&conns[0], PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	telling_come_and_go(&scene, "desk", 10);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		ck_assert_uint_eq(telling_account_for(&conns[i], 20), 0);
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
	tcase_add_test(tcase, who_detached_before_it_ended_did_not_die_with_it);
	tcase_add_test(tcase, who_detached_while_there_was_no_daemon_did_not_die_either);
	tcase_add_test(tcase, the_dead_are_in_no_table_and_leave_no_descriptors);
	tcase_add_test(tcase, ready_is_told_to_who_waits_for_it);
	tcase_add_test(tcase, strangers_see_what_they_may_attach_and_no_more);
	tcase_add_test(tcase, wrong_subscriptions_are_refused);
	tcase_add_test(tcase, a_subscription_ends_with_the_session_that_it_names);
	tcase_add_test(tcase, subscriptions_to_all_are_limited);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
