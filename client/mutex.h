/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * An application's own pthread mutex in a segment's data: what kind it is, the bytes of a new one, and its recovery after
 * a death, for programs that know nothing but pthread.
 *
 * A peer that can write a mutex owns whoever runs pthread_mutex_unlock() on it: unlocking writes through the list pointers
 * that stand in the mutex. So no pthread call is made on shared memory here, and nothing read from it is a pointer, a
 * length or an index. All is done with the mutex's word, by compare-and-swap, as the kernel does it at a thread's death:
 *
 *	0			free
 *	T			locked by the thread T, by its id in its own pid namespace
 *	MUTEX_OWNER_DIED	free, and who locks it next is told EOWNERDEAD
 *	MUTEX_ID_CLAIM		being recovered; to lockers a thread like any other, which they wait for
 *
 * each perhaps with MUTEX_WAITERS. Only robust mutexes of glibc are touched, and none that inherit priorities: their word
 * is the kernel's, and a claim would kill their users.
 */
#ifndef CLIENT_MUTEX_H
#define CLIENT_MUTEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/control.h"

#define MUTEX_BYTES		40
#define MUTEX_ALIGNMENT		8

#define MUTEX_ID_MASK		UINT32_C(0x3fffffff)
#define MUTEX_OWNER_DIED	UINT32_C(0x40000000)
#define MUTEX_WAITERS		UINT32_C(0x80000000)
#define MUTEX_ID_CLAIM		UINT32_C(0x3ffffffe)	/* no thread has it: the kernel's ids end at 4194304 */

enum mutex_kind {
	MUTEX_UNUSED,			/* nobody has initialised it yet: all bytes are zero */
	MUTEX_GOOD,			/* robust, and shared as every robust one is; the only kind that is recovered */
	MUTEX_NOT_SHARED,
	MUTEX_NOT_ROBUST,
	MUTEX_PI,			/* inherits priorities */
	MUTEX_PP,			/* has a priority ceiling */
	MUTEX_FOREIGN,			/* no mutex of this C library */
	MUTEX_KIND_N
};

/* The kind that a private copy of a mutex's bytes shows. */
enum mutex_kind mutex_kind_of(const unsigned char bytes[MUTEX_BYTES]);
/* What is to be said of it: "is not robust: ...", with what to do about it where that is something. */
const char *mutex_kind_text(enum mutex_kind kind);
/* The kind of a mutex in shared memory, whose bytes are fetched once. 0 or -EFAULT from copy. */
int mutex_look(const void *mutex, control_copy_fn copy, enum mutex_kind *ret_kind);

/* The bytes of an initialised robust process-shared mutex that nobody holds. 0 or a negative errno. */
int mutex_make(unsigned char ret_bytes[MUTEX_BYTES]);

/* The word of a mutex; touches the memory directly. */
uint32_t mutex_word(const void *mutex);
/* The thread that a word names, or 0: it is free, marked or claimed. It may be a number that is no thread's. */
uint32_t mutex_owner(uint32_t word);

/* Who locked it last, as its lockers say: one who died with it stays named, and so two deaths are told apart. */
uint32_t mutex_last_owner(const void *mutex);

enum {
	MUTEX_E_MARKED = 1,		/* the kernel had marked it, nothing was left to do; so long as nobody locks it, again */
	MUTEX_E_RECOVERED,		/* who locks it next is told EOWNERDEAD */
	MUTEX_E_BUSY,			/* its word changed under every try: somebody breaks the rules, call again later */
	MUTEX_E_REFUSED			/* not of the kind MUTEX_GOOD: nothing was touched */
};

/*
 * Wakes one that sleeps for the mutex, if there is any. It looks at the word, and sleeps again if the mutex is another's: so
 * this harms nobody, and is due at every writer's death, also where nothing is to be recovered (see below).
 */
void mutex_wake(void *mutex);

/* A death, as it concerns one mutex. Nothing of it comes from shared memory. */
struct mutex_death {
	void *mutex;
	uint32_t thread;		/* certainly gone, by its id in our pid namespace; 0: only what the kernel marked */
	enum control_on_death on_death;	/* CONTROL_KEEP or CONTROL_ZERO */
	void *range;			/* what CONTROL_ZERO zeroes; the mutex itself may lie in it and is left out */
	uint64_t range_bytes;
	control_copy_fn copy;
};

/*
 * Recovers a mutex: one that the dead thread holds, that the kernel marked at the thread's end, or that a recovery which was
 * itself cut short left claimed. 0: nothing was due; MUTEX_E_*; -EFAULT from copy. After -EFAULT and MUTEX_E_BUSY it may stay
 * claimed, until called again. Where copy is one that survives missing memory, the word is still touched directly.
 *
 * Whatever is due, one that sleeps for the mutex is woken: the dead may have been the one that was to wake it, or the one
 * that was woken in its stead, and the kernel does not mend that if the mutex was taken meanwhile.
 *
 * One process at a time may recover a mutex: the caller sees to that.
 */
int mutex_recover(const struct mutex_death *death);

#endif
