/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Locks of a definition: what is refused, each for exactly one reason at its line and key, and what is good. */
#include "config.h"

#include "tests/conf/suite.h"

/* A segment with entries of locks; the first is on line 2, and those after NEXT on a line of their own each. */
#define LOCKS(locks)	"segments = ( { name = \"a\"; size = \"1MiB\"; locks = (\n{ " locks " } ); } );"
#define LAZY(locks)	"segments = ( { prefault = false; name = \"a\"; size = \"1MiB\"; locks = (\n{ " locks " } ); } );"
#define TEMPLATE(locks)	"templates = ( { name = \"t-%U-\"; max_size = \"1MiB\"; locks = (\n{ " locks " } ); } );"
#define NEXT		" },\n{ "
#define L		"name = \"l\"; "
#define M		"name = \"m\"; "
#define FIRST		"segments[0].locks[0]"
#define SECOND		"segments[0].locks[1]"

static const struct {
	const char *text;
	unsigned line;
	const char *key;
	const char *words;
} bad[] = {
	/* values and keys */
	{ LOCKS("length = \"1K\";"), 2, FIRST ".name", "is missing" },
	{ LOCKS("name = \"l/\"; length = \"1K\";"), 2, FIRST ".name", "is no name" },
	{ LOCKS(L "length = \"1x\";"), 2, FIRST ".length", "unknown unit" },
	{ LOCKS(L "lenght = 1; length = 1;"), 2, FIRST ".lenght", "did you mean \"length\"?" },
	{ LOCKS(L "length = 1; on_death = \"zeroed\";"), 2, FIRST ".on_death", "Did you mean \"zero\"?" },
	{ LOCKS(L "length = 1; }, 5, { " M "offset = 1; length = 1;"), 2, SECOND, "expected a group" },
	/* a value that was refused is not judged again: offset, length, at, undo, on_death */
	{ LOCKS(L "length = 8;" NEXT M "offset = \"1x\"; length = 8;"), 3, SECOND ".offset", "unknown unit" },
	{ LOCKS(L "length = 8;" NEXT M "at = \"1x\";"), 3, SECOND ".at", "unknown unit" },
	{ LOCKS(L "length = 8; undo = \"1x\";"), 2, FIRST ".undo", "unknown unit" },
	{ LOCKS(M "at = 0; on_death = \"kept\"; offset = 64; length = 64;"), 2, FIRST ".on_death", "Did you mean \"keep\"?" },
	/* the range of a lock */
	{ LOCKS(L), 2, FIRST ".length", "is missing; a lock requires it" },
	{ LOCKS(L "offset = 8;"), 2, FIRST ".length", "is missing" },
	{ LOCKS(L "length = 0;"), 2, FIRST ".length", "0B is out of range; expected 1B" },
	{ LOCKS(L "length = \"2MiB\";"), 2, FIRST ".length", "ends at byte 2097152; expected all of it within size, 1MiB" },
	{ LOCKS(L "offset = 1; length = \"1MiB\";"), 2, FIRST ".length", "ends at byte 1048577" },
	{ LOCKS(L "offset = \"2MiB\"; length = 1;"), 2, FIRST ".length", "reaches beyond" },
	{ LOCKS(L "offset = \"4194304TiB\"; length = \"4194304TiB\";"), 2, FIRST ".length", "ends at byte 9223372036854775808" },
	{ "segments = ( { name = \"a\"; size = 4096; max_size = 8192;\nlocks = ( { " L "length = 4097; } ); } );", 2,
	    FIRST ".length", "within size, 4KiB" },
	{ TEMPLATE(L "length = 1048577;"), 2, "templates[0].locks[0].length", "within max_size, 1MiB" },
	/* undo */
	{ LOCKS(L "length = 1; undo = 63;"), 2, FIRST ".undo", "63B holds no section's old bytes; expected 64B or more" },
	{ LOCKS(L "length = 1; undo = 1; on_death = \"keep\";"), 2, FIRST ".undo", "or 0 to log nothing" },
	{ LOCKS(L "length = 1; undo = 0;"), 2, FIRST ".undo", "0B contradicts on_death = \"rollback\"" },
	{ LOCKS(L "length = 1; undo = 0; on_death = \"rollback\";"), 2, FIRST ".undo", "on_death = \"keep\", \"zero\" or" },
	{ LOCKS(L "length = 1; undo = 1073741825;"), 2, FIRST ".undo", "expected 0B to 1GiB" },
	/* names and ranges of two */
	{ LOCKS(L "length = 8;" NEXT L "offset = 8; length = 1;"), 3, SECOND ".name", "\"l\" is another lock's" },
	{ LOCKS(L "length = 8;" NEXT L "at = 8;"), 3, SECOND ".name", "another lock's of this segment" },
	{ LOCKS(L "length = 9;" NEXT M "offset = 8; length = 1;"), 3, SECOND ".offset",
	    "bytes 8 to 8 of lock \"m\" overlap bytes 0 to 8 of lock \"l\"; expected no byte in both" },
	{ LOCKS(L "offset = 8; length = 8;" NEXT M "length = 9;"), 3, SECOND ".offset", "bytes 0 to 8 of lock \"m\" overlap" },
	{ LOCKS(L "length = 8;" NEXT M "length = 8;"), 3, SECOND ".offset", "bytes 0 to 7 of lock \"l\"" },
	{ LOCKS(L "offset = 64; length = 1;" NEXT M "length = 128;"), 3, SECOND ".offset", "bytes 64 to 64 of lock \"l\"" },
	{ LOCKS(L "length = 100;" NEXT "name = \"x\"; offset = 200; length = 1;" NEXT M "offset = 99; length = 2;"), 4,
	    "segments[0].locks[2].offset", "of lock \"m\" overlap bytes 0 to 99" },
	{ TEMPLATE(L "length = 9;" NEXT M "offset = 8; length = 1;"), 3, "templates[0].locks[1].offset", "overlap" },
	/* a mutex */
	{ LOCKS(M "at = 4;"), 2, FIRST ".at", "4 is no multiple of 8" },
	{ LOCKS(M "at = \"1MiB\";"), 2, FIRST ".at", "the mutex reaches beyond the segment" },
	{ LOCKS(M "at = 1048544;"), 2, FIRST ".at", "ends at byte 1048584" },
	{ LOCKS(M "at = 0; undo = 64;"), 2, FIRST ".undo", "stands beside at: nothing is logged" },
	{ LOCKS(M "at = 0; on_death = \"rollback\";"), 2, FIRST ".on_death", "\"rollback\" is not for a mutex" },
	{ LOCKS(M "at = 0; on_death = \"poison\";"), 2, FIRST ".on_death", "expected \"keep\" or \"zero\"" },
	{ LOCKS(M "at = 0; offset = 64;"), 2, FIRST ".offset", "stands beside at with on_death = \"keep\"" },
	{ LOCKS(M "at = 0; length = 64; on_death = \"keep\";"), 2, FIRST ".length", "or set on_death = \"zero\"" },
	{ LOCKS(M "at = 0; on_death = \"zero\"; length = 64;"), 2, FIRST ".offset", "requires offset and length" },
	{ LOCKS(M "at = 0; on_death = \"zero\"; offset = 64;"), 2, FIRST ".length", "requires offset and length" },
	{ LOCKS(M "at = 0; on_death = \"zero\"; offset = 40; length = \"1MiB\";"), 2, FIRST ".length", "the range reaches beyond" },
	{ LOCKS(M "at = 0; on_death = \"zero\"; offset = 39; length = 8;"), 2, FIRST ".offset",
	    "bytes 39 to 46 of lock \"m\" overlap the mutex in bytes 0 to 39 of lock \"m\"" },
	{ LOCKS(M "at = 64; on_death = \"zero\"; offset = 0; length = 65;"), 2, FIRST ".offset", "the mutex in bytes 64 to 103" },
	{ LOCKS(M "at = 64; on_death = \"zero\"; offset = 64; length = 1;"), 2, FIRST ".offset", "bytes 64 to 64" },
	{ LOCKS(M "at = 0; on_death = \"zero\"; offset = 64; length = 8;" NEXT L "offset = 71; length = 8;"), 3,
	    SECOND ".offset", "overlap bytes 64 to 71 of lock \"m\"" },
	{ LOCKS(L "length = 1024;" NEXT M "at = 1016;"), 3, SECOND ".at",
	    "the mutex in bytes 1016 to 1055 of lock \"m\" overlaps bytes 0 to 1023 of lock \"l\"" },
	{ LOCKS(M "at = 64;" NEXT L "length = 65;"), 3, SECOND ".offset",
	    "bytes 0 to 64 of lock \"l\" overlap the mutex in bytes 64 to 103" },
	{ LOCKS(M "at = 0;" NEXT "name = \"n\"; at = 32;"), 3, SECOND ".at", "overlaps the mutex in bytes 0 to 39" },
	{ LOCKS(L "length = 1; init = true;"), 2, FIRST ".init", "is for an application's mutex" },
	{ LAZY(M "at = 0; init = true;"), 2, FIRST ".init", "true contradicts prefault = false" },
};

