/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The System V segments of this IPC namespace, whosever they are, by the kernel's table of them. Reads only. */
#ifndef HOST_SYSV_H
#define HOST_SYSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSV_LOCKED	02000	/* of mode: SHM_LOCK holds its pages */

/* A row of /proc/sysvipc/shm: everybody may read that, also where they may not ask shmctl(2). */
struct sysv_row {
	uint32_t key;			/* 0: private, or its name was taken away */
	int32_t id;
	uint32_t mode;			/* with SYSV_LOCKED and what else the kernel adds */
	uint64_t size_bytes;
	int32_t creator_pid;
	uint64_t n_attached;
	uint32_t uid;
	uint32_t gid;
	uint32_t creator_uid;
	uint64_t changed_s;		/* when it was made, or its rights were changed; since 1970 */
	uint64_t resident_bytes;
	uint64_t swap_bytes;
};

/* The segment that a key names, without what of it is in memory. 0; -ENOENT: there is none; or another negative errno. */
int sysv_find_key(uint32_t key, struct sysv_row *ret_row);

/* All rows, in the order of ids, below another root ("" but for tests); the caller frees them. 0 or a negative errno. */
int sysv_read_rows(const char *root, struct sysv_row **ret_rows, size_t *ret_n);

/*
 * Bytes of a segment that are in memory, at most some milliseconds ago: the kernel tells of all segments or of none, and
 * a list asks for each of many. 0 where it is not known.
 */
uint64_t sysv_resident_bytes(int32_t id);

/* The inode of this process's IPC namespace, which ids and keys are of; 0: not known. */
uint64_t sysv_namespace(void);

#endif
