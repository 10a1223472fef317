/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A descriptor that a client sent, which may be of anything. */
#ifndef DAEMON_WORKER_RECEIVE_H
#define DAEMON_WORKER_RECEIVE_H

#include "daemon/worker/job.h"

/*
 * The one that came with the next message of a connection, which stays in its queue. *ret_fd: it is of sealed memory, for which no
 * file system is asked. 0, or a negative errno with a text.
 */
int receive_object(int socket_fd, struct job_result *result, int *ret_fd);

#endif
