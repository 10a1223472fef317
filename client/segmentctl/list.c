/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `list`: a row a segment. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/row.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"

enum { NAME, STATE, BACKEND, SIZE, RESIDENT, LOCKED, PAGES, NUMA, ATTACHED, RECOVERIES, OWNER, MODE, N_COLUMNS };

static const struct table_column columns[] = {
	[NAME] = { "NAME", TABLE_TRUNCATE, 0 },
	[STATE] = { "STATE", 0, 0 },
	[BACKEND] = { "BACKEND", 0, 6 },
	[SIZE] = { "SIZE", TABLE_RIGHT, 0 },
	[RESIDENT] = { "RESIDENT", TABLE_RIGHT, 2 },
	[LOCKED] = { "LOCKED", TABLE_RIGHT, 4 },
	[PAGES] = { "PAGES", 0, 3 },
	[NUMA] = { "NUMA", 0, 7 },
	[ATTACHED] = { "ATTACHED", TABLE_RIGHT, 1 },
	[RECOVERIES] = { "RECOVERIES", TABLE_RIGHT, 5 },
	[OWNER] = { "OWNER", TABLE_TRUNCATE, 8 },
	[MODE] = { "MODE", 0, 9 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

struct list {
	const struct segmentctl *ctl;
	struct json json;
	struct table table;
};

static int
add_to_table(struct list *list, const struct protocol_segment *row)
{
	char state[ROW_STATE_SIZE], size[TEXT_SIZE], resident[TEXT_SIZE], locked[TEXT_SIZE];
	char attached[64], recoveries[TEXT_SIZE], owner[ROW_OWNER_SIZE], mode[ROW_MODE_SIZE];
	const char *page_size = row_page_size_had(row);
	const char *cells[N_COLUMNS] = {
		[NAME] = row->name, [STATE] = state, [BACKEND] = row_backend_name(row->backend),
		[SIZE] = size, [RESIDENT] = resident, [LOCKED] = locked, [PAGES] = page_size ? page_size : "-",
		[NUMA] = row_numa_name(row->numa), [ATTACHED] = attached, [RECOVERIES] = recoveries,
		[OWNER] = owner, [MODE] = mode,
	};

	row_format_state(row, state);
	text_format_size(row->size_bytes, size);
	text_format_size(row->resident_bytes, resident);
	text_format_size(row->locked_bytes, locked);
	(void)snprintf(attached, sizeof(attached), "%" PRIu64 " (%" PRIu32 "/%" PRIu32 ")",
	    (uint64_t)row->readers + row->writers, row->readers, row->writers);
	(void)snprintf(recoveries, sizeof(recoveries), "%" PRIu64, row->recoveries);
	row_format_owner(row, owner);
	row_format_mode(row, mode);
	return table_add_row(&list->table, cells, row_state_color(row), STATE);
}

static int
take_row(const void *data, void *arg)
{
	const struct protocol_segment *row = data;
	struct list *list = arg;

	if (!row_is_sound(row))
		return report_protocol(list->ctl, "a name has no end");
	if (!list->ctl->json)
		return add_to_table(list, row) < 0 ? report_no_memory(list->ctl) : 0;
	json_open_object(&list->json, NULL);
	row_add_members(&list->json, row);
	json_close_object(&list->json);
	return 0;
}

static int
print_segments(struct list *list, struct ask *ask)
{
	struct protocol_list request = { 0 };
	int r;

	if (list->ctl->json)
		json_open_array(&list->json, "segments");
	r = ask_rows(ask, PROTOCOL_LIST, &request, sizeof(request), sizeof(struct protocol_segment), take_row, list);
	if (r != 0)
		return r;
	if (!list->ctl->json)
		return report_output(list->ctl, table_print(&list->table));
	json_close_array(&list->json);
	return report_output(list->ctl, json_print(&list->json));
}

int
list_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct list list = { .ctl = ctl };
	struct ask *ask;
	int r;

	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	if (json_init(&list.json) < 0 || table_init(&list.table, columns, N_COLUMNS) < 0)
		r = report_no_memory(ctl);
	else
		r = print_segments(&list, ask);
	table_deinit(&list.table);
	json_deinit(&list.json);
	ask_free(ask);
	return r;
}
