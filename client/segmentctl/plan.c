/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `plan [FILE]` and `reload`: what the daemon says that a configuration comes to, a line each. FILE is read here, with the
 * caller's rights, together with the segments.d beside it, and sent as contents.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"
#include "client/segmentctl/upload.h"

#define PROBLEM_SIZE	4096		/* of a line; a longer one loses its end */
#define RESTARTS_MAX	8		/* of the daemon, over one plan */

static const char *const action_names[PROTOCOL_PLAN_ACTION_N] = {
	[PROTOCOL_PLAN_PROBLEM] = "problem",
	[PROTOCOL_PLAN_ADDED] = "added",
	[PROTOCOL_PLAN_KEPT] = "kept",
	[PROTOCOL_PLAN_CHANGED] = "changed",
	[PROTOCOL_PLAN_GROWN] = "grown",
	[PROTOCOL_PLAN_REPLACED] = "replaced",
	[PROTOCOL_PLAN_WAITS] = "waits",
	[PROTOCOL_PLAN_REMOVED] = "removed",
	[PROTOCOL_PLAN_REFUSED] = "refused",
};

static const char *const subject_names[PROTOCOL_PLAN_SUBJECT_N] = { "segment", "template", "daemon", "file",
	"orphans" };

struct planned {
	const struct segmentctl *ctl;
	struct ask *ask;
	struct conf_report report;	/* of what could not be read here, and was never sent */
	struct json json;		/* with --json */
	uint32_t counts[PROTOCOL_PLAN_COUNTS];
	uint32_t n_lines;
	uint32_t n_taken;
	bool reload;
};

static const char *
action_name(unsigned action)
{
	return action < PROTOCOL_PLAN_ACTION_N ? action_names[action] : "unknown";
}

static void
print_line(const struct protocol_plan_line *line, const char *text)
{
	if (line->action == PROTOCOL_PLAN_PROBLEM) {
		text_put_escaped(stderr, text);
		putc('\n', stderr);
		return;
	}
	printf("%-9s ", action_name(line->action));
	if (line->subject != PROTOCOL_PLAN_SEGMENT)
		printf("%s%s", line->subject < PROTOCOL_PLAN_SUBJECT_N ? subject_names[line->subject] : "unknown",
		    *line->name ? " " : "");
	text_put_escaped(stdout, line->name);
	fputs(": ", stdout);
	text_put_escaped(stdout, text);
	putchar('\n');
}

static void
add_line(struct json *json, const struct protocol_plan_line *line, const char *text)
{
	json_open_object(json, NULL);
	json_add_string(json, "action", action_name(line->action));
	json_add_string(json, "subject", line->subject < PROTOCOL_PLAN_SUBJECT_N ? subject_names[line->subject] : "unknown");
	json_add_string(json, "name", *line->name ? line->name : NULL);
	json_add_string(json, "text", text);
	json_add_number(json, "waiting", line->n_waiting);
	json_open_array(json, "pids");
	for (unsigned i = 0; i < line->n_pids; i++)
		json_add_number(json, NULL, (uint64_t)line->pids[i]);
	json_close_array(json);
	json_close_object(json);
}

static void
put_line(struct planned *planned, const struct protocol_plan_line *line, const char *text)
{
	if (planned->ctl->json)
		add_line(&planned->json, line, text);
	else
		print_line(line, text);
}

/* Takes the row at *at of the reply, whose rows say their own sizes. What is wrong with it, or NULL. */
static const char *
take_line(struct planned *planned, size_t *at, uint64_t *cursor)
{
	const struct ask *ask = planned->ask;
	struct protocol_plan_line line;
	const char *text;

	if (ask->reply_bytes - *at < sizeof(line))
		return "a row is shorter than it may be";
	memcpy(&line, ask->reply.bytes + *at, sizeof(line));
	if (line.size < sizeof(line) || line.size % 8 || line.size > ask->reply_bytes - *at ||
	    line.text_len > line.size - sizeof(line) || !line.text_len)
		return "a row is not as long as it says";
	text = ask_text(ask, *at + sizeof(line), line.text_len);
	if (!text || !text_field_ends(line.name, sizeof(line.name)))
		return "a text has no end";
	if (line.cursor <= *cursor || line.n_pids > PROTOCOL_PLAN_PIDS)
		return "rows come in no order, or with more processes than they have room for";
	for (unsigned i = 0; i < line.n_pids; i++)
		if (line.pids[i] <= 0)
			return "a process has no number";
	*cursor = line.cursor;
	*at += line.size;
	planned->n_taken++;
	put_line(planned, &line, text);
	return NULL;
}

/* What is asked of the daemon that comes next, if one is away: a plan, and not a reload. A negative errno that is not told yet, or 0. */
static int
ask_either(struct planned *planned, enum protocol_type type, struct protocol_header *request, size_t request_size, size_t reply_min)
{
	return (planned->reload ? ask_try : ask_look)(planned->ask, type, request, request_size, reply_min);
}

static int
ask_lines(struct planned *planned, uint64_t cursor)
{
	struct protocol_plan_lines request = { .cursor = cursor };

	return ask_either(planned, PROTOCOL_PLAN_LINES, &request.header, sizeof(request), sizeof(struct protocol_listed));
}

