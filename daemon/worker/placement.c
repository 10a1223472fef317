/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The policy is the process's own while it populates, and not the object's: of shared memory that is taken as well, and it can
 * change from block to block without leaving thousands of entries in the kernel. What the object keeps is one entry a piece.
 * The system calls are made here: libnuma has nothing else to offer for it.
 */
#include "config.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/worker/placement.h"
#include "host/nodes.h"

#define MASK_BITS	(NODES_MAX + 1)	/* the kernel counts one more than it reads */
#define ASK_PAGES	1024		/* of one question */

static int
set_policy(int mode, uint64_t nodes)
{
	unsigned long mask = nodes;

	return syscall(SYS_set_mempolicy, mode, nodes ? &mask : NULL, nodes ? MASK_BITS : 0) ? -errno : 0;
}

static long
bind_range(void *start, size_t length, int mode, uint64_t nodes, unsigned flags)
{
	unsigned long mask = nodes;

	return syscall(SYS_mbind, start, length, mode, nodes ? &mask : NULL, nodes ? MASK_BITS : 0, flags);
}

static int
mode_of(const struct job *job)
{
	switch (job->numa) {
	case JOB_NUMA_BIND:
		return MPOL_BIND;
	case JOB_NUMA_INTERLEAVE:
		return MPOL_INTERLEAVE;
	case JOB_NUMA_PREFERRED:
		return MPOL_PREFERRED;
	default:
		return MPOL_DEFAULT;
	}
}

/* Best effort: pages are cleared faster from near, and are where the policy says from anywhere. */
static void
move_near(struct placement *placement, uint64_t nodes)
{
	cpu_set_t near;

	nodes_cpus(nodes, &near);
	if (sched_getaffinity(0, sizeof(placement->cpus), &placement->cpus))
		return;
	CPU_AND(&near, &near, &placement->cpus);
	if (CPU_COUNT(&near) == 0 || CPU_EQUAL(&near, &placement->cpus))
		return;
	placement->has_moved = sched_setaffinity(0, sizeof(near), &near) == 0;
}

int
placement_begin(struct placement *placement, const struct job *job, struct job_result *result)
{
	int r;

	*placement = (struct placement) { .job = job };
	if (job->numa == JOB_NUMA_ANY)
		return 0;
	r = set_policy(mode_of(job), job->nodes);
	if (r) {
		char nodes[NODES_TEXT_SIZE];

		(void)snprintf(result->text, sizeof(result->text), "the kernel does not take a memory policy for node %s: %s%s",
		    nodes_format(nodes, sizeof(nodes), job->nodes), strerror(-r), r == -EPERM || r == -ENOSYS ?
		    " (a filter of system calls, or a kernel without NUMA: see SystemCallFilter= in the unit)" : "");
		return r;
	}
	placement->has_policy = true;
	move_near(placement, job->nodes);
	return 0;
}

void
placement_end(struct placement *placement)
{
	if (placement->has_policy)
		(void)set_policy(MPOL_DEFAULT, 0);
	if (placement->has_moved)
		(void)sched_setaffinity(0, sizeof(placement->cpus), &placement->cpus);
	placement->has_policy = placement->has_moved = false;
}

/* The node that the index-th block or page is to be on. */
static int
node_of(uint64_t nodes, uint64_t index)
{
	for (index %= (unsigned)__builtin_popcountll(nodes); index; index--)
		nodes &= nodes - 1;
	return __builtin_ctzll(nodes);
}

void
placement_aim(const struct placement *placement, uint64_t index)
{
	/* Preferred: where that node is full, another one gives the page, and the count tells. */
	if (placement->job->numa == JOB_NUMA_INTERLEAVE)
		(void)set_policy(MPOL_PREFERRED, (uint64_t)1 << node_of(placement->job->nodes, index));
}

void
placement_aim_not(const struct placement *placement)
{
	if (placement->job->numa == JOB_NUMA_INTERLEAVE)
		(void)set_policy(MPOL_INTERLEAVE, placement->job->nodes);
}

void
placement_keep(const struct placement *placement, void *start, size_t length)
{
	if (placement->has_policy)
		(void)bind_range(start, length, mode_of(placement->job), placement->job->nodes, 0);
}

void
placement_forget(const struct placement *placement, void *start, size_t length)
{
	if (placement->has_policy)
		(void)bind_range(start, length, MPOL_DEFAULT, 0, 0);
}

/* Best effort: pages that others map stay where they are. */
static void
move_each(const struct placement *placement, char *start, size_t length, uint64_t offset, size_t unit_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int targets[ASK_PAGES], status[ASK_PAGES];
	void *pages[ASK_PAGES];
	size_t n = 0;

	for (size_t at = 0; at < length; at += page_bytes) {
		pages[n] = start + at;
		targets[n++] = node_of(placement->job->nodes, (offset + at) / unit_bytes);
		if (n == ASK_PAGES || at + page_bytes >= length) {
			(void)syscall(SYS_move_pages, 0, n, pages, targets, status, MPOL_MF_MOVE);
			n = 0;
		}
	}
}

void
placement_mend(const struct placement *placement, void *start, size_t length, uint64_t offset, size_t unit_bytes)
{
	if (!placement->has_policy)
		return;
	/* To a node of several whichever has room; but interleaved ones are each to be on a certain one. */
	if (placement->job->numa == JOB_NUMA_BIND)
		(void)bind_range(start, length, MPOL_BIND, placement->job->nodes, MPOL_MF_MOVE);
	else
		move_each(placement, start, length, offset, unit_bytes);
}

/* One question. A page that is not where we look, as one that is being moved, is on no node. */
static int
count_some(void *const *pages, const uint64_t *bytes, size_t n, uint64_t *node_bytes)
{
	int status[ASK_PAGES];

	if (syscall(SYS_move_pages, 0, n, pages, NULL, status, 0) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++)
		if (status[i] >= 0 && status[i] < NODES_MAX)
			node_bytes[status[i]] += bytes[i];
	return 0;
}

int
placement_count(void *start, size_t length, size_t unit_bytes, uint64_t *node_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), n = 0;
	void *pages[ASK_PAGES];
	uint64_t bytes[ASK_PAGES];
	int r = 0;

	for (size_t done = 0; done < length && r == 0;) {
		/* What is left of the last unit is base pages. */
		size_t step = length - done >= unit_bytes ? unit_bytes : page_bytes;

		pages[n] = (char *)start + done;
		bytes[n++] = min_u64(step, length - done);
		done += step;
		if (n == ASK_PAGES || done >= length) {
			r = count_some(pages, bytes, n, node_bytes);
			n = 0;
		}
	}
	return r;
}
