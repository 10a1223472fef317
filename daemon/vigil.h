/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A process that has closed its connection and still holds segments with locks. It may live, and then nobody robs it; or
 * it is dying, or has left the memory to a child that will never unlock anything. Its pidfd tells.
 */
#ifndef DAEMON_VIGIL_H
#define DAEMON_VIGIL_H

#include "daemon/attachment.h"

struct vigil;

/*
 * Waits for the process of pidfd, which is consumed, and counts for uid as a descriptor. NULL when memory is short: the marks alone
 * will tell then.
 */
struct vigil *vigil_new(struct event_base *base, struct accounts *accounts, uint32_t uid, int *pidfd);

/* The attachment's locks are due when that process has ended. It leaves in its own end; the last one ends the vigil. */
void vigil_add(struct vigil *vigil, struct attachment *attachment);
void vigil_leave(struct attachment *attachment);

#endif
