/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Raising a segment's size in place: it has more then, and lost nothing; and what is asked for meanwhile is had, too. Its
 * progress is told, and that of making it.
 */
#include "config.h"

#include "tests/daemon/grow_rig.h"

START_TEST(grown_it_has_more_and_lost_nothing)
{
	const struct protocol_event *event;
	const char *map, *control;
	char byte = 1;

	if (!grow_declare())
		return;
	grow_check_books(SIZE_PAGES);
	grow_write_marks();
	map = test.segment->holding.map;
	control = test.segment->holding.control->map;
	ck_assert_int_eq(grow_begin(LARGE), 0);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_ptr_null(test.segment->growth_reason);
	grow_check_books(LARGE);
	grow_check_marks();
	ck_assert_ptr_eq(test.segment->holding.map, map);
	ck_assert_ptr_eq(test.segment->holding.control->map, control);
	ck_assert_int_eq(pread(test.segment->holding.object.fd, &byte, 1, LARGE - 1), 1);
	ck_assert_int_eq(byte, 0);
	event = grow_told(PROTOCOL_EVENT_GROWN);
	ck_assert_ptr_nonnull(event);
	ck_assert_uint_eq(event->value, LARGE);
	ck_assert_uint_eq(event->generation, test.segment->generation);
	ck_assert_uint_eq(test.n_grown, 1);
}
END_TEST

START_TEST(grown_in_small_steps_its_books_are_right)
{
	uint64_t size = SIZE;

	if (!grow_declare())
		return;
	grow_write_marks();
	for (int i = 0; i < 40; i++) {
		size += 1 + (uint64_t)i * 9001;
		ck_assert_int_eq(grow_begin(size), 0);
		grow_await();
		ck_assert_uint_eq(test.segment->definition->size_bytes, size);
		/* Blocks that are filled bit by bit become huge pages where the host has them: no page beyond is taken. */
		grow_check_books(round_up(size, 4096));
		grow_check_marks();
	}
}
END_TEST

START_TEST(grown_it_is_of_huge_pages_as_asked)
{
	uint64_t page_bytes;

	if (memory_huge(&page_bytes) == MEMORY_HUGE_NONE) {
		(void)printf("SKIP: this host has no huge pages for shared memory\n");
		return;
	}
	test.definition->page_size = DEFINITION_PAGE_TRANSPARENT;
	if (!grow_declare())
		return;
	ck_assert_uint_eq(test.segment->holding.huge_bytes, 2 * MIB);
	for (uint64_t size = 5 * MIB; size < 20 * MIB; size += 3 * MIB + 4096) {
		ck_assert_int_eq(grow_begin(size), 0);
		grow_await();
		ck_assert_msg(test.segment->definition->size_bytes == size, "%s", test.segment->growth_reason);
		ck_assert_uint_ge(test.segment->holding.huge_bytes, size & ~(2 * MIB - 1));
	}
}
END_TEST

START_TEST(without_prefault_there_is_nothing_to_wait_for)
{
	test.definition->prefault = test.definition->mlock = false;
	ck_assert(grow_declare());
	ck_assert_int_eq(grow_begin(LARGE), 0);
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_ptr_null(test.segment->growth);
	grow_await();
	ck_assert_uint_eq(grow_told(PROTOCOL_EVENT_GROWN)->value, LARGE);
	ck_assert_uint_eq(segment_resident_bytes(test.segment), 0);
}
END_TEST

START_TEST(in_its_last_page_there_is_nothing_to_make)
{
	if (!grow_declare())
		return;
	ck_assert_int_eq(grow_begin(SIZE_PAGES), 0);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE_PAGES);
	grow_check_books(SIZE_PAGES);
}
END_TEST

