/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Administrators who are none any more: a reload that takes its own caller's right is answered, and nothing else is; who was
 * told of everything is told what it may see. And what administrators upload: one at a time of a uid.
 */
#include "config.h"

#include <grp.h>
#include <poll.h>

#include "tests/system/reloading.h"

#define DESK	RELOADING_SEGMENT("desk", "mode = \"0600\";")
#define OPEN	RELOADING_SEGMENT("open", "mode = \"0666\";")
#define BOOK	RELOADING_SEGMENT("book", "")
#define BODY	RELOADING_SEGMENTS(DESK ", " OPEN)
#define WITH_BOOK RELOADING_SEGMENTS(DESK ", " OPEN ", " BOOK)

/* Two groups that every host has; who administers is a member of the first. */
#define GROUP	"daemon"
#define OTHER	"bin"
#define KEYS(group)	"admin_group = \"" group "\";"

static void
begin(struct suite_scene *scene)
{
	harness_need_root();
	if (!getgrnam(GROUP) || !getgrnam(OTHER))
		harness_skip("this host has no groups " GROUP " and " OTHER);
	suite_begin(scene, KEYS(GROUP), BODY);
}

static void
become_administrator(void)
{
	const gid_t group = getgrnam(GROUP)->gr_gid;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, &group, 1);
}

static int
ask_plan(struct harness_conn *conn, uint32_t flags, struct protocol_planned *ret_planned)
{
	struct protocol_plan request = { .flags = flags };
	struct harness_reply reply;
	int r = harness_ask(conn, PROTOCOL_PLAN, &request.header, sizeof(request), &reply);

	memcpy(ret_planned, reply.bytes, sizeof(*ret_planned));
	return r;
}

/* A status, and the lines' texts, one after the other. */
static int
ask_lines(struct harness_conn *conn, char *text, size_t size)
{
	struct protocol_plan_lines request = { .cursor = 0 };
	struct harness_reply reply;
	size_t at = sizeof(reply.listed), len = 0;
	int r = harness_ask(conn, PROTOCOL_PLAN_LINES, &request.header, sizeof(request), &reply);

	*text = '\0';
	for (uint32_t i = 0; r == 0 && i < reply.listed.n_rows; i++) {
		struct protocol_plan_line line;

		memcpy(&line, reply.bytes + at, sizeof(line));
		len += (size_t)snprintf(text + len, size - len, "%s: %s\n", line.name, reply.bytes + at + sizeof(line));
		at += line.size;
	}
	return r;
}

static void
reload_and_lose_the_right(int control, void *arg)
{
	struct protocol_header metrics;
	struct protocol_planned planned;
	struct harness_conn conn, other;
	struct harness_reply reply;
	char text[4096];

	become_administrator();
	harness_open(&conn, arg);
	harness_open(&other, arg);
	harness_say(control, "connected");
	harness_expect(control, "reload");
	harness_assert(ask_plan(&other, 0, &planned) == 0, "no plan");
	harness_assert(ask_plan(&conn, PROTOCOL_PLAN_RELOAD, &planned) == 0, "status %d", planned.header.status);
	harness_assert(planned.counts[PROTOCOL_PLAN_ADDED] == 1 && planned.n_lines == 2, "%u lines", planned.n_lines);
	for (int i = 0; i < 2; i++) {
		harness_assert(ask_lines(&conn, text, sizeof(text)) == 0, "no lines");
		reloading_expect(text, "admin_group \"" GROUP "\" -> \"" OTHER "\"");
		reloading_expect(text, "book: size");
	}
	/* Nothing else: not even of what it had asked before, on another connection. */
	harness_assert(ask_lines(&other, text, sizeof(text)) == -EPERM, "lines of a plan");
	harness_assert(ask_plan(&conn, 0, &planned) == -EPERM, "a plan");
	harness_assert(ask_plan(&conn, PROTOCOL_PLAN_RELOAD, &planned) == -EPERM, "a reload");
	harness_assert(harness_ask(&conn, PROTOCOL_METRICS, &metrics, sizeof(metrics), &reply) == -EPERM, "metrics");
	harness_assert(ask_lines(&conn, text, sizeof(text)) == 0, "no lines any more");
	harness_close(&conn);
	harness_close(&other);
}

