/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A restart with a configuration that is not valid: whoever has segments goes on with the one that was in effect. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/system/lasting.h"

#define DESK	RELOADING_SEGMENT("desk", "")
#define BOOK	RELOADING_SEGMENT("book", "")
#define GOOD	RELOADING_SEGMENTS(DESK)
/* Two problems. */
#define BAD	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mlokc = true;") ", " RELOADING_SEGMENT("book", "page_size = 7;"))

static struct harness_manager manager;
static struct lasting_guest guest;

static void
begin(const char *body)
{
	harness_manager_start(&manager, NULL, body);
	lasting_arrive(&guest, &manager, "desk");
}

static void
end(void)
{
	lasting_leave(&guest);
	harness_manager_stop(&manager);
}

/* Other bytes, as they are. */
static void
write_config(const char *bytes)
{
	FILE *f = fopen(manager.daemon.config, "we");

	harness_assert(f && fputs(bytes, f) >= 0 && fclose(f) == 0, "%s: %s", manager.daemon.config, strerror(errno));
}

static void
await_status(const char *text)
{
	for (;;) {
		bool is_said;

		harness_manager_lock(&manager);
		is_said = strstr(manager.daemon.status, text) != NULL;
		harness_manager_unlock(&manager);
		if (is_said)
			return;
		/* Said again with each reload. */
		(void)poll(NULL, 0, 1);
	}
}

static const char *
kept_file(const char *name)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", manager.daemon.state, name);
	return path;
}

START_TEST(files_that_are_not_valid_end_no_restart)
{
	static const int signals[] = { SIGKILL, SIGUSR2 };
	const char *log;
	size_t length;

	begin(GOOD);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		(void)harness_manager_end(&manager, signals[i]);
		length = lasting_log_length(&manager);
		harness_daemon_configure(&manager.daemon, NULL, BAD);
		harness_manager_launch(&manager);
		harness_manager_await_ready(&manager);
		lasting_expect_same(&guest);
		log = lasting_log(&manager, length);
		reloading_expect(log, "segmentd.conf:");
		reloading_expect(log, "segments[0].mlokc");
		reloading_expect(log, "segments[1].page_size");
		reloading_expect(log, "segmentd goes on with what was in effect before");
		await_status("configuration not reloaded: 2 problems, the first: ");
		await_status("segmentd.conf:");
	}

	/* It stays so until a reload is carried out. */
	log = lasting_hangup(&manager, NULL, BAD);
	reloading_expect(log, "2 problems");
	await_status("configuration not reloaded");
	log = lasting_hangup(&manager, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	reloading_expect(log, "1 added, 1 kept");
	await_status("2 segments ready");
	harness_manager_lock(&manager);
	ck_assert_ptr_null(strstr(manager.daemon.status, "not reloaded"));
	harness_manager_unlock(&manager);

	/* What that carried out is in effect then, and kept. */
	log = lasting_restart(&manager, NULL, BAD);
	reloading_expect(log, "segmentd goes on with what was in effect before");
	lasting_expect_same(&guest);
	suite_ready(&guest.conn, "book");
	end();
}
END_TEST

static void
restart_as_it_is(void)
{
	(void)harness_manager_end(&manager, SIGKILL);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
}

/* What was changed a moment ago could be changed once more unseen: its state counts only when it has been that for a while. */
static void
restart_until_files_are_known(void)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct stat st;

	while (stat(kept_file("configuration.origin"), &st) != 0) {
		harness_assert(harness_clock_ns() < deadline_ns, "what the files were is never written down");
		restart_as_it_is();
	}
}

static ino_t
kept_inode(void)
{
	struct stat st;

	ck_assert_int_eq(stat(kept_file("configuration"), &st), 0);
	return st.st_ino;
}

