/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who is next of all that waits for one thing: uids by turns, and what waits of one uid in the order in which it came. So whoever has
 * thousands waiting delays another by one of them. What waits embeds its place, so nothing here can fail; entering looks for the
 * uid among those that wait, and all else takes the same time however much waits.
 */
#ifndef DAEMON_ROUNDS_H
#define DAEMON_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct round {
	uint32_t uid;
	bool is_waiting;
	bool is_head;			/* it came first of its uid's, and has the uid's place */
	struct round *before, *behind;	/* of its uid: a ring */
	TAILQ_ENTRY(round) entry;	/* of the head */
};

struct rounds {
	TAILQ_HEAD(rounds_uids, round) uids;	/* their heads, who is next first */
	unsigned n;			/* that wait */
	uint64_t n_steps;		/* that were made to find uids */
};

#define ROUNDS_INIT(rounds)	{ .uids = TAILQ_HEAD_INITIALIZER((rounds).uids) }

void rounds_init(struct rounds *rounds);

/* Behind all of its uid; one that had nothing waiting comes behind the others. Not for one that waits. */
void rounds_enter(struct rounds *rounds, struct round *round, uint32_t uid);
/* Before all others, of whatever uid. */
void rounds_enter_first(struct rounds *rounds, struct round *round, uint32_t uid);
/* Its uid keeps its place for what else it has. Nothing, if it does not wait. */
void rounds_leave(struct rounds *rounds, struct round *round);
/* It is served, and leaves: its uid goes behind the others. */
void rounds_serve(struct rounds *rounds, struct round *round);
/* Serves who is next. NULL: nobody waits. */
struct round *rounds_take(struct rounds *rounds);

/* Who is next, and, of another uid, after that. NULL: nobody. */
static inline struct round *
rounds_first(const struct rounds *rounds)
{
	return TAILQ_FIRST(&rounds->uids);
}

static inline struct round *
rounds_next_uid(const struct round *head)
{
	return TAILQ_NEXT(head, entry);
}

#endif
