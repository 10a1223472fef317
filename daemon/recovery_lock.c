/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is done to one lock. Its word is claimed before its bytes are touched, and names nobody else until they are right:
 * whatever ends this process in between, the log is whole, and the claim is found and taken up again. A writer that lives
 * can change a log while it is looked at. So a log that is undone here, on the loop, is copied first: what is undone is
 * what was judged. What is large, or not in memory, is a worker's.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/guard.h"
#include "daemon/mutexes.h"
#include "daemon/recovery_lock.h"

#define FAILURES_MAX	3		/* of workers at one lock */

/* On the loop: some microseconds, and no page has to be found for it. */
#define SMALL_LOG_BYTES		(64 * KIB)
#define SMALL_EXTENT_BYTES	(4 * MIB)

struct recovery_job {
	struct recovery *recovery;
	struct lock *lock;		/* NULL: it went away */
	struct workers_job job;
	struct locks_dead dead;
	LIST_ENTRY(recovery_job) entry;
};

static int recovery_submit_mutex(struct recovery *recovery, struct lock *lock, uint32_t thread,
    const struct locks_dead *dead);
static int recovery_submit(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead,
    enum control_on_death on_death);

/* Counts it and tells it, whoever has done it. */
static void
recovery_enter(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome)
{
	if (outcome == RECOVERY_FREED) {
		lock->n_recoveries++;
		lock->locks->n_recoveries++;
		recovery->n_recoveries++;
		lock->recovered_ns = clock_realtime_ns();
		lock->recovered_pid = dead->pid;
	} else {
		recovery->n_poisonings++;
	}
	lock_note(lock);
	recovery->on_event(lock, dead, outcome, recovery->on_event_arg);
}

static void
recovery_tell(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome)
{
	lock->n_failures = 0;
	lock->was_delayed = false;
	recovery_enter(recovery, lock, dead, outcome);
}

/* Whoever looks at a lock that stays in recovery finds the reason in the log. */
static void
recovery_tell_delay(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead)
{
	if (lock->was_delayed)
		return;
	lock->was_delayed = true;
	recovery->on_event(lock, dead, RECOVERY_DELAYED, recovery->on_event_arg);
}

/*
 * Whether a claimed lock is to be repaired here and now. If so, place gets the copy of its log; which is the next one's, then.
 */
static bool
recovery_is_small(const struct locks *locks, struct control_place *place)
{
	static _Alignas(CONTROL_ENTRY_UNIT) unsigned char log[SMALL_LOG_BYTES];
	uint64_t from = place->offset_bytes, to = place->offset_bytes + place->length_bytes;
	uint32_t used_bytes = atomic_load_explicit(&place->lock->used_bytes, memory_order_acquire);

	if (place->on_death == CONTROL_KEEP || place->on_death == CONTROL_POISON)
		return true;
	if (holding_may_wait(locks->holding))
		return false;
	if (place->on_death == CONTROL_ROLLBACK) {
		place->is_copied = true;
		place->copied_bytes = used_bytes;
		/* What is no log is found out at once. */
		if (used_bytes > place->log_bytes)
			return true;
		if (used_bytes > sizeof(log) || !guard_is_resident(place->log, used_bytes) ||
		    guard_copy(log, place->log, used_bytes))
			return false;
		place->log = log;
		if (control_extent(place, guard_copy, &from, &to))
			return true;
	}
	return to - from <= SMALL_EXTENT_BYTES && guard_is_resident(place->data + from, to - from);
}

static enum recovery_outcome
recovery_poison_reason(const struct lock *lock)
{
	return lock->place.on_death == CONTROL_POISON ? RECOVERY_POISONED : RECOVERY_DISTRUSTED;
}

/*
 * A waiter writes down whom it takes a lock from before it does so, and the word was looked at before this: a take-over that
 * was seen there is seen here. What a writer writes there that takes nothing is a false entry in its own segment's books.
 */
void
recovery_taken(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead)
{
	enum recovery_outcome outcome = RECOVERY_FREED;
	struct locks_dead robbed = *dead;

	if (!control_was_taken(lock->place.lock, dead->id))
		return;
	robbed.is_by_waiter = true;
	/* It may be about to poison it still. */
	if (lock->place.on_death == CONTROL_POISON || lock_word_id(lock) == CONTROL_ID_POISON)
		outcome = recovery_poison_reason(lock);
	recovery_enter(recovery, lock, &robbed, outcome);
}

/*
 * A lock whose word named `id`, which is dead, when it was looked at. It is not looked at again: a waiter may have taken it
 * over meanwhile, and lives. True: it has to be gone over again.
 */
