/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the rules of orphans make of names that come and go, with a judge that says what the test wants to hear: when it is asked,
 * and what follows from the answer. Which names that is about is check_orphannames.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>

#include "base/base.h"
#include "daemon/orphans_posix.h"
#include "tests/daemon/orphans_rig.h"
#include "tests/suite_run.h"

START_TEST(object_is_told_of_once)
{
	BEGIN({ "/x*", 1, false });
	touch("x1", O_WRONLY);
	touch("other", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	touch("x1", O_RDONLY);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	/* Another object of that name is news. */
	touch("x1.new", O_WRONLY);
	ck_assert_int_eq(renameat(rig.dir_fd, "x1.new", rig.dir_fd, "x1"), 0);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 2);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	end();
}
END_TEST

START_TEST(what_is_removed_is_forgotten)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	ck_assert_uint_eq(rig.orphans.freed_bytes, 4096);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	end();
}
END_TEST

START_TEST(what_came_under_the_name_meanwhile_is_looked_at)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	touch("x1", O_WRONLY);
	answer(_i ? AUDIT_GONE : AUDIT_REMOVED);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	EXPECT_ASK("x1");
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(what_is_gone_is_not_asked_about)
{
	BEGIN({ "/x*", 20, true });
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	ck_assert_int_eq(renameat(rig.dir_fd, "x2", rig.dir_fd, "y"), 0);
	expect_quiet("x3");
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	end();
}
END_TEST

START_TEST(close_begins_the_time_anew)
{
	BEGIN({ "/x*", 1000, true });
	/* The first look at the directory is a worker's: what it finds begins its time then. */
	while (rig.orphans.posix->wants_scan || rig.orphans.posix->scan)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	/* Whatever is queued together counts from when it is read. */
	(void)event_base_loop(rig.base, EVLOOP_ONCE);
	while (rig.orphans.n_found == 0 && orphans_n_watched(&rig.orphans) < 2)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	touch("x1", _i ? O_RDONLY : O_WRONLY);
	await_ask();
	/* A machine that stood still may have both in one question, and then in that order. */
	ck_assert_str_eq(rig.ask->candidates[0].name, "x2");
	answer(AUDIT_HELD);
	end();
}
END_TEST

/* What was there before there was a rule about it is told of by nobody else. */
START_TEST(names_that_cannot_be_read_are_read_later)
{
	struct orphans_posix *posix;

	begin(NULL, 0);
	touch("x1", O_WRONLY);
	SET_RULES({ "/x*", 1, true });
	posix = rig.orphans.posix;
	while (!posix->scan || posix->scan->is_out)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
	ck_assert_int_ge(dup2(rig.dir_fd, posix->scan->names_fd), 0);
	while (posix->scan)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
	ck_assert(posix->wants_scan && posix->is_put_off && posix->scan_at_ns > clock_monotonic_ns());
	ck_assert_uint_eq(orphans_posix_n(posix), 0);
	/* As when that time has come. */
	posix->scan_at_ns = 0;
	orphans_posix_plan(posix);
	EXPECT_ASK("x1");
	answer(AUDIT_HELD);
	ck_assert(!posix->is_put_off);
	end();
}
END_TEST

START_TEST(held_is_left_alone_until_its_next_close)
{
	uint64_t answered_ns;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	/* The judge looks at it: that is a close, too. */
	touch("x1", O_RDONLY);
	answer(AUDIT_HELD);
	answered_ns = clock_monotonic_ns();
	touch("xfence", O_WRONLY);
	await_ask();
	if (streq(rig.ask->candidates[0].name, "x1"))
		ck_assert_uint_ge(clock_monotonic_ns() - answered_ns, 2 * NS_PER_SEC);
	answer(AUDIT_HELD);
	touch("x1", O_RDONLY);
	do {
		await_ask();
		if (streq(rig.ask->candidates[0].name, "x1"))
			break;
		answer(AUDIT_HELD);
	} while (true);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(merged_close_is_found_by_a_later_look)
{
	uint64_t answered_ns;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	touch("x1", O_RDONLY);
	answer(AUDIT_HELD);
	answered_ns = clock_monotonic_ns();
	/* Nothing happens any more. */
	EXPECT_ASK("x1");
	ck_assert_uint_ge(clock_monotonic_ns() - answered_ns, 2 * NS_PER_SEC - NS_PER_MS);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(later_looks_come_ever_later)
{
	const struct conf_orphan rule = { .after_ms = 30000 }, soon = { .after_ms = 0 };

	ck_assert_uint_eq(orphans_backoff_ns(&rule, 0), 60 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&rule, 1), 120 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&rule, 255), 24 * 3600 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&soon, 0), 2 * NS_PER_SEC);
}
END_TEST

