/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Control memory: what a segment with locks has beside its data, and every algorithm on it that a death may cut short at
 * any instruction. The daemon and the clients share this code, as they share the memory.
 *
 *	records		struct control_lock, one for each entry of the definition's `locks`, at index * CONTROL_RECORD_BYTES
 *	logs		one for each lock of ours, where the attach reply says
 *
 * Whoever can write a segment can write its control memory. So nothing here follows a pointer, a length or an index from
 * it: where a lock's bytes and log are, the caller knows for itself (struct control_place), and a log's entries are held
 * against that before one byte is restored.
 *
 * A section, in this order, each step done before the next begins:
 *
 *	control_try()		state: 0 -> the attachment's id, the thread's id
 *	control_log()		the old bytes; then used_bytes, which publishes them; then sequence becomes odd
 *	...			the caller's stores
 *	control_commit()	used_bytes = 0: from here on the new bytes stand; then sequence becomes even
 *	control_unlock()	state: -> 0, and a waiter is woken
 *
 * Who dies before used_bytes = 0 has changed nothing: the log restores the old bytes. Who dies after it has changed all.
 * The compiler must keep this order (the fences in control.c); a dead thread's stores are ordered before the news of its
 * death by the kernel.
 */
#ifndef CLIENT_CONTROL_H
#define CLIENT_CONTROL_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A lock's state is two words that are changed as one: the word, at the record's first byte, and the bell behind it. Sleepers
 * and the kernel take each for a futex of its own; everybody else changes both with one atomic operation of 64 bits.
 *
 * The word: 0, or who has it, and whether somebody may be asleep for it.
 */
#define CONTROL_ID_MASK		UINT32_C(0x3fffffff)
#define CONTROL_WAITERS		UINT32_C(0x80000000)
#define CONTROL_ID_MAX		UINT32_C(0x3ffffffd)	/* of attachments */
#define CONTROL_ID_POISON	UINT32_C(0x3fffffff)	/* nobody can have it, until it is recovered by hand */

/*
 * The bell: 0, or the thread that has the word, by its id in its own pid namespace, perhaps with CONTROL_WAITERS. The thread
 * may have pointed the kernel at it, as at a robust mutex that it is about to unlock (lock_threads.c). When that thread ends,
 * the kernel puts CONTROL_DIED in its id's place and wakes one that sleeps for the bell: early in its end, before its memory
 * and its descriptors go, and before anybody else could tell.
 *
 * It is set with the word and cleared with the word, and the kernel is pointed at it only in between. So a state with
 * CONTROL_DIED in it says, in one value, that the thread which has the word is dead and that nobody has taken its word yet:
 * who sees that may take it, by a compare-and-swap from that very value, and robs nobody. A bell that is never rung costs
 * time and nothing else: the daemon and the marks tell of every death, only later. So nothing rests on the kernel's being
 * pointed there, and who cannot have that leaves the bell 0.
 */
#define CONTROL_DIED		UINT32_C(0x40000000)	/* only the kernel sets it */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CONTROL_STATE(word, bell)	((uint64_t)(bell) << 32 | (uint32_t)(word))
#else
#define CONTROL_STATE(word, bell)	((uint64_t)(word) << 32 | (uint32_t)(bell))
#endif

/*
 * Every id stands for one holder, and is never given to another while a word could still name it. The daemon has one of
 * its own for each segment and each of its lives, for the words that it claims: so a word that names a dead daemon's claim
 * is a dead owner's word like any other, and who has seen that the kernel knows its mark no more may act on that however
 * late, since the word can never come to mean somebody who lives.
 */

/* Of control_lock.marks. */
#define CONTROL_OWNER_DIED	UINT32_C(0x1)	/* since somebody who was told unlocked */

#define CONTROL_RECORD_BYTES	64
#define CONTROL_ENTRY_UNIT	8		/* an entry's bytes are padded to a multiple of it */
#define CONTROL_TAKEN_N		7

struct control_lock {
	_Atomic uint64_t state;		/* word and bell */
	_Atomic uint32_t sequence;	/* odd while a section changes bytes: what readers hold theirs against */
	_Atomic uint32_t used_bytes;	/* of the log; 0: there is nothing to undo */
	_Atomic uint32_t marks;		/* CONTROL_OWNER_DIED */
	/*
	 * From whom waiters took it, for the daemon's books: written before it is taken, by whoever is about to. A hint: nothing
	 * but what is counted and told rests on it.
	 */
	_Atomic uint32_t taken_n;	/* written so far; the next goes to this modulo CONTROL_TAKEN_N */
	_Atomic uint32_t taken[CONTROL_TAKEN_N];
	uint32_t zero[3];
};
static_assert(sizeof(struct control_lock) == CONTROL_RECORD_BYTES, "a record is a cache line");
static_assert(offsetof(struct control_lock, state) == 0, "layout");
static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "records are shared between processes");

