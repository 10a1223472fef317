/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Making a range of an object resident, and giving its pages back.
 *
 * At a memory cgroup's limit the kernel refuses nothing: it kills who allocates. So a range is populated in steps, and
 * each begins with the question whether there is memory for it. Others allocate meanwhile, other workers among them, so
 * that more is asked for than the step takes; and this is a process that may be killed.
 *
 * The object may be in use: clients may map it and store. Nothing here stores to it: pages are populated by madvise, or,
 * where the kernel has no such advice, by an atomic addition of nothing.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/file.h"
#include "daemon/worker/object.h"
#include "daemon/worker/placement.h"
#include "daemon/worker/populate.h"
#include "host/findings.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25		/* 6.1; glibc 2.37 */
#endif

/*
 * The least that one question allows: 2 ms of work with huge pages, where a question takes 10 us. Where there is plenty
 * it allows more, see step_bytes().
 */
#define STEP_BYTES	(16 * MIB)

/* Left alone for what else lives in the cgroup: page tables, sockets, stacks. */
#define SLACK_BYTES	(8 * MIB)

/* Of one call that said "try again", before it is done another way. */
#define TRIES		3

#define RESERVE_BYTES	(16 * MIB)	/* of a file's blocks by one call: 10 ms where they are memory, and less on a disk */
#define FREE_BYTES	(32 * MIB)	/* given back by one call: others fault in between */

struct range {
	int fd;
	const struct job_object *object;
	uint64_t offset;		/* in the object */
	struct object_map map;
	char *start;			/* the map's, on a huge page's boundary */
	size_t length;
	size_t page_bytes;
	size_t huge_bytes;
	enum memory_huge huge;
	bool is_reserved_only;		/* of a file: its blocks are wanted, and no pages */
	bool takes_memory;
	struct placement placement;
	uint64_t nodes;			/* that it is bound to; 0: any will do */
};

static bool
range_is_file(const struct range *range)
{
	return range->object->kind == JOB_OBJECT_FILE;
}

/* Whether its mapping takes of the pool what no other has taken for the object before. */
static bool
range_reserves(const struct range *range)
{
	const struct job *job = range->placement.job;

	return range->object->page_bytes && range->object->kind == JOB_OBJECT_FD &&
	    (job->kind == JOB_RESERVE_POOL || (job->flags & JOB_GROWTH));
}

/* See POOLS_TRIES. */
static int
range_map_of_pool(struct range *range, size_t map_bytes, struct job_result *result)
{
	struct pools_room room;
	int r = -ENOMEM;

	for (unsigned i = 0; r == -ENOMEM && i < POOLS_TRIES; i++) {
		r = object_map(range->fd, range->object, range->offset, map_bytes, range->huge_bytes, &range->map);
		if (r == -ENOMEM && pools_room(range->object->page_bytes, range->nodes, &room) == 0 && room.bytes < map_bytes) {
			findings_pool(result->text, sizeof(result->text), map_bytes, &room);
			return JOB_E_MEMORY;
		}
	}
	if (r < 0)
		(void)snprintf(result->text, sizeof(result->text), "the kernel does not reserve %zu bytes of the pool of huge "
		    "pages: %s; retry", map_bytes, strerror(-r));
	return r;
}

/* Maps the job's range so that huge pages can map it. */
static int
range_map(struct range *range, struct job_result *result)
{
	size_t map_bytes = round_up(range->length, range->page_bytes);
	int r;

	if (range_reserves(range)) {
		r = range_map_of_pool(range, map_bytes, result);
	} else {
		r = object_map(range->fd, range->object, range->offset, map_bytes, range->huge_bytes, &range->map);
		if (r)
			(void)snprintf(result->text, sizeof(result->text),
			    "cannot map %zu bytes at offset %llu to populate them: %s", map_bytes,
			    (unsigned long long)range->offset, strerror(-r));
	}
	range->start = range->map.start;
	return r;
}