bool
recovery_one(struct recovery *recovery, struct lock *lock, uint32_t id, const struct locks_dead *dead)
{
	struct control_place place = lock->place;
	uint32_t claim_id = lock->locks->claim_id;
	int r = control_claim(place.lock, id, claim_id);

	if (r == 0)
		r = recovery_is_small(lock->locks, &place) ? control_finish(&place, claim_id, guard_copy) : -EFAULT;
	switch (r) {
	case 0:
		recovery_tell(recovery, lock, dead, RECOVERY_FREED);
		return false;
	case CONTROL_E_POISONED:
		recovery_tell(recovery, lock, dead, recovery_poison_reason(lock));
		return false;
	case CONTROL_E_BUSY:
		return true;
	case CONTROL_E_OTHER:
		/* A waiter was first; or somebody overwrote the claim, which was to be his own loss. */
		recovery_taken(recovery, lock, dead);
		return false;
	default:
		/* It is claimed, and more than the loop should do. */
		return recovery_submit(recovery, lock, dead, lock->place.on_death) < 0;
	}
}

static struct workers *
recovery_workers(const struct recovery *recovery, const struct lock *lock)
{
	return holding_may_wait(lock->locks->holding) ? recovery->io : recovery->workers;
}

bool
recovery_is_lost(const struct recovery *recovery, const struct lock *lock)
{
	return lock->lost_job && workers_has_lost(recovery_workers(recovery, lock), lock->lost_job);
}

bool
recovery_mutex(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead)
{
	uint32_t thread = 0;

	switch (mutexes_look(lock, &thread)) {
	case MUTEXES_E_RECOVERED:
		recovery_tell(recovery, lock, dead, RECOVERY_FREED);
		return false;
	case MUTEXES_E_AGAIN:
		return true;
	case MUTEXES_E_WORKER:
		lock->is_stuck = recovery_is_lost(recovery, lock);
		return !lock->is_stuck && recovery_submit_mutex(recovery, lock, thread, dead) < 0;
	default:
		return false;
	}
}

/*
 * The end of a worker's part at a mutex. What it could not do is tried again for as long as it takes, more seldom after some
 * failures: the mutex may be claimed, and then nobody but us can end that.
 */
static void
recovery_mutex_done(struct recovery *recovery, struct lock *lock, const struct recovery_job *job,
    const struct workers_outcome *outcome)
{
	if (outcome->result && outcome->result->status == 0) {
		lock->was_marked = true;
		recovery_tell(recovery, lock, &job->dead, RECOVERY_FREED);
		return;
	}
	if (lock->n_failures < FAILURES_MAX)
		lock->n_failures++;
	lock->lost_job = outcome->was_stuck ? job->job.job.id : 0;
	lock->is_stuck = lock->n_failures == FAILURES_MAX || recovery_is_lost(recovery, lock);
	/* One that defeats all workers has them seldom. */
	(void)recovery_again(recovery, lock->locks, &job->dead, RECOVERY_SWEEP, lock->is_stuck ? RECOVERY_AFTER_10S : RECOVERY_AFTER_1S);
}

/* The end of a worker's part. The lock is claimed. */
static void
recovery_job_done(struct recovery *recovery, struct lock *lock, const struct recovery_job *job,
    const struct workers_outcome *outcome)
{
	uint32_t claim_id = lock->locks->claim_id;
	struct locks_dead claim = { .id = claim_id, .pid = job->dead.pid, .uid = job->dead.uid };
	/* Nobody's failure: it is tried again until there is some, and the lock is shown as being recovered. */
	bool is_short = outcome->error || (outcome->result && outcome->result->status == JOB_E_MEMORY);
	int r = -EAGAIN;

	if (outcome->result && outcome->result->status == 0)
		r = control_release(lock->place.lock, claim_id);
	else if (outcome->result && outcome->result->status == JOB_E_POISONED)
		r = CONTROL_E_POISONED;
	else if (job->dead.is_by_hand || (!is_short && ++lock->n_failures == FAILURES_MAX))
		r = CONTROL_E_POISONED;
	else if (is_short)
		recovery_tell_delay(recovery, lock, &job->dead);
	if (r == CONTROL_E_POISONED) {
		r = control_poison(lock->place.lock, claim_id);
		if (r == 0)
			recovery_tell(recovery, lock, &job->dead, recovery_poison_reason(lock));
	} else if (r == 0) {
		recovery_tell(recovery, lock, &job->dead, RECOVERY_FREED);
	}
	if ((r == -EAGAIN || r == CONTROL_E_BUSY) &&
	    recovery_again(recovery, lock->locks, &claim, RECOVERY_OWNER, RECOVERY_AFTER_1S))
		(void)control_poison(lock->place.lock, claim_id);
}