static inline uint32_t
control_word(uint64_t state)
{
	return (uint32_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? state : state >> 32);
}

static inline uint32_t
control_bell(uint64_t state)
{
	return (uint32_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? state >> 32 : state);
}

/* Whom the word names, or 0. */
static inline uint32_t
control_id(uint64_t state)
{
	return control_word(state) & CONTROL_ID_MASK;
}

/* What a taker makes of it: with waiters CONTROL_WAITERS or 0, in both; tid 0: it cannot have its bell rung. */
static inline uint64_t
control_owned(uint32_t id, uint32_t tid, uint32_t waiters)
{
	return CONTROL_STATE(id | waiters, tid ? tid | waiters : 0);
}

/* The thread that has the word is dead, and its word not taken yet. */
static inline bool
control_is_rung(uint64_t state)
{
	return control_bell(state) & CONTROL_DIED && control_id(state) && control_id(state) != CONTROL_ID_POISON;
}

/* The two halves, for the kernel: nobody else looks at them by themselves. */
static inline uint32_t *
control_word_futex(struct control_lock *lock)
{
	return (uint32_t *)(void *)lock;
}

static inline uint32_t *
control_bell_futex(struct control_lock *lock)
{
	return (uint32_t *)(void *)lock + 1;
}

/* An entry of a log: the old bytes, padded, and then this. It stands behind them so that the newest is found first. */
struct control_footer {
	uint64_t offset_bytes;		/* where they were, from the segment's first byte */
	uint32_t length_bytes;
	uint32_t zero;
};
static_assert(sizeof(struct control_footer) == 16, "layout");

/* The configuration's order. */
enum control_on_death {
	CONTROL_ROLLBACK,		/* the log's bytes are restored */
	CONTROL_KEEP,			/* the bytes stay as they are */
	CONTROL_ZERO,			/* the lock's bytes are zeroed */
	CONTROL_POISON,			/* bytes and log stay as they are, and nobody gets the lock */
	CONTROL_ON_DEATH_N
};

/* A lock as one process sees it: where it is, and what is known of it from elsewhere than shared memory. */
struct control_place {
	struct control_lock *lock;
	unsigned char *log;
	unsigned char *data;		/* the segment's first byte */
	uint64_t offset_bytes;		/* of what the lock protects */
	uint64_t length_bytes;
	uint32_t log_bytes;		/* room in the log */
	uint32_t copied_bytes;		/* of a log that is_copied: what is in use of it */
	bool is_copied;			/* log is a private copy, which nobody else changes: for repairs only */
	enum control_on_death on_death;
};

/* How a log's bytes are restored. 0, or -EFAULT where memory cannot be had. */
typedef int (*control_copy_fn)(void *to, const void *from, size_t length);

/* The plain one: for a process that may die of memory which is not there. */
int control_copy(void *to, const void *from, size_t length);

enum {
	CONTROL_E_OTHER = 1,		/* the word names somebody else */
	CONTROL_E_BUSY = 2,		/* the word changed under every try: somebody breaks the rules, try again later */
	CONTROL_E_POISONED = 3,		/* nobody can have it now */
};

#ifdef __SANITIZE_THREAD__
/* It does not know fences; the sequence's own accesses are ordered enough on the machines that it runs on. */
#define CONTROL_FENCE(order)	atomic_signal_fence(order)
#else
#define CONTROL_FENCE(order)	atomic_thread_fence(order)
#endif

/* Of a poisoned lock, whose waiters each wake another: so many are not one turn's work, however many sleep there. */
#define CONTROL_WAKE_MANY	64

/* Wakes as many that wait for the lock. */
void control_wake(struct control_lock *lock, int n);

/* Takes a lock that is free and that nobody waits for, for a thread. Another one is not looked at further. */
static inline bool
control_try(struct control_lock *lock, uint32_t id, uint32_t tid)
{
	uint64_t state = 0;

	return atomic_compare_exchange_strong_explicit(&lock->state, &state, CONTROL_STATE(id, tid), memory_order_acquire,
	    memory_order_relaxed);
}

