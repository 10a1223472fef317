/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who runs the daemon of a soak, below a test manager that keeps its descriptors: restarts and kills it, kills its workers, changes its
 * configuration, to broken ones as well, and takes descriptors and memory from it for a while.
 */
#ifndef TESTS_SOAK_OPERATOR_H
#define TESTS_SOAK_OPERATOR_H

#include <sys/resource.h>

#include "tests/harness_manager.h"
#include "tests/soak/crowd.h"
#include "tests/system/group.h"

struct operator {
	struct harness_manager manager;
	struct harness_conn conn;	/* an administrator's, which outlives daemons */
	struct group group;
	bool has_group;			/* the daemon's memory has a limit */
	bool has_own_world;		/* /dev/shm and the IPC namespace are ours */
	bool is_calm;			/* no restarts: what it uses is compared over time */
	uint64_t random;
	uint64_t due_ns;		/* of the next deed */
	uint64_t drought_until_ns;	/* of descriptors; 0: none */
	uint64_t shortage_until_ns;	/* of memory */
	struct rlimit nofile;
	unsigned n_extra, growth;	/* of the configuration now */
	uint64_t n_watchdog, watchdog_ns, longest_watchdog_ns;
	long log_at;			/* of the log: read so far */
};

/* A directory, a group and a configuration; then a daemon that is ready. */
void operator_prepare(struct operator *operator, bool has_own_world, uint64_t seed);
void operator_start(struct operator *operator);
/* Does something, if it is time to. */
void operator_work(struct operator *operator, struct crowd *crowd);
/* Ends all troubles; the configuration is the first one again. */
void operator_rest(struct operator *operator, struct crowd *crowd);
/* The daemon lives, says so in time, and its log has nothing of a sanitizer or an assertion. */
void operator_watch(struct operator *operator);
/* SIGTERM: nothing is left in the store, the record and the ledger; and its directory is removed. */
void operator_stop(struct operator *operator);
/* Killed, or handed over; waits until the next one is ready. */
void operator_restart(struct operator *operator, int signal);

#endif