/* The first page is there. */
static int
take_lines(struct planned *planned)
{
	struct ask *ask = planned->ask;
	uint64_t cursor = 0;
	const char *wrong;
	bool has_more;

	do {
		size_t at = sizeof(struct protocol_listed);
		int r = cursor ? ask_lines(planned, cursor) : 0;

		if (r < 0)
			return ask_report(ask, r);
		has_more = ask->reply.listed.header.flags & PROTOCOL_MORE;
		if (ask->reply.listed.n_rows == 0 && has_more)
			return report_protocol(planned->ctl, "an empty page is not the last one");
		for (uint32_t i = 0; i < ask->reply.listed.n_rows; i++) {
			wrong = take_line(planned, &at, &cursor);
			if (wrong)
				return report_protocol(planned->ctl, wrong);
		}
		if (at != ask->reply_bytes || planned->n_taken > planned->n_lines)
			return report_protocol(planned->ctl, "there are more lines than it says");
	} while (has_more);
	if (planned->n_taken < planned->n_lines)
		return report_protocol(planned->ctl, "there are fewer lines than it says");
	return 0;
}

/* The problems of our own report, as lines like those that the daemon finds. */
static void
put_problems(struct planned *planned)
{
	const struct protocol_plan_line line = { .action = PROTOCOL_PLAN_PROBLEM, .subject = PROTOCOL_PLAN_FILE };
	const struct conf_report *report = &planned->report;
	char text[PROBLEM_SIZE];

	for (size_t i = 0; i < report->n_problems; i++) {
		(void)conf_problem_format(&report->problems[i], text, sizeof(text));
		put_line(planned, &line, text);
	}
	if (report->n_left_out) {
		(void)snprintf(text, sizeof(text), "%zu more problems were left out", report->n_left_out);
		put_line(planned, &line, text);
	}
}

static void
print_sum(const struct planned *planned)
{
	bool is_first = true;

	for (unsigned i = PROTOCOL_PLAN_PROBLEM + 1; i < PROTOCOL_PLAN_ACTION_N; i++) {
		if (!planned->counts[i])
			continue;
		printf("%s%" PRIu32 " %s", is_first ? "" : ", ", planned->counts[i], action_name(i));
		is_first = false;
	}
	puts(is_first ? "nothing is configured" : "");
}

static void
add_counts(struct planned *planned)
{
	json_open_object(&planned->json, "counts");
	for (unsigned i = 0; i < PROTOCOL_PLAN_ACTION_N; i++)
		json_add_number(&planned->json, action_name(i), planned->counts[i]);
	json_close_object(&planned->json);
}

/* Lines and their sum. An exit status. */
static int
print_planned(struct planned *planned)
{
	uint32_t n_problems = planned->counts[PROTOCOL_PLAN_PROBLEM];
	struct json *json = &planned->json;
	int r = 0;

	if (planned->ctl->json) {
		if (json_init(json) < 0)
			return report_no_memory(planned->ctl);
		json_add_bool(json, "reload", planned->reload);
		json_add_bool(json, "valid", n_problems == 0);
		json_open_array(json, "lines");
	}
	if (planned->report.n_problems)
		put_problems(planned);
	else
		r = take_lines(planned);
	if (r != 0)
		return r;
	if (planned->ctl->json) {
		json_close_array(json);
		add_counts(planned);
		r = report_output(planned->ctl, json_print(json));
	} else if (n_problems) {
		fprintf(stderr, "segmentctl: %" PRIu32 " problem%s in the configuration: nothing is changed\n", n_problems,
		    n_problems == 1 ? "" : "s");
	} else {
		print_sum(planned);
		r = report_output(planned->ctl, 0);
	}
	if (r == 0 && (n_problems || planned->counts[PROTOCOL_PLAN_REFUSED]))
		r = SEGMENTCTL_FAILED;
	return r;
}

/* Until there is something to print. 0, an exit status, or a negative errno that is not told yet. */
static int
ask_plan(struct planned *planned, uint32_t flags, const char *file)
{
	struct protocol_plan request = { .flags = flags };
	struct ask *ask = planned->ask;
	int r = file ? upload_file(ask, file, &planned->report) : 0;

	if (r)
		return r;
	if (planned->report.n_problems) {
		planned->counts[PROTOCOL_PLAN_PROBLEM] = (uint32_t)planned->report.n_problems + !!planned->report.n_left_out;
		return 0;
	}
	r = ask_either(planned, PROTOCOL_PLAN, &request.header, sizeof(request), sizeof(struct protocol_planned));
	if (r)
		return r;
	memcpy(planned->counts, ask->reply.planned.counts, sizeof(planned->counts));
	planned->n_lines = ask->reply.planned.n_lines;
	return ask_lines(planned, 0);
}

/*
 * Another daemon has come meanwhile, which knows neither what was uploaded to the one before nor what that had planned. Its own
 * plan is as good; a reload it would carry out once more, which nobody has asked for.
 */
static int
ask_plan_again(struct planned *planned, uint32_t flags, const char *file)
{
	unsigned n_restarts = 0;
	int r;

	do
		r = ask_plan(planned, flags, file);
	while ((r == -ENODATA || (r == -EINVAL && file)) && !planned->reload && n_restarts++ < RESTARTS_MAX);
	return r < 0 ? ask_report(planned->ask, r) : r;
}

/* file: NULL for the daemon's own. */
static int
plan(const struct segmentctl *ctl, uint32_t flags, const char *file)
{
	struct planned planned = {
		.ctl = ctl, .report = CONF_REPORT_NULL, .json = JSON_NULL, .reload = flags & PROTOCOL_PLAN_RELOAD,
	};
	int r = 0;

	planned.ask = ask_new(ctl, &r);
	if (!planned.ask)
		return r;
	r = ask_plan_again(&planned, flags, file);
	if (r == 0)
		r = print_planned(&planned);
	json_deinit(&planned.json);
	conf_report_deinit(&planned.report);
	ask_free(planned.ask);
	return r;
}

int
plan_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	return plan(ctl, n_args ? PROTOCOL_PLAN_UPLOADED : 0, n_args ? args[0] : NULL);
}

int
plan_run_reload(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	return plan(ctl, PROTOCOL_PLAN_RELOAD, NULL);
}
