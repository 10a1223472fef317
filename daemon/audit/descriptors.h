/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which of the objects a process or thread has open. */
#ifndef DAEMON_AUDIT_DESCRIPTORS_H
#define DAEMON_AUDIT_DESCRIPTORS_H

#include "base/base.h"

struct objects;

/*
 * Looks through a table of descriptors, of a process or thread, by a descriptor of its directory in /proc; prefix: "", or
 * "task/TID/". Adds to the objects' tallies. 0, or a negative errno: -EACCES or -EPERM, it is not for us to know; -ETIME.
 */
int descriptors_look(struct objects *objects, int process_fd, const char *prefix, uint64_t until_ns);

#endif
