/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The host's memory: what is available, what the memory cgroups above this process leave, whether huge pages are to be
 * had for shared memory. Reads only.
 */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of the headroom left alone when a segment is judged: a worker wants two steps and some more before it takes one. */
#define MEMORY_SLACK_BYTES	((uint64_t)40 << 20)

struct memory;

/* How shared memory gets transparent huge pages on this host (facts of /sys/kernel/mm/transparent_hugepage). */
enum memory_huge {
	MEMORY_HUGE_NONE,		/* no huge pages: not built in, or shmem_enabled is deny */
	MEMORY_HUGE_ADVISE,		/* MADV_HUGEPAGE acts: shmem_enabled is advise, within_size, always or force */
	MEMORY_HUGE_COLLAPSE,		/* shmem_enabled is never, but MADV_COLLAPSE (6.1) does not ask it */
};

/* What limits the next allocation. */
enum memory_limit {
	MEMORY_LIMIT_AVAILABLE,		/* MemAvailable less the reserve */
	MEMORY_LIMIT_CGROUP,		/* memory.max or memory.high of a cgroup above, or v1's limit_in_bytes */
};

struct memory_headroom {
	uint64_t bytes;			/* that may be allocated now: the least of all limits */
	enum memory_limit limit;	/* which one is the least */
	uint64_t limit_bytes;		/* its setting: MemAvailable, or max or high of the cgroup */
	uint64_t used_bytes;		/* the reserve, or the cgroup's use without the page cache it would give up */
	char where[256];		/* the file that says so, as in /sys/fs/cgroup/a/memory.max */
};

/*
 * Opens what will be asked: /proc/meminfo and the memory files of every cgroup above this process (v2 and v1), once; the
 * questions after that are preads. A cgroup that goes away or cannot be read sets no limit. 0 or -ENOMEM, or the error of
 * opening /proc/meminfo.
 */
int memory_new(struct memory **ret_memory);
/* The same of another process (0: of this one), below another root directory ("" but for tests). */
int memory_new_at(const char *root, pid_t pid, struct memory **ret_memory);
struct memory *memory_free(struct memory *memory);

/* What may be allocated now while reserve_bytes of the available memory stay free. 0 or the negative errno of reading. */
int memory_headroom(struct memory *memory, uint64_t reserve_bytes, struct memory_headroom *ret_headroom);
/*
 * The same for who needs to know only whether needed_bytes can be had: page cache that a cgroup would give up is looked
 * at, which costs more than all the rest, only where needed_bytes do not fit without it.
 */
int memory_headroom_for(struct memory *memory, uint64_t reserve_bytes, uint64_t needed_bytes,
    struct memory_headroom *ret_headroom);

/* How huge pages are to be had for shared memory, and the size of one (2 MiB on x86-64). */
enum memory_huge memory_huge(uint64_t *ret_page_bytes);
/* The same by another root's files, for tests. */
enum memory_huge memory_huge_at(const char *root, uint64_t *ret_page_bytes);

#endif
