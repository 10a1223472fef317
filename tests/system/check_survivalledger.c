/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A successor that finds the ledger or the record spoilt, or has no room for its own: what is recoverable is recovered, what is
 * not is told, and nothing is lost that a later start could have.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "daemon/ledger_rows.h"
#include "tests/system/lasting.h"

#define DESK	RELOADING_SEGMENT("desk", "")
#define BOOK	RELOADING_SEGMENT("book", "")
#define TWO	RELOADING_SEGMENTS(DESK ", " BOOK)

static struct harness_manager manager;
static struct lasting_guest guest, other;

static void
begin(void)
{
	harness_manager_start(&manager, NULL, TWO);
	lasting_arrive(&guest, &manager, "desk");
	lasting_arrive(&other, &manager, "book");
}

static void
end(void)
{
	lasting_leave(&guest);
	lasting_leave(&other);
	harness_manager_stop(&manager);
}

static const char *
state_file(const char *name)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", manager.daemon.state, name);
	return path;
}

static struct ledger_row rows[512];
static size_t n_rows;

static void
read_ledger(void)
{
	FILE *f = fopen(state_file("ledger"), "re");

	harness_assert(f, "there is no ledger: %s", strerror(errno));
	n_rows = fread(rows, sizeof(rows[0]), BASE_ARRAY_SIZE(rows), f);
	(void)fclose(f);
}

static void
write_ledger(size_t n_bytes)
{
	FILE *f = fopen(state_file("ledger"), "r+e");

	harness_assert(f && fwrite(rows, 1, n_bytes, f) == n_bytes && fclose(f) == 0, "the ledger: %s", strerror(errno));
	ck_assert_int_eq(truncate(state_file("ledger"), (off_t)n_bytes), 0);
}

/* The row of a segment. */
static size_t
find_row(const struct lasting_guest *of)
{
	for (size_t i = 1; i < n_rows; i++)
		if (rows[i].kind == LEDGER_SEGMENT && rows[i].body.segment.generation == of->attached.generation)
			return i;
	harness_fail("'%s' has no row", of->name);
}

static const char *
launch(void)
{
	size_t length = lasting_log_length(&manager);

	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	return lasting_log(&manager, length);
}

/* Told before it is let go: its number, its size, and who has it as far as is known. */
static void
expect_told_unknown(const char *log, const struct lasting_guest *lost, bool holder_is_known)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "memory of generation %" PRIu64 " (64 KiB) was kept in the box, but the ledger has no row that "
	    "says of which segment: it is let go; ", lost->attached.generation);
	reloading_expect(log, text);
	if (holder_is_known)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "its memory stays with who had it attached: pid %d",
		    (int)getpid());
	reloading_expect(log, text);
}

static void
flip_row(size_t row)
{
	((unsigned char *)&rows[row].body)[17] ^= 0x10;
	write_ledger(n_rows * sizeof(rows[0]));
}

START_TEST(a_flipped_row_loses_its_segment_and_no_other)
{
	const char *log;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	read_ledger();
	flip_row(find_row(&other));
	log = launch();
	expect_told_unknown(log, &other, true);
	reloading_expect(log, "is damaged: what it was about is not known");
	reloading_expect(log, "it is kept as 'ledger.");
	lasting_expect_same(&guest);
	lasting_expect_lost(&other, &manager);
	end();
}
END_TEST

/* With its size and who had it, and by its number, since the name is not known. */
START_TEST(a_flipped_text_loses_its_segment_and_no_other)
{
	char text[256];
	const char *log;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	read_ledger();
	flip_row(rows[find_row(&other)].body.segment.texts.first);
	log = launch();
	(void)snprintf(text, sizeof(text), "a segment of the segmentd before this one (generation %" PRIu64 ", 64 KiB) cannot be taken over "
	    "with its contents: what it was defined as cannot be read; its memory stays with who had it attached: pid %d",
	    other.attached.generation, (int)getpid());
	reloading_expect(log, text);
	lasting_expect_same(&guest);
	lasting_expect_lost(&other, &manager);
	end();
}
END_TEST

START_TEST(a_flipped_header_loses_nothing)
{
	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	read_ledger();
	((struct ledger_header *)rows)->boot[3] ^= 1;
	write_ledger(n_rows * sizeof(rows[0]));
	reloading_expect(launch(), "its first row is damaged: the others are believed");
	lasting_expect_same(&guest);
	lasting_expect_same(&other);
	end();
}
END_TEST

