/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The limits of this process: locked memory, descriptors. */
#include "config.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "base/base.h"
#include "host/file.h"
#include "host/limits.h"

#define CLIENT_FDS	64

/* The number after a key of /proc/self/status; false when there is none. */
static bool
status_read(const char *key, int base, uint64_t *ret_value)
{
	cleanup_fclose FILE *f = fopen("/proc/self/status", "re");
	size_t len = strlen(key);
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, len) == 0) {
			*ret_value = strtoull(line + len, NULL, base);
			return true;
		}
	return false;
}

/* What follows a key that begins a line; NULL: there is none. */
static const char *
find_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0)
			return p + len;
	}
	return NULL;
}

/* Whether mlock heeds no limit: the capability counts in the initial user namespace alone, which maps every id to itself. */
static bool
limits_has_ipc_lock(const char *root, pid_t pid, const char *status)
{
	const char *value = find_value(status, "CapEff:");
	uint64_t caps = value ? strtoull(value, NULL, 16) : 0, inside, outside, count;
	char map[4096];

	if (!(caps & (UINT64_C(1) << CAP_IPC_LOCK)) || file_read_process(root, pid, "uid_map", map, sizeof(map)) < 0)
		return false;
	return sscanf(map, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3 && inside == 0 &&
	    outside == 0 && count == UINT32_MAX;
}

uint64_t
limits_locked_bytes(void)
{
	uint64_t kib;

	return status_read("VmLck:", 10, &kib) ? kib * KIB : 0;
}

uint64_t
limits_memlock_bytes(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? LIMITS_UNLIMITED : limit.rlim_cur;
}

uint64_t
limits_memlock_left_bytes(void)
{
	uint64_t limit_bytes = limits_memlock_bytes();
	char status[4096];

	if (limit_bytes == LIMITS_UNLIMITED)
		return LIMITS_UNLIMITED;
	if (file_read_process("", 0, "status", status, sizeof(status)) == 0 && limits_has_ipc_lock("", 0, status))
		return LIMITS_UNLIMITED;
	return limit_bytes - min_u64(limit_bytes, limits_locked_bytes());
}

uint64_t
limits_raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur;
}

uint64_t
limits_nofile(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : limit.rlim_cur;
}

uint64_t
limits_client_fds(uint64_t nofile)
{
	return min_u64(CLIENT_FDS, nofile / 4);
}

/* A line of /proc/self/limits: "Max open files            1024                 4096                 files". */
static bool
limits_find(const char *text, const char *name, bool hard, uint64_t *ret_value)
{
	const char *line = strstr(text, name);
	char values[2][32];

	if (!line || sscanf(line + strlen(name), "%31s %31s", values[0], values[1]) != 2)
		return false;
	*ret_value = streq(values[hard], "unlimited") ? LIMITS_UNLIMITED : strtoull(values[hard], NULL, 10);
	return true;
}

int
limits_read(const char *root, pid_t pid, struct limits *ret_limits)
{
	struct limits limits = { 0 };
	char text[4096], status[4096];
	const char *value;
	int r = file_read_process(root, pid, "limits", text, sizeof(text));

	if (r == 0)
		r = file_read_process(root, pid, "status", status, sizeof(status));
	if (r < 0)
		return r;
	if (!limits_find(text, "Max locked memory", false, &limits.memlock_bytes) ||
	    !limits_find(text, "Max open files", true, &limits.nofile))
		return -EPROTO;
	limits.has_ipc_lock = limits_has_ipc_lock(root, pid, status);
	if (limits.has_ipc_lock)
		limits.memlock_bytes = LIMITS_UNLIMITED;
	value = find_value(status, "VmLck:");
	if (value)
		limits.locked_bytes = strtoull(value, NULL, 10) * KIB;
	/* Real, effective: by the latter memory is counted that shmctl(2) locks. */
	value = find_value(status, "Uid:");
	if (!value || sscanf(value, "%*u %" SCNu32, &limits.uid) != 1)
		limits.uid = geteuid();
	value = find_value(status, "Gid:");
	if (!value || sscanf(value, "%*u %" SCNu32, &limits.gid) != 1)
		limits.gid = getegid();
	*ret_limits = limits;
	return 0;
}
