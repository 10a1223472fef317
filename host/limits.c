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

/* Whether mlock heeds no limit: the capability counts in the initial user namespace alone, which maps every id to itself. */
static bool
limits_read_ipc_lock(const char *root)
{
	uint64_t caps = 0, inside, outside, count;
	char text[4096];
	const char *line;

	if (file_read_text(root, "/proc/self/status", text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "CapEff:");
	if (line)
		caps = strtoull(line + strlen("CapEff:"), NULL, 16);
	if (!(caps & (UINT64_C(1) << CAP_IPC_LOCK)) || file_read_text(root, "/proc/self/uid_map", text, sizeof(text)) < 0)
		return false;
	return sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3 && inside == 0 &&
	    outside == 0 && count == UINT32_MAX;
}

uint64_t
limits_locked_bytes(void)
{
	uint64_t kib;

	return status_read("VmLck:", 10, &kib) ? kib * KIB : 0;
}

uint64_t
limits_memlock_left_bytes(void)
{
	struct rlimit limit;
	uint64_t locked;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return LIMITS_UNLIMITED;
	if (limits_read_ipc_lock(""))
		return LIMITS_UNLIMITED;
	locked = limits_locked_bytes();
	return limit.rlim_cur - min_u64(limit.rlim_cur, locked);
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
limits_read(const char *root, struct limits *ret_limits)
{
	struct limits limits;
	char text[4096];
	int r = file_read_text(root, "/proc/self/limits", text, sizeof(text));

	if (r < 0)
		return r;
	if (!limits_find(text, "Max locked memory", false, &limits.memlock_bytes) ||
	    !limits_find(text, "Max open files", true, &limits.nofile))
		return -EPROTO;
	limits.has_ipc_lock = limits_read_ipc_lock(root);
	if (limits.has_ipc_lock)
		limits.memlock_bytes = LIMITS_UNLIMITED;
	*ret_limits = limits;
	return 0;
}
