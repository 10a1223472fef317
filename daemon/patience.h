/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How long a process may take. Time that it waits for a CPU is not its own: on a host with many who want one, a job of
 * milliseconds takes seconds, and who were killed for that, and begun again, would never come to an end. So its limit is CPU
 * time; and it may stand still, without wanting a CPU, for as long by the clock. What it waits for may be threads of the kernel's
 * own, one for each CPU, which want a CPU in their turn (MADV_COLLAPSE and mlock(2) have every CPU empty its list of pages; 13
 * seconds were seen, where 60 processes spun on two CPUs): while CPUs are short it may stand there six times as long. And where the
 * clock goes on while nothing else does, it is looked at later than was said: that time is nobody's (base/allotment.h).
 */
#ifndef DAEMON_PATIENCE_H
#define DAEMON_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct patience {
	uint64_t limit_ns;
	uint64_t begun_cpu_ns;
	uint64_t cpu_ns;		/* when it was last looked at */
	uint64_t looked_ns;		/* monotonic: that was then, */
	uint64_t next_ns;		/* so long before it was to be looked at again */
	uint64_t clock_ns;		/* which is what counts; from its beginning on */
	uint64_t moved_ns;		/* by that: when it was last seen to go on, or to want to, or may have had to wait */
	uint64_t went_on_ns;		/* likewise, without the latter */
};

/* What one look at a process shows. */
struct patience_sight {
	uint64_t now_ns;		/* monotonic */
	uint64_t cpu_ns;		/* what it has used since it is there; 0: that cannot be told */
	bool is_runnable;		/* it runs, or waits for a CPU only */
	bool is_behind_others;		/* it waits in the kernel, while CPUs are short */
};

/* Judges by what was seen. Nanoseconds until it is to be looked at again, or 0: it is stuck. */
uint64_t patience_start(struct patience *patience, uint64_t limit_ns, const struct patience_sight *sight);
uint64_t patience_judge(struct patience *patience, const struct patience_sight *sight);

/* The same for a process that has not been reaped. */
uint64_t patience_begin(struct patience *patience, uint64_t limit_ns, pid_t pid);
uint64_t patience_look(struct patience *patience, pid_t pid);

#endif
