/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who is looked up by a pid was named by the daemon while that process lived; it has had that pid since it attached at least. So
 * a process that was seen with it after that is the same.
 */
#include "config.h"

#include "client/segmentctl/processes.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"

struct processes_row *
processes_add(struct processes *processes)
{
	if (processes->n == processes->size) {
		size_t size = max_u64(16, processes->size * 2);
		struct processes_row *rows = reallocarray(processes->rows, size, sizeof(*rows));

		if (!rows)
			return NULL;
		processes->rows = rows;
		processes->size = size;
	}
	return &processes->rows[processes->n++];
}

struct taking {
	const struct segmentctl *ctl;
	struct processes *processes;
};

static int
take_row(const void *data, void *arg)
{
	const struct protocol_process *process = data;
	const struct taking *taking = arg;
	struct processes_row *row;

	if (!text_field_ends(process->command, sizeof(process->command)) ||
	    !text_field_ends(process->cgroup, sizeof(process->cgroup)) ||
	    !text_field_ends(process->container, sizeof(process->container)))
		return report_protocol(taking->ctl, "a text of a process has no end");
	row = processes_add(taking->processes);
	if (!row)
		return report_no_memory(taking->ctl);
	*row = (struct processes_row){ .process = *process };
	return 0;
}

/* Nothing is known, and why. */
static int
take_refusal(struct processes *processes, struct ask *ask)
{
	processes->told = (struct protocol_told){ .flags = PROTOCOL_TOLD_FAILED };
	processes->text = strdup(ask->connection.error);
	return processes->text ? 0 : report_no_memory(ask->ctl);
}

/* Rows of so many bytes at offset, as an array of their own. NULL: they are not there as said, or memory is short. */
static void *
take_array(const struct ask *ask, size_t *offset, uint32_t n, size_t row_size)
{
	size_t left = ask->reply_bytes - *offset, size = n * row_size;
	void *array = n <= left / row_size ? malloc(max_u64(size, 1)) : NULL;

	if (!array)
		return NULL;
	memcpy(array, ask->reply.bytes + *offset, size);
	*offset += size;
	return array;
}

static int
take_told(struct processes *processes, const struct ask *ask)
{
	size_t at = sizeof(processes->told);
	const char *text;

	processes->told = ask->reply.told;
	processes->objects = take_array(ask, &at, processes->told.n_objects, sizeof(*processes->objects));
	processes->pids = processes->objects ? take_array(ask, &at, processes->told.n_pids, sizeof(*processes->pids)) : NULL;
	text = processes->pids ? ask_text(ask, at, processes->told.text_len) : NULL;
	if (!text)
		return report_protocol(ask->ctl, "a text is not as long as it says");
	processes->text = strdup(text);
	return processes->text ? 0 : report_no_memory(ask->ctl);
}

static int
ask_once(struct processes *processes, struct ask *ask, const char *name)
{
	struct taking taking = { ask->ctl, processes };
	struct protocol_who request = { 0 };
	struct protocol_who_rows rows = { 0 };
	int r;

	ask_set_name(request.name, name);
	r = ask_look(ask, PROTOCOL_WHO, &request.header, sizeof(request), sizeof(struct protocol_told));
	if (r == -EOPNOTSUPP || r == -EBUSY || r == -ENOMEM)
		return take_refusal(processes, ask);
	r = r < 0 ? ask_report(ask, r) : take_told(processes, ask);
	if (r == 0 && processes->told.n_rows)
		r = ask_rows(ask, PROTOCOL_WHO_ROWS, &rows, sizeof(rows), sizeof(struct protocol_process), take_row, &taking);
	return r;
}

int
processes_ask(struct processes *processes, struct ask *ask, const char *name)
{
	int r;

	/* What was looked for is the daemon's as long as that lives. */
	for (unsigned i = 0; i == 0 || (r == 0 && ask->is_forgotten); i++) {
		processes_deinit(processes);
		processes->was_asked = true;
		ask->is_forgotten = false;
		if (i == ASK_RESTARTS_MAX)
			return report_protocol(ask->ctl, "it has forgotten what was asked, again and again");
		r = ask_once(processes, ask, name);
	}
	if (r == 0 && (processes->told.n_hidden || processes->told.flags & PROTOCOL_TOLD_FAILED) && processes_look(processes) < 0)
		r = report_no_memory(ask->ctl);
	return r;
}

void
processes_deinit(struct processes *processes)
{
	free(processes->text);
	free(processes->objects);
	free(processes->pids);
	free(processes->rows);
	*processes = (struct processes)PROCESSES_NULL;
}

struct processes_row *
processes_find(struct processes *processes, int32_t pid, uint64_t since_ns)
{
	if (pid <= 0 || since_ns > processes->told.looked_ns || processes->told.flags & PROTOCOL_TOLD_OTHER_PIDS)
		return NULL;
	for (size_t i = 0; i < processes->n; i++)
		if (processes->rows[i].process.pid == pid)
			return &processes->rows[i];
	return NULL;
}

bool
processes_are_complete(const struct processes *processes)
{
	return processes->was_asked && processes->told.n_hidden == 0 &&
	    !(processes->told.flags & (PROTOCOL_TOLD_FAILED | PROTOCOL_TOLD_INCOMPLETE | PROTOCOL_TOLD_OTHER_PIDS));
}