static void
recovery_on_job(struct workers_job *workers_job, const struct workers_outcome *outcome)
{
	struct recovery_job *job = BASE_CONTAINER_OF(workers_job, struct recovery_job, job);
	struct recovery *recovery = job->recovery;
	struct lock *lock = job->lock;
	struct locks *locks = lock ? lock->locks : NULL;

	if (lock) {
		lock->job = NULL;
		locks->n_busy--;
		if (lock_is_mutex(lock))
			recovery_mutex_done(recovery, lock, job, outcome);
		else
			recovery_job_done(recovery, lock, job, outcome);
	}
	LIST_REMOVE(job, entry);
	free(job);
	if (locks && !locks->n_busy)
		recovery->on_idle(locks);
}

static void
recovery_begin(struct recovery *recovery, struct lock *lock, struct recovery_job *job)
{
	job->recovery = recovery;
	job->lock = lock;
	lock->job = job;
	lock->locks->n_busy++;
	LIST_INSERT_HEAD(&recovery->jobs, job, entry);
	/* In its turn: a client that dies over and over must not keep the workers from everybody else's jobs. */
	workers_submit(recovery_workers(recovery, lock), &job->job, false);
}

/* Gives a mutex to a worker. 0 or -ENOMEM. */
static int
recovery_submit_mutex(struct recovery *recovery, struct lock *lock, uint32_t thread, const struct locks_dead *dead)
{
	struct recovery_job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->dead = *dead;
	job->job = (struct workers_job) {
		.job = {
			.reserve_bytes = recovery->memory_reserve_bytes,
			.object = backend_object_of_job(&lock->locks->holding->object),
		},
		.fd = lock->locks->holding->object.fd,
		.uid = dead->uid,
		.done = recovery_on_job,
	};
	mutexes_fill_job(lock, thread, &job->job.job);
	recovery_begin(recovery, lock, job);
	return 0;
}

/* Gives a claimed lock to a worker. 0 or -ENOMEM. */
static int
recovery_submit(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead,
    enum control_on_death on_death)
{
	struct recovery_job *job = calloc(1, sizeof(*job));
	const struct holding *holding = lock->locks->holding;
	const struct control_place *place = &lock->place;

	if (!job)
		return -ENOMEM;
	job->dead = *dead;
	job->job = (struct workers_job) {
		.job = {
			.kind = JOB_REPAIR,
			.offset_bytes = place->offset_bytes,
			.length_bytes = place->length_bytes,
			.reserve_bytes = recovery->memory_reserve_bytes,
			.lock = {
				.log_offset_bytes = lock->log_offset_bytes,
				.log_bytes = place->log_bytes,
				.index = lock_index(lock),
				.on_death = (uint32_t)on_death,
			},
			.object = backend_object_of_job(&holding->object),
		},
		.fd = holding->object.fd,
		.control_fd = holding->control ? holding->control->object.fd : -1,
		.uid = dead->uid,
		.done = recovery_on_job,
	};
	recovery_begin(recovery, lock, job);
	return 0;
}

int
recovery_by_hand(struct recovery *recovery, struct lock *lock, bool keep, uint64_t until_ns)
{
	static const struct locks_dead nobody = { .is_by_hand = true };
	struct control_place place = lock->place;
	int r;

	if (!lock_is_ours(lock) || control_claim_poisoned(lock->place.lock, lock->locks->claim_id))
		return -EALREADY;
	place.on_death = keep ? CONTROL_KEEP : CONTROL_ROLLBACK;
	if (clock_monotonic_ns() > until_ns || !recovery_is_small(lock->locks, &place)) {
		r = recovery_submit(recovery, lock, &nobody, place.on_death);
		if (r)
			(void)control_poison(lock->place.lock, lock->locks->claim_id);
		return r;
	}
	r = control_repair(&place, guard_copy);
	if (r == 0)
		r = control_release(lock->place.lock, lock->locks->claim_id);
	if (r == 0) {
		recovery_tell(recovery, lock, &nobody, RECOVERY_FREED);
		return 0;
	}
	/* Its log is none: only with keep it can be had again. */
	(void)control_poison(lock->place.lock, lock->locks->claim_id);
	return r == CONTROL_E_POISONED ? -EBADMSG : -EIO;
}

void
recovery_forget_jobs(struct recovery *recovery, struct locks *locks)
{
	for (uint32_t i = 0; i < locks->n; i++) {
		struct recovery_job *job = locks->list[i].job;

		if (!job)
			continue;
		locks->list[i].job = NULL;
		job->lock = NULL;
		if (workers_cancel(&job->job)) {
			LIST_REMOVE(job, entry);
			free(job);
		}
	}
	locks->n_busy = 0;
}

void
recovery_free_jobs(struct recovery *recovery)
{
	struct recovery_job *job;

	while ((job = LIST_FIRST(&recovery->jobs))) {
		LIST_REMOVE(job, entry);
		free(job);
	}
}
