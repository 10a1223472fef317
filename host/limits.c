/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The limits of this process: locked memory, descriptors. */
#include "config.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include "base/base.h"
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

/* The initial user namespace maps every id to itself. Only there does a capability lift mlock's limit. */
static bool
in_initial_user_namespace(void)
{
	cleanup_fclose FILE *f = fopen("/proc/self/uid_map", "re");
	uint64_t inside, outside, count;

	return f && fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3 &&
	    inside == 0 && outside == 0 && count == UINT32_MAX;
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
	uint64_t caps, locked;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return LIMITS_UNLIMITED;
	if (status_read("CapEff:", 16, &caps) && (caps & (UINT64_C(1) << CAP_IPC_LOCK)) &&
	    in_initial_user_namespace())
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
