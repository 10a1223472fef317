/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "host/nodes.h"
#include "host/pools.h"
#include "tests/system/pool.h"

#define SYSTEM_DIR	"/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages"
#define NODE_DIR	"/sys/devices/system/node/node%u/hugepages/hugepages-%llukB/nr_hugepages"

static const uint64_t sizes[] = { 2 * MIB, GIB };

static struct {
	int lock_fd;			/* of the pool itself: who else borrows it waits */
	uint64_t n_pages[BASE_ARRAY_SIZE(sizes)][NODES_MAX];
	uint64_t nodes;
} borrowed = { .lock_fd = -1 };

static const char *
pool_path(char *buf, size_t size, uint64_t page_bytes, unsigned node)
{
	(void)snprintf(buf, size, NODE_DIR, node, (unsigned long long)(page_bytes / KIB));
	if (access(buf, F_OK) < 0 && node == 0)
		(void)snprintf(buf, size, SYSTEM_DIR, (unsigned long long)(page_bytes / KIB));
	return buf;
}

/* Linux 5.14; for older headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

static int
pool_write(uint64_t page_bytes, unsigned node, uint64_t n_pages)
{
	char path[160], text[32];
	cleanup_close int fd = open(pool_path(path, sizeof(path), page_bytes, node), O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)n_pages);

	return fd < 0 || write(fd, text, (size_t)n) < 0 ? -errno : 0;
}

/* 0 where there is no such pool. */
uint64_t
pool_pages(uint64_t page_bytes, unsigned node)
{
	char path[160], text[32] = "";
	cleanup_close int fd = open(pool_path(path, sizeof(path), page_bytes, node), O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? strtoull(text, NULL, 10) : 0;
}

void
pool_borrow(void)
{
	borrowed.nodes = nodes_there();
	borrowed.lock_fd = open("/proc/sys/vm/nr_hugepages", O_RDONLY | O_CLOEXEC);
	if (borrowed.lock_fd >= 0)
		(void)flock(borrowed.lock_fd, LOCK_EX);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(sizes); i++)
		for (unsigned node = 0; node < NODES_MAX; node++)
			if (borrowed.nodes >> node & 1)
				borrowed.n_pages[i][node] = pool_pages(sizes[i], node);
}

/* What a process that was killed had of it comes back a moment after its end, and until then cannot be taken out. */
static void
pool_restore(uint64_t page_bytes, unsigned node, uint64_t n_pages)
{
	uint64_t deadline_ns = harness_clock_ns() + 5 * NS_PER_SEC;

	while (pool_pages(page_bytes, node) != n_pages && harness_clock_ns() < deadline_ns) {
		if (pool_write(page_bytes, node, n_pages) < 0)
			return;
		(void)sched_yield();
	}
}

void
pool_give_back(void)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(sizes); i++)
		for (unsigned node = 0; node < NODES_MAX; node++)
			if (borrowed.nodes >> node & 1)
				pool_restore(sizes[i], node, borrowed.n_pages[i][node]);
	close_fd(&borrowed.lock_fd);
}

uint64_t
pool_free(uint64_t page_bytes)
{
	struct pool pool;

	ck_assert_int_eq(pools_read(page_bytes, &pool), 0);
	return pool.n_free - min_u64(pool.n_free, pool.n_reserved);
}

/* What is free on a node. */
static uint64_t
pool_node_free(uint64_t page_bytes, unsigned node)
{
	struct pools_room room;

	ck_assert_int_eq(pools_room(page_bytes, (uint64_t)1 << node, &room), 0);
	return room.free_bytes / page_bytes;
}

/*
 * Pages that are too many are taken by this process, and not out of the pool: who runs the tests may not get them back into
 * it. Without a node they are reserved; of a node they have to be touched.
 */
static void
pool_hold(uint64_t page_bytes, int node, uint64_t n_pages)
{
	unsigned flags = 0x4u | (unsigned)__builtin_ctzll(page_bytes) << 26;	/* MFD_HUGETLB, and the size */
	unsigned long mask = node < 0 ? 0 : 1ul << node;
	size_t length = n_pages * page_bytes;
	int fd = memfd_create("segmentd-test", MFD_CLOEXEC | flags);
	void *map;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	harness_assert(map != MAP_FAILED, "%" PRIu64 " free pages are not to be had: %s", n_pages, strerror(errno));
	ck_assert_int_eq(madvise(map, length, MADV_DONTFORK), 0);
	if (node < 0)
		return;
	harness_assert(syscall(SYS_mbind, map, length, MPOL_BIND, &mask, 65, 0) == 0, "mbind: %s", strerror(errno));
	harness_assert(madvise(map, length, MADV_POPULATE_WRITE) == 0, "%" PRIu64 " free pages of node %d: %s", n_pages, node,
	    strerror(errno));
}

void
pool_set_free(uint64_t page_bytes, int node, uint64_t n_pages)
{
	unsigned at = node < 0 ? (unsigned)__builtin_ctzll(borrowed.nodes) : (unsigned)node;
	struct pool pool;
	uint64_t n_free;

	if (borrowed.lock_fd < 0 || pools_read(page_bytes, &pool) < 0)
		harness_skip("this kernel or this CPU has no huge pages of %llu MiB", (unsigned long long)(page_bytes / MIB));
	n_free = node < 0 ? pool_free(page_bytes) : pool_node_free(page_bytes, at);
	if (n_free < n_pages)
		pool_enlarge(page_bytes, at, n_pages - n_free);
	else if (n_free > n_pages)
		pool_hold(page_bytes, node, n_free - n_pages);
	n_free = node < 0 ? pool_free(page_bytes) : pool_node_free(page_bytes, at);
	if (n_free != n_pages)
		harness_skip("the kernel gives %" PRIu64 " free pages of %" PRIu64 " MiB, and %" PRIu64 " are needed: memory is "
		    "fragmented, or in use", n_free, page_bytes / MIB, n_pages);
}

void
pool_enlarge(uint64_t page_bytes, unsigned node, uint64_t n_pages)
{
	int r = pool_write(page_bytes, node, pool_pages(page_bytes, node) + n_pages);

	if (r < 0)
		harness_skip("the pool of huge pages of node %u cannot be enlarged: %s", node, strerror(-r));
}
