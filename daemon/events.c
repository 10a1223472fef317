/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Posting finds those who may see an event: a walk over the attachments of one segment that are watched, and over those few
 * that see all. Sending is done by the pump, in turns of their own, a few events for each subscriber by turns, so that a
 * thousand deaths at once hold up no request.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/access.h"
#include "daemon/events.h"
#include "daemon/segment.h"
#include "daemon/timer.h"

#define PUMP_NS		(NS_PER_MS / 20)	/* of sending in one turn of the loop */
#define ENDS_NS		NS_PER_SEC	/* how long ends are remembered: the end of a process takes its time where it holds much */
#define FLUSH_REST_NS	NS_PER_MS	/* between two flushes: of many deaths at once the pump tells */
#define PUMP_SENDS	16		/* for one subscriber, before the next one's turn */
#define SILENT_NS	(10 * NS_PER_SEC)	/* without reading, and */
#define SILENT_STEP_NS	NS_PER_SEC
#define SILENT_EVENTS	65536		/* so many lost meanwhile: it is given up */

static_assert((EVENTS_KEPT & (EVENTS_KEPT - 1)) == 0, "numbers are taken modulo EVENTS_KEPT");

/* An event that is kept only once somebody is found who may see it. */
struct events_draft {
	struct events *events;
	struct protocol_event event;
	bool is_kept;
};

static inline size_t
events_slot(uint64_t number)
{
	return number % EVENTS_KEPT;
}

