/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `show NAME`: state and reason, what was asked and what was had, the definition's keys, its locks, who has it. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/holders.h"
#include "client/segmentctl/locks.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/row.h"
#include "client/segmentctl/shown.h"
#include "client/segmentctl/text.h"

static const struct table_column had_columns[] = {
	{ "", 0, 0 }, { "ASKED", 0, 0 }, { "HAD", TABLE_TRUNCATE, 0 },
};

static const struct table_column key_columns[] = {
	{ "KEY", 0, 0 }, { "VALUE", TABLE_TRUNCATE, 0 }, { "ORIGIN", 0, 1 }, { "RELOAD", 0, 2 },
};

static void
print_line(const char *label, const char *text)
{
	printf("  %-12s ", label);
	text_put_escaped(stdout, text);
	putchar('\n');
}

static void
print_state(const struct shown *shown)
{
	const struct protocol_segment *row = &shown->segment;
	char state[ROW_STATE_SIZE], owner[ROW_OWNER_SIZE], mode[ROW_MODE_SIZE], text[256], a[TEXT_SIZE], b[TEXT_SIZE];

	text_put_escaped(stdout, row->name);
	putchar('\n');
	row_format_state(row, state);
	print_line("state", state);
	if (*shown->reason)
		print_line("reason", shown->reason);
	if (row->state == PROTOCOL_PROVISIONING) {
		text_format_size(row->progress_bytes, a);
		text_format_size(row->total_bytes, b);
		(void)snprintf(text, sizeof(text), "%s of %s", a, b);
		print_line("progress", text);
	}
	(void)snprintf(text, sizeof(text), "%" PRIu64, row->generation);
	print_line("generation", text);
	(void)snprintf(text, sizeof(text), "%s%s%s%s", row_lifetime_name(row->lifetime),
	    row->flags & PROTOCOL_SEGMENT_CREATED ? ", created from a template" : "",
	    row->flags & PROTOCOL_SEGMENT_REQUIRED ? ", required" : "",
	    row->flags & PROTOCOL_SEGMENT_DEGRADED ? ", not all had as asked" : "");
	print_line("lifetime", text);
	row_format_owner(row, owner);
	row_format_mode(row, mode);
	(void)snprintf(text, sizeof(text), "%s %s", owner, mode);
	print_line("owner", text);
	(void)snprintf(text, sizeof(text), "%" PRIu32 " reading, %" PRIu32 " writing, of them %" PRIu32 " unsupervised",
	    row->readers, row->writers, row->unsupervised);
	print_line("attached", text);
	if (row->others && row->flags & PROTOCOL_SEGMENT_COUNTED) {
		(void)snprintf(text, sizeof(text), "%" PRIu32 " by the kernel's count, which attached it by its key, or whose "
		    "parents did it by us", row->others);
		print_line("others", text);
	} else if (row->others) {
		print_line("others", "some, which opened it by its name: the kernel keeps no count of them");
	}
	if (row->flags & PROTOCOL_SEGMENT_UNSEALED)
		print_line("sealed", "no: writers can truncate it");
	(void)snprintf(text, sizeof(text), "%" PRIu64, row->recoveries);
	print_line("recoveries", text);
}

/* Of a file: since when what is stored to it is on the disk, and how much is not. */
static void
print_file(const struct shown *shown)
{
	const char *dirty = shown->file_flags & PROTOCOL_SHOWN_DIRTY ? "what was stored since" : "nothing";
	char when[TEXT_SIZE] = "not since it is ready", bytes[TEXT_SIZE];

	if (!(shown->file_flags & PROTOCOL_SHOWN_FILE))
		return;
	if (shown->synced_ns)
		text_format_time(shown->synced_ns, false, when);
	print_line("written back", when);
	if (shown->dirty_bytes != UINT64_MAX) {
		text_format_size(shown->dirty_bytes, bytes);
		dirty = bytes;
	}
	print_line("not on disk", dirty);
}

static int
add_had(struct table *table, const char *what, const char *asked, const char *had, bool differs)
{
	const char *cells[] = { what, asked ? asked : "-", had };
	char text[2304];

	if (differs) {
		(void)snprintf(text, sizeof(text), "differs: %s", had);
		cells[2] = text;
	}
	return table_add_row(table, cells, differs ? "yellow" : NULL, 2);
}

