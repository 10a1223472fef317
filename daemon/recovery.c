/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A pass goes over one segment's locks: for those that name one dead owner; for those that name nobody who is attached; or,
 * when owners have died, for what any death asks for, which is a sweep. A segment has one sweep at a time in the queue, and
 * one pass for strays: clients that come and go as fast as they can make the queue no longer. A pass is kept only where a
 * turn was not enough, or for a sweep of many locks: a death that finds few costs no allocation.
 */
#include "config.h"

#include <assert.h>

#include "base/base.h"
#include "daemon/guard.h"
#include "daemon/recovery_lock.h"
#include "daemon/timer.h"

#define TURN_NS		(NS_PER_MS / 2)
#define LOCKS_A_LOOK	16		/* at the clock */
#define SMALL_SWEEP	16		/* locks: swept at each death, without waiting for others */

#define DUE_MAX		256		/* passes whose delay is over, that are heard of in one turn */

static const uint64_t delays_ns[RECOVERY_DELAY_N] = {
	[RECOVERY_AFTER_1MS] = NS_PER_MS,
	[RECOVERY_AFTER_10MS] = 10 * NS_PER_MS,
	[RECOVERY_AFTER_100MS] = 100 * NS_PER_MS,
	[RECOVERY_AFTER_1S] = NS_PER_SEC,
	[RECOVERY_AFTER_10S] = 10 * NS_PER_SEC,
};

/*
 * How often a lock is gone over again whose word a writer keeps changing, which is that writer's to ruin after these; or a mutex
 * whose owner is on its way out, or simply somebody else: after 1 ms, 10, 100, and 1 s.
 */
#define ROUNDS_MAX	RECOVERY_AFTER_1S

struct recovery_pass {
	struct locks *locks;
	struct locks_dead dead;		/* of a sweep: the last of them; of strays: nobody */
	enum recovery_kind kind;
	uint32_t next;			/* lock to look at */
	unsigned n_rounds;
	bool needs_round;		/* something was left in this one */
	bool needs_later;		/* something waits for a worker that does not end */
	bool was_costly;		/* the last lock: the clock is looked at before the next one */
	bool is_running;		/* and in no queue */
	enum recovery_delay delay;	/* until it goes on */
	uint64_t at_ns;			/* when that is, where it is not now */
	struct round round;
	TAILQ_ENTRY(recovery_pass) later_entry;
	LIST_ENTRY(recovery_pass) entry;	/* of its locks */
};

/*
 * Passes wait by the uids that died. Who has thousands of attachments to segments of many locks, and dies with all of them, has as many
 * passes: one of another uid is served after one of those, and not after all. It costs the same to put one of them there.
 */
static void
recovery_insert(struct recovery *recovery, struct recovery_pass *pass)
{
	if (pass->delay == RECOVERY_NOW) {
		rounds_enter(&recovery->passes, &pass->round, pass->dead.uid);
		return;
	}
	pass->at_ns = clock_monotonic_ns() + delays_ns[pass->delay];
	TAILQ_INSERT_TAIL(&recovery->later[pass->delay], pass, later_entry);
}

static void
recovery_remove(struct recovery *recovery, struct recovery_pass *pass)
{
	if (pass->round.is_waiting)
		rounds_leave(&recovery->passes, &pass->round);
	else
		TAILQ_REMOVE(&recovery->later[pass->delay], pass, later_entry);
}

/* Of one that is in no queue. */
static void
recovery_free_pass(struct recovery *recovery, struct recovery_pass *pass)
{
	LIST_REMOVE(pass, entry);
	if (pass->locks->waiting[pass->kind] == pass)
		pass->locks->waiting[pass->kind] = NULL;
	recovery->n_passes--;
	free(pass);
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
		bool needs_round = recovery_mutex(recovery, lock, &pass->dead);

		pass->was_costly = true;
		pass->needs_later |= recovery_is_lost(recovery, lock);
		return needs_round;
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
	if (!pass->needs_round || pass->n_rounds++ == ROUNDS_MAX) {
		if (!pass->needs_later)
			return true;
		pass->n_rounds = 0;
	}
	pass->delay = pass->n_rounds ? (enum recovery_delay)pass->n_rounds : RECOVERY_AFTER_10S;
	pass->next = 0;
	pass->needs_round = pass->needs_later = false;
	return false;
}

/* Sees to it that the loop goes on at that time, if not before. */
static void
recovery_arm(struct recovery *recovery, uint64_t at_ns)
{
	uint64_t now_ns;

	if (at_ns >= recovery->armed_ns)
		return;
	recovery->armed_ns = at_ns;
	now_ns = clock_monotonic_ns();
	timer_add_ns(&recovery->turn_event, at_ns > now_ns ? at_ns - now_ns : 0);
}

