/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the service manager hears from us, at a socket that plays its part. */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>

#include "systemd/notify.h"
#include "tests/service/manager.h"
#include "tests/service/suite.h"

static char heard[65536];

/* The next message is this one, and it is the only one. */
static void
assert_heard(const char *expected)
{
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_str_eq(heard, expected);
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
}

START_TEST(ready_is_said_once)
{
	ck_assert(notify_present());
	notify_ready();
	assert_heard("READY=1");
	notify_ready();
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
}
END_TEST

START_TEST(ready_is_said_again_after_a_reload)
{
	uint64_t before_us = clock_monotonic_ns() / 1000, said_us;

	ck_assert(notify_ready());
	assert_heard("READY=1");
	notify_reloading();
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_int_eq(sscanf(heard, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &said_us), 1);
	ck_assert_uint_ge(said_us, before_us);
	ck_assert_uint_le(said_us, clock_monotonic_ns() / 1000);
	ck_assert(notify_ready());
	assert_heard("READY=1");
	ck_assert(notify_ready());
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
}
END_TEST

START_TEST(stopping_and_watchdog_are_said)
{
	notify_stopping();
	assert_heard("STOPPING=1");
	notify_watchdog();
	assert_heard("WATCHDOG=1");
	notify_watchdog();
	assert_heard("WATCHDOG=1");
}
END_TEST

START_TEST(status_is_formatted)
{
	notify_status("provisioning %d of %d segments (%s)", 2, 3, "größe");
	assert_heard("STATUS=provisioning 2 of 3 segments (größe)");
}
END_TEST

START_TEST(status_cannot_smuggle_a_field_in)
{
	notify_status("segment '%s'", "a\nREADY=1\r\t\x7f");
	assert_heard("STATUS=segment 'a\\nREADY=1\\x0d\\x09\\x7f'");
}
END_TEST

START_TEST(long_status_is_cut)
{
	char text[20000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	notify_status("%s", text);
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_uint_le(strlen(heard), 1024);
	ck_assert_uint_ge(strlen(heard), 1000);
	ck_assert_str_eq(heard + strlen(heard) - 6, "xxx...");

	memset(text, '\n', sizeof(text) - 1);
	notify_status("%s", text);
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_uint_le(strlen(heard), 1024);
	ck_assert_str_eq(heard + strlen(heard) - 5, "\\n...");
}
END_TEST

/* Wherever the cut falls, what is left is whole: a four-byte character is there with all its bytes or not at all. */
START_TEST(cut_leaves_utf8_whole)
{
	char text[2048];
	size_t at, len;

	for (len = 0; len < (size_t)_i; len++)
		text[len] = 'x';
	for (; len + 4 < sizeof(text); len += 4)
		memcpy(text + len, "\xf0\x9f\x99\x82", 4);
	text[len] = '\0';
	notify_status("%s", text);
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	len = strlen(heard);
	ck_assert_str_eq(heard + len - 3, "...");
	at = strlen("STATUS=") + (size_t)_i;
	ck_assert_uint_gt(len, at + 900);
	ck_assert_uint_eq((len - 3 - at) % 4, 0);
}
END_TEST

START_TEST(without_a_manager_nothing_happens)
{
	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "2000000", 1), 0);
	ck_assert(!notify_present());
	notify_ready();
	notify_status("nobody listens");
	notify_watchdog();
	notify_stopping();
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 0);
	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
	/* A manager that comes later (a test's, at that) is told. */
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", manager_path, 1), 0);
	notify_ready();
	assert_heard("READY=1");
}
END_TEST

START_TEST(manager_that_went_away_is_survived)
{
	ck_assert_int_eq(unlink(manager_path), 0);
	notify_ready();
	notify_status("nobody listens");
	notify_watchdog();
	notify_stopping();
}
END_TEST

START_TEST(watchdog_is_due_at_half_the_time)
{
	char pid[32];

	ck_assert_int_eq(unsetenv("WATCHDOG_PID"), 0);
	ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 0);
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "3000000", 1), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 1500);
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "1", 1), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 1);
	ck_assert_int_eq(setenv("WATCHDOG_USEC", "soon", 1), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 0);

	ck_assert_int_eq(setenv("WATCHDOG_USEC", "3000000", 1), 0);
	(void)snprintf(pid, sizeof(pid), "%jd", (intmax_t)getpid());
	ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 1500);
	ck_assert_int_eq(setenv("WATCHDOG_PID", "1", 1), 0);
	ck_assert_uint_eq(notify_watchdog_interval_ms(), 0);
}
END_TEST

START_TEST(manager_that_does_not_read_holds_nobody_up)
{
	/* More than any socket's queue takes; Check's time limit ends a wait. */
	for (int i = 0; i < 10000; i++)
		notify_status("message %d", i);
	notify_watchdog();
	ck_assert(!notify_ready());
	while (suite_receive(manager, heard, sizeof(heard)))
		ck_assert_ptr_null(strstr(heard, "READY"));
	ck_assert(notify_ready());
	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	ck_assert_str_eq(heard, "READY=1");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("notify");
	TCase *tcase = tcase_create("manager");

	tcase_add_checked_fixture(tcase, manager_start, manager_stop);
	tcase_add_test(tcase, manager_that_does_not_read_holds_nobody_up);
	tcase_add_test(tcase, ready_is_said_once);
	tcase_add_test(tcase, ready_is_said_again_after_a_reload);
	tcase_add_test(tcase, stopping_and_watchdog_are_said);
	tcase_add_test(tcase, status_is_formatted);
	tcase_add_test(tcase, status_cannot_smuggle_a_field_in);
	tcase_add_test(tcase, long_status_is_cut);
	tcase_add_loop_test(tcase, cut_leaves_utf8_whole, 0, 4);
	tcase_add_test(tcase, without_a_manager_nothing_happens);
	tcase_add_test(tcase, manager_that_went_away_is_survived);
	tcase_add_test(tcase, watchdog_is_due_at_half_the_time);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
