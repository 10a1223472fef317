/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What happens to a segment that is ready, as attachments come and go, until it ends. Everything that would take memory away asks
 * the lease first: marks are the count, the lease is the proof, and where it says no the next close of somebody's last description
 * asks it again.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/segment_parts.h"
#include "daemon/timer.h"

#define LINGER_STEPS	4	/* of its time: who comes back for it is not late by having stood still (base/allotment.h) */

static bool
segment_ends_unattached(const struct segment *segment)
{
	return segment->definition->lifetime == DEFINITION_ATTACHED;
}

static void
segment_end_lingering(struct segment *segment)
{
	if (segment->state != PROTOCOL_READY || segment_n_attached(segment))
		return;
	/* Somebody maps it whom no mark shows: the end of that one's last description asks again. */
	if (holding_is_alone(&segment->holding))
		segment_enter(segment, PROTOCOL_GONE);
	else
		segment_ask_again(segment);
}

static void
segment_on_linger(evutil_socket_t fd, short what, void *arg)
{
	struct segment *segment = arg;

	if (timer_is_over(segment->linger, &segment->linger_time))
		segment_end_lingering(segment);
}

static void
segment_linger(struct segment *segment)
{
	uint64_t ns = segment->definition->linger_ms * NS_PER_MS;

	/* Since its last attachment ended, and not since somebody looked again. */
	if (segment->linger && evtimer_pending(segment->linger, NULL))
		return;
	if (!segment->linger)
		segment->linger = evtimer_new(segment->host->base, segment_on_linger, segment);
	allotment_begin(&segment->linger_time, ns, ns / LINGER_STEPS);
	/* Without memory for a timer it ends at once, which is the safe side of keeping it for ever. */
	if (!segment->linger || !timer_begin_allotted(segment->linger, &segment->linger_time))
		segment_end_lingering(segment);
}

/* To who comes without us. Where it cannot be closed, what is due comes all the same, only later perhaps. */
static void
segment_close(struct segment *segment)
{
	char text[FINDINGS_TEXT_SIZE];

	(void)segment_admit(segment, NULL, text, sizeof(text));
}

/* Who comes by its key or name in this moment finds it closed; who was faster is left alone. */
static void
segment_scrub(struct segment *segment)
{
	segment_close(segment);
	if (holding_is_alone(&segment->holding)) {
		segment_provision(segment, true);
		return;
	}
	segment_admit_or_tell(segment);
	(void)segment_watch(segment);
	segment_ask_again(segment);
}

void
segment_rest(struct segment *segment)
{
	bool is_draining = segment->state == PROTOCOL_DRAINING;
	bool has_ended = segment->state == PROTOCOL_READY && segment->was_attached;
	bool ends = has_ended && segment_ends_unattached(segment);
	bool scrubs = has_ended && segment->definition->scrub;
	bool is_followed = segment->state == PROTOCOL_READY && segment->successor;

	if (segment_n_attached(segment) || (!is_draining && !ends && !scrubs && !is_followed))
		return;
	/* A worker still puts its bytes right: it goes on when that is done. */
	if (segment->locks->n_busy)
		return;
	/* Its new memory is on the way in, or out: it is scrubbed when that is done. */
	if (scrubs && !ends && segment->growth)
		return;
	if (!holding_is_alone(&segment->holding)) {
		/* Also of one that we never handed out: else nobody would ask again. */
		(void)segment_watch(segment);
		segment_ask_again(segment);
		return;
	}
	if (is_draining || is_followed)
		segment_enter(segment, PROTOCOL_GONE);
	else if (ends)
		segment_linger(segment);
	else
		segment_scrub(segment);
}

/* Where the kernel could not say that nobody has it, it says so now, before the first one is given what the last one left in it. */
void
segment_before_first(struct segment *segment)
{
	if (segment->state == PROTOCOL_READY && segment->was_attached && segment->definition->scrub && segment->holding.asks_again &&
	    !segment_n_attached(segment) && !segment_ends_unattached(segment))
		segment_rest(segment);
}

void
segment_on_more(struct segment *segment)
{
	if (!segment->was_attached) {
		segment->was_attached = true;
		segment_rewrite_row(segment, segment->state);
	}
	if (segment->linger)
		(void)evtimer_del(segment->linger);
	segment_file_look(segment);
}

void
segment_on_fewer(struct segment *segment)
{
	segment_file_look(segment);
	if (!segment_n_attached(segment))
		segment_rest(segment);
}

/* Asks the kernel for each attachment, some at a time. The segment may be freed. */
static bool
segment_look(struct kernelcount_watch *kernel_watch, uint64_t until_ns)
{
	struct segment_watch *watch = BASE_CONTAINER_OF(kernel_watch, struct segment_watch, watch);
	struct segment *segment = watch->segment;
	struct attachment *attachment;

	if (!watch->look_next)
		watch->look_next = TAILQ_FIRST(&segment->attachments);
	while ((attachment = watch->look_next)) {
		watch->look_next = TAILQ_NEXT(attachment, segment_entry);
		if (!attachment_is_held(attachment))
			attachment_end(attachment);
		if (watch->look_next && clock_monotonic_ns() > until_ns)
			return false;
	}
	segment_file_look(segment);
	segment_rest(segment);
	return true;
}

