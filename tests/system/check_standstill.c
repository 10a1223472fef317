/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A machine that stands still while its clock goes on, as a virtual one does that is paused: what others could not do in that time
 * they are not late with. The daemon is stopped for so long, and is the first to go on: so whatever it awaits has come no further.
 * Likewise what it asks of workers (check_workers.c) and of segmentd-audit (tests/daemon/check_auditor.c).
 */
#include "config.h"

#include <poll.h>

#include "client/segment.h"
#include "tests/system/telling.h"

#define N_LOST	70000		/* events, beyond which who reads nothing for ten seconds is disconnected */
#define N_BURST	2000		/* that come and go at once: two events each */

static const char body[] = "segments = ( { name = \"s\"; size = \"64KiB\"; prefault = false; mlock = false; required = false; } );\n";

/* Memory that was lost with a killed daemon, for which no service manager keeps it. */
START_TEST(client_is_not_late_with_its_memory)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn watcher = HARNESS_CONN_NULL;
	struct segment_client *client;
	struct segment *segment, *again;
	static volatile char *one, *other;

	harness_daemon_start(&daemon, "await_returns = \"4s\";", body);
	harness_assert(segment_connect(&client, daemon.socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "s", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	harness_daemon_kill(&daemon);
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	suite_stand_still(&daemon, 4100);
	harness_open(&watcher, daemon.socket);
	suite_expect_reason(&watcher, "s", "waits for its memory");
	harness_assert(segment_attach(client, "s", NULL, SEGMENT_WRITE, &again) == 0, "%s", segment_error());
	harness_assert(segment_generation(segment) == segment_generation(again), "another generation");
	one = segment_data(segment);
	other = segment_data(again);
	one[100] = 42;
	ck_assert_int_eq(other[100], 42);
	ck_assert_int_eq(segment_detach(again), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	harness_close(&watcher);
	segment_disconnect(client);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Nobody could attach it again in that time. */
START_TEST(what_lingers_is_there_still)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached, again;
	char text[4];
	int fd;

	harness_daemon_start(&daemon, NULL, "templates = ( { name = \"job-\"; max_size = \"64KiB\"; mlock = false; linger = \"2s\"; } );\n");
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_create(&conn, "job-a", 4096, &attached, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "kept", 4, 0), 4);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	harness_await_counts(&conn, "job-a", 0, 0);
	suite_stand_still(&daemon, 2100);
	ck_assert_int_eq(harness_attach(&conn, "job-a", PROTOCOL_ACCESS_READ, &again, &fd), 0);
	ck_assert_uint_eq(again.generation, attached.generation);
	ck_assert_int_eq(pread(fd, text, 4, 0), 4);
	ck_assert_mem_eq(text, "kept", 4);
	ck_assert_int_eq(close(fd), 0);
	harness_close(&conn);
	harness_open(&conn, daemon.socket);
	harness_await_gone(&conn, "job-a");
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(subscriber_is_not_silent)
{
	struct pollfd silent_fd = { .events = POLLRDHUP };
	struct harness_conn silent;
	struct protocol_event event;
	struct suite_scene scene;
	uint64_t lost = 0, begun_ns;

	if (!harness_is_full())
		harness_skip("ten seconds without reading are for the full check (CHECK_FULL=1)");
	suite_begin(&scene, NULL, telling_body);
	telling_observe(&scene, &silent);
	silent_fd.fd = silent.fd;
	begun_ns = clock_monotonic_ns();
	for (unsigned n = 0; n < N_LOST / 2; n += N_BURST)
		telling_come_and_go(&scene, "desk", N_BURST);
	if (clock_monotonic_ns() - begun_ns > 8 * NS_PER_SEC)
		harness_skip("%d events take more than 8 seconds here: that is silence", N_LOST);
	suite_stand_still(&scene.daemon, 10100);
	telling_come_and_go(&scene, "desk", N_BURST);
	ck_assert_int_eq(poll(&silent_fd, 1, 0), 0);
	telling_come_and_go(&scene, "side", 1);
	do {
		telling_next(&silent, &event);
		lost += event.lost;
	} while (!streq(event.segment, "side"));
	ck_assert_uint_ge(lost, N_LOST - 10000);
	harness_close(&silent);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("standstill");
	TCase *tcase = tcase_create("standstill");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, client_is_not_late_with_its_memory);
	tcase_add_test(tcase, what_lingers_is_there_still);
	tcase_add_test(tcase, subscriber_is_not_silent);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
