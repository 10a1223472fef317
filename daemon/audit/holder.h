/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is said of a process that holds something. All of it is the process's choice, and nothing of it is needed for an answer. */
#ifndef DAEMON_AUDIT_HOLDER_H
#define DAEMON_AUDIT_HOLDER_H

#include "base/base.h"
#include "host/audit.h"

/* This process's own, to compare with. */
struct holder_self {
	uint64_t pid_namespace;		/* 0: not known */
	uint64_t ipc_namespace;
	int64_t boot_ns;		/* when the host started, since 1970 */
};

void holder_self_init(struct holder_self *self);

/*
 * Fills in what concerns the process itself, by a descriptor of its directory in /proc: uid, command, cgroup, container, since
 * when, namespaces, and whether it runs. What cannot be read is left as it is.
 */
void holder_describe(const struct holder_self *self, int process_fd, struct audit_holder *holder);

#endif
