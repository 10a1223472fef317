/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `check [FILE]`: is a configuration valid, and what is wrong with it; all of it, with the caller's own rights. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/problems.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"
#include "conf/load.h"

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
		problems_add_members(&json, report);
		if (conf) {
			json_add_number(&json, "segments", conf->n_segments);
			json_add_number(&json, "templates", conf->n_templates);
			json_add_number(&json, "orphans", conf->n_orphans);
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
	printf(": valid: %zu segment%s (%s), %zu template%s", conf->n_segments, conf->n_segments == 1 ? "" : "s",
	    size, conf->n_templates, conf->n_templates == 1 ? "" : "s");
	if (conf->n_orphans)
		printf(", %zu rule%s of orphans", conf->n_orphans, conf->n_orphans == 1 ? "" : "s");
	putchar('\n');
	return report_output(ctl, 0);
}

static int
print_outcome(const struct segmentctl *ctl, const char *path, const struct conf_report *report,
    const struct conf *conf)
{
	int r = SEGMENTCTL_DONE;

	problems_print(report);
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
