/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Honest clients of a soak: whatever goes on, what they ask for is done, or refused by an error that is documented for that, and what
 * they find is what was stored. Each ends with 0; what it found otherwise it says, and ends with HARNESS_EXIT_FAILED.
 */
#ifndef TESTS_SOAK_HONEST_H
#define TESTS_SOAK_HONEST_H

#include "tests/harness.h"

#define HONEST_UID	12345		/* the first of HONEST_UIDS */
#define HONEST_UIDS	3
#define HONEST_HALLS	4

/* Segments of each backend, whose contents stand: made by honest_fill(). */
extern const char *const honest_halls[HONEST_HALLS];

/* Contents of the halls and of the ledger; and afterwards that the ledger has each section that was counted. */
void honest_fill(void);
void honest_expect_ledger(void);

/* Attached to the ledger until all are told to leave; attaches, creates, removes, changes. A seat each. */
void honest_start_visitor(unsigned seat, struct harness_child *ret_child);
/* Comes for one visit. */
void honest_start_newcomer(struct harness_child *ret_child);
/* Is told what happens. */
void honest_start_listener(struct harness_child *ret_child);
/* Asks each 10 ms, and notes how long it takes. */
void honest_start_heart(struct harness_child *ret_child);
/* Runs segmentctl, as administrator and as anybody, until all are told to leave. */
void honest_start_clerk(struct harness_child *ret_child);

#endif
