/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Which names the rules of orphans ask about, and under which rule: of rules that come and go, of many names, of names that were
 * not heard of, and in which order.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/base.h"
#include "tests/daemon/orphans_rig.h"
#include "tests/harness.h"
#include "tests/suite_run.h"

#define N_MANY	450			/* more than two questions have room for */

START_TEST(only_regular_files_of_one_name_are_asked_about)
{
	BEGIN({ "/x*", 1, true });
	ck_assert_int_eq(mkdirat(rig.dir_fd, "xdir", 0700), 0);
	ck_assert_int_eq(mkfifoat(rig.dir_fd, "xfifo", 0700), 0);
	ck_assert_int_eq(symlinkat("xa\nb", rig.dir_fd, "xlink"), 0);
	touch("xtwo", O_WRONLY);
	ck_assert_int_eq(linkat(rig.dir_fd, "xtwo", rig.dir_fd, "ytwo", 0), 0);
	rig.ours = "xours";
	touch("xours", O_WRONLY);
	touch("xa\nb", O_WRONLY);
	EXPECT_ASK("xa\nb");
	answer(AUDIT_HELD);
	/* The same by the look at all of them, under other rules. */
	SET_RULES({ "/x*", 2, true });
	EXPECT_ASK("xa\nb");
	answer(AUDIT_HELD);
	end();
}
END_TEST

/* Users may mount file systems of their own on their files: the loop waits for none. */
START_TEST(what_is_mounted_on_a_name_holds_nobody_up)
{
	char path[96];
	int server;

	if (access("/dev/fuse", R_OK | W_OK) || unshare(CLONE_NEWNS))
		harness_skip("no FUSE, or no mounts of our own: %s", strerror(errno));
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	(void)snprintf(path, sizeof(path), "%s/x1", rig.dir);
	server = harness_mount_silent(path);
	expect_quiet("x2");
	close_fd(&server);
	ck_assert_int_eq(umount2(path, MNT_DETACH), 0);
	end();
}
END_TEST

