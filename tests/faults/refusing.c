/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A limit that leaves the daemon as many descriptors as it has: see refusing.h. */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/faults/asleep.h"
#include "tests/faults/refusing.h"

static rlim_t
lowest_free(pid_t pid)
{
	char path[64];

	for (unsigned fd = 0; ; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)pid, fd);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
			return fd;
	}
}

/* 0: as many as it may. */
static void
limit_fds(pid_t pid, rlim_t n)
{
	struct rlimit limit;

	harness_assert(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0, "prlimit: %s", strerror(errno));
	limit.rlim_cur = n ? n : limit.rlim_max;
	harness_assert(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0, "prlimit: %s", strerror(errno));
}

/*
 * With so many more than it has; what it closes a moment later may be one more, in which the first one is let in. What it tells is of no
 * request.
 */
static int
be_refused(struct faults_scene *scene, rlim_t n_more)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pid = scene->manager.daemon.pid;
	struct harness_conn conn;
	int r;

	do {
		harness_assert(harness_clock_ns() < deadline_ns, "who can have no more descriptors lets clients in; failed: %s",
		    injector_describe(&scene->injector));
		asleep_await(pid);
		limit_fds(pid, lowest_free(pid) + n_more);
		r = scene_dial(scene, &conn);
		harness_close(&conn);
	} while (r == 0);
	return r == -ENOTCONN || r == -ECONNRESET ? 0 : r;
}

/* There is none for its connection; or none for what tells of its process's end. */
int
refusing_clients(struct faults_scene *scene)
{
	int r = be_refused(scene, 0);

	return r ? r : be_refused(scene, 1);
}

void
refusing_settle(struct faults_scene *scene)
{
	limit_fds(scene->manager.daemon.pid, 0);
}
