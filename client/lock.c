/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The lock API. What a section does when nobody is in its way is here and inline: two atomic instructions and some loads.
 * Whoever is refused something pays for the question why.
 */
#include "config.h"

#include <sys/syscall.h>

#include "client/lock.h"

#define LIKELY(condition)	__builtin_expect(!!(condition), 1)
#define READ_BACKOFF_MIN_NS	(NS_PER_MS / 32)
#define READ_BACKOFF_MAX_NS	NS_PER_MS

/* Why the segment has no such lock for the caller. */
static int
refuse_index(const struct segment *segment, int lock)
{
	if (!segment)
		return error_set(-EINVAL, "the segment is missing (NULL)");
	if (segment->n_locks == 0)
		return error_set(-EINVAL, "the segment has no locks: its definition has no `locks`");
	if (lock < 0 || (uint32_t)lock >= segment->n_locks)
		return error_set(-EINVAL, "the segment has no lock %d: it has %u, from 0 on; segment_find_lock() knows them",
		    lock, (unsigned)segment->n_locks);
	if (segment->forks != client_forks())
		return error_set(-ECHILD, "the segment was attached before the fork: the locks are the parent's, and a child "
		    "must attach it itself");
	if (segment->is_writer)
		return error_set(-ENOLCK, "the attachment has no mark in the kernel, so others would take it for gone: another "
		    "writer holds a lock on that byte of the segment's fd; once it does not, attach again");
	return error_set(-EACCES, "the segment is attached for reading: locking needs SEGMENT_WRITE, looking on needs "
	    "segment_read_begin()");
}

/* The lock that a writer means; NULL where there is none. */
static inline struct segment_lock *
find(const struct segment *segment, int lock)
{
	return LIKELY(segment && (uint32_t)lock < segment->n_lockable) ? &segment->locks[lock] : NULL;
}

/* The lock, if the calling thread has it. */
static inline struct segment_lock *
find_held(const struct segment *segment, int lock)
{
	struct segment_lock *own = find(segment, lock);

	return LIKELY(own && lock_is_held(own)) ? own : NULL;
}

static int
refuse_held(const struct segment *segment, int lock)
{
	const struct segment_lock *own = find(segment, lock);

	if (!own)
		return refuse_index(segment, lock);
	if (lock_is_mutex(own))
		return lock_refuse_try(segment, own);
	return error_set(-EPERM, "lock '%s' is not held by the calling thread", lock_name(segment, (uint32_t)lock));
}

int
segment_find_lock(const struct segment *segment, const char *name)
{
	if (!segment || !name)
		return error_set(-EINVAL, "segment_find_lock: the %s is missing (NULL)", segment ? "lock's name" : "segment");
	for (uint32_t i = 0; i < segment->n_locks; i++)
		if (streq(lock_name(segment, i), name))
			return (int)i;
	if (segment->n_locks == 0)
		return error_set(-ENOENT, "the segment has no lock '%.128s': its definition has no `locks`", name);
	return error_set(-ENOENT, "the segment has no lock '%.128s': its first of %u is '%s', and `segmentctl show` names all",
	    name, (unsigned)segment->n_locks, lock_name(segment, 0));
}

/* Not the short way: a bad index, a thread's first lock, or a lock that is not free. */
static __attribute__((noinline)) int
lock_slowly(struct segment *segment, int lock, uint64_t deadline_ns)
{
	struct segment_lock *own = find(segment, lock);
	int r;

	if (!own)
		return refuse_index(segment, lock);
	r = lock_thread_register();
	if (r < 0)
		return r;
	return lock_wait(segment, own, deadline_ns);
}

/* The short way: true if the lock was free, and is the calling thread's now. */
static inline bool
lock_quickly(const struct segment *segment, struct segment_lock *own)
{
	if (!LIKELY(own && lock_thread.is_registered && control_try(own->place.lock, segment->attachment, lock_thread.tid)))
		return false;
	lock_hold(own);
	return true;
}

int
segment_lock(struct segment *segment, int lock)
{
	if (LIKELY(lock_quickly(segment, find(segment, lock))))
		return 0;
	return lock_slowly(segment, lock, LOCK_NO_DEADLINE);
}

