/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `create` and `remove`. */
#include "config.h"

#include "base/base.h"
#include "client/segment.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/holders.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/row.h"
#include "client/segmentctl/shown.h"
#include "client/segmentctl/text.h"
#include "conf/definition.h"
#include "conf/units.h"

static int
print_created(const struct segmentctl *ctl, const struct protocol_segment *row)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_open_object(&json, "segment");
		row_add_members(&json, row);
		json_close_object(&json);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

/*
 * Says what was made. It is asked while we are attached: a segment that ends with its last attachment may be gone right
 * after, which surprises whoever expects it to stay.
 */
static int
describe_created(const struct segmentctl *ctl, const char *name)
{
	struct shown shown = SHOWN_NULL;
	const char *linger;
	struct ask *ask;
	int r;

	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	r = shown_ask(&shown, ask, name);
	if (r == 0 && shown.segment.lifetime == DEFINITION_ATTACHED) {
		linger = shown_find(&shown, "linger");
		fprintf(stderr, "segmentctl: '%s' goes with its last attachment, and segmentctl's ends now (linger = ", name);
		text_put_escaped(stderr, linger ? linger : "unknown");
		fputs(")\n", stderr);
	}
	if (r == 0 && ctl->json)
		r = print_created(ctl, &shown.segment);
	shown_deinit(&shown);
	ask_free(ask);
	return r;
}

int
lifecycle_run_create(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	char why[UNITS_WHY_SIZE];
	uint64_t size_bytes;
	int r = ask_check_name(ctl, args[0]);

	if (r != 0)
		return r;
	if (units_parse_size(args[1], why, &size_bytes) != 0)
		return report_usage(ctl, "SIZE: %s", why);
	if (size_bytes == 0)
		return report_usage(ctl, "SIZE: '%s' is nothing; expected 1 byte at least", args[1]);
	r = segment_connect(&client, ctl->socket);
	if (r < 0)
		return report_failure(ctl, report_connect_status(r), "%s", segment_error());
	r = segment_create(client, args[0], size_bytes, SEGMENT_WRITE, &segment);
	if (r < 0)
		r = report_failure(ctl, report_request_status(r), "%s", segment_error());
	else
		r = describe_created(ctl, args[0]);
	(void)segment_detach(segment);
	segment_disconnect(client);
	return r;
}

/* What came of REMOVE. */
struct removed {
	const struct segmentctl *ctl;
	const char *name;
	bool now;
	struct json json;
	struct holders holders;		/* who keeps it from going */
};

static int
print_removed_text(struct removed *removed)
{
	struct table *table = &removed->holders.table;
	int r;

	/* Nobody holds it: it is gone by now, or will be before anybody has read this. */
	if (table->n_rows == 0)
		return 0;
	if (removed->now)
		printf("'%s' is gone; its memory stays as long as %s it:\n", removed->name,
		    table->n_rows == 1 ? "this one has" : "these have");
	else
		printf("'%s' takes no more attachments, and goes when %s over:\n", removed->name,
		    table->n_rows == 1 ? "this one is" : "these are");
	r = table_print(table);
	if (r == 0 && !removed->now)
		puts("With --now its name goes at once; the memory stays with them.");
	return report_output(removed->ctl, r);
}

static int
send_remove(struct removed *removed, struct ask *ask)
{
	struct protocol_remove request = { .flags = removed->now ? PROTOCOL_REMOVE_NOW : 0 };

	ask_set_name(request.name, removed->name);
	return ask_request(ask, PROTOCOL_REMOVE, &request.header, sizeof(request), sizeof(struct protocol_header));
}

/*
 * Who holds it is asked while it has its name: with --now before, else after, when nobody comes any more. Then its last holder
 * may go, and the segment with it, before it is asked about.
 */
static int
carry_out_remove(struct removed *removed, struct ask *ask)
{
	struct json *json = &removed->json;
	int r = removed->now ? 0 : send_remove(removed, ask);

	json_add_string(json, "name", removed->name);
	json_add_bool(json, "now", removed->now);
	json_open_array(json, "holders");
	ask->may_be_gone = !removed->now;
	if (r == 0)
		r = holders_collect(&removed->holders, ask, removed->name);
	json_close_array(json);
	if (r == 0 && removed->now)
		r = send_remove(removed, ask);
	if (r != 0)
		return r;
	if (!removed->ctl->json)
		return print_removed_text(removed);
	json_add_bool(json, "gone", removed->now || ask->is_gone);
	return report_output(removed->ctl, json_print(json));
}

int
lifecycle_run_remove(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct removed removed = { .ctl = ctl, .name = args[0], .now = ctl->options & SEGMENTCTL_OPTION_NOW };
	struct ask *ask;
	int r = ask_check_name(ctl, args[0]);

	if (r != 0)
		return r;
	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	if (json_init(&removed.json) < 0 || holders_init(&removed.holders, ctl, &removed.json) < 0)
		r = report_no_memory(ctl);
	else
		r = carry_out_remove(&removed, ask);
	holders_deinit(&removed.holders);
	json_deinit(&removed.json);
	ask_free(ask);
	return r;
}

int
lifecycle_run_retry(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct protocol_retry request = { 0 };
	struct json json = JSON_NULL;
	struct ask *ask;
	int r = ask_check_name(ctl, args[0]);

	if (r != 0)
		return r;
	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	ask_set_name(request.name, args[0]);
	r = ask_request(ask, PROTOCOL_RETRY, &request.header, sizeof(request), sizeof(struct protocol_header));
	ask_free(ask);
	if (r != 0)
		return r;
	if (!ctl->json) {
		printf("'%s' is being provisioned again: `segmentctl wait %s` says when it is ready, or why it failed\n", args[0],
		    args[0]);
		return report_output(ctl, 0);
	}
	r = json_init(&json);
	if (r == 0) {
		json_add_string(&json, "name", args[0]);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}
