/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sweep/judge.h"
#include "tests/sweep/recoveries.h"
#include "tests/sweep/states.h"
#include "tests/sweep/step.h"
#include "tests/sweep/watch.h"

#define STORES_MAX	4096	/* of one recovery */

struct recoveries {
	struct states states;
	enum control_on_death on_death;
	enum piece daemon;
	struct stepped child;
	struct count count;
	size_t n_sections;	/* the first states: a section's */
	uint64_t n_stores;	/* that were watched */
};

/* One recovery under way. */
struct run {
	struct recoveries *recoveries;
	size_t from;
	enum piece piece;
	struct field last;
	struct judge_reader reader;
	size_t seen[STORES_MAX];	/* states, in the order of their coming */
	size_t n_seen;
};

const char *const recoveries_on_death_names[CONTROL_ON_DEATH_N] = {
	[CONTROL_ROLLBACK] = "rollback",
	[CONTROL_KEEP] = "keep",
	[CONTROL_ZERO] = "zero",
	[CONTROL_POISON] = "poison",
};

struct recoveries *
recoveries_new(enum control_on_death on_death, enum piece daemon)
{
	struct recoveries *recoveries = calloc(1, sizeof(*recoveries));

	if (!recoveries)
		common_die("no memory");
	recoveries->on_death = on_death;
	recoveries->daemon = daemon;
	recoveries->count.is_quiet = daemon != PIECE_DAEMON;
	recoveries->child = (struct stepped)STEPPED_NULL;
	return recoveries;
}

struct recoveries *
recoveries_free(struct recoveries *recoveries)
{
	if (recoveries) {
		step_kill(&recoveries->child);
		states_deinit(&recoveries->states);
		free(recoveries);
	}
	return NULL;
}

/* The one lock as it was left, and nothing else. */
void
recoveries_add_section(struct recoveries *recoveries, const struct field *left, uint64_t position)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		struct field field;
		uint64_t length;
		const unsigned char *bytes = judge_bytes(left, i, &length);
		size_t index;

		memcpy(&field, &common_pristine, sizeof(field));
		memcpy(&field.locks[i], &left->locks[i], sizeof(field.locks[i]));
		memcpy(field.logs[i], left->logs[i], sizeof(field.logs[i]));
		memcpy(field.data + (bytes - left->data), bytes, length);
		common_check(states_add(&recoveries->states, &field, "a section", position, &index), "a state");
	}
	recoveries->n_sections = recoveries->states.n;
}

static void
run_begin(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	run->recoveries = recoveries;
	run->from = from;
	run->piece = piece;
	run->n_seen = 0;
	memcpy(&run->last, &recoveries->states.list[from]->field, sizeof(run->last));
	judge_reader_init(&run->reader, &run->last);
	common_prepare(piece, recoveries->on_death, &run->last);
}

/* After an instruction: a new state, if it changed the field. Whoever dies in it leaves that. */
static void
run_look(void *context)
{
	struct run *run = context;
	struct recoveries *recoveries = run->recoveries;
	const char *wrong;
	size_t to;

	if (memcmp(&run->last, common->field, sizeof(run->last)) == 0)
		return;
	memcpy(&run->last, common->field, sizeof(run->last));
	wrong = judge_reader(&run->reader, &run->last);
	if (wrong)
		common_bad(&recoveries->count, &run->last, wrong, "%s, %s, from the state of %s",
		    recoveries_on_death_names[recoveries->on_death], piece_names[run->piece],
		    recoveries->states.list[run->from]->origin);
	common_check(states_add(&recoveries->states, &run->last, piece_names[run->piece], run->n_seen, &to), "a state");
	if (run->n_seen == STORES_MAX)
		common_die("a recovery does not end");
	run->seen[run->n_seen++] = to;
	if (!common->is_inside)
		common_check(states_add_edge(&recoveries->states, run->from, to), "an edge");
}

