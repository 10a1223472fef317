/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Where the cgroups above a process are mounted, of cgroup v1 and v2. Reads only. */
#ifndef HOST_CGROUP_H
#define HOST_CGROUP_H

#include <sys/types.h>

enum cgroup_version {
	CGROUP_V1,
	CGROUP_V2,
	CGROUP_VERSION_N
};

/* Takes one cgroup's directory; a result other than 0 ends the walk. */
typedef int (*cgroup_fn)(const char *dir, enum cgroup_version version, void *arg);

/*
 * Calls fn for a process's own cgroup (pid 0: of this one) and then for each one above it, as far up as a mount shows them;
 * v2's first, then those of v1's controller ("memory", "hugetlb"). root is put before every path ("" but for tests). A hierarchy
 * that is not mounted, or not where the process is, is left out. 0, -ENOMEM, or what fn returned.
 */
int cgroup_walk(const char *root, pid_t pid, const char *controller, cgroup_fn fn, void *arg);

#endif
