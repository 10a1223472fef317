/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `check [FILE]`: is a configuration valid, and what is wrong with it; all of it, with the caller's own rights. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"
#include "conf/load.h"

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

static void
print_problems(const struct conf_report *report)
{
	for (size_t i = 0; i < report->n_problems; i++)
		print_problem(&report->problems[i]);
	if (report->n_left_out > 0)
		fprintf(stderr, "segmentctl: %zu more problems were left out\n", report->n_left_out);
}

static void
add_problems(struct json *json, const struct conf_report *report)
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

/* Bytes that all segments together ask for: UINT64_MAX when a sum of them fits nowhere. */
static uint64_t
count_bytes(const struct conf *conf)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < conf->n_segments; i++)
		if (!checked_add(bytes, conf->segments[i]->size_bytes, &bytes))
			return UINT64_MAX;
	return bytes;
}

/* conf: NULL when it is invalid. */
static int
print_json(const struct segmentctl *ctl, const char *path, const struct conf_report *report, const struct conf *conf)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_add_bool(&json, "valid", conf != NULL);
		json_add_string(&json, "file", path);
		add_problems(&json, report);
		if (conf) {
			json_add_number(&json, "segments", conf->n_segments);
			json_add_number(&json, "templates", conf->n_templates);
			json_add_number(&json, "bytes", count_bytes(conf));
		}
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

static int
print_summary(const struct segmentctl *ctl, const char *path, const struct conf *conf)
{
	char size[TEXT_SIZE];

	text_format_size(count_bytes(conf), size);
	text_put_escaped(stdout, path);
	printf(": valid: %zu segment%s (%s), %zu template%s\n", conf->n_segments, conf->n_segments == 1 ? "" : "s",
	    size, conf->n_templates, conf->n_templates == 1 ? "" : "s");
	return report_output(ctl, 0);
}

static int
print_outcome(const struct segmentctl *ctl, const char *path, const struct conf_report *report,
    const struct conf *conf)
{
	int r = SEGMENTCTL_DONE;

	print_problems(report);
	if (ctl->json)
		r = print_json(ctl, path, report, conf);
	else if (conf)
		r = print_summary(ctl, path, conf);
	return conf ? r : SEGMENTCTL_FAILED;
}

int
check_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	const char *path = n_args > 0 ? args[0] : CONF_DEFAULT_FILE;
	struct conf_report report = CONF_REPORT_NULL;
	struct conf *conf = NULL;
	int r = conf_load(path, &report, &conf);

	if (r < 0)
		r = report_failure(ctl, SEGMENTCTL_FAILED, "reading '%s' failed: %s", path, strerror(-r));
	else
		r = print_outcome(ctl, path, &report, conf);
	conf_free(conf);
	conf_report_deinit(&report);
	return r;
}
