/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the suites of conf/ share. */
#include "config.h"

#include "tests/conf/suite.h"

void
run_text(struct run *run, const char *text)
{
	struct conf_text one = { .name = "test.conf", .bytes = text, .length = strlen(text) };

	*run = (struct run){ .report = CONF_REPORT_NULL };
	run->result = conf_load_texts(&one, 1, &run->report, &run->conf);
}

void
run_file(struct run *run, const char *path)
{
	*run = (struct run){ .report = CONF_REPORT_NULL };
	run->result = conf_load(path, &run->report, &run->conf);
}

void
run_done(struct run *run)
{
	run->conf = conf_free(run->conf);
	conf_report_deinit(&run->report);
}

const struct conf_problem *
run_find(const struct run *run, unsigned line, const char *key, const char *words)
{
	for (size_t i = 0; i < run->report.n_problems; i++) {
		const struct conf_problem *problem = &run->report.problems[i];

		if (line && problem->line != line)
			continue;
		if (key && (!problem->key || !streq(problem->key, key)))
			continue;
		if (strstr(problem->text, words))
			return problem;
	}
	return NULL;
}

const char *
run_problems(const struct run *run)
{
	static char text[8192];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < run->report.n_problems && n + 1024 < sizeof(text); i++) {
		n += (size_t)conf_problem_format(&run->report.problems[i], text + n, 1000);
		n += (size_t)snprintf(text + n, 2, "\n");
	}
	return text;
}

void
expect_problem(const char *text, unsigned line, const char *key, const char *words)
{
	struct run run;

	run_text(&run, text);
	ck_assert_msg(run.result == CONF_E_INVALID, "'%.300s' was taken", text);
	ck_assert_ptr_null(run.conf);
	ck_assert_msg(run_find(&run, line, key, words), "'%.300s': expected line %u, key %s, '%s'; got:\n%s",
	    text, line, key ? key : "any", words, run_problems(&run));
	ck_assert_msg(run.report.n_problems == 1, "'%.300s': more than one problem:\n%s", text,
	    run_problems(&run));
	run_done(&run);
}

void
expect_good(struct run *run, const char *text)
{
	run_text(run, text);
	ck_assert_msg(run->result == 0, "'%.300s' was refused:\n%s", text, run_problems(run));
	ck_assert_uint_eq(run->report.n_problems, 0);
}

char *
read_whole(const char *path, size_t *ret_length)
{
	FILE *file = fopen(path, "re");
	char *bytes = malloc((size_t)1 << 20);
	size_t n;

	ck_assert_msg(file != NULL, "cannot open %s", path);
	ck_assert_ptr_nonnull(bytes);
	n = fread(bytes, 1, ((size_t)1 << 20) - 1, file);
	bytes[n] = '\0';
	(void)fclose(file);
	*ret_length = n;
	return bytes;
}
