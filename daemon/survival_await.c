/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * An awaited segment is declared, with the number that its holders know, and its rows are kept for a successor, in case that we are
 * killed meanwhile. What comes back is believed for what the kernel says of it: sealed memory of our own uid, of the size and inode
 * that the ledger has. A client cannot make such an object, whatever it does: inodes of memory are of the kernel's own mount, and are
 * not given twice before the machine is started anew.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>

#include "base/base.h"
#include "conf/units.h"
#include "daemon/log.h"
#include "daemon/procfd.h"
#include "daemon/survival_await.h"
#include "daemon/survival_steps.h"
#include "daemon/survival_tell.h"
#include "daemon/timer.h"
#include "host/process.h"

#define AWAIT_STEP_NS	(NS_PER_SEC / 4)
#define AWAIT_STEPS	12		/* no more, where it is so long: the daemon may be idle meanwhile */

static bool
await_process_lives(const struct ledger_attachment *row)
{
	if (row->pid <= 0)
		return false;
	return row->process ? process_lives(row->pid, row->process) : kill(row->pid, 0) == 0 || errno == EPERM;
}

/* Who has it, and will have to connect anew; or NULL. */
static const struct ledger_attachment *
await_find_holder(const struct past *past, uint64_t generation)
{
	const struct past_attachment *end = past_attachments_end(past);

	for (const struct past_attachment *at = past_first_attachment(past, generation);
	    at && at < end && at->row.generation == generation; at++)
		if (!past_find_fd(past, BOX_SESSION, at->row.session) && await_process_lives(&at->row))
			return &at->row;
	return NULL;
}

static bool
await_can(const struct past_segment *past)
{
	unsigned backend = past->definition->backend;

	return past->row.state == PROTOCOL_READY && backend_has(backend, BACKEND_SEALED | BACKEND_FD) &&
	    !backend_has(backend, BACKEND_NAMED) && !backend_has(backend, BACKEND_DURABLE) && past->row.data_inode &&
	    (!past->row.control_bytes || past->row.control_inode);
}

/* What a successor would need. That it would not be told is no reason to do less now. */
static void
await_keep_rows(struct survival *survival, struct past_segment *past, struct segment *segment)
{
	const struct ledger_texts texts = { .definition = past->definition, .template_name = past->template_name };
	struct past_attachment *end = past_attachments_end(survival->past);

	(void)ledger_put_segment(&survival->ledger, &segment->row, &past->row, &texts);
	for (struct past_attachment *at = past_first_attachment(survival->past, past->row.generation);
	    at && at < end && at->row.generation == past->row.generation; at++)
		(void)ledger_put_attachment(&survival->ledger, &at->kept, &at->row);
}

static void
await_drop_rows(struct survival *survival, uint64_t generation)
{
	struct past_attachment *end = past_attachments_end(survival->past);

	for (struct past_attachment *at = past_first_attachment(survival->past, generation);
	    at && at < end && at->row.generation == generation; at++)
		ledger_drop(&survival->ledger, &at->kept);
}

int
survival_await(struct survival *survival, struct past_segment *past)
{
	const struct ledger_attachment *holder = await_can(past) ?
	    await_find_holder(survival->past, past->row.generation) : NULL;
	struct segment *segment;
	char reason[160], time[32];
	int r;

	if (!holder || !survival->await_ms)
		return SURVIVAL_E_NOBODY;
	r = survival_register(survival, past, &segment);
	if (r)
		return r;
	(void)snprintf(reason, sizeof(reason), "waits for its memory, which was lost with the segmentd before and which pid %d has, "
	    "until that one calls, %s at most", holder->pid, units_format_time(time, sizeof(time), survival->await_ms));
	segment->is_awaited = past->awaits_memory = true;
	past->data_fd = past->control_fd = -1;
	segment_set_reason(segment, reason);
	await_keep_rows(survival, past, segment);
	survival->n_awaited++;
	return 0;
}

/* The segment, while it is still awaited: it may have been removed, or made anew. */
static struct segment *
await_segment(const struct survival *survival, const struct past_segment *past)
{
	struct segment *segment = past->awaits_memory ? registry_find(survival->registry, past->definition->name) : NULL;

	return segment && segment->is_awaited && segment->generation == past->row.generation ? segment : NULL;
}

