/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The mark beside a file that holds a segment: "in use", since which boot of the machine. It is there as long as the file's
 * contents may be ahead of the disk; what is found at a start tells how the last use ended. Locked by the daemon that uses
 * the file, for as long as it does: clients never get a descriptor of it, so that none of them can hold it.
 */
#ifndef DAEMON_WORKER_MARK_H
#define DAEMON_WORKER_MARK_H

#include <stdint.h>
#include <sys/types.h>

#define MARK_BYTES	256		/* all of it: one write, one block */
#define MARK_BOOT_SIZE	40

enum mark_state {
	MARK_FREE,			/* somebody has locked it; the file is not in use yet */
	MARK_USED,
	MARK_SPOILED,			/* in use, and what was written did not all reach the disk */
	MARK_INVALID,			/* no mark of ours: cut short, or something else */
	MARK_STATE_N
};

struct mark {
	enum mark_state state;
	char boot[MARK_BOOT_SIZE];	/* the kernel's boot id */
	uint64_t generation;		/* microseconds since 1970, when the use began */
	uint64_t size_bytes;		/* of the file */
	int32_t pid;			/* of the daemon, in its namespace */
};

/* Reads it. 0, also where it is none: state says so. Or a negative errno. */
int mark_read(int fd, struct mark *ret_mark);

/* Writes it, and has it on the disk before it returns. 0 or a negative errno. */
int mark_write(int fd, const struct mark *mark);

/* Fills in a mark of now: this boot, this daemon's workers' parent. 0 or a negative errno. */
int mark_now(struct mark *mark, enum mark_state state, uint64_t size_bytes);

/*
 * Whether nobody has it locked. What a daemon that is gone left to be written back is waited for, as long as that may take.
 * -EBUSY: somebody has; *ret_pid is who, as the kernel says, or else the mark itself; 0: neither does. -ECANCELED: the wait is
 * of no use any more. Or another negative errno: there are no locks.
 */
int mark_await_free(int fd, pid_t *ret_pid);

#endif
