/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments in files, on whatever file system /tmp is: contents come again after every end of the daemon, and of the machine as
 * far as that can be feigned.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/segment.h"
#include "tests/system/filing.h"
#include "tests/system/telling.h"

#define KILLS		12
#define KILL_STEP_NS	(3 * NS_PER_MS)

static const char *const kinds[] = { "", "prefault = false; mlock = false;", "mlock = false;" };

START_TEST(contents_are_there_after_a_stop)
{
	struct protocol_segment row;
	struct stat st;

	filing_begin(FILING_SIZE, FILING_SIZE, kinds[_i]);
	suite_ready(&filing.conn, "s");
	ck_assert(filing_exists(filing.mark));
	ck_assert_int_eq(stat(filing.path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, FILING_SIZE);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	/* Every block of it is had. */
	ck_assert_uint_ge((uint64_t)st.st_blocks * 512, FILING_SIZE);
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	if (_i == 0)
		ck_assert_uint_ge(row.resident_bytes, FILING_SIZE);
	filing_write(FILING_SIZE, 1);
	filing_stop();
	/* Nobody had it: nothing but the file is left, and it is whole. */
	ck_assert(!filing_exists(filing.mark));
	filing_restart();
	suite_ready(&filing.conn, "s");
	filing_expect_reason("");
	filing_read(FILING_SIZE, 1);
	ck_assert_ptr_null(strstr(harness_daemon_log(&filing.daemon), "not clean"));
	filing_end();
}
END_TEST

START_TEST(killed_in_the_same_boot_it_is_clean)
{
	filing_begin(FILING_SIZE, FILING_SIZE, "on_unclean = \"fail\";");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 2);
	filing_kill();
	ck_assert(filing_exists(filing.mark));
	filing_restart();
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 2);
	ck_assert_ptr_null(strstr(harness_daemon_log(&filing.daemon), "not clean"));
	filing_end();
	ck_assert(!filing_exists(filing.mark));
}
END_TEST

/* The stop waits for what is being written; who cannot wait asks a second time, and has lost nothing in this boot. */
START_TEST(a_second_signal_ends_a_stop_that_waits)
{
	pid_t pids[64];
	size_t n;

	filing_begin(FILING_SIZE, FILING_SIZE, "on_unclean = \"fail\";");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 11);
	n = harness_children(filing.daemon.pid, pids, BASE_ARRAY_SIZE(pids));
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
	harness_close(&filing.conn);
	ck_assert_int_eq(kill(filing.daemon.pid, SIGTERM), 0);
	harness_daemon_await_log(&filing.daemon, "stopping on signal 15");
	ck_assert_int_eq(kill(filing.daemon.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&filing.daemon), 0);
	ck_assert_ptr_nonnull(strstr(harness_daemon_log(&filing.daemon), ", at once"));
	ck_assert(filing_exists(filing.mark));
	filing_restart();
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 11);
	filing_end();
}
END_TEST

/* A client that maps the whole life of a daemon's and more, and stores when it is told to. */
static void
hold(int control, void *arg)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	char *bytes;
	int fd;

	harness_open(&conn, filing.daemon.socket);
	fd = suite_attach(&conn, "s", SUITE_WRITE);
	bytes = mmap(NULL, FILING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	harness_assert(bytes != MAP_FAILED, "mmap: %s", strerror(errno));
	(void)close(fd);
	harness_assert(pthread_mutex_lock((pthread_mutex_t *)(bytes + MIB)) == 0, "the mutex");
	harness_say(control, "mapped");
	harness_expect(control, "store");
	bytes[FILING_SIZE - 1] = 'x';
	harness_say(control, "stored");
	harness_expect(control, "end");
	harness_assert(pthread_mutex_unlock((pthread_mutex_t *)(bytes + MIB)) == 0, "the mutex");
}

START_TEST(who_outlives_the_daemon_goes_on_storing)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	char byte = 0, *bytes;
	int fd;

	filing_begin(FILING_SIZE, FILING_SIZE, "locks = ( { name = \"m\"; at = \"1MiB\"; init = true; on_death = \"keep\"; } );");
	suite_ready(&filing.conn, "s");
	harness_child_start(&child, hold, NULL);
	harness_expect(child.control, "mapped");
	if (_i) {
		/* Who still has it may go on: the mark stays. */
		filing_stop();
		ck_assert(filing_exists(filing.mark));
	} else {
		filing_kill();
	}
	filing_restart();
	suite_ready(&filing.conn, "s");
	harness_say(child.control, "store");
	harness_expect(child.control, "stored");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	ck_assert_int_eq(pread(fd, &byte, 1, FILING_SIZE - 1), 1);
	ck_assert_int_eq(byte, 'x');
	/* And has what it had locked. */
	bytes = mmap(NULL, FILING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	ck_assert_int_eq(pthread_mutex_trylock((pthread_mutex_t *)(bytes + MIB)), EBUSY);
	(void)munmap(bytes, FILING_SIZE);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	filing_end();
	ck_assert(!filing_exists(filing.mark));
}
END_TEST

