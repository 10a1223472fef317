/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The points of several operations, each of which is to fail once: they are counted, and then fail, one of each row in turn. $FAULTS_ALL
 * has each of them; without it there are as many as there is time for, others each time by the clock, and it is said how many.
 */
#ifndef TESTS_FAULTS_POINTS_H
#define TESTS_FAULTS_POINTS_H

#include "tests/faults/injector.h"

#define POINTS_ROWS_MAX	512

/* An operation with one kind of errors: how many could fail in it, and how many did. */
struct points_row {
	const char *name;
	const void *operation;			/* the caller's */
	unsigned variant;
	uint64_t n_points, n_failed, next;
};

struct points {
	struct injector *injector;
	const char *part;			/* or NULL: the program has no parts that have the same operations */
	bool (*run)(const struct points_row *row, uint64_t at);	/* with that one failing. Whether it came so far */
	uint64_t shift;				/* another one each time */
	size_t n_rows;
	struct points_row rows[POINTS_ROWS_MAX];
	uint64_t n_points, n_failed;		/* of all rows */
};

void points_init(struct points *points, struct injector *injector, bool (*run)(const struct points_row *row, uint64_t at));
/* With how many kinds of errors there are rows of an operation. */
unsigned points_variants(enum faults_kind kind);
/* Counts: it is run, and nothing fails. */
void points_add(struct points *points, const char *name, const void *operation, unsigned variant);
void points_add_variants(struct points *points, enum faults_kind kind, const char *name, const void *operation);
/* Of n operations that the quick check has one at a time, each run another: whether the i-th has its turn. Asked in a test of its own. */
bool points_has_turn(size_t i, size_t n);
/* All, or as many as there is time for: a second in the quick check. */
void points_fail(struct points *points, unsigned full_s);
/* In a line how many did, and what came of it, as the format says; and with $FAULTS_ALL one of each row. */
void points_tell(const struct points *points, const char *whose, const char *format, ...) BASE_PRINTF(3, 4);

#endif
