/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One client process of a day of operation: it is at work in a segment, one round after the other, until it is told to end. Each
 * round verifies bytes that nobody else writes, or that all write by the rules, and then writes others. What is wrong ends
 * the process, which the test sees. Between two rounds it does what it is told:
 *
 *	look ERROR	a round, and a look at its mapping, which is where it was; and a second attachment, which must come to ERROR:
 *			"looked", with the number of rounds
 *	size BYTES	waits until the segment is so large: "sized"
 *	leave, come	detaches, and rests: "left"; attaches again, and meets another generation: "came"
 *	end		"ended", with the number of rounds
 */
#ifndef TESTS_SYSTEM_DAY_CLIENT_H
#define TESTS_SYSTEM_DAY_CLIENT_H

#include "tests/harness.h"

#define DAY_PROGRAM	"at-work"	/* the argument that makes a test program such a client, in what `exec` has left it */

enum day_role {
	DAY_PLAIN,			/* a writer with a slot of its own */
	DAY_TELLER,			/* writes in sections of a lock, a slot of its own and a page that all tellers write */
	DAY_READER,			/* reads that page without the lock */
	DAY_LISTENER,			/* a writer that hears of events, and writes also where the segment has grown */
	DAY_CREATOR,			/* a writer of a segment that it has created */
	DAY_GUEST,			/* a writer of another uid, if there may be one */
	DAY_EXECUTED,			/* a program of `segmentctl exec`, a writer */
	DAY_EXECUTED_READER,		/* likewise, for reading */
};

struct day_client {
	enum day_role role;
	unsigned number;		/* nobody else's */
	const char *segment;
	const char *socket;
};

/* Runs as a harness_child_fn; arg: a struct day_client. */
void day_client_main(int control, void *arg);
/* The main of what was executed. */
int day_client_program(char **args);

#endif
