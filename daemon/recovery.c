/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A pass goes over one segment's locks: for those that name one dead owner; for those that name nobody who is attached; or,
 * when owners have died, for what any death asks for, which is a sweep. A segment has one sweep at a time in the queue, and
 * one pass for strays: clients that come and go as fast as they can make the queue no longer. A pass is kept only where a
 * turn was not enough, or for a sweep of many locks: a death that finds few costs no allocation.
 *
 * A lock's word is claimed before its bytes are touched, and names nobody else until they are right: whatever ends this
 * process in between, the log is whole, and the claim is found and taken up again. A writer that lives can change a log
 * while it is looked at. So a log that is undone here, on the loop, is copied first: what is undone is what was judged.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/guard.h"
#include "daemon/mutexes.h"
#include "daemon/recovery.h"

#define TURN_NS		(NS_PER_MS / 2)
#define LOCKS_A_LOOK	16		/* at the clock */
#define SMALL_SWEEP	16		/* locks: swept at each death, without waiting for others */
#define FAILURES_MAX	3		/* of workers at one lock */
#define STUCK_NS	(10 * NS_PER_SEC)	/* between workers at a mutex that defeats them all */

/* On the loop: some microseconds, and no page has to be found for it. */
#define SMALL_LOG_BYTES		(64 * KIB)
#define SMALL_EXTENT_BYTES	(4 * MIB)

/*
 * When a lock is gone over again whose word a writer keeps changing, which is that writer's to ruin after these; or a mutex
 * whose owner is on its way out, or simply somebody else.
 */
static const uint64_t again_ns[] = { NS_PER_MS, 10 * NS_PER_MS, 100 * NS_PER_MS, NS_PER_SEC };

enum recovery_kind {
	RECOVERY_OWNER,			/* those that the dead had */
	RECOVERY_STRAYS,		/* those that nobody has who is attached */
	RECOVERY_SWEEP,			/* all, for what any death asks for */
};

struct recovery_pass {
	struct locks *locks;
	struct locks_dead dead;		/* of a sweep: the last of them; of strays: nobody */
	enum recovery_kind kind;
	uint32_t next;			/* lock to look at */
	unsigned n_rounds;
	bool needs_round;		/* something was left in this one */
	bool was_costly;		/* the last lock: the clock is looked at before the next one */
	uint64_t at_ns;			/* when it goes on */
	TAILQ_ENTRY(recovery_pass) entry;
};

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

static void
recovery_tell(struct recovery *recovery, struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome)
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
	lock->n_failures = 0;
	lock->was_delayed = false;
	lock_note(lock);
	recovery->on_event(lock, dead, outcome, recovery->on_event_arg);
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
recovery_is_small(struct control_place *place)
{
	static _Alignas(CONTROL_ENTRY_UNIT) unsigned char log[SMALL_LOG_BYTES];
	uint64_t from = place->offset_bytes, to = place->offset_bytes + place->length_bytes;
	uint32_t used_bytes = atomic_load_explicit(&place->lock->used_bytes, memory_order_acquire);

	if (place->on_death == CONTROL_KEEP || place->on_death == CONTROL_POISON)
		return true;
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
 * A lock whose word named `id`, which is dead, when it was looked at. It is not looked at again: a waiter may have taken it
 * over meanwhile, and lives. True: it has to be gone over again.
 */
static bool
recovery_one(struct recovery *recovery, struct lock *lock, uint32_t id, const struct locks_dead *dead)
{
	struct control_place place = lock->place;
	uint32_t claim_id = lock->locks->claim_id;
	int r = control_claim(place.lock, id, claim_id);

	if (r == 0)
		r = recovery_is_small(&place) ? control_finish(&place, claim_id, guard_copy) : -EFAULT;
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
		return false;
	default:
		/* It is claimed, and more than the loop should do. */
		return recovery_submit(recovery, lock, dead, lock->place.on_death) < 0;
	}
}

/* A mutex: whoever died may have held it. True: it has to be looked at again. */
static bool
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
		return recovery_submit_mutex(recovery, lock, thread, dead) < 0;
	default:
		return false;
	}
}

