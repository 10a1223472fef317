/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Nothing of a mutex is touched before its memory is known to be there: a page that somebody has punched out is left so. And
 * where the object can be cut short, it may be gone a moment later: all is done under the guard.
 */
#include "config.h"

#include <sys/mman.h>

#include "base/base.h"
#include "client/mutex.h"
#include "client/protocol.h"
#include "daemon/guard.h"
#include "daemon/mutexes.h"
#include "host/process.h"

#define SMALL_RANGE_BYTES	(4 * MIB)	/* to be zeroed on the loop */

static_assert(MUTEX_BYTES == DEFINITION_MUTEX_BYTES && MUTEX_ALIGNMENT == DEFINITION_MUTEX_ALIGNMENT,
    "the configuration checks what is touched here");

static void *
mutex_address(const struct lock *lock)
{
	unsigned char *data = lock->locks->holding->map;

	return data + lock->definition->at_bytes;
}

static enum protocol_lock_reason
mutex_reason(enum mutex_kind kind)
{
	static const uint8_t reasons[MUTEX_KIND_N] = {
		[MUTEX_UNUSED] = PROTOCOL_LOCK_UNUSED,
		[MUTEX_GOOD] = PROTOCOL_LOCK_FINE,
		[MUTEX_NOT_SHARED] = PROTOCOL_LOCK_NOT_SHARED,
		[MUTEX_NOT_ROBUST] = PROTOCOL_LOCK_NOT_ROBUST,
		[MUTEX_PI] = PROTOCOL_LOCK_INHERITS,
		[MUTEX_PP] = PROTOCOL_LOCK_INHERITS,
		[MUTEX_FOREIGN] = PROTOCOL_LOCK_FOREIGN,
	};

	return (enum protocol_lock_reason)reasons[kind];
}

struct observation {
	const struct lock *lock;
	uint32_t owner;
	enum protocol_lock_reason reason;
	int r;
};

static void
mutexes_observe_guarded(void *arg)
{
	struct observation *observation = arg;
	const struct lock *lock = observation->lock;
	const void *mutex = mutex_address(lock);
	enum mutex_kind kind;

	errno = 0;
	if (!guard_is_resident(mutex, MUTEX_BYTES)) {
		observation->r = errno ? -EAGAIN : 0;
		return;
	}
	if (mutex_look(mutex, guard_copy, &kind))
		return;
	observation->reason = mutex_reason(kind);
	if (observation->reason != PROTOCOL_LOCK_FINE)
		return;
	observation->owner = mutex_owner(mutex_word(mutex));
	if (lock->locks->n_foreign_writers)
		observation->reason = PROTOCOL_LOCK_NAMESPACES;
}

int
mutexes_observe(const struct lock *lock, uint32_t *ret_owner, enum protocol_lock_reason *ret_reason)
{
	struct observation observation = { .lock = lock, .reason = PROTOCOL_LOCK_UNREADABLE };

	if (guard_call(mutexes_observe_guarded, &observation))
		observation = (struct observation) { .lock = lock, .reason = PROTOCOL_LOCK_UNREADABLE };
	*ret_owner = observation.owner;
	*ret_reason = observation.reason;
	return observation.r;
}

/* What mutex_recover() is told. */
static struct mutex_death
mutex_death_of(const struct lock *lock, uint32_t thread)
{
	const struct definition_lock *definition = lock->definition;

	return (struct mutex_death) {
		.mutex = mutex_address(lock),
		.thread = thread,
		.on_death = definition->on_death == DEFINITION_ZERO ? CONTROL_ZERO : CONTROL_KEEP,
		.range = (unsigned char *)lock->locks->holding->map + definition->offset_bytes,
		.range_bytes = definition->length_bytes,
		.copy = guard_copy,
	};
}

static bool
mutex_is_small(const struct lock *lock, const struct mutex_death *death)
{
	if (holding_may_wait(lock->locks->holding))
		return false;
	return death->on_death == CONTROL_KEEP ||
	    (death->range_bytes <= SMALL_RANGE_BYTES && guard_is_resident(death->range, death->range_bytes));
}

