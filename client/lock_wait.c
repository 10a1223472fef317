/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Waiting for a lock. Who waits sleeps for its word, which an owner that gives it back wakes, and for its bell, which the
 * kernel rings when the thread that has it dies: then it takes the lock over and puts the bytes right itself, before anybody
 * else has heard of the death, and also while there is no daemon.
 *
 * Not every death rings. So it sleeps in slices: after each it asks the kernel whether the owner is gone, which it is when
 * its open file description has no mark any more (no descriptor and no mapping of it is left in any process). A stopped owner
 * keeps its mark, and its lock. No waiter sleeps on for ever because another one died that had been woken: its slice ends,
 * too.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include "client/lock.h"

/* As of Linux 5.16; the C library's headers may be older. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv	449
#endif
#define WAITV_SIZE_U32	2	/* FUTEX_32, lately FUTEX2_SIZE_U32; and shared between processes, as it says nothing else */

#define SPINS		100
#define SLICE_MIN_NS	(5 * NS_PER_MS)
#define SLICE_MAX_NS	(640 * NS_PER_MS)

struct waiter {
	struct segment *segment;
	struct segment_lock *own;
	uint64_t deadline_ns;
	uint64_t slice_ns;
	uint64_t slice_until_ns;	/* not moved by being woken: whoever can read the word can wake, as often as it likes */
	uint32_t owner;			/* whom the slices are counted for */
	uint32_t contended;		/* CONTROL_WAITERS once it has slept: others may sleep behind it */
};

unsigned
lock_spins(void)
{
	static _Atomic int spins = -1;	/* found once; two threads find the same */
	int n = atomic_load_explicit(&spins, memory_order_relaxed);
	cpu_set_t cpus;

	if (n < 0) {
		/* Too many for the set: more than one. */
		n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1 ? 0 : SPINS;
		atomic_store_explicit(&spins, n, memory_order_relaxed);
	}
	return (unsigned)n;
}

static int
refuse_poisoned(const struct segment *segment, const struct segment_lock *own)
{
	return error_set(-ENOTRECOVERABLE, "lock '%s' is poisoned: an owner died in a section, and on_death = \"poison\" or a "
	    "damaged undo log forbids to go on; somebody must look at its bytes, and then: segmentctl recover",
	    lock_name(segment, (uint32_t)(own - segment->locks)));
}

static int
refuse_mutex(void)
{
	return error_set(-EINVAL, "the lock is an application's mutex (its definition has `at`): lock it with "
	    "pthread_mutex_lock");
}

int
lock_refuse_try(const struct segment *segment, const struct segment_lock *own)
{
	if (lock_is_mutex(own))
		return refuse_mutex();
	if (control_id(atomic_load_explicit(&own->place.lock->state, memory_order_relaxed)) == CONTROL_ID_POISON)
		return refuse_poisoned(segment, own);
	return error_set(-EBUSY, "the lock is not free");
}

/*
 * Whether no descriptor and no mapping of the attachment is left. In doubt it is there: the kernel tells of the first lock
 * in the way only, and behind a wider one the mark may be or not be.
 */
