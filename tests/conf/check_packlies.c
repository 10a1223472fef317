/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A configuration as bytes: those that are none of ours are refused, and what reading the others costs. */
#include "config.h"

#include "conf/pack.h"
#include "tests/conf/packing.h"

#define SLICE_NS	(NS_PER_MS / 2)

/* Changes one thing in a definition that is good, and expects it to be refused for that. */
static void
expect_refused(void (*spoil)(struct definition *), const char *words)
{
	struct definition *back = NULL;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE] = "";
	struct run run;

	expect_good(&run, packing_text);
	spoil(run.conf->segments[1]);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[1]), 0);
	ck_assert_int_eq(pack_read_definition(pack.bytes, pack.length, why, &back), PACK_E_INVALID);
	ck_assert_msg(strstr(why, words), "'%s', expected '%s'", why, words);
	pack_deinit(&pack);
	run_done(&run);
}

static void spoil_name(struct definition *d) { d->name[0] = '%'; }
static void spoil_max_size(struct definition *d) { d->max_size_bytes = d->size_bytes - 1; }
static void spoil_mlock(struct definition *d) { d->prefault = false; d->locks[3].init = false; }
static void spoil_linger(struct definition *d) { d->lifetime = DEFINITION_PERSISTENT; }
static void spoil_beyond(struct definition *d) { d->locks[0].length_bytes = d->size_bytes + 1; }
static void spoil_overlap(struct definition *d) { d->locks[1].offset_bytes = 63; }
static void spoil_names(struct definition *d) { d->locks[1].name[0] = 'a'; }
static void spoil_undo(struct definition *d) { d->locks[0].undo_bytes = 63; }
static void spoil_mutex(struct definition *d) { d->locks[2].at_bytes = 129; }
static void spoil_mode(struct definition *d) { d->mode = 0240; }
static void spoil_size(struct definition *d) { d->size_bytes = (uint64_t)1 << 63; }
static void spoil_backend(struct definition *d) { d->backend = DEFINITION_FILE; }
static void spoil_linger_range(struct definition *d) { d->linger_ms = UINT64_MAX; }
static void spoil_id(struct definition *d) { d->owner = UINT32_MAX; }
static void spoil_allow(struct definition *d) { free(d->allow[0].name); d->allow[0].name = NULL; }

START_TEST(what_cannot_be_is_refused)
{
	expect_refused(spoil_name, "its name is none");
	expect_refused(spoil_max_size, "its max_size is less than its size");
	expect_refused(spoil_mlock, "it is to be locked without being there");
	expect_refused(spoil_linger, "it lingers, and never ends");
	expect_refused(spoil_beyond, "reaches beyond it");
	expect_refused(spoil_overlap, "have a byte in common");
	expect_refused(spoil_names, "have one name");
	expect_refused(spoil_undo, "one of its locks is none");
	expect_refused(spoil_mutex, "one of its locks is none");
	expect_refused(spoil_mode, "lets owner write and not read");
	expect_refused(spoil_size, "size: ");
	expect_refused(spoil_backend, "it is a file, and has no path");
	expect_refused(spoil_linger_range, "linger: ");
	expect_refused(spoil_id, "owner: its bytes are no user or group");
	expect_refused(spoil_allow, "an entry names nobody");
}
END_TEST

/* Reads all of a file. The result, and how many items there were. */
static int
read_all(int fd, uint64_t length, unsigned *ret_n)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item = PACK_ITEM_NULL;
	unsigned n = 0;
	int r = pack_reader_init(&reader, fd, length);

	while (r == 0) {
		r = pack_reader_next(&reader, &item);
		if (r || item.kind == PACK_END)
			break;
		n++;
		pack_item_deinit(&item);
	}
	ck_assert_int_eq(item.kind, PACK_END);
	ck_assert_msg(r == 0 || (r == PACK_E_INVALID && reader.why[0]), "%d", r);
	ck_assert_uint_le(reader.room, PACK_ITEM_MAX_BYTES);
	pack_reader_deinit(&reader);
	*ret_n = n;
	return r;
}

static void
write_file(int fd, const unsigned char *bytes, size_t length)
{
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, bytes, length, 0), (ssize_t)length);
}

/* Changes some bytes as chance has it: bits, numbers that are large, pieces that move. */
static size_t
spoil_bytes(unsigned char *bytes, size_t length)
{
	for (unsigned n = 1 + (unsigned)(packing_random() % 4); n > 0 && length > 8; n--) {
		size_t where = packing_random() % length, size;

		switch (packing_random() % 5) {
		case 0:
			bytes[where] ^= (unsigned char)(1 << packing_random() % 8);
			break;
		case 1:
			bytes[where] = (unsigned char)packing_random();
			break;
		case 2:
			memset(bytes + where, 0xff, min_u64(4, length - where));
			break;
		case 3:
			length = where;
			break;
		default:
			size = packing_random() % min_u64(64, length - where) + 1;
			memmove(bytes + where, bytes + packing_random() % (length - size + 1), min_u64(size, length - where));
			break;
		}
	}
	return length;
}

