/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The worker's jobs on a range of an object: making it resident, and giving its pages back. */
#ifndef DAEMON_WORKER_POPULATE_H
#define DAEMON_WORKER_POPULATE_H

#include "daemon/worker/job.h"
#include "daemon/worker/verify.h"
#include "host/memory.h"

/*
 * Makes the job's range of fd resident, of the pages that it asks for, and never changes a byte of it. Before each step
 * asks whether memory is there. The rest of *result is filled in: what is had, by the kernel's count, and why not.
 * Returns the result's status: 0, JOB_E_MEMORY, or a negative errno. What was made resident before it failed, stays.
 */
int populate_range(int fd, const struct job *job, struct memory *memory, struct verify *verify,
    struct job_result *result);

/*
 * Of hugetlb memory: makes so many pages of the pool the object's own, which are populated later, or never: nobody else gets
 * them, and touching them is no SIGBUS. 0, JOB_E_MEMORY or a negative errno, with a sentence in the result.
 */
int populate_reserve_range(int fd, const struct job *job, struct memory *memory, struct job_result *result);

/* Gives the range's pages back. 0 or a negative errno, with a sentence in the result. */
int populate_free_range(int fd, const struct job *job, struct job_result *result);

#endif
