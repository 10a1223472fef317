/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the daemon asks of a backend, and when: a segment's life over one that notes it and refuses what it is told to. What
 * real ones do is check_conformance's.
 */
#include "config.h"

#include "host/limits.h"
#include "tests/daemon/grow_rig.h"
#include "tests/daemon/null.h"

static void
setup(void)
{
	memset(&null_notes, 0, sizeof(null_notes));
	null_backend.others = NULL;
	null_backend.features &= ~(BACKEND_COUNTED | BACKEND_NAMED);
	grow_setup();
}

static void
teardown(void)
{
	grow_teardown();
	ck_assert_uint_eq(null_notes.n_objects, 0);
}

static void
declare(void)
{
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state < PROTOCOL_READY)
		grow_turn();
}

static void
await_given_back(void)
{
	while (!LIST_EMPTY(&test.provisioner.releases.list))
		grow_turn();
}

static void
expect_failed(const char *reason)
{
	ck_assert_int_eq(test.segment->state, PROTOCOL_FAILED);
	ck_assert_msg(strstr(test.segment->reason, reason), "'%s' is not in '%s'", reason, test.segment->reason);
	await_given_back();
	ck_assert_uint_eq(null_notes.n_objects, 0);
	ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert_uint_eq(limits_locked_bytes(), 0);
}

/* What the backend locks needs no mapping, and is not what mlock has locked: that is control memory. */
static void
expect_books(void)
{
	const struct holding *holding = &test.segment->holding;

	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(segment_resident_bytes(test.segment), SIZE_PAGES);
	ck_assert_uint_eq(holding->locked_bytes, SIZE_PAGES + round_up(CONTROL, 4096));
	ck_assert_uint_eq(test.provisioner.mlocked_bytes, round_up(CONTROL, 4096));
	ck_assert_uint_eq(limits_locked_bytes(), test.provisioner.mlocked_bytes);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_lock_bytes, 0);
}

static const struct {
	enum null_operation operation;
	const char *reason;
} refusals[] = {
	{ NULL_PROBE, NULL_REFUSAL },
	{ NULL_CREATE, NULL_REFUSAL },
	{ NULL_MAP, "mapping it for the recovery of its locks failed: No space left on device" },
	{ NULL_LOCK, "locked" },
	{ NULL_ADMIT, NULL_REFUSAL },
};

START_TEST(what_is_refused_fails_it_and_leaves_nothing)
{
	null_notes.refuses[refusals[_i].operation] = -ENOSPC;
	declare();
	expect_failed(refusals[_i].reason);
	/* And when nothing stands in its way any more, it is made. */
	null_notes.refuses[refusals[_i].operation] = 0;
	segment_start(test.segment);
	while (test.segment->state < PROTOCOL_READY)
		grow_turn();
	ck_assert_uint_eq(null_notes.n_objects, 1);
	expect_books();
}
END_TEST

START_TEST(what_is_preferred_and_refused_is_said)
{
	test.definition->placement = DEFINITION_PREFER;
	null_notes.refuses[NULL_LOCK] = -EPERM;
	declare();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_ptr_nonnull(strstr(test.segment->reason, "locked"));
	ck_assert_uint_eq(limits_locked_bytes(), test.provisioner.mlocked_bytes);
}
END_TEST

START_TEST(what_there_is_no_row_for_is_said)
{
	test.definition->backend = (enum definition_backend)(DEFINITION_BACKEND_N - 1);
	declare();
	expect_failed("has no backend");
	ck_assert_str_eq(null_notes.order, "");
}
END_TEST

START_TEST(a_life_is_in_order)
{
	struct attachment *attachment;
	int fd;

	declare();
	ck_assert_str_eq(null_notes.order, "probe create map lock admit");
	attachment = grow_attach(&fd);
	attachment_end(attachment);
	close_fd(&fd);
	segment_remove(test.segment, false);
	while (!test.n_gone)
		grow_turn();
	test.segment = NULL;
	await_given_back();
	ck_assert_str_eq(null_notes.order, "probe create map lock admit open shut unname close");
}
END_TEST