START_TEST(is_refused_for_one_reason)
{
	expect_problem(bad[_i].text, bad[_i].line, bad[_i].key, bad[_i].words);
}
END_TEST

static const char *const good[] = {
	LOCKS(L "length = \"1MiB\";"),
	LOCKS(L "offset = 1048575; length = 1; undo = 64;"),
	LOCKS(L "length = 1; undo = \"1GiB\"; on_death = \"poison\";"),
	LOCKS(L "length = 1; undo = 0; on_death = \"keep\";"),
	LOCKS(L "length = 1; undo = 0; on_death = \"zero\";"),
	LOCKS(L "length = 1; undo = 0; on_death = \"poison\";"),
	LOCKS(L "length = 8;" NEXT M "offset = 8; length = 8;" NEXT "name = \"n\"; offset = 17; length = 1;"),
	LOCKS(M "at = 0; init = true;" NEXT "name = \"n\"; at = 40; init = false;"),
	LOCKS(M "at = 1048536;"),
	LOCKS(M "at = 8; on_death = \"zero\"; offset = 48; length = 8;" NEXT L "length = 8;"),
	LAZY(M "at = 0; init = false;" NEXT L "offset = 40; length = 1;"),
	TEMPLATE(L "length = \"1MiB\";"),
	TEMPLATE(M "at = 1048536; init = true;"),
	"segments = ( { name = \"a\"; size = 1; locks = ( ); }, { name = \"b\"; size = 1; locks = [ ]; } );",
};

