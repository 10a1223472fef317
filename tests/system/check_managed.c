/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon below a service manager: it serves on the socket that it is handed, whoever comes while none runs is served by the
 * next one, and what is in the manager's store and is not known is removed. And the harness's manager itself.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "systemd/store.h"
#include "tests/harness_manager.h"

#define SEGMENT	"segments = ( { name = \"a\"; size = \"4KiB\"; mlock = false; } );"

static struct harness_manager manager;

START_TEST(a_client_waits_for_the_next_daemon)
{
	struct protocol_segment row;
	struct harness_conn conn = HARNESS_CONN_NULL;

	harness_manager_start(&manager, NULL, SEGMENT);
	harness_open(&conn, manager.daemon.socket);
	ck_assert_int_eq(harness_find(&conn, "a", &row), 0);
	harness_close(&conn);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
		conn = (struct harness_conn) HARNESS_CONN_NULL;
		conn.fd = harness_dial(manager.daemon.socket);
		harness_assert(conn.fd >= 0, "nobody listens while no daemon runs: %s", strerror(-conn.fd));
		harness_manager_launch(&manager);
		harness_manager_await_ready(&manager);
		(void)close(conn.fd);
		harness_open(&conn, manager.daemon.socket);
		ck_assert_int_eq(harness_find(&conn, "a", &row), 0);
		harness_close(&conn);
	}
	harness_manager_stop(&manager);
}
END_TEST

START_TEST(what_is_not_known_is_removed)
{
	int fd = memfd_create("foreign", MFD_CLOEXEC);

	harness_manager_prepare(&manager, NULL, SEGMENT);
	harness_manager_store(&manager, "of-somebody", fd);
	harness_manager_store(&manager, "box-7-a", fd);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	harness_daemon_await_log(&manager.daemon, "'of-somebody', which is not known: removed");
	harness_daemon_await_log(&manager.daemon, "'box-7-a', which is not known: removed");
	ck_assert_uint_eq(harness_manager_count(&manager, "of-"), 0);
	ck_assert_uint_eq(harness_manager_count(&manager, "box-7-"), 0);
	harness_manager_stop(&manager);
}
END_TEST

/* Beside the one that is served; without it the start would end (check_inherited). */
START_TEST(a_socket_of_another_kind_is_removed)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(listen(fd, 1), 0);
	harness_manager_prepare(&manager, NULL, SEGMENT);
	harness_manager_store(&manager, "other.socket", fd);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	harness_daemon_await_log(&manager.daemon, "ListenSequentialPacket=");
	ck_assert_uint_eq(harness_manager_count(&manager, "other."), 0);
	harness_manager_stop(&manager);
}
END_TEST

/* Of the manager alone, from here on. */

static void
prepare_alone(void)
{
	harness_manager_prepare(&manager, NULL, "");
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", manager.daemon.notify, 1), 0);
}

static bool
hangs_up(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) == 1;
}

START_TEST(the_store_is_as_systemds)
{
	int ends[2], other[2], barrier;

	prepare_alone();
	manager.max = 2;
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(other, O_CLOEXEC), 0);
	ck_assert_int_eq(store_put("one", ends[1]), 0);
	ck_assert_int_eq(store_put("one", ends[1]), 0);		/* once is enough */
	ck_assert_int_eq(store_put("two", ends[1]), 0);
	ck_assert_int_eq(store_put("three", other[1]), 0);	/* no room */
	ck_assert_int_eq(store_barrier(&barrier), 0);
	(void)close(ends[1]);
	(void)close(other[1]);
	ck_assert(!hangs_up(barrier));
	harness_manager_set_deaf(&manager, true);
	harness_manager_hear(&manager);
	ck_assert_uint_eq(manager.n_heard, 0);
	harness_manager_set_deaf(&manager, false);
	harness_manager_hear(&manager);
	ck_assert(hangs_up(barrier));
	ck_assert_uint_eq(manager.n_stored, 2);
	ck_assert_uint_eq(manager.n_refused, 1);
	ck_assert(!hangs_up(ends[0]));
	ck_assert(hangs_up(other[0]));
	ck_assert_int_eq(store_remove("one"), 0);
	ck_assert_uint_eq(harness_manager_count(&manager, ""), 1);
	ck_assert(!hangs_up(ends[0]));
	harness_manager_drop(&manager, "t");
	ck_assert(hangs_up(ends[0]));
	harness_manager_remove(&manager);
}
END_TEST

static void
sleep_on(int control, void *arg)
{
	harness_say(control, "there");
	harness_expect(control, "end");
}

START_TEST(processes_of_the_test_hold_nothing_of_the_manager)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	int ends[2];

	prepare_alone();
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(store_put("one", ends[1]), 0);
	(void)close(ends[1]);
	harness_manager_hear(&manager);
	harness_child_start(&child, sleep_on, NULL);
	harness_expect(child.control, "there");
	ck_assert(!hangs_up(ends[0]));
	harness_manager_drop(&manager, "");
	ck_assert(hangs_up(ends[0]));
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_manager_remove(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("managed");
	TCase *tcase = tcase_create("managed");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_client_waits_for_the_next_daemon);
	tcase_add_test(tcase, what_is_not_known_is_removed);
	tcase_add_test(tcase, a_socket_of_another_kind_is_removed);
	tcase_add_test(tcase, the_store_is_as_systemds);
	tcase_add_test(tcase, processes_of_the_test_hold_nothing_of_the_manager);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
