/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The way to a directory where a file is to be made, which may lead through directories of others. */
#ifndef DAEMON_WORKER_WALK_H
#define DAEMON_WORKER_WALK_H

#include <sys/types.h>

/*
 * Opens the directory. No symbolic link on the way is one that somebody else could have put there, or can replace. 0 or a negative
 * errno; -ELOOP: there is one, and *ret_uid is who could.
 */
int walk_open(const char *path, int *ret_fd, uid_t *ret_uid);

#endif
