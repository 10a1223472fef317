/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about what a host does not give: cause, figures, remedy. */
#include "config.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/base.h"
#include "host/findings.h"
#include "host/limits.h"
#include "host/memory.h"

#define SIZE_TEXT	32

#define MEMLOCK_REMEDY	"LimitMEMLOCK=infinity or AmbientCapabilities=CAP_IPC_LOCK in the unit (`systemctl edit " SERVICE_UNIT \
	"`, below [Service]), `ulimit -l unlimited` in the shell that starts it, or mlock = false"

#define FINDINGS_HUGE_REMEDY	"`echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled`"

const char *
findings_size(char *buf, size_t size, uint64_t bytes)
{
	static const struct {
		uint64_t bytes;
		const char *name;
	} units[] = { { TIB, "TiB" }, { GIB, "GiB" }, { MIB, "MiB" }, { KIB, "KiB" }, { 1, "B" } };
	size_t i = 0;

	while (i < BASE_ARRAY_SIZE(units) - 1 && bytes < units[i].bytes)
		i++;
	if (bytes % units[i].bytes == 0)
		(void)snprintf(buf, size, "%llu %s", (unsigned long long)(bytes / units[i].bytes),
		    units[i].name);
	else
		(void)snprintf(buf, size, "%.1f %s", (double)bytes / (double)units[i].bytes, units[i].name);
	return buf;
}

bool
findings_split(char *text, const char **ret_remedy)
{
	char *remedy = strstr(text, FINDINGS_REMEDY);

	if (!remedy)
		return false;
	*ret_remedy = remedy + strlen(FINDINGS_REMEDY);
	*remedy = '\0';
	return true;
}

static bool
ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= n && streq(s + len - n, end);
}

/* The limit's setting with room for needed_bytes, in whole MiB, as systemd and a shell take it. */
static uint64_t
enough_mib(uint64_t had_bytes, uint64_t needed_bytes)
{
	uint64_t sum;

	if (!checked_add(had_bytes, needed_bytes, &sum) || !checked_add(sum, 64 * MIB, &sum))
		return UINT64_MAX / MIB;
	return sum / MIB + 1;
}

void
findings_memory(char *buf, size_t size, uint64_t needed_bytes, const struct memory_headroom *headroom)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], limit[SIZE_TEXT], used[SIZE_TEXT];
	const char *where = headroom->where;
	/* What is left may be less than the limit less what is in use: some of it is promised to others. */
	uint64_t missing_bytes = needed_bytes - min_u64(needed_bytes, headroom->bytes);
	unsigned long long mib = enough_mib(headroom->limit_bytes, missing_bytes);

	(void)findings_size(needed, sizeof(needed), needed_bytes);
	(void)findings_size(left, sizeof(left), headroom->bytes);
	(void)findings_size(limit, sizeof(limit), headroom->limit_bytes);
	(void)findings_size(used, sizeof(used), headroom->used_bytes);
	if (headroom->limit == MEMORY_LIMIT_AVAILABLE) {
		(void)snprintf(buf, size, "%s of memory are needed, but %s are left: MemAvailable in %s is %s, of "
		    "which memory_reserve keeps %s. Remedy: a smaller segment, a smaller memory_reserve, or "
		    "more memory", needed, left, where, limit, used);
	} else if (ends_with(where, "memory.memsw.limit_in_bytes")) {
		(void)snprintf(buf, size, "%s of memory are needed, but the memory cgroup leaves %s: %s is %s "
		    "(memory and swap), %s are in use. Remedy: a smaller segment, or `echo %lluM > %s`",
		    needed, left, where, limit, used, mib, where);
	} else {
		(void)snprintf(buf, size, "%s of memory are needed, but the memory cgroup leaves %s: %s is %s, %s "
		    "are in use. Remedy: a smaller segment, `echo %lluM > %s`, or %s=%lluM in the unit "
		    "that it belongs to", needed, left, where, limit, used, mib, where,
		    ends_with(where, "memory.high") ? "MemoryHigh" : "MemoryMax", mib);
	}
}

void
findings_memlock_of(char *buf, size_t size, const char *who, uint64_t limit_bytes, uint64_t needed_bytes,
    uint64_t left_bytes)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], limit[SIZE_TEXT] = "unlimited";

	if (limit_bytes != UINT64_MAX)
		(void)findings_size(limit, sizeof(limit), limit_bytes);
	(void)snprintf(buf, size, "%s are to be locked in memory, but %s are left of what %s may lock: RLIMIT_MEMLOCK "
	    "is %s. Remedy: " MEMLOCK_REMEDY, findings_size(needed, sizeof(needed), needed_bytes),
	    findings_size(left, sizeof(left), left_bytes), who, limit);
}