START_TEST(files_that_are_what_they_were_are_not_read_again)
{
	struct protocol_segment row;
	ino_t inode;

	begin(GOOD);
	restart_until_files_are_known();
	inode = kept_inode();
	for (unsigned i = 0; i < 3; i++) {
		restart_as_it_is();
		lasting_expect_same(&guest);
		ck_assert_uint_eq(kept_inode(), inode);
	}
	/* Neither where they have changed, nor where what was kept has. */
	(void)lasting_restart(&manager, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	suite_ready(&guest.conn, "book");
	ck_assert_uint_ne(kept_inode(), inode);
	restart_until_files_are_known();
	inode = kept_inode();
	ck_assert_int_eq(truncate(kept_file("configuration"), 100), 0);
	restart_as_it_is();
	suite_ready(&guest.conn, "book");
	lasting_expect_same(&guest);
	ck_assert_uint_ne(kept_inode(), inode);
	/* A reload keeps another one, of which nothing is known but by its files. */
	restart_until_files_are_known();
	(void)lasting_hangup(&manager, NULL, GOOD);
	restart_as_it_is();
	lasting_expect_same(&guest);
	ck_assert_int_ne(harness_find(&guest.conn, "book", &row), 0);
	end();
}
END_TEST

START_TEST(no_file_can_be_read_at_all)
{
	struct stat st;

	begin(GOOD);
	ck_assert_int_eq(stat(kept_file("configuration"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	(void)harness_manager_end(&manager, SIGKILL);
	write_config("daemon = { socket = \"/x\";;;; \n garbage ((");
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	(void)harness_manager_end(&manager, SIGKILL);
	ck_assert_int_eq(unlink(manager.daemon.config), 0);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	end();
}
END_TEST

START_TEST(without_anything_to_lose_the_start_fails)
{
	harness_manager_start(&manager, NULL, "");
	(void)harness_manager_end(&manager, SIGKILL);
	harness_daemon_configure(&manager.daemon, NULL, BAD);
	harness_manager_launch(&manager);
	ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
	reloading_expect(harness_daemon_log(&manager.daemon), "segments[0].mlokc");
	reloading_expect_not(harness_daemon_log(&manager.daemon), "segmentd goes on");
	harness_manager_remove(&manager);
}
END_TEST

/* A stop gives everything back: nothing is kept. */
START_TEST(a_stop_leaves_no_configuration)
{
	struct stat st;

	harness_manager_start(&manager, NULL, GOOD);
	ck_assert_int_eq(harness_manager_end(&manager, SIGTERM), 0);
	ck_assert_int_ne(stat(kept_file("configuration"), &st), 0);
	ck_assert_uint_eq(harness_manager_count(&manager, ""), 0);
	harness_daemon_configure(&manager.daemon, NULL, BAD);
	harness_manager_launch(&manager);
	ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
	harness_manager_remove(&manager);
}
END_TEST

static void
spoil_truncate(const char *path)
{
	ck_assert_int_eq(truncate(path, 100), 0);
}

static void
spoil_bit(const char *path)
{
	FILE *f = fopen(path, "r+e");
	int c;

	ck_assert_int_eq(fseek(f, 8, SEEK_SET), 0);
	c = fgetc(f);
	ck_assert_int_eq(fseek(f, 8, SEEK_SET), 0);
	(void)fputc(c ^ 0x40, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void
spoil_mode(const char *path)
{
	ck_assert_int_eq(chmod(path, 0666), 0);
}

static void
spoil_link(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
}

static void
spoil_fifo(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void
spoil_away(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
}

/* Then all stays as it is until the files are valid. */
START_TEST(what_was_kept_is_spoilt)
{
	static void (*const spoils[])(const char *path) = {
		spoil_truncate, spoil_bit, spoil_mode, spoil_link, spoil_fifo, spoil_away,
	};

	begin(GOOD);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(spoils); i++) {
		size_t length;

		(void)harness_manager_end(&manager, SIGKILL);
		length = lasting_log_length(&manager);
		spoils[i](kept_file("configuration"));
		harness_daemon_configure(&manager.daemon, NULL, BAD);
		for (unsigned again = 0; again < 2; again++) {
			harness_manager_launch(&manager);
			ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
			reloading_expect(lasting_log(&manager, length), "cannot be gone on with: ");
		}
		harness_daemon_configure(&manager.daemon, NULL, GOOD);
		harness_manager_launch(&manager);
		harness_manager_await_ready(&manager);
		lasting_expect_same(&guest);
	}
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalconf");
	TCase *tcase = tcase_create("survivalconf");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, files_that_are_not_valid_end_no_restart);
	tcase_add_test(tcase, files_that_are_what_they_were_are_not_read_again);
	tcase_add_test(tcase, no_file_can_be_read_at_all);
	tcase_add_test(tcase, without_anything_to_lose_the_start_fails);
	tcase_add_test(tcase, a_stop_leaves_no_configuration);
	tcase_add_test(tcase, what_was_kept_is_spoilt);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
