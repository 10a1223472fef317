/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Waiting for a lock. Who waits sleeps in slices: after each it asks the kernel whether the owner is gone, which it is
 * when its open file description has no mark any more (no descriptor and no mapping of it is left in any process). Then it
 * takes the lock over and puts the bytes right itself. So a lock comes back also while there is no daemon. A stopped owner
 * keeps its mark, and its lock.
 *
 * No waiter sleeps on for ever because another one died that had been woken: its slice ends, too.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

#include "client/lock.h"

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
	    segment->lock_names[own - segment->locks]);
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
	if ((atomic_load_explicit(&own->place.lock->word, memory_order_relaxed) & CONTROL_ID_MASK) == CONTROL_ID_POISON)
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

/* Sleeps while the word is this one. 0: woken, or it is another; -ETIMEDOUT; another negative errno. */
static int
sleep_for(struct control_lock *lock, uint32_t word, uint64_t until_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC),
	};

	long r;

	/*
	 * The bitset variant is the one whose time is a point of the monotonic clock: signals that come faster than slices end
	 * do not keep them from ending.
	 */
	do
		r = syscall(SYS_futex, &lock->word, FUTEX_WAIT_BITSET, word, &until, NULL, FUTEX_BITSET_MATCH_ANY);
	while (r < 0 && errno == EINTR);
	/* EFAULT: another writer punched the word's page out at that moment. The next look at it finds a new one, of zeros. */
	return r == 0 || errno == EAGAIN || errno == EFAULT ? 0 : -errno;
}

/* Who gives up was perhaps woken, or has hidden from the owner that others sleep. */
static void
pass_on(struct control_lock *lock)
{
	uint32_t word = atomic_load(&lock->word);

	while ((word & CONTROL_ID_MASK) && (word & CONTROL_ID_MASK) != CONTROL_ID_POISON && !(word & CONTROL_WAITERS))
		if (atomic_compare_exchange_weak(&lock->word, &word, word | CONTROL_WAITERS))
			return;
	if (!(word & CONTROL_ID_MASK) || (word & CONTROL_ID_MASK) == CONTROL_ID_POISON)
		control_wake(lock, 1);
}

/* The word is taken from a dead owner: its bytes are next. */
static int
repair(struct waiter *waiter)
{
	struct control_lock *lock = waiter->own->place.lock;

	if (control_repair(&waiter->own->place, control_copy) == 0) {
		lock_hold(waiter->own);
		return 0;
	}
	(void)control_poison(lock, waiter->segment->attachment);
	return refuse_poisoned(waiter->segment, waiter->own);
}

/* A slice is over, or the deadline is there. 0: the lock is ours; CONTROL_E_OTHER: go on waiting; negative: an error. */
static int
look_after_owner(struct waiter *waiter)
{
	struct control_lock *lock = waiter->own->place.lock;
	uint32_t owner = waiter->owner;

	if (is_gone(waiter->segment, owner) && control_take_over(lock, owner, waiter->segment->attachment) == 0)
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

/* Sleeps behind an owner, as the word names it, and looks after that. Returns as look_after_owner. */
static int
wait_for_owner(struct waiter *waiter, uint32_t word)
{
	struct control_lock *lock = waiter->own->place.lock;
	uint64_t until_ns;
	int r;

	begin_slice(waiter, word & CONTROL_ID_MASK);
	until_ns = min_u64(waiter->slice_until_ns, waiter->deadline_ns);
	r = sleep_for(lock, word, until_ns);
	waiter->contended = CONTROL_WAITERS;
	if (r < 0 && r != -ETIMEDOUT) {
		pass_on(lock);
		return error_set(r, "waiting for the lock failed: %s", strerrordesc_np(-r));
	}
	if (r == -ETIMEDOUT || clock_monotonic_ns() >= waiter->slice_until_ns)
		r = look_after_owner(waiter);
	else
		r = CONTROL_E_OTHER;
	/* Who was woken tries once more before it gives up. */
	if (r == CONTROL_E_OTHER && until_ns == waiter->deadline_ns && clock_monotonic_ns() >= until_ns &&
	    (atomic_load_explicit(&lock->word, memory_order_relaxed) & CONTROL_ID_MASK)) {
		pass_on(lock);
		return error_set(-ETIMEDOUT, "the lock was not free before the deadline");
	}
	return r;
}

/* Looks for a moment whether it becomes free: most sections are shorter than a sleep. */
static uint32_t
spin(struct control_lock *lock)
{
	uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);

	for (unsigned n = lock_spins(); n && (word & CONTROL_ID_MASK); n--) {
		lock_pause();
		word = atomic_load_explicit(&lock->word, memory_order_relaxed);
	}
	return word;
}

int
lock_wait(struct segment *segment, struct segment_lock *own, uint64_t deadline_ns)
{
	struct control_lock *lock = own->place.lock;
	struct waiter waiter = {
		.segment = segment, .own = own, .deadline_ns = deadline_ns, .slice_ns = SLICE_MIN_NS,
	};
	uint32_t word;
	int r;

	if (lock_is_mutex(own))
		return refuse_mutex();
	if (lock_is_held(own))
		return error_set(-EDEADLK, "the calling thread has the lock already");
	word = spin(lock);
	for (;;) {
		if (!(word & CONTROL_ID_MASK)) {
			if (atomic_compare_exchange_strong_explicit(&lock->word, &word,
				segment->attachment | (word & CONTROL_WAITERS) | waiter.contended,
				memory_order_acquire, memory_order_relaxed)) {
				lock_hold(own);
				return 0;
			}
			continue;
		}
		if ((word & CONTROL_ID_MASK) == CONTROL_ID_POISON) {
			/* Who poisoned it may have died before it had woken all: each wakes the next. */
			if (waiter.contended)
				control_wake(lock, 1);
			return refuse_poisoned(segment, own);
		}
		if (!(word & CONTROL_WAITERS)) {
			if (!atomic_compare_exchange_strong(&lock->word, &word, word | CONTROL_WAITERS))
				continue;
			word |= CONTROL_WAITERS;
		}
		r = wait_for_owner(&waiter, word);
		if (r != CONTROL_E_OTHER)
			return r;
		word = atomic_load(&lock->word);
	}
}
