/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Events in numbers, on the wire: what it costs everybody when a subscriber does not read, when a thousand clients die at once,
 * and when a thousand are told.
 */
#include "config.h"

#include <poll.h>
#include <sys/resource.h>

#include "tests/system/telling.h"

#define N_DYING		1000
#define N_SUBSCRIBERS	1000
#define N_TOLD		20		/* attachments that all of them are told of: two events each */
#define N_UNREAD	2000		/* attachments that come and go while nobody reads: two events each */
#define N_READ		200		/* more than a send buffer holds */
#define N_KEPT		2048		/* events that the daemon keeps */

START_TEST(who_does_not_read_is_told_how_many_were_lost)
{
	struct protocol_list list = { 0 };
	struct harness_conn idle, reader;
	struct suite_scene scene;
	uint64_t before_kib, grown_kib, lost;

	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &reader);
	telling_come_and_go(&scene, "desk", N_KEPT);
	ck_assert_uint_lt(telling_account_for(&reader, 2 * N_KEPT), 2 * N_KEPT);
	harness_close(&reader);

	telling_observe(&scene, &idle);
	before_kib = harness_status_figure(scene.daemon.pid, "VmRSS:");
	telling_come_and_go(&scene, "desk", N_UNREAD);
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
		telling_check(&reply, &event);
		lost += event.lost;
		n++;
		harness_assert(n + lost <= 2 * N_UNREAD, "%ju events and %ju lost", (uintmax_t)n, (uintmax_t)lost);
	}
	printf("%d events while nobody read: %ju lost, %ju KiB grown\n", 2 * N_UNREAD, (uintmax_t)lost, (uintmax_t)grown_kib);
	ck_assert_uint_gt(lost, 2 * N_UNREAD - N_KEPT - 1000);
	/* All is well again. */
	telling_come_and_go(&scene, "side", 1);
	telling_expect(&idle, PROTOCOL_EVENT_ATTACHED, "side", getpid());
	telling_expect(&idle, PROTOCOL_EVENT_DETACHED, "side", getpid());
	harness_close(&idle);
	suite_end(&scene);
}
END_TEST

/* One loses its connection for it; another one, which is behind in the same way and reads now and then, does not. */
START_TEST(who_reads_nothing_for_long_is_disconnected)
{
	struct pollfd silent_fd = { .events = POLLRDHUP };
	struct harness_conn silent, slow;
	struct protocol_event event;
	struct harness_reply reply;
	struct suite_scene scene;
	uint64_t lost = 0;
	ssize_t n;

	if (!harness_is_full())
		harness_skip("ten seconds without reading are for the full check (CHECK_FULL=1)");
	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &silent);
	telling_observe(&scene, &slow);
	silent_fd.fd = silent.fd;
	while (poll(&silent_fd, 1, 0) == 0) {
		telling_come_and_go(&scene, "desk", N_UNREAD);
		for (unsigned i = 0; i < N_READ; i++) {
			telling_next(&slow, &event);
			lost += event.lost;
		}
	}
	ck_assert_uint_gt(lost, 0);
	/* What there was room for it has; then it is the end. */
	while ((n = harness_receive(silent.fd, &reply)) > 0)
		telling_check(&reply, &event);
	ck_assert_int_eq(n, 0);
	harness_close(&silent);
	harness_daemon_await_log(&scene.daemon, "has read none for long");
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_event_subscribers_ended_total"), 1);
	/* The other one is told on. */
	telling_come_and_go(&scene, "side", 1);
	do
		telling_next(&slow, &event);
	while (!streq(event.segment, "side"));
	harness_close(&slow);
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

	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &idle);
	telling_come_and_go(&scene, "desk", 500);
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
	telling_come_and_go(&scene, "desk", 10);
	telling_expect_silence(&scene, &idle);
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

	suite_begin(&scene, NULL, telling_body);
	suite_dial(&scene, &desk, true);
	fd = suite_attach(&desk, "desk", SUITE_READ);
	telling_follow(&scene, &idle, &desk);
	/* More than its socket takes; then others' events push what it was to be sent out of what is kept. */
	for (int i = 0; i < 500; i++)
		(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	harness_await_counts(&scene.watcher, "desk", 1, 0);
	telling_observe(&scene, &reader);
	telling_come_and_go(&scene, "side", N_KEPT);
	(void)telling_account_for(&reader, 2 * N_KEPT);
	do {
		telling_next(&idle, &event);
		n += event.kind != PROTOCOL_EVENT_LOST;
	} while (event.kind != PROTOCOL_EVENT_LOST);
	ck_assert_uint_eq(n + event.lost, 1000);
	ck_assert_uint_gt(event.lost, 0);
	telling_expect_silence(&scene, &idle);
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
	suite_begin(&scene, NULL, telling_body);
	harness_child_start(&child, attach_often_and_stay, scene.daemon.socket);
	harness_expect(child.control, "attached");
	telling_observe(&scene, &conn);
	pid = child.pid;
	harness_child_kill(&child);
	worst_ns = worst_round_trip(&scene, conn.fd);
	while (n_died < N_DYING || n_detached < N_DYING) {
		struct protocol_event event;

		telling_next(&conn, &event);
		harness_assert(event.lost == 0 && event.pid == pid && streq(event.segment, "desk"),
		    "%ju lost, pid %d, '%s'", (uintmax_t)event.lost, event.pid, event.segment);
		n_died += event.kind == PROTOCOL_EVENT_DIED;
		n_detached += event.kind == PROTOCOL_EVENT_DETACHED;
	}
	printf("%u died and %u detached were told; the worst round trip of another meanwhile took %ju us\n", n_died,
	    n_detached, (uintmax_t)worst_ns / 1000);
	telling_expect_silence(&scene, &conn);
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
		harness_assert(telling_subscribe(&conns[i], PROTOCOL_SUBSCRIBE_ON, attached[i].session) == 0, "subscriber %d", i);
	}
	harness_say(control, "subscribed");
	for (int i = 0; i < N_SUBSCRIBERS; i++) {
		for (int n = 0; n < N_TOLD; n++) {
			telling_expect(&conns[i], PROTOCOL_EVENT_ATTACHED, "desk", getppid());
			telling_expect(&conns[i], PROTOCOL_EVENT_DETACHED, "desk", getppid());
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
	suite_begin(&scene, "limits = { attachments = 2000; };", telling_body);
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

int
main(void)
{
	Suite *suite = suite_create("eventfloods");
	TCase *tcase = tcase_create("eventfloods");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_does_not_read_is_told_how_many_were_lost);
	tcase_add_test(tcase, who_does_not_read_costs_no_time);
	tcase_add_test(tcase, who_reads_nothing_for_long_is_disconnected);
	tcase_add_test(tcase, a_loss_is_told_though_no_event_follows);
	tcase_add_test(tcase, a_thousand_deaths_at_once_are_told);
	tcase_add_test(tcase, a_thousand_subscribers_hold_up_nobody);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
