/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The record of what outlives a daemon, as a file: whole, torn at each byte, flipped at each bit of a row, newer, of another boot,
 * missing, or something else altogether. What is not sound proves nothing, is told, and is not thrown away.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/record.h"
#include "tests/daemon/spoil.h"
#include "tests/suite_run.h"

#define N_ROWS	3
#define N_MANY	1000

static char dir[64];
static char path[96];

/* What a read has given. */
static struct {
	struct record record;
	struct record_entry entries[N_MANY + 1];
	size_t n;
	char told[4096];
	char text[512];
} found;

static int
on_row(const struct record_entry *entry, void *arg)
{
	ck_assert_uint_le(found.n, N_MANY);
	found.entries[found.n++] = *entry;
	return 0;
}

static void
on_tell(const char *text, void *arg)
{
	size_t length = strlen(found.told);

	(void)snprintf(found.told + length, sizeof(found.told) - length, "%s\n", text);
}

static int
open_record(void)
{
	found.n = 0;
	found.told[0] = '\0';
	return record_open(&found.record, dir, on_row, on_tell, NULL, found.text, sizeof(found.text));
}

static void
must_open(void)
{
	int r = open_record();

	ck_assert_msg(r == 0, "%s", found.text);
}

static struct record_row
make_row(unsigned i)
{
	struct record_row row = { .state = RECORD_READY, .generation = 100 + i, .inode = i, .map_bytes = 4096, .shm_id = -1 };

	(void)snprintf(row.backend, sizeof(row.backend), "posix");
	(void)snprintf(row.segment, sizeof(row.segment), "s%u", i);
	(void)snprintf(row.object, sizeof(row.object), "/o%u", i);
	return row;
}

static struct record_entry
add(unsigned i)
{
	struct record_row row = make_row(i);
	struct record_entry entry;

	ck_assert_int_eq(record_add(&found.record, &row, &entry), 0);
	return entry;
}

/* As if the daemon were killed: nothing is closed as it should be. */
static void
forget(void)
{
	struct record copy = found.record;

	copy.n_taken = 1;
	record_close(&copy);
}

static void
begin(unsigned n_rows)
{
	(void)strcpy(dir, "/tmp/segmentd-record-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/" RECORD_FILE, dir);
	must_open();
	for (unsigned i = 0; i < n_rows; i++)
		(void)add(i);
}

/* How many files there are that were kept aside. All are removed. */
static unsigned
end(void)
{
	return spoil_end(dir, RECORD_FILE);
}

static void
expect_told(const char *words)
{
	ck_assert_msg(strstr(found.told, words), "'%s' is not in '%s'", words, found.told);
}

static struct record_header
read_header(void)
{
	struct record_header header;

	spoil_read(path, 0, &header, sizeof(header));
	return header;
}

START_TEST(rows_are_there_again_after_a_kill_and_gone_after_their_end)
{
	struct record_entry first, second;

	begin(0);
	first = add(0);
	second = add(1);
	(void)add(2);
	ck_assert_int_eq(record_set_state(&first, RECORD_MADE), 0);
	record_remove(&second);
	forget();
	must_open();
	ck_assert_str_eq(found.told, "");
	ck_assert_uint_eq(found.n, 2);
	ck_assert_uint_eq(found.entries[0].row.state, RECORD_MADE);
	ck_assert_str_eq(found.entries[0].row.object, "/o0");
	ck_assert_str_eq(found.entries[1].row.object, "/o2");
	/* Twice killed, they are the same. */
	forget();
	must_open();
	ck_assert_uint_eq(found.n, 2);
	record_remove(&found.entries[0]);
	record_remove(&found.entries[1]);
	record_close(&found.record);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_uint_eq(end(), 0);
}
END_TEST

START_TEST(a_row_that_is_free_is_used_again)
{
	static struct record_entry entries[N_MANY];
	struct stat before, after;

	begin(0);
	for (unsigned i = 0; i < N_MANY; i++)
		entries[i] = add(i);
	ck_assert_int_eq(stat(path, &before), 0);
	for (unsigned i = 0; i < N_MANY; i += 3)
		record_remove(&entries[i]);
	for (unsigned i = 0; i < N_MANY; i += 3)
		entries[i] = add(i);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(before.st_size, after.st_size);
	forget();
	must_open();
	ck_assert_uint_eq(found.n, N_MANY);
	forget();
	ck_assert_uint_eq(end(), 0);
}
END_TEST