/* "r", "rw", "w" or "-". */
static const char *
bits_name(bool reads, bool writes)
{
	return writes ? reads ? "rw" : "w" : reads ? "r" : "-";
}

static size_t
add_how(char buf[PROCESSES_HOW_SIZE], size_t len, const char *what, const char *bits, uint32_t n)
{
	char times[16] = "";

	if (n > 1)
		(void)snprintf(times, sizeof(times), " x%" PRIu32, n);
	return len + (size_t)snprintf(buf + len, PROCESSES_HOW_SIZE - len, "%s%s%s%s%s", len ? ", " : "", what, *bits ? " " : "",
	    bits, times);
}

void
processes_format_how(const struct protocol_process *process, char buf[PROCESSES_HOW_SIZE])
{
	uint32_t how = process->how;
	size_t len = 0;

	buf[0] = '\0';
	if (process->n_maps)
		len = add_how(buf, len, "map", bits_name(how & PROTOCOL_HAS_MAP_READ, how & PROTOCOL_HAS_MAP_WRITE),
		    process->n_maps);
	if (how & (PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_FD_WRITE))
		len = add_how(buf, len, "fd", bits_name(how & PROTOCOL_HAS_FD_READ, how & PROTOCOL_HAS_FD_WRITE), process->n_fds);
	if (!len && how & PROTOCOL_HAS_FD_PATH)
		len = add_how(buf, len, "path", "", process->n_fds);
	if (!len && how & PROTOCOL_HAS_STAND_IN)
		len = add_how(buf, len, "mark", "", 1);
	if (!len && how & PROTOCOL_HAS_CONTROL)
		(void)add_how(buf, len, "locks", "", 1);
}

void
processes_add_members(struct json *json, const struct protocol_process *process)
{
	char started[TEXT_SIZE];
	uint32_t how = process->how;

	text_format_time(process->started_ns, true, started);
	json_add_string(json, "started", process->started_ns ? started : NULL);
	json_add_number(json, "maps", process->n_maps);
	json_add_string(json, "map_access",
	    process->n_maps ? bits_name(how & PROTOCOL_HAS_MAP_READ, how & PROTOCOL_HAS_MAP_WRITE) : NULL);
	json_add_number(json, "mapped_bytes", process->mapped_bytes);
	json_add_number(json, "fds", process->n_fds);
	json_add_string(json, "fd_access", how & (PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_FD_WRITE) ?
	    bits_name(how & PROTOCOL_HAS_FD_READ, how & PROTOCOL_HAS_FD_WRITE) : NULL);
	json_add_bool(json, "fd_path_only", how & PROTOCOL_HAS_FD_PATH && !(how & (PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_FD_WRITE)));
	json_add_bool(json, "has_locks", how & PROTOCOL_HAS_CONTROL);
	json_add_string(json, "cgroup", process->cgroup);
	json_add_string(json, "container", *process->container ? process->container : NULL);
	json_add_number(json, "inner_pid", process->inner_pid > 0 ? (uint64_t)process->inner_pid : 0);
	json_add_bool(json, "other_pid_namespace", how & PROTOCOL_HAS_PID_NAMESPACE);
	json_add_bool(json, "other_ipc_namespace", how & PROTOCOL_HAS_IPC_NAMESPACE);
	json_add_bool(json, "stopped", how & PROTOCOL_HAS_STOPPED);
}

void
processes_add_look(const struct processes *processes, struct json *json)
{
	const struct protocol_told *told = &processes->told;
	char when[TEXT_SIZE];

	text_format_time(told->looked_ns, true, when);
	json_open_object(json, "look");
	json_add_string(json, "time", told->looked_ns ? when : NULL);
	json_add_bool(json, "failed", told->flags & PROTOCOL_TOLD_FAILED);
	json_add_bool(json, "complete", processes_are_complete(processes));
	json_add_bool(json, "other_pids", told->flags & PROTOCOL_TOLD_OTHER_PIDS);
	json_add_number(json, "processes", told->n_seen);
	json_add_number(json, "hidden", told->n_hidden);
	json_add_number(json, "unseen", told->n_unseen);
	json_add_string(json, "text", processes->text && *processes->text ? processes->text : NULL);
	json_close_object(json);
}

void
processes_print_unknown(const struct processes *processes)
{
	const struct protocol_told *told = &processes->told;
	const char *text = processes->text ? processes->text : "";

	if (told->flags & PROTOCOL_TOLD_FAILED || told->n_hidden) {
		bool is_certain = told->n_unseen || told->flags & PROTOCOL_TOLD_FAILED;

		printf("%snames unknown: ", is_certain ? "" : "others may have it, ");
		if (*text)
			text_put_escaped(stdout, text);
		else
			printf("%" PRIu32 " processes could not be looked into", told->n_hidden);
		putchar('\n');
	}
	if (told->flags & PROTOCOL_TOLD_INCOMPLETE)
		puts("there may be more: not all could be looked at in time, or told");
	if (told->flags & PROTOCOL_TOLD_OTHER_PIDS)
		puts("their pids are those of segmentd-audit's pid namespace, which is not the daemon's");
}
