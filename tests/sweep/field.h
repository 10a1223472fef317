/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The memory that the sweep's processes share: a segment's control memory and its data, three locks in it. `A` and `B` are
 * those of the section that is killed; `C` is a living client's, in the middle of a section of its own, and nobody may
 * touch it. What is no lock's nobody may touch either.
 */
#ifndef TESTS_SWEEP_FIELD_H
#define TESTS_SWEEP_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/control.h"

/* Who is about. Only FIELD_LIVE is never killed. */
enum {
	FIELD_DEAD = 5,			/* runs the section */
	FIELD_LIVE = 6,
	FIELD_WAITER = 7,		/* takes over, and has a section of its own then */
	FIELD_WAITER2 = 8,		/* takes over from the former, and only unlocks */
	FIELD_CLAIM = 9,		/* the daemon's */
	FIELD_CLAIM2 = 10,		/* the next daemon's */
	FIELD_FRESH = 11,		/* comes when all is over */
};

#define FIELD_TID	UINT32_C(0x3ffffff0)	/* stands for any thread of FIELD_DEAD: so that two of them leave the same */

enum { FIELD_A, FIELD_B, FIELD_C, FIELD_LOCKS };

#define FIELD_LOG_BYTES		160
#define FIELD_DATA_BYTES	256
#define FIELD_A_OFFSET		32
#define FIELD_A_BYTES		80
#define FIELD_B_OFFSET		128
#define FIELD_B_BYTES		24
#define FIELD_C_OFFSET		168
#define FIELD_C_BYTES		32

struct field {
	struct control_lock locks[FIELD_LOCKS];
	unsigned char logs[FIELD_LOCKS][FIELD_LOG_BYTES];
	unsigned char data[FIELD_DATA_BYTES];
};
static_assert(sizeof(struct field) == 3 * 64 + 3 * 160 + 256, "every byte is one that is looked at");

/* What a lock's bytes may be: whole contents, of which each section makes one. */
enum field_contents {
	FIELD_BEFORE,			/* the section that left the old log */
	FIELD_OLD,
	FIELD_NEW,			/* what the section that is killed makes of it */
	FIELD_OTHERS,			/* what a waiter's own section makes of it */
	FIELD_LAST,			/* what the fresh client makes of it */
	FIELD_CONTENTS_N,
	FIELD_TORN = FIELD_CONTENTS_N
};

/*
 * Fills all in, for a section that is yet to begin: neither A nor B is held, and their logs have the entries of a section
 * before, which count no more.
 */
void field_init(struct field *field);

/* The locks as a process sees them. */
void field_places(struct field *field, enum control_on_death on_death, struct control_place ret_places[FIELD_LOCKS]);

/* The contents of A or B as they should be: all the lock's bytes. */
const unsigned char *field_bytes(int lock, enum field_contents contents);

/* Which contents a lock has; FIELD_TORN: none of them. */
enum field_contents field_contents(const struct field *field, int lock);

/* That two fields are the same, but for A, B and what is theirs. */
bool field_rest_equal(const struct field *a, const struct field *b);

#endif