START_TEST(without_a_record_nothing_is_entered)
{
	struct record_row row = make_row(1);
	struct record_entry entry;

	ck_assert_int_eq(record_add(NULL, &row, &entry), 0);
	ck_assert_int_eq(record_set_state(&entry, RECORD_MADE), 0);
	record_remove(&entry);
}
END_TEST

/* The rows before the cut are there, and what was cut is told unless it is between two rows. */
START_TEST(cut_short_anywhere_the_whole_rows_are_read)
{
	for (off_t length = (N_ROWS + 1) * RECORD_ROW_BYTES; length >= 0; length -= 37) {
		size_t n_whole = length < RECORD_ROW_BYTES ? 0 : (size_t)length / RECORD_ROW_BYTES - 1;
		bool is_between = length % RECORD_ROW_BYTES == 0;

		begin(N_ROWS);
		forget();
		ck_assert_int_eq(truncate(path, length), 0);
		must_open();
		ck_assert_uint_eq(found.n, n_whole);
		if (is_between)
			ck_assert_str_eq(found.told, "");
		else
			expect_told(length < RECORD_ROW_BYTES ? "it is none that segmentd writes" : "is damaged");
		forget();
		ck_assert_uint_eq(end(), is_between ? 0 : 1);
	}
}
END_TEST

/* Of a row with any one bit flipped nothing is believed; the others are as they were. */
START_TEST(flipped_anywhere_a_row_proves_nothing)
{
	struct record_row row = make_row(1);

	begin(N_ROWS);
	row.sum = record_sum(&row);
	forget();
	for (size_t i = 0; i < RECORD_ROW_BYTES; i++) {
		unsigned char byte = (unsigned char)(((unsigned char *)&row)[i] ^ 1u << i % 8);

		spoil_write(path, 2 * RECORD_ROW_BYTES + i, &byte, 1);
		must_open();
		ck_assert_uint_eq(found.n, N_ROWS - 1);
		ck_assert_str_eq(found.entries[0].row.object, "/o0");
		ck_assert_str_eq(found.entries[1].row.object, "/o2");
		expect_told("row 2 is damaged");
		expect_told("is kept as 'record.");
		/* The new one has three rows again, the good one where it was. */
		record_remove(&found.entries[1]);
		(void)add(1);
		(void)add(2);
		forget();
	}
	ck_assert_uint_eq(end(), RECORD_ROW_BYTES);
}
END_TEST

/* A row with a good sum that could not have been written. */
static const struct {
	size_t at;
	unsigned char byte;
	size_t length;
} impossible[] = {
	{ offsetof(struct record_row, state), RECORD_FREE, 1 },
	{ offsetof(struct record_row, state), RECORD_STATE_N, 1 },
	{ offsetof(struct record_row, state), 0xff, 4 },
	{ offsetof(struct record_row, backend), 'x', RECORD_BACKEND_SIZE },
	{ offsetof(struct record_row, segment), 'x', RECORD_SEGMENT_SIZE },
	{ offsetof(struct record_row, object), 'x', RECORD_OBJECT_SIZE },
};

START_TEST(what_could_not_have_been_written_is_damaged)
{
	struct record_row row = make_row(1);

	begin(N_ROWS);
	forget();
	memset((char *)&row + impossible[_i].at, impossible[_i].byte, impossible[_i].length);
	row.sum = record_sum(&row);
	spoil_write(path, 2 * RECORD_ROW_BYTES, &row, sizeof(row));
	must_open();
	ck_assert_uint_eq(found.n, N_ROWS - 1);
	expect_told("row 2 is damaged");
	forget();
	ck_assert_uint_eq(end(), 1);
}
END_TEST

START_TEST(of_another_boot_nothing_is_left)
{
	struct record_header header;

	begin(N_ROWS);
	forget();
	header = read_header();
	header.boot[0] = header.boot[0] == '0' ? '1' : '0';
	header.sum = record_sum(&header);
	spoil_write(path, 0, &header, sizeof(header));
	must_open();
	ck_assert_uint_eq(found.n, 0);
	ck_assert_str_eq(found.told, "");
	forget();
	ck_assert_uint_eq(end(), 0);
}
END_TEST

