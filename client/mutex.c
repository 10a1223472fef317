/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* An application's pthread mutex: its kind, its bytes, its recovery. The layout is glibc's, which its tests hold to it. */
#include "config.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "client/mutex.h"

#define TRIES_MAX	100	/* of a compare-and-swap that only a writer which breaks the rules can make fail again */

/* The bits of glibc's __kind. Its headers do not name them, but they are in every static initialiser, and so its ABI. */
#define KIND_TYPE	0x003	/* normal, recursive, error checking, adaptive */
#define KIND_ROBUST	0x010
#define KIND_PI		0x020
#define KIND_PP		0x040
#define KIND_SHARED	0x080	/* set for every robust one, whatever its attributes said */
#define KIND_ELISION	0x300	/* may, and must not, be elided */
#define KIND_KNOWN	(KIND_TYPE | KIND_ROBUST | KIND_PI | KIND_PP | KIND_SHARED | KIND_ELISION)

static_assert(sizeof(pthread_mutex_t) == MUTEX_BYTES, "glibc's layout on 64 bit machines is expected");
static_assert(_Alignof(pthread_mutex_t) == MUTEX_ALIGNMENT, "layout");
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0, "the word is taken to be at the beginning");
static_assert(MUTEX_ID_MASK == FUTEX_TID_MASK && MUTEX_OWNER_DIED == FUTEX_OWNER_DIED && MUTEX_WAITERS == FUTEX_WAITERS,
    "the bits are the kernel's");

static const char *const kind_texts[MUTEX_KIND_N] = {
	[MUTEX_UNUSED] = "is not initialised yet",
	[MUTEX_GOOD] = "is a robust process-shared mutex",
	[MUTEX_NOT_SHARED] = "is not shared between processes: call pthread_mutexattr_setpshared() with PTHREAD_PROCESS_SHARED "
	    "and pthread_mutexattr_setrobust() with PTHREAD_MUTEX_ROBUST before pthread_mutex_init()",
	[MUTEX_NOT_ROBUST] = "is not robust: call pthread_mutexattr_setrobust() with PTHREAD_MUTEX_ROBUST before "
	    "pthread_mutex_init()",
	[MUTEX_PI] = "inherits priorities, and its word belongs to the kernel: leave its protocol PTHREAD_PRIO_NONE",
	[MUTEX_PP] = "has a priority ceiling, and cannot be robust: leave its protocol PTHREAD_PRIO_NONE",
	[MUTEX_FOREIGN] = "is no pthread mutex of glibc: look whether `at` is where the program has it",
};

enum mutex_kind
mutex_kind_of(const unsigned char bytes[MUTEX_BYTES])
{
	static const unsigned char zeros[MUTEX_BYTES];
	int kind;

	memcpy(&kind, bytes + offsetof(pthread_mutex_t, __data.__kind), sizeof(kind));
	if (memcmp(bytes, zeros, sizeof(zeros)) == 0)
		return MUTEX_UNUSED;
	if (kind & ~KIND_KNOWN)
		return MUTEX_FOREIGN;
	if (kind & KIND_PI)
		return MUTEX_PI;
	if (kind & KIND_PP)
		return MUTEX_PP;
	if (!(kind & KIND_SHARED))
		return MUTEX_NOT_SHARED;
	if (!(kind & KIND_ROBUST))
		return MUTEX_NOT_ROBUST;
	return MUTEX_GOOD;
}

const char *
mutex_kind_text(enum mutex_kind kind)
{
	assert(kind < MUTEX_KIND_N);
	return kind_texts[kind];
}

int
mutex_look(const void *mutex, control_copy_fn copy, enum mutex_kind *ret_kind)
{
	unsigned char bytes[MUTEX_BYTES];
	int r;

	r = copy(bytes, mutex, sizeof(bytes));
	if (r < 0)
		return r;
	*ret_kind = mutex_kind_of(bytes);
	return 0;
}

int
mutex_make(unsigned char ret_bytes[MUTEX_BYTES])
{
	pthread_mutexattr_t attributes;
	pthread_mutex_t mutex;
	int r;

	/* Padding and all: the bytes go to others. */
	memset(&mutex, 0, sizeof(mutex));
	r = pthread_mutexattr_init(&attributes);
	if (r)
		return -r;
	r = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	if (r == 0)
		r = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	if (r == 0)
		r = pthread_mutex_init(&mutex, &attributes);
	(void)pthread_mutexattr_destroy(&attributes);
	if (r)
		return -r;
	/* Not destroyed: what is handed out is this mutex, and it holds nothing. */
	memcpy(ret_bytes, &mutex, sizeof(mutex));
	return 0;
}

