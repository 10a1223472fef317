/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* An attachment keeps its segment's counts and its uid's charge, and gives both back in its own end. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/attachment.h"
#include "daemon/events.h"
#include "daemon/kernelcount.h"
#include "daemon/log.h"
#include "daemon/segment.h"
#include "daemon/vigil.h"
#include "host/process.h"

#define PRUNE_NS	(NS_PER_MS / 2)
#define PRUNE_MIN	64		/* are asked for by then, however late it is: the clock runs also while we do not */
#define END_NS		(NS_PER_MS / 4)		/* of recovering the locks of one that has ended */

/* The next id; after 2^30 of them they come round, and those in use or still standing in a lock's word are passed over. */
uint32_t
attachment_next_id(struct segment *segment)
{
	do {
		if (segment->last_id == CONTROL_ID_MAX) {
			segment->last_id = 0;
			segment->ids_wrapped = true;
		}
		segment->last_id++;
	} while (segment->ids_wrapped && (segment_has_attachment(segment, segment->last_id) ||
	    locks_name(segment->locks, segment->last_id)));
	return segment->last_id;
}

static void
attachment_count(const struct attachment *attachment, int by)
{
	struct segment *segment = attachment->segment;

	if (attachment->access & PROTOCOL_ACCESS_WRITE)
		segment->n_writers += (uint32_t)by;
	else
		segment->n_readers += (uint32_t)by;
	if (!attachment->session)
		segment->n_unsupervised += (uint32_t)by;
}

static int
attachment_enter_row(struct attachment *attachment)
{
	const struct ledger_attachment body = {
		.generation = attachment->segment->generation,
		.process = attachment->process,
		.session = attachment->session,
		.since_ns = attachment->since_ns,
		.id = attachment->id,
		.access = attachment->access,
		.uid = attachment->uid,
		.pid = attachment->pid,
		.serial = attachment->serial,
		.flags = (attachment->is_marked ? LEDGER_ATTACHMENT_MARKED : 0) |
		    (attachment->is_foreign ? LEDGER_ATTACHMENT_FOREIGN : 0) |
		    (attachment->is_owner_gone ? LEDGER_ATTACHMENT_OWNER_GONE : 0),
	};

	return ledger_put_attachment(attachment->segment->host->ledger, &attachment->row, &body);
}

/* It has a row, which has its room. */
static void
attachment_rewrite_row(struct attachment *attachment)
{
	if (attachment->row.index)
		(void)attachment_enter_row(attachment);
}

/* Whoever has its memory open can make marking it slow, and is to be found. */
static void
attachment_pay(const struct segment *segment, uint64_t begun_ns)
{
	static struct log_limit slow_limit = LOG_LIMIT(20), quick_limit = LOG_LIMIT(20);
	const struct log_about about = { .segment = segment->definition->name };
	uint64_t cost_ns;

	switch (toll_end(&segment->watch->toll, &segment->host->kernelcount->tolls, begun_ns, segment_n_attached(segment), &cost_ns)) {
	case TOLL_SLOW:
		if (log_allowed(&slow_limit))
			log_write(MESSAGE_SEGMENT_CROWDED, &about, "segment '%s': an attach takes %" PRIu64 " us of the daemon's time, most "
			    "often since somebody has laid thousands of locks on its memory: it is handed out seldom until they have "
			    "gone; `segmentctl show %s` says who has it, and /proc/PID/fdinfo which of them has locks",
			    segment->definition->name, cost_ns / 1000, segment->definition->name);
		break;
	case TOLL_QUICK:
		if (log_allowed(&quick_limit))
			log_write(MESSAGE_SEGMENT_UNCROWDED, &about, "segment '%s': an attach takes as little time as it should again",
			    segment->definition->name);
		break;
	case TOLL_NOTHING:
		break;
	}
}

/* Whose thread ids mean nothing to us: for as long as one of them may write, no mutex is touched. 0 or a negative errno. */
static int
attachment_judge(const struct segment *segment, const struct identity *identity, uint32_t access, bool *ret_is_foreign)
{
	int namespace;

	*ret_is_foreign = false;
	if (!(access & PROTOCOL_ACCESS_WRITE) || !locks_have_mutexes(segment->locks))
		return 0;
	namespace = process_pid_namespace(identity->pid);
	*ret_is_foreign = namespace != PROCESS_NAMESPACE_OURS;
	return namespace < 0 ? namespace : 0;
}

int
attachment_new(struct segment *segment, const struct identity *identity, uint64_t session, uint64_t serial,
    uint32_t access, struct accounts *accounts, struct attachment_list *session_list,
    struct attachment **ret_attachment, int *ret_fd)
{
	cleanup_close int fd = -1;
	struct attachment *attachment;
	struct charge charge = CHARGE_NULL;
	uint64_t begun_ns;
	bool is_foreign;
	int r;

