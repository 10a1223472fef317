/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Time that others are given for something. A machine may stand still and its clock go on: a virtual one is paused for a snapshot or
 * moved to another host, a service or a container is frozen (systemctl freeze, docker pause). Nobody is late for that. So the time is
 * looked at in steps, and between two looks no more than one step of it is taken to have gone by.
 *
 * What people set by the clock, and what only measures, is none of this.
 */
#ifndef BASE_ALLOTMENT_H
#define BASE_ALLOTMENT_H

#include "base/base.h"

struct allotment {
	uint64_t left_ns;
	uint64_t step_ns;		/* is looked at so often, or counts for less */
	uint64_t looked_ns;		/* monotonic: when it was last */
};

static inline void
allotment_begin(struct allotment *allotment, uint64_t ns, uint64_t step_ns)
{
	*allotment = (struct allotment) { .left_ns = ns, .step_ns = step_ns, .looked_ns = clock_monotonic_ns() };
}

/* Nanoseconds until it is to be looked at again, a step at most; or 0: it is over. */
static inline uint64_t
allotment_look(struct allotment *allotment)
{
	uint64_t now_ns = clock_monotonic_ns(), gone_ns = min_u64(now_ns - allotment->looked_ns, allotment->step_ns);

	allotment->looked_ns = now_ns;
	allotment->left_ns -= min_u64(gone_ns, allotment->left_ns);
	return min_u64(allotment->left_ns, allotment->step_ns);
}

#endif
