/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is said of a process that holds something. All of it is the process's choice, and nothing of it is needed for an answer. */
#ifndef DAEMON_AUDIT_HOLDER_H
#define DAEMON_AUDIT_HOLDER_H

#include "base/base.h"
#include "host/audit.h"

#define HOLDER_CGROUPS		8
#define HOLDER_CGROUP_TEXT	2048	/* what is longer is made sense of for each process anew */

/* What a process's file "cgroup" came to. Many processes have the same one. */
struct holder_cgroup {
	char text[HOLDER_CGROUP_TEXT];	/* the file; "": none yet */
	char cgroup[AUDIT_CGROUP_SIZE];
	char container[AUDIT_CONTAINER_SIZE];
	bool is_frozen;
};

/* For one question: this process's own, to compare with; and the cgroups that were met last. */
struct holder_self {
	uint64_t pid_namespace;		/* 0: not known */
	uint64_t ipc_namespace;
	bool is_incomplete;		/* something of a process could not be read, since there was no room to */
	int64_t boot_ns;		/* when the host started, since 1970 */
	struct holder_cgroup cgroups[HOLDER_CGROUPS];
	size_t n_cgroups;		/* met so far: the next one's place, in turn */
};

void holder_self_init(struct holder_self *self);

/*
 * Fills in what concerns the process itself, by a descriptor of its directory in /proc: uid, command, cgroup, container, since
 * when, namespaces, and whether it runs. What cannot be read is left as it is.
 */
void holder_describe(struct holder_self *self, int process_fd, struct audit_holder *holder);

#endif
