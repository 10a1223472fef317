/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Names in a directory that is everybody's, as /dev/shm is. Whoever removes a file there that is being written keeps the
 * directory's lock until the write is done, as long as that may take: and who gives a name, or takes one away, waits. No signal
 * ends that. So what was begun here is done whenever the lock is free, also after everybody has forgotten about it: who has it
 * done waits for it, and asks for nothing about the same name meanwhile (daemon/backend/posix_names.c).
 */
#ifndef DAEMON_WORKER_LINK_H
#define DAEMON_WORKER_LINK_H

#define LINK_LIST_SIZE	4096		/* the most that a list may have, in bytes */

#include <stdbool.h>

#include "daemon/worker/job.h"

/* Whether the job's name is one of a file in a directory, and leads nowhere else. */
bool link_is_name(const struct job *job);

/*
 * JOB_LINK. *ret_fd: the object, opened by its name, by which it is shown then to who looks at processes; -1 where that failed. 0, or
 * a negative errno with a text; -EEXIST: the name is another's, which was left alone.
 */
int link_make(int fd, int dir_fd, const struct job *job, struct job_result *result, int *ret_fd);

/*
 * JOB_UNLINK. By the same inode, and the same birth: what has the name else is not ours to remove, and JOB_NAME_OTHER is a flag of
 * the result. 0, or a negative errno with a text.
 */
int link_remove(int dir_fd, const struct job *job, struct job_result *result);

/* JOB_ADMIT: object_set_access(). 0, or a negative errno with a text. */
int link_admit(int fd, int list_fd, const struct job *job, struct job_result *result);

#endif
