/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The ledger as a file: whole, cut short at each byte, flipped at each bit of a row, newer, of another boot, missing, or something
 * else altogether. What is not sound is not believed, is told, and is not thrown away; what is beside it is believed.
 */
#include "config.h"

#include <sys/stat.h>

#include "tests/daemon/ledger_rig.h"
#include "tests/daemon/spoil.h"
#include "tests/suite_run.h"

/* One of each kind, whose numbers are 1. */
static struct {
	struct ledger_segment_entry segment;
	struct ledger_entry lock, session, attachment;
} one, two;

static void
begin_with_all(void)
{
	rig_begin();
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	rig_put_segment(&one.segment, 1, 1);
	rig_put_attachment(&one.attachment, 1);
	rig_put_session(&one.session, 1);
	rig_put_lock(&one.lock, 1);
}

static void
expect_all(size_t n)
{
	ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], n);
	ck_assert_uint_eq(rig.n[LEDGER_LOCK], n);
	ck_assert_uint_eq(rig.n[LEDGER_SESSION], n);
	ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], n);
}

START_TEST(rows_are_there_again_after_a_kill_and_gone_after_their_end)
{
	begin_with_all();
	rig_put_segment(&two.segment, 2, 5);
	rig_put_attachment(&two.attachment, 2);
	ledger_drop(&rig.ledger, &one.attachment);
	ck_assert_uint_eq(one.attachment.index, 0);
	rig_forget();
	rig_look();
	ck_assert_str_eq(rig.told, "");
	ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 2);
	ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], 1);
	ck_assert_uint_eq(rig.numbers[LEDGER_ATTACHMENT][0], 2);
	ck_assert_uint_eq(rig.versions[0], 1);
	ck_assert_uint_eq(rig.versions[1], 5);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(without_rows_the_file_is_removed)
{
	begin_with_all();
	ledger_drop(&rig.ledger, &one.attachment);
	ledger_drop(&rig.ledger, &one.session);
	ledger_drop(&rig.ledger, &one.lock);
	ledger_drop_segment(&rig.ledger, &one.segment);
	/* Once more is nothing. */
	ledger_drop_segment(&rig.ledger, &one.segment);
	ledger_close(&rig.ledger);
	ck_assert_int_eq(access(rig.path, F_OK), -1);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(what_was_not_put_again_is_lost_with_the_commit_and_not_before)
{
	begin_with_all();
	rig_forget();
	rig_must_open();
	rig_put_session(&two.session, 9);
	/* Killed before the commit. */
	rig_forget();
	rig_must_open();
	expect_all(1);
	ck_assert_uint_eq(rig.numbers[LEDGER_SESSION][0], 1);
	two.session = (struct ledger_entry) { 0 };
	rig_put_session(&two.session, 9);
	rig_must_commit();
	rig_forget();
	rig_look();
	ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 0);
	ck_assert_uint_eq(rig.n[LEDGER_SESSION], 1);
	ck_assert_uint_eq(rig.numbers[LEDGER_SESSION][0], 9);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(rows_that_are_free_are_used_again)
{
	static struct ledger_segment_entry segments[RIG_MANY];
	size_t before;

	memset(segments, 0, sizeof(segments));
	rig_begin();
	for (unsigned i = 0; i < 100; i++)
		rig_put_segment(&segments[i], i + 1, 3);
	before = rig_file_bytes();
	for (unsigned i = 0; i < 100; i += 3)
		ledger_drop_segment(&rig.ledger, &segments[i]);
	for (unsigned i = 0; i < 100; i += 3)
		rig_put_segment(&segments[i], i + 1, 3);
	ck_assert_uint_eq(rig_file_bytes(), before);
	rig_forget();
	rig_look();
	ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 100);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_uint_eq(rig.versions[i], 3);
	ck_assert_str_eq(rig.told, "");
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

/* Also many times over: the room of one definition more than there are is all that it takes. */
START_TEST(a_definition_is_the_last_that_was_put)
{
	size_t before;

	begin_with_all();
	rig_put_segment(&one.segment, 1, 14);
	before = rig_file_bytes();
	for (unsigned version = 1; version < 200; version++) {
		struct ledger_segment body = { .generation = 1 };

		rig_put_segment(&one.segment, 1, version);
		/* A row alone leaves the texts as they are. */
		rig_peek(one.segment.entry.index * (size_t)LEDGER_ROW_BYTES + offsetof(struct ledger_row, body), &body, sizeof(body));
		ck_assert_int_eq(ledger_put_segment(&rig.ledger, &one.segment, &body, NULL), 0);
	}
	ck_assert_uint_le(rig_file_bytes(), before + 10 * LEDGER_ROW_BYTES);
	rig_forget();
	rig_look();
	expect_all(1);
	ck_assert_uint_eq(rig.versions[0], 199);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(without_a_ledger_nothing_is_entered)
{
	struct ledger_segment_entry segment = { { 0 } };
	struct ledger_entry entry = { 0 };

	ck_assert_int_eq(ledger_put_segment(NULL, &segment, &(struct ledger_segment) { .generation = 1 }, NULL), 0);
	ck_assert_int_eq(ledger_put_lock(NULL, &entry, &(struct ledger_lock) { .generation = 1 }), 0);
	ck_assert_int_eq(ledger_put_session(NULL, &entry, &(struct ledger_session) { .id = 1 }), 0);
	ck_assert_int_eq(ledger_put_attachment(NULL, &entry, &(struct ledger_attachment) { .id = 1 }), 0);
	ck_assert_uint_eq(entry.index, 0);
	ledger_drop(NULL, &entry);
	ledger_drop_segment(NULL, &segment);
}
END_TEST

/* The rows before the cut are there, and what was cut is told unless it is between two rows. */
START_TEST(cut_short_anywhere_the_whole_rows_are_read)
{
	size_t before, n_bytes;

	begin_with_all();
	rig_forget();
	before = n_bytes = rig_file_bytes();
	while (n_bytes-- > 0) {
		size_t n_whole = n_bytes / LEDGER_ROW_BYTES;

		ck_assert_int_eq(truncate(rig.path, (off_t)n_bytes), 0);
		rig_look();
		ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], n_whole > one.attachment.index);
		ck_assert_uint_eq(rig.n[LEDGER_SESSION], n_whole > one.session.index);
		ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], n_whole > one.segment.entry.index);
		if (n_bytes % LEDGER_ROW_BYTES)
			rig_expect_told(n_bytes < 16 ? "none that segmentd writes" : n_whole ? "the file is cut short" : "");
		else
			ck_assert_str_eq(rig.told, "");
	}
	ck_assert_uint_ge(before, 8 * LEDGER_ROW_BYTES);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

