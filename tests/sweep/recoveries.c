/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sweep/judge.h"
#include "tests/sweep/library.h"
#include "tests/sweep/recoveries.h"
#include "tests/sweep/states.h"
#include "tests/sweep/step.h"
#include "tests/sweep/trap.h"

#define STORES_MAX	4096	/* of one recovery */
#define GENERATIONS_MAX	64

/*
 * Of the states that sections left one in so many, and of the others, is stepped from by ptrace as well; and where there is time
 * for all, so many times as many.
 */
#define PTRACE_SECTIONS	16
#define PTRACE_OTHERS	192
#define PTRACE_ALL	4

/*
 * Where there is not, one in so many of the states that recoveries left is gone on from; of those that sections left, each. No
 * divisor of what comes at regular distances.
 */
#define DAILY_ONE_IN	13

struct recoveries {
	struct states states;
	enum control_on_death on_death;
	enum piece daemon;
	struct stepped child;
	struct count count;
	size_t n_judged;	/* of the states */
	uint64_t n_by_ptrace;	/* positions */
	uint64_t by_generation[GENERATIONS_MAX];	/* positions of the recoveries that were killed as the first, second, ... */
	unsigned n_generations;
	unsigned bad_generation;	/* of the first that is bad */
	bool is_all;			/* for a check that may take its time */
	size_t n_left_out;		/* of the states */
};

/* One recovery under way. */
struct run {
	struct recoveries *recoveries;
	size_t from;
	enum piece piece;
	const struct stepped *child;	/* NULL: this process */
	struct field last;
	uintptr_t pending;
	struct judge_reader reader;
	struct {
		size_t state;
		uint64_t position;
	} seen[STORES_MAX];	/* in the order of their coming */
	size_t n_seen;
	uint64_t n_positions;
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
	recoveries->bad_generation = UINT_MAX;
	recoveries->is_all = common_is_full();
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
}

static void
bad(struct recoveries *recoveries, const struct field *left, unsigned generation, const char *wrong, const char *who,
    const char *origin)
{
	if (generation < recoveries->bad_generation)
		recoveries->bad_generation = generation;
	common_bad(&recoveries->count, left, wrong, "%s, %s, from the state of %s, %u deaths in recoveries before",
	    recoveries_on_death_names[recoveries->on_death], who, origin, generation);
}

static void
run_begin(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	run->recoveries = recoveries;
	run->from = from;
	run->piece = piece;
	run->n_seen = 0;
	run->n_positions = 0;
	run->pending = 0;
	memcpy(&run->last, &recoveries->states.list[from]->field, sizeof(run->last));
	judge_reader_init(&run->reader, &run->last);
	common_prepare(piece, recoveries->on_death, &run->last);
}

/* Who takes a lock from the dead writes down from whom, before anybody can see that. */
static bool
is_written_down(const struct run *run)
{
	const struct field *from = &run->recoveries->states.list[run->from]->field;

	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint32_t dead_id = control_id(atomic_load(&from->locks[i].state)), id = control_id(atomic_load(&run->last.locks[i].state));

		if (piece_is_dead(dead_id) && id != dead_id && (id == FIELD_WAITER || id == FIELD_WAITER2) &&
		    !control_was_taken(&run->last.locks[i], dead_id))
			return false;
	}
	return true;
}

/* One that dies now leaves this. */
static void
run_leave(struct run *run, const struct field *left)
{
	struct states *states = &run->recoveries->states;
	size_t n_before = states->n, to;

	common_check(states_add(states, left, piece_names[run->piece], run->n_positions, &to), "a state");
	if (states->n > n_before)
		states->list[to]->generation = states->list[run->from]->generation + 1;
	if (run->n_seen == STORES_MAX)
		common_die("a recovery does not end");
	run->seen[run->n_seen].state = to;
	run->seen[run->n_seen++].position = run->n_positions;
	if (!common->is_inside)
		common_check(states_add_edge(states, run->from, to), "an edge");
}

/*
 * After an instruction: a new state, if it changed the field, or what the kernel rings. What is left without a ring, since the
 * C library has the pointer, is among the states as well: the next one has not pointed at the bell yet when it takes the word.
 */
