/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between the two halves of recovery: which locks are due (recovery.c), and what is done to one (recovery_lock.c). */
#ifndef DAEMON_RECOVERY_LOCK_H
#define DAEMON_RECOVERY_LOCK_H

#include "base/base.h"
#include "daemon/recovery.h"

enum recovery_kind {
	RECOVERY_OWNER,			/* those that the dead had */
	RECOVERY_STRAYS,		/* those that nobody has who is attached */
	RECOVERY_SWEEP,			/* all, for what any death asks for */
	RECOVERY_KIND_N
};

static_assert(RECOVERY_KIND_N == LOCKS_PASSES, "a place each");

/*
 * A lock whose word named `id`, which is dead, when it was looked at. It is not looked at again: a waiter may have taken it
 * over meanwhile, and lives. True: it has to be gone over again.
 */
bool recovery_one(struct recovery *recovery, struct lock *lock, uint32_t id, const struct locks_dead *dead);

/*
 * Where a waiter has taken the lock from the dead, by its own word, that is counted and told as if it had been done here. To
 * be asked once for a lock and a death.
 */
void recovery_taken(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead);

/* A mutex: whoever died may have held it. True: it has to be looked at again. */
bool recovery_mutex(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead);
/*
 * The last worker that was sent to a mutex was killed and does not end: the next one would come no further, as where a disk does not
 * answer. It is gone over again until that has ended.
 */
bool recovery_is_lost(const struct recovery *recovery, const struct lock *lock);

/* The jobs of workers at these locks are nobody's any more; or all jobs, after the workers have ended. */
void recovery_forget_jobs(struct recovery *recovery, struct locks *locks);
void recovery_free_jobs(struct recovery *recovery);

/* Goes over the segment's locks once more, after a while. 0 or -ENOMEM. */
int recovery_again(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, enum recovery_kind kind,
    enum recovery_delay delay);

#endif
