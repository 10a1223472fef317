/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about the pools of huge pages, and about nodes. */
#include "config.h"

#include "base/base.h"
#include "host/findings.h"

#define SIZE_TEXT	32

/* How to make the pool larger by what is missing. 2 MiB is the default size of x86-64, which the sysctl is about. */
static void
pool_remedy(char *buf, size_t size, uint64_t missing_pages, const struct pools_room *room)
{
	unsigned long long kib = room->pool.page_bytes / KIB;
	unsigned long long n_pages = room->pool.n_pages - min_u64(room->pool.n_pages, room->pool.n_surplus) + missing_pages;

	/* Of the pool as a whole the kernel takes more from all nodes alike. */
	if (room->nodes)
		(void)snprintf(buf, size, "`echo %llu > %s`, early after boot",
		    (unsigned long long)(room->node_pages + missing_pages), room->where);
	else if (room->pool.page_bytes == 2 * MIB)
		(void)snprintf(buf, size, "`sysctl -w vm.nr_hugepages=%llu`, early after boot, or hugepages=%llu on the kernel's "
		    "command line", n_pages, n_pages);
	else
		(void)snprintf(buf, size, "hugepagesz=%lluM hugepages=%llu on the kernel's command line, or `echo %llu > "
		    "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages`, early after boot", kib / 1024, n_pages, n_pages, kib);
}

void
findings_pool(char *buf, size_t size, uint64_t needed_bytes, const struct pools_room *room)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], page[SIZE_TEXT], limit[SIZE_TEXT], used[SIZE_TEXT], nodes[NODES_TEXT_SIZE],
	    remedy[320];
	uint64_t missing_bytes = needed_bytes - min_u64(needed_bytes, room->bytes);
	const struct pool *pool = &room->pool;

	(void)findings_size(needed, sizeof(needed), needed_bytes);
	(void)findings_size(left, sizeof(left), room->bytes);
	(void)findings_size(page, sizeof(page), pool->page_bytes);
	if (room->limit == POOLS_LIMIT_NONE) {
		(void)snprintf(buf, size, "this kernel or this CPU has no huge pages of %s. Remedy: another page_size, or "
		    "placement = \"prefer\"", page);
		return;
	}
	if (room->limit == POOLS_LIMIT_CGROUP) {
		(void)snprintf(buf, size, "%s of %s pages are needed, but the hugetlb cgroup leaves %s: %s is %s, %s are in use. "
		    "Remedy: a smaller segment, or `echo %llu > %s`", needed, page, left, room->where,
		    findings_size(limit, sizeof(limit), room->limit_bytes), findings_size(used, sizeof(used), room->used_bytes),
		    (unsigned long long)(room->limit_bytes + missing_bytes), room->where);
		return;
	}
	pool_remedy(remedy, sizeof(remedy), (missing_bytes + pool->page_bytes - 1) / pool->page_bytes, room);
	if (room->limit == POOLS_LIMIT_NODES)
		(void)snprintf(buf, size, "%s of %s pages are needed on node %s, but its part of the pool has %s. Remedy: %s; other "
		    "nodes; or placement = \"prefer\"", needed, page, nodes_format(nodes, sizeof(nodes), room->nodes), left, remedy);
	else
		(void)snprintf(buf, size, "%s of %s pages are needed, but the pool has %s: pages in it %llu, of them free %llu, of "
		    "those reserved for others %llu. Remedy: %s; or placement = \"prefer\"", needed, page, left,
		    (unsigned long long)pool->n_pages, (unsigned long long)pool->n_free,
		    (unsigned long long)(pool->n_free - min_u64(pool->n_free, room->bytes / pool->page_bytes)), remedy);
}

void
findings_pool_group(char *buf, size_t size, uint32_t gid)
{
	(void)snprintf(buf, size, "System V memory of huge pages is for CAP_IPC_LOCK, and for members of group "
	    "vm.hugetlb_shm_group. Remedy: `sysctl -w vm.hugetlb_shm_group=%u`, or AmbientCapabilities=CAP_IPC_LOCK in the unit "
	    "(`systemctl edit " SERVICE_UNIT "`, below [Service])", (unsigned)gid);
}

void
findings_page_size_base(char *buf, size_t size, uint64_t huge_bytes)
{
	char huge[SIZE_TEXT];

	(void)snprintf(buf, size, "page_size = \"base\" was asked for, but %s are on huge pages, which the host gives unasked. "
	    "Remedy: `echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled`, or page_size = \"auto\"",
	    findings_size(huge, sizeof(huge), huge_bytes));
}

void
findings_nodes_missing(char *buf, size_t size, uint64_t asked, uint64_t there)
{
	char missing[NODES_TEXT_SIZE], had[NODES_TEXT_SIZE];

	(void)snprintf(buf, size, "numa names node %s, which is not there for segmentd: the nodes with memory that it may use "
	    "are %s. Remedy: name those; or, where a node is there and kept away, AllowedMemoryNodes= in its unit",
	    nodes_format(missing, sizeof(missing), asked & ~there), nodes_format(had, sizeof(had), there));
}

void
findings_nodes_memory(char *buf, size_t size, uint64_t nodes, uint64_t needed_bytes, uint64_t left_bytes)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], names[NODES_TEXT_SIZE];

	(void)nodes_format(names, sizeof(names), nodes);
	(void)snprintf(buf, size, "%s of memory are needed on node %s, but %s are left there, page cache that could be given up "
	    "included. Remedy: a smaller segment, more nodes, numa = \"preferred:N\", or `numastat -m` to see who has it",
	    findings_size(needed, sizeof(needed), needed_bytes), names, findings_size(left, sizeof(left), left_bytes));
}

void
findings_nodes_spread(char *buf, size_t size, const char *numa, uint64_t nodes, const uint64_t *node_bytes)
{
	char names[NODES_TEXT_SIZE], bytes[SIZE_TEXT];
	size_t n = (size_t)snprintf(buf, size, "numa = \"%s%s%s\" was asked for, but its memory is spread so:", numa,
	    nodes ? ":" : "", nodes ? nodes_format(names, sizeof(names), nodes) : "");

	for (unsigned i = 0; i < NODES_MAX; i++)
		if (node_bytes[i] && n < size)
			n += (size_t)snprintf(buf + n, size - n, " %s on node %u,",
			    findings_size(bytes, sizeof(bytes), node_bytes[i]), i);
	if (n && n < size)
		(void)snprintf(buf + n - 1, size - n + 1, ". Remedy: give the nodes room (`numastat -m` shows who has it), then "
		    "retry; or placement = \"prefer\"");
}
