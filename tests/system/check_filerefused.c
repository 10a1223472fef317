/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Files that are none for a segment, and who has one: nothing is taken from anybody, and the sentence says what is in the way. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "tests/system/filing.h"

/* What is no file for a segment. */

static void
make_link(void)
{
	char to[96];

	(void)snprintf(to, sizeof(to), "%s/other", filing.dir);
	filing_write_text(to, "");
	ck_assert_int_eq(symlink(to, filing.path), 0);
}

static void
make_dangling_link(void)
{
	ck_assert_int_eq(symlink("/nowhere/at/all", filing.path), 0);
}

static void
make_directory(void)
{
	ck_assert_int_eq(mkdir(filing.path, 0700), 0);
}

static void
make_fifo(void)
{
	ck_assert_int_eq(mkfifo(filing.path, 0600), 0);
}

static void
make_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", filing.path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static void
make_device(void)
{
	harness_need_root();
	if (mknod(filing.path, S_IFCHR | 0600, makedev(1, 5)) != 0)
		harness_skip("no device can be made here: %s", strerror(errno));
}

static void
make_others(void)
{
	harness_need_root();
	filing_make(FILING_SIZE);
	ck_assert_int_eq(chown(filing.path, HARNESS_NOBODY, HARNESS_NOBODY), 0);
}

static void
make_linked(void)
{
	char to[96];

	filing_make(FILING_SIZE);
	(void)snprintf(to, sizeof(to), "%s/other", filing.dir);
	ck_assert_int_eq(link(filing.path, to), 0);
}

static void
make_open(void)
{
	filing_make(FILING_SIZE);
	ck_assert_int_eq(chmod(filing.path, 0640), 0);
}

static void
make_too_small(void)
{
	filing_make(FILING_SIZE - 1);
}

static void
make_too_large(void)
{
	filing_make(FILING_SIZE + 1);
}

static void
make_no_directory(void)
{
	(void)snprintf(filing.path, sizeof(filing.path), "%s/none/data", filing.dir);
}

static void
make_closed_directory(void)
{
	if (geteuid() == 0)
		harness_skip("no directory is closed to root");
	(void)snprintf(filing.path, sizeof(filing.path), "%s/closed", filing.dir);
	ck_assert_int_eq(mkdir(filing.path, 0500), 0);
	(void)snprintf(filing.path, sizeof(filing.path), "%s/closed/data", filing.dir);
}

static void
make_others_mark(void)
{
	harness_need_root();
	filing_write_text(filing.mark, "");
	ck_assert_int_eq(chown(filing.mark, HARNESS_NOBODY, HARNESS_NOBODY), 0);
}

static void
make_mark_link(void)
{
	ck_assert_int_eq(symlink("/nowhere/at/all", filing.mark), 0);
}

static const struct {
	void (*make)(void);
	const char *texts[4];
} refused[] = {
	{ make_link, { "is a symbolic link", "a regular file is expected", "Remedy: " } },
	{ make_dangling_link, { "is a symbolic link", "a regular file is expected", "Remedy: " } },
	{ make_directory, { "is a directory", "a regular file is expected", "Remedy: " } },
	{ make_fifo, { "is a fifo", "a regular file is expected", "Remedy: " } },
	{ make_socket, { "is a socket", "a regular file is expected", "Remedy: " } },
	{ make_device, { "is a device", "a regular file is expected", "Remedy: " } },
	{ make_others, { "belongs to uid 65534", "chown", "Remedy: " } },
	{ make_linked, { "has 2 hard links", "Remedy: " } },
	{ make_open, { "has mode 0640", "chmod 0600", "Remedy: " } },
	{ make_too_small, { "has 3149824 bytes, and max_size is 3149825", "truncate", "Remedy: " } },
	{ make_too_large, { "has 3149826 bytes, and max_size is 3149825", "truncate", "Remedy: " } },
	{ make_no_directory, { "there is no directory", "install -d", "Remedy: " } },
	{ make_closed_directory, { "its directory: Permission denied", "install -d", "Remedy: " } },
	{ make_others_mark, { "its mark", "belongs to uid 65534", "Remedy: " } },
	{ make_mark_link, { "its mark", "is a symbolic link", "Remedy: " } },
};

