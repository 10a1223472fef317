/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A descriptor that a client sent, which may be of anything. */
#ifndef DAEMON_WORKER_RECEIVE_H
#define DAEMON_WORKER_RECEIVE_H

#include <stdbool.h>

#include "daemon/worker/job.h"

/*
 * The one that came with the next message of a connection, which stays in its queue. *ret_fd: it is sealed memory of our uid, and of
 * the inode and size that file says. 0, or a negative errno with a text.
 */
int receive_object(int socket_fd, const struct job_file *file, struct job_result *result, int *ret_fd);

/* Reads the next message away, with what came along. 0 or a negative errno. */
int receive_discard(int socket_fd);
/* Likewise all that connections which were shut down have, one after the other; what would take long is left there. */
int receive_empty(const int *socket_fds, unsigned n_sockets);

#endif
