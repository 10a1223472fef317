/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "tests/system/group.h"

static int
group_write(const struct group *group, const char *name, const char *value)
{
	char path[600];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int
group_limit(const struct group *group, uint64_t bytes)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
	return group_write(group, group->version == CGROUP_V2 ? "memory.max" : "memory.limit_in_bytes", text);
}

static int
group_make_below(const char *parent, enum cgroup_version version, void *arg)
{
	struct group *group = arg;
	int r;

	group->version = version;
	(void)snprintf(group->dir, sizeof(group->dir), "%.400s/segmentd-test-%ld", parent, (long)getpid());
	if (mkdir(group->dir, 0755) == 0) {
		r = group_limit(group, TIB);
		if (r == 0)
			return 1;
		(void)rmdir(group->dir);
	} else {
		r = -errno;
	}
	(void)snprintf(group->why_not, sizeof(group->why_not), "%s: %s", group->dir, strerror(-r));
	return 0;
}

bool
group_try(struct group *group, uint64_t limit_bytes)
{
	*group = (struct group) { .why_not = "no memory cgroup is mounted" };
	return cgroup_walk("", 0, "memory", group_make_below, group) == 1 && group_limit(group, limit_bytes) == 0;
}

void
group_make(struct group *group, uint64_t limit_bytes)
{
	if (!group_try(group, limit_bytes))
		harness_skip("no memory cgroup can be made here: %s", group->why_not);
}

uint64_t
group_usage(const struct group *group)
{
	char path[600], text[32] = "";
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir,
	    group->version == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	return strtoull(text, NULL, 10);
}

void
group_add(const struct group *group, pid_t pid)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", (long)pid);
	harness_assert(group_write(group, "cgroup.procs", text) == 0, "joining %s: %m", group->dir);
}

void
group_join(void *arg)
{
	group_add(arg, getpid());
}

uint64_t
group_kills(const struct group *group)
{
	char path[600], line[128];
	cleanup_fclose FILE *f = NULL;
	unsigned long long n = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir,
	    group->version == CGROUP_V2 ? "memory.events" : "memory.oom_control");
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			return n;
	ck_abort_msg("%s does not count kills", path);
}

void
group_start(struct harness_daemon *daemon, const struct group *group, const char *daemon_keys, const char *body)
{
	harness_daemon_prepare(daemon, daemon_keys, body);
	daemon->before_exec = group_join;
	daemon->before_exec_arg = (void *)(uintptr_t)group;
	harness_daemon_launch(daemon);
	harness_daemon_await_ready(daemon);
}