START_TEST(who_reloads_its_right_away_hears_what_came_of_it)
{
	struct harness_child child;
	struct suite_scene scene;

	begin(&scene);
	harness_child_start(&child, reload_and_lose_the_right, scene.daemon.socket);
	harness_expect(child.control, "connected");
	harness_daemon_configure(&scene.daemon, KEYS(OTHER), WITH_BOOK);
	harness_say(child.control, "reload");
	harness_child_await_success(&child);
	suite_ready(&scene.watcher, "book");
	(void)reloading_hangup(&scene.daemon, KEYS(OTHER), BODY);
	suite_end(&scene);
}
END_TEST

static void
send_reload(struct harness_conn *conn)
{
	struct protocol_plan request = { .flags = PROTOCOL_PLAN_RELOAD };

	harness_fill(conn, &request.header, PROTOCOL_PLAN, sizeof(request));
	harness_assert(harness_send(conn->fd, &request, sizeof(request), NULL, 0) == sizeof(request), "send");
}

static void
reload_twice_at_once(int control, void *arg)
{
	struct harness_conn conns[2];
	struct harness_reply reply;
	int n_refused = 0;

	become_administrator();
	for (int i = 0; i < 2; i++)
		harness_open(&conns[i], arg);
	harness_say(control, "connected");
	harness_expect(control, "reload");
	for (int i = 0; i < 2; i++)
		send_reload(&conns[i]);
	for (int i = 0; i < 2; i++) {
		harness_assert(harness_receive(conns[i].fd, &reply) > 0, "no answer");
		harness_assert(reply.header.status == 0 || reply.header.status == -EPERM, "reload %d: status %d", i, reply.header.status);
		n_refused += reply.header.status == -EPERM;
	}
	/* Whichever of the two connections the daemon saw first. */
	harness_assert(n_refused == 1, "%d of 2 reloads were refused", n_refused);
	for (int i = 0; i < 2; i++)
		harness_close(&conns[i]);
}

/* It had been asked for with the right to, but when its turn came that was gone. */
START_TEST(a_reload_that_waits_needs_the_right_when_it_begins)
{
	struct harness_child child;
	struct suite_scene scene;
	const char *log;

	begin(&scene);
	harness_child_start(&child, reload_twice_at_once, scene.daemon.socket);
	harness_expect(child.control, "connected");
	harness_daemon_configure(&scene.daemon, KEYS(OTHER), WITH_BOOK);
	harness_say(child.control, "reload");
	harness_child_await_success(&child);
	log = strstr(harness_daemon_log(&scene.daemon), "reload, asked for by");
	ck_assert_ptr_nonnull(log);
	reloading_expect_not(log + 1, "reload, asked for by");
	suite_ready(&scene.watcher, "book");
	(void)reloading_hangup(&scene.daemon, KEYS(OTHER), BODY);
	suite_end(&scene);
}
END_TEST

static void
expect_attached(struct harness_conn *conn, const char *name)
{
	struct harness_reply reply;
	struct protocol_event event;

	harness_assert(harness_receive(conn->fd, &reply) == sizeof(event), "no event");
	memcpy(&event, reply.bytes, sizeof(event));
	harness_assert(event.kind == PROTOCOL_EVENT_ATTACHED && streq(event.segment, name), "event %u of '%s'", event.kind,
	    event.segment);
	harness_assert(harness_receive(conn->fd, &reply) == sizeof(event), "no second event");
}

static void
follow_all(int control, void *arg)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };
	struct protocol_event event;
	struct harness_conn conn;
	struct harness_reply reply;

	become_administrator();
	harness_open(&conn, arg);
	harness_assert(harness_ask(&conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply) == 0, "subscribe");
	harness_say(control, "subscribed");
	expect_attached(&conn, "desk");
	harness_say(control, "heard");
	/* That there was a reload concerns everybody. */
	harness_assert(harness_receive(conn.fd, &reply) == sizeof(event), "no event");
	memcpy(&event, reply.bytes, sizeof(event));
	harness_assert(event.kind == PROTOCOL_EVENT_RELOAD, "event %u of '%s'", event.kind, event.segment);
	expect_attached(&conn, "open");
	harness_say(control, "heard");
	/* Its right given back: it hears of everything again. */
	harness_assert(harness_receive(conn.fd, &reply) == sizeof(event), "no event");
	expect_attached(&conn, "desk");
	harness_close(&conn);
}

static void
come_and_go(struct suite_scene *scene, const char *name)
{
	(void)close(suite_attach(&scene->watcher, name, SUITE_READ));
	harness_await_counts(&scene->watcher, name, 0, 0);
}

