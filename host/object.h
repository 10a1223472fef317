/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Looks at what has a name in a directory that is everybody's, as /dev/shm is. A user may have a file system of their own mounted
 * on such a name (FUSE), which answers whoever looks when it likes, or never. So nothing here asks it.
 */
#ifndef HOST_OBJECT_H
#define HOST_OBJECT_H

#include <stddef.h>
#include <sys/stat.h>

/*
 * As fstatat(2) with AT_SYMLINK_NOFOLLOW; name "": the descriptor's own. What is mounted on the name has another device, and the
 * rest is what the kernel remembers of it. 0 or a negative errno.
 */
int object_stat(int dir_fd, const char *name, struct stat *ret_status);

/*
 * As object_stat(), of what the kernel knows without waiting for the directory's lock, which others may have for long. -EAGAIN: it
 * would have to, as for a name that is not there.
 */
int object_stat_known(int dir_fd, const char *name, struct stat *ret_status);

/* Likewise as openat(2). A descriptor, or a negative errno. */
int object_open_known(int dir_fd, const char *name, int flags);

/* As openat(2), of what is in the directory itself. A descriptor, or a negative errno: -EXDEV where something is mounted there. */
int object_open(int dir_fd, const char *name, int flags);

/*
 * Who may open what is open: the list, as the kernel has it (linux/posix_acl_xattr.h); or, where the file system has no lists, the mode,
 * if that says the same: 0 where it does not. Waits for who writes there, as long as that may take. 0 or a negative errno.
 */
int object_set_access(int fd, const void *list, size_t size, mode_t mode);

#endif
