/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Attachments, a row each. What outlives its session is marked: nobody but the kernel knows who maps it. */
#include "config.h"

#include "client/segmentctl/holders.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"

enum { ATTACHMENT, PID, USER, COMMAND, ACCESS, SINCE, SESSION, NOTE, N_COLUMNS };

static const struct table_column columns[] = {
	[ATTACHMENT] = { "ATTACHMENT", TABLE_RIGHT, 3 },
	[PID] = { "PID", TABLE_RIGHT, 0 },
	[USER] = { "UID", TABLE_TRUNCATE, 0 },
	[COMMAND] = { "COMMAND", TABLE_TRUNCATE, 0 },
	[ACCESS] = { "ACCESS", 0, 0 },
	[SINCE] = { "SINCE", 0, 1 },
	[SESSION] = { "SESSION", TABLE_RIGHT, 2 },
	[NOTE] = { "NOTE", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 0 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

static const char *
access_name(uint32_t access)
{
	if (access & PROTOCOL_ACCESS_WRITE)
		return "write";
	return access & PROTOCOL_ACCESS_READ ? "read" : "unknown";
}

static const char *
note_of(uint32_t flags)
{
	if (flags & PROTOCOL_HOLDER_UNSUPERVISED)
		return "unsupervised: mapped without a session";
	return flags & PROTOCOL_HOLDER_UNMARKED ? "counted by its session" : "";
}

int
holders_init(struct holders *holders, const struct segmentctl *ctl, struct json *json)
{
	*holders = (struct holders){ .ctl = ctl, .json = json };
	return table_init(&holders->table, columns, N_COLUMNS);
}

void
holders_deinit(struct holders *holders)
{
	table_deinit(&holders->table);
	free(holders->owners);
}

static int
add_to_table(struct holders *holders, const struct protocol_holder *row)
{
	char attachment[TEXT_SIZE], pid[TEXT_SIZE], name[TEXT_USER_SIZE], user[TEXT_USER_SIZE + 16];
	char since[TEXT_SIZE], session[TEXT_SIZE];
	const char *cells[N_COLUMNS] = {
		[ATTACHMENT] = attachment, [PID] = row->pid > 0 ? pid : "-", [USER] = user,
		[COMMAND] = *row->command ? row->command : "-", [ACCESS] = access_name(row->access),
		[SINCE] = since, [SESSION] = row->session ? session : "-", [NOTE] = note_of(row->flags),
	};

	(void)snprintf(attachment, sizeof(attachment), "%" PRIu32, row->attachment);
	(void)snprintf(pid, sizeof(pid), "%" PRId32, row->pid);
	text_format_user(row->uid, name);
	(void)snprintf(user, sizeof(user), "%" PRIu32 " (%s)", row->uid, name);
	text_format_time(row->since_ns, false, since);
	(void)snprintf(session, sizeof(session), "%" PRIu64, row->session);
	return table_add_row(&holders->table, cells, NULL, 0);
}

static void
add_to_json(struct json *json, const struct protocol_holder *row)
{
	char user[TEXT_USER_SIZE], since[TEXT_SIZE];

	text_format_user(row->uid, user);
	text_format_time(row->since_ns, true, since);
	json_open_object(json, NULL);
	json_add_number(json, "attachment", row->attachment);
	json_add_number(json, "pid", row->pid > 0 ? (uint64_t)row->pid : 0);
	json_add_number(json, "uid", row->uid);
	json_add_string(json, "user", user);
	json_add_string(json, "command", row->command);
	json_add_string(json, "access", access_name(row->access));
	json_add_string(json, "since", since);
	json_add_number(json, "session", row->session);
	json_add_bool(json, "unsupervised", row->flags & PROTOCOL_HOLDER_UNSUPERVISED);
	json_add_bool(json, "unmarked", row->flags & PROTOCOL_HOLDER_UNMARKED);
	json_close_object(json);
}

static int
remember(struct holders *holders, const struct protocol_holder *row)
{
	if (holders->n_owners == holders->owners_size) {
		size_t size = max_u64(16, holders->owners_size * 2);
		struct holders_owner *owners = reallocarray(holders->owners, size, sizeof(*owners));

		if (!owners)
			return -ENOMEM;
		holders->owners = owners;
		holders->owners_size = size;
	}
	holders->owners[holders->n_owners++] = (struct holders_owner){ row->attachment, row->pid };
	return 0;
}

static int
take_row(const void *data, void *arg)
{
	const struct protocol_holder *row = data;
	struct holders *holders = arg;

	if (!text_field_ends(row->command, sizeof(row->command)))
		return report_protocol(holders->ctl, "a command's name has no end");
	if (remember(holders, row) < 0)
		return report_no_memory(holders->ctl);
	if (!holders->ctl->json)
		return add_to_table(holders, row) < 0 ? report_no_memory(holders->ctl) : 0;
	add_to_json(holders->json, row);
	return 0;
}

int
holders_collect(struct holders *holders, struct ask *ask, const char *name)
{
	struct protocol_holders request = { 0 };

	ask_set_name(request.name, name);
	return ask_rows(ask, PROTOCOL_HOLDERS, &request, sizeof(request), sizeof(struct protocol_holder), take_row,
	    holders);
}

int32_t
holders_find_pid(const struct holders *holders, uint32_t attachment)
{
	for (size_t i = 0; i < holders->n_owners; i++)
		if (holders->owners[i].attachment == attachment)
			return holders->owners[i].pid;
	return 0;
}