static void
subscriber_clear(struct events_subscriber *subscriber, size_t slot)
{
	subscriber->pending[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	subscriber->n_pending--;
}

static bool
subscriber_has(const struct events_subscriber *subscriber, size_t slot)
{
	return subscriber->pending[slot / 64] >> slot % 64 & 1;
}

/* Counts as lost what was pending and is no longer kept. */
static void
subscriber_expire(struct events_subscriber *subscriber)
{
	uint64_t n_posted = subscriber->events->n_posted;
	uint64_t oldest = n_posted >= EVENTS_KEPT ? n_posted - EVENTS_KEPT + 1 : 1;
	uint64_t lost = subscriber->lost;

	if (subscriber->next >= oldest)
		return;
	if (oldest - subscriber->next >= EVENTS_KEPT) {
		/* All that it had, in one step: it may not have been looked at for a million events. */
		subscriber->lost += subscriber->n_pending;
		subscriber->n_pending = 0;
		memset(subscriber->pending, 0, sizeof(subscriber->pending));
		subscriber->next = oldest;
	}
	for (; subscriber->next < oldest && subscriber->n_pending; subscriber->next++) {
		if (!subscriber_has(subscriber, events_slot(subscriber->next)))
			continue;
		subscriber_clear(subscriber, events_slot(subscriber->next));
		subscriber->lost++;
	}
	subscriber->next = oldest;
	subscriber->events->n_lost += subscriber->lost - lost;
}

static void
events_pump_soon(struct events *events)
{
	static const struct timeval now = { 0 };

	if (!evtimer_pending(&events->pump_event, NULL))
		timer_add(&events->pump_event, &now);
}

static void
subscriber_make_due(struct events_subscriber *subscriber)
{
	struct events *events = subscriber->events;

	if (subscriber->is_full || subscriber->is_due)
		return;
	subscriber->is_due = true;
	TAILQ_INSERT_TAIL(&events->due, subscriber, due_entry);
	events_pump_soon(events);
}

static void
subscriber_undue(struct events_subscriber *subscriber)
{
	if (!subscriber->is_due)
		return;
	TAILQ_REMOVE(&subscriber->events->due, subscriber, due_entry);
	subscriber->is_due = false;
}

bool
events_is_silent(const struct events_subscriber *subscriber)
{
	return subscriber->lost >= SILENT_EVENTS && subscriber->was_full && !subscriber->silence.left_ns;
}

static void
events_queue(struct events_draft *draft, struct events_subscriber *subscriber)
{
	struct events *events = draft->events;
	size_t slot;

	if (!draft->is_kept) {
		draft->is_kept = true;
		draft->event.time_ns = clock_realtime_ns();
		events->kept[events_slot(++events->n_posted)] = draft->event;
	}
	/* One that is attached more than once is met more than once. */
	if (subscriber->last == events->n_posted)
		return;
	subscriber->last = events->n_posted;
	subscriber_expire(subscriber);
	slot = events_slot(events->n_posted);
	subscriber->pending[slot / 64] |= UINT64_C(1) << slot % 64;
	subscriber->n_pending++;
	if (subscriber->was_full && subscriber->silence.left_ns)
		(void)allotment_look(&subscriber->silence);
	/* It is tried once more: its owner ends it, unless it has room by then. */
	if (subscriber->is_full && events_is_silent(subscriber))
		subscriber->is_full = false;
	subscriber_make_due(subscriber);
}

/* As requests_find(): what one may not attach does not exist for one. */
static bool
subscriber_may_see(const struct events_subscriber *subscriber, const struct definition *definition)
{
	return !definition || subscriber->is_administrator || access_allowed(definition, subscriber->identity);
}

/* Who is not attached yet waits for these. */
static bool
events_is_for_waiting(enum protocol_event_kind kind)
{
	return kind == PROTOCOL_EVENT_READY || kind == PROTOCOL_EVENT_FAILED || kind == PROTOCOL_EVENT_PROGRESS ||
	    kind == PROTOCOL_EVENT_UNCLEAN;
}

static void
events_fan_out(struct events_draft *draft, const struct definition *definition, const struct segment *segment)
{
	struct events *events = draft->events;
	struct events_subscriber *subscriber;
	struct attachment *attachment;

	if (!definition || events_is_for_waiting(draft->event.kind)) {
		LIST_FOREACH(subscriber, &events->subscribers, entry)
			if (subscriber_may_see(subscriber, definition))
				events_queue(draft, subscriber);
	} else
		LIST_FOREACH(subscriber, &events->all, all_entry)
			if (subscriber_may_see(subscriber, definition))
				events_queue(draft, subscriber);
	if (segment)
		LIST_FOREACH(attachment, &segment->watched, watched_entry)
			events_queue(draft, attachment->watcher);
}

static void
events_draft(struct events_draft *draft, struct events *events, enum protocol_event_kind kind,
    const struct definition *definition, uint64_t generation)
{
	draft->events = events;
	draft->is_kept = false;
	draft->event = (struct protocol_event) {
		.header = {
			.size = sizeof(draft->event),
			.type = PROTOCOL_EVENT,
			.flags = PROTOCOL_REPLY | PROTOCOL_PUSHED,
		},
		.kind = kind,
		.lock = -1,
		.generation = generation,
		.uid = PROTOCOL_NOBODY,
	};
	if (definition)
		(void)snprintf(draft->event.segment, sizeof(draft->event.segment), "%s", definition->name);
}

void
events_post(struct events *events, enum protocol_event_kind kind, const struct segment *segment, int lock,
    const char *lock_name, uint32_t attachment, int32_t pid)
{
	struct events_draft draft;

	if (!events || !events->n_subscribers)
		return;
	events_draft(&draft, events, kind, segment->definition, segment->generation);
	draft.event.lock = lock;
	draft.event.attachment = attachment;
	draft.event.pid = pid;
	if (lock_name)
		(void)snprintf(draft.event.lock_name, sizeof(draft.event.lock_name), "%s", lock_name);
	events_fan_out(&draft, segment->definition, segment);
}

/* One began or ended. */
static void
events_post_attachment(enum protocol_event_kind kind, const struct attachment *attachment)
{
	const struct segment *segment = attachment->segment;
	struct events *events = segment->host->events;
	struct events_draft draft;

	if (!events || !events->n_subscribers)
		return;
	events_draft(&draft, events, kind, segment->definition, segment->generation);
	draft.event.attachment = attachment->id;
	draft.event.pid = attachment->pid;
	draft.event.uid = attachment->uid;
	events_fan_out(&draft, segment->definition, segment);
}

void
events_post_size(struct events *events, enum protocol_event_kind kind, const struct segment *segment, uint64_t value,
    uint64_t total)
{
	struct events_draft draft;

	if (!events || !events->n_subscribers)
		return;
	events_draft(&draft, events, kind, segment->definition, segment->generation);
	draft.event.value = value;
	draft.event.total = total;
	events_fan_out(&draft, segment->definition, segment);
}

void
events_post_death(const struct events_end *end, const struct segment *segment, int32_t pid)
{
	struct events_draft draft;

	if (!end->events->n_subscribers)
		return;
	events_draft(&draft, end->events, PROTOCOL_EVENT_DIED, end->definition, end->generation);
	draft.event.attachment = end->attachment;
	draft.event.pid = pid;
	draft.event.uid = end->uid;
	events_fan_out(&draft, end->definition, segment);
}

void
events_post_reload(struct events *events, int32_t pid, uint32_t uid)
{
	struct events_draft draft;

	if (!events || !events->n_subscribers)
		return;
	events_draft(&draft, events, PROTOCOL_EVENT_RELOAD, NULL, 0);
	draft.event.pid = pid;
	draft.event.uid = uid;
	events_fan_out(&draft, NULL, NULL);
}

void
events_post_orphan(struct events *events, const struct events_orphan *orphan)
{
	struct events_subscriber *subscriber;
	struct events_draft draft;

	if (!events->n_subscribers)
		return;
	events_draft(&draft, events, orphan->kind, NULL, orphan->inode);
	draft.event.attachment = orphan->what;
	draft.event.lock = orphan->shm_id;
	draft.event.pid = orphan->creator_pid;
	draft.event.uid = orphan->uid;
	draft.event.value = orphan->resident_bytes;
	draft.event.total = orphan->size_bytes;
	(void)snprintf(draft.event.lock_name, sizeof(draft.event.lock_name), "%s", orphan->name);
	if (orphan->segment)
		(void)snprintf(draft.event.segment, sizeof(draft.event.segment), "%s", orphan->segment);
	/* What is somebody else's is no matter of one's, as with segments. */
	LIST_FOREACH(subscriber, &events->all, all_entry)
		if (subscriber->is_administrator || identity_is_uid(subscriber->identity, orphan->uid))
			events_queue(&draft, subscriber);
}

/* The next to be sent, with what was lost before it; or the loss alone. False: nothing. */
static bool
subscriber_next(struct events_subscriber *subscriber, struct protocol_event *ret_event)
{
	struct events *events = subscriber->events;

	subscriber_expire(subscriber);
	if (subscriber->n_pending) {
		while (!subscriber_has(subscriber, events_slot(subscriber->next)))
			subscriber->next++;
		*ret_event = events->kept[events_slot(subscriber->next)];
	} else if (subscriber->lost) {
		struct events_draft draft;

		events_draft(&draft, events, PROTOCOL_EVENT_LOST, NULL, 0);
		*ret_event = draft.event;
		ret_event->time_ns = clock_realtime_ns();
	} else
		return false;
	ret_event->lost = subscriber->lost;
	return true;
}

/* Sends some. True: it has more, and room for it. */
static bool
subscriber_send(struct events_subscriber *subscriber)
{
	struct events *events = subscriber->events;
	struct protocol_event event;

	for (int i = 0; i < PUMP_SENDS; i++) {
		if (!subscriber_next(subscriber, &event))
			return false;
		/* One that cannot be reached is full for good: its end is on its way to its owner. */
		if (events->send(subscriber, &event)) {
			subscriber->is_full = true;
			if (!subscriber->was_full)
				allotment_begin(&subscriber->silence, SILENT_NS, SILENT_STEP_NS);
			subscriber->was_full = true;
			return false;
		}
		events->n_sent++;
		subscriber->lost = 0;
		subscriber->was_full = false;
		if (event.kind == PROTOCOL_EVENT_LOST)
			return false;
		subscriber_clear(subscriber, events_slot(subscriber->next++));
	}
	return true;
}

static void
events_pump(struct events *events, uint64_t now_ns)
{
	uint64_t until_ns = now_ns + PUMP_NS;
	struct events_subscriber *subscriber;

	while ((subscriber = TAILQ_FIRST(&events->due))) {
		subscriber_undue(subscriber);
		if (subscriber_send(subscriber))
			subscriber_make_due(subscriber);
		if (clock_monotonic_ns() >= until_ns)
			break;
	}
	if (!TAILQ_EMPTY(&events->due))
		events_pump_soon(events);
	else
		(void)evtimer_del(&events->pump_event);
}

static void
events_on_pump(evutil_socket_t fd, short what, void *arg)
{
	events_pump(arg, clock_monotonic_ns());
}

void
events_flush(struct events *events)
{
	uint64_t now_ns;

	if (!events || TAILQ_EMPTY(&events->due))
		return;
	now_ns = clock_monotonic_ns();
	if (now_ns < events->flushed_ns + FLUSH_REST_NS)
		return;
	events->flushed_ns = now_ns;
	events_pump(events, now_ns);
}

int
events_init(struct events *events, struct event_base *base, events_send_fn send)
{
	/* Not what is kept, which costs no memory before it is used. */
	events->send = send;
	events->n_subscribers = 0;
	events->flushed_ns = 0;
	events->n_posted = events->n_sent = events->n_lost = events->n_silent = 0;
	LIST_INIT(&events->subscribers);
	LIST_INIT(&events->all);
	TAILQ_INIT(&events->due);
	return evtimer_assign(&events->pump_event, base, events_on_pump, events) ? -ENOMEM : 0;
}

void
events_deinit(struct events *events)
{
	if (event_initialized(&events->pump_event))
		(void)event_del(&events->pump_event);
}

void
events_subscribe(struct events *events, struct events_subscriber *subscriber)
{
	subscriber->events = events;
	subscriber->next = events->n_posted + 1;
	subscriber->last = events->n_posted;
	LIST_INSERT_HEAD(&events->subscribers, subscriber, entry);
	if (subscriber->sees_all)
		LIST_INSERT_HEAD(&events->all, subscriber, all_entry);
	events->n_subscribers++;
}

void
events_unsubscribe(struct events_subscriber *subscriber)
{
	if (!subscriber->events)
		return;
	subscriber_undue(subscriber);
	LIST_REMOVE(subscriber, entry);
	if (subscriber->sees_all)
		LIST_REMOVE(subscriber, all_entry);
	subscriber->events->n_subscribers--;
	*subscriber = (struct events_subscriber) { 0 };
}

void
events_on_room(struct events_subscriber *subscriber)
{
	subscriber->is_full = false;
	subscriber_make_due(subscriber);
}

void
events_watch(struct events_subscriber *subscriber, struct attachment *attachment)
{
	attachment->watcher = subscriber;
	LIST_INSERT_HEAD(&attachment->segment->watched, attachment, watched_entry);
}

void
events_unwatch(struct attachment *attachment)
{
	if (!attachment->watcher)
		return;
	LIST_REMOVE(attachment, watched_entry);
	attachment->watcher = NULL;
}

struct events_end *
events_end_free(struct events_ends *ends, struct events_end *end)
{
	TAILQ_REMOVE(ends, end, entry);
	(void)definition_unref(end->definition);
	charge_deinit(&end->charge);
	free(end);
	return NULL;
}

void
events_forget_ends(struct events_ends *ends)
{
	struct events_end *end;

	while ((end = TAILQ_FIRST(ends)))
		(void)events_end_free(ends, end);
}

void
events_forget_end(struct events_ends *ends, uint32_t attachment, uint64_t generation)
{
	struct events_end *end;

	TAILQ_FOREACH(end, ends, entry)
		if (end->attachment == attachment && end->generation == generation)
			break;
	if (end)
		(void)events_end_free(ends, end);
}

void
events_add_end(struct events_ends *ends, const struct attachment *attachment)
{
	struct events *events = attachment->segment->host->events;
	uint64_t now_ns = clock_monotonic_ns();
	struct charge charge = CHARGE_NULL;
	struct events_end *end;

	while ((end = TAILQ_FIRST(ends)) && now_ns - end->ended_ns > ENDS_NS)
		(void)events_end_free(ends, end);
	if (!events || !events->n_subscribers)
		return;
	/* Beyond the uid's limit, or without memory, a death is not told; that the attachment ended is, all the same. */
	if (accounts_charge(attachment->charge.accounts, attachment->uid, ACCOUNTS_ENDS, 1, &charge)) {
		accounts_left_out(attachment->charge.accounts, ACCOUNTS_ENDS);
		return;
	}
	end = malloc(sizeof(*end));
	if (!end) {
		charge_deinit(&charge);
		return;
	}
	*end = (struct events_end) {
		.definition = definition_ref(attachment->segment->definition),
		.generation = attachment->segment->generation,
		.attachment = attachment->id,
		.uid = attachment->uid,
		.ended_ns = now_ns,
		.events = events,
		.charge = charge,
	};
	TAILQ_INSERT_TAIL(ends, end, entry);
}

void
events_on_attach(struct attachment *attachment, struct events_ends *ends)
{
	attachment->ends = ends;
	attachment->is_told = true;
	events_post_attachment(PROTOCOL_EVENT_ATTACHED, attachment);
}

void
events_on_detach(struct attachment *attachment)
{
	/* First, since nobody needs to be told of what it did itself. */
	events_unwatch(attachment);
	/* The end of a segment that is gone has been told already. */
	if (!attachment->is_told || attachment->segment->state == PROTOCOL_GONE)
		return;
	events_post_attachment(PROTOCOL_EVENT_DETACHED, attachment);
	if (attachment->session)
		events_add_end(attachment->ends, attachment);
}