int
segment_trylock(struct segment *segment, int lock)
{
	struct segment_lock *own = find(segment, lock);
	int r;

	if (LIKELY(lock_quickly(segment, own)))
		return 0;
	if (!own)
		return refuse_index(segment, lock);
	r = lock_thread_register();
	if (r < 0)
		return r;
	return lock_try(segment, own);
}

/* A point of the monotonic clock as nanoseconds, or -EINVAL. */
static int
deadline_from(const struct timespec *deadline, uint64_t *ret_ns)
{
	if (!deadline)
		return error_set(-EINVAL, "segment_timedlock: the deadline is missing (NULL)");
	if (deadline->tv_nsec < 0 || (uint64_t)deadline->tv_nsec >= NS_PER_SEC)
		return error_set(-EINVAL, "segment_timedlock: %ld ns are not a part of a second", (long)deadline->tv_nsec);
	*ret_ns = LOCK_NO_DEADLINE;
	if (deadline->tv_sec < 0)
		*ret_ns = 0;
	else if ((uint64_t)deadline->tv_sec < INT64_MAX / NS_PER_SEC)
		*ret_ns = (uint64_t)deadline->tv_sec * NS_PER_SEC + (uint64_t)deadline->tv_nsec;
	return 0;
}

int
segment_timedlock(struct segment *segment, int lock, const struct timespec *deadline)
{
	uint64_t deadline_ns;
	int r = deadline_from(deadline, &deadline_ns);

	if (r < 0)
		return r;
	if (LIKELY(lock_quickly(segment, find(segment, lock))))
		return 0;
	return lock_slowly(segment, lock, deadline_ns);
}

bool
segment_recovered(const struct segment *segment, int lock)
{
	struct segment_lock *own = find_held(segment, lock);

	if (!own) {
		(void)refuse_held(segment, lock);
		return false;
	}
	if (!(atomic_load_explicit(&own->place.lock->marks, memory_order_relaxed) & CONTROL_OWNER_DIED))
		return false;
	atomic_store_explicit(&own->is_told, true, memory_order_relaxed);
	return true;
}

static __attribute__((noinline)) int
refuse_log(const struct segment *segment, int lock, size_t length)
{
	const struct control_place *place = &segment->locks[lock].place;
	uint32_t used_bytes = atomic_load_explicit(&place->lock->used_bytes, memory_order_relaxed);

	return error_set(-ENOSPC, "the undo log of lock '%s' has no room for %zu bytes more: %u of %u are used; raise `undo`",
	    lock_name(segment, (uint32_t)lock), length, (unsigned)used_bytes, (unsigned)place->log_bytes);
}

/* Where the bytes are in the segment, if the lock protects them. */
static inline bool
is_protected(const struct control_place *place, const void *address, size_t length, uint64_t *ret_offset_bytes)
{
	uint64_t offset_bytes = (uintptr_t)address - (uintptr_t)place->data;

	*ret_offset_bytes = offset_bytes;
	return offset_bytes >= place->offset_bytes && offset_bytes - place->offset_bytes <= place->length_bytes &&
	    length <= place->length_bytes - (offset_bytes - place->offset_bytes);
}

int
segment_modify(struct segment *segment, int lock, void *address, size_t length)
{
	struct segment_lock *own = find_held(segment, lock);
	uint64_t offset_bytes;

	if (!own)
		return refuse_held(segment, lock);
	if (!is_protected(&own->place, address, length, &offset_bytes))
		return error_set(-ERANGE, "%zu bytes at %p are not all of those that lock '%s' protects: %llu bytes at offset %llu, "
		    "which is %p", length, address, lock_name(segment, (uint32_t)lock), (unsigned long long)own->place.length_bytes,
		    (unsigned long long)own->place.offset_bytes, (void *)(own->place.data + own->place.offset_bytes));
	if (length == 0)
		return 0;
	if (own->place.log_bytes == 0 && own->place.on_death != CONTROL_ROLLBACK) {
		/* Nothing can be undone, and readers must know all the same. */
		control_open(own->place.lock);
		atomic_signal_fence(memory_order_seq_cst);
		return 0;
	}
	return LIKELY(control_log(&own->place, offset_bytes, length) == 0) ? 0 : refuse_log(segment, lock, length);
}

