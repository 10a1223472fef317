/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs that know nothing of segmentd: they find System V memory by its key, as another user, and do with it what they are
 * told. And an IPC namespace of the test's own, whose limits it may set and whose segments are all its own doing.
 */
#ifndef TESTS_SYSTEM_STRANGER_H
#define TESTS_SYSTEM_STRANGER_H

#include "tests/harness.h"

/* The test, and what it starts from now on, gets a namespace. Skips where there can be none. */
void stranger_enter_namespace(void);
/* Sets kernel.NAME there: shmmax, shmall, shmmni, shm_rmid_forced. Skips where it cannot be set. */
void stranger_set_limit(const char *name, uint64_t value);

/* What a key names, by the kernel's word. An id, or -ENOENT. */
int stranger_find(uint32_t key);
/* What the kernel says of an id. */
struct stranger_row {
	uint32_t uid, gid, mode;	/* mode: with SHM_DEST and SHM_LOCKED */
	uint64_t size_bytes, n_attached;
	pid_t creator_pid;
};
/* 0, or -EINVAL or -EIDRM: there is none any more. */
int stranger_stat(int id, struct stranger_row *ret_row);
/* How many System V segments there are in the namespace. */
unsigned stranger_count(void);
/* The id of the first of them. */
int stranger_first(void);

struct stranger {
	struct harness_child child;
	uid_t uid;
	gid_t gid;
};

/* A program of that user and group, and of no other group. */
void stranger_start(struct stranger *stranger, uid_t uid, gid_t gid);

/*
 * Tells it, and returns its answer: a negative errno, or
 *
 *	make KEY SIZE MODE	shmget(2), exclusively: 0
 *	attach KEY FLAGS	shmat(2) with flags: 0
 *	attachid ID FLAGS	likewise
 *	get OFFSET		the byte there
 *	set OFFSET VALUE	0
 *	punch OFFSET LENGTH	MADV_REMOVE: 0
 *	remap			a second mapping of the same, by mremap(2): 0
 *	detach			0
 *	remove ID		IPC_RMID: 0
 *	change ID UID GID MODE	IPC_SET: 0
 *	unlock ID		SHM_UNLOCK: 0
 *	stat ID			IPC_STAT: 0
 */
long stranger_do(struct stranger *stranger, const char *format, ...) BASE_PRINTF(2, 3);
#define stranger_must(stranger, answer, ...) \
	do {								\
		long got_ = stranger_do(stranger, __VA_ARGS__);		\
		harness_assert(got_ == (answer), "the stranger answered %ld, not %ld", got_, (long)(answer)); \
	} while (0)

void stranger_kill(struct stranger *stranger);

#endif