/* Wherever it is cut: each segment is the same, or told. */
START_TEST(a_ledger_that_is_cut_short)
{
	size_t n_bytes;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	read_ledger();
	n_bytes = n_rows * sizeof(rows[0]) * (size_t)_i / 8;
	write_ledger(n_bytes);
	for (size_t i = 0; i < 2; i++) {
		struct lasting_guest *one = i ? &other : &guest;
		size_t at = find_row(one);
		bool is_there = (at + 1) * sizeof(rows[0]) <= n_bytes;

		for (size_t text = rows[at].body.segment.texts.first; is_there && text; text = rows[text].body.text.next)
			is_there = (text + 1) * sizeof(rows[0]) <= n_bytes;
		if (i == 0)
			(void)launch();
		lasting_expect_kept(one);
		if (!is_there)
			lasting_expect_lost(one, &manager);
		else {
			struct lasting_guest again;

			lasting_arrive(&again, &manager, one->name);
			ck_assert_uint_eq(again.attached.generation, one->attached.generation);
			lasting_leave(&again);
		}
		if (!is_there && n_bytes < (at + 1) * sizeof(rows[0]))
			expect_told_unknown(harness_daemon_log(&manager.daemon), one, false);
	}
	end();
}
END_TEST

static void
spoil_missing(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
}

static void
spoil_mode(const char *path)
{
	ck_assert_int_eq(chmod(path, 0646), 0);
}

static void
spoil_link(const char *path)
{
	char aside[200];

	(void)snprintf(aside, sizeof(aside), "%s-real", path);
	ck_assert(rename(path, aside) == 0 && symlink(aside, path) == 0);
}

static void
spoil_fifo(const char *path)
{
	ck_assert(unlink(path) == 0 && mkfifo(path, 0600) == 0);
}

static void
spoil_directory(const char *path)
{
	ck_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
}

static void
spoil_empty(const char *path)
{
	ck_assert_int_eq(truncate(path, 0), 0);
}

static void
spoil_boot(const char *path)
{
	struct ledger_header *header = (struct ledger_header *)rows;

	read_ledger();
	header->boot[3] = header->boot[3] == 'a' ? 'b' : 'a';
	header->sum = ledger_sum(header);
	write_ledger(n_rows * sizeof(rows[0]));
}

static void (*const spoils[])(const char *path) = {
	spoil_missing, spoil_mode, spoil_link, spoil_fifo, spoil_directory, spoil_empty, spoil_boot,
};

/* Connections are hung up, and memory is let go, all of it told; and what comes then is as ever. */
START_TEST(a_ledger_that_is_none)
{
	const char *log;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	spoils[_i](state_file("ledger"));
	log = launch();
	expect_told_unknown(log, &guest, false);
	expect_told_unknown(log, &other, false);
	reloading_expect(log, "was kept in the box, but the ledger has no row of it: it is hung up, and its process connects anew");
	lasting_expect_hangup(&guest);
	lasting_expect_hangup(&other);
	lasting_expect_lost(&guest, &manager);
	lasting_expect_lost(&other, &manager);
	lasting_leave(&guest);
	lasting_arrive(&guest, &manager, "desk");
	(void)harness_manager_end(&manager, SIGKILL);
	reloading_expect_not(launch(), "was kept in the box");
	lasting_expect_same(&guest);
	end();
}
END_TEST

/* It is put aside, and what was kept for its daemon stays in the store; with its name back it is that daemon's again. */
START_TEST(a_ledger_from_the_future)
{
	struct ledger_header *header = (struct ledger_header *)rows;
	unsigned n_before;
	const char *log;
	char aside[160], name[64], *at;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	read_ledger();
	header->version = LEDGER_VERSION + 1;
	write_ledger(n_rows * sizeof(rows[0]));
	n_before = harness_manager_count(&manager, "box-");
	log = launch();
	reloading_expect(log, "it is of a newer segmentd (version 2 with rows of 256 bytes; this one knows version 1 with 256)");
	at = strstr(log, "it is kept as 'ledger.");
	harness_assert(at && sscanf(at, "it is kept as '%63[^']'", name) == 1, "it is not kept");
	lasting_expect_hangup(&guest);
	lasting_expect_lost(&guest, &manager);
	ck_assert_uint_ge(harness_manager_count(&manager, "box-"), n_before);

	/* As the daemon of that version would find it. */
	(void)harness_manager_end(&manager, SIGKILL);
	(void)snprintf(aside, sizeof(aside), "%s", state_file(name));
	header->version = LEDGER_VERSION;
	ck_assert_int_eq(rename(aside, state_file("ledger")), 0);
	write_ledger(n_rows * sizeof(rows[0]));
	(void)launch();
	lasting_leave(&other);
	lasting_arrive(&other, &manager, "desk");
	ck_assert_uint_eq(other.attached.generation, guest.attached.generation);
	ck_assert_int_eq(memcmp(other.data, guest.data, guest.attached.size_bytes), 0);
	end();
}
END_TEST

