/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A ring for each uid, whose head stands in the queue of uids. */
#include "config.h"

#include <assert.h>
#include <stddef.h>

#include "daemon/rounds.h"

void
rounds_init(struct rounds *rounds)
{
	*rounds = (struct rounds) { 0 };
	TAILQ_INIT(&rounds->uids);
}

static struct round *
rounds_find(struct rounds *rounds, uint32_t uid)
{
	struct round *head;

	TAILQ_FOREACH(head, &rounds->uids, entry) {
		rounds->n_steps++;
		if (head->uid == uid)
			return head;
	}
	return NULL;
}

/* Into the ring, before another one; NULL: it is a ring of its own. */
static void
round_link(struct round *round, struct round *next)
{
	if (!next) {
		round->before = round->behind = round;
		return;
	}
	round->behind = next;
	round->before = next->before;
	next->before->behind = round;
	next->before = round;
}

static void
rounds_begin(struct rounds *rounds, struct round *round, uint32_t uid)
{
	assert(!round->is_waiting);
	round->uid = uid;
	round->is_waiting = true;
	round->is_head = false;
	rounds->n++;
}

void
rounds_enter(struct rounds *rounds, struct round *round, uint32_t uid)
{
	struct round *head = rounds_find(rounds, uid);

	rounds_begin(rounds, round, uid);
	/* Before the head is the end of the ring. */
	round_link(round, head);
	if (head)
		return;
	round->is_head = true;
	TAILQ_INSERT_TAIL(&rounds->uids, round, entry);
}

void
rounds_enter_first(struct rounds *rounds, struct round *round, uint32_t uid)
{
	struct round *head = rounds_find(rounds, uid);

	rounds_begin(rounds, round, uid);
	round_link(round, head);
	if (head) {
		head->is_head = false;
		TAILQ_REMOVE(&rounds->uids, head, entry);
	}
	round->is_head = true;
	TAILQ_INSERT_HEAD(&rounds->uids, round, entry);
}

void
rounds_leave(struct rounds *rounds, struct round *round)
{
	struct round *behind = round->behind;

	if (!round->is_waiting)
		return;
	if (round->is_head) {
		if (behind != round) {
			behind->is_head = true;
			TAILQ_INSERT_AFTER(&rounds->uids, round, behind, entry);
		}
		TAILQ_REMOVE(&rounds->uids, round, entry);
	}
	round->before->behind = behind;
	behind->before = round->before;
	round->before = round->behind = NULL;
	round->is_waiting = round->is_head = false;
	rounds->n--;
}

void
rounds_serve(struct rounds *rounds, struct round *round)
{
	struct round *head = round->is_head ? round->behind : NULL;

	rounds_leave(rounds, round);
	/* Who is no head is served before its turn, and its uid has that one still. */
	if (!head || head == round)
		return;
	TAILQ_REMOVE(&rounds->uids, head, entry);
	TAILQ_INSERT_TAIL(&rounds->uids, head, entry);
}

struct round *
rounds_take(struct rounds *rounds)
{
	struct round *round = TAILQ_FIRST(&rounds->uids);

	if (round)
		rounds_serve(rounds, round);
	return round;
}
