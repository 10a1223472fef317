/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a killed daemon left, and a start that cannot take it over: a record that is damaged, newer or gone proves nothing, and what
 * could not be provisioned again keeps what is in it.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/record.h"
#include "tests/system/opener.h"
#include "tests/system/reloading.h"

#define SIZE	(4 * MIB)
#define DAEMON_KEYS	"memory_reserve = \"16MiB\"; workers = 2;"

#define POSIX(name, keys) \
	"{ name = \"" name "\"; size = \"4MiB\"; backend = \"posix\"; object = \"/" name "\"; mlock = false; required = false; " keys " }"

static const char two[] = RELOADING_SEGMENTS(POSIX("s", "") ", " POSIX("t", ""));

static struct {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct stat before[2];
	char record[128];
} scene;

static void
begin(void)
{
	opener_enter("mode=1777,size=16m");
	harness_daemon_start(&scene.daemon, DAEMON_KEYS, two);
	(void)snprintf(scene.record, sizeof(scene.record), "%s/" RECORD_FILE, scene.daemon.state);
	harness_open(&scene.conn, scene.daemon.socket);
	suite_ready(&scene.conn, "s");
	suite_ready(&scene.conn, "t");
	ck_assert(stat("/dev/shm/s", &scene.before[0]) == 0 && stat("/dev/shm/t", &scene.before[1]) == 0);
}

static void
kill_daemon(void)
{
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
}

static void
start(const char *keys)
{
	harness_daemon_configure(&scene.daemon, keys, two);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
}

static void
end(unsigned n_left)
{
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
	ck_assert_uint_eq(opener_count(), n_left);
}

