/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The kernel has more to tell of closed descriptions than the daemon's queue holds, and drops the rest: that loses an event, and
 * never a count.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/system/keeper.h"
#include "tests/system/suite.h"

#define KEEPERS	8

static const char body[] = "segments = ( { name = \"one\"; size = \"64KiB\"; mlock = false; }, "
    "{ name = \"two\"; size = \"64KiB\"; mlock = false; }, { name = \"lost\"; size = \"64KiB\"; mlock = false; } );\n";

static unsigned long
queue_length(void)
{
	unsigned long length = 0;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	if (!f || fscanf(f, "%lu", &length) != 1)
		harness_skip("the length of inotify's queues is not told");
	(void)fclose(f);
	if (length > 65536)
		harness_skip("inotify's queues hold %lu events: too many to fill them", length);
	return length;
}

/* Opens it anew, and closes it: the daemon is to hear of it. */
static void
touch(int fd)
{
	char path[32];
	int again;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	(void)close(again);
}

static void
stop(pid_t pid)
{
	siginfo_t info;

	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

START_TEST(counts_are_right_after_an_overflow)
{
	unsigned long n = queue_length();
	struct keeper keepers[KEEPERS];
	struct harness_daemon daemon;
	struct harness_conn conn;
	int one, two;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	one = suite_attach(&conn, "one", SUITE_READ);
	two = suite_attach(&conn, "two", SUITE_READ);
	for (int i = 0; i < KEEPERS; i++) {
		keeper_start(&keepers[i], daemon.socket, -1);
		keeper_must(&keepers[i], 0, "attach lost %u", i < KEEPERS / 2 ? SUITE_WRITE : SUITE_READ);
		/* Only the kernel knows of what it still has. */
		keeper_must(&keepers[i], 0, "hangup");
	}
	harness_await_counts(&conn, "lost", KEEPERS / 2, KEEPERS / 2);
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_kernel_event_overflows_total"), 0);
	stop(daemon.pid);
	/* Two that are alike in a row would be one. */
	for (unsigned long i = 0; i <= n / 2; i++) {
		touch(one);
		touch(two);
	}
	/* Nobody is told of these ends. */
	for (int i = 1; i < KEEPERS; i++)
		keeper_must(&keepers[i], 0, "close");
	ck_assert_int_eq(kill(daemon.pid, SIGCONT), 0);
	harness_await_counts(&conn, "lost", 0, 1);
	ck_assert_uint_ge(suite_figure(&daemon, "segmentd_kernel_event_overflows_total"), 1);
	/* And it hears of what comes after it as ever. */
	keeper_must(&keepers[0], 0, "close");
	harness_await_counts(&conn, "lost", 0, 0);
	harness_await_counts(&conn, "one", 1, 0);
	harness_await_counts(&conn, "two", 1, 0);
	for (int i = 0; i < KEEPERS; i++)
		keeper_kill(&keepers[i]);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("overflow");
	TCase *tcase = tcase_create("overflow");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, counts_are_right_after_an_overflow);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
