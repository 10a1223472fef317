/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Files as texts that can be sent: loading them is loading the files, with the same segments and the same problems, word for
 * word and at the same places.
 */
#include "config.h"

#include <sys/stat.h>

#include "conf/gather.h"
#include "conf/plan.h"
#include "tests/conf/suite.h"

static char top[] = "/tmp/check_gather.XXXXXX";
static char main_path[64];

static const char *
path_of(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
	return path;
}

static void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(mkdir(path_of("segments.d"), 0755), 0);
	(void)snprintf(main_path, sizeof(main_path), "%s/segmentd.conf", top);
}

static void
teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf -- '%s'", top);
	ck_assert_int_eq(system(command), 0);	/* one of mkdtemp's names */
}

/* Loads the files, and the texts that they are gathered to, and compares all that comes of it. */
static void
expect_same(int expected_result)
{
	struct gathered gathered = GATHERED_NULL;
	struct conf_report report = CONF_REPORT_NULL;
	struct run direct, sent = { .report = CONF_REPORT_NULL };

	run_file(&direct, main_path);
	ck_assert_msg(direct.result == expected_result, "%s", run_problems(&direct));
	ck_assert_int_eq(conf_gather(main_path, &report, &gathered), 0);
	ck_assert_uint_eq(report.n_problems, 0);
	sent.result = conf_load_texts(gathered.texts, gathered.n_texts, &sent.report, &sent.conf);
	ck_assert_msg(sent.result == direct.result, "%s", run_problems(&sent));
	ck_assert_uint_eq(sent.report.n_problems, direct.report.n_problems);
	for (size_t i = 0; i < direct.report.n_problems; i++) {
		char a[2048], b[2048];

		(void)conf_problem_format(&direct.report.problems[i], a, sizeof(a));
		(void)conf_problem_format(&sent.report.problems[i], b, sizeof(b));
		ck_assert_str_eq(a, b);
	}
	if (direct.result == 0) {
		ck_assert_uint_eq(direct.conf->n_segments, sent.conf->n_segments);
		for (size_t i = 0; i < direct.conf->n_segments; i++) {
			ck_assert(plan_equal(direct.conf->segments[i], sent.conf->segments[i]));
			ck_assert_str_eq(direct.conf->segments[i]->file, sent.conf->segments[i]->file);
			ck_assert_uint_eq(direct.conf->segments[i]->line, sent.conf->segments[i]->line);
		}
	}
	gathered_deinit(&gathered);
	conf_report_deinit(&report);
	run_done(&direct);
	run_done(&sent);
}

START_TEST(files_and_texts_are_the_same)
{
	write_text("segmentd.conf", "# main\ndaemon = { workers = 2; };\n\nsegments = (\n  { name = \"a\"; size = 5000000000; },\n"
	    "@include \"list.inc\"\n  { name = \"z\"; size = 1; }\n);\n");
	write_text("list.inc", "  { name = \"b\"; size = 1; },\n@include \"deep.inc\"\n");
	write_text("deep.inc", "\n\n  { name = \"c\"; size = 1; },");
	write_text("segments.d/1.conf", "@include \"../first.inc\"\n@include \"../none.inc\"\n");
	write_text("first.inc", "segments = ( { name = \"f\"; size = 1; } );");
	write_text("none.inc", "");
	write_text("segments.d/2.conf", "");
	expect_same(0);
}
END_TEST

/* Each line with a problem of its own, in files that include files. */
START_TEST(problems_name_the_files_themselves)
{
	write_text("segmentd.conf", "wrong = 1;\nsegments = (\n@include \"list.inc\"\n  { name = \"z\"; size = \"x\"; }\n);\nworse = 2;\n");
	write_text("list.inc", "  { name = \"b\"; siz = 1; },\n@include \"deep.inc\"\n  { name = \"%\"; size = 1; },\n");
	write_text("deep.inc", "\n\n  { name = \"c\"; size = 0; },\n\n");
	write_text("segments.d/1.conf", "@include \"../first.inc\"\nalso = 3;\n");
	write_text("first.inc", "segments = (\n  { name = \"z\"; size = 1; } );");
	expect_same(CONF_E_INVALID);
	write_text("segments.d/1.conf", "/* a comment\n#line 7 \"x\"\n*/ @include \"../first.inc\"\n\n");	/* not at a line's start */
	expect_same(CONF_E_INVALID);
}
END_TEST

/* Syntax is found later, by the grammar. */
START_TEST(syntax_is_found_at_its_place)
{
	write_text("segmentd.conf", "\n@include \"bad.inc\"\nsegments = ( );\n");
	write_text("bad.inc", "\n\n\nx = = 5;\n");
	expect_same(CONF_E_INVALID);
	write_text("bad.inc", "segments = ( );\n");
	expect_same(CONF_E_INVALID);	/* twice: the second is in the main file */
}
END_TEST

/* What only looks like a mark stays the comment that it is. */
START_TEST(comments_are_no_marks)
{
	write_text("segmentd.conf", "#line 77 \"elsewhere\"\n #line 78 \"elsewhere\"\n/*\n#line 79 \"elsewhere\"\n*/\nwrong = 1;\n"
	    "#line 80 \"elsewhere\"\nwrong2 = 1;");
	expect_same(CONF_E_INVALID);
}
END_TEST

