/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Between the daemon's word that nobody has a POSIX object and the moment in which a worker takes its pages, those can come who
 * are kept out by nothing: root, and programs of the daemon's own uid. What they store stays.
 */
#include "config.h"

#include <signal.h>

#include "tests/system/opener.h"
#include "tests/system/suite.h"

static const char body[] = "segments = ( { name = \"s\"; size = \"64KiB\"; backend = \"posix\"; object = \"/s\"; scrub = true; } );";

static bool
is_provisioning(struct harness_conn *conn)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(conn, "s", &row), 0);
	return row.state == PROTOCOL_PROVISIONING;
}

START_TEST(who_came_before_the_worker_keeps_the_pages)
{
	struct protocol_attached attached;
	struct harness_daemon daemon;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct opener opener;
	pid_t worker;
	int fd;

	opener_enter("size=1m");
	harness_daemon_start(&daemon, "workers = 1;", body);
	harness_open(&conn, daemon.socket);
	suite_ready(&conn, "s");
	worker = suite_worker_stop(&daemon);
	opener_start_bare(&opener);
	ck_assert_int_eq(harness_attach(&conn, "s", SUITE_WRITE, &attached, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "\x07", 1, 5), 1);
	close_fd(&fd);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	while (!is_provisioning(&conn))
		;
	opener_must(&opener, 0, "write /s");
	opener_must(&opener, 0, "map 65536");
	opener_must(&opener, 7, "get 5");
	opener_must(&opener, 0, "set 9 99");
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	suite_ready(&conn, "s");
	opener_must(&opener, 99, "get 9");
	opener_must(&opener, 7, "get 5");
	/* And it is scrubbed when that one has gone. */
	opener_kill(&opener);
	do {
		suite_ready(&conn, "s");
		opener_start_bare(&opener);
		opener_must(&opener, 0, "read /s");
		opener_must(&opener, 0, "map 65536");
		fd = (int)opener_do(&opener, "get 9");
		opener_kill(&opener);
	} while (fd == 99);
	ck_assert_int_eq(fd, 0);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_uint_eq(opener_count(), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("latecomers");
	TCase *tcase = tcase_create("latecomers");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_came_before_the_worker_keeps_the_pages);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
