/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The names of a directory that is everybody's, as /dev/shm is. Whoever removes a file there that is being written keeps the
 * directory's lock until the write is done, as long as that may take, and who lists the names waits.
 */
#ifndef DAEMON_WORKER_NAMES_H
#define DAEMON_WORKER_NAMES_H

#include "daemon/worker/job.h"

/*
 * What may be regular files in the directory, each name with its NUL, in memory that is returned; no more than job's limit_bytes,
 * and then JOB_NAMES_MORE is a flag of the result. 0, or a negative errno with a text.
 */
int names_list(int dir_fd, const struct job *job, struct job_result *result, int *ret_fd);

#endif
