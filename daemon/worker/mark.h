/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What workers do with the mark beside a file, see host/mark.h: write it, and wait until nobody has it locked. */
#ifndef DAEMON_WORKER_MARK_H
#define DAEMON_WORKER_MARK_H

#include <stdint.h>
#include <sys/types.h>

#include "host/mark.h"

/* Writes it, and has it on the disk before it returns. 0 or a negative errno. */
int mark_write(int fd, const struct mark *mark);

/* Fills in a mark of now: this boot, this daemon's workers' parent. 0 or a negative errno. */
int mark_now(struct mark *mark, enum mark_state state, uint64_t size_bytes);

/*
 * Whether nobody has it locked. What a daemon that is gone left to be written back is waited for, as long as that may take.
 * -EBUSY: somebody has; *ret_pid is who, as the kernel says, or else the mark itself; 0: neither does. -ECANCELED: the wait is
 * of no use any more. Or another negative errno: there are no locks.
 */
int mark_await_free(int fd, pid_t *ret_pid);

#endif
