/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The directory is opened once: each attach opens from it, and the walk to it would cost as much as the rest. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/procfd.h"

static int procfd_dir = -1;

int
procfd_prepare(void)
{
	if (procfd_dir < 0)
		procfd_dir = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return procfd_dir < 0 ? -errno : 0;
}

int
procfd_reopen(int fd, int flags, int *ret_fd)
{
	char name[16];
	int opened, r;

	r = procfd_prepare();
	if (r)
		return r;
	(void)snprintf(name, sizeof(name), "%d", fd);
	opened = openat(procfd_dir, name, flags | O_CLOEXEC | O_NOCTTY);
	if (opened < 0)
		return -errno;
	*ret_fd = opened;
	return 0;
}

int
procfd_link(int fd, int dir_fd, const char *name)
{
	char from[16];
	int r = procfd_prepare();

	if (r)
		return r;
	(void)snprintf(from, sizeof(from), "%d", fd);
	return linkat(procfd_dir, from, dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}
