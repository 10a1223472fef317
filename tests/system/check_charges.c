/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Limits of what all uids have together, and of what has no key: whoever takes as much as there is to be had leaves room for the
 * next one, is told why it gets no more, and when it is gone nothing is charged to anybody.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/system/apart.h"
#include "tests/system/suite.h"

#define OTHER		65533
#define TOTAL		64
#define ENDED_MOST	128		/* connections of a uid that are read away at its pace */

struct storm {
	const struct harness_daemon *daemon;
	unsigned n;
};

static uint64_t
charged(const struct harness_daemon *daemon, const char *kind)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "segmentd_charged{kind=\"%s\"}", kind);
	return suite_figure(daemon, name);
}

/* Nothing is, but for the connection that asks, and the watcher's. */
static void
await_nothing_charged(const struct suite_scene *scene)
{
	static const struct {
		const char *kind;
		uint64_t own;
	} rows[] = {
		{ "clients", 2 }, { "descriptors", 4 }, { "attachments", 0 }, { "subscriptions", 0 }, { "segments", 0 },
		{ "bytes", 0 }, { "in_flight", 0 }, { "unread", 0 }, { "memory", 0 }, { "ended", 0 }, { "deaths", 0 }, { "ends", 0 },
	};
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++)
		for (uint64_t n; (n = charged(&scene->daemon, rows[i].kind)) != rows[i].own;)
			harness_assert(harness_clock_ns() < until_ns, "%" PRIu64 " %s are charged, not %" PRIu64, n, rows[i].kind,
			    rows[i].own);
}

static void
be(uid_t uid)
{
	harness_become(uid, uid, NULL, 0);
}

/* Connects until it is refused, and says how many were served. */
static void
take_clients(int control, void *arg)
{
	const struct suite_scene *scene = arg;
	struct harness_conn conns[TOTAL];
	char word[16];
	unsigned n = 0;

	for (bool is_served = true; is_served && n < TOTAL;) {
		union suite_request request;
		struct harness_reply reply;
		size_t size = suite_fill_hello(&request, 1);

		suite_dial((struct suite_scene *)(uintptr_t)scene, &conns[n], false);
		(void)harness_send(conns[n].fd, request.bytes, size, NULL, 0);
		ck_assert_int_gt(harness_receive(conns[n].fd, &reply), 0);
		is_served = reply.header.status == 0;
		if (!is_served) {
			ck_assert_int_eq(reply.header.status, -EDQUOT);
			harness_assert(strstr(reply.bytes + sizeof(reply.header), "limits.total_clients"), "it says: %s",
			    reply.bytes + sizeof(reply.header));
			harness_close(&conns[n]);
		} else
			n++;
	}
	(void)snprintf(word, sizeof(word), "%u", n);
	harness_say(control, word);
	harness_expect(control, "end");
}

static void
take_clients_as_nobody(int control, void *arg)
{
	be(HARNESS_NOBODY);
	take_clients(control, arg);
}

static void
take_clients_as_other(int control, void *arg)
{
	be(OTHER);
	take_clients(control, arg);
}

START_TEST(what_all_may_have_is_nobodys_alone)
{
	struct harness_child first = HARNESS_CHILD_NULL, second = HARNESS_CHILD_NULL;
	struct harness_conn own[3];
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, "limits = { total_clients = 64; };", suite_desk);
	/* Of 60, since 4 are for administrators; the watcher has one. */
	harness_child_start(&first, take_clients_as_nobody, &scene);
	harness_expect(first.control, "30");
	harness_child_start(&second, take_clients_as_other, &scene);
	harness_expect(second.control, "15");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(own); i++)
		harness_open(&own[i], scene.daemon.socket);
	ck_assert_uint_eq(charged(&scene.daemon, "clients"), 30 + 15 + 3 + 2);
	harness_say(first.control, "end");
	harness_say(second.control, "end");
	harness_child_await_success(&first);
	harness_child_await_success(&second);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(own); i++)
		harness_close(&own[i]);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

static const char jobs[] = "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"job-\"; max_size = \"8KiB\"; max_count = 8; prefault = false; mlock = false; "
    "lifetime = \"persistent\"; } );";

