/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* How a segment comes to be: its states, its locks, its provisioning, until it can be used. segment_ends.c has what follows. */
#include "config.h"

#include <sys/random.h>

#include "base/base.h"
#include "daemon/mutexes.h"
#include "daemon/segment_parts.h"

#define TURN_NS		(NS_PER_MS / 2)
#define WAITS_MAX	100		/* for memory that others give back, before it is not to be had */

const char *
segment_state_name(enum protocol_state state)
{
	static const char *const names[PROTOCOL_STATE_N] = {
		[PROTOCOL_DECLARED] = "declared",
		[PROTOCOL_PROVISIONING] = "provisioning",
		[PROTOCOL_READY] = "ready",
		[PROTOCOL_DRAINING] = "draining",
		[PROTOCOL_GONE] = "gone",
		[PROTOCOL_FAILED] = "failed",
	};

	return names[state];
}

static void
segment_wake_waiters(struct segment *segment, bool is_progress)
{
	struct segment_waiter *waiter, *next;

	/* Each is taken out; one that waits again does so from the loop, later. */
	for (waiter = LIST_FIRST(&segment->waiters); waiter; waiter = next) {
		next = LIST_NEXT(waiter, entry);
		if (is_progress && !waiter->wants_progress)
			continue;
		segment_waiter_cancel(waiter);
		waiter->wake(waiter);
	}
}

static void
segment_tell(const struct segment *segment)
{
	static const uint8_t kinds[PROTOCOL_STATE_N] = {
		[PROTOCOL_READY] = PROTOCOL_EVENT_READY,
		[PROTOCOL_FAILED] = PROTOCOL_EVENT_FAILED,
		[PROTOCOL_DRAINING] = PROTOCOL_EVENT_DRAINING,
		[PROTOCOL_GONE] = PROTOCOL_EVENT_REMOVED,
	};

	if (kinds[segment->state])
		events_post(segment->host->events, kinds[segment->state], segment, -1, NULL, 0, 0);
}

/* The segment may be freed in it, when it is gone. */
void
segment_enter(struct segment *segment, enum protocol_state state)
{
	/* Before anybody is told. While it is scrubbed, its bytes are worth nothing. */
	if (state == PROTOCOL_GONE || state == PROTOCOL_FAILED)
		segment_drop_row(segment);
	else if (state != PROTOCOL_READY)
		segment_rewrite_row(segment, state);
	segment->state = state;
	segment_tell(segment);
	segment_wake_waiters(segment, false);
	segment->host->on_change(segment, segment->host->on_change_arg);
}

void
segment_tell_revived(struct segment *segment)
{
	segment_tell(segment);
	segment_wake_waiters(segment, false);
	segment->host->on_change(segment, segment->host->on_change_arg);
}

/* Instead of a reason that there was no room for, as where memory is short. */
static char no_room[] = "the daemon is out of memory, also for the reason";

static void
segment_free_reason(struct segment *segment)
{
	if (segment->reason != no_room)
		free(segment->reason);
	segment->reason = NULL;
}

void
segment_set_reason(struct segment *segment, const char *text)
{
	segment_free_reason(segment);
	if (!text || !*text)
		return;
	segment->reason = strdup(text);
	if (!segment->reason)
		segment->reason = no_room;
}

static int
segment_new_locks(struct segment *segment)
{
	static const struct holding nothing = HOLDING_NULL;
	static struct locks none = { .holding = &nothing };
	int r;

	segment->locks = &none;
	if (!segment->definition->n_locks)
		return 0;
	segment->locks = malloc(sizeof(*segment->locks));
	if (!segment->locks)
		return -ENOMEM;
	r = locks_init(segment->locks, segment->host->recovery, segment->definition, &segment->holding);
	if (r)
		free(segment->locks);
	return r;
}

static void
segment_free_locks(struct segment *segment)
{
	if (!segment->locks->n)
		return;
	recovery_forget(segment->host->recovery, segment->locks);
	locks_deinit(segment->locks);
	free(segment->locks);
}

