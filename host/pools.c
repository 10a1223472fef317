/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What may be taken of a pool of huge pages.
 *
 * A page that is free may be reserved: somebody mapped it and has not touched it yet. The kernel counts reserved pages for the
 * pool as a whole only, so that of a node's part it is known what is free, and not whose it is: the less of both is what
 * may be had. Overcommitting adds pages from common memory when they are reserved; those a node has none of before.
 */
#include "config.h"

#include "base/base.h"
#include "host/cgroup.h"
#include "host/file.h"
#include "host/nodes.h"
#include "host/pools.h"

#define POOL_DIR	"/sys/kernel/mm/hugepages/hugepages-%llukB"
#define PATH_SIZE	256
#define READS		16		/* of numbers that belong together, while they change */
#define UNLIMITED	(UINT64_C(1) << 60)	/* v1 writes the largest number of whole pages for "no limit" */

/* A pool's file; a kernel that has the pool has all of them but the last: overcommitting is not for every size. */
static int
pool_read_file(const char *root, uint64_t page_bytes, const char *name, uint64_t *ret_value)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), POOL_DIR "/%s", (unsigned long long)(page_bytes / KIB), name);
	return file_read_number(root, path, ret_value);
}

int
pools_read_at(const char *root, uint64_t page_bytes, struct pool *ret_pool)
{
	struct pool pool = { .page_bytes = page_bytes };
	uint64_t before = 0;
	int r;

	r = pool_read_file(root, page_bytes, "nr_hugepages", &pool.n_pages);
	if (r == 0)
		r = pool_read_file(root, page_bytes, "resv_hugepages", &pool.n_reserved);
	/* A reserved page that is touched is neither free nor reserved any more: seen by one number only it would be another's. */
	for (unsigned i = 0; r == 0 && (i == 0 || (before != pool.n_reserved && i < READS)); i++) {
		before = pool.n_reserved;
		r = pool_read_file(root, page_bytes, "free_hugepages", &pool.n_free);
		if (r == 0)
			r = pool_read_file(root, page_bytes, "resv_hugepages", &pool.n_reserved);
	}
	if (r < 0)
		return r;
	if (pool_read_file(root, page_bytes, "surplus_hugepages", &pool.n_surplus) < 0 ||
	    pool_read_file(root, page_bytes, "nr_overcommit_hugepages", &pool.n_overcommit) < 0)
		pool.n_overcommit = pool.n_surplus = 0;
	*ret_pool = pool;
	return 0;
}

int
pools_read(uint64_t page_bytes, struct pool *ret_pool)
{
	return pools_read_at("", page_bytes, ret_pool);
}

static const char *
node_path(char *buf, size_t size, unsigned node, uint64_t page_bytes, const char *name)
{
	(void)snprintf(buf, size, "/sys/devices/system/node/node%u/hugepages/hugepages-%llukB/%s", node,
	    (unsigned long long)(page_bytes / KIB), name);
	return buf;
}

/* Lets the nodes' parts of the pool reduce the room. Pages that are added there are not counted on. */
static void
room_apply_nodes(const char *root, struct pools_room *room)
{
	unsigned first = (unsigned)__builtin_ctzll(room->nodes);
	uint64_t page_bytes = room->pool.page_bytes, n_free = 0, n;
	char path[PATH_SIZE];

	for (unsigned i = 0; i < NODES_MAX; i++)
		if ((room->nodes >> i & 1) &&
		    file_read_number(root, node_path(path, sizeof(path), i, page_bytes, "free_hugepages"), &n) == 0)
			n_free += n;
	/* Whichever limit it is: more pages for a node are asked for there. */
	(void)node_path(room->where, sizeof(room->where), first, page_bytes, "nr_hugepages");
	if (file_read_number(root, room->where, &room->node_pages) < 0)
		room->node_pages = 0;
	room->free_bytes = n_free * page_bytes;
	if (room->free_bytes >= room->bytes)
		return;
	room->bytes = room->free_bytes;
	room->added_bytes = 0;
	room->limit = POOLS_LIMIT_NODES;
}