/* Where to begin to look for an id: they rise, until they have come round. */
static struct attachment *
segment_attachment_near(const struct segment *segment, uint32_t id)
{
	struct attachment *attachment = NULL;

	if (segment->watch && !segment->ids_wrapped)
		attachment = milestones_before(&segment->watch->milestones, id);
	return attachment ? attachment : TAILQ_FIRST(&segment->attachments);
}

struct attachment *
segment_find_attachment(const struct segment *segment, uint32_t id)
{
	struct attachment *attachment = segment_attachment_near(segment, id);

	while (attachment && attachment->id != id && (attachment->id < id || segment->ids_wrapped))
		attachment = TAILQ_NEXT(attachment, segment_entry);
	return attachment && attachment->id == id ? attachment : NULL;
}

struct attachment *
segment_attachment_after(const struct segment *segment, uint32_t id)
{
	struct attachment *attachment = segment_attachment_near(segment, id);

	while (attachment && attachment->id <= id)
		attachment = TAILQ_NEXT(attachment, segment_entry);
	return attachment;
}

void
segment_enter_attachment(struct segment *segment, struct attachment *attachment)
{
	TAILQ_INSERT_TAIL(&segment->attachments, attachment, segment_entry);
	if (segment->watch)
		milestones_add(&segment->watch->milestones, attachment->id, attachment);
}

void
segment_take_attachment(struct segment *segment, struct attachment *attachment)
{
	struct attachment *next = TAILQ_NEXT(attachment, segment_entry);

	if (segment->watch) {
		milestones_remove(&segment->watch->milestones, attachment->id, attachment, next ? next->id : 0, next);
		if (segment->watch->look_next == attachment)
			segment->watch->look_next = next;
	}
	TAILQ_REMOVE(&segment->attachments, attachment, segment_entry);
}

int
segment_watch(struct segment *segment)
{
	struct attachment *attachment;
	struct segment_watch *watch;
	int r;

	if (segment->watch)
		return 0;
	r = backend_object_settle(&segment->holding.object);
	if (r)
		return r;
	watch = malloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	*watch = (struct segment_watch) { .segment = segment };
	r = kernelcount_watch(segment->host->kernelcount, &watch->watch, segment->holding.object.fd, segment_look);
	if (r) {
		free(watch);
		return r;
	}
	segment->watch = watch;
	TAILQ_FOREACH(attachment, &segment->attachments, segment_entry)
		milestones_add(&watch->milestones, attachment->id, attachment);
	return 0;
}

void
segment_look_soon(struct segment *segment)
{
	if (segment->watch)
		kernelcount_look_soon(&segment->watch->watch);
}

void
segment_remove(struct segment *segment, bool now)
{
	/* Its name goes at once; what workers are at follows when they are done, or were killed. */
	if (segment->state == PROTOCOL_PROVISIONING && segment->provision) {
		segment_unwatch(segment);
		provision_abandon(segment->provision);
		segment->provision = NULL;
		segment_enter(segment, PROTOCOL_GONE);
		return;
	}
	if (now || segment->state == PROTOCOL_FAILED || segment->state == PROTOCOL_DECLARED) {
		segment_enter(segment, PROTOCOL_GONE);
		return;
	}
	if (segment->state == PROTOCOL_READY) {
		segment_stop_growing(segment, "it is being removed");
		segment_close(segment);
		/* What was let go of before this was asked for keeps it no longer. */
		attachment_prune_segment(segment);
		segment_enter(segment, PROTOCOL_DRAINING);
	}
	segment_rest(segment);
}

void
segment_restore(struct segment *segment)
{
	if (segment->state != PROTOCOL_DRAINING)
		return;
	segment_admit_or_tell(segment);
	segment_rewrite_row(segment, PROTOCOL_READY);
	segment_enter(segment, PROTOCOL_READY);
	segment_grow_on(segment);
	segment_rest(segment);
}

void
segment_change(struct segment *segment, struct definition *definition)
{
	const struct definition *old = segment->definition;

	/* How long it lingers, or whether at all, is another matter now. */
	if (segment->linger && (old->lifetime != definition->lifetime || old->linger_ms != definition->linger_ms))
		(void)evtimer_del(segment->linger);
	segment_redefine(segment, definition);
	/* Before it is ready nobody is let in yet, and on its way out nobody any more. */
	if (segment->state == PROTOCOL_READY)
		segment_admit_or_tell(segment);
	segment_file_look(segment);
	segment_rest(segment);
}

void
segment_succeed(struct segment *segment, struct segment *successor)
{
	(void)segment_free(segment->successor);
	segment->successor = successor;
	if (!successor || segment->state == PROTOCOL_DRAINING)
		return;
	if (segment->state == PROTOCOL_READY)
		segment_rest(segment);
	else
		segment_remove(segment, true);
}

bool
segment_is_held(struct segment *segment)
{
	if (segment_n_attached(segment))
		return true;
	return !holding_is_alone(&segment->holding);
}