int
segment_new(struct segment_host *host, struct definition *definition, uint64_t generation,
    struct segment **ret_segment)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return -ENOMEM;
	segment->host = host;
	segment->definition = definition_ref(definition);
	segment->generation = generation;
	segment->state = PROTOCOL_DECLARED;
	segment->holding = (struct holding) HOLDING_NULL;
	TAILQ_INIT(&segment->attachments);
	LIST_INIT(&segment->watched);
	LIST_INIT(&segment->waiters);
	if (segment_new_locks(segment)) {
		(void)definition_unref(segment->definition);
		free(segment);
		return -ENOMEM;
	}
	*ret_segment = segment;
	return 0;
}

void
segment_redefine(struct segment *segment, struct definition *definition)
{
	struct definition *grown = NULL;

	if (segment->grown) {
		grown = definition_copy(definition);
		if (grown)
			grown->size_bytes = segment->grown->size_bytes;
		else
			segment_stop_growing(segment, "the daemon is out of memory");
	}
	if (grown) {
		(void)definition_unref(segment->grown);
		segment->grown = grown;
	}
	(void)definition_ref(definition);
	for (uint32_t i = 0; i < segment->locks->n; i++)
		segment->locks->list[i].definition = &definition->locks[i];
	(void)definition_unref(segment->definition);
	segment->definition = definition;
	segment_rewrite_texts(segment);
}

void
segment_unwatch(struct segment *segment)
{
	if (!segment->watch)
		return;
	kernelcount_unwatch(&segment->watch->watch);
	milestones_deinit(&segment->watch->milestones);
	free(take_ptr(segment->watch));
}

static void
segment_let_go(struct segment *segment)
{
	struct provisioner *provisioner = segment->host->provisioner;

	segment_unwatch(segment);
	segment_unbox(segment);
	provisioner_uncount_locked(provisioner, &segment->holding);
	holding_release(&segment->holding, &provisioner->releases, false);
}

/* Who created it pays for its memory until nobody has that any more, also where its name has gone before. */
static void
segment_charge_holding(struct segment *segment)
{
	if (!segment->creation || (segment->holding.object.fd < 0 && !segment->holding.object.own))
		return;
	segment->holding.charges[HOLDING_SEGMENT] = charge_take(&segment->creation->charge);
	segment->holding.charges[HOLDING_BYTES] = charge_take(&segment->creation->bytes_charge);
}

static void
segment_free_creation(struct segment *segment)
{
	if (!segment->creation)
		return;
	charge_deinit(&segment->creation->charge);
	charge_deinit(&segment->creation->bytes_charge);
	--*segment->creation->template_count;
	free(segment->creation);
}

struct segment *
segment_free(struct segment *segment)
{
	struct attachment *attachment;

	if (!segment)
		return NULL;
	segment->provision = provision_free(segment->provision);
	segment_drop_row(segment);
	if (segment->linger)
		event_free(segment->linger);
	if (segment->count)
		event_free(segment->count);
	while ((attachment = TAILQ_FIRST(&segment->attachments)))
		attachment_free(attachment);
	segment_wake_waiters(segment, false);
	segment_free_locks(segment);
	segment_file_free(segment);
	/* Its workers go on until they are done, and what it holds with them. */
	if (segment->growth)
		provision_abandon(take_ptr(segment->growth));
	segment_charge_holding(segment);
	segment_let_go(segment);
	segment_free_creation(segment);
	(void)segment_free(segment->successor);
	(void)definition_unref(segment->grown);
	(void)definition_unref(segment->definition);
	free(segment->growth_reason);
	segment_free_reason(segment);
	free(segment);
	return NULL;
}

bool
segment_has_attachment(const struct segment *segment, uint32_t id)
{
	return segment_find_attachment(segment, id) || id == segment->locks->claim_id;
}

void
segment_recover_strays(struct segment *segment)
{
	/* Its pages are on their way out, or in: nobody has locks in them, and touching one would bring it back. */
	if (segment->provision)
		return;
	recovery_strays(segment->host->recovery, segment->locks, clock_monotonic_ns() + TURN_NS);
}

bool
segment_has_owner(const struct locks *locks, uint32_t id)
{
	const struct attachment *attachment = segment_find_attachment(segment_of_locks(locks), id);

	return attachment && !attachment->is_owner_gone;
}

