/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The System V segments of this IPC namespace, whosever they are, by the kernel's table of them. Reads only. */
#ifndef HOST_SYSV_H
#define HOST_SYSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row of /proc/sysvipc/shm: everybody may read that, also where they may not ask shmctl(2). */
struct sysv_row {
	uint32_t key;			/* 0: private, or its name was taken away */
	int32_t id;
	uint32_t mode;			/* with SHM_DEST and SHM_LOCKED */
	uint64_t size_bytes;
	int32_t creator_pid;
	uint64_t n_attached;
	uint32_t uid;
	uint32_t gid;
	uint32_t creator_uid;
	uint64_t resident_bytes;
	uint64_t swap_bytes;
};

/* The segment that a key names. 0; -ENOENT: there is none; or another negative errno. */
int sysv_find_key(uint32_t key, struct sysv_row *ret_row);

/*
 * Bytes of a segment that are in memory, at most some milliseconds ago: the kernel tells of all segments or of none, and
 * a list asks for each of many. 0 where it is not known.
 */
uint64_t sysv_resident_bytes(int32_t id);

/* The inode of this process's IPC namespace, which ids and keys are of; 0: not known. */
uint64_t sysv_namespace(void);

/* SHM_LOCK refused a segment: the limit, whose it is, and the remedy. */
void sysv_tell_unlocked(char *buf, size_t size, uint64_t segment_bytes);

/* That a key is taken, by what, and what to do about it. uid: who asks. */
void sysv_tell_taken(char *buf, size_t size, const struct sysv_row *row, uint32_t uid);

#endif