static void
run_step(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	uint64_t before = recoveries->child.n_steps;
	int r;

	run_begin(run, recoveries, from, piece);
	if (recoveries->child.pid < 0)
		r = step_start(&recoveries->child, common_run, NULL);
	else
		r = step_again(&recoveries->child);
	while (r == 0) {
		r = step_once(&recoveries->child);
		if (r == 0)
			run_look(run);
	}
	common_check(r, "stepping");
	recoveries->count.positions += recoveries->child.n_steps - before;
}

static int
run_watch(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	run_begin(run, recoveries, from, piece);
	return watch_run(common->field, COMMON_PAGE_BYTES, common_run, NULL, run_look, run);
}

/*
 * A recovery of what a section left is stepped through. The others run the same code from other states, and leave the same
 * wherever they die between two stores: they are stopped at each store. That this finds what stepping finds is shown where
 * both are done.
 */
static void
recoveries_run(struct recoveries *recoveries, size_t from, enum piece piece)
{
	static struct run watched, stepped;
	int r = run_watch(&watched, recoveries, from, piece);

	if (r != -ENOSYS)
		common_check(r, "watching");
	recoveries->n_stores += watched.n_seen;
	if (r == 0 && (from >= recoveries->n_sections || recoveries->count.is_quiet))
		return;
	run_step(&stepped, recoveries, from, piece);
	if (r == 0 && (watched.n_seen != stepped.n_seen ||
	    memcmp(watched.seen, stepped.seen, watched.n_seen * sizeof(watched.seen[0])) != 0))
		common_bad(&recoveries->count, &recoveries->states.list[from]->field, "watching and stepping disagree", "%s, %s",
		    recoveries_on_death_names[recoveries->on_death], piece_names[piece]);
}

static bool
is_work(const struct field *field, enum piece piece)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint32_t word = control_word(atomic_load(&field->locks[i].state)), id = word & CONTROL_ID_MASK;

		if (piece == PIECE_HAND ? id == CONTROL_ID_POISON :
		    piece == PIECE_AGAIN ? id == FIELD_CLAIM || id == FIELD_CLAIM2 : piece_is_dead(word))
			return true;
	}
	return false;
}

/* Whoever recovers, however often one dies in it: the bytes are those that the first recovery would have made. */
static void
judge_edges(struct recoveries *recoveries)
{
	const struct states *states = &recoveries->states;

	for (size_t i = 0; i < states->n_edges; i++) {
		const struct state *from = states->list[states->edges[i].from], *to = states->list[states->edges[i].to];

		if (memcmp(from->end.data, to->end.data, FIELD_DATA_BYTES) != 0)
			common_bad(&recoveries->count, &to->field, "other bytes than those of a recovery that nothing disturbs",
			    "%s, %s, after %s", recoveries_on_death_names[recoveries->on_death], to->origin, from->origin);
	}
}

uint64_t
recoveries_sweep(struct recoveries *recoveries, uint64_t *ret_positions)
{
	const enum piece pieces[] = { recoveries->daemon, PIECE_AGAIN, PIECE_LIBRARY_WAITER, PIECE_HAND };
	double began = common_now();

	for (size_t i = 0; i < recoveries->states.n; i++) {
		struct state *state = recoveries->states.list[i];
		const char *wrong = common_recover(&state->field, recoveries->on_death, &state->end);

		if (wrong)
			common_bad(&recoveries->count, &state->field, wrong, "%s, from the state of %s",
			    recoveries_on_death_names[recoveries->on_death], state->origin);
		for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++)
			if (is_work(&state->field, pieces[p]))
				recoveries_run(recoveries, i, pieces[p]);
	}
	judge_edges(recoveries);
	common_steps += recoveries->child.n_steps;
	if (!recoveries->count.is_quiet)
		(void)printf("%s: recoveries killed at %llu positions from %zu states of sections, then at %llu stores from "
		    "%zu states, %llu bad, %.2f s\n", recoveries_on_death_names[recoveries->on_death],
		    (unsigned long long)recoveries->count.positions, recoveries->n_sections,
		    (unsigned long long)recoveries->n_stores, recoveries->states.n,
		    (unsigned long long)recoveries->count.bad, common_now() - began);
	*ret_positions = recoveries->count.positions;
	return recoveries->count.bad;
}