START_TEST(who_administers_no_more_is_told_what_it_may_see)
{
	struct harness_child child;
	struct suite_scene scene;

	begin(&scene);
	harness_child_start(&child, follow_all, scene.daemon.socket);
	harness_expect(child.control, "subscribed");
	come_and_go(&scene, "desk");
	harness_expect(child.control, "heard");
	(void)reloading_hangup(&scene.daemon, KEYS(OTHER), BODY);
	come_and_go(&scene, "desk");
	come_and_go(&scene, "open");
	harness_expect(child.control, "heard");
	(void)reloading_hangup(&scene.daemon, KEYS(GROUP), BODY);
	come_and_go(&scene, "desk");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

static void
fill_upload(struct protocol_upload *upload, uint32_t flags, const char *text)
{
	*upload = (struct protocol_upload) { .flags = flags, .length = (uint32_t)strlen(text) };
	memcpy(upload->bytes, text, upload->length);
}

static int
send_upload(struct harness_conn *conn, uint32_t flags, const char *text, struct harness_reply *reply)
{
	struct protocol_upload upload;

	fill_upload(&upload, flags, text);
	return harness_ask(conn, PROTOCOL_UPLOAD, &upload.header, sizeof(upload), reply);
}

static void
upload_beside_another(int control, void *arg)
{
	struct harness_conn conn;
	struct harness_reply reply;

	become_administrator();
	harness_open(&conn, arg);
	harness_assert(send_upload(&conn, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "theirs.conf", &reply) == 0, "refused");
	harness_close(&conn);
}

START_TEST(uploads_of_a_uid_come_one_at_a_time)
{
	struct harness_conn first, second;
	struct protocol_planned planned;
	struct harness_child child;
	struct harness_reply reply;
	struct suite_scene scene;
	char text[4096];

	begin(&scene);
	suite_dial(&scene, &first, true);
	suite_dial(&scene, &second, true);
	ck_assert_int_eq(send_upload(&first, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "mine.conf", &reply), 0);
	ck_assert_int_eq(send_upload(&first, 0, KEYS("x") "\n", &reply), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(send_upload(&second, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "other.conf", &reply), -EBUSY);
		reloading_expect(reply.bytes + sizeof(reply.header), "has uploaded a configuration: one at a time");
		/* Nor does it get in by another door. */
		ck_assert_int_eq(send_upload(&second, 0, "segments = ( );", &reply), -EINVAL);
		ck_assert_int_eq(send_upload(&second, PROTOCOL_UPLOAD_NAME, "other.conf", &reply), -EINVAL);
		ck_assert_int_eq(ask_plan(&second, PROTOCOL_PLAN_UPLOADED, &planned), -ENODATA);
	}
	/* Another uid's is its own affair. */
	harness_child_start(&child, upload_beside_another, scene.daemon.socket);
	harness_child_await_success(&child);

	/* The first goes on, unharmed: begun anew, in two pieces. */
	ck_assert_int_eq(send_upload(&first, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "mine.conf", &reply), 0);
	ck_assert_int_eq(send_upload(&first, 0, "segments = ( " DESK ", " OPEN, &reply), 0);
	ck_assert_int_eq(send_upload(&second, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "other.conf", &reply), -EBUSY);
	ck_assert_int_eq(send_upload(&first, 0, ", " BOOK " );\n", &reply), 0);
	ck_assert_int_eq(ask_plan(&first, PROTOCOL_PLAN_UPLOADED, &planned), 0);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_ADDED], 1);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_KEPT], 2);
	ck_assert_int_eq(ask_lines(&first, text, sizeof(text)), 0);
	reloading_expect(text, "book: size");

	/* With its connection it ends, and the other may. */
	harness_close(&first);
	while (send_upload(&second, PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, "other.conf", &reply) == -EBUSY)
		suite_serves(&scene.daemon);
	ck_assert_int_eq(reply.header.status, 0);
	ck_assert_int_eq(send_upload(&second, 0, BODY, &reply), 0);
	ck_assert_int_eq(ask_plan(&second, PROTOCOL_PLAN_UPLOADED, &planned), 0);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_KEPT], 2);
	harness_close(&second);
	suite_expect_clean(&scene);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rights");
	TCase *tcase = tcase_create("rights");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_reloads_its_right_away_hears_what_came_of_it);
	tcase_add_test(tcase, a_reload_that_waits_needs_the_right_when_it_begins);
	tcase_add_test(tcase, who_administers_no_more_is_told_what_it_may_see);
	tcase_add_test(tcase, uploads_of_a_uid_come_one_at_a_time);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