static bool
is_gone(const struct segment *segment, uint32_t id)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE + (off_t)id, .l_len = 1,
	};

	/* One's own marks are in nobody's way: they would look free. */
	if (id == segment->attachment)
		return false;
	return fcntl(segment->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

/* What futex_waitv takes; its header may be older than the kernel. */
struct wait_futex {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t zero;
};
static_assert(sizeof(struct wait_futex) == 24, "the kernel's layout");

/* Sleeps while the word and the bell are these. Returns as the system call does. */
static long
sleep_for_both(struct control_lock *lock, uint64_t state, const struct timespec *until)
{
	struct wait_futex futexes[] = {
		{ .value = control_word(state), .address = (uintptr_t)control_word_futex(lock), .flags = WAITV_SIZE_U32 },
		{ .value = control_bell(state), .address = (uintptr_t)control_bell_futex(lock), .flags = WAITV_SIZE_U32 },
	};

	return syscall(SYS_futex_waitv, futexes, BASE_ARRAY_SIZE(futexes), 0, until, CLOCK_MONOTONIC);
}

/* Sleeps while the state is this one. 0: woken, or it is another; -ETIMEDOUT; another negative errno. */
static int
sleep_for(struct control_lock *lock, uint64_t state, uint64_t until_ns)
{
	static _Atomic bool has_no_waitv;
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC),
	};
	/* Also where the bell is 0: who takes the lock meanwhile wakes nobody by that, and may die. */
	bool is_both = !atomic_load_explicit(&has_no_waitv, memory_order_relaxed);
	long r;

	/*
	 * Both calls' time is a point of the monotonic clock: signals that come faster than slices end do not keep them from
	 * ending.
	 */
	do {
		if (is_both)
			r = sleep_for_both(lock, state, &until);
		else
			r = syscall(SYS_futex, control_word_futex(lock), FUTEX_WAIT_BITSET, control_word(state), &until, NULL,
			    FUTEX_BITSET_MATCH_ANY);
		/* What fails here need not fail for the word alone: the kernel allocates memory for the one and not for the other. */
		if (r < 0 && is_both && errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT) {
			/* COMPAT(linux 5.16): or a sandbox that does not know it. */
			if (errno == ENOSYS || errno == EPERM)
				atomic_store_explicit(&has_no_waitv, true, memory_order_relaxed);
			is_both = false;
			errno = EINTR;
		}
	} while (r < 0 && errno == EINTR);
	/* EFAULT: another writer punched the word's page out at that moment. The next look at it finds a new one, of zeros. */
	return r >= 0 || errno == EAGAIN || errno == EFAULT ? 0 : -errno;
}

/* The same state, with word and bell saying that somebody may be asleep. */
static uint64_t
announced(uint64_t state)
{
	return state | CONTROL_STATE(CONTROL_WAITERS, control_bell(state) ? CONTROL_WAITERS : 0);
}

/*
 * Who gives up was perhaps woken, or has hidden from the owner that others sleep. False: it must not, since the owner is dead
 * now, and it may be the only one that the bell was rung for.
 */
static bool
pass_on(struct control_lock *lock)
{
	uint64_t state = atomic_load(&lock->state);

	while (control_id(state) && control_id(state) != CONTROL_ID_POISON) {
		if (control_is_rung(state))
			return false;
		if (state == announced(state) || atomic_compare_exchange_weak(&lock->state, &state, announced(state)))
			return true;
	}
	control_wake(lock, 1);
	return true;
}

/* The lock is taken from a dead owner: its bytes are next. Who dies over them rings for the next one. */
static int
repair(struct waiter *waiter)
{
	struct segment_lock *own = waiter->own;

	lock_hold(own);
	if (control_repair(&own->place, control_copy) == 0)
		return 0;
	lock_let_go(own);
	(void)control_poison(own->place.lock, waiter->segment->attachment);
	return refuse_poisoned(waiter->segment, own);
}

/* The bell was rung, as the state shows. 0: the lock is ours; CONTROL_E_OTHER: another was faster; negative: an error. */
static int
answer(struct waiter *waiter, uint64_t state)
{
	if (!control_take_rung(waiter->own->place.lock, state, waiter->segment->attachment, lock_thread.tid))
		return CONTROL_E_OTHER;
	return repair(waiter);
}

/* A slice is over, or the deadline is there. Returns as answer(). */
static int
look_after_owner(struct waiter *waiter)
{
	uint32_t owner = waiter->owner, id = waiter->segment->attachment;

	if (is_gone(waiter->segment, owner) && control_take_over(waiter->own->place.lock, owner, id, lock_thread.tid) == 0)
		return repair(waiter);
	waiter->slice_ns = min_u64(2 * waiter->slice_ns, SLICE_MAX_NS);
	waiter->slice_until_ns = clock_monotonic_ns() + waiter->slice_ns;
	return CONTROL_E_OTHER;
}

/* The first slice of this owner begins, unless it is the one before. */
static void
begin_slice(struct waiter *waiter, uint32_t owner)
{
	if (owner == waiter->owner)
		return;
	waiter->owner = owner;
	waiter->slice_ns = SLICE_MIN_NS;
	waiter->slice_until_ns = clock_monotonic_ns() + SLICE_MIN_NS;
}

