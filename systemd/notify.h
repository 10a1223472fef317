/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the daemon tells its service manager. Every call does nothing, at no cost, where there is none; and none waits: what
 * a manager that does not read has no room for is left out.
 */
#ifndef SYSTEMD_NOTIFY_H
#define SYSTEMD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

bool notify_present(void);			/* $NOTIFY_SOCKET is set */
bool notify_ready(void);			/* READY=1, once; and once more after RELOADING=1. False: its queue is full, to be said again */
void notify_reloading(void);			/* RELOADING=1 */
void notify_status(const char *format, ...) BASE_PRINTF(1, 2);	/* STATUS= */
void notify_stopping(void);			/* STOPPING=1 */
void notify_extend(unsigned seconds);		/* EXTEND_TIMEOUT_USEC=: what is under way takes longer, so many from now at most */
void notify_watchdog(void);			/* WATCHDOG=1 */

/*
 * Any message, with a descriptor where fd is one. 0; -EAGAIN: the manager's queue is full; -ENOENT: there is no manager;
 * or another negative errno.
 */
int notify_post(const char *message, int fd);

/* How often notify_watchdog() must be called at the latest, in milliseconds: half of what the manager asks; 0: never. */
uint64_t notify_watchdog_interval_ms(void);

#endif
