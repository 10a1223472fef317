/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The harness: the clock of a test's patience. A virtual machine that is moved or of which a copy is made stands still for half a
 * minute, and so does what docker pause or systemctl freeze stops; CLOCK_MONOTONIC goes on. By it every wait that was under way would be
 * over when the machine goes on, although the daemon that is waited for had no time to do anything. So time counts here only as far
 * as somebody was there to look: between two looks no more than STEP_NS of it.
 *
 * It is for patience, which only a test that fails comes to the end of, and for bounds on what the harness itself waits for. How long
 * something takes, and what the daemon is to do after a time of its own, is measured by clock_monotonic_ns().
 */
#include "config.h"

#include "base/base.h"
#include "tests/harness-clock.h"

#define STEP_NS		NS_PER_SEC
#define LOOK_MS		200			/* well below a step: on a busy machine a look comes late */

/* A thread that does not look has no part in what another one counts. A forked child goes on with its parent's. */
static _Thread_local uint64_t last_ns, counted_ns;
static _Thread_local uint64_t went_on_ns;	/* the end of the last standstill, by CLOCK_MONOTONIC */

uint64_t
harness_clock_ns(void)
{
	uint64_t now_ns = clock_monotonic_ns(), passed_ns = last_ns ? now_ns - last_ns : 0;

	if (passed_ns > STEP_NS)
		went_on_ns = now_ns;
	counted_ns += min_u64(passed_ns, STEP_NS);
	last_ns = now_ns;
	return counted_ns;
}

uint64_t
harness_passed_ns(uint64_t since_ns)
{
	(void)harness_clock_ns();
	return last_ns - min_u64(last_ns, max_u64(since_ns, went_on_ns));
}

int
harness_poll(struct pollfd *fds, nfds_t n, int ms)
{
	uint64_t now_ns = harness_clock_ns(), end_ns = now_ns + (uint64_t)(ms < 0 ? 0 : ms) * NS_PER_MS;

	for (;;) {
		uint64_t left_ms = ms < 0 ? LOOK_MS : (end_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
		int r = poll(fds, n, (int)min_u64(left_ms, LOOK_MS));

		if (r > 0 || (r < 0 && errno != EINTR))
			return r;
		now_ns = harness_clock_ns();
		if (ms >= 0 && now_ns >= end_ns)
			return 0;
	}
}
