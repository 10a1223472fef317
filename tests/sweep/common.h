/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the sweeps have in common: the memory that is swept, counting, and the recovery that nothing disturbs. */
#ifndef TESTS_SWEEP_COMMON_H
#define TESTS_SWEEP_COMMON_H

#include "tests/sweep/pieces.h"

/* What a stepped child runs, and on what. The field has pages of its own. */
struct common {
	struct field *field;
	volatile uint32_t is_running;	/* in common_run() */
	volatile uint32_t is_inside;
	volatile uint32_t is_asleep[2];	/* sleepers of third.c */
	enum piece piece;
	enum control_on_death on_death;
};

#define COMMON_PAGE_BYTES	4096

extern struct common *common;		/* shared with the children */
extern struct field common_pristine;	/* before any section */

struct count {
	uint64_t positions;		/* instructions after which a death was judged */
	uint64_t bad;
	bool is_quiet;			/* the bad ones are wanted */
};

extern uint64_t common_steps;		/* of all children */

void common_init(void);

/* $CHECK_FULL: nothing is left out. */
bool common_is_full(void);

/* Ends the test: something is wrong with the test itself. */
void common_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Ends the test where r is an error. */
void common_check(int r, const char *what);

double common_now(void);

/* Counts one that is wrong and, at first, says so; format: where. */
void common_bad(struct count *count, const struct field *left, const char *wrong, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Lays out what common_run() runs next. */
void common_prepare(enum piece piece, enum control_on_death on_death, const struct field *field);
void common_run(void *arg);

/* The same in a child that is killed: the kernel rings for it as for any thread. */
void common_run_child(void *arg);

/* A recovery that nothing disturbs; where that poisons, one by hand as well. NULL, or what is wrong. */
const char *common_recover(const struct field *left, enum control_on_death on_death, struct field *ret_end);

#endif
