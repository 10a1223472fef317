/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A pass goes over one segment's locks: for those that name one dead owner; for those that name nobody who is attached; or,
 * when owners have died, for what any death asks for, which is a sweep. A segment has one sweep at a time in the queue, and
 * one pass for strays: clients that come and go as fast as they can make the queue no longer. A pass is kept only where a
 * turn was not enough, or for a sweep of many locks: a death that finds few costs no allocation.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/guard.h"
#include "daemon/recovery_lock.h"
#include "daemon/timer.h"

#define TURN_NS		(NS_PER_MS / 2)
#define LOCKS_A_LOOK	16		/* at the clock */
#define SMALL_SWEEP	16		/* locks: swept at each death, without waiting for others */

/*
 * When a lock is gone over again whose word a writer keeps changing, which is that writer's to ruin after these; or a mutex
 * whose owner is on its way out, or simply somebody else.
 */
static const uint64_t again_ns[] = { NS_PER_MS, 10 * NS_PER_MS, 100 * NS_PER_MS, NS_PER_SEC };

struct recovery_pass {
	struct locks *locks;
	struct locks_dead dead;		/* of a sweep: the last of them; of strays: nobody */
	enum recovery_kind kind;
	uint32_t next;			/* lock to look at */
	unsigned n_rounds;
	bool needs_round;		/* something was left in this one */
	bool was_costly;		/* the last lock: the clock is looked at before the next one */
	uint64_t at_ns;			/* when it goes on */
	uint64_t round;			/* in which it has its turn: each uid that died has one in each */
	TAILQ_ENTRY(recovery_pass) entry;
};

/*
 * Passes wait by rounds. Who has thousands of attachments to segments of many locks, and dies with all of them, has as many passes:
 * one of another uid is served after one of those, and not after all.
 */
static void
recovery_insert(struct recovery *recovery, struct recovery_pass *pass)
{
	struct recovery_pass *other, *before = NULL;

	pass->round = max_u64(pass->round, recovery->round);
	TAILQ_FOREACH(other, &recovery->passes, entry)
		if (other->dead.uid == pass->dead.uid)
			pass->round = max_u64(pass->round, other->round + 1);
	TAILQ_FOREACH_REVERSE(before, &recovery->passes, recovery_queue, entry)
		if (before->round <= pass->round)
			break;
	if (before)
		TAILQ_INSERT_AFTER(&recovery->passes, before, pass, entry);
	else
		TAILQ_INSERT_HEAD(&recovery->passes, pass, entry);
}

/* The dead had this lock, or had it not. True: it has to be gone over again. */
static bool
recovery_visit(struct recovery *recovery, struct recovery_pass *pass, struct lock *lock)
{
	uint32_t id;

	if (!lock_is_ours(lock))
		return false;
	id = lock_word_id(lock);
	/* In a later round, a claim is this pass's own, whose release somebody has hindered. */
	if (!lock->job && (id == pass->dead.id || (pass->n_rounds && id == lock->locks->claim_id))) {
		pass->was_costly = true;
		return recovery_one(recovery, lock, id, &pass->dead);
	}
	/* A waiter that took it has perhaps given it back since, or has died as well. */
	if (!pass->n_rounds)
		recovery_taken(recovery, lock, &pass->dead);
	return false;
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
	/* A worker is at it for an earlier death, and may have looked before this one. */
	if (!lock_is_ours(lock))
		return lock->job != NULL;
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
	timer_add(&recovery->turn_event, &delay);
}

static void
recovery_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct recovery *recovery = arg;
	uint64_t now_ns = clock_monotonic_ns(), until_ns = now_ns + TURN_NS;
	struct recovery_pass *pass, *next;
	uint64_t next_ns = UINT64_MAX;
	bool is_done;

	for (pass = TAILQ_FIRST(&recovery->passes); pass; pass = next) {
		next = TAILQ_NEXT(pass, entry);
		if (pass->at_ns > now_ns)
			continue;
		recovery->round = max_u64(recovery->round, pass->round);
		is_done = recovery_walk(recovery, pass, until_ns);
		TAILQ_REMOVE(&recovery->passes, pass, entry);
		if (is_done)
			free(pass);
		else
			recovery_insert(recovery, pass);
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
		recovery_insert(recovery, queued);
	}
	recovery_arm(recovery, queued->at_ns);
	return 0;
}

int
recovery_again(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, enum recovery_kind kind,
    uint64_t delay_ns)
{
	struct recovery_pass pass = {
		.locks = locks,
		.dead = *dead,
		.kind = kind,
		.at_ns = clock_monotonic_ns() + delay_ns,
	};

	return recovery_enqueue(recovery, &pass);
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
	recovery_forget_jobs(recovery, locks);
}

int
recovery_init(struct recovery *recovery, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes, recovery_event_fn on_event, void *on_event_arg)
{
	*recovery = (struct recovery) {
		.base = base,
		.workers = workers,
		.io = workers,
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

	if (event_initialized(&recovery->turn_event))
		(void)evtimer_del(&recovery->turn_event);
	while ((pass = TAILQ_FIRST(&recovery->passes))) {
		TAILQ_REMOVE(&recovery->passes, pass, entry);
		free(pass);
	}
	recovery_free_jobs(recovery);
}