void
segment_on_locks_idle(struct locks *locks)
{
	struct segment *segment = segment_of_locks(locks);

	if (!segment_n_attached(segment))
		segment_rest(segment);
}

/*
 * An id for the words that we claim, from the same numbers as attachments': marked like theirs, on our own description, of
 * which workers that repair hold copies. So who waits for a lock that is claimed learns from the kernel whether anybody is
 * still at it. Nobody has been handed the memory yet, who could disturb the mark.
 */
static int
segment_mark_claim(struct segment *segment)
{
	struct locks *locks = segment->locks;
	uint32_t id;
	int r;

	if (!locks->n_ours || locks->claim_id)
		return 0;
	r = backend_object_settle(&segment->holding.object);
	if (r)
		return r;
	id = attachment_next_id(segment);
	r = kernelcount_mark(segment->holding.object.fd, id);
	if (r == 0)
		locks->claim_id = id;
	return r;
}

/* Whether somebody has what it is made of since before it was: an earlier daemon's clients. */
static bool
segment_is_inherited(struct segment *segment)
{
	return segment->holding.object.has_contents && !holding_is_alone(&segment->holding);
}

/*
 * Who had the file before us may still have it, and marks of the ids that an earlier daemon gave: ours begin somewhere else. All
 * of them together are so few that they do not meet.
 */
static void
segment_begin_ids(struct segment *segment)
{
	uint32_t any;

	if (segment->last_id || !segment->holding.object.has_contents)
		return;
	if (getrandom(&any, sizeof(any), GRND_NONBLOCK) != sizeof(any))
		any = (uint32_t)(clock_realtime_ns() / NS_PER_MS);
	segment->last_id = any % CONTROL_ID_MAX;
}

/* Its memory is there: what it needs besides before anybody has it. 0, or a negative errno, and its reason is set. */
static int
segment_make_usable(struct segment *segment, bool is_held, const char *note)
{
	char text[FINDINGS_TEXT_SIZE];
	int r = segment_mark_claim(segment);

	if (r) {
		segment_set_reason(segment, "the kernel does not mark its memory, which the recovery of its locks needs");
		return r;
	}
	if (!is_held && !segment_is_inherited(segment))
		r = mutexes_init(segment->locks);
	if (r) {
		segment_set_reason(segment, "its mutexes cannot be initialised: memory was taken away");
		return r;
	}
	r = segment_admit(segment, segment->definition, text, sizeof(text));
	if (r) {
		segment_set_reason(segment, text);
		return r;
	}
	r = segment_file_new(segment, note);
	if (r) {
		segment_set_reason(segment, "the daemon is out of memory");
		return r;
	}
	/* Whoever has it from before counts as attached, of whom we were not told. */
	segment->was_attached = is_held || (segment->holding.is_adopted && !holding_is_alone(&segment->holding));
	/* What a row promises is kept before it is written. */
	segment_box(segment);
	r = segment_enter_row(segment, PROTOCOL_READY);
	if (r) {
		segment_file_free(segment);
		segment_set_reason(segment, ledger_describe_error(segment->host->ledger, text, sizeof(text)));
	}
	return r;
}

/* Provisioning is over. is_held: of a scrub, which somebody who came by a key or name was faster than. The segment may be freed. */
static void
segment_provisioned(struct segment *segment, int r, bool is_held, const char *text, const char *note)
{
	locks_place(segment->locks);
	segment_begin_ids(segment);
	segment_set_reason(segment, text);
	if (!r && (r = segment_make_usable(segment, is_held, note))) {
		locks_unplace(segment->locks);
		segment_let_go(segment);
	}
	if (r) {
		/* Its mark went with the memory: other memory needs another. */
		segment->locks->claim_id = 0;
		segment_unwatch(segment);
		segment_enter(segment, PROTOCOL_FAILED);
		return;
	}
	segment->holding.is_adopted = segment->holding.took_row = false;
	segment_recover_strays(segment);
	if (*note)
		events_post(segment->host->events, PROTOCOL_EVENT_UNCLEAN, segment, -1, NULL, 0, 0);
	segment_enter(segment, PROTOCOL_READY);
	segment_grow_on(segment);
	if (segment->was_attached)
		segment_rest(segment);
}

