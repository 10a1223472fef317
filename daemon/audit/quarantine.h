/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Where an object's name is taken away from it before it is removed: a directory of ours beside the objects, in which nobody else
 * can do anything. From there it can have its name back, if somebody turns out to be opening it; and what a run that was killed
 * left there is found by the next, at its end at the latest.
 *
 *	/dev/shm/.segmentd-quarantine-XXXXXXXX/INODE/NAME
 *
 * INODE is that of the object that is to be removed. Another one may have got its name in the last moment: such a one never has
 * its own number above it, and is never removed, only given back.
 */
#ifndef DAEMON_AUDIT_QUARANTINE_H
#define DAEMON_AUDIT_QUARANTINE_H

#include <sys/types.h>

#include "base/base.h"
#include "host/audit.h"

struct quarantine {
	int dir_fd;			/* of the objects' directory; not owned */
	int fd;				/* locked while we live; -1: not made yet */
	bool was_busy;			/* somebody had the lock of one that we made: they remove it, or it is left */
	char name[48];
};

#define QUARANTINE_NULL	{ .dir_fd = -1, .fd = -1 }

/* Makes one, if there is none yet. 0 or a negative errno. */
int quarantine_make(struct quarantine *quarantine, int dir_fd);

/* Removes it, unless something had to stay there, which a later run sees to: false. */
bool quarantine_leave(struct quarantine *quarantine);

/* Makes room for an object, before anything is done to it; quarantine_forget() takes it back. 0 or a negative errno. */
int quarantine_prepare(struct quarantine *quarantine, ino_t inode);
void quarantine_forget(struct quarantine *quarantine, ino_t inode);

/*
 * Takes the name from the object that has this inode and was prepared for. 0; -ESTALE: another one had the name by now, and has it again; -EEXIST: the
 * same, but the name was taken in between: it stays here; or another negative errno, and nothing happened.
 */
int quarantine_take(struct quarantine *quarantine, const char *name, ino_t inode);

/* Gives the name back. 0; -EEXIST: it is another one's by now; or another negative errno. */
int quarantine_give_back(struct quarantine *quarantine, const char *name, ino_t inode);

/* Removes the object, which nobody else can have taken from there. 0 or a negative errno. */
int quarantine_remove(struct quarantine *quarantine, const char *name, ino_t inode);

/*
 * Settles what earlier runs of our user left: it gets its name back, or if that is another one's by now it is removed, if it was
 * to be and nobody has it. The rest stays, and what that time was too short for, since others can make as much as they like of what
 * is to be looked at: then it returns false. What looks like a quarantine and is not ours, or is that of one that lives, is left alone.
 */
bool quarantine_settle(int dir_fd, uint64_t ns);

/*
 * Gives each object that waits in the quarantine of that name to take(), as AUDIT_KEPT and why: -EEXIST: another has its name; -EACCES:
 * only a run of the user whose it is settles it; -EAGAIN: the next run does. What a run that lives has is not told of, since that
 * sees to it at once. Ends early with what take() returned, if that is not 0; it is asked so, with NULL, also where nothing is found.
 */
int quarantine_list(int dir_fd, const char *name, int (*take)(const struct audit_stray *stray, void *arg), void *arg);

#endif
