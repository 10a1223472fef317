/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A memory cgroup of the test's own, with a limit, and what runs in it. */
#ifndef TESTS_SYSTEM_GROUP_H
#define TESTS_SYSTEM_GROUP_H

#include "host/cgroup.h"
#include "tests/harness.h"

/* A memory cgroup of ours; dir is empty where there can be none. */
struct group {
	char dir[512];
	enum cgroup_version version;
	char why_not[700];
};

/* A cgroup with a limit, or the test is skipped. */
void group_make(struct group *group, uint64_t limit_bytes);
/* Likewise; false: there can be none. */
bool group_try(struct group *group, uint64_t limit_bytes);
uint64_t group_usage(const struct group *group);
/* How many processes the kernel killed in it for want of memory. */
uint64_t group_kills(const struct group *group);

/* A process belongs to it; the calling one, as a daemon's before_exec. */
void group_add(const struct group *group, pid_t pid);
void group_join(void *arg);
/* A daemon in it, which is ready. */
void group_start(struct harness_daemon *daemon, const struct group *group, const char *daemon_keys, const char *body);

#endif