static void
run_look(void *context)
{
	struct run *run = context;
	struct recoveries *recoveries = run->recoveries;
	const struct state *from = recoveries->states.list[run->from];
	uintptr_t pending = library_pending();
	bool is_changed, is_rung;
	const char *wrong;
	struct field left;

	if (!common->is_running)
		return;
	run->n_positions++;
	if (run->child)
		common_check(step_peek(run->child, library_pending_address(), &pending), "the child's memory");
	is_changed = memcmp(&run->last, common->field, sizeof(run->last)) != 0;
	if (!is_changed && pending == run->pending)
		return;
	memcpy(&run->last, common->field, sizeof(run->last));
	run->pending = pending;
	wrong = judge_reader(&run->reader, &run->last);
	if (!wrong && !is_written_down(run))
		wrong = "a lock is taken from a dead owner, and that is not written down";
	if (wrong)
		bad(recoveries, &run->last, from->generation + 1, wrong, piece_names[run->piece], from->origin);
	memcpy(&left, &run->last, sizeof(left));
	is_rung = library_ring(&left, pending, library_tid());
	if (is_changed && !is_rung)
		run_leave(run, &run->last);
	if (is_rung)
		run_leave(run, &left);
}

static void
run_by_ptrace(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	int r;

	run_begin(run, recoveries, from, piece);
	run->child = &recoveries->child;
	step_pin(&recoveries->child);
	if (recoveries->child.pid < 0)
		r = step_start(&recoveries->child, common_run, NULL);
	else
		r = step_again(&recoveries->child);
	while (r == 0) {
		r = step_once(&recoveries->child);
		if (r == 0)
			run_look(run);
	}
	step_unpin();
	common_check(r, "stepping");
	recoveries->n_by_ptrace += run->n_positions;
}

static int
run_here(struct run *run, struct recoveries *recoveries, size_t from, enum piece piece)
{
	run_begin(run, recoveries, from, piece);
	return trap_run(common_run, NULL, run_look, run);
}

/* Of one that is broken nothing more is to be shown than that it is. */
static bool
is_for_ptrace(const struct recoveries *recoveries, const struct state *state)
{
	size_t one_in = (state->generation ? PTRACE_OTHERS : PTRACE_SECTIONS) / (recoveries->is_all ? PTRACE_ALL : 1);

	return !recoveries->count.is_quiet && state->index % one_in == 0;
}

/*
 * Each recovery is stepped through, from each state, in this process. That another one does the same under ptrace, position
 * by position, is shown now and then, since it costs several times as much.
 */
static void
recoveries_run(struct recoveries *recoveries, size_t from, enum piece piece)
{
	static struct run here, other;
	const struct state *state = recoveries->states.list[from];
	int r = run_here(&here, recoveries, from, piece);

	if (r != -ENOSYS)
		common_check(r, "stepping here");
	if (r == -ENOSYS || is_for_ptrace(recoveries, state))
		run_by_ptrace(&other, recoveries, from, piece);
	if (r == -ENOSYS)
		here.n_positions = other.n_positions;
	else if (is_for_ptrace(recoveries, state) && (here.n_positions != other.n_positions ||
	    here.n_seen != other.n_seen || memcmp(here.seen, other.seen, here.n_seen * sizeof(here.seen[0])) != 0))
		bad(recoveries, &state->field, 0, "stepping here and by ptrace disagree", piece_names[piece], state->origin);
	if (state->generation == GENERATIONS_MAX)
		common_die("the generations do not end");
	recoveries->by_generation[state->generation] += here.n_positions;
	recoveries->n_generations = state->generation + 1;
	recoveries->count.positions += here.n_positions;
}

/* The broken ones are to be found by what everybody runs all day: it is no other for them. */
static bool
is_left_out(const struct recoveries *recoveries, const struct state *state)
{
	return !recoveries->is_all && state->generation && state->index % DAILY_ONE_IN != 0;
}

