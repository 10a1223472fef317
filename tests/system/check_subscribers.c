/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who may subscribe, and to whose: limits of a uid, and processes that the daemon has no number for. */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "tests/system/reloading.h"

#define DESK	RELOADING_SEGMENT("desk", "")

#define PIDFS_MAGIC	0x50494446

static int
subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session)
{
	struct protocol_subscribe request = { .flags = flags, .session = session };
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
}

#define ON	PROTOCOL_SUBSCRIBE_ON
#define ALL	(PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL)
#define LIMIT	"limits = { subscriptions = 3; };"

static void
subscribe_as_nobody(int control, void *arg)
{
	struct harness_conn conn;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, arg);
	harness_assert(subscribe(&conn, ALL, 0) == 0, "refused for what another uid has");
	harness_close(&conn);
}

START_TEST(subscriptions_of_a_uid_are_limited)
{
	struct harness_conn conns[3], other, watched;
	struct harness_child child = HARNESS_CHILD_NULL;
	union suite_request request = { 0 };
	struct suite_scene scene;
	const char *log;

	suite_begin(&scene, LIMIT, RELOADING_SEGMENTS(DESK));
	suite_dial(&scene, &other, true);
	suite_dial(&scene, &watched, true);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		suite_dial(&scene, &conns[i], true);
		ck_assert_int_eq(subscribe(&conns[i], i ? ON : ALL, i == 0 ? 0 : i == 1 ? watched.session : conns[0].session), 0);
	}
	/* Of either kind; and those that have one may change it. */
	request.subscribe.flags = ALL;
	suite_refused(&other, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), -EDQUOT, "as limits.subscriptions allows");
	memset(&request, 0, sizeof(request));
	request.subscribe.flags = ON;
	request.subscribe.session = watched.session;
	suite_refused(&other, PROTOCOL_SUBSCRIBE, &request, sizeof(request.subscribe), -EDQUOT, "3 subscriptions to events already");
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(subscribe(&conns[0], ON, other.session), 0);
		ck_assert_int_eq(subscribe(&conns[0], ALL, 0), 0);
	}
	if (getuid() == 0) {
		harness_child_start(&child, subscribe_as_nobody, scene.daemon.socket);
		harness_child_await_success(&child);
	}
	/* Given back by the word, and by the connection's end. */
	ck_assert_int_eq(subscribe(&conns[0], 0, 0), 0);
	ck_assert_int_eq(subscribe(&other, ALL, 0), 0);
	ck_assert_int_eq(subscribe(&conns[0], ALL, 0), -EDQUOT);
	harness_close(&conns[2]);
	while (subscribe(&conns[0], ALL, 0) == -EDQUOT)
		suite_serves(&scene.daemon);
	log = reloading_hangup(&scene.daemon, "limits = { subscriptions = 4; };", RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "changed daemon: limits.subscriptions 3 -> 4\n");
	suite_dial(&scene, &conns[2], true);
	ck_assert_int_eq(subscribe(&conns[2], ALL, 0), 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_close(&conns[i]);
	harness_close(&other);
	harness_close(&watched);
	suite_end(&scene);
}
END_TEST

/* Whether the kernel tells processes apart by their pidfds. */
static bool
has_pidfs(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct statfs fs;
	bool has = fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == PIDFS_MAGIC;

	(void)close(fd);
	return has;
}

static void
take_over(int control, void *arg)
{
	struct harness_conn own, conn;
	char socket[128], session[32];

	/* It is there before the daemon is, in whose pid namespace it must not be. */
	harness_assert(recv(control, socket, sizeof(socket), 0) > 0, "recv");
	harness_open(&own, socket);
	harness_open(&conn, socket);
	harness_say(control, "connected");
	harness_assert(recv(control, session, sizeof(session), 0) > 0, "recv");
	harness_assert(subscribe(&conn, ON, strtoull(session, NULL, 10)) == -ENOENT, "another's was taken over");
	harness_assert(subscribe(&conn, ON, own.session) == (has_pidfs() ? 0 : -ENOENT), "its own");
	harness_say(control, "refused");
	harness_expect(control, "end");
	harness_close(&own);
	harness_close(&conn);
}

static void
say_bytes(int control, const char *text)
{
	harness_assert(send(control, text, strlen(text) + 1, 0) > 0, "send: %s", strerror(errno));
}

/* The daemon is in a pid namespace of its own: all its clients have the number 0 there, and two are not one. */
START_TEST(who_has_no_number_is_not_another)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_client rows[16];
	struct harness_conn conn, events;
	struct harness_reply reply;
	struct suite_scene scene;
	struct protocol_event event;
	char session[32];
	int fd, own;

	harness_need_root();
	own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	harness_child_start(&child, take_over, NULL);
	if (unshare(CLONE_NEWPID))
		harness_skip("no pid namespace can be made: %s", strerror(errno));
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	/* The daemon alone: a sanitizer's helper must find its way back. */
	ck_assert_int_eq(setns(own, CLONE_NEWPID), 0);
	(void)close(own);
	harness_open(&scene.watcher, scene.daemon.socket);
	harness_open(&conn, scene.daemon.socket);
	harness_open(&events, scene.daemon.socket);
	ck_assert_int_eq(harness_clients(&scene.watcher, rows, BASE_ARRAY_SIZE(rows)), 3);
	ck_assert_int_eq(rows[0].pid, 0);
	fd = suite_attach(&conn, "desk", SUITE_READ);
	ck_assert_int_eq(subscribe(&events, ON, conn.session), has_pidfs() ? 0 : -ENOENT);
	say_bytes(child.control, scene.daemon.socket);
	harness_expect(child.control, "connected");
	(void)snprintf(session, sizeof(session), "%ju", (uintmax_t)conn.session);
	say_bytes(child.control, session);
	harness_expect(child.control, "refused");
	if (has_pidfs()) {
		(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
		ck_assert_int_eq(harness_receive(events.fd, &reply), sizeof(event));
		memcpy(&event, reply.bytes, sizeof(event));
		ck_assert_uint_eq(event.kind, PROTOCOL_EVENT_ATTACHED);
	}
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	(void)close(fd);
	harness_close(&events);
	harness_close(&conn);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("subscribers");
	TCase *tcase = tcase_create("subscribers");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, subscriptions_of_a_uid_are_limited);
	tcase_add_test(tcase, who_has_no_number_is_not_another);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
