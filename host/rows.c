/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whoever can write such a file is our own uid or root. It is opened as if it were anybody. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/base.h"
#include "host/rows.h"

#define BOOT_ID_FILE	"/proc/sys/kernel/random/boot_id"
#define MODE_OTHERS	022

int
rows_read_boot(char boot[ROWS_BOOT_SIZE])
{
	cleanup_close int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	memset(boot, 0, ROWS_BOOT_SIZE);
	n = read(fd, boot, ROWS_BOOT_SIZE - 1);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	memset(boot + strcspn(boot, "\n"), 0, ROWS_BOOT_SIZE - strcspn(boot, "\n"));
	return 0;
}

int
rows_open(int dir_fd, const char *name, int *ret_fd)
{
	cleanup_close int fd = -1;
	struct stat st, opened;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? ROWS_E_NONE : -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & MODE_OTHERS || st.st_nlink != 1)
		return ROWS_E_FOREIGN;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &opened))
		return -errno;
	if (opened.st_dev != st.st_dev || opened.st_ino != st.st_ino)
		return -EAGAIN;
	*ret_fd = take_fd(&fd);
	return 0;
}

int
rows_create(int dir_fd, const char *name, int *ret_fd)
{
	int fd;

	(void)unlinkat(dir_fd, name, 0);
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
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

int
rows_write(int fd, const void *bytes, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pwrite(fd, bytes, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == size ? 0 : -ENOSPC;
}

void
rows_aside_name(const char *name, char *aside, size_t aside_size)
{
	(void)snprintf(aside, aside_size, "%s.%" PRIu64, name, clock_realtime_ns() / 1000);
}
