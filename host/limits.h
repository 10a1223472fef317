/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The limits of this process, or of another one: locked memory, descriptors. Reads only. */
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LIMITS_UNLIMITED	UINT64_MAX

/* Bytes that this process may still lock: RLIMIT_MEMLOCK less VmLck; LIMITS_UNLIMITED with CAP_IPC_LOCK in effect. */
uint64_t limits_memlock_left_bytes(void);

/* RLIMIT_MEMLOCK, whatever else there is; LIMITS_UNLIMITED: none. */
uint64_t limits_memlock_bytes(void);

/* VmLck of /proc/self/status: bytes locked by this process, by the kernel's count. */
uint64_t limits_locked_bytes(void);

/* The soft limit of RLIMIT_NOFILE after it was raised to the hard one. */
uint64_t limits_raise_nofile(void);

/* The soft limit of RLIMIT_NOFILE now; an administrator may have changed it from outside. */
uint64_t limits_nofile(void);

/* Of so many descriptors those that segments leave to clients. */
uint64_t limits_client_fds(uint64_t nofile);

/* What a process may have, as its children inherit it. */
struct limits {
	uint64_t memlock_bytes;		/* the soft limit; LIMITS_UNLIMITED also with CAP_IPC_LOCK in effect */
	uint64_t locked_bytes;		/* of them: by mlock now (VmLck) */
	bool has_ipc_lock;
	uint64_t nofile;		/* the hard limit, to which the daemon raises its own */
	uint32_t uid, gid;		/* the effective ones */
};

/*
 * By the files of a process in /proc, of ours for pid 0, below root ("" but for tests). 0, or the negative errno of reading
 * them.
 */
int limits_read(const char *root, pid_t pid, struct limits *ret_limits);

#endif
