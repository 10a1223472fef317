/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A long call over a range of memory (mlock, munmap), cut in slices so short that the loop never waits a millisecond:
 * a slice a turn, its length taken from how long the last one took.
 */
#ifndef DAEMON_SLICES_H
#define DAEMON_SLICES_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>

#define SLICES_UNIT	((uint64_t)2 << 20)	/* every slice but the last is a multiple of it */

struct slices;

/* Works on one slice. 0, or a negative errno, which ends the whole. */
typedef int (*slices_step_fn)(struct slices *slices, uint64_t offset_bytes, uint64_t length_bytes);
/* Called once at the end; the slices may be freed or started anew in it. */
typedef void (*slices_done_fn)(struct slices *slices, int r);

struct slices {
	struct event event;
	slices_step_fn step;
	slices_done_fn done;
	uint64_t offset_bytes;
	uint64_t end_bytes;
	uint64_t slice_bytes;
};

void slices_init(struct slices *slices, struct event_base *base, slices_step_fn step, slices_done_fn done);
/* Starts to work on [offset, end). At most one range at a time. */
void slices_start(struct slices *slices, uint64_t offset_bytes, uint64_t end_bytes);
/* Stops; done is not called. */
void slices_stop(struct slices *slices);

#endif
