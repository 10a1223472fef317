/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the daemon's files of rows have in common: how such a file is opened, read, written, and kept aside. What a row says is
 * their own affair.
 *
 * A killed process's write is whole or not there: the kernel copies a row within a page. So the files need no second copies, and
 * what is written is on no disk: it need not outlive the machine, whose restart ends what it is about, too.
 */
#ifndef HOST_ROWS_H
#define HOST_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ROWS_BOOT_SIZE	40

enum {
	ROWS_E_NONE = 1,		/* there is no such file */
	ROWS_E_FOREIGN = 2		/* something stands there that is no file of ours which only we can write */
};

/* The kernel's boot_id, filled up with NULs: what other boots had is gone. 0 or a negative errno. */
int rows_read_boot(char boot[ROWS_BOOT_SIZE]);

/*
 * Opens a file for reading; not before it was looked at, since what stands there may be anything. 0, ROWS_E_*, or a negative
 * errno.
 */
int rows_open(int dir_fd, const char *name, int *ret_fd);

/* Makes a new file in the place of what an earlier life left of one. 0 or a negative errno. */
int rows_create(int dir_fd, const char *name, int *ret_fd);

/* As many bytes as there are, up to size; or a negative errno. */
ssize_t rows_read(int fd, void *bytes, size_t size, uint64_t offset);

/* All of them. 0, or a negative errno: -ENOSPC for a part. */
int rows_write(int fd, const void *bytes, size_t size, uint64_t offset);

/* A name to keep a file aside under, that nothing has had before. */
void rows_aside_name(const char *name, char *aside, size_t aside_size);

#endif
