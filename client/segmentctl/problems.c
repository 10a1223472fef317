/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is wrong with a configuration that was read here: a line a problem on standard error, or members of a document. */
#include "config.h"

#include "client/segmentctl/problems.h"

#include "base/base.h"
#include "client/segmentctl/text.h"

static void
print_problem(const struct conf_problem *problem)
{
	text_put_escaped(stderr, problem->file);
	if (problem->line > 0)
		fprintf(stderr, ":%u", problem->line);
	fputs(": ", stderr);
	if (problem->key) {
		text_put_escaped(stderr, problem->key);
		fputs(": ", stderr);
	}
	text_put_escaped(stderr, problem->text);
	putc('\n', stderr);
}

void
problems_print(const struct conf_report *report)
{
	for (size_t i = 0; i < report->n_problems; i++)
		print_problem(&report->problems[i]);
	if (report->n_left_out > 0)
		fprintf(stderr, "segmentctl: %zu more problems were left out\n", report->n_left_out);
}

void
problems_add_members(struct json *json, const struct conf_report *report)
{
	json_open_array(json, "problems");
	for (size_t i = 0; i < report->n_problems; i++) {
		const struct conf_problem *problem = &report->problems[i];

		json_open_object(json, NULL);
		json_add_string(json, "file", problem->file);
		json_add_number(json, "line", problem->line);
		json_add_string(json, "key", problem->key);
		json_add_string(json, "text", problem->text);
		json_close_object(json);
	}
	json_close_array(json);
	json_add_number(json, "problems_left_out", report->n_left_out);
}
