/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs that know nothing of segmentd and race a sweep: they make objects of a few names, find them, map them, look after a
 * while whether what they have is still what others find, and leave it behind, or unlink it, or are killed. What one of them
 * finds wrong ends it with a sentence, and fails the test.
 */
#ifndef TESTS_AUDIT_RACING_H
#define TESTS_AUDIT_RACING_H


#include "tests/harness.h"

#define RACING_NAMES	24
#define RACING_PREFIX	"race."
#define RACING_KEY	0x5e6a2000	/* and those behind it */
#define RACING_SIZE	8192
#define RACING_GONE_MAX	65536

enum racing_role {
	RACING_FINDER,			/* opens what is there */
	RACING_MAKER,			/* makes it exclusively, and is its only maker */
	RACING_EITHER,			/* opens it, or makes it: as most do */
	RACING_UNLINKER,		/* likewise, and unlinks what it has had for a while */
	RACING_ROLE_N
};

/* What programs and sweep have in common. */
struct racing {
	_Atomic uint32_t asking;	/* odd: a question is under way; a futex */
	_Atomic uint32_t is_over;
	_Atomic uint64_t n_had, n_made, n_waited, n_aside, n_keys_lost;
	_Atomic uint32_t n_gone;	/* what a program unlinked or removed itself */
	_Atomic uint64_t gone[RACING_GONE_MAX];
};

struct racing *racing_new(void);

struct racing_program {
	struct harness_child child;
	struct racing *racing;
	enum racing_role role;
	bool is_sysv;
};

void racing_start(struct racing_program *program, struct racing *racing, enum racing_role role, bool is_sysv);

/* A question begins, or is over. */
void racing_turn(struct racing *racing);
/* All look once more at what they have, and end. */
void racing_end(struct racing *racing, struct racing_program *programs, size_t n);

#endif
