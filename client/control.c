/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The undo log and the recovery. Everything here may end at any instruction, and be begun again by another process from
 * what it left in the memory.
 */
#include "config.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "client/control.h"

#define TRIES_MAX	100	/* of a compare-and-swap that only a writer which breaks the rules can make fail again */

/*
 * What stands before it in the code is done before what stands behind it, as far as the compiler goes. More is not needed:
 * nobody looks at the log of a lock before its owner is dead, and the kernel orders a dead thread's stores before that
 * news. Plain stores without it are dropped or moved by gcc and clang.
 */
#define KEEP_ORDER()	atomic_signal_fence(memory_order_seq_cst)

int
control_copy(void *to, const void *from, size_t length)
{
	memcpy(to, from, length);
	return 0;
}

void
control_wake(struct control_lock *lock, int n)
{
	int saved = errno;

	(void)syscall(SYS_futex, control_word_futex(lock), FUTEX_WAKE, n, NULL, NULL, 0);
	errno = saved;
}

int
control_log(const struct control_place *place, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct control_lock *lock = place->lock;
	struct control_footer footer = { .offset_bytes = offset_bytes, .length_bytes = (uint32_t)length_bytes };
	uint32_t used_bytes = atomic_load_explicit(&lock->used_bytes, memory_order_relaxed);
	uint64_t room;

	if (used_bytes > place->log_bytes || length_bytes > UINT32_MAX)
		return -ENOSPC;
	room = place->log_bytes - used_bytes;
	if (round_up(length_bytes, CONTROL_ENTRY_UNIT) + sizeof(footer) > room)
		return -ENOSPC;
	memcpy(place->log + used_bytes, place->data + offset_bytes, length_bytes);
	used_bytes += (uint32_t)round_up(length_bytes, CONTROL_ENTRY_UNIT);
	memcpy(place->log + used_bytes, &footer, sizeof(footer));
	used_bytes += (uint32_t)sizeof(footer);
	KEEP_ORDER();
	atomic_store_explicit(&lock->used_bytes, used_bytes, memory_order_release);
	KEEP_ORDER();
	control_open(lock);
	KEEP_ORDER();
	return 0;
}

/*
 * The entry that ends at *end, which becomes its beginning. Each footer is fetched once, and judged by what was fetched.
 */
static int
control_entry(const struct control_place *place, control_copy_fn copy, uint32_t *end, struct control_footer *ret_footer)
{
	struct control_footer footer;
	uint64_t size;

	if (*end < sizeof(footer))
		return -EBADMSG;
	if (copy(&footer, place->log + *end - sizeof(footer), sizeof(footer)))
		return -EFAULT;
	KEEP_ORDER();
	size = round_up(footer.length_bytes, CONTROL_ENTRY_UNIT) + sizeof(footer);
	if (size > *end || footer.zero || footer.offset_bytes < place->offset_bytes ||
	    footer.offset_bytes - place->offset_bytes > place->length_bytes ||
	    footer.length_bytes > place->length_bytes - (footer.offset_bytes - place->offset_bytes))
		return -EBADMSG;
	*end -= (uint32_t)size;
	*ret_footer = footer;
	return 0;
}

static int
control_used(const struct control_place *place, uint32_t *ret_used_bytes)
{
	uint32_t used_bytes = place->copied_bytes;

	if (!place->is_copied)
		used_bytes = atomic_load_explicit(&place->lock->used_bytes, memory_order_acquire);
	if (used_bytes > place->log_bytes || used_bytes % CONTROL_ENTRY_UNIT)
		return -EBADMSG;
	*ret_used_bytes = used_bytes;
	return 0;
}

int
control_extent(const struct control_place *place, control_copy_fn copy, uint64_t *ret_from, uint64_t *ret_to)
{
	uint64_t from = UINT64_MAX, to = 0;
	struct control_footer footer;
	uint32_t end;
	int r = control_used(place, &end);

	while (r == 0 && end) {
		r = control_entry(place, copy, &end, &footer);
		if (r)
			break;
		from = min_u64(from, footer.offset_bytes);
		to = max_u64(to, footer.offset_bytes + footer.length_bytes);
	}
	if (r)
		return r;
	*ret_from = from < to ? from : 0;
	*ret_to = from < to ? to : 0;
	return 0;
}

int
control_undo(const struct control_place *place, control_copy_fn copy)
{
	struct control_footer footer;
	uint64_t from, to;
	uint32_t end;
	int r;

	/* All of it first: half of an undo is worse than none. */
	r = control_extent(place, copy, &from, &to);
	if (r == 0)
		r = control_used(place, &end);
	if (r)
		return r;
	if (end)
		control_open(place->lock);
	while (end) {
		r = control_entry(place, copy, &end, &footer);
		if (r == 0 && copy(place->data + footer.offset_bytes, place->log + end, footer.length_bytes))
			r = -EFAULT;
		if (r)
			return r;
	}
	control_commit(place->lock);
	return 0;
}

