/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The removal of POSIX objects that nobody holds, so that no program is left with an object that has no name. */
#ifndef DAEMON_AUDIT_REMOVAL_H
#define DAEMON_AUDIT_REMOVAL_H

#include "base/base.h"
#include "host/audit.h"

#define REMOVAL_MAX	(AUDIT_MESSAGE_BYTES / sizeof(struct audit_candidate))	/* as many as a question has room for */

struct removal_item {
	const struct audit_candidate *candidate;
	struct audit_stray *stray;	/* filled in as a whole */
};

/*
 * Judges all of the items (at most REMOVAL_MAX), and removes those that are what they were and nobody has. Verdicts beyond those of
 * stray_posix_judge(): AUDIT_REMOVED; with -EBUSY as error: somebody opened it in the very last moment, and has it without a name.
 * AUDIT_CHANGED: it is another one, or somebody came meanwhile, and has it with its name. AUDIT_KEPT and why; -EEXIST: it waits
 * in quarantine for its name, which another has, to be free, or for nobody to have it: removal_settle() sees to it.
 *
 * Takes some tens of milliseconds, however many there are.
 */
void removal_run(int dir_fd, const struct removal_item *items, size_t n);

/*
 * Finishes what earlier runs of our user left, or we did ourselves, where there may be such: for every question that looks at
 * objects, since what has no name is not seen by any.
 */
void removal_settle(int dir_fd);

/* Whether that left something, or a removal since has: for the next question. */
bool removal_has_leftovers(void);

/*
 * The same when nobody asks any more: what went wrong a moment ago may well work now, what had no name may have it back, and otherwise
 * it would all wait for the next who asks, who may never come.
 */
void removal_settle_last(void);

#endif
