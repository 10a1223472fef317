/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A kernel, a sandbox or a file system that does not have something: a filter of system calls says so in their place (seccomp). */
#ifndef TESTS_SYSTEM_LACKING_H
#define TESTS_SYSTEM_LACKING_H

#include <stdbool.h>
#include <stdint.h>

struct lacking {
	uint32_t number;		/* of the system call */
	unsigned arg;			/* which of its arguments is looked at */
	uint32_t value;			/* what it is; */
	bool is_any;			/* or whatever it is */
	int error;
};

/* No process can be had of a peer. */
extern const struct lacking lacking_peer_process;

/* As before_exec(arg) of a daemon: its workers have it, too. Ends the process where that cannot be. */
void lacking_deny(void *arg);

#endif
