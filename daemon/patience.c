/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Four looks in the limit's time: so long after it has stood still for it, at most, a process is found stuck. One that stays
 * runnable and gets no CPU at all waits for as long as the host lets it, which is not for us to end.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/patience.h"
#include "host/process.h"

#define LOOKS		4
#define LOOK_MIN_NS	(10 * NS_PER_MS)
#define BEHIND_TIMES	6

/* How long it cannot be stuck yet, for want of CPU time used. */
static uint64_t
patience_next(struct patience *patience, uint64_t now_ns)
{
	uint64_t left_ns = patience->limit_ns - (patience->cpu_ns - patience->begun_cpu_ns);

	patience->looked_ns = now_ns;
	patience->next_ns = max_u64(min_u64(patience->limit_ns / LOOKS, left_ns), LOOK_MIN_NS);
	return patience->next_ns;
}

uint64_t
patience_start(struct patience *patience, uint64_t limit_ns, const struct patience_sight *sight)
{
	*patience = (struct patience) {
		.limit_ns = limit_ns,
		.begun_cpu_ns = sight->cpu_ns,
		.cpu_ns = sight->cpu_ns,
	};
	return patience_next(patience, sight->now_ns);
}

uint64_t
patience_judge(struct patience *patience, const struct patience_sight *sight)
{
	bool has_moved = sight->cpu_ns > patience->cpu_ns;

	/* Also of a look that was to come soon, for the CPU time: or each by a loop that is busy, and late for it, would lengthen the limit. */
	patience->clock_ns += min_u64(sight->now_ns - patience->looked_ns, max_u64(patience->next_ns, patience->limit_ns / LOOKS));
	if (has_moved)
		patience->cpu_ns = sight->cpu_ns;
	if (has_moved || sight->is_runnable)
		patience->moved_ns = patience->went_on_ns = patience->clock_ns;
	else if (sight->is_behind_others && patience->clock_ns - patience->went_on_ns < BEHIND_TIMES * patience->limit_ns)
		patience->moved_ns = patience->clock_ns;
	if (patience->cpu_ns - patience->begun_cpu_ns >= patience->limit_ns ||
	    patience->clock_ns - patience->moved_ns >= patience->limit_ns)
		return 0;
	return patience_next(patience, sight->now_ns);
}

uint64_t
patience_begin(struct patience *patience, uint64_t limit_ns, pid_t pid)
{
	/* Each job is begun so, and most are done before they are looked at: no file is opened for them. */
	const struct patience_sight sight = { .now_ns = clock_monotonic_ns(), .cpu_ns = process_cpu_ns(pid) };

	return patience_start(patience, limit_ns, &sight);
}

uint64_t
patience_look(struct patience *patience, pid_t pid)
{
	const struct patience_sight sight = {
		.now_ns = clock_monotonic_ns(),
		.cpu_ns = process_cpu_ns(pid),
		.is_runnable = process_is_runnable(pid),
		.is_behind_others = process_is_in_kernel(pid) && process_cpus_are_short(),
	};

	return patience_judge(patience, &sight);
}