/* "64 MiB on node 0, 64 MiB on node 1"; what does not fit is left out. */
static const char *
format_nodes(const struct shown *shown, char *buf, size_t size)
{
	char bytes[TEXT_SIZE];
	size_t len = 0;

	(void)snprintf(buf, size, "-");
	for (size_t i = 0; i < shown->n_nodes && len < size; i++) {
		text_format_size(shown->nodes[i].bytes, bytes);
		len += (size_t)snprintf(buf + len, size - len, "%s%s on node %" PRIu64, i ? ", " : "", bytes,
		    shown->nodes[i].node);
	}
	return buf;
}

static int
fill_had(struct table *table, const struct shown *shown)
{
	const struct protocol_segment *row = &shown->segment;
	char size[TEXT_SIZE], max_size[TEXT_SIZE], text[128], resident[TEXT_SIZE], locked[TEXT_SIZE], huge[TEXT_SIZE];
	const char *page_size = row_page_size_had(row), *numa = shown_find(shown, "numa");
	char nodes[2048];
	int r;

	text_format_size(row->size_bytes, size);
	text_format_size(row->max_size_bytes, max_size);
	text_format_size(row->resident_bytes, resident);
	text_format_size(row->locked_bytes, locked);
	text_format_size(row->huge_bytes, huge);
	(void)snprintf(text, sizeof(text), "%s resident", resident);
	r = add_had(table, "size", size, text, row->differs & PROTOCOL_DIFFERS_RESIDENT);
	if (r == 0)
		r = add_had(table, "maximum size", max_size, "-", false);
	(void)snprintf(text, sizeof(text), "%s locked", locked);
	if (r == 0)
		r = add_had(table, "mlock", shown_find(shown, "mlock"), text, row->differs & PROTOCOL_DIFFERS_LOCKED);
	(void)snprintf(text, sizeof(text), "%s%s (%s by huge pages)", page_size ? page_size : "none",
	    row->page_shift ? " of the pool" : row->huge_bytes ? " transparent" : "", huge);
	if (r == 0)
		r = add_had(table, "page size", row_page_size_name(row->page_size_asked), text,
		    row->differs & PROTOCOL_DIFFERS_PAGES);
	if (r == 0)
		r = add_had(table, "numa", numa ? numa : row_numa_name(row->numa), format_nodes(shown, nodes, sizeof(nodes)),
		    row->differs & PROTOCOL_DIFFERS_NODES);
	return r;
}

static int
print_had(const struct shown *shown)
{
	struct table table;
	int r = table_init(&table, had_columns, BASE_ARRAY_SIZE(had_columns));

	if (r == 0)
		r = fill_had(&table, shown);
	if (r == 0) {
		fputs("\nAsked and had\n", stdout);
		r = table_print(&table);
	}
	table_deinit(&table);
	return r;
}

static int
print_keys(const struct shown *shown, const struct locks *locks)
{
	struct table table;
	int r = table_init(&table, key_columns, BASE_ARRAY_SIZE(key_columns));

	for (size_t i = 0; i < shown->n_keys && r == 0; i++) {
		const struct shown_key *key = &shown->keys[i];
		/* A section of their own has them; here they would make one line of a screen's width many. */
		bool is_below = locks->n > 0 && streq(key->key, "locks");
		const char *cells[] = { key->key, is_below ? "see below" : key->value, key->origin, key->reload };

		r = table_add_row(&table, cells, NULL, 0);
	}
	if (r == 0) {
		fputs("\nDefinition\n", stdout);
		r = table_print(&table);
	}
	table_deinit(&table);
	return r;
}