static void
create_some(int control, void *arg)
{
	const struct suite_scene *scene = arg;
	union suite_request request = { .create = { .size_bytes = 1, .name = "job-65534-c" } };
	struct harness_conn conn;

	be(HARNESS_NOBODY);
	harness_open(&conn, scene->daemon.socket);
	ck_assert_int_eq(harness_create(&conn, "job-65534-a", 1, NULL, NULL), 0);
	ck_assert_int_eq(harness_create(&conn, "job-65534-b", 1, NULL, NULL), 0);
	suite_refused(&conn, PROTOCOL_CREATE, &request, sizeof(request.create), -EDQUOT,
	    "uid 65534 has 2 created segments already, as many as limits.segments allows each uid");
	ck_assert_int_eq(harness_remove(&conn, "job-65534-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_create(&conn, "job-65534-c", 1, NULL, NULL), 0);
	harness_say(control, "created");
	harness_expect(control, "end");
	ck_assert_int_eq(harness_remove(&conn, "job-65534-b", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_remove(&conn, "job-65534-c", PROTOCOL_REMOVE_NOW), 0);
	harness_close(&conn);
}

START_TEST(one_uid_does_not_use_up_a_template)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, "limits = { segments = 2; };", jobs);
	harness_child_start(&child, create_some, &scene);
	harness_expect(child.control, "created");
	ck_assert_uint_eq(charged(&scene.daemon, "segments"), 2);
	ck_assert_uint_eq(charged(&scene.daemon, "bytes"), 2);
	ck_assert_int_eq(harness_create(&scene.watcher, "job-0", 4096, NULL, NULL), 0);
	ck_assert_int_eq(harness_remove(&scene.watcher, "job-0", PROTOCOL_REMOVE_NOW), 0);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

/* Sends as many requests as the daemon takes, and reads no answer. */
static void
flood(struct harness_conn *conn)
{
	union suite_request request;

	(void)fcntl(conn->fd, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < 64; i++) {
		size_t size = suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), ++conn->serial);

		if (harness_send(conn->fd, request.bytes, size, NULL, 0) < 0)
			break;
	}
	(void)fcntl(conn->fd, F_SETFL, 0);
}

/* Of one that has read all. A page of the list, or 0 where it was refused; then that is said as it is to be. */
static size_t
list_page(struct harness_conn *conn)
{
	union suite_request request;
	struct harness_reply reply;
	ssize_t n;

	(void)suite_fill(&request, PROTOCOL_LIST, sizeof(request.list), ++conn->serial);
	ck_assert_int_eq(harness_send(conn->fd, request.bytes, sizeof(request.list), NULL, 0), (int)sizeof(request.list));
	n = harness_receive(conn->fd, &reply);
	ck_assert_int_gt(n, 0);
	if (reply.header.status == 0)
		return (size_t)n;
	ck_assert_int_eq(reply.header.status, -EDQUOT);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), "bytes of replies that it has not read"), "it says: %s",
	    reply.bytes + sizeof(reply.header));
	return 0;
}

static void
read_nothing(int control, void *arg)
{
	const struct storm *storm = arg;
	struct harness_conn *conns = calloc(storm->n, sizeof(*conns)), conn;

	be(HARNESS_NOBODY);
	harness_open(&conn, storm->daemon->socket);
	for (unsigned i = 0; i < storm->n; i++) {
		harness_open(&conns[i], storm->daemon->socket);
		flood(&conns[i]);
	}
	/* What it was to be sent was, before this one is looked at often enough. */
	for (unsigned i = 0; i < 100000 && list_page(&conn); i++)
		;
	harness_assert(!list_page(&conn), "it is sent as much as it likes");
	harness_say(control, "full");
	harness_expect(control, "read");
	for (unsigned i = 0; i < storm->n; i++)
		harness_close(&conns[i]);
	/* What it has given up does not count any more when it asks again. */
	while (!list_page(&conn))
		;
	harness_say(control, "listed");
	harness_expect(control, "end");
	free(conns);
}

