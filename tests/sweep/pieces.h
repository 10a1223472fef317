/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The code that is stepped through. It is compiled in one translation unit with client/control.c, so that a compiler may
 * move what the fences do not hold.
 */
#ifndef TESTS_SWEEP_PIECES_H
#define TESTS_SWEEP_PIECES_H

#include "tests/sweep/field.h"

enum piece {
	/* Sections of FIELD_DEAD. */
	PIECE_SECTION,			/* both locks, A around B */
	PIECE_ROLLED_BACK,		/* the same up to the end of A's, which is then undone by its owner */
	PIECE_BROKEN_UNLOCK,		/* unlocks before it commits */
	PIECE_BROKEN_PUBLISH,		/* publishes an entry before its bytes */
	PIECE_BROKEN_STORE,		/* changes bytes before it logs them */
	/* What comes after a death. */
	PIECE_DAEMON,			/* as recovery_one(), also of what a daemon before it claimed */
	PIECE_AGAIN,			/* the same, of what the same daemon claimed: its worker was killed */
	PIECE_HAND,			/* the recovery of a poisoned lock by hand */
	PIECE_BROKEN_RECOVERY,		/* a daemon that empties the log before it restores */
	PIECE_BROKEN_SECOND,		/* ... where it recovers from a dead recovery */
	PIECE_BROKEN_THIRD,		/* ... from the recovery of a dead recovery */
	/* The same through libsegment; library.h. */
	PIECE_LIBRARY_SECTION,
	PIECE_LIBRARY_ROLLBACK,
	PIECE_LIBRARY_DETACH,		/* detaches in the middle of the section */
	PIECE_LIBRARY_FORK,		/* with what a fork in it does */
	PIECE_LIBRARY_WAITER,		/* segment_lock() on a dead owner's lock, a section of its own, unlock */
	PIECE_LIBRARY_TRY,		/* the same by segment_trylock(), where the bell was rung */
	PIECE_LIBRARY_LOCK,		/* segment_lock(), segment_unlock() */
	PIECE_N,
	PIECE_LIBRARY_FIRST = PIECE_LIBRARY_SECTION
};

/* As a program would have them: plain fields, plain stores. */
struct piece_book {
	uint64_t total;
	uint64_t halves[3];
	char untouched[5];
	char text[11];
	uint64_t more[3];
	uint64_t last;
};
static_assert(sizeof(struct piece_book) == FIELD_A_BYTES, "A's bytes");

struct piece_page {
	uint64_t from, to;
	uint64_t untouched;
};
static_assert(sizeof(struct piece_page) == FIELD_B_BYTES, "B's bytes");

extern const char *const piece_names[PIECE_N];

void piece_run(enum piece piece, const struct control_place places[FIELD_LOCKS]);

/* PIECE_SECTION by whomever, and to whichever contents. */
void piece_section(const struct control_place places[FIELD_LOCKS], uint32_t id, enum field_contents to);

/* Whether the word names one that is dead, or a dead daemon. */
bool piece_is_dead(uint32_t word);

/* Set while a waiter is in the section of its own, beside the field. */
extern volatile uint32_t *piece_is_inside;

#endif
