/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Memory's own file system knows all at once, and gives the same answers as to stat(2) and open(2). */
#include "config.h"

#include "host/object.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/base.h"

int
object_stat(int dir_fd, const char *name, struct stat *ret_status)
{
	struct statx status;

	if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC | (*name ? 0 : AT_EMPTY_PATH),
	    STATX_BASIC_STATS, &status))
		return -errno;
	*ret_status = (struct stat) {
		.st_dev = makedev(status.stx_dev_major, status.stx_dev_minor),
		.st_ino = status.stx_ino,
		.st_mode = status.stx_mode,
		.st_nlink = status.stx_nlink,
		.st_uid = status.stx_uid,
		.st_gid = status.stx_gid,
		.st_size = (off_t)status.stx_size,
		.st_blocks = (blkcnt_t)status.stx_blocks,
		.st_atim = { .tv_sec = status.stx_atime.tv_sec, .tv_nsec = status.stx_atime.tv_nsec },
		.st_mtim = { .tv_sec = status.stx_mtime.tv_sec, .tv_nsec = status.stx_mtime.tv_nsec },
		.st_ctim = { .tv_sec = status.stx_ctime.tv_sec, .tv_nsec = status.stx_ctime.tv_nsec },
	};
	return 0;
}

/* Linux 5.12; older headers do not name it. */
#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED	0x20
#endif

int
object_open_known(int dir_fd, const char *name, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags, .resolve = RESOLVE_CACHED };
	int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	/* COMPAT(linux 5.12), and filters of system calls that do not know it. */
	if (fd < 0 && (errno == EINVAL || errno == ENOSYS || errno == EPERM))
		fd = openat(dir_fd, name, flags);
	return fd < 0 ? -errno : fd;
}

int
object_stat_known(int dir_fd, const char *name, struct stat *ret_status)
{
	cleanup_close int fd = object_open_known(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? fd : object_stat(fd, "", ret_status);
}

int
object_open(int dir_fd, const char *name, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV };
	int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	/* COMPAT(linux 5.6), and filters of system calls that do not know it. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(dir_fd, name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int
object_set_access(int fd, const void *list, size_t size, mode_t mode)
{
	int r = fsetxattr(fd, "system.posix_acl_access", list, size, 0) ? -errno : 0;

	/* A tmpfs without lists has modes all the same. */
	if (r == -EOPNOTSUPP && mode)
		r = fchmod(fd, mode) ? -errno : 0;
	return r;
}
