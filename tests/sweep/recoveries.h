/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whoever recovers from a death may die in it, and so may the next. From the states of the sections those are found that a
 * recovery leaves when it is killed at any of its instructions, then those that a recovery from these leaves, and so on
 * until there are no new ones: any number of deaths in a row. The daemon and a waiter each take their turn at every state,
 * and a recovery by hand where there is poison.
 *
 * Every instruction of every one of these recoveries is stopped at. Where this is not the full check ($CHECK_FULL), it goes on
 * from some of the states only that recoveries left, whoever recovers. States are told apart by all of their bytes, and only
 * what is the same memory is not recovered from twice.
 *
 * Each lock is by itself: a recovery is given one, and touches nothing else, which is checked as well.
 */
#ifndef TESTS_SWEEP_RECOVERIES_H
#define TESTS_SWEEP_RECOVERIES_H

#include "tests/sweep/common.h"

struct recoveries;

/* daemon: how the daemon recovers, PIECE_DAEMON unless it is broken on purpose. Collects the states that sections leave. */
struct recoveries *recoveries_new(enum control_on_death on_death, enum piece daemon);
void recoveries_add_section(struct recoveries *recoveries, const struct field *left, uint64_t position);

/*
 * All of it; says what it did. Of one that is broken on purpose only to the first that is bad. Returns how much was bad, and
 * how many recoveries at least have to die before something is.
 */
uint64_t recoveries_sweep(struct recoveries *recoveries, uint64_t *ret_positions, unsigned *ret_bad_generation);

struct recoveries *recoveries_free(struct recoveries *recoveries);

extern const char *const recoveries_on_death_names[CONTROL_ON_DEATH_N];

#endif