START_TEST(spoiled_bytes_are_refused)
{
	int fd = packing_file(), spoiled = packing_file();
	unsigned char bytes[8192], copy[8192];
	unsigned n, n_taken = 0, n_refused = 0;
	uint64_t length;
	struct run run;

	expect_good(&run, packing_text);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	length = packing_length(fd);
	ck_assert_uint_le(length, sizeof(bytes));
	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)length);
	ck_assert_int_eq(read_all(fd, length, &n), 0);
	ck_assert_uint_eq(n, 8);
	for (size_t cut = 0; cut < length; cut++) {	/* every truncation */
		write_file(spoiled, bytes, cut);
		ck_assert_int_eq(read_all(spoiled, cut, &n), PACK_E_INVALID);
	}
	write_file(spoiled, bytes, length - 7);		/* a file shorter than was said */
	ck_assert_int_eq(read_all(spoiled, length, &n), PACK_E_INVALID);
	memcpy(copy, bytes, length);
	copy[length] = 0;				/* and one that is longer */
	write_file(spoiled, copy, length + 1);
	ck_assert_int_eq(read_all(spoiled, length + 1, &n), PACK_E_INVALID);
	for (unsigned i = 0; i < 20000; i++) {
		size_t left;

		memcpy(copy, bytes, length);
		left = spoil_bytes(copy, length);
		write_file(spoiled, copy, left);
		if (read_all(spoiled, left, &n))
			n_refused++;
		else
			n_taken++;
	}
	(void)printf("20,000 spoiled files: %u refused, %u still good\n", n_refused, n_taken);
	ck_assert_uint_gt(n_refused, 15000);
	run_done(&run);
	(void)close(fd);
	(void)close(spoiled);
}
END_TEST

/* The same without a file's frame around it, so that more of it reaches the keys. */
START_TEST(spoiled_definitions_are_refused)
{
	struct definition *back;
	struct pack pack = PACK_NULL, again = PACK_NULL;
	unsigned char copy[4096];
	char why[PACK_WHY_SIZE];
	unsigned n_taken = 0;
	struct run run;

	expect_good(&run, packing_text);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[1]), 0);
	ck_assert_uint_le(pack.length, sizeof(copy));
	for (unsigned i = 0; i < 50000; i++) {
		size_t left;
		int r;

		memcpy(copy, pack.bytes, pack.length);
		left = spoil_bytes(copy, pack.length);
		why[0] = '\0';
		r = pack_read_definition(copy, left, why, &back);
		ck_assert_msg(r == 0 || (r == PACK_E_INVALID && why[0]), "%d", r);
		if (r)
			continue;
		/* what is taken is whole: it packs, and reads as the same again */
		n_taken++;
		again.length = 0;
		ck_assert_int_eq(pack_definition(&again, back), 0);
		definition_unref(back);
		ck_assert_msg(pack_read_definition(again.bytes, again.length, why, &back) == 0, "%s", why);
		definition_unref(back);
	}
	(void)printf("50,000 spoiled definitions: %u still good\n", n_taken);
	pack_deinit(&again);
	pack_deinit(&pack);
	run_done(&run);
}
END_TEST

START_TEST(too_large_is_said)
{
	static char long_name[PACK_ITEM_MAX_BYTES + 1];
	struct definition *definition;
	struct pack pack = PACK_NULL;
	int fd = packing_file();
	struct run run;

	expect_good(&run, "segments = ( { name = \"a\"; size = 1; } );");
	definition = run.conf->segments[0];
	ck_assert_int_eq(definition_set_file(definition, memset(long_name, 'x', PACK_ITEM_MAX_BYTES)), 0);
	ck_assert_int_eq(pack_definition(&pack, definition), PACK_E_TOO_LARGE);
	ck_assert_uint_eq(pack.length, 0);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), PACK_E_TOO_LARGE);
	pack_deinit(&pack);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* What the daemon's loop does with 15,000 definitions: slices of half a millisecond. */
