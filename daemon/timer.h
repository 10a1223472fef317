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

#include "base/allotment.h"

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

/* The event comes when what others are given is to be looked at next, also where that is now. Else not: it cannot be waited for. */
static inline bool
timer_begin_allotted(struct event *event, struct allotment *time)
{
	const struct timeval delay = timer_delay(allotment_look(time));

	return evtimer_add(event, &delay) == 0;
}

/* For that event: whether it is over, or cannot be waited for. Else the event comes again. */
static inline bool
timer_is_over(struct event *event, struct allotment *time)
{
	uint64_t left_ns = allotment_look(time);
	const struct timeval delay = timer_delay(left_ns);

	return !left_ns || evtimer_add(event, &delay);
}

#endif