START_TEST(what_was_there_before_is_found)
{
	BEGIN({ "/none", 1, true });
	touch("x1", O_WRONLY);
	touch("y1", O_WRONLY);
	SET_RULES({ "/none", 1, true }, { "/y*", 1, true });
	EXPECT_ASK("y1");
	ck_assert(!rig.ask->is_seen[0]);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(first_rule_that_fits_counts)
{
	BEGIN({ "/xa*", 1, false }, { "/x*", 1, true });
	touch("xa1", O_WRONLY);
	EXPECT_ASK("xa1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	ck_assert_uint_eq(rig.ask->rule_of[0]->line, 1);
	answer(AUDIT_UNHELD);
	touch("xb1", O_WRONLY);
	EXPECT_ASK("xb1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(rules_that_go_while_it_is_judged_take_nothing_with_them)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	if (_i)
		SET_RULES({ "/y*", 1, true });
	else
		SET_RULES({ "/x*", 1, false });
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	touch(_i ? "y2" : "x2", O_WRONLY);
	await_ask();
	while (rig.ask)
		answer(AUDIT_HELD);
	ck_assert_int_eq(set_rules(NULL, 0), 0);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	/* Nothing is left that could happen. */
	while (event_base_loop(rig.base, EVLOOP_ONCE) == 0)
		;
	end();
}
END_TEST

START_TEST(last_rule_that_goes_waits_for_what_is_being_removed)
{
	struct orphans_ask *ask;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_int_eq(set_rules(NULL, 0), 0);
	ask = take_ptr(rig.ask);
	orphans_answer(ask, &(struct audit_stray) { .what = AUDIT_POSIX, .verdict = AUDIT_REMOVED, .inode = 1, .shm_id = -1 });
	orphans_end(ask, 0, "");
	while (event_base_loop(rig.base, EVLOOP_ONCE) == 0)
		;
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	ck_assert_ptr_null(rig.orphans.posix);
	end();
}
END_TEST

START_TEST(same_rules_change_nothing)
{
	BEGIN({ "/x*", 1, false });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	SET_RULES({ "/x*", 1, false });
	expect_quiet("x2");
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	end();
}
END_TEST

START_TEST(many_are_asked_about_in_questions_of_some)
{
	bool was_asked[N_MANY] = { false };
	unsigned n = 0;
	char name[16];

	BEGIN({ "/x*", 0, true });
	for (int i = 0; i < N_MANY; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		touch(name, O_WRONLY);
	}
	while (n < N_MANY) {
		await_ask();
		ck_assert_uint_le(rig.ask->n, ORPHANS_BATCH);
		for (size_t i = 0; i < rig.ask->n; i++) {
			int which = atoi(rig.ask->candidates[i].name + 1);

			n += !was_asked[which];
			was_asked[which] = true;
			ck_assert_int_eq(unlinkat(rig.dir_fd, rig.ask->candidates[i].name, 0), 0);
		}
		answer(AUDIT_REMOVED);
	}
	ck_assert_uint_eq(rig.orphans.n_removed, N_MANY);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	end();
}
END_TEST

START_TEST(more_names_than_are_kept_are_looked_at_later)
{
	char name[16];

	BEGIN({ "/none", 1, true });
	rig.orphans.max_entries = 8;
	for (int i = 0; i < 16; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		touch(name, O_WRONLY);
	}
	SET_RULES({ "/x*", 1, true });
	await_ask();
	while (rig.orphans.n_removed < 16) {
		await_ask();
		ck_assert_uint_le(orphans_n_watched(&rig.orphans), 8);
		for (size_t i = 0; i < rig.ask->n; i++)
			ck_assert_int_eq(unlinkat(rig.dir_fd, rig.ask->candidates[i].name, 0), 0);
		answer(AUDIT_REMOVED);
	}
	end();
}
END_TEST

static unsigned
queue_length(void)
{
	cleanup_fclose FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	unsigned n = 0;

	ck_assert(f && fscanf(f, "%u", &n) == 1);
	return n;
}

START_TEST(lost_events_lead_to_a_look_at_all)
{
	unsigned n = queue_length();

	if (n > 100000) {
		printf("SKIPPED: fs.inotify.max_queued_events is %u, too long a queue to be filled\n", n);
		return;
	}
	BEGIN({ "/x*", 1, true });
	/* The scan that comes first is over. */
	expect_quiet("x0");
	for (unsigned i = 0; i < n; i++)
		touch(i % 2 ? "y1" : "y2", O_RDONLY);
	touch("xlost", O_WRONLY);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x0", 0), 0);
	EXPECT_ASK("xlost");
	ck_assert_uint_ge(rig.orphans.n_overflows, 1);
	answer(AUDIT_HELD);
	end();
}
END_TEST

/* The names' own order and table, with more of them than the first room is for. */
START_TEST(names_come_in_the_order_in_which_they_are_due)
{
	struct orphans_names names;
	struct orphans_name *name;
	uint64_t last_ns = 0;
	char text[16];
	unsigned n = 0;

	ck_assert_int_eq(orphans_names_init(&names), 0);
	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(text, sizeof(text), "%u", i);
		name = orphans_names_add(&names, text);
		name->due_ns = i * UINT64_C(2654435761) % 10007;
		orphans_names_sort(&names, name);
	}
	for (unsigned i = 0; i < 5000; i += 3) {
		(void)snprintf(text, sizeof(text), "%u", i);
		name = orphans_names_find(&names, text);
		name->due_ns = 10007 - name->due_ns;
		orphans_names_sort(&names, name);
	}
	for (unsigned i = 1; i < 5000; i += 3) {
		(void)snprintf(text, sizeof(text), "%u", i);
		orphans_names_remove(&names, orphans_names_find(&names, text));
		ck_assert_ptr_null(orphans_names_find(&names, text));
	}
	while ((name = orphans_names_first(&names))) {
		ck_assert_uint_ge(name->due_ns, last_ns);
		last_ns = name->due_ns;
		orphans_names_unsort(&names, name);
		n++;
	}
	ck_assert_uint_eq(n, names.n);
	while (!orphans_names_free_some(&names, 0))
		;
	ck_assert_uint_eq(names.n, 0);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	suite = suite_create("daemon/orphannames");
	tcase = tcase_create("orphannames");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, only_regular_files_of_one_name_are_asked_about);
	tcase_add_test(tcase, what_is_mounted_on_a_name_holds_nobody_up);
	tcase_add_test(tcase, what_was_there_before_is_found);
	tcase_add_test(tcase, first_rule_that_fits_counts);
	tcase_add_loop_test(tcase, rules_that_go_while_it_is_judged_take_nothing_with_them, 0, 2);
	tcase_add_test(tcase, last_rule_that_goes_waits_for_what_is_being_removed);
	tcase_add_test(tcase, same_rules_change_nothing);
	tcase_add_test(tcase, many_are_asked_about_in_questions_of_some);
	tcase_add_test(tcase, more_names_than_are_kept_are_looked_at_later);
	tcase_add_test(tcase, lost_events_lead_to_a_look_at_all);
	tcase_add_test(tcase, names_come_in_the_order_in_which_they_are_due);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
