/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The caller may be who may look where the daemon must not: root, or the user whose processes they are. What the daemon has told of
 * its segment, by which the kernel knows it, is looked for once more then. Only where pids, and ids of System V memory, are
 * the daemon's: what they say elsewhere is of others.
 */
#include "config.h"

#include "base/base.h"
#include "client/segmentctl/auditing.h"
#include "client/segmentctl/processes.h"
#include "host/audit.h"
#include "host/process.h"
#include "host/sysv.h"

#define OBJECTS_MAX	8

struct look {
	struct processes own;		/* what is seen by it */
	const struct processes *told;
	struct audit_object objects[OBJECTS_MAX];
	uint32_t kinds[OBJECTS_MAX];
	uint32_t n;
	uint64_t n_maps;		/* of System V data, the daemon's processes' left out but for its workers' */
	struct audit_answer end;
};

static bool
is_daemons(const struct look *look, int32_t pid)
{
	for (uint32_t i = 0; i < look->told->told.n_pids; i++)
		if (look->told->pids[i] == pid)
			return true;
	return false;
}

static void
describe(struct protocol_process *process, const struct audit_holder *holder)
{
	process->started_ns = holder->started_ns;
	process->pid = holder->pid;
	process->uid = holder->uid;
	process->inner_pid = holder->inner_pid;
	process->how = holder->how & (PROTOCOL_HAS_PID_NAMESPACE | PROTOCOL_HAS_IPC_NAMESPACE | PROTOCOL_HAS_STOPPED);
	(void)snprintf(process->command, sizeof(process->command), "%s", holder->command);
	(void)snprintf(process->cgroup, sizeof(process->cgroup), "%s", holder->cgroup);
	(void)snprintf(process->container, sizeof(process->container), "%s", holder->container);
}

/* A process and one of the objects; what it has of the others comes right before or after it. */
static int
take_holder(const void *data, void *arg)
{
	const struct audit_holder *holder = data;
	struct look *look = arg;
	struct processes *own = &look->own;
	struct processes_row *row = own->n ? &own->rows[own->n - 1] : NULL;

	if (is_daemons(look, holder->pid) || holder->pid == getpid())
		return 0;
	if (!row || row->process.pid != holder->pid) {
		row = processes_add(own);
		if (!row)
			return -ENOMEM;
		*row = (struct processes_row){ 0 };
		describe(&row->process, holder);
	}
	if (look->kinds[holder->object] != PROTOCOL_OBJECT_DATA) {
		row->process.how |= look->kinds[holder->object] == PROTOCOL_OBJECT_CONTROL ? PROTOCOL_HAS_CONTROL :
		    PROTOCOL_HAS_STAND_IN;
		return 0;
	}
	row->process.how |= holder->how;
	row->process.n_maps = holder->n_maps;
	row->process.n_fds = holder->n_fds;
	row->process.mapped_bytes = holder->mapped_bytes;
	if (!(holder->how & AUDIT_IN_IPC_NAMESPACE))
		look->n_maps += holder->n_maps;
	return 0;
}

/* What can be looked for from here. */
static void
choose_objects(struct look *look)
{
	const struct protocol_told *told = &look->told->told;

	if (!told->pid_namespace || told->pid_namespace != process_own_pid_namespace() ||
	    told->flags & PROTOCOL_TOLD_OTHER_PIDS)
		return;
	for (uint32_t i = 0; i < told->n_objects && look->n < OBJECTS_MAX; i++) {
		const struct protocol_object *object = &look->told->objects[i];

		if (object->shm_id >= 0 && told->ipc_namespace != sysv_namespace())
			continue;
		look->kinds[look->n] = object->kind;
		look->objects[look->n++] = (struct audit_object){
			.device = object->device, .inode = object->inode, .shm_id = object->shm_id,
		};
	}
}

/* 0, or a negative errno: nothing more is known. */
static int
ask_audit(struct look *look)
{
	struct audit_question question = {
		.version = AUDIT_VERSION, .kind = AUDIT_WHO, .serial = 1, .n_rows = look->n,
	};
	pid_t pid;
	int fd, r;

	look->own.told.looked_ns = clock_realtime_ns();
	fd = audit_open(auditing_socket(), &pid);
	if (fd < 0)
		return fd;
	r = audit_ask(fd, &question, look->objects, take_holder, look, &look->end);
	audit_close(fd, pid);
	return r < 0 ? r : look->end.result;
}

/* What the daemon has seen, and we have not. */
static int
add_daemons(struct look *look)
{
	for (size_t i = 0; i < look->told->n; i++) {
		const struct protocol_process *process = &look->told->rows[i].process;
		struct processes_row *row = NULL;
		bool is_seen = false;

		for (size_t j = 0; j < look->own.n && !is_seen; j++)
			is_seen = look->own.rows[j].process.pid == process->pid;
		if (is_seen)
			continue;
		row = processes_add(&look->own);
		if (!row)
			return -ENOMEM;
		*row = (struct processes_row){ .process = *process };
	}
	return 0;
}

/* Ours takes the place of what was known; the daemon's counts are what it is held against. */
static int
take_over(struct look *look, struct processes *processes)
{
	struct protocol_told *told = &processes->told;
	char *text = strdup(look->end.text);
	int r = text ? add_daemons(look) : -ENOMEM;

	if (r < 0) {
		free(text);
		return r;
	}
	free(processes->text);
	free(processes->rows);
	processes->text = text;
	processes->rows = take_ptr(look->own.rows);
	processes->n = look->own.n;
	processes->size = look->own.size;
	told->looked_ns = look->own.told.looked_ns;
	told->n_seen = look->end.n_seen;
	told->n_hidden = look->end.n_hidden;
	told->flags &= ~(PROTOCOL_TOLD_FAILED | PROTOCOL_TOLD_INCOMPLETE);
	told->flags |= look->end.flags & AUDIT_INCOMPLETE ? PROTOCOL_TOLD_INCOMPLETE : 0;
	if (told->counted != PROTOCOL_TOLD_UNCOUNTED)
		told->n_unseen = (uint32_t)(told->counted - min_u64(told->counted, look->n_maps));
	else if (look->own.n)
		told->n_unseen = 0;
	return 0;
}

int
processes_look(struct processes *processes)
{
	struct look look = { .own = PROCESSES_NULL, .told = processes };
	int r = 0;

	choose_objects(&look);
	if (!look.n)
		return 0;
	r = ask_audit(&look);
	if (r == 0 && (processes->told.flags & PROTOCOL_TOLD_FAILED || look.end.n_hidden < processes->told.n_hidden))
		r = take_over(&look, processes);
	free(look.own.rows);
	return r == -ENOMEM ? r : 0;
}