START_TEST(what_is_no_growth_is_refused)
{
	int fd;

	test.definition->mlock = false;
	ck_assert(grow_declare());
	ck_assert_int_eq(grow_begin(SIZE), -EINVAL);
	ck_assert_int_eq(grow_begin(SIZE - 1), -EINVAL);
	ck_assert_int_eq(grow_begin(MAX + 1), -EINVAL);
	(void)grow_attach(&fd);
	segment_remove(test.segment, false);
	ck_assert_int_eq(grow_begin(LARGE), -ESHUTDOWN);
	ck_assert_uint_eq(test.n_grown + test.n_not_grown, 0);
	(void)close(fd);
}
END_TEST

START_TEST(larger_size_asked_for_meanwhile_comes_next)
{
	if (!grow_declare())
		return;
	ck_assert_int_eq(grow_begin(LARGE), 0);
	ck_assert_int_eq(grow_begin(LARGE + MIB), 0);
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE + MIB);
	ck_assert_uint_eq(test.n_grown, 2);
	grow_check_books(LARGE + MIB);
}
END_TEST

START_TEST(smaller_size_asked_for_meanwhile_counts)
{
	if (!grow_declare())
		return;
	grow_write_marks();
	ck_assert_int_eq(grow_begin(LARGE), 0);
	ck_assert_int_eq(grow_begin(5 * MIB), 0);
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, 5 * MIB);
	ck_assert_uint_eq(test.n_grown, 1);
	ck_assert_uint_eq(test.n_not_grown, 0);
	ck_assert_ptr_null(test.segment->growth_reason);
	ck_assert_ptr_null(grow_told(PROTOCOL_EVENT_FAILED));
	grow_check_books(5 * MIB);
	grow_check_marks();
}
END_TEST

START_TEST(asked_for_while_it_is_provisioned_it_comes_then)
{
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state == PROTOCOL_DECLARED)
		grow_turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_PROVISIONING);
	ck_assert_int_eq(grow_begin(LARGE), 0);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		grow_turn();
	if (test.segment->state == PROTOCOL_FAILED && strstr(test.segment->reason, "lock"))
		return;
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	grow_check_books(LARGE);
}
END_TEST

START_TEST(redefined_meanwhile_it_keeps_both)
{
	struct definition *other;

	if (!grow_declare())
		return;
	ck_assert_int_eq(grow_begin(LARGE), 0);
	other = definition_copy(test.segment->definition);
	other->mode = 0640;
	segment_redefine(test.segment, other);
	(void)definition_unref(other);
	grow_await();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_uint_eq(test.segment->definition->mode, 0640);
	ck_assert_ptr_eq(registry_find(&test.registry, "one"), test.segment);
	ck_assert_ptr_eq(test.segment->locks->list[0].definition, &test.segment->definition->locks[0]);
}
END_TEST

START_TEST(grown_and_scrubbed_it_is_new_and_large)
{
	struct attachment *attachment;
	int fd;

	test.definition->scrub = true;
	if (!grow_declare())
		return;
	/* The last one leaves before it has grown: that is finished first. */
	attachment = grow_attach(&fd);
	grow_write_marks();
	ck_assert_int_eq(grow_begin(LARGE), 0);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	while (test.segment->state == PROTOCOL_READY)
		grow_turn();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		grow_turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_int_eq(*(const char *)test.segment->holding.map, 0);
	grow_check_books(LARGE);
}
END_TEST

