/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Timers that come in any case. libevent's may need memory to be added; where there is none the timer is due at once, for which it
 * needs none. So whoever adds one by this bears with its being early, in the worst case again and again until there is memory.
 */
#ifndef DAEMON_TIMER_H
#define DAEMON_TIMER_H

#include <event2/event.h>
#include <stdint.h>

static inline void
timer_add(struct event *event, const struct timeval *delay)
{
	if (evtimer_add(event, delay))
		event_active(event, EV_TIMEOUT, 1);
}

/* So many nanoseconds, and not less: who comes too early has to wait once more. */
static inline struct timeval
timer_delay(uint64_t ns)
{
	uint64_t us = ns / 1000 + (ns % 1000 != 0);

	return (struct timeval) { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };
}

static inline void
timer_add_ns(struct event *event, uint64_t ns)
{
	const struct timeval delay = timer_delay(ns);

	timer_add(event, &delay);
}

#endif
