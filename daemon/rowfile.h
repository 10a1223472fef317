/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How the daemon's files of rows are written: the record and the ledger. A new daemon's file is made beside the one before, and
 * takes its place when it is whole.
 *
 * A killed process's write is whole or not there: the kernel copies a row within a page. So the files need no second copies, and
 * what is written is on no disk: it need not outlive the machine, whose restart ends what it is about, too.
 */
#ifndef DAEMON_ROWFILE_H
#define DAEMON_ROWFILE_H

#include <stddef.h>
#include <stdint.h>

/* What becomes of the file before. */
enum rowfile_old {
	ROWFILE_REPLACED,		/* the new one has all of it; or there is none */
	ROWFILE_DAMAGED,		/* the new one has what of it is good, and it is kept aside */
	ROWFILE_FOREIGN			/* the new one has nothing of it, and it is kept aside */
};

/* Makes a new file in the place of what an earlier life left of one. 0 or a negative errno. */
int rowfile_create(int dir_fd, const char *name, int *ret_fd);

/* All of them. 0, or a negative errno: -ENOSPC for a part. */
int rowfile_write(int fd, const void *bytes, size_t size, uint64_t offset);

/* The file new_name is name from now on. 0, and aside is what the old one is called now, or ""; or a negative errno. */
int rowfile_take_place(int dir_fd, const char *new_name, const char *name, enum rowfile_old old, char *aside, size_t aside_size);

#endif