/* It has its memory, or will not have it. */
static void
await_end(struct survival *survival, struct past_segment *past)
{
	past->awaits_memory = false;
	close_fd(&past->data_fd);
	close_fd(&past->control_fd);
	await_drop_rows(survival, past->row.generation);
}

/* Nobody has brought it. Its number was its memory's, which others may still have. */
static void
await_give_up(struct survival *survival, struct segment *segment)
{
	survival_tell("segment '%s': nobody has brought its memory back in time: what was in it is lost to new clients, and "
	    "who still has it is told so (ESTALE)%s", segment->definition->name,
	    segment->is_declared ? "; it is made anew" : "");
	segment->is_awaited = false;
	segment_set_reason(segment, NULL);
	segment_drop_row(segment);
	if (!segment->is_declared) {
		segment_remove(segment, true);
		return;
	}
	segment->generation = registry_next_generation(survival->registry);
	segment_start(segment);
}

static void
survival_give_up(struct survival *survival)
{
	struct past *past = survival->past;

	for (size_t i = 0; i < past->n_segments; i++) {
		struct segment *segment = await_segment(survival, &past->segments[i]);

		if (!past->segments[i].awaits_memory)
			continue;
		await_end(survival, &past->segments[i]);
		if (segment)
			await_give_up(survival, segment);
	}
	survival->past = past_free(past);
}

static void
survival_on_await(evutil_socket_t fd, short what, void *arg)
{
	struct survival *survival = arg;

	if (timer_is_over(&survival->await_event, &survival->await))
		survival_give_up(survival);
}

bool
survival_await_begin(struct survival *survival)
{
	if (!survival->n_awaited)
		return false;
	(void)evtimer_assign(&survival->await_event, survival->base, survival_on_await, survival);
	survival->awaits = true;
	survival_set_await(survival, survival->await_ms);
	return true;
}

void
survival_set_await(struct survival *survival, uint64_t ms)
{
	uint64_t ns = ms * NS_PER_MS, was_ns = 0;

	if (survival->await.step_ns) {
		(void)allotment_look(&survival->await);
		was_ns = survival->await_ms * NS_PER_MS - survival->await.left_ns;
	}
	survival->await_ms = ms;
	if (!survival->past || !survival->awaits)
		return;
	allotment_begin(&survival->await, ns - min_u64(ns, was_ns), max_u64(AWAIT_STEP_NS, ns / AWAIT_STEPS));
	/* What cannot be told to end begins no more. */
	if (!timer_begin_allotted(&survival->await_event, &survival->await))
		survival_give_up(survival);
}

uint32_t
survival_misses(const struct survival *survival, const struct segment *segment)
{
	const struct past_segment *past = survival->past ? past_find_segment(survival->past, segment->generation) : NULL;

	if (!past || !past->awaits_memory)
		return 0;
	return (past->data_fd < 0 ? PROTOCOL_RETURN_DATA : 0) |
	    (past->row.control_bytes && past->control_fd < 0 ? PROTOCOL_RETURN_CONTROL : 0);
}

bool
survival_expects(const struct survival *survival, const struct segment *segment, uint32_t id, const struct identity *identity,
    uint32_t flags, struct parcels_proof *ret_proof)
{
	const struct past *past = survival->past;
	const struct past_segment *lost = past ? past_find_segment(past, segment->generation) : NULL;
	const struct past_attachment *at = lost ? past_first_attachment(past, segment->generation) : NULL;
	const struct past_attachment *end = at ? past_attachments_end(past) : NULL;

	while (at < end && at->row.generation == segment->generation && at->row.id != id)
		at++;
	if (at == end || at->row.generation != segment->generation || (flags & PROTOCOL_RETURN_CONTROL && !lost->row.control_bytes) ||
	    !identity_is_process(identity, at->row.uid, at->row.pid, at->row.process))
		return false;
	*ret_proof = flags & PROTOCOL_RETURN_CONTROL ? (struct parcels_proof) {
		.device = lost->row.control_device, .inode = lost->row.control_inode, .size_bytes = lost->row.control_bytes,
	} : (struct parcels_proof) {
		.device = lost->row.data_device, .inode = lost->row.data_inode, .size_bytes = lost->row.map_bytes,
	};
	return true;
}

