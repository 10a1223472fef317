/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Rows are made as they are sent: a page of them is copied, and nothing else. */
#include "config.h"

#include "base/base.h"
#include "daemon/who_answer.h"

#define ROWS_MAX	8192		/* of one answer */
#define ROWS_FIRST	8

static_assert(PROTOCOL_HAS_MAP_READ == AUDIT_MAPS_READ && PROTOCOL_HAS_MAP_WRITE == AUDIT_MAPS_WRITE &&
    PROTOCOL_HAS_FD_READ == AUDIT_FD_READ && PROTOCOL_HAS_FD_WRITE == AUDIT_FD_WRITE &&
    PROTOCOL_HAS_FD_PATH == AUDIT_FD_PATH && PROTOCOL_HAS_PID_NAMESPACE == AUDIT_IN_PID_NAMESPACE &&
    PROTOCOL_HAS_IPC_NAMESPACE == AUDIT_IN_IPC_NAMESPACE && PROTOCOL_HAS_STOPPED == AUDIT_STOPPED, "the same bits");

/* Of a process as such, and not of how it has an object. */
#define OF_PROCESS	(PROTOCOL_HAS_PID_NAMESPACE | PROTOCOL_HAS_IPC_NAMESPACE | PROTOCOL_HAS_STOPPED)

struct who_answer *
who_answer_new(void)
{
	struct who_answer *answer = calloc(1, sizeof(*answer));

	if (!answer)
		return NULL;
	answer->n_users = 1;
	return answer;
}

void
who_answer_clear(struct who_answer *answer)
{
	free(take_ptr(answer->rows));
	answer->text[0] = '\0';
	answer->n_rows = answer->rows_size = 0;
	if (answer->charge.account)
		(void)charge_resize(&answer->charge, 0);
}

void
who_answer_unref(struct who_answer *answer)
{
	if (!answer || --answer->n_users)
		return;
	who_answer_clear(answer);
	charge_deinit(&answer->charge);
	free(answer);
}

static size_t
who_answer_next_size(const struct who_answer *answer)
{
	if (answer->n_rows < answer->rows_size)
		return answer->rows_size;
	return max_u64(ROWS_FIRST, answer->rows_size * 2);
}

size_t
who_answer_next_bytes(const struct who_answer *answer)
{
	return who_answer_next_size(answer) * sizeof(*answer->rows);
}

/* Room for more, charged before it is there. 0, ACCOUNTS_E_LIMIT or -ENOMEM. */
static int
who_answer_grow(struct who_answer *answer)
{
	size_t size = who_answer_next_size(answer);
	struct protocol_process *rows;

	if (answer->n_rows == ROWS_MAX)
		return -ENOMEM;
	if (size == answer->rows_size)
		return 0;
	if (answer->charge.account && charge_resize(&answer->charge, size * sizeof(*rows)))
		return ACCOUNTS_E_LIMIT;
	rows = reallocarray(answer->rows, size, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	answer->rows = rows;
	answer->rows_size = size;
	return 0;
}

/* One more, zero but for its place. */
static struct protocol_process *
who_answer_add(struct who_answer *answer)
{
	answer->rows[answer->n_rows] = (struct protocol_process) { .cursor = answer->n_rows + 1 };
	return &answer->rows[answer->n_rows++];
}

static void
who_answer_describe(struct protocol_process *row, const struct audit_holder *holder)
{
	row->started_ns = holder->started_ns;
	row->pid = holder->pid;
	row->uid = holder->uid;
	row->inner_pid = holder->inner_pid;
	row->how = holder->how & OF_PROCESS;
	(void)snprintf(row->command, sizeof(row->command), "%s", holder->command);
	(void)snprintf(row->cgroup, sizeof(row->cgroup), "%s", holder->cgroup);
	(void)snprintf(row->container, sizeof(row->container), "%s", holder->container);
}

int
who_answer_take(struct who_answer *answer, enum protocol_object_kind kind, const struct audit_holder *holder)
{
	struct protocol_process *row = answer->n_rows ? &answer->rows[answer->n_rows - 1] : NULL;

	if (!row || row->pid != holder->pid) {
		int r = who_answer_grow(answer);

		if (r)
			return r;
		row = who_answer_add(answer);
		who_answer_describe(row, holder);
	}
	if (kind != PROTOCOL_OBJECT_DATA) {
		row->how |= kind == PROTOCOL_OBJECT_CONTROL ? PROTOCOL_HAS_CONTROL : PROTOCOL_HAS_STAND_IN;
		return 0;
	}
	row->how |= holder->how;
	row->n_maps = holder->n_maps;
	row->n_fds = holder->n_fds;
	row->mapped_bytes = holder->mapped_bytes;
	return 0;
}

bool
who_answer_has_holder(const struct who_answer *answer)
{
	for (size_t i = 0; i < answer->n_rows; i++)
		if (answer->rows[i].how & ~(OF_PROCESS | PROTOCOL_HAS_FD_PATH) || answer->rows[i].n_maps)
			return true;
	return false;
}

/* Nothing but the id says that it has ours. */
static bool
who_answer_is_doubtful(const struct protocol_process *row)
{
	return row->how & PROTOCOL_HAS_IPC_NAMESPACE && !(row->how & (PROTOCOL_HAS_STAND_IN | PROTOCOL_HAS_CONTROL)) && row->n_maps;
}

void
who_answer_drop_doubtful(struct who_answer *answer)
{
	size_t n = 0;

	for (size_t i = 0; i < answer->n_rows; i++) {
		if (who_answer_is_doubtful(&answer->rows[i]))
			continue;
		if (n != i) {
			answer->rows[n] = answer->rows[i];
			answer->rows[n].cursor = n + 1;
		}
		n++;
	}
	answer->n_rows = n;
}
