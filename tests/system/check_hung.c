/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A disk that does not answer keeps those waiting who asked for what is on it, and nobody else. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "client/segment.h"
#include "tests/disk.h"
#include "tests/system/suite.h"

#define SIZE		(4 * MIB)
#define DEATHS		3

static const char workers[] = "\tworkers = 1;";

static void
describe(char *buf, size_t size, const struct disk *disk, const char *keys)
{
	(void)snprintf(buf, size, "segments = ( { name = \"disk\"; backend = \"file\"; path = \"%s/disk\"; size = \"4MiB\"; "
	    "mlock = false; %s } );"
	    "templates = ( { name = \"mem-\"; max_size = \"64MiB\"; max_count = 100; mlock = false; linger = \"0s\"; } );",
	    disk->dir, keys);
}

/* The file loses its blocks, which the next daemon reserves again. */
static void
punch(const struct disk *disk)
{
	cleanup_close int fd = openat(disk->dir_fd, "disk", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), 0);
	ck_assert_int_eq(fsync(fd), 0);
}

START_TEST(memory_is_had_beside_it)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_segment row;
	struct disk disk;
	char body[512];
	int fd;

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, "");
	harness_daemon_start(&daemon, workers, body);
	harness_daemon_kill(&daemon);
	punch(&disk);
	disk_freeze(&disk);
	harness_daemon_launch(&daemon);
	(void)disk_await_stuck(daemon.pid);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_find(&conn, "disk", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	ck_assert_int_eq(harness_create(&conn, "mem-a", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "mem-a");
	disk_thaw(&disk);
	harness_daemon_await_ready(&daemon);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

static const char lock_keys[] = "locks = ( { name = \"own\"; offset = \"0\"; length = \"64KiB\"; undo = \"64KiB\"; } );";

/* Takes the lock, changes what it protects, and waits to be killed. */
static void
die_in_section(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;
	unsigned char *data, byte = 7;

	ck_assert_int_eq(segment_connect(&client, socket), 0);
	ck_assert_int_eq(segment_attach(client, "disk", NULL, SEGMENT_WRITE, &segment), 0);
	data = segment_data(segment);
	ck_assert_int_eq(segment_lock(segment, 0), 0);
	ck_assert_int_eq(segment_set(segment, 0, data + 4096, &byte, sizeof(byte)), 0);
	harness_say(control, "locked");
	(void)pause();
}

/* Whose lock is put right in the file: that waits for the disk, and the daemon does not. */
START_TEST(a_death_keeps_nobody_waiting)
{
	struct harness_daemon daemon;
	struct harness_child child;
	struct harness_conn conn;
	struct protocol_segment row;
	struct disk disk;
	char body[1024];
	int fd;

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, lock_keys);
	harness_daemon_start(&daemon, workers, body);
	harness_open(&conn, daemon.socket);
	harness_child_start(&child, die_in_section, daemon.socket);
	harness_expect(child.control, "locked");
	disk_freeze(&disk);
	harness_child_kill(&child);
	harness_await_counts(&conn, "disk", 0, 0);
	(void)disk_await_stuck(daemon.pid);
	ck_assert_int_eq(harness_create(&conn, "mem-a", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "mem-a");
	disk_thaw(&disk);
	do
		ck_assert_int_eq(harness_find(&conn, "disk", &row), 0);
	while (!row.recoveries);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

static void
die_with_mutex(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;

	ck_assert_int_eq(segment_connect(&client, socket), 0);
	ck_assert_int_eq(segment_attach(client, "disk", NULL, SEGMENT_WRITE, &segment), 0);
	ck_assert_int_eq(pthread_mutex_lock(segment_data(segment)), 0);
	harness_say(control, "locked");
	(void)pause();
}

static const char mutex_keys[] = "locks = ( { name = \"m\"; at = \"0\"; init = true; on_death = \"zero\"; offset = \"4KiB\"; "
    "length = \"4KiB\"; } ); sync = \"1h\";";

/* Whether all of them were among those before: a process that ends is no matter. */
static bool
are_among(const pid_t *pids, size_t n, const pid_t *before, size_t n_before)
{
	for (size_t i = 0; i < n; i++) {
		bool is_among = false;

		for (size_t k = 0; k < n_before; k++)
			is_among |= pids[i] == before[k];
		if (!is_among)
			return false;
	}
	return true;
}

static void
attach_and_wait(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;

	ck_assert_int_eq(segment_connect(&client, socket), 0);
	ck_assert_int_eq(segment_attach(client, "disk", NULL, SEGMENT_WRITE, &segment), 0);
	harness_say(control, "attached");
	(void)pause();
}

/* Dies with it, while the daemon cannot look: the kernel marks it then, for which it would wait for the disk. */
static void
die_before_it_hangs(const struct harness_daemon *daemon, struct disk *disk)
{
	struct harness_child child;

	harness_child_start(&child, die_with_mutex, (void *)(uintptr_t)daemon->socket);
	harness_expect(child.control, "locked");
	ck_assert_int_eq(kill(daemon->pid, SIGSTOP), 0);
	harness_child_kill(&child);
	disk_freeze(disk);
	ck_assert_int_eq(kill(daemon->pid, SIGCONT), 0);
	(void)disk_await_stuck(daemon->pid);
}

static void
await_recovery(struct harness_conn *conn)
{
	struct protocol_segment row;

	do
		ck_assert_int_eq(harness_find(conn, "disk", &row), 0);
	while (!row.recoveries);
}

/* Nor does who wakes others at it: a page of a file is made writable for that, which waits. */
START_TEST(a_mutex_keeps_nobody_waiting)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct disk disk;
	char body[1024];
	int fd;

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, mutex_keys);
	harness_daemon_start(&daemon, workers, body);
	harness_open(&conn, daemon.socket);
	die_before_it_hangs(&daemon, &disk);
	harness_await_counts(&conn, "disk", 0, 0);
	ck_assert_int_eq(harness_create(&conn, "mem-a", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "mem-a");
	disk_thaw(&disk);
	await_recovery(&conn);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

/* Each death has all mutexes looked at. The one whose worker was given up has no more of them before that has ended. */
START_TEST(a_mutex_has_one_worker_that_does_not_end)
{
	struct harness_child others[DEATHS + 1];
	pid_t before[16], pids[16];
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct disk disk;
	char body[1024];
	size_t n_before;

	if (!harness_is_full())
		harness_skip("two patiences of workers are for the full check (CHECK_FULL=1)");
	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, mutex_keys);
	harness_daemon_start(&daemon, workers, body);
	harness_open(&conn, daemon.socket);
	for (unsigned i = 0; i <= DEATHS; i++) {
		harness_child_start(&others[i], attach_and_wait, daemon.socket);
		harness_expect(others[i].control, "attached");
	}
	die_before_it_hangs(&daemon, &disk);
	/* It is given up after 15 seconds, and later where CPUs are short. */
	while (suite_figure(&daemon, "segmentd_workers_lost") == 0)
		(void)poll(NULL, 0, 10);
	n_before = harness_children(daemon.pid, before, BASE_ARRAY_SIZE(before));
	for (unsigned i = 0; i < DEATHS; i++) {
		size_t n;

		harness_child_kill(&others[i]);
		/* The last one stays, so that nothing is written back. */
		harness_await_counts(&conn, "disk", 0, DEATHS - i);
		suite_serves(&daemon);
		n = harness_children(daemon.pid, pids, BASE_ARRAY_SIZE(pids));
		harness_assert(are_among(pids, n, before, n_before), "another worker was sent to it");
	}
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_workers_lost"), 1);
	disk_thaw(&disk);
	await_recovery(&conn);
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_workers_lost"), 0);
	harness_child_kill(&others[DEATHS]);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

static void
write_and_wait(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;

	ck_assert_int_eq(segment_connect(&client, socket), 0);
	ck_assert_int_eq(segment_attach(client, "disk", NULL, SEGMENT_WRITE, &segment), 0);
	for (int i = 1;; i++) {
		memset(segment_data(segment), i, 4096);
		harness_say(control, "written");
		harness_expect(control, "write");
	}
}

static void
await_synced(struct harness_conn *conn, uint64_t since_ns)
{
	struct harness_reply reply;

	do {
		ck_assert_int_eq(harness_show(conn, "disk", &reply), 0);
		(void)poll(NULL, 0, 10);
	} while (reply.shown.synced_ns < since_ns);
}

/* It is to be written back fifty times a second, and is again when the disk answers. */
START_TEST(what_is_written_back_has_one_worker_that_does_not_end)
{
	struct harness_daemon daemon;
	struct harness_child writer;
	struct harness_conn conn;
	uint64_t until_ns, thawed_ns;
	struct disk below, disk;
	char body[1024];
	pid_t lost, pid;

	disk_mount(&below, 128 * MIB);
	disk_mount_on(&disk, &below, 64 * MIB);
	describe(body, sizeof(body), &disk, "sync = \"20ms\";");
	harness_daemon_prepare(&daemon, workers, body);
	daemon.program = HARNESS_IMPATIENT_PROGRAM;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_open(&conn, daemon.socket);
	harness_child_start(&writer, write_and_wait, daemon.socket);
	harness_expect(writer.control, "written");
	await_synced(&conn, clock_realtime_ns());
	disk_freeze(&below);
	harness_say(writer.control, "write");
	while (suite_figure(&daemon, "segmentd_workers_lost") == 0)
		(void)poll(NULL, 0, 10);
	lost = disk_await_stuck(daemon.pid);
	/* The next one would have begun at once. */
	until_ns = clock_monotonic_ns() + NS_PER_SEC;
	while (clock_monotonic_ns() < until_ns) {
		harness_assert(disk_n_stuck(daemon.pid, &pid) == 1 && pid == lost, "another worker was sent to it");
		suite_serves(&daemon);
	}
	disk_thaw(&below);
	thawed_ns = clock_realtime_ns();
	await_synced(&conn, thawed_ns);
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_workers_lost"), 0);
	harness_child_kill(&writer);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
	disk_unmount(&below);
}
END_TEST

/* A worker recovers it, whatever is to become of the bytes. */
START_TEST(a_mutex_is_recovered)
{
	struct harness_daemon daemon;
	struct harness_child child;
	struct harness_conn conn;
	struct protocol_segment row;
	struct disk disk;
	char body[1024];

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, _i ?
	    "locks = ( { name = \"m\"; at = \"0\"; init = true; on_death = \"zero\"; offset = \"4KiB\"; length = \"4KiB\"; } );" :
	    "locks = ( { name = \"m\"; at = \"0\"; init = true; on_death = \"keep\"; } );");
	harness_daemon_start(&daemon, workers, body);
	harness_open(&conn, daemon.socket);
	harness_child_start(&child, die_with_mutex, daemon.socket);
	harness_expect(child.control, "locked");
	harness_child_kill(&child);
	harness_await_counts(&conn, "disk", 0, 0);
	do
		ck_assert_int_eq(harness_find(&conn, "disk", &row), 0);
	while (!row.recoveries);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

static void
await_end(pid_t pid)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (kill(pid, 0) == 0)
		harness_assert(harness_clock_ns() < deadline, "process %d does not end", (int)pid);
}

/* Killed where it makes the file's mark: what is left of that is no unclean end, since nothing was in use yet. */
START_TEST(killed_at_the_mark_the_file_is_clean)
{
	struct harness_daemon daemon;
	struct disk disk;
	char body[512];
	pid_t worker;

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, "on_unclean = \"fail\";");
	harness_daemon_start(&daemon, workers, body);
	harness_daemon_stop(&daemon);
	disk_freeze(&disk);
	harness_daemon_prepare(&daemon, workers, body);
	harness_daemon_launch(&daemon);
	worker = disk_await_stuck(daemon.pid);
	harness_daemon_kill(&daemon);
	disk_thaw(&disk);
	await_end(worker);
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_daemon_stop(&daemon);
	disk_unmount(&disk);
}
END_TEST

/* What is given up is not there: whoever waits for the daemon's being ready does not go on now. */
START_TEST(stopped_in_its_start_it_is_never_ready)
{
	struct harness_daemon daemon;
	struct disk disk;
	char body[512];

	disk_mount(&disk, 64 * MIB);
	describe(body, sizeof(body), &disk, "");
	disk_freeze(&disk);
	harness_daemon_prepare(&daemon, workers, body);
	harness_daemon_launch(&daemon);
	(void)disk_await_stuck(daemon.pid);
	ck_assert_int_eq(kill(daemon.pid, SIGTERM), 0);
	harness_daemon_await_log(&daemon, "stopping on signal");
	disk_thaw(&disk);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon), 0);
	ck_assert(!harness_daemon_hear(&daemon));
	ck_assert_ptr_null(strstr(harness_daemon_log(&daemon), "ready after"));
	harness_daemon_remove(&daemon);
	disk_unmount(&disk);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hung");
	TCase *tcase = tcase_create("hung"), *tcase_lost = tcase_create("lost");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, memory_is_had_beside_it);
	tcase_add_test(tcase, a_death_keeps_nobody_waiting);
	tcase_add_loop_test(tcase, a_mutex_is_recovered, 0, 2);
	tcase_add_test(tcase, a_mutex_keeps_nobody_waiting);
	tcase_add_test(tcase, stopped_in_its_start_it_is_never_ready);
	tcase_add_test(tcase, killed_at_the_mark_the_file_is_clean);
	suite_add_tcase(suite, tcase);
	/* Two patiences, which are longer while others have the CPUs. */
	tcase_set_timeout(tcase_lost, 2 * HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase_lost, a_mutex_has_one_worker_that_does_not_end);
	tcase_add_test(tcase, what_is_written_back_has_one_worker_that_does_not_end);
	suite_add_tcase(suite, tcase_lost);
	return harness_run(suite);
}
