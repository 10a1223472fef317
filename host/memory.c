/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How much memory may be allocated now, without the kernel having to kill anybody for it.
 *
 * The answer is the least of what MemAvailable leaves above a reserve and of what each memory cgroup above this process
 * leaves below its limits. memory.high counts like memory.max: beyond it the kernel does not refuse but puts the caller
 * to sleep, for seconds at a time. Swap is never counted on: locked segments cannot use it.
 *
 * Page cache is charged to a cgroup but given up at its limit, so a cgroup full of it is not full. Counted as to be given
 * up: the inactive file pages and half the active ones (the rest is in use and would be read back at once), less those
 * that must be written first. Shared memory is on the anonymous lists and is never among them.
 *
 * The files stay open. A process that is moved to another cgroup afterwards is judged by its first one.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "base/base.h"
#include "host/cgroup.h"
#include "host/memory.h"

/* v1 shows "no limit" as the largest number of whole pages; nobody has a quarter of it. */
#define MEMORY_UNLIMITED	(UINT64_C(1) << 60)

/* One limit of one cgroup. */
struct bound {
	int limit_fd;
	int usage_fd;
	int stat_fd;
	enum cgroup_version version;
	char *where;			/* path of the limit's file */
};

struct memory {
	int meminfo_fd;
	char *meminfo;			/* its path */
	struct bound *bounds;
	size_t n_bounds;
};

/* The limits that a cgroup may have, and the use that each of them bounds. */
static const struct {
	enum cgroup_version version;
	const char *limit;
	const char *usage;
} bound_files[] = {
	{ CGROUP_V2, "memory.max", "memory.current" },
	{ CGROUP_V2, "memory.high", "memory.current" },
	{ CGROUP_V1, "memory.limit_in_bytes", "memory.usage_in_bytes" },
	/* Memory and swap together: what was swapped out is missing here, and nowhere else. */
	{ CGROUP_V1, "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes" },
};

static int
open_in(const char *dir, const char *name)
{
	cleanup_free char *path = NULL;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void
bound_deinit(struct bound *bound)
{
	close_fd(&bound->limit_fd);
	close_fd(&bound->usage_fd);
	close_fd(&bound->stat_fd);
	free(take_ptr(bound->where));
}

static int
memory_add_bound(struct memory *memory, const char *dir, size_t which)
{
	struct bound bound = { .version = bound_files[which].version, .stat_fd = -1 }, *bounds;

	bound.limit_fd = open_in(dir, bound_files[which].limit);
	bound.usage_fd = open_in(dir, bound_files[which].usage);
	if (bound.limit_fd < 0 || bound.usage_fd < 0) {
		/* The root, or the controller is not enabled here: no limit. */
		bound_deinit(&bound);
		return 0;
	}
	bound.stat_fd = open_in(dir, "memory.stat");
	bounds = reallocarray(memory->bounds, memory->n_bounds + 1, sizeof(*bounds));
	if (bounds)
		memory->bounds = bounds;
	if (!bounds || asprintf(&bound.where, "%s/%s", dir, bound_files[which].limit) < 0) {
		bound.where = NULL;
		bound_deinit(&bound);
		return -ENOMEM;
	}
	memory->bounds[memory->n_bounds++] = bound;
	return 0;
}

static int
memory_add_cgroup(const char *dir, enum cgroup_version version, void *arg)
{
	int r = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(bound_files) && r == 0; i++)
		if (bound_files[i].version == version)
			r = memory_add_bound(arg, dir, i);
	return r;
}

/* Reads a file from its start; its text in buf. */
static int
read_text(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = pread(fd, buf, size - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

/* A file that holds one number or "max". */
static int
read_number(int fd, uint64_t *ret_value)
{
	char buf[32], *end;
	uint64_t value;
	int r = read_text(fd, buf, sizeof(buf));

	if (r < 0)
		return r;
	if (strncmp(buf, "max", 3) == 0) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	errno = 0;
	value = strtoull(buf, &end, 10);
	if (errno || end == buf)
		return -EPROTO;
	*ret_value = value;
	return 0;
}

/* The number after a key that begins a line. */
static bool
text_value(const char *text, const char *key, uint64_t *ret_value)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0 && p[len] == ' ') {
			*ret_value = strtoull(p + len, NULL, 10);
			return true;
		}
	}
	return false;
}