/* Those whose delay is over go on now. */
static void
recovery_wake(struct recovery *recovery, uint64_t now_ns)
{
	struct recovery_pass *pass;
	unsigned n = 0;

	for (unsigned i = 0; i < RECOVERY_DELAY_N; i++)
		while ((pass = TAILQ_FIRST(&recovery->later[i])) && pass->at_ns <= now_ns && n++ < DUE_MAX) {
			recovery_remove(recovery, pass);
			pass->delay = RECOVERY_NOW;
			recovery_insert(recovery, pass);
		}
}

static uint64_t
recovery_next_ns(const struct recovery *recovery)
{
	const struct recovery_pass *pass;
	uint64_t next_ns = UINT64_MAX;

	if (rounds_first(&recovery->passes))
		return 0;
	for (unsigned i = 0; i < RECOVERY_DELAY_N; i++)
		if ((pass = TAILQ_FIRST(&recovery->later[i])))
			next_ns = min_u64(next_ns, pass->at_ns);
	return next_ns;
}

static void
recovery_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct recovery *recovery = arg;
	uint64_t now_ns = clock_monotonic_ns(), until_ns = now_ns + TURN_NS;
	struct round *round;
	bool is_done;

	recovery_wake(recovery, now_ns);
	while ((round = rounds_take(&recovery->passes))) {
		struct recovery_pass *pass = BASE_CONTAINER_OF(round, struct recovery_pass, round);

		pass->is_running = true;
		is_done = recovery_walk(recovery, pass, until_ns);
		pass->is_running = false;
		if (is_done)
			recovery_free_pass(recovery, pass);
		else
			recovery_insert(recovery, pass);
		if (clock_monotonic_ns() > until_ns)
			break;
	}
	recovery->armed_ns = UINT64_MAX;
	recovery_arm(recovery, recovery_next_ns(recovery));
}

/* One that waits already serves for this one as well. */
static void
recovery_join(struct recovery *recovery, struct recovery_pass *queued, const struct recovery_pass *pass)
{
	/* One that is under way has passed some locks by, and goes round once more. */
	queued->needs_round |= queued->next > 0;
	queued->dead = pass->dead;
	queued->n_rounds = (unsigned)min_u64(queued->n_rounds, pass->n_rounds);
	if (queued->is_running || pass->delay >= queued->delay)
		return;
	recovery_remove(recovery, queued);
	queued->delay = pass->delay;
	recovery_insert(recovery, queued);
}

/* Puts a pass in the queue. -ENOMEM: it was not. */
static int
recovery_enqueue(struct recovery *recovery, const struct recovery_pass *pass)
{
	struct recovery_pass **waiting = &pass->locks->waiting[pass->kind], *queued = *waiting;

	if (queued) {
		recovery_join(recovery, queued, pass);
	} else {
		queued = malloc(sizeof(*queued));
		if (!queued)
			return -ENOMEM;
		*queued = *pass;
		recovery->n_passes++;
		LIST_INSERT_HEAD(&pass->locks->passes, queued, entry);
		/* Of what each owner had there is a pass for each. */
		if (pass->kind != RECOVERY_OWNER)
			*waiting = queued;
		recovery_insert(recovery, queued);
	}
	recovery_arm(recovery, queued->delay == RECOVERY_NOW ? 0 : queued->at_ns);
	return 0;
}

int
recovery_again(struct recovery *recovery, struct locks *locks, const struct locks_dead *dead, enum recovery_kind kind,
    enum recovery_delay delay)
{
	struct recovery_pass pass = { .locks = locks, .dead = *dead, .kind = kind, .delay = delay };

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
	return recovery->n_passes;
}

void
recovery_forget(struct recovery *recovery, struct locks *locks)
{
	struct recovery_pass *pass;

	while ((pass = LIST_FIRST(&locks->passes))) {
		recovery_remove(recovery, pass);
		recovery_free_pass(recovery, pass);
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
	rounds_init(&recovery->passes);
	for (unsigned i = 0; i < RECOVERY_DELAY_N; i++)
		TAILQ_INIT(&recovery->later[i]);
	LIST_INIT(&recovery->jobs);
	if (evtimer_assign(&recovery->turn_event, base, recovery_on_turn, recovery))
		return -ENOMEM;
	return guard_init();
}

void
recovery_deinit(struct recovery *recovery)
{
	/* Passes went with their locks. */
	assert(!recovery->n_passes);
	if (event_initialized(&recovery->turn_event))
		(void)evtimer_del(&recovery->turn_event);
	recovery_free_jobs(recovery);
}
