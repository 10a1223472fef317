/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Programs that know nothing but pthread: processes that lock mutexes in shared memory, hold them, and sleep for them. */
#ifndef TESTS_CLIENT_LOCKER_H
#define TESTS_CLIENT_LOCKER_H

#include <pthread.h>

#include "tests/harness.h"

/*
 * Skips under ThreadSanitizer: it keeps books of mutexes for one process, and takes what others do to them, a timed lock
 * that says EOWNERDEAD, and thousands held for mistakes.
 */
void locker_need_plain_pthread(void);

/* Memory that processes forked later share. */
void *locker_memory(size_t size);

struct locker_kind {
	int type;
	int robust;
	int shared;
	int protocol;
};

extern const struct locker_kind locker_good;

/* What pthread_mutex_init() says. */
int locker_init(pthread_mutex_t *mutex, const struct locker_kind *kind);
/* A good one. */
void locker_make(pthread_mutex_t *mutex);

/* Mutexes of a row, for a child to lock. */
struct locker_row {
	pthread_mutex_t *mutexes;
	unsigned n;
	unsigned depth;			/* how often each; 0: once */
};

/* Says "held" once it holds all, and holds them until it is killed. */
void locker_hold(int control, void *row);
/*
 * Locks the first one: says "asked" before, and then the name of the result ("locked", "died"); at "go" it makes it
 * consistent if need be, unlocks and ends. What the result was is its exit status, too.
 */
void locker_lock(int control, void *row);

/* As above, started. */
void locker_start_holder(struct harness_child *child, const struct locker_row *row);

/* Waits until the process is in this state of /proc/PID/stat: 'S' asleep, 'T' stopped. */
void locker_await_state(pid_t pid, char state);
/* Waits until the mutex's word has these bits. */
void locker_await_bits(pthread_mutex_t *mutex, uint32_t bits);
void locker_stop(struct harness_child *child);

#endif
