/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a successor is told of a segment. It has a row from before it is ready until it is not any more: what is not ready yet is
 * made anew by who comes after us. What is always the case is not written again, as how many are attached: their own rows say so.
 */
#include "config.h"

#include <sys/stat.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/segment.h"

static const struct segment_past no_past;

static void
read_identity(int fd, uint64_t *ret_device, uint64_t *ret_inode)
{
	struct stat st;

	if (fstat(fd, &st))
		return;
	*ret_device = st.st_dev;
	*ret_inode = st.st_ino;
}

/* Of files, which may be on a disk that hangs, the record knows the same. */
static void
describe_objects(const struct holding *holding, const struct segment_past *past, struct ledger_segment *body)
{
	body->map_bytes = holding->object.map_bytes;
	body->page_bytes = holding->object.page_bytes;
	body->huge_bytes = holding->huge_bytes;
	body->locked_bytes = holding->locked_bytes;
	body->shm_id = holding->object.shm_id;
	if (past->data_inode) {
		body->data_device = past->data_device;
		body->data_inode = past->data_inode;
	} else if (!holding_may_wait(holding)) {
		read_identity(holding->object.fd, &body->data_device, &body->data_inode);
	}
	if (!holding->control)
		return;
	body->control_bytes = holding->control->object.map_bytes;
	body->control_device = past->control_device;
	body->control_inode = past->control_inode;
	if (!past->control_inode)
		read_identity(holding->control->object.fd, &body->control_device, &body->control_inode);
}

static void
describe_creation(const struct segment_creation *creation, struct ledger_segment *body)
{
	body->created_session = creation->session;
	body->created_serial = creation->serial;
	body->charged_bytes = creation->bytes_charge.amount;
	body->charged_uid = creation->bytes_charge.account ? creation->bytes_charge.account->uid : 0;
}

static void
segment_describe_row(const struct segment *segment, enum protocol_state state, const struct segment_past *past,
    struct ledger_segment *ret_body)
{
	*ret_body = (struct ledger_segment) {
		.generation = segment->generation,
		.cursor = segment->cursor,
		.grow_to_bytes = segment->grow_to_bytes,
		.state = state,
		.flags = (segment->is_declared ? LEDGER_SEGMENT_DECLARED : 0) |
		    (segment->was_attached ? LEDGER_SEGMENT_WAS_ATTACHED : 0) |
		    (segment->ids_wrapped ? LEDGER_SEGMENT_IDS_WRAPPED : 0) |
		    (segment->holding.is_elsewhere ? LEDGER_SEGMENT_ELSEWHERE : 0),
		.claim_id = segment->locks->claim_id,
		.last_id = segment->last_id,
		.n_readers = segment->n_readers,
		.n_writers = segment->n_writers,
	};
	describe_objects(&segment->holding, past, ret_body);
	if (segment->creation)
		describe_creation(segment->creation, ret_body);
}

static int
enter_row(struct segment *segment, enum protocol_state state, const struct segment_past *past)
{
	const struct ledger_texts texts = {
		.definition = segment->definition,
		.packed = past->packed,
		.n_packed = past->n_packed,
		.template_name = segment->creation ? (*segment->creation->template_)->name : NULL,
		.reason = segment->reason,
		.growth_reason = segment->growth_reason,
		.note = segment_file_note(segment),
		.node_bytes = segment->holding.node_bytes,
		.n_nodes = segment->holding.node_bytes ? segment->holding.n_nodes : 0,
	};
	struct ledger_segment body;

	if (!segment->host->ledger)
		return 0;
	segment_describe_row(segment, state, past, &body);
	return ledger_put_segment(segment->host->ledger, &segment->row, &body, &texts);
}

int
segment_enter_row(struct segment *segment, enum protocol_state state)
{
	return enter_row(segment, state, &no_past);
}

int
segment_enter_past_row(struct segment *segment, const struct segment_past *past)
{
	return enter_row(segment, past->state, past);
}

void
segment_rewrite_row(struct segment *segment, enum protocol_state state)
{
	struct ledger_segment body;

	if (!segment->host->ledger || !segment->row.entry.index)
		return;
	segment_describe_row(segment, state, &no_past, &body);
	/* The row has its room. */
	(void)ledger_put_segment(segment->host->ledger, &segment->row, &body, NULL);
}

/* Then it is ready all the same: nobody is to be sent away for what only a restart would need. */
void
segment_rewrite_texts(struct segment *segment)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const char *name = segment->definition->name;
	char text[FINDINGS_TEXT_SIZE];

	if (!segment->row.entry.index || segment_enter_row(segment, segment->state) == 0 || !log_allowed(&limit))
		return;
	log_write(MESSAGE_UNSAVED, &(struct log_about) { .segment = name }, "segment '%s' has changed, and a restart would take it over "
	    "as it was: %s", name, ledger_describe_error(segment->host->ledger, text, sizeof(text)));
}

void
segment_enter_lock(struct segment *segment, uint32_t index)
{
	struct lock *lock = &segment->locks->list[index];
	struct ledger_lock body;

	/* What has no row yet, or any more, has no locks that are anybody's. */
	if (!segment->row.entry.index)
		return;
	body = (struct ledger_lock) {
		.generation = segment->generation,
		.n_recoveries = lock->n_recoveries,
		.recovered_ns = lock->recovered_ns,
		.index = index,
		.recovered_pid = lock->recovered_pid,
		.flags = (lock->was_marked ? LEDGER_LOCK_WAS_MARKED : 0) | (lock->is_stuck ? LEDGER_LOCK_STUCK : 0),
		.marked_owner = lock->marked_owner,
	};
	/* A count: the lock is as free without it. */
	(void)ledger_put_lock(segment->host->ledger, &lock->row, &body);
}

void
segment_drop_row(struct segment *segment)
{
	struct ledger *ledger = segment->host->ledger;

	if (!segment->row.entry.index)
		return;
	for (uint32_t i = 0; i < segment->locks->n; i++)
		ledger_drop(ledger, &segment->locks->list[i].row);
	ledger_drop_segment(ledger, &segment->row);
}
