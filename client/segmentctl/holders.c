/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Attachments, a row each, with what was seen of their processes; then the processes that have the memory and no attachment: it
 * was passed on to them, or they found it by its name or key. An attachment that outlives its session, and whose process does not
 * have it any more, is somebody else's by now, or nobody's that could be seen.
 */
#include "config.h"

#include "client/segmentctl/holders.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"

enum { ATTACHMENT, PID, USER, COMMAND, ACCESS, HOW, SINCE, CGROUP, CONTAINER, SESSION, NOTE, N_COLUMNS };

static const struct table_column columns[] = {
	[ATTACHMENT] = { "ATTACHMENT", TABLE_RIGHT, 3 },
	[PID] = { "PID", TABLE_RIGHT, 0 },
	[USER] = { "UID", TABLE_TRUNCATE, 0 },
	[COMMAND] = { "COMMAND", TABLE_TRUNCATE, 0 },
	[ACCESS] = { "ACCESS", 0, 0 },
	[HOW] = { "HOW", TABLE_HIDE_EMPTY, 0 },
	[SINCE] = { "SINCE", 0, 1 },
	[CGROUP] = { "CGROUP", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 4 },
	[CONTAINER] = { "CONTAINER", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 0 },
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

#define NOTE_SIZE	256

static size_t
add_note(char buf[NOTE_SIZE], size_t len, const char *note)
{
	int n = snprintf(buf + len, NOTE_SIZE - len, "%s%s", len ? "; " : "", note);

	return len + (size_t)n < NOTE_SIZE ? len + (size_t)n : len;
}

/* What is peculiar about a process. */
static size_t
note_process(char buf[NOTE_SIZE], size_t len, const struct protocol_process *process)
{
	char text[64];

	if (process->how & PROTOCOL_HAS_STOPPED)
		len = add_note(buf, len, "stopped");
	if (process->how & PROTOCOL_HAS_PID_NAMESPACE) {
		(void)snprintf(text, sizeof(text), process->inner_pid > 0 ? "pid %" PRId32 " in its namespace" :
		    "in another pid namespace", process->inner_pid);
		len = add_note(buf, len, text);
	}
	if (process->how & PROTOCOL_HAS_IPC_NAMESPACE && !(process->how & PROTOCOL_HAS_STAND_IN) && process->n_maps)
		len = add_note(buf, len, "in another IPC namespace, where the same id may be other memory");
	return len;
}

/* row: its process as it was seen, or NULL. */
static void
note_attachment(char buf[NOTE_SIZE], const struct holders *holders, const struct protocol_holder *holder,
    const struct processes_row *row)
{
	bool is_seen_elsewhere = !row && processes_are_complete(&holders->processes) &&
	    holder->since_ns <= holders->processes.told.looked_ns;
	size_t len = 0;

	buf[0] = '\0';
	if (holder->flags & PROTOCOL_HOLDER_UNSUPERVISED)
		len = add_note(buf, len, "unsupervised: mapped without a session");
	else if (holder->flags & PROTOCOL_HOLDER_UNMARKED)
		len = add_note(buf, len, "counted by its session");
	if (is_seen_elsewhere)
		len = add_note(buf, len, holder->flags & PROTOCOL_HOLDER_LIVES ? "not in its process: passed on, or in flight" :
		    "its process has ended: passed on, or in flight");
	if (row)
		(void)note_process(buf, len, &row->process);
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
	processes_deinit(&holders->processes);
	free(holders->owners);
}

/* What attachments' rows and others have in common. */
struct cells {
	char pid[TEXT_SIZE], user[TEXT_USER_SIZE + 16], since[TEXT_SIZE + 16], how[PROCESSES_HOW_SIZE], note[NOTE_SIZE];
};

static void
fill_cells(struct cells *cells, int32_t pid, uint32_t uid, const struct protocol_process *process)
{
	char name[TEXT_USER_SIZE];

	(void)snprintf(cells->pid, sizeof(cells->pid), pid > 0 ? "%" PRId32 : "-", pid);
	text_format_user(uid, name);
	(void)snprintf(cells->user, sizeof(cells->user), "%" PRIu32 " (%s)", uid, name);
	cells->how[0] = '\0';
	if (process)
		processes_format_how(process, cells->how);
}

static int
add_to_table(struct holders *holders, const struct protocol_holder *holder, const struct processes_row *row)
{
	const struct protocol_process *process = row ? &row->process : NULL;
	char attachment[TEXT_SIZE], session[TEXT_SIZE];
	struct cells cells;
	const char *texts[N_COLUMNS] = {
		[ATTACHMENT] = attachment, [PID] = cells.pid, [USER] = cells.user,
		[COMMAND] = process ? process->command : *holder->command ? holder->command : "-",
		[ACCESS] = access_name(holder->access), [HOW] = cells.how, [SINCE] = cells.since,
		[CGROUP] = process ? process->cgroup : holder->cgroup,
		[CONTAINER] = process ? process->container : holder->container,
		[SESSION] = holder->session ? session : "-", [NOTE] = cells.note,
	};

	fill_cells(&cells, holder->pid, holder->uid, process);
	(void)snprintf(attachment, sizeof(attachment), "%" PRIu32, holder->attachment);
	text_format_time(holder->since_ns, false, cells.since);
	(void)snprintf(session, sizeof(session), "%" PRIu64, holder->session);
	note_attachment(cells.note, holders, holder, row);
	return table_add_row(&holders->table, texts, NULL, 0);
}

/* A process without an attachment. It cannot have had the memory for longer than it is there. */
static int
add_process_to_table(struct holders *holders, const struct protocol_process *process)
{
	char started[TEXT_SIZE];
	struct cells cells;
	const char *texts[N_COLUMNS] = {
		[ATTACHMENT] = "-", [PID] = cells.pid, [USER] = cells.user, [COMMAND] = process->command, [ACCESS] = "-",
		[HOW] = cells.how, [SINCE] = cells.since, [CGROUP] = process->cgroup, [CONTAINER] = process->container,
		[SESSION] = "-", [NOTE] = cells.note,
	};

	fill_cells(&cells, process->pid, process->uid, process);
	text_format_time(process->started_ns, false, started);
	(void)snprintf(cells.since, sizeof(cells.since), "%s or later", started);
	(void)note_process(cells.note, add_note(cells.note, 0, "unsupervised: no attachment of its own"), process);
	return table_add_row(&holders->table, texts, NULL, 0);
}

/* What the kernel counts, and no process shows. */
static int
add_unseen_to_table(struct holders *holders)
{
	const struct processes *processes = &holders->processes;
	char note[NOTE_SIZE];
	const char *texts[N_COLUMNS] = {
		[ATTACHMENT] = "-", [PID] = "-", [USER] = "-", [COMMAND] = "-", [ACCESS] = "-", [HOW] = "", [SINCE] = "-",
		[CGROUP] = "", [CONTAINER] = "", [SESSION] = "-", [NOTE] = note,
	};

	(void)snprintf(note, sizeof(note), "%" PRIu32 " by the kernel's word: %s", processes->told.n_unseen,
	    processes_are_complete(processes) ? "in flight between processes, or in the kernel" : "names unknown");
	return table_add_row(&holders->table, texts, NULL, 0);
}

static void
add_attachment_to_json(struct holders *holders, const struct protocol_holder *holder, const struct processes_row *row)
{
	struct json *json = holders->json;
	char user[TEXT_USER_SIZE], since[TEXT_SIZE];

	text_format_user(holder->uid, user);
	text_format_time(holder->since_ns, true, since);
	json_open_object(json, NULL);
	json_add_number(json, "attachment", holder->attachment);
	json_add_number(json, "pid", holder->pid > 0 ? (uint64_t)holder->pid : 0);
	json_add_number(json, "uid", holder->uid);
	json_add_string(json, "user", user);
	json_add_string(json, "command", row ? row->process.command : holder->command);
	json_add_string(json, "access", access_name(holder->access));
	json_add_string(json, "since", since);
	json_add_number(json, "session", holder->session);
	json_add_bool(json, "unsupervised", holder->flags & PROTOCOL_HOLDER_UNSUPERVISED);
	json_add_bool(json, "unmarked", holder->flags & PROTOCOL_HOLDER_UNMARKED);
	if (holders->processes.was_asked) {
		json_add_bool(json, "lives", holder->flags & PROTOCOL_HOLDER_LIVES);
		json_add_bool(json, "seen", row);
	}
	if (row) {
		processes_add_members(json, &row->process);
	} else {
		json_add_string(json, "cgroup", holder->cgroup);
		json_add_string(json, "container", *holder->container ? holder->container : NULL);
	}
	json_close_object(json);
}

static void
add_process_to_json(struct holders *holders, const struct protocol_process *process)
{
	struct json *json = holders->json;
	char user[TEXT_USER_SIZE];

	text_format_user(process->uid, user);
	json_open_object(json, NULL);
	json_add_string(json, "attachment", NULL);
	json_add_number(json, "pid", (uint64_t)process->pid);
	json_add_number(json, "uid", process->uid);
	json_add_string(json, "user", user);
	json_add_string(json, "command", process->command);
	json_add_string(json, "access", NULL);
	json_add_string(json, "since", NULL);
	json_add_number(json, "session", 0);
	json_add_bool(json, "unsupervised", true);
	json_add_bool(json, "unmarked", false);
	json_add_bool(json, "lives", true);
	json_add_bool(json, "seen", true);
	processes_add_members(json, process);
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
	struct processes_row *process = NULL;

	if (!text_field_ends(row->command, sizeof(row->command)) || !text_field_ends(row->cgroup, sizeof(row->cgroup)) ||
	    !text_field_ends(row->container, sizeof(row->container)))
		return report_protocol(holders->ctl, "a text of a process has no end");
	if (remember(holders, row) < 0)
		return report_no_memory(holders->ctl);
	if (row->flags & PROTOCOL_HOLDER_LIVES)
		process = processes_find(&holders->processes, row->pid, row->since_ns);
	if (process)
		process->is_told = true;
	if (!holders->ctl->json)
		return add_to_table(holders, row, process) < 0 ? report_no_memory(holders->ctl) : 0;
	add_attachment_to_json(holders, row, process);
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

int
holders_collect_all(struct holders *holders, struct ask *ask, const char *name)
{
	const struct processes *processes = &holders->processes;
	int r = processes_ask(&holders->processes, ask, name);

	if (r == 0)
		r = holders_collect(holders, ask, name);
	for (size_t i = 0; r == 0 && i < processes->n; i++) {
		if (processes->rows[i].is_told)
			continue;
		if (holders->ctl->json)
			add_process_to_json(holders, &processes->rows[i].process);
		else if (add_process_to_table(holders, &processes->rows[i].process) < 0)
			r = report_no_memory(holders->ctl);
	}
	if (r == 0 && !holders->ctl->json && processes->told.n_unseen && add_unseen_to_table(holders) < 0)
		r = report_no_memory(holders->ctl);
	return r;
}

int32_t
holders_find_pid(const struct holders *holders, uint32_t attachment)
{
	for (size_t i = 0; i < holders->n_owners; i++)
		if (holders->owners[i].attachment == attachment)
			return holders->owners[i].pid;
	return 0;
}