START_TEST(who_does_not_read_has_a_limit)
{
	enum { N = 120, SESSIONS = 400, LIMIT = 32 * MIB };
	struct harness_child child = HARNESS_CHILD_NULL;
	static char text[N * 96];
	struct suite_scene scene;
	struct storm storm = { &scene.daemon, SESSIONS };
	struct protocol_segment rows[N + 8];
	size_t len;

	harness_need_root();
	len = (size_t)snprintf(text, sizeof(text), "segments = (\n");
	for (int i = 0; i < N; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "%s{ name = \"s%d\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; }\n", i ? ", " : "", i);
	(void)snprintf(text + len, sizeof(text) - len, ");");
	suite_begin(&scene, NULL, text);
	harness_child_start(&child, read_nothing, &storm);
	harness_expect(child.control, "full");
	ck_assert_uint_gt(charged(&scene.daemon, "unread"), LIMIT / 2);
	ck_assert_uint_le(charged(&scene.daemon, "unread"), LIMIT);
	/* Nobody else hears of it. */
	ck_assert_uint_eq(harness_list(&scene.watcher, rows, BASE_ARRAY_SIZE(rows)), N);
	harness_say(child.control, "read");
	harness_expect(child.control, "listed");
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

/* Connects, leaves a descriptor behind, and is gone; again and again. */
static void
come_and_leave(int control, void *arg)
{
	const struct storm *storm = arg;
	int memory = memfd_create("foreign", MFD_CLOEXEC);

	be(HARNESS_NOBODY);
	for (unsigned i = 0; i < storm->n; i++) {
		int fd = harness_dial(storm->daemon->socket);

		harness_assert(fd >= 0, "connect: %s", strerror(-fd));
		(void)harness_send(fd, "abc", 3, &memory, 1);
		(void)close(fd);
	}
	harness_say(control, "gone");
	harness_expect(control, "end");
}

static void
be_served(int control, void *arg)
{
	const struct harness_daemon *daemon = arg;

	(void)control;
	be(OTHER);
	for (unsigned i = 0; i < 20; i++)
		suite_serves(daemon);
}

START_TEST(who_leaves_descriptors_behind_holds_up_nobody)
{
	struct harness_child child = HARNESS_CHILD_NULL, other = HARNESS_CHILD_NULL;
	struct suite_scene scene;
	struct storm storm = { &scene.daemon, 3000 };
	struct harness_usage usage;
	pid_t worker;

	harness_need_root();
	suite_begin(&scene, NULL, suite_desk);
	harness_child_start(&child, come_and_leave, &storm);
	/* Nobody reads them away for a while, as where it is somebody's doing that this takes long. */
	worker = suite_worker(&scene.daemon);
	(void)kill(worker, SIGSTOP);
	harness_child_start(&other, be_served, &scene.daemon);
	harness_child_await_success(&other);
	ck_assert_uint_le(charged(&scene.daemon, "ended"), ENDED_MOST);
	harness_usage_read(scene.daemon.pid, &usage);
	harness_assert(usage.fds < 1000, "the daemon has %" PRIu64 " descriptors", usage.fds);
	harness_expect(child.control, "gone");
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

/* Comes and goes with others' segments as often as it can, on a connection that stays, and hangs up where it lives on. */
static void
end_often(int control, void *arg)
{
	const struct suite_scene *scene = arg;
	struct protocol_attached attached;
	struct harness_conn conn;

	be(HARNESS_NOBODY);
	harness_open(&conn, scene->daemon.socket);
	for (unsigned i = 0; i < 5000; i++) {
		int fd;

		ck_assert_int_eq(harness_attach(&conn, "desk", SUITE_READ, &attached, &fd), 0);
		(void)close(fd);
		/* Either it is heard of that nobody has it any more, or it is given back: the former is remembered. */
		if (i % 64 == 63)
			ck_assert_int_ge(harness_list(&conn, (struct protocol_segment[8]){ 0 }, 8), 1);
	}
	harness_say(control, "ended");
	harness_expect(control, "end");
	harness_close(&conn);
}

START_TEST(ends_are_remembered_for_each_uid)
{
	union suite_request request = { .subscribe = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL } };
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn listener;
	struct suite_scene scene;
	struct harness_reply reply;

	harness_need_root();
	suite_begin(&scene, NULL, jobs);
	harness_open(&listener, scene.daemon.socket);
	ck_assert_int_eq(harness_ask(&listener, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request.subscribe), &reply), 0);
	harness_child_start(&child, end_often, &scene);
	harness_expect(child.control, "ended");
	harness_assert(charged(&scene.daemon, "ends") <= 4096, "%" PRIu64 " are remembered", charged(&scene.daemon, "ends"));
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_close(&listener);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

/* Asks for 8 at once on each connection, and reads none before it is told to. */
static void
leave_unread(int control, void *arg)
{
	enum { SESSIONS = 60, ROWS = 8 };
	const struct suite_scene *scene = arg;
	struct harness_conn conns[SESSIONS];
	struct pollfd poll_fd;

	be(HARNESS_NOBODY);
	for (unsigned i = 0; i < SESSIONS; i++) {
		union suite_request request;
		size_t size = sizeof(request.many) + ROWS * sizeof(struct protocol_attach_row);
		struct protocol_attach_row *rows = (void *)(&request.many + 1);

		harness_open(&conns[i], scene->daemon.socket);
		(void)suite_fill(&request, PROTOCOL_ATTACH_MANY, size, ++conns[i].serial);
		request.many.n_rows = ROWS;
		for (unsigned k = 0; k < ROWS; k++) {
			rows[k].access = SUITE_READ;
			(void)snprintf(rows[k].name, sizeof(rows[k].name), "desk");
		}
		ck_assert_int_eq(harness_send(conns[i].fd, request.bytes, size, NULL, 0), (ssize_t)size);
		poll_fd = (struct pollfd) { .fd = conns[i].fd, .events = POLLIN };
		ck_assert_int_eq(harness_poll(&poll_fd, 1, HARNESS_TIMEOUT_MS), 1);
	}
	harness_say(control, "unread");
	harness_expect(control, "end");
}

START_TEST(who_reads_waits_for_those_who_do_not)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct suite_scene scene;
	union suite_request request;
	struct harness_reply reply;
	struct pollfd poll_fd;
	struct rlimit limit;
	size_t size;

	harness_need_root();
	apart_enter();
	suite_begin(&scene, NULL, "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; } );");
	harness_child_start(&child, leave_unread, &scene);
	harness_expect(child.control, "unread");
	ck_assert_uint_eq(charged(&scene.daemon, "in_flight"), 480);
	/* From now on there may be fewer in all than one uid has not read. */
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, NULL, &limit), 0);
	limit.rlim_cur = 400;
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	size = suite_fill_attach(&request, ++scene.watcher.serial);
	ck_assert_int_eq(harness_send(scene.watcher.fd, request.bytes, size, NULL, 0), (ssize_t)size);
	/* It has been looked at when others that were sent later are answered. */
	(void)charged(&scene.daemon, "in_flight");
	(void)charged(&scene.daemon, "in_flight");
	poll_fd = (struct pollfd) { .fd = scene.watcher.fd, .events = POLLIN };
	ck_assert_int_eq(poll(&poll_fd, 1, 0), 0);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	ck_assert_int_gt(harness_receive(scene.watcher.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	ck_assert_uint_eq(reply.n_fds, 1);
	(void)close(reply.fds[0]);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

static void
await_charged(const struct suite_scene *scene, const char *kind, uint64_t wanted)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (uint64_t n; (n = charged(&scene->daemon, kind)) != wanted;)
		harness_assert(harness_clock_ns() < until_ns, "%" PRIu64 " %s are charged, not %" PRIu64, n, kind, wanted);
}

/* May own locks, has closed its connection, and lives. */
static void
hold_on(int control, void *arg)
{
	union suite_request request = { .attach = { .access = SUITE_WRITE, .name = "ledger" } };
	const struct suite_scene *scene = arg;
	struct harness_reply reply;
	struct harness_conn conn;

	be(HARNESS_NOBODY);
	harness_open(&conn, scene->daemon.socket);
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request.attach), &reply), 0);
	ck_assert_uint_eq(reply.n_fds, 2);
	harness_close(&conn);
	harness_say(control, "closed");
	harness_expect(control, "end");
}

