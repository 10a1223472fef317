/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Objects of /dev/shm: whether anybody has one, by the kernel's word. A write lease is granted when nobody else has the file open
 * or mapped, whoever they are and wherever they run.
 */
#ifndef DAEMON_AUDIT_STRAY_POSIX_H
#define DAEMON_AUDIT_STRAY_POSIX_H

#include <sys/stat.h>

#include "base/base.h"
#include "host/audit.h"

#define STRAY_POSIX_DIR	"/dev/shm"
#define STRAY_POSIX_QUARANTINE_PREFIX	".segmentd-quarantine-"	/* of directories, see quarantine.h */

/* 0: *ret_fd is the directory, to be closed; or a negative errno. */
int stray_posix_open_directory(int *ret_fd);

/* Whether a directory of that name may be one of ours, which nobody is told of. */
bool stray_posix_is_quarantine(const char *name);

/*
 * Judges what has the name by now, and fills in the whole row. Where ret_fd is not NULL and the verdict is AUDIT_UNHELD, it is of
 * the object, under the lease, which ends when it is closed: whoever opens the object until then waits; otherwise -1.
 */
void stray_posix_judge(int dir_fd, const char *name, struct audit_stray *ret_stray, int *ret_fd);

/* Takes the lease on what fd is of. 0; -EAGAIN: somebody else has it open or mapped; or another negative errno. */
int stray_posix_lease(int fd);

/* Under the lease: whether still nobody else has it, waits to have it, or has tried to. */
bool stray_posix_is_alone(int fd);

/* Gives the lease back; who waits goes on. */
void stray_posix_release(int fd);

#endif