/* Whatever a newer one may be like: its version or its rows' size says it. */
START_TEST(a_newer_one_is_kept_as_it_is)
{
	struct record_header header, kept;
	char name[512];
	DIR *stream;
	struct dirent *entry;
	int fd = -1;

	begin(N_ROWS);
	forget();
	header = read_header();
	if (_i == 0)
		header.version = RECORD_VERSION + 1;
	else
		header.row_bytes = 2 * RECORD_ROW_BYTES;
	spoil_write(path, 0, &header, sizeof(header));
	must_open();
	ck_assert_uint_eq(found.n, 0);
	expect_told("it is of a newer segmentd");
	(void)add(1);
	stream = opendir(dir);
	while (fd < 0 && (entry = readdir(stream)))
		if (strncmp(entry->d_name, RECORD_FILE ".", strlen(RECORD_FILE ".")) == 0) {
			(void)snprintf(name, sizeof(name), "%s/%s", dir, entry->d_name);
			fd = open(name, O_RDONLY | O_CLOEXEC);
		}
	(void)closedir(stream);
	ck_assert(fd >= 0 && pread(fd, &kept, sizeof(kept), 0) == sizeof(kept));
	ck_assert_mem_eq(&kept, &header, sizeof(header));
	(void)close(fd);
	forget();
	ck_assert_uint_eq(end(), 1);
}
END_TEST

/* By what stands there in its place. */
static const char *const others[SPOIL_OTHER_N] = {
	[SPOIL_NOTHING] = "",
	[SPOIL_LINK] = "it is no file of segmentd's user",
	[SPOIL_DIRECTORY] = "it is no file of segmentd's user",
	[SPOIL_FIFO] = "it is no file of segmentd's user",
	[SPOIL_TEXT] = "it is none that segmentd writes",
	[SPOIL_WRITABLE] = "it is no file of segmentd's user",
};

START_TEST(what_else_stands_there_is_kept_aside_and_not_opened)
{
	begin(0);
	record_close(&found.record);
	spoil_put(path, (enum spoil_other)_i);
	must_open();
	ck_assert_uint_eq(found.n, 0);
	expect_told(others[_i]);
	(void)add(7);
	forget();
	must_open();
	ck_assert_uint_eq(found.n, 1);
	forget();
	ck_assert_uint_eq(end(), others[_i][0] ? 1 : 0);
}
END_TEST

/* Killed while it began: the old one is whole, and the new one is begun again. */
START_TEST(half_a_new_one_is_no_record)
{
	char name[128];
	int fd;

	begin(N_ROWS);
	forget();
	(void)snprintf(name, sizeof(name), "%s.new", path);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, "segm", 4), 4);
	(void)close(fd);
	must_open();
	ck_assert_uint_eq(found.n, N_ROWS);
	ck_assert_str_eq(found.told, "");
	ck_assert_int_eq(access(name, F_OK), -1);
	forget();
	ck_assert_uint_eq(end(), 0);
}
END_TEST

START_TEST(where_none_can_be_begun_a_sentence_says_so)
{
	(void)strcpy(dir, "/tmp/segmentd-record-none");
	ck_assert_int_eq(open_record(), -ENOENT);
	ck_assert_ptr_nonnull(strstr(found.text, "'/tmp/segmentd-record-none/record'"));
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("record");
	TCase *tcase = tcase_create("record");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, rows_are_there_again_after_a_kill_and_gone_after_their_end);
	tcase_add_test(tcase, a_row_that_is_free_is_used_again);
	tcase_add_test(tcase, without_a_record_nothing_is_entered);
	tcase_add_test(tcase, cut_short_anywhere_the_whole_rows_are_read);
	tcase_add_test(tcase, flipped_anywhere_a_row_proves_nothing);
	tcase_add_loop_test(tcase, what_could_not_have_been_written_is_damaged, 0, BASE_ARRAY_SIZE(impossible));
	tcase_add_test(tcase, of_another_boot_nothing_is_left);
	tcase_add_loop_test(tcase, a_newer_one_is_kept_as_it_is, 0, 2);
	tcase_add_loop_test(tcase, what_else_stands_there_is_kept_aside_and_not_opened, 0, BASE_ARRAY_SIZE(others));
	tcase_add_test(tcase, half_a_new_one_is_no_record);
	tcase_add_test(tcase, where_none_can_be_begun_a_sentence_says_so);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return suite_run(make_suite());
}