static void
flip(size_t bit)
{
	unsigned char byte;

	rig_peek(bit / 8, &byte, 1);
	byte ^= (unsigned char)(1u << bit % 8);
	rig_poke(bit / 8, &byte, 1);
}

static const uint32_t *const flipped[] = {
	&one.attachment.index, &one.session.index, &one.lock.index, &one.segment.entry.index, &one.segment.texts.first,
};

/* Of a row with any one bit flipped nothing is believed; the others are as they were. */
START_TEST(flipped_anywhere_a_row_is_not_believed)
{
	const enum ledger_kind kind = (const enum ledger_kind []) {
		LEDGER_ATTACHMENT, LEDGER_SESSION, LEDGER_LOCK, LEDGER_SEGMENT, LEDGER_TEXT,
	}[_i];
	size_t index;

	begin_with_all();
	rig_forget();
	index = *flipped[_i];
	/* Of kinds that are read alike not each bit, but one of each byte, and each of eight. */
	for (size_t bit = 0; bit < LEDGER_ROW_BYTES * 8; bit += kind == LEDGER_ATTACHMENT || kind == LEDGER_TEXT ? 1 : 9) {
		flip(index * LEDGER_ROW_BYTES * 8 + bit);
		rig_look();
		for (unsigned other = LEDGER_SEGMENT; other < LEDGER_TEXT; other++)
			ck_assert_uint_eq(rig.n[other], other != kind);
		rig_expect_told("is damaged: what it was about is not known");
		if (kind == LEDGER_TEXT) {
			ck_assert_uint_eq(rig.versions[0], 0);
			rig_expect_told("the definition of the segment with generation 1 cannot be read: its rows are damaged");
		}
		flip(index * LEDGER_ROW_BYTES * 8 + bit);
	}
	rig_look();
	expect_all(1);
	ck_assert_uint_eq(rig.versions[0], 1);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(with_any_bit_of_the_header_flipped_the_rows_are_believed)
{
	begin_with_all();
	rig_forget();
	for (size_t bit = 0; bit < LEDGER_ROW_BYTES * 8; bit++) {
		flip(bit);
		rig_look();
		/* A version or a size that it might be: then it is whoever's knows it. */
		if (strstr(rig.told, "of a newer segmentd"))
			expect_all(0);
		else {
			expect_all(1);
			rig_expect_told("its first row is damaged: the others are believed, each for itself");
		}
		flip(bit);
	}
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(what_is_damaged_is_kept_aside_and_the_rest_goes_on)
{
	begin_with_all();
	rig_forget();
	flip(one.session.index * (size_t)LEDGER_ROW_BYTES * 8);
	rig_must_open();
	rig_put_attachment(&two.attachment, 1);
	rig_must_commit();
	rig_expect_told("it is kept as 'ledger.");
	rig_forget();
	rig_look();
	ck_assert_str_eq(rig.told, "");
	ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], 1);
	ck_assert_uint_eq(rig_end(), 1);
}
END_TEST

