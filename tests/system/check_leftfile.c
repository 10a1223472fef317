/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a killed daemon leaves of a file that holds a segment, and the next one does not want: what was half made goes, what was in
 * use stays with its contents and without its mark, once nobody has it.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/system/filing.h"

#define SIZE		FILING_SIZE
#define STOPS		32		/* moments of a start at which it is killed */
#define STOP_STEP_NS	600000

static const char without[] = "segments = ( { name = \"other\"; size = \"64KiB\"; } );";

/* The next one, with another configuration. */
static void
start(const char *body)
{
	harness_daemon_configure(&filing.daemon, NULL, body);
	filing_restart();
}

static void
await_gone(const char *path)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (filing_exists(path)) {
		harness_assert(harness_clock_ns() < deadline_ns, "%s is still there", path);
		suite_serves(&filing.daemon);
	}
}

static void
expect_contents(unsigned seed)
{
	cleanup_close int fd = open(filing.path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	filing_expect(fd, SIZE, seed);
}

START_TEST(what_was_in_use_stays_without_its_mark)
{
	filing_begin(SIZE, SIZE, "");
	filing_write(SIZE, 3);
	filing_kill();
	ck_assert(filing_exists(filing.mark));
	start(without);
	harness_daemon_await_log(&filing.daemon, "it is written back, and its mark goes");
	await_gone(filing.mark);
	expect_contents(3);
	filing_end();
}
END_TEST

START_TEST(who_has_it_keeps_its_mark)
{
	cleanup_close int fd = -1;

	filing_begin(SIZE, SIZE, "");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_store(fd, SIZE, 4);
	filing_kill();
	start(without);
	harness_daemon_await_log(&filing.daemon, "its mark stays until they are gone");
	ck_assert(filing_exists(filing.mark));
	filing_store(fd, SIZE, 5);
	close_fd(&fd);
	await_gone(filing.mark);
	expect_contents(5);
	filing_end();
}
END_TEST

START_TEST(what_is_kept_is_opened_anew_when_it_is_wanted_again)
{
	cleanup_close int fd = -1;
	char body[2048];

	filing_begin(SIZE, SIZE, "");
	(void)snprintf(body, sizeof(body), "%s", filing.body);
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_store(fd, SIZE, 6);
	filing_kill();
	start(without);
	harness_daemon_await_log(&filing.daemon, "its mark stays until they are gone");
	filing_reload(SIZE, SIZE, "");
	suite_ready(&filing.conn, "s");
	filing_read(SIZE, 6);
	close_fd(&fd);
	filing_end();
	ck_assert(!filing_exists(filing.mark));
	expect_contents(6);
}
END_TEST

/* Killed at one moment or another of its making: nothing is left, or the whole file. */
START_TEST(what_was_half_made_goes)
{
	char made[112], body[2048];
	struct stat st;

	(void)snprintf(body, sizeof(body), "%s", filing_body(SIZE, SIZE, ""));
	(void)snprintf(made, sizeof(made), "%s.new", filing.mark);
	for (long i = 0; i < STOPS; i++) {
		const struct timespec moment = { .tv_nsec = i * STOP_STEP_NS };

		(void)unlink(filing.path);
		harness_daemon_prepare(&filing.daemon, NULL, body);
		harness_daemon_launch(&filing.daemon);
		/* Not that anything is waited for: each time it is another moment of its start. */
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
		harness_daemon_kill(&filing.daemon);
		start(without);
		/* What it is at it brings to its end. */
		filing_end();
		ck_assert(!filing_exists(made));
		ck_assert(!filing_exists(filing.mark));
		ck_assert(stat(filing.path, &st) != 0 || st.st_size == (off_t)SIZE);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("leftfile");
	TCase *tcase = tcase_create("leftfile");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, filing_setup, filing_teardown);
	tcase_add_test(tcase, what_was_in_use_stays_without_its_mark);
	tcase_add_test(tcase, who_has_it_keeps_its_mark);
	tcase_add_test(tcase, what_is_kept_is_opened_anew_when_it_is_wanted_again);
	tcase_add_test(tcase, what_was_half_made_goes);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
