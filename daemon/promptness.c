/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A slice of one's own, sched(7) and sched_setattr(2): see promptness.h. */
#include "config.h"

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/promptness.h"

#define SLICE_NS	(NS_PER_MS / 10)	/* the shortest that there is */

/* As the kernel has it in linux/sched/types.h, which goes with no version of the C library's sched.h. */
struct promptness_attributes {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

/* Whoever has chosen another policy for the service knows why: it is left alone. */
void
promptness_ask(void)
{
	struct promptness_attributes attributes = { .size = sizeof(attributes) };

	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) || attributes.policy != SCHED_NORMAL)
		return;
	attributes.runtime_ns = SLICE_NS;
	attributes.flags = SCHED_FLAG_RESET_ON_FORK;
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}