static int
print_text(const struct segmentctl *ctl, const struct shown *shown, struct holders *holders, const struct locks *locks)
{
	int r;

	print_state(shown);
	print_file(shown);
	r = print_had(shown);
	if (r == 0)
		r = print_keys(shown, locks);
	if (r == 0)
		r = locks_print(locks, holders, shown->segment.name);
	if (r == 0) {
		fputs("\nHolders\n", stdout);
		if (holders->table.n_rows > 0)
			r = table_print(&holders->table);
		else if (shown->segment.state == PROTOCOL_FAILED)
			/* Somebody may have what is in its place: that is not this segment's memory. */
			fputs("none: it has no memory that anybody could have; its reason is above\n", stdout);
		else
			fputs("none\n", stdout);
		processes_print_unknown(&holders->processes);
	}
	return report_output(ctl, r);
}

static void
add_file_to_json(struct json *json, const struct shown *shown)
{
	char when[TEXT_SIZE];

	text_format_time(shown->synced_ns, true, when);
	json_open_object(json, "file");
	json_add_string(json, "synced", shown->synced_ns ? when : NULL);
	json_add_bool(json, "dirty", shown->file_flags & PROTOCOL_SHOWN_DIRTY);
	if (shown->dirty_bytes != UINT64_MAX)
		json_add_number(json, "dirty_bytes", shown->dirty_bytes);
	else
		json_add_string(json, "dirty_bytes", NULL);
	json_close_object(json);
}

static void
add_to_json(struct json *json, const struct shown *shown)
{
	json_open_object(json, "segment");
	row_add_members(json, &shown->segment);
	json_add_string(json, "reason", shown->reason);
	json_open_array(json, "nodes");
	for (size_t i = 0; i < shown->n_nodes; i++) {
		json_open_object(json, NULL);
		json_add_number(json, "node", shown->nodes[i].node);
		json_add_number(json, "bytes", shown->nodes[i].bytes);
		json_close_object(json);
	}
	json_close_array(json);
	if (shown->file_flags & PROTOCOL_SHOWN_FILE)
		add_file_to_json(json, shown);
	json_open_array(json, "keys");
	for (size_t i = 0; i < shown->n_keys; i++) {
		const struct shown_key *key = &shown->keys[i];

		json_open_object(json, NULL);
		json_add_string(json, "key", key->key);
		json_add_string(json, "value", key->value);
		json_add_bool(json, "default", streq(key->origin, "default"));
		json_add_string(json, "reload", key->reload);
		json_close_object(json);
	}
	json_close_array(json);
}

static int
print_json(const struct segmentctl *ctl, struct ask *ask, const char *name, struct shown *shown,
    struct holders *holders, struct locks *locks)
{
	struct json *json = holders->json;
	int r;

	add_to_json(json, shown);
	json_open_array(json, "holders");
	r = holders_collect_all(holders, ask, name);
	if (r != 0)
		return r;
	json_close_array(json);
	processes_add_look(&holders->processes, json);
	r = locks_collect(locks, ask, name, shown->segment.generation);
	if (r != 0)
		return r;
	locks_add_members(locks, holders, json);
	json_close_object(json);
	return report_output(ctl, json_print(json));
}

static int
show(const struct segmentctl *ctl, struct ask *ask, const char *name, struct json *json)
{
	struct shown shown = SHOWN_NULL;
	struct holders holders = { 0 };
	struct locks locks = LOCKS_NULL;
	int r;

	if (json_init(json) < 0 || holders_init(&holders, ctl, json) < 0)
		r = report_no_memory(ctl);
	else
		r = shown_ask(&shown, ask, name);
	if (r == 0 && ctl->json) {
		r = print_json(ctl, ask, name, &shown, &holders, &locks);
	} else if (r == 0) {
		/* All is asked before a line is printed, so that a failure leaves no half of it. */
		r = holders_collect_all(&holders, ask, name);
		if (r == 0)
			r = locks_collect(&locks, ask, name, shown.segment.generation);
		if (r == 0)
			r = print_text(ctl, &shown, &holders, &locks);
	}
	locks_deinit(&locks);
	holders_deinit(&holders);
	shown_deinit(&shown);
	return r;
}

int
show_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct json json = JSON_NULL;
	struct ask *ask;
	int r = ask_check_name(ctl, args[0]);

	if (r != 0)
		return r;
	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	r = show(ctl, ask, args[0], &json);
	json_deinit(&json);
	ask_free(ask);
	return r;
}