/* Populates [at, at + length) with whatever pages the mapping's advice gives. */
static int
populate_plain(struct range *range, char *at, size_t length)
{
	while (madvise(at, length, MADV_POPULATE_WRITE) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno != EINVAL)
			return errno == EFAULT ? -ENOMEM : -errno;
		/*
		 * COMPAT(linux 5.14): no MADV_POPULATE_WRITE. Reserving first makes a full file system an error; what
		 * is then punched by a client and cannot be had again is SIGBUS, which costs this worker.
		 */
		while (range->object->kind == JOB_OBJECT_FD && fallocate(range->fd, FALLOC_FL_KEEP_SIZE,
		    (off_t)(range->offset + (uint64_t)(at - range->start)), (off_t)length) < 0)
			if (errno != EINTR)
				return -errno;
		for (size_t i = 0; i < length; i += range->page_bytes)
			(void)__atomic_fetch_add(at + i, 0, __ATOMIC_RELAXED);
		return 0;
	}
	return 0;
}

/* A huge page is on the node of the one base page that it is made of. */
static void
range_aim(const struct range *range, const char *at)
{
	placement_aim(&range->placement, (range->offset + (uint64_t)(at - range->start)) / range->huge_bytes);
}

/* Populates by advice, which huge pages follow where they can; interleaved ones a block at a time. */
static int
populate_advised(struct range *range, char *at, size_t length)
{
	int r = 0;

	if ((range->huge != MEMORY_HUGE_ADVISE && !range->object->page_bytes) ||
	    range->placement.job->numa != JOB_NUMA_INTERLEAVE)
		return populate_plain(range, at, length);
	for (size_t i = 0; i < length && r == 0; i += range->huge_bytes) {
		range_aim(range, at + i);
		r = populate_plain(range, at + i, min_u64(length - i, range->huge_bytes));
	}
	placement_aim_not(&range->placement);
	return r;
}

static int
collapse(char *at, size_t length)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (madvise(at, length, MADV_COLLAPSE) == 0)
			return 0;
		if (errno != EAGAIN && errno != EBUSY && errno != EINTR)
			break;
	}
	return -errno;
}

/*
 * Populates whole blocks of a huge page by collapse: a range without any page is not collapsed, so that one base page is
 * populated in each block before, and given up for the huge one at once. A block that cannot be had so is had of base
 * pages; the caller counts.
 */