/* The machine went down while it was in use. */
static void
crash(const char *keys)
{
	filing_begin(FILING_SIZE, FILING_SIZE, keys);
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 3);
	filing_kill();
	filing_crash();
}

/* A start that somebody is connected at: with other keys, the segment that had failed is made anew. */
static void
expect_unclean(const char *keys)
{
	struct harness_conn told = HARNESS_CONN_NULL;
	struct protocol_event event;

	harness_open(&told, filing.daemon.socket);
	ck_assert_int_eq(telling_subscribe(&told, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	filing_reload(FILING_SIZE, FILING_SIZE, keys);
	do
		telling_next(&told, &event);
	while (event.kind != PROTOCOL_EVENT_UNCLEAN);
	ck_assert_str_eq(event.segment, "s");
	do
		telling_next(&told, &event);
	while (event.kind == PROTOCOL_EVENT_RELOAD);
	ck_assert_uint_eq(event.kind, PROTOCOL_EVENT_READY);
	harness_close(&told);
}

START_TEST(after_a_crash_it_is_kept)
{
	struct protocol_segment row;

	crash("");
	filing_restart();
	suite_ready(&filing.conn, "s");
	harness_daemon_await_log(&filing.daemon, "was in use when the machine went down");
	filing_expect_reason("its contents are kept (on_unclean = \"keep\")");
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	filing_read(FILING_SIZE, 3);
	/* Told once: this use of it ends well. */
	filing_stop();
	filing_restart();
	filing_expect_reason("");
	filing_end();
}
END_TEST

START_TEST(after_a_crash_it_is_zeroed)
{
	static const unsigned char zeros[4096];
	unsigned char bytes[4096];
	int fd;

	crash("on_unclean = \"zero\";");
	filing_restart();
	suite_ready(&filing.conn, "s");
	filing_expect_reason("its contents are zeroed (on_unclean = \"zero\")");
	fd = suite_attach(&filing.conn, "s", SUITE_READ);
	for (uint64_t at = 0; at + sizeof(bytes) <= FILING_SIZE; at += sizeof(bytes)) {
		ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), (off_t)at), sizeof(bytes));
		ck_assert_mem_eq(bytes, zeros, sizeof(bytes));
	}
	(void)close(fd);
	filing_end();
}
END_TEST

START_TEST(after_a_crash_it_fails_until_somebody_has_looked)
{
	static const char *const texts[] = { "is not clean", "look its contents over", "retry", NULL };

	crash("on_unclean = \"fail\";");
	filing_restart();
	filing_expect_failed(texts);
	/* Nothing of it has changed. */
	ck_assert(filing_exists(filing.mark));
	if (_i) {
		expect_unclean("on_unclean = \"keep\";");
	} else {
		ck_assert_int_eq(unlink(filing.mark), 0);
		filing_retry();
		suite_ready(&filing.conn, "s");
	}
	filing_read(FILING_SIZE, 3);
	filing_end();
}
END_TEST

START_TEST(a_mark_that_is_none_is_no_clean_end)
{
	static const char *const texts[] = { "is none that segmentd writes", NULL };

	filing_make(FILING_SIZE);
	filing_write_text(filing.mark, _i ? "" : "segmentd mark 1\nstate free\n");
	filing_begin(FILING_SIZE, FILING_SIZE, "on_unclean = \"fail\";");
	filing_expect_failed(texts);
	filing_end();
}
END_TEST

/* Its life. */

