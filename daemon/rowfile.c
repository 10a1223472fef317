/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whole rows at their offsets, and renames: no name is ever opened for writing that might be somebody else's. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "base/base.h"
#include "daemon/rowfile.h"

int
rowfile_create(int dir_fd, const char *name, int *ret_fd)
{
	int fd;

	(void)unlinkat(dir_fd, name, 0);
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int
rowfile_write(int fd, const void *bytes, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pwrite(fd, bytes, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == size ? 0 : -ENOSPC;
}

static int
rename_in(int dir_fd, const char *from, const char *to, unsigned flags)
{
	return renameat2(dir_fd, from, dir_fd, to, flags) ? -errno : 0;
}

/*
 * What cannot be read is not thrown away. Where the new one has a part of it they change places, so that there is no moment
 * without one; what is another's has its name to itself from the first. Not every file system lets two change places.
 */
int
rowfile_take_place(int dir_fd, const char *new_name, const char *name, enum rowfile_old old, char *aside, size_t aside_size)
{
	int r = -EINVAL;

	*aside = '\0';
	if (old == ROWFILE_REPLACED)
		return rename_in(dir_fd, new_name, name, 0);
	(void)snprintf(aside, aside_size, "%s.%" PRIu64, name, clock_realtime_ns() / 1000);
	if (old == ROWFILE_DAMAGED)
		r = rename_in(dir_fd, new_name, name, RENAME_EXCHANGE);
	if (r == 0)
		return rename_in(dir_fd, new_name, aside, RENAME_NOREPLACE);
	if (r != -EINVAL)
		return r;
	r = rename_in(dir_fd, name, aside, RENAME_NOREPLACE);
	return r ? r : rename_in(dir_fd, new_name, name, 0);
}