/* The dead had this lock, or had it not. True: it has to be gone over again. */
static bool
recovery_visit(struct recovery *recovery, struct recovery_pass *pass, struct lock *lock)
{
	uint32_t id;

	if (!lock_is_ours(lock) || lock->job)
		return false;
	id = lock_word_id(lock);
	/* In a later round, a claim is this pass's own, whose release somebody has hindered. */
	if (id != pass->dead.id && !(pass->n_rounds && id == lock->locks->claim_id))
		return false;
	pass->was_costly = true;
	return recovery_one(recovery, lock, id, &pass->dead);
}

/* The lock's word names nobody who is attached. A claim of our own that no worker is at, was cut short. True: again. */
static bool
recovery_visit_stray(struct recovery *recovery, struct recovery_pass *pass, struct lock *lock)
{
	struct locks_dead dead = { 0 };

	if (!lock_is_ours(lock) || lock->job)
		return false;
	dead.id = lock_word_id(lock);
	if (!dead.id || dead.id > CONTROL_ID_MAX)
		return false;
	pass->was_costly = true;
	if (dead.id != lock->locks->claim_id && recovery->is_attached(lock->locks, dead.id))
		return false;
	return recovery_one(recovery, lock, dead.id, &dead);
}

/* What any death asks for. The dead may have been about to wake a waiter, or have been woken. True: again. */
static bool
recovery_sweep(struct recovery *recovery, struct recovery_pass *pass, struct lock *lock)
{
	if (lock_is_mutex(lock) && pass->locks->holding->map && !lock->job) {
		pass->was_costly = true;
		return recovery_mutex(recovery, lock, &pass->dead);
	}
	if (!lock_is_ours(lock))
		return false;
	/* Of a poisoned one many: who poisoned it may be the dead, and have woken nobody yet. */
	control_wake(lock->place.lock, lock_word_id(lock) == CONTROL_ID_POISON ? CONTROL_WAKE_MANY : 1);
	return false;
}

static bool
recovery_step(struct recovery *recovery, struct recovery_pass *pass, struct lock *lock)
{
	switch (pass->kind) {
	case RECOVERY_OWNER:
		return recovery_visit(recovery, pass, lock);
	case RECOVERY_STRAYS:
		return recovery_visit_stray(recovery, pass, lock);
	default:
		return recovery_sweep(recovery, pass, lock);
	}
}

/* Goes on with a pass. True: it is done. */
static bool
recovery_walk(struct recovery *recovery, struct recovery_pass *pass, uint64_t until_ns)
{
	struct locks *locks = pass->locks;

	pass->was_costly = false;
	for (; pass->next < locks->n; pass->next++) {
		struct lock *lock = &locks->list[pass->next];

		if ((pass->was_costly || pass->next % LOCKS_A_LOOK == LOCKS_A_LOOK - 1) && clock_monotonic_ns() > until_ns)
			return false;
		pass->was_costly = false;
		pass->needs_round |= recovery_step(recovery, pass, lock);
		lock_note(lock);
	}
	if (!pass->needs_round || pass->n_rounds++ == BASE_ARRAY_SIZE(again_ns))
		return true;
	pass->next = 0;
	pass->needs_round = false;
	pass->at_ns = clock_monotonic_ns() + again_ns[pass->n_rounds - 1];
	return false;
}

/* Sees to it that the loop goes on at that time, if not before. */
static void
recovery_arm(struct recovery *recovery, uint64_t at_ns)
{
	uint64_t now_ns, wait_ns;
	struct timeval delay;

	if (at_ns >= recovery->armed_ns)
		return;
	recovery->armed_ns = at_ns;
	now_ns = clock_monotonic_ns();
	wait_ns = at_ns > now_ns ? at_ns - now_ns : 0;
	delay = (struct timeval) {
		.tv_sec = (time_t)(wait_ns / NS_PER_SEC),
		.tv_usec = (suseconds_t)(wait_ns % NS_PER_SEC / 1000),
	};
	(void)evtimer_add(&recovery->turn_event, &delay);
}

static void
recovery_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct recovery *recovery = arg;
	uint64_t now_ns = clock_monotonic_ns(), until_ns = now_ns + TURN_NS;
	struct recovery_pass *pass, *next;
	uint64_t next_ns = UINT64_MAX;

	for (pass = TAILQ_FIRST(&recovery->passes); pass; pass = next) {
		next = TAILQ_NEXT(pass, entry);
		if (pass->at_ns > now_ns)
			continue;
		if (recovery_walk(recovery, pass, until_ns)) {
			TAILQ_REMOVE(&recovery->passes, pass, entry);
			free(pass);
		}
		if (clock_monotonic_ns() > until_ns)
			break;
	}
	TAILQ_FOREACH(pass, &recovery->passes, entry)
		next_ns = min_u64(next_ns, pass->at_ns);
	recovery->armed_ns = UINT64_MAX;
	recovery_arm(recovery, next_ns);
}