START_TEST(what_is_no_such_file_is_refused)
{
	struct stat before = { 0 }, after = { 0 };
	bool had_mark;

	refused[_i].make();
	(void)lstat(filing.path, &before);
	had_mark = filing_exists(filing.mark);
	filing_begin(FILING_SIZE, FILING_SIZE, "");
	filing_expect_failed(refused[_i].texts);
	/* It is as it was, down to when it was last touched, and nothing is left beside it. */
	(void)lstat(filing.path, &after);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(before.st_size, after.st_size);
	ck_assert_int_eq(before.st_atim.tv_nsec, after.st_atim.tv_nsec);
	ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	filing_end();
	ck_assert(filing_exists(filing.mark) == had_mark);
}
END_TEST

/* Who has it. */

/* One's own way leads there; another one's may lead anywhere, and so may one that others can replace. */
START_TEST(a_link_of_others_is_not_followed)
{
	static const char *const texts[] = { "symbolic link that uid 65534 can lead anywhere", "Remedy: ", NULL };
	char real[96], link[112], between[96];

	harness_need_root();
	(void)snprintf(real, sizeof(real), "%s/real", filing.dir);
	(void)snprintf(between, sizeof(between), "%s/b", filing.dir);
	(void)snprintf(link, sizeof(link), "%s/l", between);
	ck_assert_int_eq(chmod(filing.dir, 0755), 0);
	ck_assert_int_eq(mkdir(real, 0700), 0);
	ck_assert_int_eq(mkdir(between, 0755), 0);
	ck_assert_int_eq(symlink(real, link), 0);
	if (_i == 1)
		ck_assert_int_eq(lchown(link, HARNESS_NOBODY, HARNESS_NOBODY), 0);
	if (_i == 2)
		ck_assert_int_eq(chown(between, HARNESS_NOBODY, HARNESS_NOBODY), 0);
	ck_assert_int_lt(snprintf(filing.path, sizeof(filing.path), "%s/data", link), sizeof(filing.path));
	filing_begin(FILING_SIZE, FILING_SIZE, "");
	if (_i)
		filing_expect_failed(texts);
	else
		suite_ready(&filing.conn, "s");
	filing_end();
}
END_TEST

START_TEST(one_daemon_has_it_at_a_time)
{
	struct harness_daemon first;
	struct harness_conn conn;
	char pid[48];
	const char *texts[] = { "is in use by pid ", pid, "stop that one", NULL };

	filing_begin(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 4);
	first = filing.daemon;
	conn = filing.conn;
	(void)snprintf(pid, sizeof(pid), "%d (segmentd)", (int)first.pid);
	filing.daemon = (struct harness_daemon)HARNESS_DAEMON_NULL;
	filing_begin(FILING_SIZE, FILING_SIZE, "on_unclean = \"zero\";");
	filing_expect_failed(texts);
	harness_close(&conn);
	ck_assert_int_eq(kill(first.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&first), 0);
	filing_retry();
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 4);
	filing_end();
	harness_daemon_remove(&first);
}
END_TEST

/* A descriptor of the daemon's mark, as a worker of it has that waits for the disk. */
static int
take_mark(void)
{
	struct stat mark, st;

	ck_assert_int_eq(stat(filing.mark, &mark), 0);
	for (int fd = 3; fd < 256; fd++) {
		char path[64];
		int taken;

		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)filing.daemon.pid, fd);
		if (stat(path, &st) || st.st_dev != mark.st_dev || st.st_ino != mark.st_ino)
			continue;
		taken = (int)syscall(SYS_pidfd_getfd, filing.daemon.pidfd, fd, 0);
		if (taken < 0)
			harness_skip("another process's descriptors cannot be had here: %s", strerror(errno));
		return taken;
	}
	harness_fail("the daemon has no mark");
}