/* Gives back a lock that is one's own. What was changed was committed or undone before. */
static inline void
control_unlock(struct control_lock *lock)
{
	if (control_word(atomic_exchange_explicit(&lock->state, 0, memory_order_release)) & CONTROL_WAITERS)
		control_wake(lock, 1);
}

/* Tells readers that bytes are about to change. */
static inline void
control_open(struct control_lock *lock)
{
	uint32_t sequence = atomic_load_explicit(&lock->sequence, memory_order_relaxed);

	if (sequence & 1)
		return;
	atomic_store_explicit(&lock->sequence, sequence + 1, memory_order_relaxed);
	CONTROL_FENCE(memory_order_release);
}

/*
 * Logs length_bytes old bytes of the segment at offset_bytes, which the caller then may change. The range is the lock's
 * (the caller has checked that). 0, or -ENOSPC with nothing changed.
 */
int control_log(const struct control_place *place, uint64_t offset_bytes, uint64_t length_bytes);

/* Makes the new bytes stand: empties the log, and lets readers in. */
static inline void
control_commit(struct control_lock *lock)
{
	uint32_t sequence;

	atomic_signal_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&lock->used_bytes, memory_order_relaxed))
		atomic_store_explicit(&lock->used_bytes, 0, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
	sequence = atomic_load_explicit(&lock->sequence, memory_order_relaxed);
	if (sequence & 1)
		atomic_store_explicit(&lock->sequence, sequence + 1, memory_order_release);
}

/*
 * Restores the old bytes, newest entry first, and empties the log. Cut short, it can be begun again. 0; -EBADMSG where
 * the log is none: nothing was restored; -EFAULT from copy.
 */
int control_undo(const struct control_place *place, control_copy_fn copy);

/*
 * The range of the segment that an undo would touch ([*ret_from, *ret_to), empty if the log is), for whoever must know
 * before. 0, -EBADMSG, -EFAULT. What it says may have changed by the time of the undo, which checks again.
 */
int control_extent(const struct control_place *place, control_copy_fn copy, uint64_t *ret_from, uint64_t *ret_to);

/*
 * Puts the bytes of a dead owner's section right as on_death says, and marks that an owner died. The caller has the word.
 * 0: to be released or kept. CONTROL_E_POISONED: to be poisoned, since on_death says so or since the log cannot be
 * trusted. -EFAULT from copy.
 */
int control_repair(const struct control_place *place, control_copy_fn copy);

/* From a dead owner's id to the daemon's own, which has no bell. 0, CONTROL_E_OTHER, CONTROL_E_BUSY. */
int control_claim(struct control_lock *lock, uint32_t dead_id, uint32_t claim_id);

/*
 * A waiter's own way: from the id of an owner that is gone, whatever its bell, to its own id and thread. It has the lock
 * then, and repairs; if it dies in that, the word names it and the log is whole. 0, CONTROL_E_OTHER, CONTROL_E_BUSY.
 */
int control_take_over(struct control_lock *lock, uint32_t dead_id, uint32_t id, uint32_t tid);

/* The same from a state that control_is_rung() said yes to: whatever has happened since, it is taken only if it still is that. */
bool control_take_rung(struct control_lock *lock, uint64_t state, uint32_t id, uint32_t tid);

/* Whether somebody has written that it takes the lock from this owner. */
bool control_was_taken(const struct control_lock *lock, uint32_t dead_id);

/* Ends a claim: the lock is free, and one that waits is woken. 0, CONTROL_E_OTHER, CONTROL_E_BUSY. */
int control_release(struct control_lock *lock, uint32_t claim_id);

/* From `id` to poison; those that wait are woken, wake the others, and get -ENOTRECOVERABLE. 0, CONTROL_E_OTHER, CONTROL_E_BUSY. */
int control_poison(struct control_lock *lock, uint32_t id);

/* From poison to a claim, for a recovery by hand. 0, CONTROL_E_OTHER, CONTROL_E_BUSY. */
int control_claim_poisoned(struct control_lock *lock, uint32_t claim_id);

/*
 * What follows the claim: repair, and release or poison. 0: it is free; CONTROL_E_POISONED; CONTROL_E_OTHER; CONTROL_E_BUSY;
 * -EFAULT: it stays claimed.
 */
int control_finish(const struct control_place *place, uint32_t claim_id, control_copy_fn copy);

#endif