/* A small file system for the state, of the test's own. */
static void
mount_state(void)
{
	harness_need_root();
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		harness_skip("no mount namespace: %s", strerror(errno));
	harness_manager_prepare(&manager, NULL, TWO);
	if (mount("tmpfs", manager.daemon.state, "tmpfs", 0, "size=256k,mode=0700"))
		harness_skip("no tmpfs: %s", strerror(errno));
}

/* Takes all that is left but so many bytes. */
static void
fill_state(size_t left)
{
	FILE *f = fopen(state_file("ballast"), "we");
	static const char page[4096] = "ballast";

	ck_assert_ptr_nonnull(f);
	(void)setvbuf(f, NULL, _IONBF, 0);
	while (fwrite(page, sizeof(page), 1, f) == 1)
		;
	if (left)
		ck_assert_int_eq(ftruncate(fileno(f), ftell(f) - (off_t)left), 0);
	(void)fclose(f);
}

/* Whatever of it cannot be written: the start fails and says so, and the next one has it all. */
START_TEST(a_state_dir_that_is_full)
{
	struct harness_conn conns[30];
	size_t length;
	int status;

	mount_state();
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_arrive(&guest, &manager, "desk");
	lasting_arrive(&other, &manager, "book");
	/* So that the ledger has several pages, and not all of it fits. */
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		conns[i] = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&conns[i], manager.daemon.socket);
		conns[i].is_lasting = true;
	}
	for (size_t left = 0; left < 6; left++) {
		(void)harness_manager_end(&manager, SIGKILL);
		fill_state(left * 4096);
		length = lasting_log_length(&manager);
		harness_manager_launch(&manager);
		if (left < 3) {
			status = harness_daemon_await_exit(&manager.daemon);
			harness_assert(status == 1, "with %zu pages it ended with %d", left, status);
			reloading_expect(lasting_log(&manager, length), "No space left on device");
			reloading_expect_not(lasting_log(&manager, length), "Sanitizer");
			ck_assert_int_eq(unlink(state_file("ballast")), 0);
			harness_manager_launch(&manager);
			harness_manager_await_ready(&manager);
		} else {
			/* Of the one or the other there may be enough by now. */
			struct pollfd fds[2] = { { manager.news_fd, POLLIN, 0 }, { manager.daemon.pidfd, POLLIN, 0 } };

			ck_assert_int_gt(harness_poll(fds, 2, HARNESS_TIMEOUT_MS), 0);
			ck_assert_int_eq(unlink(state_file("ballast")), 0);
			if (fds[1].revents) {
				ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
				harness_manager_launch(&manager);
			}
			harness_manager_await_ready(&manager);
		}
		lasting_expect_same(&guest);
		lasting_expect_same(&other);
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		ck_assert_int_eq(harness_find(&conns[i], "desk", &(struct protocol_segment) { 0 }), 0);
		harness_close(&conns[i]);
	}
	lasting_leave(&guest);
	lasting_leave(&other);
	ck_assert_int_eq(harness_manager_end(&manager, SIGTERM), 0);
	(void)umount(manager.daemon.state);
	harness_manager_remove(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalledger");
	TCase *tcase = tcase_create("survivalledger");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_flipped_row_loses_its_segment_and_no_other);
	tcase_add_test(tcase, a_flipped_text_loses_its_segment_and_no_other);
	tcase_add_test(tcase, a_flipped_header_loses_nothing);
	tcase_add_loop_test(tcase, a_ledger_that_is_cut_short, 0, 9);
	tcase_add_loop_test(tcase, a_ledger_that_is_none, 0, BASE_ARRAY_SIZE(spoils));
	tcase_add_test(tcase, a_ledger_from_the_future);
	tcase_add_test(tcase, a_state_dir_that_is_full);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