/* The limits of a hugetlb cgroup, and the use that each bounds; %s is the page size. */
static const struct {
	enum cgroup_version version;
	const char *limit;
	const char *usage;
} bounds[] = {
	{ CGROUP_V2, "%s/hugetlb.%s.rsvd.max", "%s/hugetlb.%s.rsvd.current" },
	{ CGROUP_V2, "%s/hugetlb.%s.max", "%s/hugetlb.%s.current" },
	{ CGROUP_V1, "%s/hugetlb.%s.rsvd.limit_in_bytes", "%s/hugetlb.%s.rsvd.usage_in_bytes" },
	{ CGROUP_V1, "%s/hugetlb.%s.limit_in_bytes", "%s/hugetlb.%s.usage_in_bytes" },
};

/* The directory that the walk gives has the root before it already. */
static bool
read_bound(const char *format, const char *dir, const char *size_name, char *path, size_t path_size, uint64_t *ret_value)
{
	/* The formats are the table's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(path, path_size, format, dir, size_name);
#pragma GCC diagnostic pop
	return file_read_number("", path, ret_value) == 0;
}

static int
room_apply_cgroup(const char *dir, enum cgroup_version version, void *arg)
{
	struct pools_room *room = arg;
	uint64_t page_bytes = room->pool.page_bytes, limit, used, left;
	char path[4096], usage_path[4096], size_name[32];

	(void)snprintf(size_name, sizeof(size_name), page_bytes >= GIB ? "%lluGB" : page_bytes >= MIB ? "%lluMB" : "%lluKB",
	    (unsigned long long)(page_bytes / (page_bytes >= GIB ? GIB : page_bytes >= MIB ? MIB : KIB)));
	for (size_t i = 0; i < BASE_ARRAY_SIZE(bounds); i++) {
		size_t len;

		if (bounds[i].version != version ||
		    !read_bound(bounds[i].limit, dir, size_name, path, sizeof(path), &limit) || limit >= UNLIMITED ||
		    !read_bound(bounds[i].usage, dir, size_name, usage_path, sizeof(usage_path), &used))
			continue;
		left = (limit - min_u64(limit, used)) / page_bytes * page_bytes;
		if (left >= room->bytes)
			continue;
		room->added_bytes -= min_u64(room->added_bytes, room->bytes - left);
		room->bytes = left;
		room->limit = POOLS_LIMIT_CGROUP;
		room->limit_bytes = limit;
		room->used_bytes = used;
		/* Of a path that is too long the end says more: it names the file. */
		len = strlen(path);
		(void)stpcpy(room->where, path + (len >= sizeof(room->where) ? len - sizeof(room->where) + 1 : 0));
	}
	return 0;
}

int
pools_room_at(const char *root, pid_t pid, uint64_t page_bytes, uint64_t nodes, struct pools_room *ret_room)
{
	struct pools_room room = { .limit = POOLS_LIMIT_POOL, .nodes = nodes, .pool.page_bytes = page_bytes };
	uint64_t n_free, n_added;
	int r = pools_read_at(root, page_bytes, &room.pool);

	if (r == -ENOENT) {
		room.limit = POOLS_LIMIT_NONE;
		*ret_room = room;
		return 0;
	}
	if (r < 0)
		return r;
	n_free = room.pool.n_free - min_u64(room.pool.n_free, room.pool.n_reserved);
	n_added = room.pool.n_overcommit - min_u64(room.pool.n_overcommit, room.pool.n_surplus);
	room.bytes = (n_free + n_added) * page_bytes;
	room.added_bytes = n_added * page_bytes;
	(void)snprintf(room.where, sizeof(room.where), POOL_DIR "/nr_hugepages", (unsigned long long)(page_bytes / KIB));
	if (nodes)
		room_apply_nodes(root, &room);
	r = cgroup_walk(root, pid, "hugetlb", room_apply_cgroup, &room);
	if (r < 0)
		return r;
	*ret_room = room;
	return 0;
}

int
pools_room(uint64_t page_bytes, uint64_t nodes, struct pools_room *ret_room)
{
	return pools_room_at("", 0, page_bytes, nodes, ret_room);
}
