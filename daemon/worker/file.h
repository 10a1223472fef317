/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What workers do to a file that holds a segment: whatever may wait for a disk. All of them return the result's status, 0 or
 * a negative errno with a sentence.
 */
#ifndef DAEMON_WORKER_FILE_H
#define DAEMON_WORKER_FILE_H

#include <stdbool.h>

#include "daemon/worker/job.h"

/* JOB_FILE_LOOK: nobody else uses the file. *ret_fd: its mark, not locked. */
int file_look(int path_fd, struct job_result *result, int *ret_fd);

/* JOB_FILE_OPEN: *ret_fd: the file, of limit_bytes. The result's flags say what is in it. */
int file_open(int path_fd, int mark_fd, const struct job *job, struct job_result *result, int *ret_fd);

int file_use(int path_fd, int mark_fd, int fd, const struct job *job, struct job_result *result);
int file_close(int path_fd, int mark_fd, int fd, const struct job *job, struct job_result *result);
/* JOB_SYNC. Takes the mark's descriptor. */
int file_sync(int fd, int *mark_fd, struct job_result *result);

/*
 * Blocks for a range of a file, which changes nothing of its contents or size. Where the file system cannot do that, holes
 * are written to; where it does not know of holes either, all of it, and nobody else may store to the range meanwhile.
 */
int file_reserve(int fd, uint64_t offset_bytes, uint64_t length_bytes, struct job_result *result);

/* Whether its file system keeps it in memory: its blocks are pages then. */
bool file_is_in_memory(int fd);

#endif