START_TEST(is_good)
{
	struct run run;

	expect_good(&run, good[_i]);
	run_done(&run);
}
END_TEST

START_TEST(what_was_not_said_is_filled_in)
{
	const struct definition_lock *locks;
	struct run run;

	expect_good(&run, LOCKS(L "length = 4096;" NEXT M "at = \"64KiB\";" NEXT
	    "name = \"n\"; offset = 8192; length = 64; undo = 128; on_death = \"poison\";" NEXT
	    "name = \"o\"; at = \"5KiB\"; init = true; on_death = \"zero\"; offset = 9000; length = 3;"));
	ck_assert_uint_eq(run.conf->segments[0]->n_locks, 4);
	locks = run.conf->segments[0]->locks;
	ck_assert_str_eq(locks[0].name, "l");
	ck_assert(!locks[0].is_mutex && locks[0].offset_bytes == 0 && locks[0].length_bytes == 4096);
	ck_assert(locks[0].undo_bytes == 64 * KIB && locks[0].on_death == DEFINITION_ROLLBACK);
	ck_assert(locks[1].is_mutex && !locks[1].init && locks[1].at_bytes == 64 * KIB);
	ck_assert(locks[1].on_death == DEFINITION_KEEP && locks[1].undo_bytes == 0);
	ck_assert(locks[1].offset_bytes == 0 && locks[1].length_bytes == 0);
	ck_assert(locks[2].undo_bytes == 128 && locks[2].on_death == DEFINITION_POISON);
	ck_assert(locks[3].is_mutex && locks[3].init && locks[3].at_bytes == 5 * KIB && locks[3].undo_bytes == 0);
	ck_assert(locks[3].offset_bytes == 9000 && locks[3].length_bytes == 3 && locks[3].on_death == DEFINITION_ZERO);
	run_done(&run);
}
END_TEST