int
segment_set(struct segment *segment, int lock, void *to, const void *from, size_t length)
{
	int r;

	if (!from && length)
		return error_set(-EINVAL, "segment_set: the bytes to copy are missing (NULL)");
	r = segment_modify(segment, lock, to, length);
	if (r < 0)
		return r;
	if (length)
		memmove(to, from, length);
	return 0;
}

int
segment_unlock(struct segment *segment, int lock)
{
	struct segment_lock *own = find_held(segment, lock);

	if (!LIKELY(own))
		return refuse_held(segment, lock);
	control_commit(own->place.lock);
	if (!LIKELY(!atomic_load_explicit(&own->is_told, memory_order_relaxed)))
		(void)atomic_fetch_and_explicit(&own->place.lock->marks, ~CONTROL_OWNER_DIED, memory_order_relaxed);
	lock_let_go(own);
	control_unlock(own->place.lock);
	return 0;
}

int
segment_rollback(struct segment *segment, int lock)
{
	struct segment_lock *own = find_held(segment, lock);
	int r;

	if (!own)
		return refuse_held(segment, lock);
	if (own->place.log_bytes == 0)
		return error_set(-EOPNOTSUPP, "lock '%s' has no undo log (undo = 0): nothing can be rolled back, and it is still "
		    "held", lock_name(segment, (uint32_t)lock));
	r = control_undo(&own->place, control_copy);
	lock_let_go(own);
	if (r == 0) {
		control_unlock(own->place.lock);
		return 0;
	}
	(void)control_poison(own->place.lock, segment->attachment);
	return error_set(-ENOTRECOVERABLE, "the undo log of lock '%s' was damaged by another writer of the segment: nothing was "
	    "undone, and the lock is poisoned; once the contents are right: segmentctl recover", lock_name(segment, (uint32_t)lock));
}

/* Waits until the sequence is even; or returns an odd one, where that would be for ever. */
static __attribute__((noinline)) uint32_t
wait_to_read(const struct control_lock *lock)
{
	struct timespec backoff = { .tv_nsec = (long)READ_BACKOFF_MIN_NS };
	uint32_t sequence = 1;

	for (unsigned n = lock_spins(); n && (sequence & 1); n--) {
		lock_pause();
		sequence = atomic_load_explicit(&lock->sequence, memory_order_acquire);
	}
	while (sequence & 1) {
		bool is_poisoned = control_id(atomic_load(&lock->state)) == CONTROL_ID_POISON;

		/* Not nanosleep itself, at which a thread could be cancelled. */
		(void)syscall(SYS_nanosleep, &backoff, NULL);
		backoff.tv_nsec = (long)min_u64(2 * (uint64_t)backoff.tv_nsec, READ_BACKOFF_MAX_NS);
		sequence = atomic_load_explicit(&lock->sequence, memory_order_acquire);
		if (is_poisoned)
			break;
	}
	if (lock == &lock_none)
		(void)error_set(-EINVAL, "the lock is an application's mutex (its definition has `at`): it has no sections, and is "
		    "read under pthread_mutex_lock");
	else if (sequence & 1)
		(void)error_set(-ENOTRECOVERABLE, "the lock is poisoned, and its bytes may be half changed; once the contents are "
		    "right: segmentctl recover");
	return sequence;
}

uint32_t
segment_read_begin(const struct segment *segment, int lock)
{
	const struct control_lock *record;
	uint32_t sequence;

	if (!LIKELY(segment && (uint32_t)lock < segment->n_readable)) {
		(void)refuse_index(segment, lock);
		return UINT32_MAX;
	}
	record = segment->locks[lock].place.lock;
	sequence = atomic_load_explicit(&record->sequence, memory_order_acquire);
	return LIKELY(!(sequence & 1)) ? sequence : wait_to_read(record);
}

bool
segment_read_retry(const struct segment *segment, int lock, uint32_t begun)
{
	if (!LIKELY(segment && (uint32_t)lock < segment->n_readable && !(begun & 1)))
		return true;
	CONTROL_FENCE(memory_order_acquire);
	return atomic_load_explicit(&segment->locks[lock].place.lock->sequence, memory_order_relaxed) != begun;
}
