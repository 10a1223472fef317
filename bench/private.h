/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A /dev/shm and System V segments of the bench's own, and of what it starts, for as long as it wants them. */
#ifndef BENCH_PRIVATE_H
#define BENCH_PRIVATE_H

struct private_shm {
	int mounts_fd;			/* the namespaces to go back to; -1: none */
	int ipc_fd;
};

/* NULL, or why not: then nothing has changed. Inodes are not limited there. */
const char *private_shm_enter(struct private_shm *shm);
void private_shm_leave(struct private_shm *shm);

#endif