START_TEST(reading_is_cut_in_slices)
{
	const unsigned n_segments = 15000;
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item;
	uint64_t begun, spent = 0, worst_item = 0, worst_slice = 0, slice = 0;
	unsigned n_slices = 1, n = 0;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int fd = packing_file();
	struct run run;

	(void)fputs("segments = (", out);
	for (unsigned i = 0; i < n_segments; i++)
		(void)fprintf(out, "%s { name = \"segment-%u\"; size = \"4KiB\"; owner = \"0\"; mode = \"0640\"; layout = \"l/%u\"; "
		    "allow = ( { user = \"1\"; access = \"r\"; } ); }\n", i ? "," : "", i, i);
	(void)fputs(" );", out);
	ck_assert_int_eq(fclose(out), 0);
	begun = clock_monotonic_ns();
	expect_good(&run, text);
	(void)printf("15,000 definitions: read from %zu KiB of text in %.1f ms", size / 1024,
	    (double)(clock_monotonic_ns() - begun) / 1e6);
	free(text);
	begun = clock_monotonic_ns();
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	(void)printf("; packed in %.1f ms (%llu KiB)", (double)(clock_monotonic_ns() - begun) / 1e6,
	    (unsigned long long)(packing_length(fd) / 1024));
	begun = clock_monotonic_ns();
	ck_assert_int_eq(pack_reader_init(&reader, fd, packing_length(fd)), 0);
	for (;;) {
		uint64_t took;

		ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
		if (item.kind == PACK_END)
			break;
		n += item.kind == PACK_SEGMENT;
		pack_item_deinit(&item);
		took = clock_monotonic_ns() - begun;
		begun += took;
		spent += took;
		slice += took;
		worst_item = max_u64(worst_item, took);
		worst_slice = max_u64(worst_slice, slice);
		if (slice >= SLICE_NS) {
			slice = 0;
			n_slices++;
		}
	}
	(void)printf("; unpacked in %.1f ms: %u slices, the longest %.2f ms; one definition %.2f us, the longest %.0f us\n",
	    (double)spent / 1e6, n_slices, (double)worst_slice / 1e6, (double)spent / n_segments / 1e3,
	    (double)worst_item / 1e3);
	ck_assert_uint_eq(n, n_segments);
	pack_reader_deinit(&reader);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* All bytes count: each one that is another makes it another definition. */
START_TEST(definitions_are_found_by_their_bytes)
{
	struct pack_known *known = NULL;
	struct pack pack = PACK_NULL;
	struct conf *conf = NULL;
	char why[PACK_WHY_SIZE];
	const void *bytes;
	struct run run;
	int fd = packing_file();

	expect_good(&run, packing_text);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	ck_assert_int_eq(pack_read_conf(fd, why, &conf, &known), 0);
	for (size_t i = 0; i < conf->n_segments; i++) {
		pack.length = 0;
		ck_assert_int_eq(pack_definition(&pack, run.conf->segments[i]), 0);
		ck_assert_ptr_eq(pack_known_find(known, pack.bytes, pack.length, &bytes), conf->segments[i]);
		ck_assert_mem_eq(bytes, pack.bytes, pack.length);
		ck_assert_ptr_null(pack_known_find(known, pack.bytes, pack.length - 1, &bytes));
		for (size_t at = 0; at < pack.length; at++) {
			pack.bytes[at] ^= 1;
			ck_assert_ptr_null(pack_known_find(known, pack.bytes, pack.length, &bytes));
			pack.bytes[at] ^= 1;
		}
	}
	ck_assert_ptr_null(pack_known_find(NULL, pack.bytes, pack.length, &bytes));
	ck_assert_ptr_null(pack_known_find(known, pack.bytes, 0, &bytes));
	(void)pack_known_free(known);
	(void)conf_free(conf);
	pack_deinit(&pack);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* The largest that a definition can be: a thousand locks, and everybody allowed. */
START_TEST(largest_definition_is_read_at_once)
{
	struct definition *back;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE];
	uint64_t begun, best = UINT64_MAX;
	struct run run;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)fputs("segments = ( { name = \"a\"; size = \"1MiB\"; allow = (", out);
	for (unsigned i = 0; i < DEFINITION_ALLOW_MAX; i++)
		(void)fprintf(out, "%s { user = \"%u\"; access = \"rw\"; }", i ? "," : "", i);
	(void)fputs(" ); locks = (", out);
	for (unsigned i = 0; i < DEFINITION_LOCKS_MAX; i++)
		(void)fprintf(out, "%s { name = \"%0120u\"; offset = %u; length = 8; undo = 64; }", i ? "," : "", i, 8 * i);
	(void)fputs(" ); } );", out);
	ck_assert_int_eq(fclose(out), 0);
	expect_good(&run, text);
	free(text);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[0]), 0);
	ck_assert_uint_le(pack.length, PACK_ITEM_MAX_BYTES);
	for (unsigned i = 0; i < 5; i++) {
		begun = clock_monotonic_ns();
		ck_assert_int_eq(pack_read_definition(pack.bytes, pack.length, why, &back), 0);
		best = min_u64(best, clock_monotonic_ns() - begun);
		definition_unref(back);
	}
	(void)printf("the largest definition: %zu KiB, unpacked in %.2f ms\n", pack.length / 1024, (double)best / 1e6);
	pack_deinit(&pack);
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("packlies");
	TCase *tcase = tcase_create("packlies");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, what_cannot_be_is_refused);
	tcase_add_test(tcase, spoiled_bytes_are_refused);
	tcase_add_test(tcase, spoiled_definitions_are_refused);
	tcase_add_test(tcase, too_large_is_said);
	tcase_add_test(tcase, reading_is_cut_in_slices);
	tcase_add_test(tcase, definitions_are_found_by_their_bytes);
	tcase_add_test(tcase, largest_definition_is_read_at_once);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
