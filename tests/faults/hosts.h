/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Hosts that have less than this one: what a kernel or a file system does not know is denied by a filter of the daemon's system calls,
 * and of its workers'.
 */
#ifndef TESTS_FAULTS_HOSTS_H
#define TESTS_FAULTS_HOSTS_H

enum hosts_host {
	HOSTS_OWN,
	HOSTS_OLDER,			/* an older kernel: Linux 6.1, and in part 5.10 */
	HOSTS_POOR,			/* file systems without fallocate(2), renameat2(2) and access control lists */
	HOSTS_NO_PROCESS,		/* the kernel has no process of a peer's */
	HOSTS_CROWDED,			/* a user may have hundreds of connections */
	HOSTS_N
};

/* In the new process of a daemon, before it begins. */
void hosts_lessen(enum hosts_host host);

#endif
