/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Where a job's pages come from: this process's memory policy and its CPUs while it works on a range, and what the kernel
 * says of the outcome.
 */
#ifndef DAEMON_WORKER_PLACEMENT_H
#define DAEMON_WORKER_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/worker/job.h"

struct placement {
	const struct job *job;
	bool has_policy;
	bool has_moved;
	cpu_set_t cpus;			/* where it was before */
};

/* Takes the job's policy, and moves to its nodes' CPUs where it may. 0, or a negative errno with a sentence. */
int placement_begin(struct placement *placement, const struct job *job, struct job_result *result);
/* Back to where it was, without a policy. Accepts one that has not begun. */
void placement_end(struct placement *placement);

/*
 * What is allocated next is one huge page, the index-th of the object: interleaving by the kernel's own count of base pages
 * would put one in 512 of them, so all of those that huge pages are made of, on the same node. Other policies: nothing.
 */
void placement_aim(const struct placement *placement, uint64_t index);
/* The end of that. */
void placement_aim_not(const struct placement *placement);

/* Leaves the policy with the object, for pages that come back after they were swapped or punched out. */
void placement_keep(const struct placement *placement, void *start, size_t length);
/* Takes one away that was left before. */
void placement_forget(const struct placement *placement, void *start, size_t length);

/*
 * Moves what is not where the job wants it, as far as it can be moved; interleaved, what is at `offset` of the object, in units
 * of unit_bytes. Pages may have been there before: a file's, from its last use.
 */
void placement_mend(const struct placement *placement, void *start, size_t length, uint64_t offset, size_t unit_bytes);

/*
 * Adds to node_bytes what of [start, start + length) is on which node. unit_bytes: a power of two, of which every whole one in
 * the range is known to be one page. 0 or a negative errno.
 */
int placement_count(void *start, size_t length, size_t unit_bytes, uint64_t *node_bytes);

#endif
