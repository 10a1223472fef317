/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `clients`: a row a session. A client chooses its command's name: it is escaped like everything that is not ours. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"

enum { SESSION, PID, USER, COMMAND, ATTACHMENTS, REQUESTS, SINCE, CGROUP, CONTAINER, N_COLUMNS };

static const struct table_column columns[] = {
	[SESSION] = { "SESSION", TABLE_RIGHT, 0 },
	[PID] = { "PID", TABLE_RIGHT, 0 },
	[USER] = { "USER", TABLE_TRUNCATE, 0 },
	[COMMAND] = { "COMMAND", TABLE_TRUNCATE, 0 },
	[ATTACHMENTS] = { "ATTACHMENTS", TABLE_RIGHT, 1 },
	[REQUESTS] = { "REQUESTS", TABLE_RIGHT, 3 },
	[SINCE] = { "SINCE", 0, 2 },
	[CGROUP] = { "CGROUP", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 4 },
	[CONTAINER] = { "CONTAINER", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 0 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

struct sessions {
	const struct segmentctl *ctl;
	struct json json;
	struct table table;
};

static int
add_to_table(struct sessions *sessions, const struct protocol_client *row)
{
	char session[TEXT_SIZE], pid[TEXT_SIZE], user[TEXT_USER_SIZE], attachments[TEXT_SIZE];
	char requests[TEXT_SIZE], since[TEXT_SIZE];
	const char *cells[N_COLUMNS] = {
		[SESSION] = session, [PID] = row->pid > 0 ? pid : "-", [USER] = user,
		[COMMAND] = *row->command ? row->command : "-", [ATTACHMENTS] = attachments,
		[REQUESTS] = requests, [SINCE] = since, [CGROUP] = row->cgroup, [CONTAINER] = row->container,
	};

	(void)snprintf(session, sizeof(session), "%" PRIu64, row->cursor);
	(void)snprintf(pid, sizeof(pid), "%" PRId32, row->pid);
	text_format_user(row->uid, user);
	(void)snprintf(attachments, sizeof(attachments), "%" PRIu32, row->attachments);
	(void)snprintf(requests, sizeof(requests), "%" PRIu64, row->requests);
	text_format_time(row->since_ns, false, since);
	return table_add_row(&sessions->table, cells, NULL, 0);
}

static void
add_to_json(struct json *json, const struct protocol_client *row)
{
	char user[TEXT_USER_SIZE], since[TEXT_SIZE];

	text_format_user(row->uid, user);
	text_format_time(row->since_ns, true, since);
	json_open_object(json, NULL);
	json_add_number(json, "session", row->cursor);
	json_add_number(json, "pid", row->pid > 0 ? (uint64_t)row->pid : 0);
	json_add_number(json, "uid", row->uid);
	json_add_string(json, "user", user);
	json_add_number(json, "gid", row->gid);
	json_add_string(json, "command", row->command);
	json_add_number(json, "attachments", row->attachments);
	json_add_number(json, "requests", row->requests);
	json_add_string(json, "since", since);
	json_add_string(json, "cgroup", row->cgroup);
	json_add_string(json, "container", *row->container ? row->container : NULL);
	json_close_object(json);
}

static int
take_row(const void *data, void *arg)
{
	const struct protocol_client *row = data;
	struct sessions *sessions = arg;

	if (!text_field_ends(row->command, sizeof(row->command)) || !text_field_ends(row->cgroup, sizeof(row->cgroup)) ||
	    !text_field_ends(row->container, sizeof(row->container)))
		return report_protocol(sessions->ctl, "a text of a process has no end");
	if (!sessions->ctl->json)
		return add_to_table(sessions, row) < 0 ? report_no_memory(sessions->ctl) : 0;
	add_to_json(&sessions->json, row);
	return 0;
}

static int
print_clients(struct sessions *sessions, struct ask *ask)
{
	struct protocol_clients request = { 0 };
	int r;

	if (sessions->ctl->json)
		json_open_array(&sessions->json, "clients");
	r = ask_rows(ask, PROTOCOL_CLIENTS, &request, sizeof(request), sizeof(struct protocol_client), take_row, sessions);
	if (r != 0)
		return r;
	if (!sessions->ctl->json)
		return report_output(sessions->ctl, table_print(&sessions->table));
	json_close_array(&sessions->json);
	return report_output(sessions->ctl, json_print(&sessions->json));
}

int
clients_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct sessions sessions = { .ctl = ctl };
	struct ask *ask;
	int r;

	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	if (json_init(&sessions.json) < 0 || table_init(&sessions.table, columns, N_COLUMNS) < 0)
		r = report_no_memory(ctl);
	else
		r = print_clients(&sessions, ask);
	table_deinit(&sessions.table);
	json_deinit(&sessions.json);
	ask_free(ask);
	return r;
}