	r = segment_watch(segment);
	if (r)
		return r;
	r = accounts_charge(accounts, identity->uid, ACCOUNTS_ATTACHMENTS, 1, &charge);
	if (r)
		return r;
	r = attachment_judge(segment, identity, access, &is_foreign);
	begun_ns = toll_begin(&segment->watch->toll);
	if (r == 0)
		r = segment->holding.backend->open(&segment->holding.object, access & PROTOCOL_ACCESS_WRITE, &fd);
	attachment = r ? NULL : malloc(sizeof(*attachment));
	if (!attachment) {
		charge_deinit(&charge);
		return r ? r : -ENOMEM;
	}
	*attachment = (struct attachment) {
		.segment = segment,
		.id = attachment_next_id(segment),
		.access = access,
		.uid = identity->uid,
		.pid = identity->pid,
		.process = identity->process,
		.session = session,
		.serial = serial,
		.identity = identity,
		.since_ns = clock_realtime_ns(),
		.is_foreign = is_foreign,
		.charge = charge,
	};
	/*
	 * A hostile writer can lock the byte before us; its neighbours are served all the same. The client may then succeed in
	 * marking it itself, which the library does for a writer of locks: so the kernel is asked also where we did not.
	 */
	attachment->is_marked = kernelcount_mark(fd, attachment->id) == 0;
	attachment_pay(segment, begun_ns);
	if (attachment_enter_row(attachment)) {
		charge_deinit(&attachment->charge);
		free(attachment);
		return ATTACHMENT_E_LEDGER;
	}
	segment->locks->n_foreign_writers += attachment->is_foreign;
	segment_enter_attachment(segment, attachment);
	LIST_INSERT_HEAD(session_list, attachment, session_entry);
	attachment_count(attachment, 1);
	*ret_attachment = attachment;
	*ret_fd = take_fd(&fd);
	return 0;
}

int
attachment_revive(struct segment *segment, const struct attachment_past *past, uint64_t session,
    const struct identity *identity, struct accounts *accounts, struct attachment_list *session_list,
    struct attachment **ret_attachment)
{
	struct attachment *attachment = malloc(sizeof(*attachment));
	struct charge charge = CHARGE_NULL;
	int r = attachment ? accounts_charge_again(accounts, past->uid, ACCOUNTS_ATTACHMENTS, 1, &charge) : -ENOMEM;

	if (r) {
		free(attachment);
		return r;
	}
	*attachment = (struct attachment) {
		.segment = segment,
		.id = past->id,
		.access = past->access,
		.uid = past->uid,
		.pid = past->pid,
		.process = past->process,
		.session = session,
		.serial = past->serial,
		.identity = identity,
		.since_ns = past->since_ns,
		.is_marked = past->is_marked,
		.is_foreign = past->is_foreign,
		.is_owner_gone = past->is_owner_gone,
		.row = *past->row,
		.charge = charge,
	};
	*past->row = (struct ledger_entry) { 0 };
	segment->locks->n_foreign_writers += attachment->is_foreign;
	segment_enter_attachment(segment, attachment);
	if (session)
		LIST_INSERT_HEAD(session_list, attachment, session_entry);
	attachment_count(attachment, 1);
	r = attachment_enter_row(attachment);
	if (r) {
		attachment_free(attachment);
		return r;
	}
	/* From here on its end is told to whom it belongs. */
	attachment->is_told = true;
	*ret_attachment = attachment;
	return 0;
}

/* A process that closed its connection, to this daemon or to the one before, and holds locks perhaps. */
static void
attachment_watch_owner(struct attachment *attachment)
{
	cleanup_close int pidfd = -1;
	struct vigil *vigil;

	/* Where processes have no numbers, the mark alone tells: it is free when nobody maps the memory any more. */
	if (!attachment_may_own(attachment) || attachment->is_owner_gone || !attachment->process)
		return;
	pidfd = process_open(attachment->pid, attachment->process);
	/* For want of a descriptor nobody is taken for dead: then the mark alone tells, too. */
	if (pidfd < 0 && process_lives(attachment->pid, attachment->process))
		return;
	if (pidfd < 0) {
		attachment_owner_gone(attachment, clock_monotonic_ns() + END_NS);
		return;
	}
	vigil = vigil_new(attachment->segment->host->base, attachment->charge.accounts, attachment->uid, &pidfd);
	if (vigil)
		vigil_add(vigil, attachment);
}

void
attachment_resume(struct attachment *attachment)
{
	if (!attachment_is_held(attachment))
		attachment_end(attachment);
	else if (!attachment->session)
		attachment_watch_owner(attachment);
}

