/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Slices double while they are short and are halved when they are long. Every length is a multiple of 2 MiB, so that no
 * huge page is ever split by a slice's edge. */
#include "config.h"

#include <stdbool.h>

#include "base/base.h"
#include "daemon/slices.h"
#include "daemon/timer.h"

#define SLICE_MIN	SLICES_UNIT
#define SLICE_FIRST	(4 * MIB)
#define SLICE_MAX	GIB
#define SHORT_NS	(NS_PER_MS / 5)
#define LONG_NS		(NS_PER_MS / 2)

static void
slices_on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0 };
	struct slices *slices = arg;
	uint64_t length = min_u64(slices->slice_bytes, slices->end_bytes - slices->offset_bytes);
	uint64_t begun_ns = clock_monotonic_ns();
	uint64_t took_ns;
	int r = 0;

	if (length)
		r = slices->step(slices, slices->offset_bytes, length);
	took_ns = clock_monotonic_ns() - begun_ns;
	slices->offset_bytes += length;
	if (r || slices->offset_bytes == slices->end_bytes) {
		slices->done(slices, r);
		return;
	}
	if (took_ns > LONG_NS && slices->slice_bytes > SLICE_MIN)
		slices->slice_bytes /= 2;
	else if (took_ns < SHORT_NS && slices->slice_bytes < SLICE_MAX)
		slices->slice_bytes *= 2;
	/* A timer of nothing, and not event_active(): the loop asks the kernel for other events first. */
	timer_add(&slices->event, &now);
}

void
slices_init(struct slices *slices, struct event_base *base, slices_step_fn step, slices_done_fn done)
{
	*slices = (struct slices) { .step = step, .done = done, .slice_bytes = SLICE_FIRST };
	(void)evtimer_assign(&slices->event, base, slices_on_turn, slices);
}

void
slices_start(struct slices *slices, uint64_t offset_bytes, uint64_t end_bytes)
{
	static const struct timeval now = { 0 };

	slices->offset_bytes = offset_bytes;
	slices->end_bytes = end_bytes;
	timer_add(&slices->event, &now);
}

void
slices_stop(struct slices *slices)
{
	if (event_initialized(&slices->event))
		(void)evtimer_del(&slices->event);
}
