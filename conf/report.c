/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The problems of a configuration, in the order in which they were found. Bounded: a file of rubbish costs a thousand
 * sentences and a count, not memory.
 */
#include "config.h"

#include "conf/report.h"

static void
problem_deinit(struct conf_problem *problem)
{
	free(problem->file);
	free(problem->key);
	free(problem->text);
}

/* Makes room for one more; the room doubles. */
static int
grow(struct conf_report *report)
{
	size_t n = report->n_problems;
	struct conf_problem *problems;

	if (n & (n - 1) || n == 1)
		return 0;	/* not a power of two: there is room */
	problems = reallocarray(report->problems, n ? 2 * n : 2, sizeof(*problems));
	if (!problems)
		return -ENOMEM;
	report->problems = problems;
	return 0;
}

int
report_add_v(struct conf_report *report, const char *file, unsigned line, const char *key,
    const char *format, va_list args)
{
	struct conf_problem problem = { .line = line };

	if (report->n_problems >= CONF_REPORT_MAX) {
		report->n_left_out++;
		return 0;
	}
	if (grow(report) < 0)
		return -ENOMEM;
	problem.file = strdup(file);
	problem.key = key ? strdup(key) : NULL;
	if (vasprintf(&problem.text, format, args) < 0)
		problem.text = NULL;
	if (!problem.file || !problem.text || (key && !problem.key)) {
		problem_deinit(&problem);
		return -ENOMEM;
	}
	report->problems[report->n_problems++] = problem;
	return 0;
}

int
report_add(struct conf_report *report, const char *file, unsigned line, const char *key,
    const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = report_add_v(report, file, line, key, format, args);
	va_end(args);
	return r;
}

void
conf_report_deinit(struct conf_report *report)
{
	for (size_t i = 0; i < report->n_problems; i++)
		problem_deinit(&report->problems[i]);
	free(report->problems);
	*report = (struct conf_report)CONF_REPORT_NULL;
}

int
conf_problem_format(const struct conf_problem *problem, char *buf, size_t size)
{
	const char *key = problem->key ? problem->key : "";
	const char *colon = problem->key ? ": " : "";

	if (problem->line == 0)
		return snprintf(buf, size, "%s: %s%s%s", problem->file, key, colon, problem->text);
	return snprintf(buf, size, "%s:%u: %s%s%s", problem->file, problem->line, key, colon,
	    problem->text);
}
