/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Timers that come in any case. libevent's may need memory to be added; where there is none the timer is due at once, for which it
 * needs none. So whoever adds one by this bears with its being early, in the worst case again and again until there is memory.
 */
#ifndef DAEMON_TIMER_H
#define DAEMON_TIMER_H

#include <event2/event.h>

static inline void
timer_add(struct event *event, const struct timeval *delay)
{
	if (evtimer_add(event, delay))
		event_active(event, EV_TIMEOUT, 1);
}

#endif