/* A try that hears the bell goes the waiter's way from there: of what recoveries left it is only stepped where all is. */
static bool
is_work(const struct recoveries *recoveries, const struct state *state, enum piece piece)
{
	const struct field *field = &state->field;

	if (piece == PIECE_LIBRARY_TRY && state->generation && !recoveries->is_all)
		return false;
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint32_t word = control_word(atomic_load(&field->locks[i].state)), id = word & CONTROL_ID_MASK;

		if (piece == PIECE_LIBRARY_TRY && !control_is_rung(atomic_load(&field->locks[i].state)))
			continue;
		if (piece == PIECE_HAND ? id == CONTROL_ID_POISON :
		    piece == PIECE_AGAIN ? id == FIELD_CLAIM || id == FIELD_CLAIM2 : piece_is_dead(word))
			return true;
	}
	return false;
}

/* What comes of a state that nothing disturbs any more. */
static void
judge_states(struct recoveries *recoveries)
{
	for (; recoveries->n_judged < recoveries->states.n; recoveries->n_judged++) {
		struct state *state = recoveries->states.list[recoveries->n_judged];
		const char *wrong = common_recover(&state->field, recoveries->on_death, &state->end);

		if (wrong)
			bad(recoveries, &state->field, state->generation, wrong, "left alone", state->origin);
	}
}

/* Whoever recovers, however often one dies in it: the bytes are those that the first recovery would have made. */
static void
judge_edges(struct recoveries *recoveries)
{
	const struct states *states = &recoveries->states;

	for (size_t i = 0; i < states->n_edges; i++) {
		const struct state *from = states->list[states->edges[i].from], *to = states->list[states->edges[i].to];

		if (memcmp(from->end.data, to->end.data, FIELD_DATA_BYTES) != 0)
			bad(recoveries, &to->field, to->generation, "other bytes than those of a recovery that nothing disturbs",
			    to->origin, from->origin);
	}
}

static void
recoveries_say(const struct recoveries *recoveries, double seconds)
{
	(void)printf("%s: recoveries killed at %llu positions from %zu states, %llu bad, %.2f s; ptrace says the same of %llu\n",
	    recoveries_on_death_names[recoveries->on_death], (unsigned long long)recoveries->count.positions,
	    recoveries->states.n, (unsigned long long)recoveries->count.bad, seconds,
	    (unsigned long long)recoveries->n_by_ptrace);
	(void)printf("    the first recovery at %llu positions, those after a killed one, two, ... at",
	    (unsigned long long)recoveries->by_generation[0]);
	for (unsigned i = 1; i < recoveries->n_generations; i++)
		(void)printf(" %llu", (unsigned long long)recoveries->by_generation[i]);
	if (recoveries->n_left_out)
		(void)printf("\n    LEFT OUT: %zu of the states that recoveries left; CHECK_FULL=1 goes on from each\n",
		    recoveries->n_left_out);
	else
		(void)printf(", and then there is no new state\n");
}

uint64_t
recoveries_sweep(struct recoveries *recoveries, uint64_t *ret_positions, unsigned *ret_bad_generation)
{
	const enum piece pieces[] = { recoveries->daemon, PIECE_AGAIN, PIECE_LIBRARY_WAITER, PIECE_LIBRARY_TRY, PIECE_HAND };
	bool is_quiet = recoveries->count.is_quiet;
	double began = common_now();

	judge_states(recoveries);
	for (size_t i = 0; i < recoveries->states.n && !(is_quiet && recoveries->count.bad); i++) {
		if (is_left_out(recoveries, recoveries->states.list[i])) {
			recoveries->n_left_out++;
			continue;
		}
		for (size_t p = 0; p < (is_quiet ? 1 : sizeof(pieces) / sizeof(pieces[0])); p++)
			if (is_work(recoveries, recoveries->states.list[i], pieces[p])) {
				recoveries_run(recoveries, i, pieces[p]);
				judge_states(recoveries);
			}
	}
	judge_edges(recoveries);
	common_steps += recoveries->child.n_steps + recoveries->count.positions;
	if (!is_quiet)
		recoveries_say(recoveries, common_now() - began);
	*ret_positions = recoveries->count.positions;
	*ret_bad_generation = recoveries->bad_generation;
	return recoveries->count.bad;
}
