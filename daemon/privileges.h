/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the daemon may do beyond an ordinary process: lock memory, and nothing else. */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

/* Gives up every capability but CAP_IPC_LOCK, and the means to get any back. 0 or a negative errno. */
int privileges_drop(void);

#endif
