/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Requests about the locks of a segment: what they are and how they are, and recovery by hand. */
#include "config.h"

#include "base/base.h"
#include "daemon/mutexes.h"
#include "daemon/requests.h"

#define TURN_NS		(NS_PER_MS / 2)		/* of recovering by hand: the rest is for workers */

void
requests_describe_lock(const struct lock *lock, struct protocol_lock *row)
{
	const struct definition_lock *definition = lock->definition;

	*row = (struct protocol_lock) {
		.cursor = lock_index(lock) + 1,
		.offset_bytes = definition->offset_bytes,
		.length_bytes = definition->length_bytes,
		.at_bytes = definition->is_mutex ? definition->at_bytes : lock->log_offset_bytes,
		.n_recoveries = lock->n_recoveries,
		.recovered_ns = lock->recovered_ns,
		.recovered_pid = lock->recovered_pid,
		.log_bytes = lock->log_bytes,
		.kind = definition->is_mutex ? PROTOCOL_LOCK_MUTEX : PROTOCOL_LOCK_OURS,
		.on_death = (uint8_t)definition->on_death,
	};
	(void)snprintf(row->name, sizeof(row->name), "%s", definition->name);
}

/* What its word says now. It may be anything: whoever writes the segment writes it. */
static void
requests_look_at_lock(struct lock *lock, struct protocol_lock *row)
{
	enum protocol_lock_reason reason;

	if (lock_is_mutex(lock) && lock->locks->holding->map) {
		(void)mutexes_observe(lock, &row->owner, &reason);
		row->reason = (uint8_t)reason;
		row->flags |= (lock->job ? PROTOCOL_LOCK_DUE : 0) | (lock->is_stuck ? PROTOCOL_LOCK_STUCK : 0);
	}
	if (!lock_is_ours(lock))
		return;
	lock_note(lock);
	row->owner = lock_word_id(lock);
	if (row->owner == CONTROL_ID_POISON)
		row->flags |= PROTOCOL_LOCK_POISONED;
	if (lock->job || row->owner == lock->locks->claim_id)
		row->flags |= PROTOCOL_LOCK_DUE;
	if (row->owner > CONTROL_ID_MAX || row->owner == lock->locks->claim_id)
		row->owner = 0;
}

int
requests_locks(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_locks *ask = (const void *)request;
	struct requests_page page = { .requests = requests, .row_size = sizeof(struct protocol_lock) };
	struct segment *segment = requests->segment;

	if (ask->generation && ask->generation != segment->generation)
		return session_refuse(session, request, -ESTALE, "segment '%s' was removed and made anew", ask->name);
	for (uint64_t i = ask->cursor; i < segment->locks->n; i++) {
		struct lock *lock = &segment->locks->list[i];
		struct protocol_lock *row = requests_page_next(&page);

		if (!row)
			break;
		requests_describe_lock(lock, row);
		requests_look_at_lock(lock, row);
	}
	return requests_page_reply(&page, session, request);
}

/*
 * Frees what is poisoned of the locks with that name, or of all. 0, -ESRCH, -EALREADY, or what was wrong with one, which is
 * in *ret_failed then.
 */
static int
requests_recover_locks(struct segment *segment, const char *name, bool keep, uint32_t *ret_n,
    const struct lock **ret_failed)
{
	uint64_t until_ns = clock_monotonic_ns() + TURN_NS;
	bool is_known = false;
	int failed = 0;

	for (uint32_t i = 0; i < segment->locks->n; i++) {
		struct lock *lock = &segment->locks->list[i];
		int r;

		if (*name && !streq(lock->definition->name, name))
			continue;
		is_known = true;
		r = recovery_by_hand(segment->host->recovery, lock, keep, until_ns);
		if (r == 0) {
			++*ret_n;
		} else if (r != -EALREADY) {
			failed = r;
			*ret_failed = lock;
		}
	}
	if (failed)
		return failed;
	if (!is_known && *name)
		return -ESRCH;
	return *ret_n ? 0 : -EALREADY;
}

/* Says why none was freed, or not all. */
static int
requests_recover_refuse(struct session *session, const struct protocol_header *request, const struct lock *failed, int r)
{
	const struct protocol_recover *recover = (const void *)request;
	const char *name = failed ? failed->definition->name : "";

	switch (r) {
	case -ESRCH:
		return session_refuse(session, request, r, "segment '%s' has no lock '%s'; `segmentctl show %s` names those "
		    "it has", recover->name, definition_name_valid(recover->lock) ? recover->lock : "", recover->name);
	case -EALREADY:
		if (*recover->lock)
			return session_refuse(session, request, r, "lock '%s' of segment '%s' is not poisoned", recover->lock,
			    recover->name);
		return session_refuse(session, request, r, "no lock of segment '%s' is poisoned", recover->name);
	case -EBADMSG:
		return session_refuse(session, request, r, "the log of lock '%s' of segment '%s' is damaged and cannot be "
		    "rolled back; with --keep its bytes stay as they are", name, recover->name);
	default:
		return session_refuse(session, request, r, "lock '%s' of segment '%s' cannot be recovered: %s", name,
		    recover->name, strerror(-r));
	}
}

int
requests_recover(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_recover *recover = (const void *)request;
	struct segment *segment = requests->segment;
	struct protocol_recovered reply = { .n_locks = 0 };
	const struct lock *failed = NULL;
	int r;

	if (recover->flags & ~PROTOCOL_RECOVER_KEEP)
		return session_refuse(session, request, -EINVAL, "recover was asked for with unknown flags");
	segment_recover_strays(segment);
	r = requests_recover_locks(segment, recover->lock, recover->flags & PROTOCOL_RECOVER_KEEP, &reply.n_locks,
	    &failed);
	if (r)
		return requests_recover_refuse(session, request, failed, r);
	return session_reply(session, request, &reply.header, sizeof(reply), 0, NULL, 0);
}