/* Page cache that the cgroup and those below it would give up at a limit; 0 where that cannot be read. */
static uint64_t
bound_reclaimable(const struct bound *bound)
{
	static const char *const keys[CGROUP_VERSION_N][4] = {
		[CGROUP_V1] = { "total_inactive_file", "total_active_file", "total_dirty", "total_writeback" },
		[CGROUP_V2] = { "inactive_file", "active_file", "file_dirty", "file_writeback" },
	};
	uint64_t v[4] = { 0 }, clean;
	char text[8192];

	if (bound->stat_fd < 0 || read_text(bound->stat_fd, text, sizeof(text)) < 0)
		return 0;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(v); i++)
		(void)text_value(text, keys[bound->version][i], &v[i]);
	clean = v[0] + v[1] / 2;
	return clean - min_u64(clean, v[2] + v[3]);
}

/* Lets the bound reduce *headroom. */
static void
bound_apply(const struct bound *bound, uint64_t needed_bytes, struct memory_headroom *headroom,
    const char **where)
{
	uint64_t limit, used, left;

	/* ENODEV: the cgroup is gone. What cannot be read sets no limit. */
	if (read_number(bound->limit_fd, &limit) < 0 || limit >= MEMORY_UNLIMITED ||
	    read_number(bound->usage_fd, &used) < 0)
		return;
	left = limit - min_u64(limit, used);
	if (left >= headroom->bytes)
		return;
	if (left < needed_bytes) {
		used -= min_u64(used, bound_reclaimable(bound));
		left = limit - min_u64(limit, used);
		if (left >= headroom->bytes)
			return;
	}
	headroom->bytes = left;
	headroom->limit = MEMORY_LIMIT_CGROUP;
	headroom->limit_bytes = limit;
	headroom->used_bytes = used;
	*where = bound->where;
}

int
memory_headroom_for(struct memory *memory, uint64_t reserve_bytes, uint64_t needed_bytes,
    struct memory_headroom *ret_headroom)
{
	struct memory_headroom headroom = { .limit = MEMORY_LIMIT_AVAILABLE, .used_bytes = reserve_bytes };
	const char *where = memory->meminfo;
	uint64_t available_kib;
	char text[4096];
	size_t len;
	int r;

	r = read_text(memory->meminfo_fd, text, sizeof(text));
	if (r < 0)
		return r;
	if (!text_value(text, "MemAvailable:", &available_kib))
		return -EPROTO;
	headroom.limit_bytes = available_kib * KIB;
	headroom.bytes = headroom.limit_bytes - min_u64(headroom.limit_bytes, reserve_bytes);
	for (size_t i = 0; i < memory->n_bounds; i++)
		bound_apply(&memory->bounds[i], needed_bytes, &headroom, &where);

	/* Of a path that is too long the end says more: it names the file. */
	len = strlen(where);
	if (len >= sizeof(headroom.where))
		where += len - sizeof(headroom.where) + 1;
	(void)stpcpy(headroom.where, where);
	*ret_headroom = headroom;
	return 0;
}

int
memory_headroom(struct memory *memory, uint64_t reserve_bytes, struct memory_headroom *ret_headroom)
{
	return memory_headroom_for(memory, reserve_bytes, UINT64_MAX, ret_headroom);
}

struct memory *
memory_free(struct memory *memory)
{
	if (!memory)
		return NULL;
	for (size_t i = 0; i < memory->n_bounds; i++)
		bound_deinit(&memory->bounds[i]);
	free(memory->bounds);
	free(memory->meminfo);
	close_fd(&memory->meminfo_fd);
	free(memory);
	return NULL;
}

int
memory_new_at(const char *root, pid_t pid, struct memory **ret_memory)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	int r;

	if (!memory)
		return -ENOMEM;
	memory->meminfo_fd = -1;
	if (asprintf(&memory->meminfo, "%s/proc/meminfo", root) < 0) {
		memory->meminfo = NULL;
		r = -ENOMEM;
		goto fail;
	}
	memory->meminfo_fd = open(memory->meminfo, O_RDONLY | O_CLOEXEC);
	if (memory->meminfo_fd < 0) {
		r = -errno;
		goto fail;
	}
	r = cgroup_walk(root, pid, "memory", memory_add_cgroup, memory);
	if (r < 0)
		goto fail;
	*ret_memory = memory;
	return 0;
fail:
	memory_free(memory);
	return r;
}

int
memory_new(struct memory **ret_memory)
{
	return memory_new_at("", 0, ret_memory);
}