/* A question waits for its turn behind others'. */
START_TEST(close_while_the_question_waits_keeps_it_from_removal)
{
	BEGIN({ "/x*", 1, true });
	rig.is_late = true;
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	EXPECT_ASK("x1", "x2");
	touch("x1", O_RDONLY);
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	ck_assert_uint_eq(rig.ask->candidates[1].flags, AUDIT_CANDIDATE_REMOVE);
	/* It goes to another who judges, after the first has looked at them. */
	touch("x2", O_RDONLY);
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[1].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 0);
	rig.is_late = false;
	EXPECT_ASK("x1", "x2");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 2);
	end();
}
END_TEST

START_TEST(rule_that_goes_while_the_question_waits_removes_nothing)
{
	BEGIN({ "/x*", 1, true });
	rig.is_late = true;
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	SET_RULES({ "/x*", 1, false });
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 0);
	rig.is_late = false;
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	end();
}
END_TEST

START_TEST(writer_that_closes_while_it_is_judged_is_noticed)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	touch("x1", O_WRONLY);
	answer(AUDIT_HELD);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.n_asks, 2);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(what_cannot_be_removed_or_asked_about_is_told_once)
{
	static const struct {
		enum audit_verdict verdict;
		uint64_t n_kept, n_unknown;
	} cases[] = { { AUDIT_KEPT, 1, 0 }, { AUDIT_UNKNOWN, 0, 1 } };

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	for (int i = 0; i < 3; i++) {
		EXPECT_ASK("x1");
		answer(cases[_i].verdict);
		touch("x1", O_RDONLY);
	}
	ck_assert_uint_eq(rig.orphans.n_kept, cases[_i].n_kept);
	ck_assert_uint_eq(rig.orphans.n_unknown, cases[_i].n_unknown);
	ck_assert_uint_eq(rig.orphans.n_removed, 0);
	end();
}
END_TEST

START_TEST(judge_that_cannot_be_asked_is_asked_again_later)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	if (_i)
		rig.refuses = -ENOMEM;
	else
		await_ask();
	if (!_i)
		orphans_end(take_ptr(rig.ask), -ETIME, "it took too long");
	while (!rig.orphans.retry_ns)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	ck_assert_uint_eq(rig.orphans.retry_ns, 10 * NS_PER_SEC);
	rig.refuses = 0;
	/* One that comes new need not wait. */
	touch("x2", O_WRONLY);
	EXPECT_ASK("x2");
	answer(AUDIT_HELD);
	ck_assert_uint_eq(rig.orphans.retry_ns, 0);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 2);
	end();
}
END_TEST

START_TEST(ends_while_it_is_judged)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	await_ask();
	end();
	ck_assert_ptr_null(rig.ask);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	suite = suite_create("daemon/orphans");
	tcase = tcase_create("orphans");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, object_is_told_of_once);
	tcase_add_test(tcase, what_is_removed_is_forgotten);
	tcase_add_loop_test(tcase, what_came_under_the_name_meanwhile_is_looked_at, 0, 2);
	tcase_add_test(tcase, what_is_gone_is_not_asked_about);
	tcase_add_loop_test(tcase, close_begins_the_time_anew, 0, 2);
	tcase_add_test(tcase, names_that_cannot_be_read_are_read_later);
	tcase_add_test(tcase, held_is_left_alone_until_its_next_close);
	tcase_add_test(tcase, merged_close_is_found_by_a_later_look);
	tcase_add_test(tcase, later_looks_come_ever_later);
	tcase_add_test(tcase, close_while_the_question_waits_keeps_it_from_removal);
	tcase_add_test(tcase, rule_that_goes_while_the_question_waits_removes_nothing);
	tcase_add_test(tcase, writer_that_closes_while_it_is_judged_is_noticed);
	tcase_add_loop_test(tcase, what_cannot_be_removed_or_asked_about_is_told_once, 0, 2);
	tcase_add_loop_test(tcase, judge_that_cannot_be_asked_is_asked_again_later, 0, 2);
	tcase_add_test(tcase, ends_while_it_is_judged);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