static int
populate_collapse(struct range *range, char *at, size_t length)
{
	int r;

	for (size_t i = 0; i < length; i += range->huge_bytes) {
		range_aim(range, at + i);
		r = populate_plain(range, at + i, range->page_bytes);
		if (r < 0)
			return r;
	}
	placement_aim_not(&range->placement);
	if (collapse(at, length) == 0)
		return 0;
	for (size_t i = 0; i < length; i += range->huge_bytes) {
		if (collapse(at + i, range->huge_bytes) == 0)
			continue;
		r = populate_plain(range, at + i, range->huge_bytes);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A file's pages: read, and never written to, since every page that is dirty is written back, and faults again after that. */
static int
populate_file(struct range *range, char *at, size_t length)
{
	while (madvise(at, length, MADV_POPULATE_READ) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno != EINVAL)
			return errno == EFAULT ? -EIO : -errno;
		/* COMPAT(linux 5.14): no MADV_POPULATE_READ. What cannot be read is SIGBUS, which costs this worker. */
		for (size_t i = 0; i < length; i += range->page_bytes)
			(void)*(volatile char *)(at + i);
		return 0;
	}
	return 0;
}

static int
populate_chunk(struct range *range, char *at, size_t length)
{
	size_t whole = range->huge == MEMORY_HUGE_COLLAPSE ? length & ~(range->huge_bytes - 1) : 0;
	int r = 0;

	if (range_is_file(range))
		return populate_file(range, at, round_up(length, range->page_bytes));
	if (whole)
		r = populate_collapse(range, at, whole);
	if (r == 0 && whole < length)
		r = populate_advised(range, at + whole, round_up(length - whole, range->page_bytes));
	return r;
}

/* In chunks of whole huge pages, so that who cancels it does not wait for all of it. */
static int
populate_step(struct range *range, char *at, size_t length)
{
	size_t chunk = round_up(range->huge == MEMORY_HUGE_NONE ? CANCEL_BYTES : 4 * CANCEL_BYTES, range->huge_bytes);
	int r = 0;

	for (size_t done = 0; r == 0 && done < length; done += chunk)
		r = cancel_asked() ? -ECANCELED : populate_chunk(range, at + done, min_u64(chunk, length - done));
	return r;
}

/*
 * How far to go after a question: a quarter of this worker's share of what there is, a worker a CPU. So all of them
 * together take a quarter of what any of them saw before they ask again, and others, to meet the limit, would have to
 * allocate three times as fast as all workers do.
 */
static size_t
step_bytes(const struct range *range, uint64_t headroom_bytes)
{
	static long n_cpus;

	if (n_cpus <= 0)
		n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (n_cpus > 0)
		headroom_bytes /= 4 * (uint64_t)n_cpus;
	return max_u64(headroom_bytes & ~(uint64_t)(range->huge_bytes - 1),
	    max_u64(STEP_BYTES, range->huge_bytes));
}

/*
 * Whether there is memory to go on at `at`, and how far: for as much as the least step may take and for as much again,
 * since another worker may have asked the same question a moment ago. What is resident already takes nothing, but is
 * only counted where it matters.
 */
static int
check_step(const struct range *range, const char *at, const struct job *job, struct memory *memory,
    struct job_result *result, size_t *ret_length)
{
	size_t rest = range->length - (size_t)(at - range->start);
	size_t length = min_u64(rest, step_bytes(range, 0));
	uint64_t needed = 2 * length + SLACK_BYTES, resident;
	struct memory_headroom headroom;
	uint64_t node_bytes = UINT64_MAX;
	int r;

	/* What is reserved of a pool is there. */
	if (range->object->page_bytes) {
		*ret_length = rest;
		return 0;
	}
	r = memory_headroom_for(memory, job->reserve_bytes, needed, &headroom);
	if (r == 0 && range->nodes)
		r = nodes_room(range->nodes, &node_bytes);
	if (r < 0) {
		(void)snprintf(result->text, sizeof(result->text), "cannot ask how much memory is available: %s",
		    strerror(-r));
		return r;
	}
	headroom.bytes = min_u64(headroom.bytes, node_bytes);
	if (headroom.bytes >= needed) {
		*ret_length = min_u64(rest, step_bytes(range, headroom.bytes));
		return 0;
	}
	r = verify_resident(at, length, &resident);
	if (r == 0 && resident == length) {
		*ret_length = length;
		return 0;
	}
	if (node_bytes < needed)
		findings_nodes_memory(result->text, sizeof(result->text), range->nodes, max_u64(needed, rest + SLACK_BYTES),
		    node_bytes);
	else
		findings_memory(result->text, sizeof(result->text), max_u64(needed, rest + SLACK_BYTES), &headroom);
	return JOB_E_MEMORY;
}

static void
explain_step(const struct range *range, size_t done, size_t length, int error, struct job_result *result)
{
	struct pools_room room;

	if (error == -ENOMEM && range->object->page_bytes &&
	    pools_room(range->object->page_bytes, range->nodes, &room) == 0 && room.bytes < length)
		findings_pool(result->text, sizeof(result->text), length, &room);
	else
		(void)snprintf(result->text, sizeof(result->text), "the kernel did not populate %zu bytes at offset %llu: %s%s",
		    length, (unsigned long long)(range->offset + done), strerror(-error), error == -EIO ?
		    " (the file cannot be read: see the kernel's log of its disk)" : error == -ENOMEM ?
		    " (no page is to be had: memory, the file system's size or its node is full)" : "");
}

/* A file's blocks come in pieces of their own, however much memory there is: one call asks nobody whether it is cancelled. */
static int
reserve_blocks(const struct range *range, uint64_t done, uint64_t length, struct job_result *result)
{
	uint64_t end = done + length;
	int r = 0;

	for (; r == 0 && done < end; done += RESERVE_BYTES)
		r = cancel_asked() ? -ECANCELED :
		    file_reserve(range->fd, range->offset + done, min_u64(RESERVE_BYTES, end - done), result);
	return r;
}

static int
populate_steps(struct range *range, const struct job *job, struct memory *memory,
    struct job_result *result)
{
	size_t length;

	for (size_t done = 0; done < range->length; done += length) {
		int r = 0;

		length = min_u64(RESERVE_BYTES, range->length - done);
		if (range->takes_memory)
			r = check_step(range, range->start + done, job, memory, result, &length);
		if (r == 0 && range_is_file(range))
			r = reserve_blocks(range, done, length, result);
		if (r)
			return r;
		if (range->is_reserved_only)
			continue;
		r = populate_step(range, range->start + done, length);
		if (r == -ECANCELED)
			return r;
		if (r < 0) {
			explain_step(range, done, length, r, result);
			return r;
		}
	}
	return 0;
}

/* Whether the range is one of the object's. */
static int
check_range(const struct range *range, struct job_result *result)
{
	uint64_t size = 0;
	int r = object_size(range->fd, range->object, &size);

	if (r) {
		(void)snprintf(result->text, sizeof(result->text), "cannot ask for the object's size: %s",
		    strerror(-r));
		return r;
	}
	r = -EINVAL;
	if (range->offset % range->huge_bytes)
		(void)snprintf(result->text, sizeof(result->text),
		    "offset %llu: a multiple of %zu is expected", (unsigned long long)range->offset,
		    range->huge_bytes);
	else if (range->offset + range->length > round_up(size, range->page_bytes))
		(void)snprintf(result->text, sizeof(result->text),
		    "%zu bytes at offset %llu are asked for, but the object ends at %llu", range->length,
		    (unsigned long long)range->offset, (unsigned long long)size);
	else
		r = 0;
	return r;
}

/* On which nodes what is resident of its first `length` bytes is. Of a machine with one node there is nothing to be asked. */
static int
range_count_nodes(const struct range *range, size_t length, uint64_t resident_bytes, size_t unit, uint64_t *node_bytes)
{
	static uint64_t only;		/* the one node; 0: not asked yet, or there are several */

	if (!only && nodes_known() == 1)
		only = nodes_there();
	if (!only)
		return placement_count(range->start, length, unit, node_bytes);
	node_bytes[__builtin_ctzll(only)] = resident_bytes;
	return 0;
}

/* Whether it is where it was asked for, as far as that is not left to the kernel. */
static bool
range_is_in_place(const struct range *range, const uint64_t *node_bytes)
{
	const struct job *job = range->placement.job;
	uint64_t all = 0, inside = 0;

	if (job->numa == JOB_NUMA_ANY)
		return true;
	for (unsigned i = 0; i < NODES_MAX; i++) {
		all += node_bytes[i];
		inside += job->nodes >> i & 1 ? node_bytes[i] : 0;
	}
	if (job->numa == JOB_NUMA_INTERLEAVE)
		return inside == all && nodes_are_even(job->nodes, node_bytes, all,
		    range->huge == MEMORY_HUGE_NONE ? range->page_bytes : range->huge_bytes);
	return inside == all;
}

/*
 * What is not where it was asked for: a collapse takes a page from wherever it finds one, and a file may have been in memory
 * before. Moved once, and counted again. A preferred node that is full stays as it is.
 */
static int
range_mend_nodes(const struct range *range, struct job_result *result)
{
	const struct job *job = range->placement.job;
	uint64_t room;

	if (range->object->page_bytes || range_is_in_place(range, result->node_bytes))
		return 0;
	if (job->numa == JOB_NUMA_PREFERRED && (nodes_room(job->nodes, &room) || room < range->length + SLACK_BYTES))
		return 0;
	placement_mend(&range->placement, range->start, round_up(range->length, range->page_bytes), range->offset,
	    range->huge == MEMORY_HUGE_NONE ? range->page_bytes : range->huge_bytes);
	memset(result->node_bytes, 0, sizeof(result->node_bytes));
	return placement_count(range->start, range->length, range->page_bytes, result->node_bytes);
}

/* Of a growth's first piece: on which nodes that is which was counted when it was made. It is there: nothing is made. */
static int
range_count_before(struct range *range, uint64_t *node_bytes)
{
	size_t counted = min_u64(range->placement.job->counted_bytes, range->length);
	size_t length = round_up(counted, range->page_bytes);
	int r;

	if (!counted || range->is_reserved_only)
		return 0;
	r = range_is_file(range) ? populate_file(range, range->start, length) : populate_plain(range, range->start, length);
	return r ? r : range_count_nodes(range, counted, counted, range->page_bytes, node_bytes);
}

/* All whole blocks are huge pages, or it is not known which are. */
static size_t
range_unit(const struct range *range, const struct job_result *result)
{
	return result->huge_bytes >= (range->length & ~(range->huge_bytes - 1)) ? range->huge_bytes : range->page_bytes;
}

/* What the kernel says is had. A range that huge pages map to its end is resident: that needs no second question. */
static int
range_verify(const struct range *range, struct verify *verify, struct job_result *result)
{
	int r = verify_huge(verify, range->start, round_up(range->length, range->page_bytes),
	    &result->huge_bytes);

	if (r == 0 && result->huge_bytes >= range->length)
		result->resident_bytes = range->length;
	else if (r == 0)
		r = verify_resident(range->start, range->length, &result->resident_bytes);
	if (r == 0)
		r = range_count_nodes(range, range->length, result->resident_bytes, range_unit(range, result), result->node_bytes);
	if (r == 0)
		r = range_mend_nodes(range, result);
	return r;
}

/* memory_huge() at most once a second: an administrator may change it, but not between two pieces. */
static enum memory_huge
huge_now(size_t *ret_page_bytes)
{
	static enum memory_huge huge;
	static uint64_t page_bytes, asked_ns;
	uint64_t now_ns = clock_monotonic_ns();

	if (page_bytes == 0 || now_ns - asked_ns > NS_PER_SEC) {
		huge = memory_huge(&page_bytes);
		asked_ns = now_ns;
	}
	*ret_page_bytes = page_bytes;
	return huge;
}

/* Of which pages the range is to be, by the job and the host. */
static void
range_choose_pages(struct range *range)
{
	const struct job *job = range->placement.job;

	range->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	if (job->object.page_bytes) {
		range->page_bytes = range->huge_bytes = job->object.page_bytes;
		range->huge = MEMORY_HUGE_NONE;
		return;
	}
	range->huge = huge_now(&range->huge_bytes);
	if (job->pages == JOB_PAGES_BASE || range_is_file(range))
		range->huge = MEMORY_HUGE_NONE;
	/* Advice acts where there is no page yet. */
	if (job->pages == JOB_PAGES_TOGETHER && range->huge == MEMORY_HUGE_ADVISE)
		range->huge = MEMORY_HUGE_COLLAPSE;
	/* Where the kernel has no collapse, the mount may heed advice. */
	if (job->pages == JOB_PAGES_MOUNT && range->huge_bytes)
		range->huge = range->huge == MEMORY_HUGE_NONE ? MEMORY_HUGE_ADVISE : MEMORY_HUGE_COLLAPSE;
}

static void
range_advise(const struct range *range)
{
	/* A kernel without huge pages knows no advice about them. */
	if (!range->object->page_bytes)
		(void)madvise(range->start, range->length, range->huge == MEMORY_HUGE_NONE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	if (range->huge != MEMORY_HUGE_NONE && range->placement.job->numa == JOB_NUMA_INTERLEAVE)
		placement_forget(&range->placement, range->start, round_up(range->length, range->page_bytes));
}

/*
 * Reserved and not populated, a page stays reserved until the object is gone: punching gives only pages back. Where that may be
 * long it is populated after all, from wherever it can be had, and punched out with the rest.
 */
static void
range_give_up(struct range *range)
{
	if (!range->object->page_bytes || !(range->placement.job->flags & JOB_GROWTH))
		return;
	placement_end(&range->placement);
	(void)populate_plain(range, range->start, range->length);
}

static int
range_populate(struct range *range, const struct job *job, struct memory *memory, struct verify *verify,
    struct job_result *result)
{
	uint64_t before[NODES_MAX] = { 0 };
	int r = range_map(range, result);

	if (r)
		return r;
	range_advise(range);
	r = range_count_before(range, before);
	if (r < 0)
		(void)snprintf(result->text, sizeof(result->text), "what is there already cannot be counted: %s", strerror(-r));
	if (r == 0)
		r = populate_steps(range, job, memory, result);
	if (r == 0 && !range->is_reserved_only) {
		r = range_verify(range, verify, result);
		if (r < 0)
			(void)snprintf(result->text, sizeof(result->text),
			    "populated, but the kernel does not tell what is resident, and where: %s", strerror(-r));
	}
	for (unsigned i = 0; i < NODES_MAX; i++)
		result->node_bytes[i] -= before[i];
	if (r == 0)
		placement_keep(&range->placement, range->start, round_up(range->length, range->page_bytes));
	else
		range_give_up(range);
	object_unmap(&range->map);
	return r;
}

int
populate_range(int fd, const struct job *job, struct memory *memory, struct verify *verify,
    struct job_result *result)
{
	struct range range = { .fd = fd, .object = &job->object, .offset = job->offset_bytes, .length = job->length_bytes };
	int r;

	r = placement_begin(&range.placement, job, result);
	if (r < 0)
		return r;
	range.nodes = job->numa == JOB_NUMA_BIND ? job->nodes : 0;
	range.is_reserved_only = job->kind == JOB_RESERVE;
	range.takes_memory = !range.is_reserved_only || file_is_in_memory(fd);
	range_choose_pages(&range);
	r = check_range(&range, result);
	if (r == 0)
		r = range_populate(&range, job, memory, verify, result);
	placement_end(&range.placement);
	return r;
}

/* Pages that the kernel adds to a pool, because it may be overcommitted, are taken of common memory. */
static int
check_added(const struct job *job, struct memory *memory, const struct pools_room *room, struct job_result *result)
{
	uint64_t in_pool = room->bytes - min_u64(room->bytes, room->added_bytes);
	uint64_t needed = job->length_bytes - min_u64(job->length_bytes, in_pool);
	struct memory_headroom headroom;
	int r;

	if (!needed || room->bytes < job->length_bytes)
		return 0;	/* or the kernel refuses */
	r = memory_headroom_for(memory, job->reserve_bytes, needed + SLACK_BYTES, &headroom);
	if (r == 0 && headroom.bytes < needed + SLACK_BYTES) {
		findings_memory(result->text, sizeof(result->text), needed, &headroom);
		r = JOB_E_MEMORY;
	}
	return r;
}

int
populate_reserve_range(int fd, const struct job *job, struct memory *memory, struct job_result *result)
{
	struct range range = {
		.fd = fd, .object = &job->object, .offset = job->offset_bytes, .length = job->length_bytes,
		.page_bytes = job->object.page_bytes, .huge_bytes = job->object.page_bytes,
		.nodes = job->numa == JOB_NUMA_BIND ? job->nodes : 0,
	};
	struct pools_room room;
	int r;

	r = placement_begin(&range.placement, job, result);
	if (r == 0)
		r = pools_room(range.page_bytes, range.nodes, &room);
	if (r == 0)
		r = check_added(job, memory, &room, result);
	/* A mapping reserves, of what is not reserved yet, for the object: that stays when it ends. */
	if (r == 0)
		r = range_map(&range, result);
	object_unmap(&range.map);
	placement_end(&range.placement);
	if (r < 0 && !result->text[0])
		(void)snprintf(result->text, sizeof(result->text), "the pool of huge pages cannot be asked: %s", strerror(-r));
	return r;
}

/*
 * What a writer made of an object that is not sealed, behind its end: given back in pieces as well, and the object is as large
 * as it was made. Without that, whoever closes it last gives all of it back at once.
 */
static int
free_behind(int fd, uint64_t end_bytes, struct job_result *result)
{
	struct stat st;
	const struct job_object object = { .kind = JOB_OBJECT_FD };
	off_t at = (off_t)end_bytes;
	int r = 0;

	if (fstat(fd, &st) || (uint64_t)st.st_size <= end_bytes)
		return 0;
	/* Of holes, which may be far larger than any memory, nothing is seen. */
	while (r == 0 && (at = lseek(fd, at, SEEK_DATA)) >= 0)
		r = cancel_asked() ? -ECANCELED : object_punch(fd, &object, (uint64_t)at, FREE_BYTES);
	if (r == 0 && ftruncate(fd, (off_t)end_bytes))
		r = -errno;
	if (r && r != -ECANCELED)
		(void)snprintf(result->text, sizeof(result->text), "cannot give back what is behind the end of %" PRIu64 " bytes: %s",
		    end_bytes, strerror(-r));
	return r;
}

int
populate_free_range(int fd, const struct job *job, struct job_result *result)
{
	for (uint64_t done = 0; done < job->length_bytes;) {
		uint64_t length = min_u64(max_u64(FREE_BYTES, job->object.page_bytes), job->length_bytes - done);
		int r = cancel_asked() ? -ECANCELED : object_punch(fd, &job->object, job->offset_bytes + done, length);

		if (r == -ECANCELED)
			return r;
		if (r) {
			(void)snprintf(result->text, sizeof(result->text),
			    "cannot give %llu bytes at offset %llu back: %s", (unsigned long long)length,
			    (unsigned long long)(job->offset_bytes + done), strerror(-r));
			return r;
		}
		done += length;
	}
	if (job->limit_bytes && job->object.kind == JOB_OBJECT_FD)
		return free_behind(fd, job->limit_bytes, result);
	return 0;
}