void
findings_memlock(char *buf, size_t size, uint64_t needed_bytes, uint64_t left_bytes)
{
	findings_memlock_of(buf, size, "this process", limits_memlock_bytes(), needed_bytes, left_bytes);
}

void
findings_sysv_unlocked(char *buf, size_t size, uint32_t uid, uint64_t limit_bytes, uint64_t needed_bytes)
{
	char needed[SIZE_TEXT], limit[SIZE_TEXT] = "unlimited";

	if (limit_bytes != UINT64_MAX)
		(void)findings_size(limit, sizeof(limit), limit_bytes);
	(void)snprintf(buf, size, "%s of System V memory are to be locked by SHM_LOCK, and all that uid %u has locked so may be "
	    "RLIMIT_MEMLOCK, which is %s. Remedy: " MEMLOCK_REMEDY, findings_size(needed, sizeof(needed), needed_bytes),
	    (unsigned)uid, limit);
}

void
findings_worker_killed(char *buf, size_t size, int signal, const struct memory_headroom *headroom)
{
	char left[SIZE_TEXT], limit[SIZE_TEXT];

	if (signal != SIGKILL) {
		(void)snprintf(buf, size, "the worker process was ended by signal %d (%s) while it allocated memory. "
		    "Remedy: `journalctl -k` may say why; then try again", signal, strsignal(signal));
		return;
	}
	(void)snprintf(buf, size, "the worker process was killed (SIGKILL) while it allocated memory, most likely by the "
	    "kernel's out-of-memory killer, when others took the memory meanwhile: now %s %s %s, with %s left. "
	    "Remedy: `journalctl -k -g oom` names who used it; a smaller segment, or more memory",
	    headroom->where, headroom->limit == MEMORY_LIMIT_AVAILABLE ? "has" : "is",
	    findings_size(limit, sizeof(limit), headroom->limit_bytes),
	    findings_size(left, sizeof(left), headroom->bytes));
}

void
findings_page_size(char *buf, size_t size, const char *page_size, uint64_t size_bytes, uint64_t huge_bytes)
{
	char asked[SIZE_TEXT], had[SIZE_TEXT];
	const char *remedy;
	uint64_t page_bytes;

	if (streq(page_size, "2MiB") || streq(page_size, "1GiB"))
		remedy = streq(page_size, "2MiB") ?
		    "enlarge the pool by `echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`" :
		    "enlarge the pool by `echo N > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages`";
	else if (memory_huge(&page_bytes) == MEMORY_HUGE_NONE)
		remedy = FINDINGS_HUGE_REMEDY;
	else
		remedy = "memory is too fragmented for more: `echo 1 > /proc/sys/vm/compact_memory`, then try "
		    "again, or start earlier at boot";
	(void)snprintf(buf, size, "page_size = \"%s\" was asked for, but %s of %s are on huge pages. Remedy: %s, or "
	    "placement = \"prefer\"", page_size, findings_size(had, sizeof(had), huge_bytes),
	    findings_size(asked, sizeof(asked), size_bytes), remedy);
}

void
findings_no_huge(char *buf, size_t size, const char *why)
{
	(void)snprintf(buf, size, "shared memory gets no transparent huge pages: %s. Remedy: %s", why, FINDINGS_HUGE_REMEDY);
}

/* What suffices for a while, and no less than a unit has by default. */
static unsigned long long
enough_nofile(uint64_t needed)
{
	return max_u64(needed > UINT64_MAX / 4 ? UINT64_MAX : needed * 4, 524288);
}

void
findings_nofile_of(char *buf, size_t size, const char *who, uint64_t limit, uint64_t needed)
{
	unsigned long long enough = enough_nofile(needed);

	(void)snprintf(buf, size, "%llu descriptors are needed, but %s may have %llu: the hard limit of RLIMIT_NOFILE. Remedy: "
	    "LimitNOFILE=%llu in the unit (`systemctl edit segmentd.service`, below [Service]), or `ulimit -Hn %llu` in the "
	    "shell that starts it", (unsigned long long)needed, who, (unsigned long long)limit, enough, enough);
}

void
findings_nofile(char *buf, size_t size)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	(void)snprintf(buf, size, "out of file descriptors: RLIMIT_NOFILE is %llu (its hard limit %llu). Remedy: "
	    "LimitNOFILE=%llu in the unit, or `ulimit -n` in the shell that starts it",
	    (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max,
	    (unsigned long long)limit.rlim_max * 4);
}
