/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The worker's job on a claimed lock: putting right what its dead owner left, where that is too much for the loop. */
#ifndef DAEMON_WORKER_REPAIR_H
#define DAEMON_WORKER_REPAIR_H

#include "daemon/worker/job.h"
#include "host/memory.h"

/*
 * Repairs the lock that the job names, in data_fd and control_fd, and leaves it claimed. Asks before whether memory is
 * there for pages that somebody has punched out. Returns the result's status: 0, JOB_E_POISONED, JOB_E_MEMORY, or a
 * negative errno, with a sentence in *result.
 */
int repair_lock(int data_fd, int control_fd, const struct job *job, struct memory *memory, struct job_result *result);

/* Recovers an application's mutex, whose range is to be zeroed. Results as repair_lock's. */
int repair_mutex(int data_fd, const struct job *job, struct memory *memory, struct job_result *result);

#endif
