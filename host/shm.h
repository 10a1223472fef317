/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What bounds System V segments (shmmax, shmall, shmmni) and POSIX objects (/dev/shm). Reads only. */
#ifndef HOST_SHM_H
#define HOST_SHM_H

#include <stdbool.h>
#include <stdint.h>

/* Of this IPC namespace. */
struct shm_limits {
	uint64_t max_bytes;		/* kernel.shmmax: of one segment */
	uint64_t all_bytes;		/* kernel.shmall, which counts pages: of all segments; UINT64_MAX: more than there is */
	uint64_t max_count;		/* kernel.shmmni: segments */
	uint64_t used_bytes;		/* of shmall */
	uint64_t used_count;		/* of shmmni */
};

enum shm_limit {
	SHM_LIMIT_NONE,			/* it fits */
	SHM_LIMIT_MAX,
	SHM_LIMIT_ALL,
	SHM_LIMIT_COUNT
};

/* 0, or the negative errno of reading what cannot be read. */
int shm_limits_read(struct shm_limits *ret_limits);
int shm_limits_read_at(const char *root, struct shm_limits *ret_limits);	/* below another root, for tests */

/* Which limit stands against count new segments, of total_bytes together and the largest of largest_bytes. */
enum shm_limit shm_limits_judge(const struct shm_limits *limits, uint64_t largest_bytes, uint64_t total_bytes,
    uint64_t count);

/* The file system at /dev/shm, where shm_open(3) makes objects. */
struct shm_mount {
	bool is_mounted;		/* as a file system of its own */
	bool is_tmpfs;			/* what is made there is memory */
	bool is_read_only;
	bool is_swapped;		/* its pages may be swapped out: not mounted with noswap */
	uint64_t size_bytes;		/* UINT64_MAX: no limit */
	uint64_t free_bytes;
	uint64_t n_inodes;		/* UINT64_MAX: no limit */
	uint64_t n_free_inodes;
	char options[256];		/* as /proc/self/mountinfo has them */
};

/* Whether an object can be made there, and given so many bytes. */
bool shm_mount_has(const struct shm_mount *mount, uint64_t needed_bytes);

int shm_mount_read(struct shm_mount *ret_mount);
int shm_mount_read_at(const char *root, struct shm_mount *ret_mount);

#endif
