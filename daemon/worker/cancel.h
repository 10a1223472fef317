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

/*
 * Between two questions a worker does about so much: of base pages 1.3 ms, and a question takes less than a microsecond. Where
 * huge pages are collapsed, which has its price a call, it may be four times as much: 2 ms.
 */
#define CANCEL_BYTES	(UINT64_C(4) << 20)

/* A job begins; socket is where its cancellation would come from. */
void cancel_begin(int socket, uint64_t id);

/* Whether it is to end now, with -ECANCELED: it was cancelled, or the daemon is gone. */
bool cancel_asked(void);

#endif