START_TEST(several_faults_are_all_reported)
{
	struct run run;

	run_text(&run, LOCKS(L "length = 8; undo = 1;" NEXT L "length = 8; init = true;" NEXT M "at = 4; undo = 64;"));
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 2, FIRST ".undo", "holds no section's"));
	ck_assert_ptr_nonnull(run_find(&run, 3, SECOND ".name", "another lock's"));
	ck_assert_ptr_nonnull(run_find(&run, 3, SECOND ".init", "is for an application's mutex"));
	ck_assert_ptr_nonnull(run_find(&run, 3, SECOND ".offset", "overlap bytes 0 to 7"));
	ck_assert_ptr_nonnull(run_find(&run, 4, "segments[0].locks[2].at", "no multiple of 8"));
	ck_assert_ptr_nonnull(run_find(&run, 4, "segments[0].locks[2].undo", "stands beside at"));
	ck_assert_ptr_nonnull(run_find(&run, 4, "segments[0].locks[2].at", "overlaps bytes 0 to 7"));
	ck_assert_msg(run.report.n_problems == 7, "%s", run_problems(&run));
	run_done(&run);
}
END_TEST

/* A range that must not be there is not judged besides. */
START_TEST(range_of_a_kept_mutex_is_refused_and_no_more)
{
	struct run run;

	run_text(&run, LOCKS(M "at = 0; offset = 0; length = 64;"));
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 2, FIRST ".offset", "stands beside at"));
	ck_assert_ptr_nonnull(run_find(&run, 2, FIRST ".length", "stands beside at"));
	ck_assert_msg(run.report.n_problems == 2, "%s", run_problems(&run));
	run_done(&run);
}
END_TEST

START_TEST(long_range_overlaps_all_in_it)
{
	struct run run;

	run_text(&run, LOCKS(L "length = 100;" NEXT M "offset = 10; length = 8;" NEXT "name = \"n\"; offset = 50; length = 8;" NEXT
	    "name = \"o\"; at = 96;" NEXT "name = \"p\"; offset = 136; length = 8;"));
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 3, SECOND ".offset", "overlap bytes 0 to 99 of lock \"l\""));
	ck_assert_ptr_nonnull(run_find(&run, 4, "segments[0].locks[2].offset", "overlap bytes 0 to 99 of lock \"l\""));
	ck_assert_ptr_nonnull(run_find(&run, 5, "segments[0].locks[3].at", "overlaps bytes 0 to 99 of lock \"l\""));
	ck_assert_msg(run.report.n_problems == 3, "%s", run_problems(&run));
	run_done(&run);
}
END_TEST

/* A segment with n locks of 8 bytes each. The caller frees. */
static char *
many_locks(unsigned n, const char *undo)
{
	char *text = malloc(1024 + (size_t)n * 128);
	size_t length;

	ck_assert_ptr_nonnull(text);
	length = (size_t)sprintf(text, "segments = ( { name = \"a\"; size = \"1MiB\";\nlocks = (");
	for (unsigned i = 0; i < n; i++)
		length += (size_t)sprintf(text + length, "%s { name = \"l%u\"; offset = %u; length = 8; undo = \"%s\"; }",
		    i ? "," : "", i, 8 * (n - 1 - i), undo);
	(void)sprintf(text + length, " ); } );");
	return text;
}

START_TEST(number_of_locks_is_bounded)
{
	char *most = many_locks(1024, "64B"), *more = many_locks(1025, "64B");
	struct run run;

	expect_good(&run, most);
	ck_assert_uint_eq(run.conf->segments[0]->n_locks, 1024);
	ck_assert_str_eq(run.conf->segments[0]->locks[1023].name, "l1023");
	run_done(&run);
	expect_problem(more, 2, "segments[0].locks", "has 1025 entries; expected 1024 at most");
	free(most);
	free(more);
}
END_TEST

