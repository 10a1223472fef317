/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the two halves of the program survivor share: the crew that starts clients and counts, and a client at work. See survivor.c.
 */
#ifndef TESTS_BOOTED_SURVIVOR_H
#define TESTS_BOOTED_SURVIVOR_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/base.h"

#define SURVIVOR_CLIENTS	32	/* whose numbers and counts a segment has room for */
#define SURVIVOR_SEGMENTS	8
#define SURVIVOR_LOCKS		4	/* of each segment; survive.sh has the definitions */

enum survivor_stage { SURVIVOR_WORK, SURVIVOR_REST };

/* What a client says of itself; each has its own, its crew reads it. */
struct survivor_figures {
	_Atomic uint64_t requests;
	_Atomic uint64_t sections[SURVIVOR_SEGMENTS][SURVIVOR_LOCKS];	/* those that were unlocked, not rolled back */
	_Atomic uint64_t longest_attach_ns;
	_Atomic uint64_t longest_request_ns;
};

/* In memory that a crew and its clients share. */
struct survivor_board {
	_Atomic int stage;
	struct survivor_figures figures[SURVIVOR_CLIENTS];
};

struct survivor_client {
	unsigned number;
	uid_t uid;
	int control;			/* to the crew: 'r' when it rests; then 'w' comes back: go on, or 'e': finish */
	struct survivor_board *board;
	unsigned n_segments;
	char *const *segments;
};

/*
 * All that a client does; returns when the crew has said so and everything was right to the last. Anything that is not ends the
 * process, with a sentence.
 */
void survivor_work(const struct survivor_client *self);

/* Other lives. hold: takes the lock in each segment, changes what it protects, says "held", and never calls again. */
void survivor_hold(const char *lock, unsigned n_segments, char *const *segments);
/* Stores the bytes that all clients expect, before there are any; check: looks whether they are there. */
void survivor_fill(unsigned n_segments, char *const *segments);
void survivor_check(unsigned n_segments, char *const *segments);

#endif