/* One that waits already, and serves for this one as well; or NULL. */
static struct recovery_pass *
recovery_find_same(struct recovery *recovery, const struct recovery_pass *pass)
{
	struct recovery_pass *other;

	if (pass->kind == RECOVERY_OWNER)
		return NULL;
	TAILQ_FOREACH(other, &recovery->passes, entry)
		if (other->kind == pass->kind && other->locks == pass->locks)
			return other;
	return NULL;
}

/* Puts a pass in the queue. -ENOMEM: it was not. */
static int
recovery_enqueue(struct recovery *recovery, const struct recovery_pass *pass)
{
	struct recovery_pass *queued = recovery_find_same(recovery, pass);

	if (queued) {
		/* One that is under way has passed some locks by, and goes round once more. */
		queued->needs_round |= queued->next > 0;
		queued->dead = pass->dead;
		queued->at_ns = min_u64(queued->at_ns, pass->at_ns);
		queued->n_rounds = (unsigned)min_u64(queued->n_rounds, pass->n_rounds);
	} else {
		queued = malloc(sizeof(*queued));
		if (!queued)
			return -ENOMEM;
		*queued = *pass;
		TAILQ_INSERT_TAIL(&recovery->passes, queued, entry);
	}
	recovery_arm(recovery, queued->at_ns);
	return 0;
}

/* Goes over the locks now, and in later turns where until_ns is too soon. */
static void
recovery_pass(struct recovery *recovery, struct recovery_pass *pass, uint64_t until_ns)
{
	if (recovery_walk(recovery, pass, until_ns))
		return;
	/* Without memory for the rest, it is done here and now: a lock that stays held is worse than a long turn. */
	if (recovery_enqueue(recovery, pass))
		(void)recovery_walk(recovery, pass, UINT64_MAX);
}

/* A sweep of the segment is due. */
static void
recovery_request_sweep(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, uint64_t until_ns)
{
	struct recovery_pass sweep = { .locks = locks, .dead = *dead, .kind = RECOVERY_SWEEP };

	if (locks->n <= SMALL_SWEEP && clock_monotonic_ns() <= until_ns)
		recovery_pass(recovery, &sweep, until_ns);
	else if (recovery_enqueue(recovery, &sweep))
		(void)recovery_walk(recovery, &sweep, UINT64_MAX);
}

void
recovery_owner_gone(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, uint64_t until_ns)
{
	struct recovery_pass pass = { .locks = locks, .dead = *dead };

	if (!locks->n)
		return;
	if (locks->n_ours)
		recovery_pass(recovery, &pass, until_ns);
	recovery_request_sweep(recovery, locks, dead, until_ns);
}

void
recovery_strays(struct recovery *recovery, struct locks *locks, uint64_t until_ns)
{
	struct recovery_pass pass = { .locks = locks, .kind = RECOVERY_STRAYS };

	if (!locks->n)
		return;
	if (locks->n_ours)
		recovery_pass(recovery, &pass, until_ns);
	recovery_request_sweep(recovery, locks, &pass.dead, until_ns);
}

/*
 * The end of a worker's part at a mutex. What it could not do is tried again for as long as it takes, more seldom after some
 * failures: the mutex may be claimed, and then nobody but us can end that.
 */
static void
recovery_mutex_done(struct recovery *recovery, struct lock *lock, const struct recovery_job *job,
    const struct workers_outcome *outcome)
{
	struct recovery_pass pass = {
		.locks = lock->locks,
		.dead = job->dead,
		.kind = RECOVERY_SWEEP,
		.at_ns = clock_monotonic_ns() + NS_PER_SEC,
	};

	if (outcome->result && outcome->result->status == 0) {
		lock->was_marked = true;
		recovery_tell(recovery, lock, &job->dead, RECOVERY_FREED);
		return;
	}
	if (lock->n_failures < FAILURES_MAX)
		lock->n_failures++;
	lock->is_stuck = lock->n_failures == FAILURES_MAX;
	if (lock->is_stuck)
		pass.at_ns += STUCK_NS;
	(void)recovery_enqueue(recovery, &pass);
}

