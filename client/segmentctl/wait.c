/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `wait NAME...`: until all are ready, one after another: the time is the slowest one's in any order. The daemon answers
 * when there is something to tell, so nothing is polled; a bar is drawn on standard error where that is a terminal.
 */
#include "config.h"

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/row.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"

#define BAR_WIDTH_MAX	40
#define BAR_WIDTH_MIN	5

struct waiting {
	const struct segmentctl *ctl;
	struct ask *ask;
	const char *name;
	size_t terminal_width;		/* 0: no bar */
	bool drawn;
	unsigned state;			/* as last heard */
	uint64_t progress_bytes;
	uint64_t total_bytes;
};

static void
draw_bar(struct waiting *waiting)
{
	char done[TEXT_SIZE], total[TEXT_SIZE], figures[2 * TEXT_SIZE + 16];
	unsigned percent = text_percent(waiting->progress_bytes, waiting->total_bytes), filled;
	size_t taken, width;

	if (waiting->terminal_width == 0)
		return;
	text_format_size(waiting->progress_bytes, done);
	text_format_size(waiting->total_bytes, total);
	(void)snprintf(figures, sizeof(figures), "%3u%% %s of %s", percent, done, total);
	taken = strlen(waiting->name) + strlen(figures) + 6;
	width = waiting->terminal_width > taken ? min_u64(waiting->terminal_width - taken, BAR_WIDTH_MAX) : 0;
	/* \r and erase to the end of the line: the bar is drawn over itself. */
	if (width < BAR_WIDTH_MIN) {
		fprintf(stderr, "\r\033[K%3u%%", percent);
	} else {
		filled = (unsigned)(width * percent / 100);
		fprintf(stderr, "\r\033[K%s [", waiting->name);
		for (unsigned i = 0; i < width; i++)
			putc(i < filled ? '#' : '-', stderr);
		fprintf(stderr, "] %s", figures);
	}
	(void)fflush(stderr);
	waiting->drawn = true;
}

static void
end_bar(struct waiting *waiting)
{
	if (waiting->drawn)
		putc('\n', stderr);
	waiting->drawn = false;
}

static int
tell_timeout(struct waiting *waiting)
{
	char done[TEXT_SIZE], total[TEXT_SIZE];

	end_bar(waiting);
	text_format_size(waiting->progress_bytes, done);
	text_format_size(waiting->total_bytes, total);
	if (waiting->total_bytes == 0)
		return report_failure(waiting->ctl, SEGMENTCTL_FAILED, "'%s' is not ready after %s",
		    waiting->name, waiting->ctl->timeout_text);
	return report_failure(waiting->ctl, SEGMENTCTL_FAILED, "'%s' is not ready after %s: %s of %s were provisioned",
	    waiting->name, waiting->ctl->timeout_text, done, total);
}

/* The segment's state is one that it does not wait in. */
static int
tell_end(struct waiting *waiting, const char *reason)
{
	end_bar(waiting);
	switch (waiting->state) {
	case PROTOCOL_READY:
		return SEGMENTCTL_DONE;
	case PROTOCOL_FAILED:
		return report_failure(waiting->ctl, SEGMENTCTL_FAILED, "'%s' failed%s%s", waiting->name,
		    *reason ? ": " : "", reason);
	case PROTOCOL_DRAINING:
		return report_failure(waiting->ctl, SEGMENTCTL_FAILED, "'%s' is being removed%s%s", waiting->name,
		    *reason ? ": " : "", reason);
	case PROTOCOL_GONE:
		return report_failure(waiting->ctl, SEGMENTCTL_NO_SEGMENT, "'%s' was removed", waiting->name);
	default:
		return report_protocol(waiting->ctl, "a segment is in no state that we know");
	}
}

static bool
is_pending(unsigned state)
{
	return state == PROTOCOL_DECLARED || state == PROTOCOL_PROVISIONING;
}

/* Asks once: 0 and *ret_reason, valid until the next request; a negative errno, which is not told. */
static int
ask_once(struct waiting *waiting, uint64_t progress_bytes, const char **ret_reason)
{
	const struct protocol_waited *reply = &waiting->ask->reply.waited;
	struct protocol_wait request = { .progress_bytes = progress_bytes };
	int r;

	ask_set_name(request.name, waiting->name);
	r = ask_look(waiting->ask, PROTOCOL_WAIT, &request.header, sizeof(request), sizeof(*reply));
	if (r < 0)
		return r;
	*ret_reason = ask_text(waiting->ask, sizeof(*reply), reply->reason_len);
	waiting->state = reply->state;
	waiting->progress_bytes = reply->progress_bytes;
	waiting->total_bytes = reply->total_bytes;
	return 0;
}

static int
wait_for(struct waiting *waiting)
{
	uint64_t seen = 0, ask_from = waiting->terminal_width > 0 ? 0 : PROTOCOL_WAIT_STATE;
	const char *reason;
	int r;

	for (;;) {
		r = ask_once(waiting, ask_from, &reason);
		if (r == -ETIMEDOUT)
			return tell_timeout(waiting);
		if (r < 0) {
			end_bar(waiting);
			return ask_report(waiting->ask, r);
		}
		if (!reason)
			return report_protocol(waiting->ctl, "a text is not as long as it says");
		if (!is_pending(waiting->state))
			break;
		if (ask_from == PROTOCOL_WAIT_STATE)
			return report_protocol(waiting->ctl, "it answered before there was anything to tell");
		draw_bar(waiting);
		/* One that answers without any progress would have us run in circles: no more bar then, only the end. */
		ask_from = waiting->progress_bytes > seen ? waiting->progress_bytes : PROTOCOL_WAIT_STATE;
		seen = waiting->progress_bytes;
	}
	if (waiting->state == PROTOCOL_READY && waiting->drawn)
		draw_bar(waiting);
	return tell_end(waiting, reason);
}

static int
print_json(const struct segmentctl *ctl, char **names, unsigned n_names)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_open_array(&json, "segments");
		for (unsigned i = 0; i < n_names; i++) {
			json_open_object(&json, NULL);
			json_add_string(&json, "name", names[i]);
			json_add_string(&json, "state", row_state_name(PROTOCOL_READY));
			json_close_object(&json);
		}
		json_close_array(&json);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

int
wait_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	uint64_t started_ns = clock_monotonic_ns();
	struct ask *ask;
	int r = 0;

	for (unsigned i = 0; i < n_args && r == 0; i++)
		r = ask_check_name(ctl, args[i]);
	if (r != 0)
		return r;
	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	if (ctl->options & SEGMENTCTL_OPTION_TIMEOUT)
		ask->deadline_ns = started_ns + ctl->timeout_ms * NS_PER_MS;	/* ten years at most: it fits */
	for (unsigned i = 0; i < n_args && r == 0; i++) {
		struct waiting waiting = {
			.ctl = ctl, .ask = ask, .name = args[i],
			.terminal_width = table_terminal_width(STDERR_FILENO),
		};

		r = wait_for(&waiting);
	}
	ask_free(ask);
	return r == 0 && ctl->json ? print_json(ctl, args, n_args) : r;
}