static void
expect_untouched(void)
{
	struct stat now[2];

	ck_assert(stat("/dev/shm/s", &now[0]) == 0 && stat("/dev/shm/t", &now[1]) == 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert(now[i].st_ino == scene.before[i].st_ino && now[i].st_size == (off_t)SIZE);
}

static void
expect_failed(const char *name, const char *words)
{
	ck_assert_int_eq(harness_wait(&scene.conn, name), PROTOCOL_FAILED);
	suite_expect_reason(&scene.conn, name, words);
}

static void
poke(size_t at, const void *bytes, size_t length)
{
	int fd = open(scene.record, O_WRONLY | O_CLOEXEC);

	ck_assert(fd >= 0 && pwrite(fd, bytes, length, (off_t)at) == (ssize_t)length);
	(void)close(fd);
}

START_TEST(what_a_damaged_row_was_about_is_left_alone_and_the_rest_taken_over)
{
	static const char junk = 0x55;
	struct protocol_segment rows[2];
	unsigned n_ready = 0;

	begin();
	kill_daemon();
	/* Whichever of the two it is. */
	poke(RECORD_ROW_BYTES + offsetof(struct record_row, inode), &junk, 1);
	start(DAEMON_KEYS);
	(void)harness_wait(&scene.conn, "s");
	(void)harness_wait(&scene.conn, "t");
	ck_assert_uint_eq(harness_list(&scene.conn, rows, 2), 2);
	for (unsigned i = 0; i < 2; i++)
		if (rows[i].state == PROTOCOL_READY)
			n_ready++;
		else
			expect_failed(rows[i].name, "as a daemon leaves it that was killed. Remedy: `rm /dev/shm/");
	ck_assert_uint_eq(n_ready, 1);
	harness_daemon_await_log(&scene.daemon, "row 1 is damaged: what it was about is left alone");
	harness_daemon_await_log(&scene.daemon, "it is kept as 'record.");
	expect_untouched();
	end(1);
}
END_TEST

START_TEST(of_a_newer_or_lost_record_nothing_is_taken_over)
{
	const uint32_t version = RECORD_VERSION + 1;

	begin();
	kill_daemon();
	if (_i == 0)
		poke(offsetof(struct record_header, version), &version, sizeof(version));
	else
		ck_assert_int_eq(unlink(scene.record), 0);
	start(DAEMON_KEYS);
	expect_failed("s", "as a daemon leaves it that was killed. Remedy: `rm /dev/shm/s`");
	expect_failed("t", "as a daemon leaves it that was killed. Remedy: `rm /dev/shm/t`");
	if (_i == 0)
		harness_daemon_await_log(&scene.daemon, "it is of a newer segmentd");
	expect_untouched();
	end(2);
}
END_TEST

/* A start that fails takes nothing away. */
START_TEST(a_start_that_fails_leaves_all_as_it_was)
{
	char kept[128];

	begin();
	kill_daemon();
	/* With the configuration that was in effect it would go on. */
	(void)snprintf(kept, sizeof(kept), "%s/configuration", scene.daemon.state);
	ck_assert_int_eq(unlink(kept), 0);
	harness_daemon_configure(&scene.daemon, "socket_mode = \"nonsense\";", two);
	harness_daemon_launch(&scene.daemon);
	ck_assert_int_ne(harness_daemon_await_exit(&scene.daemon), 0);
	expect_untouched();
	/* And one whose socket is not to be had. */
	ck_assert(unlink(scene.daemon.socket) == 0 && mkdir(scene.daemon.socket, 0700) == 0);
	harness_daemon_configure(&scene.daemon, DAEMON_KEYS, two);
	harness_daemon_launch(&scene.daemon);
	ck_assert_int_ne(harness_daemon_await_exit(&scene.daemon), 0);
	expect_untouched();
	ck_assert_int_eq(rmdir(scene.daemon.socket), 0);
	start(DAEMON_KEYS);
	suite_ready(&scene.conn, "s");
	suite_ready(&scene.conn, "t");
	expect_untouched();
	end(0);
}
END_TEST

START_TEST(memory_that_it_has_is_not_asked_for_again)
{
	begin();
	kill_daemon();
	start("memory_reserve = \"1024TiB\"; workers = 2;");
	suite_ready(&scene.conn, "s");
	suite_ready(&scene.conn, "t");
	expect_untouched();
	end(0);
}
END_TEST

/* What is missing of it is not to be had: it stays what it is, and is taken over when it is tried again. */
START_TEST(what_cannot_be_provisioned_again_is_kept)
{
	struct protocol_retry request = { .name = "s" };
	struct harness_reply reply;
	struct opener opener;

	begin();
	opener_start_bare(&opener);
	opener_must(&opener, 0, "write /s");
	opener_must(&opener, 0, "map %d", (int)SIZE);
	opener_must(&opener, 0, "set 4000000 6");
	opener_must(&opener, 0, "punch 0 %d", 1024 * 1024);
	kill_daemon();
	opener_fill("/filler");
	start(DAEMON_KEYS);
	expect_failed("s", "1 MiB are needed in /dev/shm");
	suite_ready(&scene.conn, "t");
	opener_must(&opener, 6, "get 4000000");
	opener_kill(&opener);
	expect_untouched();
	/* Killed again, it still is. */
	kill_daemon();
	start(DAEMON_KEYS);
	expect_failed("s", "1 MiB are needed in /dev/shm");
	expect_untouched();
	ck_assert_int_eq(shm_unlink("/filler"), 0);
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
	suite_ready(&scene.conn, "s");
	expect_untouched();
	opener_start_bare(&opener);
	opener_must(&opener, 0, "write /s");
	opener_must(&opener, 0, "map %d", (int)SIZE);
	opener_must(&opener, 6, "get 4000000");
	opener_kill(&opener);
	end(0);
}
END_TEST

/* It has failed, is not wanted any more, and nobody has it. */
START_TEST(what_was_kept_goes_when_it_is_not_wanted_any_more)
{
	int fd;

	begin();
	kill_daemon();
	fd = shm_open("/s", O_RDWR, 0);
	ck_assert(fd >= 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1024 * 1024) == 0);
	(void)close(fd);
	opener_fill("/filler");
	start(DAEMON_KEYS);
	expect_failed("s", "1 MiB are needed in /dev/shm");
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, RELOADING_SEGMENTS(POSIX("t", "")));
	while (access("/dev/shm/s", F_OK) == 0)
		suite_serves(&scene.daemon);
	ck_assert_int_eq(shm_unlink("/filler"), 0);
	end(0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("leftfails");
	TCase *tcase = tcase_create("leftfails");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_a_damaged_row_was_about_is_left_alone_and_the_rest_taken_over);
	tcase_add_loop_test(tcase, of_a_newer_or_lost_record_nothing_is_taken_over, 0, 2);
	tcase_add_test(tcase, a_start_that_fails_leaves_all_as_it_was);
	tcase_add_test(tcase, memory_that_it_has_is_not_asked_for_again);
	tcase_add_test(tcase, what_cannot_be_provisioned_again_is_kept);
	tcase_add_test(tcase, what_was_kept_goes_when_it_is_not_wanted_any_more);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