START_TEST(removed_it_leaves_its_file)
{
	struct stat st;

	filing_begin(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 5);
	ck_assert_int_eq(harness_remove(&filing.conn, "s", _i ? PROTOCOL_REMOVE_NOW : 0), 0);
	harness_await_gone(&filing.conn, "s");
	/* At once again, while the one before is still on its way out. */
	filing_reload(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 5);
	ck_assert_int_eq(harness_remove(&filing.conn, "s", 0), 0);
	harness_await_gone(&filing.conn, "s");
	filing_end();
	ck_assert_int_eq(stat(filing.path, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, FILING_SIZE);
	ck_assert(!filing_exists(filing.mark));
}
END_TEST

START_TEST(init_is_for_a_new_file_alone)
{
	char from[96], keys[160], bytes[8];
	int fd;

	(void)snprintf(from, sizeof(from), "%s/from", filing.dir);
	filing_write_text(from, "begin");
	(void)snprintf(keys, sizeof(keys), "init = \"%s\";", from);
	filing_begin(FILING_SIZE, FILING_SIZE, keys);
	suite_ready(&filing.conn, "s");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	ck_assert_int_eq(pread(fd, bytes, 6, 0), 6);
	ck_assert_mem_eq(bytes, "begin", 6);
	(void)close(fd);
	filing_write(FILING_SIZE, 6);
	filing_stop();
	filing_restart();
	filing_read(FILING_SIZE, 6);
	filing_end();
}
END_TEST

/* Whenever it is killed while it makes the file: there is none, or one with all that it begins with. */
START_TEST(killed_in_its_making_it_is_whole_or_not_there)
{
	char from[96], keys[200], body[2048];
	int fd;

	(void)snprintf(from, sizeof(from), "%s/from", filing.dir);
	fd = open(from, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, FILING_SIZE), 0);
	filing_store(fd, FILING_SIZE, 10);
	(void)close(fd);
	(void)snprintf(keys, sizeof(keys), "init = \"%s\"; on_unclean = \"fail\";", from);
	(void)snprintf(body, sizeof(body), "%s", filing_body(FILING_SIZE, FILING_SIZE, keys));
	for (long i = 0; i < KILLS; i++) {
		const struct timespec moment = { .tv_nsec = i * KILL_STEP_NS };

		(void)unlink(filing.path);
		(void)unlink(filing.mark);
		harness_daemon_prepare(&filing.daemon, NULL, body);
		harness_daemon_launch(&filing.daemon);
		/* Not that anything is waited for: each time it is another moment of its start. */
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
		harness_daemon_kill(&filing.daemon);
		filing_restart();
		suite_ready(&filing.conn, "s");
		filing_read(FILING_SIZE, 10);
		filing_end();
		ck_assert(!filing_exists(filing.mark));
	}
}
END_TEST

START_TEST(it_grows_in_place)
{
	struct protocol_segment row;
	struct stat before, after;
	int fd;

	filing_begin(MIB, 8 * MIB, kinds[_i]);
	suite_ready(&filing.conn, "s");
	ck_assert_int_eq(stat(filing.path, &before), 0);
	ck_assert_uint_eq((uint64_t)before.st_size, 8 * MIB);
	ck_assert_uint_lt((uint64_t)before.st_blocks * 512, 2 * MIB);
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_store(fd, MIB, 7);
	filing_reload(5 * MIB, 8 * MIB, kinds[_i]);
	do
		ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	while (row.size_bytes < 5 * MIB);
	ck_assert_int_eq(stat(filing.path, &after), 0);
	ck_assert_uint_ge((uint64_t)after.st_blocks * 512, 5 * MIB);
	filing_expect(fd, MIB, 7);
	filing_store(fd, 5 * MIB, 8);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
	filing_stop();
	filing_restart();
	filing_read(5 * MIB, 8);
	filing_end();
}
END_TEST

