/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The worker's job of copying a file into a segment that nobody has seen yet. */
#ifndef DAEMON_WORKER_CONTENTS_H
#define DAEMON_WORKER_CONTENTS_H

#include "daemon/worker/job.h"
#include "host/memory.h"

/*
 * Copies the part of the file, whose path is in path_fd, that lies in the job's range to the same place in data_fd. Returns
 * the result's status: 0, with what file it was in the result; JOB_E_MEMORY; or a negative errno, with a sentence.
 */
int contents_copy(int data_fd, int path_fd, const struct job *job, struct memory *memory, struct job_result *result);

#endif
