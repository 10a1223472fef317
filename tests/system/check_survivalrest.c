/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Starts that fail, and daemons that crash, below a manager that starts them again at once and for ever: what was kept stays, the
 * log says what is wrong, and the machine has its CPUs for itself meanwhile. The rest lasts until two seconds after the start: that
 * a daemon ends later than that says nothing of how busy the machine is.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "tests/system/lasting.h"

#define DESK	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", ""))
#define REST_NS	(2 * NS_PER_SEC)

static struct harness_manager manager;
static struct lasting_guest guest;

/* As of a unit of its own. */
static void
be_a_unit(void *arg)
{
	(void)setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1);
}

static void
prepare(void)
{
	harness_manager_prepare(&manager, NULL, DESK);
	manager.daemon.before_exec = be_a_unit;
}

static uint64_t
launch(void)
{
	uint64_t now_ns = clock_monotonic_ns();

	harness_manager_launch(&manager);
	return now_ns;
}

static void
expect_rested(uint64_t launched_ns)
{
	uint64_t lived_ns = clock_monotonic_ns() - launched_ns;

	harness_assert(lived_ns >= REST_NS, "it ended %ju ms after its start", (uintmax_t)(lived_ns / NS_PER_MS));
}

/* The second is another matter while the daemon reads what clients can take away. */
static const int crashes[] = { SIGSEGV, SIGBUS };

START_TEST(who_crashes_ends_two_seconds_after_the_start)
{
	uint64_t launched_ns;

	if (harness_has_sanitizers())
		harness_skip("the sanitizers see to crashes");
	prepare();
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_arrive(&guest, &manager, "desk");
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	launched_ns = launch();
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	ck_assert_int_eq(harness_manager_end(&manager, crashes[_i]), -crashes[_i]);
	expect_rested(launched_ns);
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	lasting_leave(&guest);
	harness_manager_stop(&manager);
}
END_TEST

/* Waits for its failure, which takes the test's state_dir as the reason. */
static void
expect_failed(size_t length, const char *why)
{
	ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
	reloading_expect(lasting_log(&manager, length), why);
}

/* A file system of the test's own, which others than it do not see. */
static void
mount_state(const char *options)
{
	harness_need_root();
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		harness_skip("no mount namespace: %s", strerror(errno));
	prepare();
	if (mount("tmpfs", manager.daemon.state, "tmpfs", 0, options))
		harness_skip("no tmpfs: %s", strerror(errno));
}

static void
remount_state(unsigned long flags, const char *options)
{
	harness_assert(mount(NULL, manager.daemon.state, NULL, MS_REMOUNT | flags, options) == 0, "remount: %s", strerror(errno));
}

/* There is nothing to lose yet: it does not start all the same, since what it would make could not be told from others' later. */
START_TEST(a_state_dir_that_cannot_be_written)
{
	uint64_t launched_ns;
	unsigned n;
	size_t length;

	mount_state("size=256k,mode=0700");
	remount_state(MS_RDONLY, NULL);
	launched_ns = launch();
	expect_failed(0, "Read-only file system");
	reloading_expect(harness_daemon_log(&manager.daemon), manager.daemon.state);
	expect_rested(launched_ns);
	harness_manager_hear(&manager);
	reloading_expect(manager.daemon.status, "cannot run, for what the log says");
	remount_state(0, NULL);
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_arrive(&guest, &manager, "desk");
	harness_manager_lock(&manager);
	reloading_expect(manager.daemon.status, "1 segments ready");
	harness_manager_unlock(&manager);
	/* With something to lose: it stays as it is. */
	ck_assert_int_eq(harness_manager_end(&manager, SIGUSR2), 0);
	n = harness_manager_count(&manager, "");
	remount_state(MS_RDONLY, NULL);
	length = lasting_log_length(&manager);
	(void)launch();
	/* A signal ends the rest. */
	lasting_await_log(&manager, length, "cannot go on: Read-only file system");
	(void)kill(manager.daemon.pid, SIGTERM);
	(void)harness_daemon_await_exit(&manager.daemon);
	ck_assert_uint_eq(harness_manager_count(&manager, ""), n);
	remount_state(0, NULL);
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	lasting_leave(&guest);
	ck_assert_int_eq(harness_manager_end(&manager, SIGTERM), 0);
	(void)umount(manager.daemon.state);
	harness_manager_remove(&manager);
}
END_TEST

/* Takes all the room of the state_dir but so many pages; returns the file that has it. */
static const char *
fill_state(unsigned n_left)
{
	static const char page[4096] = "ballast";
	static char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/ballast", manager.daemon.state);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	(void)setvbuf(f, NULL, _IONBF, 0);
	while (fwrite(page, sizeof(page), 1, f) == 1)
		;
	ck_assert_int_eq(ftruncate(fileno(f), ftell(f) - (off_t)(n_left * sizeof(page))), 0);
	(void)fclose(f);
	return path;
}

/* With some room left it fails when all was taken over already. */
START_TEST(a_state_dir_without_room)
{
	struct harness_conn conns[40];
	const char *ballast;
	uint64_t launched_ns;
	size_t length;

	mount_state("size=256k,mode=0700");
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_arrive(&guest, &manager, "desk");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		conns[i] = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&conns[i], manager.daemon.socket);
		conns[i].is_lasting = true;
	}
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	ballast = fill_state(2);
	length = lasting_log_length(&manager);
	launched_ns = launch();
	expect_failed(length, "No space left on device");
	expect_rested(launched_ns);
	ck_assert_int_eq(unlink(ballast), 0);
	(void)launch();
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		ck_assert_int_eq(harness_find(&conns[i], "desk", &(struct protocol_segment) { 0 }), 0);
		harness_close(&conns[i]);
	}
	lasting_leave(&guest);
	ck_assert_int_eq(harness_manager_end(&manager, SIGTERM), 0);
	(void)umount(manager.daemon.state);
	harness_manager_remove(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalrest");
	TCase *tcase = tcase_create("rest");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, who_crashes_ends_two_seconds_after_the_start, 0, BASE_ARRAY_SIZE(crashes));
	tcase_add_test(tcase, a_state_dir_that_cannot_be_written);
	tcase_add_test(tcase, a_state_dir_without_room);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