uint32_t
mutex_word(const void *mutex)
{
	return atomic_load((const _Atomic uint32_t *)mutex);
}

uint32_t
mutex_owner(uint32_t word)
{
	uint32_t id = word & MUTEX_ID_MASK;

	return id == MUTEX_ID_CLAIM ? 0 : id;
}

uint32_t
mutex_last_owner(const void *mutex)
{
	static_assert(offsetof(pthread_mutex_t, __data.__owner) % sizeof(uint32_t) == 0, "layout");

	return atomic_load((const _Atomic uint32_t *)mutex + offsetof(pthread_mutex_t, __data.__owner) / sizeof(uint32_t));
}

void
mutex_wake(void *mutex)
{
	/* Shared, as a robust mutex's futex always is. Memory that is not there is an error here, and no signal. */
	(void)syscall(SYS_futex, mutex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static bool
is_marked(uint32_t word)
{
	return (word & MUTEX_ID_MASK) == 0 && (word & MUTEX_OWNER_DIED);
}

/*
 * From what is due (held by `thread` if there is one, marked, claimed) to `to`, with the waiters bit kept. The bit is never
 * put right by guessing: lockers set it again themselves before they sleep.
 */
static int
exchange(_Atomic uint32_t *at, uint32_t thread, uint32_t to)
{
	uint32_t word = atomic_load(at);

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		uint32_t id = word & MUTEX_ID_MASK;

		if (id != MUTEX_ID_CLAIM && !is_marked(word) && !(thread && id == thread))
			return 0;
		if (is_marked(word) && to == MUTEX_OWNER_DIED)
			return MUTEX_E_MARKED;
		if (atomic_compare_exchange_strong(at, &word, to | (word & MUTEX_WAITERS)))
			return MUTEX_E_RECOVERED;
	}
	return MUTEX_E_BUSY;
}

static int
zero(unsigned char *from, const unsigned char *to, control_copy_fn copy)
{
	static const unsigned char zeros[4096];

	while (from < to) {
		size_t length = min_u64(sizeof(zeros), (uint64_t)(to - from));
		int r = copy(from, zeros, length);

		if (r < 0)
			return r;
		from += length;
	}
	return 0;
}

/* Zeroes the range, but for the mutex: its word is the claim, and without its other bytes it would be none. */
static int
zero_range(const struct mutex_death *death)
{
	unsigned char *mutex = death->mutex, *begin = death->range;
	unsigned char *end = begin + death->range_bytes;
	int r;

	if (end <= mutex || begin >= mutex + MUTEX_BYTES)
		return zero(begin, end, death->copy);
	r = zero(begin, mutex, death->copy);
	return r < 0 ? r : zero(mutex + MUTEX_BYTES, end, death->copy);
}

/*
 * The word is all that is written. glibc's locker that is told EOWNERDEAD sets __count, __owner and the list's pointers
 * itself and reads none of them before; where the kernel marks a mutex, they stay as they are, too.
 */
int
mutex_recover(const struct mutex_death *death)
{
	_Atomic uint32_t *at = death->mutex;
	enum mutex_kind kind;
	int r;

	assert(death->on_death == CONTROL_KEEP || death->on_death == CONTROL_ZERO);
	r = mutex_look(death->mutex, death->copy, &kind);
	if (r < 0)
		return r;
	if (kind != MUTEX_GOOD)
		return kind == MUTEX_UNUSED ? 0 : MUTEX_E_REFUSED;

	if (death->on_death == CONTROL_KEEP) {
		/* In one step, as the kernel does it: there is no between that a death could leave. */
		r = exchange(at, death->thread, MUTEX_OWNER_DIED);
	} else {
		r = exchange(at, death->thread, MUTEX_ID_CLAIM);
		if (r == MUTEX_E_RECOVERED) {
			r = zero_range(death);
			if (r < 0)
				return r;
			r = exchange(at, 0, MUTEX_OWNER_DIED);
		}
	}
	mutex_wake(death->mutex);
	return r;
}
