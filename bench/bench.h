/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every family of benches uses: samples and their percentiles, pinning, the gate that discards disturbed rounds,
 * paired rounds, verdicts. It measures nothing itself, and fails nothing: a missed goal is a line of the report. Only a
 * bench that cannot be run ends the program.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/base.h"

#define BENCH_SIDES_MAX		6
#define BENCH_OWN_MAX		8
#define BENCH_RUNS_MAX		9

/* Latencies in nanoseconds, in the order of their arrival until a percentile sorts them. */
struct samples {
	uint32_t *ns;
	size_t n;
	size_t capacity;
};

#define SAMPLES_NULL	{ .ns = NULL }

void samples_add(struct samples *samples, uint64_t ns);
void samples_append(struct samples *samples, const struct samples *more);
void samples_clear(struct samples *samples);		/* keeps the room */
void samples_deinit(struct samples *samples);
uint64_t samples_percentile(struct samples *samples, double fraction);	/* sorts; 0 where there is none */

/* Operations of one sample where one alone is too short to be timed: its nanoseconds are one's picoseconds. */
#define BENCH_BATCH		1000

/* The unit of a goal's figure says how it is printed, and which way is better. */
enum bench_unit {
	BENCH_US,			/* microseconds of one operation; the round's p50 if the side gave no figure */
	BENCH_MS,			/* milliseconds of one, of the figure that the side gave */
	BENCH_NS,			/* nanoseconds of one; samples: the time of BENCH_BATCH operations each */
	BENCH_CPU_US,			/* microseconds of CPU time of one operation */
	BENCH_PER_SECOND,		/* operations a second */
	BENCH_GIB_PER_SECOND,
	BENCH_UNIT_N
};

/* What one side did in one round. */
struct bench_round {
	struct samples samples;		/* may stay empty */
	double figure;			/* in the goal's unit; 0: take the p50 of the samples */
};

/* One side of a comparison: the baselines come first, what is judged comes last. */
struct bench_side {
	const char *name;
	void (*run)(void *arg, struct bench_round *round);
	void *arg;
	bool is_beside;			/* shown, and no baseline */
};

struct bench;

/* A row of the table of goals. */
struct bench_goal {
	const char *id;			/* as in H1, or H5/100 where a goal has several figures */
	const char *title;
	enum bench_unit unit;
	double must;			/* ratio to the best baseline; 0, with a baseline: no goal, and nothing is judged */
	double stretch;
	double must_p99;		/* ratio of pooled p99; 0: not asked */
	void (*run)(struct bench *bench, const struct bench_goal *goal);
	double must_p90;		/* as must_p99 */
	double most_p99_us;		/* the pooled p99 itself; 0: not asked */
	bool is_difference;		/* must and stretch are of what the figure is more than the baseline's, in its unit */
	double gate;			/* as the bench's, where that is less: kernel threads have a part in what is measured */
	const void *arg;		/* run's own */
};

/* How a run of a goal ended. */
enum bench_outcome {
	BENCH_MISSED,
	BENCH_MUST,			/* the must is met */
	BENCH_STRETCH,			/* and the stretch */
	BENCH_NOISY,			/* too few quiet rounds to say */
	BENCH_SKIPPED,			/* cannot be measured on this host, or was not asked for */
	BENCH_TOLD,			/* there is no goal */
	BENCH_OUTCOME_N
};

struct bench_result {
	enum bench_outcome outcome;
	double ratio;			/* or difference; a figure without a baseline: that; -1: none */
	double ratio_p90;		/* of all samples; 0: none */
	double ratio_p99;
};

struct bench {
	const char *daemon;		/* the program under test */
	unsigned n_rounds;
	double gate;			/* other load that a round bears, as a fraction of all CPUs */
	bool host_settings;		/* whether we may change shmem_enabled and the hugetlb pool for a while */
	double idle_seconds;
	uint64_t provision_bytes;
	FILE *json;			/* or NULL */

	cpu_set_t cpus;			/* what we were started with */
	int client_cpu;			/* pinned sides: who asks, and */
	int server_cpu;			/* who answers */
	unsigned n_cpus;
	pid_t own[BENCH_OWN_MAX];	/* live children, whose load is no disturbance */

	unsigned run;			/* from 1 */
	struct bench_result result;	/* of the goal that runs now */
};

/* Ends the program with a sentence: for what makes measuring impossible. */
void bench_fail(const char *format, ...) BASE_PRINTF(1, 2) __attribute__((noreturn));

void bench_init(struct bench *bench);

/* Pins pid (0: the caller) to one CPU, or gives it back all that the bench was started with (cpu -1). */
void bench_pin(const struct bench *bench, pid_t pid, int cpu);

/* A child whose CPU time is ours, until it is reaped. */
void bench_own(struct bench *bench, pid_t pid);
void bench_disown(struct bench *bench, pid_t pid);

/* CPU time of a live process's only thread, in nanoseconds, and how often it was put on a CPU. */
uint64_t bench_process_cpu_ns(pid_t pid, uint64_t *ret_times);

/*
 * Runs the sides in turn, round by round, until n_rounds of them were quiet, judges the last side against the best of the
 * others, reports, and fills in bench->result.
 */
void bench_measure(struct bench *bench, const struct bench_goal *goal, const struct bench_side *sides, unsigned n_sides);

/* Says why a goal is not measured here. */
void bench_skip(struct bench *bench, const struct bench_goal *goal, const char *why);

/* A private directory below $TMPDIR; what is left at the end of the program is removed. */
void bench_make_directory(char *path, size_t size);

/* Where daemon.state_dir is by default: in memory, if there is any such place that we may write to; else as the other. */
void bench_make_state_directory(char *path, size_t size);
void bench_remove_directory(const char *path);

/* A sentence on a line of its own, below the goal that it explains. */
void bench_note(const char *format, ...) BASE_PRINTF(1, 2);

#endif
