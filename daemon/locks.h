/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The locks of one segment as the daemon keeps them: where each is and what it protects, from the definition and never from
 * shared memory; and the books of what was recovered. Who is dead, and when to look, is recovery's business.
 */
#ifndef DAEMON_LOCKS_H
#define DAEMON_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/control.h"
#include "conf/definition.h"
#include "daemon/holding.h"
#include "daemon/ledger.h"

struct recovery;
struct recovery_job;

/* A dead owner: what is known of it. */
struct locks_dead {
	uint32_t id;			/* its attachment's; or locks.claim_id: a recovery of ours that was cut short */
	int32_t pid;			/* 0: hidden, or not known */
	uint32_t uid;
	bool is_by_hand;		/* nobody has died now: somebody asked for the recovery of what is poisoned */
	bool is_by_waiter;		/* one that waited for the lock was faster, and has put it right and had it */
};

struct lock {
	const struct definition_lock *definition;
	struct control_place place;	/* lock NULL: a mutex, or no memory yet */
	uint64_t log_offset_bytes;	/* in control */
	uint32_t log_bytes;		/* undo, in whole units of entries; a mutex's: 0 */
	uint64_t n_recoveries;
	uint64_t recovered_ns;		/* since 1970 */
	int32_t recovered_pid;

	struct locks *locks;
	struct recovery_job *job;	/* while a worker repairs it: its word is claimed then */
	unsigned n_failures;		/* of workers, one after the other */
	bool was_delayed;		/* for want of memory; that was told, once */
	bool is_poisoned;		/* when it was last looked at */

	/* of an application's mutex */
	bool was_marked;		/* as the kernel or we left it: that was counted, for */
	uint32_t marked_owner;		/* this dead owner */
	bool is_stuck;			/* its owner is gone, and it must not be touched */
	uint64_t lost_job;		/* the last one, where its worker may not have ended; or 0 */
	struct ledger_entry row;	/* once it was recovered */
};

#define LOCKS_PASSES	3		/* kinds of what recovery has to do with a segment's locks */

struct locks {
	struct recovery *recovery;
	const struct holding *holding;
	struct lock *list;		/* in the definition's order */
	uint32_t claim_id;		/* what words name that we recover; marked, as an attachment's is */
	uint32_t n;
	uint32_t n_ours;		/* of them in control memory */
	uint32_t n_busy;		/* in the hands of workers */
	uint32_t n_foreign_writers;	/* attached, and not certainly of our own pid namespace */
	uint32_t n_poisoned;		/* when they were last looked at: at a death, or when somebody asked */
	uint64_t n_recoveries;
	LIST_HEAD(, recovery_pass) passes;	/* that wait; recovery's */
	struct recovery_pass *waiting[LOCKS_PASSES];	/* of those kinds of which one serves for all; or NULL */
};

/* Bytes of control memory that the definition needs; 0: none. */
uint64_t locks_control_bytes(const struct definition *definition);

/* Room for the definition's locks, which have no memory yet. 0 or -ENOMEM. */
int locks_init(struct locks *locks, struct recovery *recovery, const struct definition *definition,
    const struct holding *holding);
/* What workers are at must have ended, or been given up, before. */
void locks_deinit(struct locks *locks);

/* The segment has memory now, or has not: says where each lock is. */
void locks_place(struct locks *locks);

/* The memory that they were in goes away. */
void locks_unplace(struct locks *locks);

bool locks_have_mutexes(const struct locks *locks);

/*
 * Looks whether the lock is poisoned, for the books: counting them all when somebody asks for figures would take as long
 * as there are locks. A waiter may poison, too: that is seen at the next look.
 */
void lock_note(struct lock *lock);

/* Whether some lock's word names this id. */
bool locks_name(const struct locks *locks, uint32_t id);

static inline bool
lock_is_mutex(const struct lock *lock)
{
	return lock->definition->is_mutex;
}

static inline uint32_t
lock_word_id(const struct lock *lock)
{
	return control_id(atomic_load_explicit(&lock->place.lock->state, memory_order_acquire));
}

static inline bool
lock_is_ours(const struct lock *lock)
{
	return lock->place.lock != NULL;
}

static inline uint32_t
lock_index(const struct lock *lock)
{
	return (uint32_t)(lock - lock->locks->list);
}

#endif
