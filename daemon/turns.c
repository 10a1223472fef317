/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Two rings, one in the other. When the time is up the loop hears what else there is, and goes on here behind that. */
#include "config.h"

#include "base/base.h"
#include "daemon/timer.h"
#include "daemon/turns.h"

#define RUN_NS		(NS_PER_MS / 20)	/* of serving in one turn of the loop */
#define RUN_ALONE_NS	(NS_PER_MS / 5)		/* while there is one uid: whoever comes waits for it once */
#define COMPANY_NS	(10 * NS_PER_MS)	/* after another uid was served it may come again any time */
#define FAVOURS		32

/* The first of the uid that has waited longest, which goes behind all others. */
static struct turn *
turns_next(struct turns *turns)
{
	struct turns_uid *uid = TAILQ_FIRST(&turns->uids);
	struct turn *turn = TAILQ_FIRST(&uid->queue);

	if (TAILQ_NEXT(turn, entry)) {
		TAILQ_REMOVE(&turns->uids, uid, entry);
		TAILQ_INSERT_TAIL(&turns->uids, uid, entry);
	}
	turns_leave(turns, turn);
	return turn;
}

/* As long as a uid is alone each turn of the loop that it does not take is time lost. */
static uint64_t
turns_run_ns(struct turns *turns, uint64_t now_ns)
{
	const struct turns_uid *uid = TAILQ_FIRST(&turns->uids);

	if (uid && (uid != turns->last_uid || TAILQ_NEXT(uid, entry)))
		turns->company_ns = now_ns;
	turns->last_uid = uid;
	return now_ns < turns->company_ns + COMPANY_NS ? RUN_NS : RUN_ALONE_NS;
}

static void
turns_on_run(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval next_turn = { 0 };
	struct turns *turns = arg;
	uint64_t now_ns = clock_monotonic_ns();
	uint64_t until_ns = now_ns + turns_run_ns(turns, now_ns);

	turns->n_favours = 0;
	turns->n_runs++;
	turns->is_running = true;
	while (!TAILQ_EMPTY(&turns->uids)) {
		struct turn *turn = turns_next(turns);

		turn->take(turn);
		if (!TAILQ_EMPTY(&turns->uids) && clock_monotonic_ns() >= until_ns) {
			timer_add(&turns->event, &next_turn);
			break;
		}
	}
	turns->is_running = false;
}

int
turns_init(struct turns *turns, struct event_base *base)
{
	*turns = (struct turns) { 0 };
	TAILQ_INIT(&turns->uids);
	return evtimer_assign(&turns->event, base, turns_on_run, turns) ? -ENOMEM : 0;
}

void
turns_deinit(struct turns *turns)
{
	if (event_initialized(&turns->event))
		(void)event_del(&turns->event);
}

void
turns_enter(struct turns *turns, struct turns_uid *uid, struct turn *turn)
{
	if (turn->uid)
		return;
	/* Behind what else was heard of in this turn of the loop. While it runs, it goes on by itself. */
	if (TAILQ_EMPTY(&turns->uids) && !turns->is_running)
		event_active(&turns->event, EV_TIMEOUT, 0);
	if (!uid->is_waiting) {
		uid->is_waiting = true;
		TAILQ_INIT(&uid->queue);
		TAILQ_INSERT_TAIL(&turns->uids, uid, entry);
	}
	turn->uid = uid;
	TAILQ_INSERT_TAIL(&uid->queue, turn, entry);
}

void
turns_leave(struct turns *turns, struct turn *turn)
{
	struct turns_uid *uid = turn->uid;

	if (!uid)
		return;
	TAILQ_REMOVE(&uid->queue, turn, entry);
	turn->uid = NULL;
	if (TAILQ_EMPTY(&uid->queue)) {
		TAILQ_REMOVE(&turns->uids, uid, entry);
		uid->is_waiting = false;
	}
}

bool
turns_have_time(struct turns *turns)
{
	return turns->n_favours++ < FAVOURS;
}
