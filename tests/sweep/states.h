/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The distinct states of the field that deaths leave, each with what has to come of it. */
#ifndef TESTS_SWEEP_STATES_H
#define TESTS_SWEEP_STATES_H

#include <stddef.h>
#include <uthash.h>

#include "tests/sweep/field.h"

struct state {
	struct field field;		/* the key */
	struct field end;		/* after the recovery, which nothing disturbed */
	size_t index;			/* in the list */
	unsigned generation;		/* how many recoveries were killed before, at least; 0: it is a section's */
	char origin[80];		/* where it was seen first, for people */
	UT_hash_handle hh;
};

/* Of two states that a death during a recovery leads from one to the other. */
struct edge {
	size_t from, to;
};

struct states {
	struct state *table;
	struct state **list;		/* in the order of their coming */
	size_t n;
	struct edge *edges;
	size_t n_edges;
};

#define STATES_NULL	{ .table = NULL }

/*
 * Adds one if it is new. Of the sequence only the lowest bit is kept and of what was taken nothing, since no more of them is
 * ever decided upon: or a recovery that is begun again and again would never come to an end of new states. 0, -ENOMEM.
 */
int states_add(struct states *states, const struct field *field, const char *origin, uint64_t position, size_t *ret_index);

int states_add_edge(struct states *states, size_t from, size_t to);

void states_deinit(struct states *states);

#endif
