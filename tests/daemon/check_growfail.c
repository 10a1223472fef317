/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Growths that fail, wait, are given up, or are overtaken by the segment's end. Whatever becomes of one, the books of what is
 * promised and locked are the kernel's, and what was there before it is as it was.
 */
#include "config.h"

#include <signal.h>

#include "host/limits.h"
#include "tests/daemon/grow_rig.h"

START_TEST(what_cannot_be_had_fails_at_once_and_says_why)
{
	char text[1024];

	test.definition->max_size_bytes = 10 * TIB;
	if (!grow_declare())
		return;
	grow_write_marks();
	ck_assert_int_eq(grow_begin(9 * TIB), -ENOMEM);
	grow_await();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	ck_assert_ptr_nonnull(strstr(segment_describe(test.segment, text, sizeof(text)), "to 9 TiB"));
	ck_assert_ptr_null(test.segment->reason);
	ck_assert_uint_eq(grow_told(PROTOCOL_EVENT_FAILED)->value, SIZE);
	ck_assert_uint_eq(grow_told(PROTOCOL_EVENT_FAILED)->total, 9 * TIB);
	grow_check_books(SIZE_PAGES);
	grow_check_marks();
	/* What can be had is had all the same, and then there is nothing to say. */
	ck_assert_int_eq(grow_begin(LARGE), 0);
	grow_await();
	ck_assert_str_eq(segment_describe(test.segment, text, sizeof(text)), "");
	grow_check_books(LARGE);
}
END_TEST

START_TEST(killed_worker_leaves_the_old_size_and_no_page_more)
{
	pid_t pids[4];
	uint64_t begun;

	if (!grow_declare())
		return;
	grow_write_marks();
	(void)grow_stop_workers(pids, 1);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	begun = test.segment->growth->done_bytes;
	while (test.segment->growth->done_bytes == begun)
		grow_turn();
	ck_assert_uint_gt(segment_resident_bytes(test.segment), SIZE_PAGES);
	ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
	grow_await();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "killed"));
	ck_assert_uint_eq(grow_told(PROTOCOL_EVENT_FAILED)->value, SIZE);
	ck_assert_uint_eq(test.n_not_grown, 1);
	grow_check_books(SIZE_PAGES);
	grow_check_marks();
	ck_assert_int_eq(grow_begin(LARGE), 0);
	grow_await();
	grow_check_books(LARGE);
}
END_TEST

START_TEST(cancelled_while_it_is_locked_it_gives_back_what_was_locked)
{
	if (!grow_declare())
		return;
	grow_write_marks();
	ck_assert_int_eq(grow_begin(LARGE), 0);
	while (test.segment->holding.locked_bytes < SIZE_PAGES + MIB)
		grow_turn();
	segment_stop_growing(test.segment, "the test wants it");
	ck_assert_ptr_nonnull(test.segment->growth);
	grow_await();
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "the test wants it"));
	grow_check_books(SIZE_PAGES);
	grow_check_marks();
}
END_TEST

START_TEST(removed_it_stays_as_it_is_for_who_has_it)
{
	pid_t pids[4];
	int fd;
	size_t n;
	struct attachment *attachment;

	if (!grow_declare())
		return;
	grow_write_marks();
	attachment = grow_attach(&fd);
	n = grow_stop_workers(pids, 2);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	for (int i = 0; i < 3; i++)
		grow_turn();
	segment_remove(test.segment, false);
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	grow_signal_workers(pids, n, SIGCONT);
	grow_await();
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "removed"));
	grow_check_books(SIZE_PAGES);
	grow_check_marks();
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	while (!test.n_gone)
		grow_turn();
}
END_TEST

START_TEST(removed_now_its_workers_keep_what_they_need)
{
	pid_t pids[4];
	size_t n;

	if (!grow_declare())
		return;
	n = grow_stop_workers(pids, 2);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	for (int i = 0; i < 3; i++)
		grow_turn();
	segment_remove(test.segment, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert(!LIST_EMPTY(&test.provisioner.orphans));
	if (_i == 0) {
		/* What it holds is given back when they go on; else by teardown, as LeakSanitizer sees. */
		grow_signal_workers(pids, n, SIGCONT);
		while (!LIST_EMPTY(&test.provisioner.orphans) || !LIST_EMPTY(&test.provisioner.releases.list))
			grow_turn();
		ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
		ck_assert_uint_eq(limits_locked_bytes(), 0);
	}
}
END_TEST

START_TEST(daemon_ends_while_it_grows)
{
	pid_t pids[4];

	if (!grow_declare())
		return;
	(void)grow_stop_workers(pids, 2);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	grow_turn();
}
END_TEST

START_TEST(ends_with_its_last_attachment_while_it_grows)
{
	struct attachment *attachment;
	int fd;

	test.definition->lifetime = DEFINITION_ATTACHED;
	if (!grow_declare())
		return;
	attachment = grow_attach(&fd);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	while (!test.n_gone)
		grow_turn();
	while (!LIST_EMPTY(&test.provisioner.orphans) || !LIST_EMPTY(&test.provisioner.releases.list))
		grow_turn();
	ck_assert_uint_eq(limits_locked_bytes(), 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
}
END_TEST

START_TEST(limit_of_locked_memory_keeps_it_from_growing)
{
	grow_limit_locked(5 * MIB);
	ck_assert(grow_declare());
	ck_assert_int_eq(grow_begin(LARGE), -EPERM);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "MEMLOCK"));
	grow_check_books(SIZE_PAGES);
	ck_assert_int_eq(grow_begin(4 * MIB), 0);
	grow_await();
	grow_check_books(4 * MIB);
}
END_TEST