/* A good row in another's place, as when a block of the file were another one's. */
START_TEST(a_row_counts_only_where_it_was_written)
{
	struct ledger_row row;

	begin_with_all();
	rig_forget();
	rig_peek(one.attachment.index * (size_t)LEDGER_ROW_BYTES, &row, sizeof(row));
	rig_poke(one.session.index * (size_t)LEDGER_ROW_BYTES, &row, sizeof(row));
	rig_look();
	ck_assert_uint_eq(rig.n[LEDGER_SESSION], 0);
	ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], 1);
	rig_expect_told("is damaged");
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(of_two_rows_about_the_same_one_counts)
{
	begin_with_all();
	rig_put_segment(&two.segment, 1, 2);
	rig_put_lock(&two.lock, 1);
	rig_put_session(&two.session, 1);
	rig_put_attachment(&two.attachment, 1);
	rig_forget();
	rig_look();
	expect_all(1);
	rig_expect_told("is about the same as row");
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(of_many_damaged_rows_the_sum_is_told)
{
	struct ledger_entry entry;

	rig_begin();
	for (unsigned i = 1; i < 100; i++) {
		entry.index = 0;
		rig_put_session(&entry, i);
	}
	for (uint32_t i = 10; i < 60; i++)
		flip(i * (size_t)LEDGER_ROW_BYTES * 8 + 777);
	rig_forget();
	rig_look();
	ck_assert_uint_eq(rig.n[LEDGER_SESSION], 99 - 50);
	rig_expect_told("the same is so of 34 more of its rows");
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

START_TEST(of_another_boot_nothing_is_left)
{
	struct ledger_header header;

	begin_with_all();
	rig_forget();
	rig_peek(0, &header, sizeof(header));
	header.boot[0] = header.boot[0] == '0' ? '1' : '0';
	header.sum = ledger_sum(&header);
	rig_poke(0, &header, sizeof(header));
	rig_must_open();
	expect_all(0);
	rig_must_commit();
	ck_assert_str_eq(rig.told, "");
	rig_forget();
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

/* Whatever a newer one may be like: its version or its rows' size says it. */
START_TEST(a_newer_one_is_kept_as_it_is)
{
	static unsigned char before[16384], after[16384];
	struct ledger_header header;
	size_t n_bytes;
	char *name;

	begin_with_all();
	rig_forget();
	rig_peek(0, &header, sizeof(header));
	if (_i == 0)
		header.version = LEDGER_VERSION + 1;
	else
		header.row_bytes = 2 * LEDGER_ROW_BYTES;
	rig_poke(0, &header, sizeof(header));
	n_bytes = rig_file_bytes();
	ck_assert_uint_lt(n_bytes, sizeof(before));
	rig_peek(0, before, n_bytes);
	rig_must_open();
	expect_all(0);
	rig_expect_told("it is of a newer segmentd");
	rig_expect_told("Remedy: ");
	rig_put_session(&two.session, 4);
	rig_must_commit();
	rig_forget();
	name = strstr(rig.told, "kept as '");
	ck_assert_ptr_nonnull(name);
	name += strlen("kept as '");
	(void)snprintf(rig.path, sizeof(rig.path), "%s/%.*s", rig.dir, (int)strcspn(name, "'"), name);
	ck_assert_uint_eq(rig_file_bytes(), n_bytes);
	rig_peek(0, after, n_bytes);
	ck_assert_mem_eq(before, after, n_bytes);
	ck_assert_uint_eq(rig_end(), 1);
}
END_TEST

/* By what stands there in its place. */
static const char *const others[SPOIL_OTHER_N] = {
	[SPOIL_NOTHING] = "",
	[SPOIL_LINK] = "it is no file of ours",
	[SPOIL_DIRECTORY] = "it is no file of ours",
	[SPOIL_FIFO] = "it is no file of ours",
	[SPOIL_TEXT] = "it is none that segmentd writes",
	[SPOIL_WRITABLE] = "it is no file of ours",
};

START_TEST(what_else_stands_there_is_kept_aside_and_not_opened)
{
	rig_begin();
	ledger_close(&rig.ledger);
	spoil_put(rig.path, (enum spoil_other)_i);
	rig_must_open();
	expect_all(0);
	rig_expect_told(others[_i]);
	rig_put_session(&one.session, 7);
	rig_must_commit();
	rig_forget();
	rig_look();
	ck_assert_uint_eq(rig.n[LEDGER_SESSION], 1);
	ck_assert_uint_eq(rig_end(), others[_i][0] ? 1 : 0);
}
END_TEST

START_TEST(where_none_can_be_begun_a_sentence_says_so)
{
	(void)strcpy(rig.dir, "/tmp/segmentd-ledger-none");
	ck_assert_int_eq(rig_open(), -ENOENT);
	ck_assert_ptr_nonnull(strstr(rig.text, "'/tmp/segmentd-ledger-none/ledger'"));
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("ledger");
	TCase *tcase = tcase_create("ledger");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, rows_are_there_again_after_a_kill_and_gone_after_their_end);
	tcase_add_test(tcase, without_rows_the_file_is_removed);
	tcase_add_test(tcase, what_was_not_put_again_is_lost_with_the_commit_and_not_before);
	tcase_add_test(tcase, rows_that_are_free_are_used_again);
	tcase_add_test(tcase, a_definition_is_the_last_that_was_put);
	tcase_add_test(tcase, without_a_ledger_nothing_is_entered);
	tcase_add_test(tcase, cut_short_anywhere_the_whole_rows_are_read);
	tcase_add_loop_test(tcase, flipped_anywhere_a_row_is_not_believed, 0, BASE_ARRAY_SIZE(flipped));
	tcase_add_test(tcase, with_any_bit_of_the_header_flipped_the_rows_are_believed);
	tcase_add_test(tcase, what_is_damaged_is_kept_aside_and_the_rest_goes_on);
	tcase_add_test(tcase, a_row_counts_only_where_it_was_written);
	tcase_add_test(tcase, of_two_rows_about_the_same_one_counts);
	tcase_add_test(tcase, of_many_damaged_rows_the_sum_is_told);
	tcase_add_test(tcase, of_another_boot_nothing_is_left);
	tcase_add_loop_test(tcase, a_newer_one_is_kept_as_it_is, 0, 2);
	tcase_add_loop_test(tcase, what_else_stands_there_is_kept_aside_and_not_opened, 0, BASE_ARRAY_SIZE(others));
	tcase_add_test(tcase, where_none_can_be_begun_a_sentence_says_so);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return suite_run(make_suite());
}