/* What is proved, and complete: data, the memory of its locks, and a mapping of that which they protect. */
static int
await_revive(struct past_segment *past, struct holding *holding, char *text, size_t text_size)
{
	const struct backend *backend = backend_find(past->definition->backend);
	struct backend_remains remains = {
		.definition = past->definition,
		.fds = { take_fd(&past->data_fd), -1 },
		.map_bytes = past->row.map_bytes,
		.page_bytes = past->row.page_bytes,
		.shm_id = -1,
	};
	int r = backend->revive(&remains, &holding->object, text, text_size);

	close_fd(&remains.fds[0]);
	if (r == 0)
		holding->backend = backend;
	if (r == 0 && past->row.control_bytes)
		r = holding_revive_control(holding, &past->control_fd, past->row.control_bytes, text, text_size);
	if (r == 0 && past->definition->n_locks)
		r = holding_map(holding);
	if (r == 0)
		return 0;
	if (holding->backend)
		holding_leave(holding);
	if (r > 0)
		(void)snprintf(text, text_size, "it is not the memory that segment '%s' had", past->definition->name);
	else
		(void)snprintf(text, text_size, "the memory of segment '%s' cannot be opened, or mapped: %s", past->definition->name,
		    strerror(-r));
	return r > 0 ? -ESTALE : r;
}

/* A reload may have come first. */
static bool
await_fits(const struct segment *segment, const struct past_segment *past)
{
	const struct definition *now = segment->definition, *then = past->definition;

	return now->backend == then->backend && now->size_bytes == then->size_bytes &&
	    now->max_size_bytes == then->max_size_bytes && now->page_size == then->page_size && now->n_locks == then->n_locks;
}

/*
 * A worker has shown that it is the object. Another description of it, of our own: the client's has its mark. The open does not wait
 * for a lease that somebody has on it.
 */
static int
await_keep(struct past_segment *past, uint32_t flags, int fd, char *text, size_t text_size)
{
	int *kept = flags & PROTOCOL_RETURN_CONTROL ? &past->control_fd : &past->data_fd;
	int r = *kept < 0 ? procfd_reopen(fd, O_RDWR | O_NONBLOCK, kept) : 0;

	if (r)
		(void)snprintf(text, text_size, "the memory of segment '%s' cannot be opened: %s", past->definition->name, strerror(-r));
	return r;
}

int
survival_take_back(struct survival *survival, struct segment *segment, uint32_t flags, int fd, char *text, size_t text_size)
{
	struct past_segment *past = survival->past ? past_find_segment(survival->past, segment->generation) : NULL;
	static struct log_limit limit = LOG_LIMIT(200);
	struct holding holding = HOLDING_NULL;
	int r;

	if (!past || await_segment(survival, past) != segment || !await_fits(segment, past)) {
		(void)snprintf(text, text_size, "segment '%s' does not wait for its memory any more", segment->definition->name);
		return -ESTALE;
	}
	r = await_keep(past, flags, fd, text, text_size);
	if (r == 0 && survival_misses(survival, segment))
		return SURVIVAL_E_MORE;
	if (r == 0)
		r = await_revive(past, &holding, text, text_size);
	if (r)
		return r;
	segment->is_awaited = false;
	segment_set_reason(segment, NULL);
	past->segment = segment;
	/* The row that it has is the earlier daemon's, and stays if there is no room for a new one. */
	(void)survival_give_holding(past, &holding);
	survival_revive_locks(survival, past);
	if (log_allowed(&limit))
		log_write(MESSAGE_TAKEN_OVER, &(struct log_about) { .segment = segment->definition->name }, "segment '%s' has its memory "
		    "back from a client: it is as it was before segmentd was started anew", segment->definition->name);
	survival_resume_returned(survival, past);
	await_end(survival, past);
	segment = registry_find(survival->registry, past->definition->name);
	if (!segment || segment != past->segment)
		return 0;
	segment_box(segment);
	segment_tell_revived(segment);
	segment_revive_on(segment);
	return 0;
}

void
survival_await_end(struct survival *survival, bool is_kept)
{
	struct past *past = survival->past;

	if (!survival->n_awaited || !past)
		return;
	if (event_initialized(&survival->await_event))
		(void)event_del(&survival->await_event);
	for (size_t i = 0; i < past->n_segments; i++) {
		struct past_segment *segment = &past->segments[i];

		if (!segment->awaits_memory)
			continue;
		close_fd(&segment->data_fd);
		close_fd(&segment->control_fd);
		if (!is_kept)
			await_drop_rows(survival, segment->row.generation);
	}
}