START_TEST(new_pages_come_when_it_is_shut)
{
	struct attachment *attachment;
	int fd;

	test.definition->scrub = true;
	declare();
	null_notes.order[0] = '\0';
	attachment = grow_attach(&fd);
	attachment_end(attachment);
	close_fd(&fd);
	segment_rest(test.segment);
	while (test.segment->state != PROTOCOL_READY)
		grow_turn();
	ck_assert_str_eq(null_notes.order, "open shut reset lock admit");
	expect_books();
}
END_TEST

START_TEST(whom_the_kernel_counts_it_waits_for)
{
	null_backend.others = null_others;
	null_backend.features |= BACKEND_COUNTED | BACKEND_NAMED;
	null_notes.others = 1;
	declare();
	ck_assert_uint_eq(segment_n_others(test.segment), 1);
	segment_remove(test.segment, false);
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	/* Nothing tells of it: the count is asked for again. */
	grow_turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	null_notes.others = 0;
	while (!test.n_gone)
		grow_turn();
	test.segment = NULL;
}
END_TEST

START_TEST(workers_are_no_others)
{
	null_backend.others = null_others;
	null_backend.features |= BACKEND_COUNTED | BACKEND_NAMED;
	declare();
	ck_assert_int_eq(grow_begin(LARGE), 0);
	while (!test.segment->growth || !test.segment->growth->n_busy)
		grow_turn();
	null_notes.others = test.segment->growth->n_busy;
	ck_assert_uint_eq(segment_n_others(test.segment), 0);
	null_notes.others++;
	ck_assert_uint_eq(segment_n_others(test.segment), 1);
	grow_await();
	ck_assert_uint_eq(segment_n_others(test.segment), null_notes.others);
}
END_TEST

START_TEST(whom_the_kernel_counts_keeps_its_pages)
{
	struct attachment *attachment;
	int fd;

	null_backend.others = null_others;
	null_backend.features |= BACKEND_COUNTED | BACKEND_NAMED;
	test.definition->scrub = true;
	declare();
	null_notes.others = 2;
	attachment = grow_attach(&fd);
	attachment_end(attachment);
	close_fd(&fd);
	segment_rest(test.segment);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(null_notes.n[NULL_RESET], 0);
	null_notes.others = 0;
	while (null_notes.n[NULL_RESET] == 0 || test.segment->state != PROTOCOL_READY)
		grow_turn();
	expect_books();
}
END_TEST

START_TEST(room_is_asked_for_before_a_growth)
{
	declare();
	null_notes.order[0] = '\0';
	null_notes.refuses[NULL_ROOM] = -ENOSPC;
	(void)grow_begin(LARGE);
	grow_await();
	ck_assert_ptr_nonnull(grow_told(PROTOCOL_EVENT_FAILED));
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, NULL_REFUSAL));
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	expect_books();
}
END_TEST

static Suite *
null_suite(void)
{
	Suite *suite = suite_create("null");
	TCase *tcase = tcase_create("null");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, what_is_refused_fails_it_and_leaves_nothing, 0, BASE_ARRAY_SIZE(refusals));
	tcase_add_test(tcase, what_is_preferred_and_refused_is_said);
	tcase_add_test(tcase, what_there_is_no_row_for_is_said);
	tcase_add_test(tcase, a_life_is_in_order);
	tcase_add_test(tcase, new_pages_come_when_it_is_shut);
	tcase_add_test(tcase, whom_the_kernel_counts_it_waits_for);
	tcase_add_test(tcase, workers_are_no_others);
	tcase_add_test(tcase, whom_the_kernel_counts_keeps_its_pages);
	tcase_add_test(tcase, room_is_asked_for_before_a_growth);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	return grow_main(argc, argv, null_suite);
}