/* The end of a worker's part. The lock is claimed. */
static void
recovery_job_done(struct recovery *recovery, struct lock *lock, const struct recovery_job *job,
    const struct workers_outcome *outcome)
{
	uint32_t claim_id = lock->locks->claim_id;
	struct recovery_pass pass = {
		.locks = lock->locks,
		.dead = { .id = claim_id, .pid = job->dead.pid, .uid = job->dead.uid },
		.at_ns = clock_monotonic_ns() + NS_PER_SEC,
	};
	/* Nobody's failure: it is tried again until there is some, and the lock is shown as being recovered. */
	bool is_memory_short = outcome->result && outcome->result->status == JOB_E_MEMORY;
	int r = -EAGAIN;

	if (outcome->result && outcome->result->status == 0)
		r = control_release(lock->place.lock, claim_id);
	else if (outcome->result && outcome->result->status == JOB_E_POISONED)
		r = CONTROL_E_POISONED;
	else if (job->dead.is_by_hand || (!is_memory_short && ++lock->n_failures == FAILURES_MAX))
		r = CONTROL_E_POISONED;
	else if (is_memory_short)
		recovery_tell_delay(recovery, lock, &job->dead);
	if (r == CONTROL_E_POISONED) {
		r = control_poison(lock->place.lock, claim_id);
		if (r == 0)
			recovery_tell(recovery, lock, &job->dead, recovery_poison_reason(lock));
	} else if (r == 0) {
		recovery_tell(recovery, lock, &job->dead, RECOVERY_FREED);
	}
	if ((r == -EAGAIN || r == CONTROL_E_BUSY) && recovery_enqueue(recovery, &pass))
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
	workers_submit(recovery->workers, &job->job, false);
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
		.job = { .reserve_bytes = recovery->memory_reserve_bytes },
		.fd = lock->locks->holding->object.fd,
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
		},
		.fd = holding->object.fd,
		.control_fd = holding->control.fd,
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
	if (clock_monotonic_ns() > until_ns || !recovery_is_small(&place)) {
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

unsigned
recovery_n_waiting(const struct recovery *recovery)
{
	const struct recovery_pass *pass;
	unsigned n = 0;

	TAILQ_FOREACH(pass, &recovery->passes, entry)
		n++;
	return n;
}

void
recovery_forget(struct recovery *recovery, struct locks *locks)
{
	struct recovery_pass *pass, *next;

	for (pass = TAILQ_FIRST(&recovery->passes); pass; pass = next) {
		next = TAILQ_NEXT(pass, entry);
		if (pass->locks != locks)
			continue;
		TAILQ_REMOVE(&recovery->passes, pass, entry);
		free(pass);
	}
	for (uint32_t i = 0; i < locks->n; i++) {
		struct recovery_job *job = locks->list[i].job;

		if (!job)
			continue;
		locks->list[i].job = NULL;
		job->lock = NULL;
		if (workers_cancel(recovery->workers, &job->job)) {
			LIST_REMOVE(job, entry);
			free(job);
		}
	}
	locks->n_busy = 0;
}

int
recovery_init(struct recovery *recovery, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes, recovery_event_fn on_event, void *on_event_arg)
{
	*recovery = (struct recovery) {
		.base = base,
		.workers = workers,
		.memory_reserve_bytes = memory_reserve_bytes,
		.on_event = on_event,
		.on_event_arg = on_event_arg,
		.armed_ns = UINT64_MAX,
	};
	TAILQ_INIT(&recovery->passes);
	LIST_INIT(&recovery->jobs);
	if (evtimer_assign(&recovery->turn_event, base, recovery_on_turn, recovery))
		return -ENOMEM;
	return guard_init();
}

void
recovery_deinit(struct recovery *recovery)
{
	struct recovery_pass *pass;
	struct recovery_job *job;

	if (event_initialized(&recovery->turn_event))
		(void)evtimer_del(&recovery->turn_event);
	while ((pass = TAILQ_FIRST(&recovery->passes))) {
		TAILQ_REMOVE(&recovery->passes, pass, entry);
		free(pass);
	}
	while ((job = LIST_FIRST(&recovery->jobs))) {
		LIST_REMOVE(job, entry);
		free(job);
	}
}
