/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whose locks are due. When an owner is gone for certain, every lock of the segment is looked at: those that name it are
 * recovered, and of every other one waiter is woken, since the dead may have been about to wake it, or have been woken for
 * it. As much as a turn may take at once; the rest in later turns; what is large or not in memory by a worker process.
 */
#ifndef DAEMON_RECOVERY_H
#define DAEMON_RECOVERY_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "daemon/locks.h"
#include "daemon/rounds.h"
#include "daemon/workers.h"

enum recovery_outcome {
	RECOVERY_FREED,			/* its bytes are as on_death says, and it can be had again */
	RECOVERY_POISONED,		/* on_death says so */
	RECOVERY_DISTRUSTED,		/* poisoned, since its log was none or its memory could not be had */
	RECOVERY_DELAYED,		/* memory is short: it is tried again; told once */
	RECOVERY_OUTCOME_N
};

/* A lock was recovered, or could not be, or not yet. */
typedef void (*recovery_event_fn)(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome,
    void *arg);
/* No worker is at any of these locks any more. The locks may be freed in it. */
typedef void (*recovery_idle_fn)(struct locks *locks);

/* Whether somebody who may have these locks is attached by that id. */
typedef bool (*recovery_attached_fn)(const struct locks *locks, uint32_t id);

struct recovery_pass;

/* When a pass goes on. */
enum recovery_delay {
	RECOVERY_NOW,
	RECOVERY_AFTER_1MS,
	RECOVERY_AFTER_10MS,
	RECOVERY_AFTER_100MS,
	RECOVERY_AFTER_1S,
	RECOVERY_AFTER_10S,
	RECOVERY_DELAY_N
};

struct recovery {
	struct event_base *base;
	struct workers *workers;
	struct workers *io;		/* for what may wait for a disk */
	uint64_t memory_reserve_bytes;
	recovery_event_fn on_event;
	void *on_event_arg;
	recovery_idle_fn on_idle;
	recovery_attached_fn is_attached;
	struct event turn_event;
	uint64_t armed_ns;		/* when the next turn is; UINT64_MAX: none */
	struct rounds passes;		/* that go on now */
	/* The others, of each delay those that began it first are first. */
	TAILQ_HEAD(recovery_later, recovery_pass) later[RECOVERY_DELAY_N];
	unsigned n_passes;
	LIST_HEAD(, recovery_job) jobs;
	uint64_t n_recoveries;
	uint64_t n_poisonings;
};

int recovery_init(struct recovery *recovery, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes, recovery_event_fn on_event, void *on_event_arg);
/* After the workers have ended. */
void recovery_deinit(struct recovery *recovery);

/*
 * The owner is gone, or can reach the segment's memory no more: works until until_ns (of the monotonic clock), and goes on
 * in later turns where that was not enough.
 */
void recovery_owner_gone(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, uint64_t until_ns);

/* The same for the locks whose words name nobody who is attached. */
void recovery_strays(struct recovery *recovery, struct locks *locks, uint64_t until_ns);

/*
 * Recovers a poisoned lock by hand: its log is rolled back, or with keep its bytes stay as they are; after until_ns (of the
 * monotonic clock) not by the loop. 0: it is free, or a worker is at it. -EALREADY: it is not poisoned.
 */
int recovery_by_hand(struct recovery *recovery, struct lock *lock, bool keep, uint64_t until_ns);

/* Passes that are not done yet. */
unsigned recovery_n_waiting(const struct recovery *recovery);

/* The locks go away: nothing is called for them any more. */
void recovery_forget(struct recovery *recovery, struct locks *locks);

#endif
