/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client may die at any instruction, and so may whoever recovers from that, and from that. Code is stepped through, an
 * instruction at a time, and every state of the shared memory that a death could leave is recovered from and judged.
 *
 * A kill takes a process's registers and its private memory, and leaves the shared memory as it is after the last
 * instruction that was done; but for the bell of a lock that its list_op_pending points at, which the kernel rings. So the shared memory of a stepped child, looked at after each of its instructions, is all
 * that a kill there would have left: one child, stepped once to its end, gives the states of all positions. That it is the
 * same is shown for the sections, which are killed in earnest at each position as well, and the two are compared.
 *
 * Sections are those of client/control.h, in one translation unit with it (pieces.c), and those of libsegment (library.c);
 * recoveries.c goes on from what they leave, and third.c is about those that wait. Recoveries, which are killed
 * in millions of places, are stepped in this process (trap.c), the rest with ptrace (step.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sweep/common.h"
#include "tests/sweep/judge.h"
#include "tests/sweep/library.h"
#include "tests/sweep/path.h"
#include "tests/sweep/recoveries.h"
#include "tests/sweep/step.h"
#include "tests/sweep/third.h"

#define EXIT_SKIP	77
#define TRACES		8

static uint64_t total_positions;

/* --- sections ------------------------------------------------------------------------------------------------------ */

/* The states of a section by position: those at which changed what a kill leaves. */
struct trace {
	struct {
		uint64_t position;
		struct field left;	/* by a kill there: the kernel may have rung a bell */
		struct field plain;	/* if it did not */
	} *changes;
	size_t n;
	uint64_t n_positions;
	struct path path;
	struct field start;
	uint64_t n_rung;	/* of the positions */
	bool is_told;		/* it begins with the marks of a death before */
};

static void
trace_add(struct trace *trace, uint64_t position, const struct field *left, const struct field *plain)
{
	void *grown = realloc(trace->changes, (trace->n + 1) * sizeof(*trace->changes));

	if (!grown)
		common_die("no memory");
	trace->changes = grown;
	trace->changes[trace->n].position = position;
	memcpy(&trace->changes[trace->n].left, left, sizeof(*left));
	memcpy(&trace->changes[trace->n++].plain, plain, sizeof(*plain));
}

/* What a kill of the child leaves now. */
static void
trace_look(struct trace *trace, const struct stepped *child)
{
	struct field left, plain;
	uintptr_t pending;

	common_check(step_peek(child, library_pending_address(), &pending), "the child's memory");
	memcpy(&plain, common->field, sizeof(plain));
	memcpy(&left, &plain, sizeof(left));
	trace->n_rung += library_ring(&left, pending, (uint32_t)child->pid);
	library_hide_tid(&left, (uint32_t)child->pid);
	library_hide_tid(&plain, (uint32_t)child->pid);
	if (!trace->n || memcmp(&trace->changes[trace->n - 1].left, &left, sizeof(left)) != 0 ||
	    memcmp(&trace->changes[trace->n - 1].plain, &plain, sizeof(plain)) != 0)
		trace_add(trace, trace->n_positions, &left, &plain);
}

static void
trace_path(struct trace *trace, const struct stepped *child)
{
	int r = path_add(&trace->path, child);

	if (r != -ENOSYS)
		common_check(r, "the child's registers");
}

static void
trace_deinit(struct trace *trace)
{
	free(trace->changes);
	path_deinit(&trace->path);
}

/* Somebody goes to sleep for each lock as soon as it is held. */
static void
wait_for_locks(void)
{
	for (int i = FIELD_A; i <= FIELD_B; i++)
		if (control_word(common->field->locks[i].state) == FIELD_DEAD)
			(void)atomic_fetch_or(&common->field->locks[i].state, CONTROL_STATE(CONTROL_WAITERS,
			    control_bell(common->field->locks[i].state) ? CONTROL_WAITERS : 0));
}

static void
trace_section(enum piece piece, bool is_waited_for, bool is_told, struct trace *ret_trace)
{
	struct stepped child = STEPPED_NULL;
	int r;

	*ret_trace = (struct trace){ .n = 0 };
	ret_trace->is_told = is_told;
	memcpy(&ret_trace->start, &common_pristine, sizeof(ret_trace->start));
	for (int i = FIELD_A; is_told && i <= FIELD_B; i++)
		atomic_store(&ret_trace->start.locks[i].marks, CONTROL_OWNER_DIED);
	common_prepare(piece, CONTROL_ROLLBACK, &ret_trace->start);
	common_check(step_start(&child, common_run_child, NULL), "the child");
	trace_look(ret_trace, &child);
	trace_path(ret_trace, &child);
	while ((r = step_once(&child)) == 0) {
		ret_trace->n_positions++;
		trace_path(ret_trace, &child);
		if (is_waited_for)
			wait_for_locks();
		trace_look(ret_trace, &child);
	}
	common_check(r, "stepping");
	common_steps += child.n_steps;
	step_kill(&child);
}

static bool
is_undone(enum piece piece)
{
	return piece == PIECE_ROLLED_BACK || piece == PIECE_LIBRARY_ROLLBACK || piece == PIECE_LIBRARY_DETACH;
}

/* Who was told and unlocked has ended the telling; a section that ends with its attachment is a dead one. */
static bool
is_told_right(const struct trace *trace, enum piece piece)
{
	const struct field *end = &trace->changes[trace->n - 1].left;

	return atomic_load(&end->locks[FIELD_A].marks) == (piece == PIECE_LIBRARY_DETACH ? CONTROL_OWNER_DIED : 0) &&
	    atomic_load(&end->locks[FIELD_B].marks) == 0;
}

/* Each state by itself, and that a lock which has its new bytes never has its old ones again. */
static void
judge_section(const struct trace *trace, enum piece piece, struct count *count)
{
	struct judge_reader reader;
	bool is_new[2] = { false, false };

	judge_reader_init(&reader, &trace->start);
	for (size_t i = 0; i < trace->n; i++) {
		const struct field *left = &trace->changes[i].left;
		struct field end;
		const char *wrong = common_recover(left, CONTROL_ROLLBACK, &end);

		for (int l = FIELD_A; !wrong && l <= FIELD_B; l++) {
			enum field_contents contents = field_contents(&end, l);

			if (is_new[l] != (contents == FIELD_NEW) && (is_new[l] || contents != FIELD_NEW))
				wrong = "old bytes after new ones, or neither";
			is_new[l] = contents == FIELD_NEW;
		}
		if (!wrong)
			wrong = judge_reader(&reader, left);
		if (wrong)
			common_bad(count, left, wrong, "%s, killed after instruction %llu", piece_names[piece],
			    (unsigned long long)trace->changes[i].position);
	}
	if (is_new[FIELD_A] == is_undone(piece) || !is_new[FIELD_B] || !is_told_right(trace, piece))
		common_bad(count, &trace->changes[trace->n - 1].left, "it did not do what it should", "%s, to its end",
		    piece_names[piece]);
	count->positions += trace->n_positions + 1;
}

/* Kills it in earnest at each position; what is left has to be what the trace says. */
static void
kill_section(const struct trace *trace, enum piece piece, struct count *count)
{
	size_t change = 0;

	for (uint64_t position = 0; position <= trace->n_positions; position++) {
		struct stepped child = STEPPED_NULL;
		struct field left;
		uint32_t tid;

		if (change + 1 < trace->n && trace->changes[change + 1].position == position)
			change++;
		common_prepare(piece, CONTROL_ROLLBACK, &trace->start);
		common_check(step_start(&child, common_run_child, NULL), "the child");
		common_check(path_go(&trace->path, &child, position), "stepping");
		common_steps += child.n_steps;
		tid = (uint32_t)child.pid;
		step_kill(&child);
		memcpy(&left, common->field, sizeof(left));
		library_hide_tid(&left, tid);
		if (memcmp(&left, &trace->changes[change].left, sizeof(left)) != 0)
			common_bad(count, &left, "a kill leaves another state than stepping found", "%s, killed after instruction "
			    "%llu", piece_names[piece], (unsigned long long)position);
	}
}

/* --- all of it ----------------------------------------------------------------------------------------------------- */

static uint64_t
sweep_sections(struct trace traces[TRACES])
{
	static const struct {
		enum piece piece;
		bool is_waited_for, is_told, is_killed;
	} runs[TRACES] = {
		{ PIECE_SECTION, false, false, true },
		{ PIECE_SECTION, true, false, false },
		{ PIECE_ROLLED_BACK, false, false, false },
		{ PIECE_LIBRARY_SECTION, false, false, true },
		{ PIECE_LIBRARY_SECTION, true, true, false },
		{ PIECE_LIBRARY_ROLLBACK, false, false, true },
		{ PIECE_LIBRARY_DETACH, false, false, true },
		{ PIECE_LIBRARY_FORK, false, false, true },
	};
	const struct stepped no_child = STEPPED_NULL;
	uint64_t n_bad = 0;

	for (size_t i = 0; i < TRACES; i++) {
		struct count count = { .bad = 0 };
		double began = common_now();

		trace_section(runs[i].piece, runs[i].is_waited_for, runs[i].is_told, &traces[i]);
		judge_section(&traces[i], runs[i].piece, &count);
		step_pin(&no_child);
		if (runs[i].is_killed)
			kill_section(&traces[i], runs[i].piece, &count);
		step_unpin();
		(void)printf("%s%s%s: %s at %llu positions, %llu of them ring, %zu states, %llu bad, %.2f s\n", piece_names[runs[i].piece],
		    runs[i].is_waited_for ? ", waited for" : "", runs[i].is_told ? ", told" : "", runs[i].is_killed ? "killed" : "stepped",
		    (unsigned long long)count.positions, (unsigned long long)traces[i].n_rung, traces[i].n, (unsigned long long)count.bad, common_now() - began);
		total_positions += count.positions;
		n_bad += count.bad;
	}
	return n_bad;
}

static void
skip_if_forbidden(void)
{
	struct stepped child = STEPPED_NULL;
	int r;

	common_prepare(PIECE_DAEMON, CONTROL_ROLLBACK, &common_pristine);
	r = step_start(&child, common_run, NULL);
	if (r == 0)
		r = step_once(&child);
	step_kill(&child);
	if (r == 0)
		return;
	(void)printf("SKIP: ptrace is not permitted or cannot step here%s%s\n", r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	exit(EXIT_SKIP);
}

/* A piece that is broken on purpose has to be seen, or the others' success says nothing. Returns what is wrong with that. */
static uint64_t
found(enum piece piece, uint64_t n_bad)
{
	(void)printf("%s: %llu bad states found, %s\n", piece_names[piece], (unsigned long long)n_bad,
	    n_bad ? "as there have to be" : "BAD: there have to be some");
	return n_bad ? 0 : 1;
}

static uint64_t
sweep_broken_section(enum piece piece)
{
	struct count count = { .is_quiet = true };
	struct trace trace;

	trace_section(piece, false, false, &trace);
	judge_section(&trace, piece, &count);
	trace_deinit(&trace);
	return found(piece, count.bad);
}

static uint64_t
sweep_recoveries(const struct trace *traces, enum control_on_death on_death, enum piece daemon, unsigned generation)
{
	struct recoveries *recoveries = recoveries_new(on_death, daemon);
	unsigned bad_generation;
	uint64_t n_bad, n_positions;

	/* A mark that is there already a recovery sets again, and looks at no further. */
	for (size_t t = 0; t < TRACES; t++)
		for (size_t i = 0; !traces[t].is_told && i < traces[t].n; i++) {
			recoveries_add_section(recoveries, &traces[t].changes[i].left, traces[t].changes[i].position);
			recoveries_add_section(recoveries, &traces[t].changes[i].plain, traces[t].changes[i].position);
		}
	n_bad = recoveries_sweep(recoveries, &n_positions, &bad_generation);
	total_positions += n_positions;
	(void)recoveries_free(recoveries);
	if (daemon == PIECE_DAEMON)
		return n_bad;
	if (n_bad)
		(void)printf("after %u killed recoveries, at %llu positions: ", bad_generation, (unsigned long long)n_positions);
	return found(daemon, n_bad) + (n_bad && bad_generation != generation);
}

int
main(void)
{
	static const enum piece broken[] = { PIECE_BROKEN_RECOVERY, PIECE_BROKEN_SECOND, PIECE_BROKEN_THIRD };
	struct trace traces[TRACES];
	double began = common_now();
	uint64_t n_bad, n_positions;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	common_init();
	skip_if_forbidden();
	n_bad = sweep_sections(traces);
	for (enum control_on_death on_death = 0; on_death < CONTROL_ON_DEATH_N; on_death++)
		n_bad += sweep_recoveries(traces, on_death, PIECE_DAEMON, 0);
	n_bad += third_sweep(&n_positions);
	total_positions += n_positions;
	n_bad += sweep_broken_section(PIECE_BROKEN_UNLOCK);
	n_bad += sweep_broken_section(PIECE_BROKEN_PUBLISH);
	n_bad += sweep_broken_section(PIECE_BROKEN_STORE);
	for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		n_bad += sweep_recoveries(traces, CONTROL_ROLLBACK, broken[i], i + 1);
	for (size_t i = 0; i < TRACES; i++)
		trace_deinit(&traces[i]);
	(void)printf("%s: %llu positions, %llu steps, %.1f s\n", n_bad ? "FAILED" : "all good",
	    (unsigned long long)total_positions, (unsigned long long)common_steps, common_now() - began);
	return n_bad ? 1 : 0;
}
