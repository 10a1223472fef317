/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Work that somebody else may keep waiting for ever is done by a child, which is killed when it stands still, and another one goes on
 * behind what it stood at. What it had done by then is in memory that both have.
 */
#ifndef DAEMON_AUDIT_MINDER_H
#define DAEMON_AUDIT_MINDER_H

#include "base/base.h"

/* Written by the child; in shared memory. */
struct minder_progress {
	volatile uint64_t step;		/* what it is at, of increasing numbers; one that is begun anew goes on behind it */
	volatile uint64_t since_ns;	/* of the monotonic clock: since when; 0: at nothing that may keep it, or should be counted */
};

/* Zeroed memory that children have, too; NULL: there is none. Never freed. */
void *minder_share(size_t size);

/* Both are called by the child. */
void minder_begin(struct minder_progress *progress, uint64_t step);
void minder_end(struct minder_progress *progress);

/*
 * Has work(arg) done by a child, which must leave its results in shared memory, and what it returns, 0 or a negative errno, is
 * returned. Each time that one stands still for longer than limit_ns it is killed, stuck(arg) is called, and work(arg) begins again.
 * Where there is no child to be had (EAGAIN) it is done here.
 */
int minder_run(struct minder_progress *progress, uint64_t limit_ns, int (*work)(void *arg), void (*stuck)(void *arg), void *arg);

#endif