/* Sleeps behind an owner, as the state names it, and looks after that. Returns as answer(). */
static int
wait_for_owner(struct waiter *waiter, uint64_t state)
{
	struct control_lock *lock = waiter->own->place.lock;
	uint64_t until_ns;
	int r;

	begin_slice(waiter, control_id(state));
	until_ns = min_u64(waiter->slice_until_ns, waiter->deadline_ns);
	r = sleep_for(lock, state, until_ns);
	waiter->contended = CONTROL_WAITERS;
	if (r < 0 && r != -ETIMEDOUT) {
		if (!pass_on(lock))
			return CONTROL_E_OTHER;
		return error_set(r, "waiting for the lock failed: %s", strerrordesc_np(-r));
	}
	/* Who has heard the bell need not ask. */
	state = atomic_load(&lock->state);
	if (control_is_rung(state) || (r == 0 && clock_monotonic_ns() < waiter->slice_until_ns))
		r = CONTROL_E_OTHER;
	else
		r = look_after_owner(waiter);
	/* Who was woken tries once more before it gives up. */
	if (r == CONTROL_E_OTHER && until_ns == waiter->deadline_ns && clock_monotonic_ns() >= until_ns &&
	    control_id(atomic_load_explicit(&lock->state, memory_order_relaxed)) && pass_on(lock))
		return error_set(-ETIMEDOUT, "the lock was not free before the deadline");
	return r;
}

/* Looks for a moment whether it can be had: most sections are shorter than a sleep. */
static uint64_t
spin(struct control_lock *lock)
{
	uint64_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

	for (unsigned n = lock_spins(); n && control_id(state) && !control_is_rung(state); n--) {
		lock_pause();
		state = atomic_load_explicit(&lock->state, memory_order_relaxed);
	}
	return state;
}

/* Takes it, if it is free as the state says. False: *state is what it is instead. */
static bool
take(const struct waiter *waiter, uint64_t *state)
{
	uint32_t waiters = (control_word(*state) & CONTROL_WAITERS) | waiter->contended;

	if (!atomic_compare_exchange_strong_explicit(&waiter->own->place.lock->state, state,
	    control_owned(waiter->segment->attachment, lock_thread.tid, waiters), memory_order_acquire, memory_order_relaxed))
		return false;
	lock_hold(waiter->own);
	return true;
}

int
lock_wait(struct segment *segment, struct segment_lock *own, uint64_t deadline_ns)
{
	struct control_lock *lock = own->place.lock;
	struct waiter waiter = {
		.segment = segment, .own = own, .deadline_ns = deadline_ns, .slice_ns = SLICE_MIN_NS,
	};
	uint64_t state;
	int r;

	if (lock_is_mutex(own))
		return refuse_mutex();
	if (lock_is_held(own))
		return error_set(-EDEADLK, "the calling thread has the lock already");
	state = spin(lock);
	for (;;) {
		if (!control_id(state)) {
			if (take(&waiter, &state))
				return 0;
			continue;
		}
		if (control_id(state) == CONTROL_ID_POISON) {
			/* Who poisoned it may have died before it had woken all: each wakes the next. */
			if (waiter.contended)
				control_wake(lock, 1);
			return refuse_poisoned(segment, own);
		}
		if (control_is_rung(state)) {
			r = answer(&waiter, state);
		} else {
			if (state != announced(state)) {
				if (!atomic_compare_exchange_strong(&lock->state, &state, announced(state)))
					continue;
				state = announced(state);
			}
			r = wait_for_owner(&waiter, state);
		}
		if (r != CONTROL_E_OTHER)
			return r;
		state = atomic_load(&lock->state);
	}
}

int
lock_try(struct segment *segment, struct segment_lock *own)
{
	struct waiter waiter = { .segment = segment, .own = own };
	uint64_t state = atomic_load(&own->place.lock->state);
	int r = CONTROL_E_OTHER;

	if (!control_id(state) && take(&waiter, &state))
		return 0;
	if (control_is_rung(state))
		r = answer(&waiter, state);
	return r == CONTROL_E_OTHER ? lock_refuse_try(segment, own) : r;
}
