/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whether the daemon has no use for a job any more, asked while it is being done: a JOB_CANCEL waits behind it then. One that
 * comes when its job is over is read as a message of its own, and dropped.
 */
#ifndef DAEMON_WORKER_CANCEL_H
#define DAEMON_WORKER_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

/* Between two questions a worker does about so much: 5 ms of base pages, and a question takes less than a microsecond. */
#define CANCEL_BYTES	(UINT64_C(16) << 20)

/* A job begins; socket is where its cancellation would come from. */
void cancel_begin(int socket, uint64_t id);

/* Whether it is to end now, with -ECANCELED: it was cancelled, or the daemon is gone. */
bool cancel_asked(void);

#endif
