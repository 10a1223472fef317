/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who has a directory on the way can put a link in it, and lead a daemon that may write elsewhere to make its file there, with
 * what clients then write to it. So links are followed only where root or we have made them, and nobody else can make others
 * in their place. Where such a link leads is its maker's matter.
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/walk.h"

static bool
is_ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Whether the link in the directory stays what it is. */
static int
check_link(int dir_fd, const struct stat *link, uid_t *ret_uid)
{
	struct stat dir;

	if (fstat(dir_fd, &dir))
		return -errno;
	*ret_uid = link->st_uid;
	if (!is_ours(link->st_uid))
		return -ELOOP;
	*ret_uid = dir.st_uid;
	return is_ours(dir.st_uid) && (!(dir.st_mode & 022) || dir.st_mode & S_ISVTX) ? 0 : -ELOOP;
}

/* One step on: *fd becomes what it leads to. */
static int
walk_step(int *fd, const char *name, uid_t *ret_uid)
{
	cleanup_close int next = openat(*fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int r;

	if (next < 0 || fstat(next, &st))
		return -errno;
	if (S_ISLNK(st.st_mode)) {
		r = check_link(*fd, &st, ret_uid);
		if (r)
			return r;
		close_fd(&next);
		next = openat(*fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next < 0)
			return -errno;
	}
	close_fd(fd);
	*fd = take_fd(&next);
	return 0;
}

int
walk_open(const char *path, int *ret_fd, uid_t *ret_uid)
{
	cleanup_close int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char names[PATH_MAX], *save = NULL, *name;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(names))
		return -ENAMETOOLONG;
	(void)strcpy(names, path);
	for (name = strtok_r(names, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int r = walk_step(&fd, name, ret_uid);

		if (r)
			return r;
	}
	*ret_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}
