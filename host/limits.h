/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The limits of this process: locked memory, descriptors. Reads only. */
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

#include <stdint.h>

#define LIMITS_UNLIMITED	UINT64_MAX

/* Bytes that this process may still lock: RLIMIT_MEMLOCK less VmLck; LIMITS_UNLIMITED with CAP_IPC_LOCK in effect. */
uint64_t limits_memlock_left_bytes(void);

/* VmLck of /proc/self/status: bytes locked by this process, by the kernel's count. */
uint64_t limits_locked_bytes(void);

/* The soft limit of RLIMIT_NOFILE after it was raised to the hard one. */
uint64_t limits_raise_nofile(void);

/* The soft limit of RLIMIT_NOFILE now; an administrator may have changed it from outside. */
uint64_t limits_nofile(void);

#endif
