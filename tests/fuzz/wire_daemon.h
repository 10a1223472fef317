/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The whole daemon in this process: the manager with everything that it owns, real workers, a real socket. Its loop is stepped, and
 * its monotonic clock is the test's: where it waits for time alone, that is made to pass.
 */
#ifndef TESTS_FUZZ_WIRE_DAEMON_H
#define TESTS_FUZZ_WIRE_DAEMON_H

#include "daemon/manager_parts.h"
#include "daemon/start.h"

#define WIRE_LOCKED	"locked"	/* a segment with locks of each kind, for everybody */
#define WIRE_VARIANTS	6		/* of its configuration */
#define WIRE_HIDDEN	"hidden"	/* of which nobody but administrators may know */

struct wire_daemon {
	struct start start;
	struct manager *manager;
	char socket[96];
	unsigned variant;		/* of the configuration, that is on the disk */
	pid_t pid;			/* this process, and no child of it */
	uint64_t used[ACCOUNTS_KIND_N];	/* what is charged in all, for the one client that stays */
};

/* Starts it, by a configuration of its own; its segments are there afterwards. */
void wire_daemon_start(struct wire_daemon *daemon);

/* Stops it. */
void wire_daemon_stop(struct wire_daemon *daemon);

/* Removes what a process that ended in the middle has left on the host. */
void wire_daemon_sweep(pid_t pid);

/* Turns of the loop, which wait for nothing. */
void wire_daemon_step(struct wire_daemon *daemon, unsigned n);
void wire_daemon_pass(uint64_t ns);

/* Its configuration is another one, and it is told so. */
void wire_daemon_change(struct wire_daemon *daemon, unsigned variant);

/* Nothing is under way in a worker, or by a timer, any more; or after so many turns, which is no fault. */
void wire_daemon_await(struct wire_daemon *daemon, unsigned n_turns);

/*
 * All clients but one are gone: waits until that one's is all that the daemon holds, and makes the segments again what they were.
 * Ends the process where something of the others does not come back.
 */
void wire_daemon_settle(struct wire_daemon *daemon);

/* What is charged now is what the one client's connection costs. */
void wire_daemon_note(struct wire_daemon *daemon);

/* Descriptors that this process has, but for those of workers, who come and go. */
unsigned wire_daemon_count_fds(const struct wire_daemon *daemon);

#endif
