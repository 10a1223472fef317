/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whose turn it is: uids by turns, and of each uid those of its own by turns, one request each. So a uid with four thousand busy
 * connections is served as often as one with a single one. That something is to be done is cheap to enter; the work is done
 * behind everything else that the loop heard of in the same turn, for a while that is far below a millisecond.
 */
#ifndef DAEMON_TURNS_H
#define DAEMON_TURNS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct turn;

TAILQ_HEAD(turn_queue, turn);

/* What waits of one uid: lives where its account does. */
struct turns_uid {
	struct turn_queue queue;	/* not initialised before the first one enters */
	bool is_waiting;
	TAILQ_ENTRY(turns_uid) entry;
};

/* One that may be given turns. Taking it may end it, or have it enter again. */
struct turn {
	void (*take)(struct turn *turn);
	struct turns_uid *uid;		/* NULL: it does not wait */
	TAILQ_ENTRY(turn) entry;
};

struct turns {
	TAILQ_HEAD(, turns_uid) uids;
	struct event event;
	const struct turns_uid *last_uid;	/* that was first in a run; it may be gone */
	uint64_t company_ns;		/* when another one was */
	bool is_running;
	uint64_t n_runs;		/* changes with each turn of the loop in which somebody was served */
	unsigned n_favours;
};

int turns_init(struct turns *turns, struct event_base *base);
void turns_deinit(struct turns *turns);

/* Gives it a turn soon, the last of its uid's. Nothing, if it waits already. */
void turns_enter(struct turns *turns, struct turns_uid *uid, struct turn *turn);
void turns_leave(struct turns *turns, struct turn *turn);
static inline bool
turn_waits(const struct turn *turn)
{
	return turn->uid;
}

/* Whether something of lesser use may be done now, too: a few times in each turn of the loop. */
bool turns_have_time(struct turns *turns);

#endif
