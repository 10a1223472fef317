/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "bench/bench.h"
#include "bench/private.h"

const char *
private_shm_enter(struct private_shm *shm)
{
	const char *why = "there is no namespace to be had for a /dev/shm of our own (root has them)";

	shm->mounts_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	shm->ipc_fd = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
	if (shm->mounts_fd >= 0 && shm->ipc_fd >= 0 && unshare(CLONE_NEWNS | CLONE_NEWIPC) == 0) {
		if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		    mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,nr_inodes=0") == 0)
			return NULL;
		private_shm_leave(shm);
		return why;
	}
	close_fd(&shm->mounts_fd);
	close_fd(&shm->ipc_fd);
	return why;
}

void
private_shm_leave(struct private_shm *shm)
{
	char *directory = get_current_dir_name();

	if (setns(shm->mounts_fd, CLONE_NEWNS) != 0 || setns(shm->ipc_fd, CLONE_NEWIPC) != 0)
		bench_fail("the way back out of namespaces of our own: %s", strerror(errno));
	/* Which the kernel has made the root of. */
	if (!directory || chdir(directory) != 0)
		bench_fail("the way back to the working directory: %s", strerror(errno));
	free(directory);
	close_fd(&shm->mounts_fd);
	close_fd(&shm->ipc_fd);
}
