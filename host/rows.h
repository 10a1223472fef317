/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* How the daemon's files of rows are read, by it and by who wants to know what is in them. What a row says is their own affair. */
#ifndef HOST_ROWS_H
#define HOST_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	ROWS_E_NONE = 1,		/* there is no such file */
	ROWS_E_FOREIGN = 2		/* something stands there that is no file of the user's which nobody else can write */
};

/*
 * Opens a file for reading; not before it was looked at, since what stands there may be anything. 0, ROWS_E_*, or a negative
 * errno.
 */
int rows_open(int dir_fd, const char *name, uid_t uid, int *ret_fd);

/* As many bytes as there are, up to size; or a negative errno. */
ssize_t rows_read(int fd, void *bytes, size_t size, uint64_t offset);

#endif