START_TEST(what_a_killed_one_still_writes_is_waited_for)
{
	struct protocol_segment row;
	int fd;

	filing_begin(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 9);
	fd = take_mark();
	filing_kill();
	harness_daemon_launch(&filing.daemon);
	harness_daemon_await_ready(&filing.daemon);
	harness_open(&filing.conn, filing.daemon.socket);
	suite_ready(&filing.conn, "other");
	for (int i = 0; i < 20; i++)
		suite_serves(&filing.daemon);
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_PROVISIONING);
	(void)close(fd);
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 9);
	filing_end();
}
END_TEST

/* Waits until nobody has the mark's lock. */
static void
await_unlocked(void)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	cleanup_close int fd = open(filing.mark, O_RDWR | O_CLOEXEC);

	harness_assert(fd >= 0, "open %s: %s", filing.mark, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB))
		harness_assert(harness_clock_ns() < deadline_ns, "the mark stays locked");
}

/*
 * Somebody has the file when it is given back, so its mark stays. What the service manager keeps for the next daemon has a descriptor of
 * that for a while: the lock does not stay with it.
 */
START_TEST(what_was_given_back_is_had_again)
{
	cleanup_close int kept = -1, foreign = -1;

	filing_begin(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_write(FILING_SIZE, 12);
	kept = take_mark();
	foreign = open(filing.path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(foreign, 0);
	ck_assert_int_eq(harness_remove(&filing.conn, "s", PROTOCOL_REMOVE_NOW), 0);
	harness_await_gone(&filing.conn, "s");
	await_unlocked();
	ck_assert(filing_exists(filing.mark));
	close_fd(&foreign);
	filing_reload(FILING_SIZE, FILING_SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_read(FILING_SIZE, 12);
	filing_end();
}
END_TEST

START_TEST(one_segment_has_it_at_a_time)
{
	static const char *const texts[] = { "is in use by this segmentd already", NULL };
	char link[96], body[3072], *first;

	(void)snprintf(link, sizeof(link), "%s/link", filing.dir);
	ck_assert_int_eq(symlink(".", link), 0);
	first = strdup(filing_body(FILING_SIZE, FILING_SIZE, ""));
	ck_assert_ptr_nonnull(first);
	*strstr(first, ", { name = \"other\"") = '\0';
	(void)snprintf(body, sizeof(body), "%s, { name = \"other\"; size = %llu; backend = \"file\"; path = \"%s/data\"; "
	    "required = false; placement = \"prefer\"; } );", first, (unsigned long long)FILING_SIZE, link);
	free(first);
	harness_daemon_start(&filing.daemon, NULL, body);
	harness_open(&filing.conn, filing.daemon.socket);
	/* Either may be the first. */
	if (harness_wait(&filing.conn, "s") == PROTOCOL_READY) {
		struct harness_reply shown;

		ck_assert_int_eq(harness_wait(&filing.conn, "other"), PROTOCOL_FAILED);
		ck_assert_int_eq(harness_show(&filing.conn, "other", &shown), 0);
		ck_assert_ptr_nonnull(strstr(harness_reason(&shown), texts[0]));
	} else {
		filing_expect_failed(texts);
		suite_ready(&filing.conn, "other");
	}
	filing_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("filerefused");
	TCase *tcase = tcase_create("filerefused");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, filing_setup, filing_teardown);
	tcase_add_loop_test(tcase, what_is_no_such_file_is_refused, 0, BASE_ARRAY_SIZE(refused));
	tcase_add_loop_test(tcase, a_link_of_others_is_not_followed, 0, 3);
	tcase_add_test(tcase, one_daemon_has_it_at_a_time);
	tcase_add_test(tcase, what_a_killed_one_still_writes_is_waited_for);
	tcase_add_test(tcase, what_was_given_back_is_had_again);
	tcase_add_test(tcase, one_segment_has_it_at_a_time);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
