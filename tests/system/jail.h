/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A container, as runtimes make them, with nothing in it but the daemon's socket: own mount, pid, ipc, network, uts and perhaps
 * user namespaces, and a root without /dev and, unless it is asked for, without /proc.
 */
#ifndef TESTS_SYSTEM_JAIL_H
#define TESTS_SYSTEM_JAIL_H

#include "tests/harness.h"

#define JAIL_SOCKET	"/segmentd.sock"	/* where the daemon's is in it */

struct jail {
	const char *who;
	uid_t uid;			/* of its processes, as the host has it; 0: of whoever runs the test */
	bool has_user_namespace;	/* and they are root there */
	bool keeps_ipc;			/* has the host's IPC namespace */
	bool has_proc;
};

/* Why there can be none like that here, or NULL. */
const char *jail_why_not(const struct jail *jail);

/* In a process of its own: what it forks then is to enter. */
void jail_unshare(const struct jail *jail);
/* The first process: builds the root, and is in it. socket: the daemon's. */
void jail_enter(const struct jail *jail, const char *socket);

/* The calling process gets a user namespace in which it is root, and which has no other uid and gid. 0 or a negative errno. */
int jail_enter_user_namespace(void);

#endif