START_TEST(marks_that_are_none_are_comments)
{
	static const char *const comments[] = { "#line", "#line ", "#line x", "#line 5", "#line 5 x", "#line 5 \"", "#line 5 \"\"",
		"#line 99999999999 \"x\"", "#line 5  \"x\"", "#line 5 \"\x01\"", " #line 5 \"x\"", "#line -1 \"x\"" };
	char text[128];
	struct run run;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(comments); i++) {
		(void)snprintf(text, sizeof(text), "%s\nwrong = 1;\n", comments[i]);
		expect_problem(text, 2, NULL, "unknown key");
	}
	expect_problem("#line 5 \"x\"\nwrong = 1;\n", 5, NULL, "unknown key");
	run_text(&run, "#line 5 \"a \"quoted\" name\"\nwrong = 1;\n");
	ck_assert_str_eq(run.report.problems[0].file, "a \"quoted\" name");
	run_done(&run);
	/* without a next line it says nothing */
	run_text(&run, "#line 5 \"x\"");
	ck_assert_int_eq(run.result, 0);
	run_done(&run);
}
END_TEST

START_TEST(marks_are_bounded)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct run run;

	for (unsigned i = 0; i < 100000; i++)
		(void)fputs("#line 5 \"x\"\n", out);
	ck_assert_int_eq(fclose(out), 0);
	run_text(&run, text);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "more than 4000 marks"));
	ck_assert_uint_eq(run.report.n_problems, 1);
	run_done(&run);
	free(text);
}
END_TEST

/* As many as may be included are not more marks than may be. */
START_TEST(many_includes_are_sent)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < 1000; i++)
		(void)fputs("@include \"one.inc\"\n", out);
	(void)fputs("wrong = 1;\n", out);
	ck_assert_int_eq(fclose(out), 0);
	write_text("segmentd.conf", text);
	free(text);
	write_text("one.inc", "# nothing\n");
	expect_same(CONF_E_INVALID);
}
END_TEST

START_TEST(what_cannot_be_read_is_said_here)
{
	struct gathered gathered = GATHERED_NULL;
	struct run run = { .report = CONF_REPORT_NULL };

	write_text("segmentd.conf", "@include \"missing.inc\"\n");
	write_text("segments.d/1.conf", "x = \"no end\n");
	ck_assert_int_eq(mkfifo(path_of("segments.d/2.conf"), 0600), 0);
	run.result = conf_gather(main_path, &run.report, &gathered);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_uint_eq(run.report.n_problems, 3);
	ck_assert_ptr_nonnull(run_find(&run, 1, NULL, "the included file"));
	ck_assert_ptr_nonnull(run_find(&run, 1, NULL, "a string starts on this line"));
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "is a FIFO"));
	ck_assert_ptr_null(gathered.texts);
	run_done(&run);
	run = (struct run){ .report = CONF_REPORT_NULL };
	run.result = conf_gather(path_of("nothing.conf"), &run.report, &gathered);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "No such file"));
	run_done(&run);
}
END_TEST

START_TEST(too_much_is_said_here)
{
	struct gathered gathered = GATHERED_NULL;
	struct run run = { .report = CONF_REPORT_NULL };
	char *text = malloc(6 * MIB + 1);

	memset(text, '\n', 6 * MIB);
	text[6 * MIB] = '\0';
	write_text("segmentd.conf", "");
	write_text("segments.d/1.conf", text);
	write_text("segments.d/2.conf", text);
	ck_assert_int_eq(conf_gather(main_path, &run.report, &gathered), 0);
	ck_assert_uint_eq(gathered.n_texts, 3);
	ck_assert_uint_ge(gathered.length, 12 * MIB);
	gathered_deinit(&gathered);
	write_text("segments.d/3.conf", text);
	ck_assert_int_eq(conf_gather(main_path, &run.report, &gathered), CONF_E_INVALID);
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "at most 16777216 are sent"));
	run_done(&run);
	free(text);
}
END_TEST

/* A name with a line's end in it would be a line of its own. */
START_TEST(names_are_plain)
{
	struct gathered gathered = GATHERED_NULL;
	struct run run = { .report = CONF_REPORT_NULL };

	write_text("segmentd.conf", "@include \"a\tb.inc\"\n");
	write_text("a\tb.inc", "wrong = 1;\n");
	write_text("segments.d/x\ny.conf", "wrong = 1;\n");
	ck_assert_int_eq(conf_gather(main_path, &run.report, &gathered), 0);
	run.result = conf_load_texts(gathered.texts, gathered.n_texts, &run.report, &run.conf);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_str_eq(run.report.problems[0].file, path_of("a?b.inc"));
	ck_assert_str_eq(run.report.problems[1].file, path_of("segments.d/x?y.conf"));
	gathered_deinit(&gathered);
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/gather");
	TCase *tcase = tcase_create("gather");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, files_and_texts_are_the_same);
	tcase_add_test(tcase, problems_name_the_files_themselves);
	tcase_add_test(tcase, syntax_is_found_at_its_place);
	tcase_add_test(tcase, comments_are_no_marks);
	tcase_add_test(tcase, marks_that_are_none_are_comments);
	tcase_add_test(tcase, marks_are_bounded);
	tcase_add_test(tcase, many_includes_are_sent);
	tcase_add_test(tcase, what_cannot_be_read_is_said_here);
	tcase_add_test(tcase, too_much_is_said_here);
	tcase_add_test(tcase, names_are_plain);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