START_TEST(progress_is_told_by_hundredths_and_ten_times_a_second_at_most)
{
	static const struct {
		uint64_t done_bytes;
		unsigned ms;		/* since it was last told */
		bool is_told;
	} rows[] = {
		{ 1000, 50, false }, { 1000, 100, true }, { 1999, 10000, false }, { 2000, 10000, true }, { 50000, 50, false },
		{ 60000, 150, true }, { 99999, 200, true }, { 100000, 10000, false },
	};
	struct provision provision = { .definition = test.definition, .total_bytes = 100000 };
	unsigned n = 0;

	test.definition->mlock = false;
	ck_assert(grow_declare());
	grow_await();
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		test.n_told = 0;
		provision.done_bytes = rows[i].done_bytes;
		/* Half a millisecond to spare, on either side. */
		provision.told_ns = clock_monotonic_ns() - rows[i].ms * NS_PER_MS + (rows[i].is_told ? 0 : NS_PER_MS / 2);
		segment_tell_progress(test.segment, &provision);
		while (!TAILQ_EMPTY(&test.events.due))
			grow_turn();
		n += test.n_told;
		ck_assert_msg(test.n_told == rows[i].is_told, "row %zu", i);
		if (!rows[i].is_told)
			continue;
		ck_assert_int_eq(test.told[0].kind, PROTOCOL_EVENT_PROGRESS);
		ck_assert_uint_eq(test.told[0].value, rows[i].done_bytes);
		ck_assert_uint_eq(test.told[0].total, 100000);
		ck_assert_uint_eq(provision.told_bytes, rows[i].done_bytes);
	}
	ck_assert_uint_eq(n, 4);
}
END_TEST

/* Where each event of progress is read; what is told too often for that is told all the same here. */
START_TEST(progress_of_contents_is_told)
{
	char path[] = "/tmp/check_grow.XXXXXX";
	const uint64_t file_bytes = 40 * MIB, memory_bytes = LARGE + round_up(CONTROL, 4096);
	unsigned n_copied = 0;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)file_bytes), 0);
	(void)close(fd);
	test.definition->mlock = false;
	test.definition->size_bytes = LARGE;
	test.definition->init = strdup(path);
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state < PROTOCOL_READY) {
		grow_turn();
		if (test.segment->provision)
			test.segment->provision->told_ns = 0;
	}
	(void)unlink(path);
	ck_assert_msg(test.segment->state == PROTOCOL_READY, "%s", test.segment->reason);
	grow_await();
	for (unsigned i = 0; i < test.n_told; i++) {
		const struct protocol_event *event = &test.told[i];

		if (event->kind != PROTOCOL_EVENT_PROGRESS)
			continue;
		ck_assert_uint_lt(event->value, event->total);
		if (event->value <= memory_bytes) {
			/* Nobody has looked how long the file is: as long as it may be. */
			ck_assert_uint_eq(event->total, memory_bytes + LARGE);
			ck_assert_uint_eq(n_copied, 0);
			continue;
		}
		ck_assert_uint_eq(event->total, memory_bytes + file_bytes);
		ck_assert_uint_eq(event->value, memory_bytes + ++n_copied * 16 * MIB);
	}
	ck_assert_uint_eq(n_copied, 2);
}
END_TEST

static Suite *
grow_suite(void)
{
	Suite *suite = suite_create("grow");
	TCase *tcase = tcase_create("grow");

	tcase_add_checked_fixture(tcase, grow_setup, grow_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, grown_it_has_more_and_lost_nothing);
	tcase_add_test(tcase, grown_in_small_steps_its_books_are_right);
	tcase_add_test(tcase, grown_it_is_of_huge_pages_as_asked);
	tcase_add_test(tcase, without_prefault_there_is_nothing_to_wait_for);
	tcase_add_test(tcase, in_its_last_page_there_is_nothing_to_make);
	tcase_add_test(tcase, what_is_no_growth_is_refused);
	tcase_add_test(tcase, larger_size_asked_for_meanwhile_comes_next);
	tcase_add_test(tcase, smaller_size_asked_for_meanwhile_counts);
	tcase_add_test(tcase, asked_for_while_it_is_provisioned_it_comes_then);
	tcase_add_test(tcase, redefined_meanwhile_it_keeps_both);
	tcase_add_test(tcase, grown_and_scrubbed_it_is_new_and_large);
	tcase_add_test(tcase, progress_is_told_by_hundredths_and_ten_times_a_second_at_most);
	tcase_add_test(tcase, progress_of_contents_is_told);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	return grow_main(argc, argv, grow_suite);
}