static int
control_zero(const struct control_place *place, control_copy_fn copy)
{
	static const unsigned char zeros[4096];

	control_open(place->lock);
	for (uint64_t done = 0; done < place->length_bytes;) {
		uint64_t length = min_u64(sizeof(zeros), place->length_bytes - done);

		if (copy(place->data + place->offset_bytes + done, zeros, length))
			return -EFAULT;
		done += length;
	}
	control_commit(place->lock);
	return 0;
}

int
control_repair(const struct control_place *place, control_copy_fn copy)
{
	int r = 0;

	(void)atomic_fetch_or_explicit(&place->lock->marks, CONTROL_OWNER_DIED, memory_order_relaxed);
	KEEP_ORDER();
	switch (place->on_death) {
	case CONTROL_ROLLBACK:
		r = control_undo(place, copy);
		break;
	case CONTROL_KEEP:
		control_commit(place->lock);
		break;
	case CONTROL_ZERO:
		r = control_zero(place, copy);
		break;
	default:
		return CONTROL_E_POISONED;
	}
	return r == -EBADMSG ? CONTROL_E_POISONED : r;
}

/* From a word that names `from`, whatever the bell, to `to`, with `keep` of its waiters bit in the word. */
static int
control_exchange(struct control_lock *lock, uint32_t from, uint64_t to, uint32_t keep)
{
	uint64_t state = atomic_load(&lock->state);

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		if (control_id(state) != from)
			return CONTROL_E_OTHER;
		if (atomic_compare_exchange_strong(&lock->state, &state, to | CONTROL_STATE(control_word(state) & keep, 0)))
			return 0;
	}
	return CONTROL_E_BUSY;
}

int
control_claim(struct control_lock *lock, uint32_t dead_id, uint32_t claim_id)
{
	return control_exchange(lock, dead_id, CONTROL_STATE(claim_id, 0), CONTROL_WAITERS);
}

bool
control_was_taken(const struct control_lock *lock, uint32_t dead_id)
{
	/* Most were never taken from anybody. */
	if (!atomic_load_explicit(&lock->taken_n, memory_order_relaxed))
		return false;
	for (unsigned i = 0; i < CONTROL_TAKEN_N; i++)
		if (atomic_load_explicit(&lock->taken[i], memory_order_relaxed) == dead_id)
			return true;
	return false;
}

/*
 * Before the word changes: so who sees another owner in it sees this as well. That the dead one has lost it is true by then,
 * whoever gets it. Not of one's own attachment's: its process lives, and when that ends this would be mistaken for news.
 */
static void
control_note(struct control_lock *lock, uint32_t dead_id, uint32_t id)
{
	uint32_t n;

	if (dead_id == id || control_was_taken(lock, dead_id))
		return;
	n = atomic_fetch_add_explicit(&lock->taken_n, 1, memory_order_relaxed);
	atomic_store_explicit(&lock->taken[n % CONTROL_TAKEN_N], dead_id, memory_order_relaxed);
}

int
control_take_over(struct control_lock *lock, uint32_t dead_id, uint32_t id, uint32_t tid)
{
	/*
	 * Who has given it back and died elsewhere has lost nothing. One that is known to be gone and is named here gives nothing
	 * back any more.
	 */
	if (control_id(atomic_load(&lock->state)) != dead_id)
		return CONTROL_E_OTHER;
	control_note(lock, dead_id, id);
	/* Others may sleep behind the one that takes over. */
	return control_exchange(lock, dead_id, control_owned(id, tid, CONTROL_WAITERS), 0);
}

bool
control_take_rung(struct control_lock *lock, uint64_t state, uint32_t id, uint32_t tid)
{
	control_note(lock, control_id(state), id);
	return atomic_compare_exchange_strong(&lock->state, &state, control_owned(id, tid, CONTROL_WAITERS));
}

int
control_release(struct control_lock *lock, uint32_t claim_id)
{
	int r = control_exchange(lock, claim_id, 0, 0);

	/* Whatever the bit said: a sleeper that the dead forgot is woken by this as well. */
	if (r == 0)
		control_wake(lock, 1);
	return r;
}

int
control_poison(struct control_lock *lock, uint32_t id)
{
	int r = control_exchange(lock, id, CONTROL_STATE(CONTROL_ID_POISON, 0), 0);

	if (r == 0)
		control_wake(lock, CONTROL_WAKE_MANY);
	return r;
}

int
control_claim_poisoned(struct control_lock *lock, uint32_t claim_id)
{
	return control_exchange(lock, CONTROL_ID_POISON, CONTROL_STATE(claim_id, 0), CONTROL_WAITERS);
}

int
control_finish(const struct control_place *place, uint32_t claim_id, control_copy_fn copy)
{
	int r = control_repair(place, copy);

	if (r == CONTROL_E_POISONED) {
		r = control_poison(place->lock, claim_id);
		return r == 0 ? CONTROL_E_POISONED : r;
	}
	if (r == 0)
		r = control_release(place->lock, claim_id);
	return r;
}