START_TEST(watch_over_who_has_locks_is_charged)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, "segments = ( { name = \"ledger\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; locks = ( "
	    "{ name = \"page\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); } );");
	harness_child_start(&child, hold_on, &scene);
	harness_expect(child.control, "closed");
	/* The two of its session are given back, and its pidfd stays. */
	await_charged(&scene, "clients", 2);
	await_charged(&scene, "descriptors", 5);
	ck_assert_uint_eq(charged(&scene.daemon, "attachments"), 1);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

/* What an administrator has uploaded, and the lines of the plan of it. */
START_TEST(uploads_and_plans_are_charged)
{
	enum { LENGTH = 800 };
	struct suite_scene scene;
	struct harness_conn conn;
	struct harness_reply reply;
	union suite_request request = { .header = { 0 } };
	struct protocol_upload *upload = (void *)&request;
	struct protocol_plan *plan = (void *)&request;

	suite_begin(&scene, NULL, suite_desk);
	harness_open(&conn, scene.daemon.socket);
	upload->flags = PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME;
	upload->length = 6;
	memcpy(upload->bytes, "a.conf", 6);
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_UPLOAD, &upload->header, sizeof(*upload), &reply), 0);
	memset(&request, 0, sizeof(request));
	upload->length = LENGTH;
	memset(upload->bytes, '\n', LENGTH);
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_UPLOAD, &upload->header, sizeof(*upload), &reply), 0);
	ck_assert_uint_ge(charged(&scene.daemon, "memory"), 6 + LENGTH);
	ck_assert_uint_lt(charged(&scene.daemon, "memory"), 2 * LENGTH);
	memset(&request, 0, sizeof(request));
	plan->flags = PROTOCOL_PLAN_UPLOADED;
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_PLAN, &plan->header, sizeof(*plan), &reply), 0);
	/* A page of lines. */
	ck_assert_uint_ge(charged(&scene.daemon, "memory"), 6 + LENGTH + PROTOCOL_MESSAGE_MAX / 2);
	harness_close(&conn);
	await_nothing_charged(&scene);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("charges");
	TCase *tcase = tcase_create("charges");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_all_may_have_is_nobodys_alone);
	tcase_add_test(tcase, one_uid_does_not_use_up_a_template);
	tcase_add_test(tcase, who_does_not_read_has_a_limit);
	tcase_add_test(tcase, who_reads_waits_for_those_who_do_not);
	tcase_add_test(tcase, who_leaves_descriptors_behind_holds_up_nobody);
	tcase_add_test(tcase, ends_are_remembered_for_each_uid);
	tcase_add_test(tcase, watch_over_who_has_locks_is_charged);
	tcase_add_test(tcase, uploads_and_plans_are_charged);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