START_TEST(sum_of_undo_is_bounded)
{
	char *most = many_locks(16, "1GiB"), *more = many_locks(17, "1GiB"), *all = many_locks(1024, "1GiB");
	struct run run;

	expect_good(&run, most);
	run_done(&run);
	expect_problem(more, 2, "segments[0].locks", "the locks' undo is 17GiB together; expected 16GiB at most");
	expect_problem(all, 2, "segments[0].locks", "is 1TiB together");
	free(most);
	free(more);
	free(all);
}
END_TEST

START_TEST(lock_beyond_a_created_size_is_found)
{
	struct definition *template_, *made;
	struct run run;

	expect_good(&run, TEMPLATE(L "length = 4096;" NEXT M "at = 8192;" NEXT
	    "name = \"z\"; at = 4096; on_death = \"zero\"; offset = 16384; length = 1;"));
	template_ = run.conf->templates[0];
	ck_assert_ptr_null(definition_lock_beyond(template_, MIB));
	ck_assert_ptr_null(definition_lock_beyond(template_, 16385));
	ck_assert_ptr_eq(definition_lock_beyond(template_, 16384), &template_->locks[2]);
	ck_assert_ptr_eq(definition_lock_beyond(template_, 8232), &template_->locks[2]);
	ck_assert_ptr_eq(definition_lock_beyond(template_, 8231), &template_->locks[1]);
	ck_assert_ptr_eq(definition_lock_beyond(template_, 4096), &template_->locks[1]);
	ck_assert_ptr_eq(definition_lock_beyond(template_, 4095), &template_->locks[0]);
	ck_assert_ptr_eq(definition_lock_beyond(template_, 0), &template_->locks[0]);
	made = definition_instantiate(template_, "t-1-x", 20000, 1, 1);
	ck_assert_ptr_nonnull(made);
	run_done(&run);
	ck_assert_uint_eq(made->n_locks, 3);
	made->locks[1].at_bytes = 0;
	made->locks[0].length_bytes = 1;
	ck_assert_ptr_eq(definition_lock_beyond(made, DEFINITION_MUTEX_BYTES - 1), &made->locks[1]);
	ck_assert_str_eq(made->locks[2].name, "z");
	ck_assert_ptr_null(definition_lock_beyond(made, made->size_bytes));
	definition_unref(made);
}
END_TEST

/* Locks that all overlap and share a name cost a problem or two each, and no square of their number. */
START_TEST(many_faults_are_found_in_little_time)
{
	size_t room = (size_t)8 << 20, n = 0;
	char *text = malloc(room + 1024);
	uint64_t begun;
	struct run run;

	ck_assert_ptr_nonnull(text);
	n += (size_t)sprintf(text, "segments = ( ");
	for (unsigned i = 0; i < 300; i++) {
		n += (size_t)sprintf(text + n, "%s{ name = \"s%u\"; size = 9; locks = (", i ? "," : "", i);
		for (unsigned j = 0; j < 1024; j++)
			n += (size_t)sprintf(text + n, "%s{name=\"l\";length=9;}", j ? "," : "");
		n += (size_t)sprintf(text + n, "); }");
	}
	(void)sprintf(text + n, " );");
	begun = clock_monotonic_ns();
	run_text(&run, text);
	printf("300 times 1024 locks in %llu ms\n", (unsigned long long)((clock_monotonic_ns() - begun) / 1000000));
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_msg(run.report.n_problems == CONF_REPORT_MAX, "%s", run_problems(&run));
	run_done(&run);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/locks");
	TCase *tc = tcase_create("locks");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, is_refused_for_one_reason, 0, BASE_ARRAY_SIZE(bad));
	tcase_add_loop_test(tc, is_good, 0, BASE_ARRAY_SIZE(good));
	tcase_add_test(tc, what_was_not_said_is_filled_in);
	tcase_add_test(tc, several_faults_are_all_reported);
	tcase_add_test(tc, range_of_a_kept_mutex_is_refused_and_no_more);
	tcase_add_test(tc, long_range_overlaps_all_in_it);
	tcase_add_test(tc, number_of_locks_is_bounded);
	tcase_add_test(tc, sum_of_undo_is_bounded);
	tcase_add_test(tc, lock_beyond_a_created_size_is_found);
	tcase_add_test(tc, many_faults_are_found_in_little_time);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
