/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <sys/file.h>

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

static int
pool_write(uint64_t page_bytes, unsigned node, uint64_t n_pages)
{
	char path[160], text[32];
	cleanup_close int fd = open(pool_path(path, sizeof(path), page_bytes, node), O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)n_pages);

	return fd < 0 || write(fd, text, (size_t)n) < 0 ? -errno : 0;
}

/* 0 where there is no such pool. */
static uint64_t
pool_read(uint64_t page_bytes, unsigned node)
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
				borrowed.n_pages[i][node] = pool_read(sizes[i], node);
}

void
pool_give_back(void)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(sizes); i++)
		for (unsigned node = 0; node < NODES_MAX; node++)
			if ((borrowed.nodes >> node & 1) && pool_read(sizes[i], node) != borrowed.n_pages[i][node])
				(void)pool_write(sizes[i], node, borrowed.n_pages[i][node]);
	close_fd(&borrowed.lock_fd);
}

uint64_t
pool_free(uint64_t page_bytes)
{
	struct pool pool;

	ck_assert_int_eq(pools_read(page_bytes, &pool), 0);
	return pool.n_free - min_u64(pool.n_free, pool.n_reserved);
}

void
pool_set_free(uint64_t page_bytes, int node, uint64_t n_pages)
{
	unsigned at = node < 0 ? (unsigned)__builtin_ctzll(borrowed.nodes) : (unsigned)node;
	struct pool pool;
	int r;

	if (borrowed.lock_fd < 0 || pools_read(page_bytes, &pool) < 0)
		harness_skip("this kernel or this CPU has no huge pages of %llu MiB", (unsigned long long)(page_bytes / MIB));
	for (unsigned i = 0; i < NODES_MAX; i++) {
		if (!(borrowed.nodes >> i & 1) || (i != at && node >= 0))
			continue;
		/* What others use of it stays theirs: the kernel makes it no smaller than that. */
		r = pool_write(page_bytes, i, 0);
		if (r == 0 && i == at && n_pages)
			r = pool_write(page_bytes, i, pool_read(page_bytes, i) + n_pages);
		if (r < 0)
			harness_skip("the pool of huge pages cannot be changed: %s", strerror(-r));
	}
	if (node < 0 && pool_free(page_bytes) != n_pages)
		harness_skip("the kernel gives %llu free pages of %llu MiB, and %llu are needed: memory is fragmented, or in use",
		    (unsigned long long)pool_free(page_bytes), (unsigned long long)(page_bytes / MIB), (unsigned long long)n_pages);
}

void
pool_enlarge(uint64_t page_bytes, unsigned node, uint64_t n_pages)
{
	int r = pool_write(page_bytes, node, pool_read(page_bytes, node) + n_pages);

	if (r < 0)
		harness_skip("the pool of huge pages of node %u cannot be enlarged: %s", node, strerror(-r));
}