static void
segment_on_provisioned(struct provision *provision, int r)
{
	struct segment *segment = provision->owner;
	char text[FINDINGS_TEXT_SIZE], note[FINDINGS_TEXT_SIZE];
	bool is_held = provision->is_held;

	memcpy(text, provision->text, sizeof(text));
	memcpy(note, provision->note, sizeof(note));
	segment->provision = provision_free(provision);
	segment_provisioned(segment, r, is_held, text, note);
}

static void
segment_on_progress(struct provision *provision)
{
	segment_wake_waiters(provision->owner, true);
	segment_tell_progress(provision->owner, provision);
}

/*
 * What a reload takes away is on its way back while what it adds is judged: that stays declared, or of its size, and is tried
 * again when some of it has arrived. Not without end, since others may always have something on its way.
 */
bool
segment_waits_for_room(struct segment *segment, int r)
{
	/* -EBUSY: the file or name that it is to have is being given up. -ENOSPC: /dev/shm is full of what is being given back. */
	if ((r != -ENOMEM && r != -ENOSPC && r != -EPERM && r != -EBUSY) || !segment->is_declared || segment->n_waits == WAITS_MAX ||
	    !provisioner_awaits_room(segment->host->provisioner))
		return false;
	/* Workers of an earlier daemon may wait for as long as somebody likes. */
	if (backend_names_are_settled())
		segment->n_waits++;
	segment->host->awaits_room = true;
	return true;
}

void
segment_provision(struct segment *segment, bool is_scrub)
{
	char text[FINDINGS_TEXT_SIZE] = "";
	int r;

	/* Its control memory goes, and nobody is left whose locks could be due. */
	if (is_scrub) {
		recovery_forget(segment->host->recovery, segment->locks);
		locks_unplace(segment->locks);
	}
	free(take_ptr(segment->growth_reason));
	segment->is_revived = false;
	segment_enter(segment, PROTOCOL_PROVISIONING);
	segment->holding.generation = segment->generation;
	segment->holding.creator = segment->definition->creator;
	r = provision_start(segment->host->provisioner, segment->definition, &segment->holding, is_scrub,
	    segment_on_provisioned, segment_on_progress, segment, &segment->provision, text, sizeof(text));
	/* What was adopted is what its clients know: it stays the same to them. */
	if (segment->holding.is_adopted)
		segment->generation = segment->holding.generation;
	if (!is_scrub && segment_waits_for_room(segment, r)) {
		segment_enter(segment, PROTOCOL_DECLARED);
		return;
	}
	segment->n_waits = 0;
	if (r)
		segment_provisioned(segment, r < 0 ? r : 0, false, text, "");
}

void
segment_start(struct segment *segment)
{
	if (!segment->is_awaited)
		segment_provision(segment, false);
}

void
segment_wait(struct segment *segment, struct segment_waiter *waiter, bool wants_progress)
{
	segment_waiter_cancel(waiter);
	waiter->segment = segment;
	waiter->wants_progress = wants_progress;
	LIST_INSERT_HEAD(&segment->waiters, waiter, entry);
}

void
segment_waiter_cancel(struct segment_waiter *waiter)
{
	if (!waiter->segment)
		return;
	LIST_REMOVE(waiter, entry);
	waiter->segment = NULL;
}

uint64_t
segment_resident_bytes(const struct segment *segment)
{
	const struct holding *holding = &segment->holding;
	char text[FINDINGS_TEXT_SIZE];
	uint64_t bytes;

	if (holding->object.fd < 0)
		return 0;
	bytes = holding->backend->resident_bytes(&holding->object);
	/*
	 * Of a file it is counted in turns: what the kernel has locked is in memory meanwhile, unless it was cut off. Elsewhere it
	 * may have been punched.
	 */
	if (holding->backend->features & BACKEND_DURABLE && segment_check(segment, text, sizeof(text)) >= 0)
		bytes = max_u64(bytes, holding->locked_bytes - holding_control_locked_bytes(holding));
	return bytes;
}
