/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What stands there is looked at before it is opened, without following or waiting; what was put there in between is not taken. */
#include "config.h"

#include "host/rows.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"

#define MODE_OTHERS	022

int
rows_open(int dir_fd, const char *name, uid_t uid, int *ret_fd)
{
	cleanup_close int fd = -1;
	struct stat st, opened;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? ROWS_E_NONE : -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != uid || st.st_mode & MODE_OTHERS || st.st_nlink != 1)
		return ROWS_E_FOREIGN;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &opened))
		return -errno;
	if (opened.st_dev != st.st_dev || opened.st_ino != st.st_ino)
		return -EAGAIN;
	*ret_fd = take_fd(&fd);
	return 0;
}

ssize_t
rows_read(int fd, void *bytes, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, bytes, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