void
attachment_adopt(struct attachment *attachment, uint64_t session, const struct identity *identity,
    struct attachment_list *session_list)
{
	vigil_leave(attachment);
	attachment_count(attachment, -1);
	attachment->session = session;
	attachment->identity = identity;
	LIST_INSERT_HEAD(session_list, attachment, session_entry);
	attachment_count(attachment, 1);
	attachment_rewrite_row(attachment);
}

bool
attachment_may_own(const struct attachment *attachment)
{
	return attachment->access & PROTOCOL_ACCESS_WRITE && attachment->segment->locks->n;
}

bool
attachment_process_lives(const struct attachment *attachment)
{
	if (attachment->process)
		return process_lives(attachment->pid, attachment->process);
	return attachment->session && attachment->pid > 0;
}

static void
attachment_recover(struct attachment *attachment, uint64_t until_ns, bool stays)
{
	struct segment *segment = attachment->segment;
	struct locks_dead dead = { .id = attachment->id, .pid = attachment->pid, .uid = attachment->uid };

	if (!attachment_may_own(attachment) || attachment->is_owner_gone)
		return;
	attachment->is_owner_gone = true;
	if (stays)
		attachment_rewrite_row(attachment);
	recovery_owner_gone(segment->host->recovery, segment->locks, &dead, until_ns);
}

void
attachment_owner_gone(struct attachment *attachment, uint64_t until_ns)
{
	attachment_recover(attachment, until_ns, true);
}

bool
attachment_is_held(const struct attachment *attachment)
{
	if (!attachment->is_marked && attachment->session)
		return true;
	/* Where somebody disturbs the marks, nobody else is to be charged for what a session has given back. */
	return kernelcount_held(attachment->segment->holding.object.fd, attachment->id, attachment->session != 0);
}

void
attachment_give_up(struct attachment *attachment, uint64_t until_ns)
{
	if (!attachment->session)
		return;
	attachment_count(attachment, -1);
	LIST_REMOVE(attachment, session_entry);
	events_unwatch(attachment);
	attachment->session = 0;
	attachment->identity = NULL;
	attachment_count(attachment, 1);
	if (clock_monotonic_ns() >= until_ns) {
		attachment_rewrite_row(attachment);
		segment_look_soon(attachment->segment);
	} else if (attachment_is_held(attachment)) {
		attachment_rewrite_row(attachment);
	} else {
		struct segment *segment = attachment->segment;

		attachment_end(attachment);
		segment_on_fewer(segment);
	}
}

/* One that has ended is what was looked for, and its locks take time. */
static bool
prune_goes_on(unsigned n, bool has_ended, uint64_t until_ns)
{
	return (n < PRUNE_MIN && !has_ended) || clock_monotonic_ns() < until_ns;
}

bool
attachment_prune(struct attachment_list *session_list)
{
	uint64_t until_ns = clock_monotonic_ns() + PRUNE_NS;
	struct attachment *attachment = LIST_FIRST(session_list), *next;
	bool has_ended = false;

	for (unsigned n = 0; attachment && prune_goes_on(n, has_ended, until_ns); attachment = next, n++) {
		struct segment *segment = attachment->segment;

		next = LIST_NEXT(attachment, session_entry);
		if (attachment_is_held(attachment))
			continue;
		attachment_end(attachment);
		segment_on_fewer(segment);
		has_ended = true;
	}
	return has_ended;
}

void
attachment_prune_segment(struct segment *segment)
{
	uint64_t until_ns = clock_monotonic_ns() + PRUNE_NS;
	struct attachment *attachment = TAILQ_FIRST(&segment->attachments), *next;
	bool has_ended = false;

	for (unsigned n = 0; attachment && prune_goes_on(n, has_ended, until_ns); attachment = next, n++) {
		next = TAILQ_NEXT(attachment, segment_entry);
		if (attachment_is_held(attachment))
			continue;
		attachment_end(attachment);
		has_ended = true;
	}
}

void
attachment_end(struct attachment *attachment)
{
	/* Its row goes in a moment: a successor that finds it sees that nobody has it, and does the same. */
	attachment_recover(attachment, clock_monotonic_ns() + END_NS, false);
	attachment_free(attachment);
}

void
attachment_free(struct attachment *attachment)
{
	struct segment *segment = attachment->segment;

	events_on_detach(attachment);
	vigil_leave(attachment);
	segment->locks->n_foreign_writers -= attachment->is_foreign;
	attachment_count(attachment, -1);
	if (attachment->session)
		LIST_REMOVE(attachment, session_entry);
	segment_take_attachment(segment, attachment);
	ledger_drop(segment->host->ledger, &attachment->row);
	charge_deinit(&attachment->charge);
	free(attachment);
}