/*
 * The kernel makes a page writable before it wakes who waits there, where it may, as for a store: of a file that waits for the disk,
 * and no signal ends it. What is mapped for reading only it takes as it is.
 */
static void
mutexes_wake(const struct lock *lock)
{
	const struct holding *holding = lock->locks->holding;
	uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE), offset = lock->definition->at_bytes % size;
	unsigned char *page = MAP_FAILED;

	if (holding_may_wait(holding))
		page = mmap(NULL, size, PROT_READ, MAP_SHARED, holding->object.fd, (off_t)(lock->definition->at_bytes - offset));
	if (page == MAP_FAILED) {
		mutex_wake(mutex_address(lock));
		return;
	}
	mutex_wake(page + offset);
	(void)munmap(page, size);
}

/* mutexes_look(). 0, or MUTEXES_E_*. */
static int
mutexes_look_guarded(struct lock *lock, uint32_t *ret_thread)
{
	enum protocol_lock_reason reason;
	struct mutex_death death;
	uint32_t thread, word, last_owner;
	bool was_marked;

	lock->is_stuck = false;
	if (mutexes_observe(lock, &thread, &reason))
		return MUTEXES_E_AGAIN;
	if (reason != PROTOCOL_LOCK_FINE && reason != PROTOCOL_LOCK_NAMESPACES)
		return 0;
	/* The dead may have been about to wake one that sleeps, or have been the one woken. To others it is one look more. */
	mutexes_wake(lock);
	if (thread && process_tid_state((pid_t)thread) == PROCESS_THREAD_LIVES)
		return MUTEXES_E_AGAIN;
	word = mutex_word(mutex_address(lock));
	last_owner = mutex_last_owner(mutex_address(lock));
	/* As it was left, while nobody has taken it since: that was done, and counted. */
	was_marked = lock->was_marked && lock->marked_owner == last_owner;
	if (!thread && (word & MUTEX_ID_MASK) == 0 && (was_marked || !(word & MUTEX_OWNER_DIED)))
		return 0;
	lock->was_marked = was_marked;
	lock->marked_owner = last_owner;
	if (reason == PROTOCOL_LOCK_NAMESPACES) {
		lock->is_stuck = thread != 0;
		return 0;
	}
	death = mutex_death_of(lock, thread);
	*ret_thread = thread;
	if (!mutex_is_small(lock, &death))
		return MUTEXES_E_WORKER;
	switch (mutex_recover(&death)) {
	case MUTEX_E_MARKED:
	case MUTEX_E_RECOVERED:
		lock->was_marked = true;
		return MUTEXES_E_RECOVERED;
	case MUTEX_E_BUSY:
		return MUTEXES_E_AGAIN;
	default:
		return 0;
	}
}

struct look {
	struct lock *lock;
	uint32_t thread;
	int r;
};

static void
mutexes_look_call(void *arg)
{
	struct look *look = arg;

	look->r = mutexes_look_guarded(look->lock, &look->thread);
}

int
mutexes_look(struct lock *lock, uint32_t *ret_thread)
{
	struct look look = { .lock = lock };

	/* A mutex that is not there any more is nobody's. */
	if (guard_call(mutexes_look_call, &look))
		return 0;
	*ret_thread = look.thread;
	return look.r;
}

void
mutexes_fill_job(const struct lock *lock, uint32_t thread, struct job *job)
{
	job->kind = JOB_REPAIR_MUTEX;
	if (lock->definition->on_death == DEFINITION_ZERO) {
		job->offset_bytes = lock->definition->offset_bytes;
		job->length_bytes = lock->definition->length_bytes;
	}
	job->lock.at_bytes = lock->definition->at_bytes;
	job->lock.thread = thread;
}

int
mutexes_init(struct locks *locks)
{
	unsigned char bytes[MUTEX_BYTES];
	int r = 0;

	for (uint32_t i = 0; i < locks->n && r == 0; i++) {
		const struct lock *lock = &locks->list[i];

		if (!lock->definition->is_mutex || !lock->definition->init)
			continue;
		r = mutex_make(bytes);
		if (r == 0)
			r = guard_copy(mutex_address(lock), bytes, sizeof(bytes));
	}
	return r;
}