START_TEST(limit_of_locked_memory_is_told_and_its_books_are_right)
{
	const struct holding *holding;
	struct attachment *attachment;
	int fd;

	test.definition->placement = DEFINITION_PREFER;
	test.definition->scrub = true;
	grow_limit_locked(5 * MIB);
	ck_assert(grow_declare());
	holding = &test.segment->holding;
	attachment = grow_attach(&fd);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_ptr_nonnull(strstr(test.segment->reason, "MEMLOCK"));
	ck_assert_uint_eq(segment_resident_bytes(test.segment), LARGE);
	ck_assert_uint_eq(limits_locked_bytes(), holding->locked_bytes);
	ck_assert_uint_eq(holding->locked_bytes, SIZE_PAGES + 4096);
	/* One that is not locked to its end is grown without being locked. */
	ck_assert_int_eq(grow_begin(LARGE + MIB), 0);
	grow_await();
	ck_assert_uint_eq(holding->locked_bytes, SIZE_PAGES + 4096);
	/* Its control memory is made anew, and what was locked of the old one was counted as that. */
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_int_eq(test.segment->state, PROTOCOL_PROVISIONING);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		grow_turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.provisioner.locked_bytes, holding->locked_bytes);
	ck_assert_uint_eq(limits_locked_bytes(), holding->locked_bytes);
}
END_TEST

static struct segment *
declare_another(uint64_t size_bytes)
{
	struct definition *definition = definition_copy(test.definition);
	struct segment *segment;

	free(definition->name);
	definition->name = strdup("two");
	definition->size_bytes = definition->max_size_bytes = size_bytes;
	ck_assert_int_eq(registry_declare_one(&test.registry, definition), 0);
	(void)definition_unref(definition);
	segment = registry_find(&test.registry, "two");
	while (segment->state < PROTOCOL_READY)
		grow_turn();
	ck_assert_msg(segment->state == PROTOCOL_READY, "%s", segment->reason);
	return segment;
}

/* What another one gives back is enough for the first size, and not for the second. */
START_TEST(for_memory_on_its_way_back_it_waits)
{
	static const uint64_t sizes[] = { 6 * MIB, LARGE };
	bool is_enough = _i == 0;
	struct segment *other;
	char text[1024];
	pid_t pids[4];
	size_t n;

	grow_limit_locked(7 * MIB);
	ck_assert(grow_declare());
	grow_write_marks();
	other = declare_another(3 * MIB);
	n = grow_stop_workers(pids, 2);
	segment_remove(other, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert(!LIST_EMPTY(&test.provisioner.releases.list));
	ck_assert_int_eq(grow_begin(sizes[_i]), 0);
	ck_assert_ptr_null(test.segment->growth);
	ck_assert_uint_eq(test.n_grown + test.n_not_grown, 0);
	ck_assert_ptr_nonnull(strstr(segment_describe(test.segment, text, sizeof(text)), "when memory that is being given back"));
	/* What is taken back meanwhile is asked for again. */
	segment_stop_growing(test.segment, "the test wants it");
	ck_assert_str_eq(segment_describe(test.segment, text, sizeof(text)), "");
	ck_assert_int_eq(grow_begin(sizes[_i]), 0);
	grow_signal_workers(pids, n, SIGCONT);
	while (test.n_grown + test.n_not_grown == 0)
		grow_turn();
	grow_await();
	ck_assert_uint_eq(test.n_grown, is_enough);
	ck_assert_uint_eq(test.segment->definition->size_bytes, is_enough ? sizes[_i] : SIZE);
	if (!is_enough)
		ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "MEMLOCK"));
	grow_check_books(is_enough ? sizes[_i] : SIZE_PAGES);
	grow_check_marks();
}
END_TEST

static Suite *
growfail_suite(void)
{
	Suite *suite = suite_create("growfail");
	TCase *tcase = tcase_create("growfail");

	tcase_add_checked_fixture(tcase, grow_setup, grow_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, what_cannot_be_had_fails_at_once_and_says_why);
	tcase_add_test(tcase, killed_worker_leaves_the_old_size_and_no_page_more);
	tcase_add_test(tcase, cancelled_while_it_is_locked_it_gives_back_what_was_locked);
	tcase_add_test(tcase, removed_it_stays_as_it_is_for_who_has_it);
	tcase_add_loop_test(tcase, removed_now_its_workers_keep_what_they_need, 0, 2);
	tcase_add_test(tcase, daemon_ends_while_it_grows);
	tcase_add_test(tcase, ends_with_its_last_attachment_while_it_grows);
	tcase_add_test(tcase, limit_of_locked_memory_keeps_it_from_growing);
	tcase_add_test(tcase, limit_of_locked_memory_is_told_and_its_books_are_right);
	tcase_add_loop_test(tcase, for_memory_on_its_way_back_it_waits, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	return grow_main(argc, argv, growfail_suite);
}
