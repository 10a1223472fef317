/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Applications' own mutexes in a segment's data. The kernel marks what a dead thread held, as far as it gets; what it did
 * not get to is freed here, once the thread is certainly gone. Where writers of another pid namespace are attached, a
 * mutex's thread id may be anybody's, and even the kernel's mark may be false: then it is reported, and not touched.
 */
#ifndef DAEMON_MUTEXES_H
#define DAEMON_MUTEXES_H

#include "client/protocol.h"
#include "daemon/locks.h"
#include "daemon/worker/job.h"

enum {
	MUTEXES_E_RECOVERED = 1,	/* whoever takes it next is told that an owner died */
	MUTEXES_E_AGAIN = 2,		/* who holds it lives, or seems to: look again later */
	MUTEXES_E_WORKER = 3,		/* zeroing is more than the loop should do: *ret_thread is its dead owner, or 0 */
};

/* Looks at a mutex after a death, and does what is due. 0: nothing was; MUTEXES_E_*. */
int mutexes_look(struct lock *lock, uint32_t *ret_thread);

/* Writes those that the definition wants initialised. 0 or -EFAULT. */
int mutexes_init(struct locks *locks);

/* Where it is, and what its word and kind say now, for those who ask; reads only. -EAGAIN: the kernel cannot say now whether it is there. */
int mutexes_observe(const struct lock *lock, uint32_t *ret_owner, enum protocol_lock_reason *ret_reason);

/* The worker's job for MUTEXES_E_WORKER. */
void mutexes_fill_job(const struct lock *lock, uint32_t thread, struct job *job);

#endif