/* Holds a lock of ours, and the mutex, and cuts the file off under both. */
static void
cut_off(int control, void *arg)
{
	struct segment_client *client;
	struct segment *segment;
	int lock;

	harness_assert(segment_connect(&client, filing.daemon.socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "s", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	lock = segment_find_lock(segment, "l");
	harness_assert(segment_lock(segment, lock) == 0, "%s", segment_error());
	harness_assert(segment_modify(segment, lock, (char *)segment_data(segment) + MIB, 100) == 0, "%s", segment_error());
	*((char *)segment_data(segment) + MIB) = 'x';
	harness_assert(pthread_mutex_lock((pthread_mutex_t *)((char *)segment_data(segment) + 2 * MIB)) == 0, "the mutex");
	harness_assert(ftruncate(segment_fd(segment), 0) == 0, "ftruncate: %s", strerror(errno));
	harness_say(control, "cut");
	harness_expect(control, "never");
}

/* Who may write it can do that: and it is the end of nobody but who touches what is gone. */
START_TEST(cut_off_by_a_writer_it_harms_nobody_else)
{
	static const char *const deaths[] = { "zero", "rollback" };
	static const char *const texts[] = { "has 0 bytes, and max_size is", NULL };
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_segment row;
	char keys[256];

	(void)snprintf(keys, sizeof(keys), "locks = ( { name = \"l\"; offset = \"1MiB\"; length = \"1MiB\"; undo = \"64KiB\"; "
	    "on_death = \"%s\"; }, { name = \"m\"; at = \"2MiB\"; init = true; on_death = \"zero\"; "
	    "offset = \"3MiB\"; length = \"4KiB\"; } );", deaths[_i]);
	filing_begin(FILING_SIZE, FILING_SIZE, keys);
	suite_ready(&filing.conn, "s");
	harness_child_start(&child, cut_off, NULL);
	harness_expect(child.control, "cut");
	harness_child_kill(&child);
	harness_await_counts(&filing.conn, "s", 0, 0);
	suite_serves(&filing.daemon);
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	ck_assert_uint_eq(row.resident_bytes, 0);
	/* Control memory is. */
	ck_assert_uint_lt(row.locked_bytes, FILING_SIZE);
	/* What it can tell without it, and to grow: neither can be had, and that is all. */
	filing_expect_reason("");
	filing_stop();
	ck_assert(!filing_exists(filing.mark));
	filing_restart();
	filing_expect_failed(texts);
	filing_end();
}
END_TEST

/* Nor is it the end of the starts to come: what is behind the end is nobody's. */
START_TEST(enlarged_by_a_writer_it_gets_its_size_back)
{
	struct stat st;
	int fd;

	filing_begin(FILING_SIZE, FILING_SIZE, "");
	filing_write(FILING_SIZE, 3);
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	ck_assert_int_eq(ftruncate(fd, (off_t)1 << 40), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 8 * MIB), 1);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(&filing.conn, "s", 0, 0);
	if (_i)
		filing_kill();
	else
		filing_stop();
	ck_assert_int_eq(stat(filing.path, &st), 0);
	ck_assert_int_eq(st.st_size, _i ? (off_t)1 << 40 : (off_t)FILING_SIZE);
	filing_restart();
	suite_ready(&filing.conn, "s");
	ck_assert_int_eq(stat(filing.path, &st), 0);
	ck_assert_int_eq(st.st_size, FILING_SIZE);
	filing_read(FILING_SIZE, 3);
	filing_end();
}
END_TEST

START_TEST(cut_off_it_does_not_grow)
{
	struct protocol_segment row;
	int fd;

	filing_begin(MIB, 8 * MIB, kinds[_i]);
	suite_ready(&filing.conn, "s");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	ck_assert_int_eq(ftruncate(fd, 5), 0);
	filing_reload(4 * MIB, 8 * MIB, kinds[_i]);
	harness_daemon_await_log(&filing.daemon, "its size could not be raised from 1 MiB to 4 MiB");
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	ck_assert_uint_eq(row.size_bytes, MIB);
	(void)close(fd);
	filing_end();
}
END_TEST

/* What a reload makes of `sync` holds for who is attached already. */
START_TEST(sync_is_live)
{
	struct harness_reply shown;
	int fd;

	filing_begin(FILING_SIZE, FILING_SIZE, _i ? "" : "sync = \"24h\";");
	suite_ready(&filing.conn, "s");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_reload(FILING_SIZE, FILING_SIZE, "sync = \"20ms\";");
	filing_await_synced(clock_realtime_ns());
	filing_await_synced(clock_realtime_ns());
	filing_reload(FILING_SIZE, FILING_SIZE, "");
	ck_assert_int_eq(harness_show(&filing.conn, "s", &shown), 0);
	ck_assert_uint_ne(shown.shown.file_flags & PROTOCOL_SHOWN_DIRTY, 0);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
	filing_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("file");
	TCase *tcase = tcase_create("file");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, filing_setup, filing_teardown);
	tcase_add_loop_test(tcase, contents_are_there_after_a_stop, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_test(tcase, killed_in_the_same_boot_it_is_clean);
	tcase_add_test(tcase, a_second_signal_ends_a_stop_that_waits);
	tcase_add_loop_test(tcase, who_outlives_the_daemon_goes_on_storing, 0, 2);
	tcase_add_test(tcase, after_a_crash_it_is_kept);
	tcase_add_test(tcase, after_a_crash_it_is_zeroed);
	tcase_add_loop_test(tcase, after_a_crash_it_fails_until_somebody_has_looked, 0, 2);
	tcase_add_loop_test(tcase, a_mark_that_is_none_is_no_clean_end, 0, 2);
	tcase_add_loop_test(tcase, removed_it_leaves_its_file, 0, 2);
	tcase_add_test(tcase, killed_in_its_making_it_is_whole_or_not_there);
	tcase_add_test(tcase, init_is_for_a_new_file_alone);
	tcase_add_loop_test(tcase, it_grows_in_place, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_loop_test(tcase, cut_off_by_a_writer_it_harms_nobody_else, 0, 2);
	tcase_add_loop_test(tcase, enlarged_by_a_writer_it_gets_its_size_back, 0, 2);
	tcase_add_loop_test(tcase, cut_off_it_does_not_grow, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_loop_test(tcase, sync_is_live, 0, 2);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
