/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Judges a comparison and prints it: a few lines for people, one JSON object for machines. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/bench.h"

#define REPORT_ROUNDS_MAX	99

/* One side over all its quiet rounds. */
struct series {
	const char *name;
	bool is_beside;
	double figures[REPORT_ROUNDS_MAX];	/* one a round */
	unsigned n;
	struct samples pool;			/* of all rounds */
};

struct comparison {
	const struct bench_goal *goal;
	struct series series[BENCH_SIDES_MAX];	/* baselines first, the judged one last */
	unsigned n_sides;
	unsigned n_wanted;
	unsigned n_disturbed;			/* rounds thrown away */
	double other_max;			/* the most other load of any round, kept or not */
};

/* Sets bench->result. */
void report_comparison(struct bench *bench, struct comparison *comparison);

/* A figure that has no baseline, judged against limits of its own. Sets bench->result. */
void report_figure(struct bench *bench, const struct bench_goal *goal, const char *what, double figure, double must,
    double stretch);

void report_skipped(const struct bench *bench, const struct bench_goal *goal, const char *why);

const char *report_outcome_name(enum bench_outcome outcome);

#endif
