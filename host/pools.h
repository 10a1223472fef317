/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The pools of huge pages (hugetlb), and what may be taken of them: by the pool, by its part on some nodes, and by the hugetlb
 * cgroups above this process. Reads only.
 */
#ifndef HOST_POOLS_H
#define HOST_POOLS_H

#include <stdint.h>
#include <sys/types.h>

/* One pool, in pages. */
struct pool {
	uint64_t page_bytes;
	uint64_t n_pages;		/* with those that overcommitting added */
	uint64_t n_free;
	uint64_t n_reserved;		/* of them: somebody's already */
	uint64_t n_surplus;		/* added for the time being */
	uint64_t n_overcommit;		/* that may be added so */
};

/* The pool of a page size. 0, or a negative errno: -ENOENT where the kernel has none of it. */
int pools_read(uint64_t page_bytes, struct pool *ret_pool);
int pools_read_at(const char *root, uint64_t page_bytes, struct pool *ret_pool);	/* below another root, for tests */

enum pools_limit {
	POOLS_LIMIT_NONE,		/* there is no pool: the kernel has no pages of this size */
	POOLS_LIMIT_POOL,
	POOLS_LIMIT_NODES,		/* the part of it on the nodes that were asked about */
	POOLS_LIMIT_CGROUP
};

/*
 * Between the look at a pool and the mapping that takes of it others come and go. Who is refused looks again: what does not fit
 * now is said, and what fits is asked for once more, so many times in all.
 */
#define POOLS_TRIES	4

struct pools_room {
	uint64_t bytes;			/* that may be taken now: the least of all limits */
	uint64_t added_bytes;		/* of them, the last so many are not in the pool: the kernel takes them of common memory */
	enum pools_limit limit;		/* which one is the least */
	uint64_t nodes;			/* that were asked about */
	struct pool pool;
	uint64_t free_bytes;		/* on the nodes */
	uint64_t node_pages;		/* of the first of them: its part of the pool */
	uint64_t limit_bytes;		/* the cgroup's setting and its use, where that is the limit */
	uint64_t used_bytes;
	char where[256];		/* the file that says so */
};

/*
 * What may be taken of the pool of a page size, on the nodes of a mask or with 0 on all. 0 or a negative errno. A cgroup that
 * cannot be read sets no limit. Pages are judged reserved ones: they count against rsvd.max and max alike.
 */
int pools_room(uint64_t page_bytes, uint64_t nodes, struct pools_room *ret_room);
/* The same of another process (0: of this one), below another root ("" but for tests). */
int pools_room_at(const char *root, pid_t pid, uint64_t page_bytes, uint64_t nodes, struct pools_room *ret_room);

#endif
