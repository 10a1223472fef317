/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Where the cgroups above this process are mounted, of cgroup v1 and v2. Reads only. */
#ifndef HOST_CGROUP_H
#define HOST_CGROUP_H

enum cgroup_version {
	CGROUP_V1,
	CGROUP_V2,
	CGROUP_VERSION_N
};

/* Takes one cgroup's directory; a result other than 0 ends the walk. */
typedef int (*cgroup_fn)(const char *dir, enum cgroup_version version, void *arg);

/*
 * Calls fn for this process's own cgroup and then for each one above it, as far up as a mount shows them; v2's first, then
 * those of v1's controller ("memory", "hugetlb"). root is put before every path ("" but for tests). A hierarchy that is not mounted,
 * or not where this process is, is left out. 0, -ENOMEM, or what fn returned.
 */
int cgroup_walk(const char *root, const char *controller, cgroup_fn fn, void *arg);

#endif
