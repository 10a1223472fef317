/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A client of the library whose daemon is killed, and that goes on with the next one. */
#ifndef TESTS_SYSTEM_SURVIVOR_H
#define TESTS_SYSTEM_SURVIVOR_H

#include <stddef.h>

#include "client/segment.h"

struct survivor {
	struct segment_client *client;
	struct segment *segment;	/* "s", of the first daemon */
};

/* Attaches it, and stores 6 at the offset. */
void survivor_start(struct survivor *ret_survivor, const char *socket, size_t offset);
/* The next daemon's is the same segment with the same memory. Detaches both, and disconnects. */
void survivor_expect_same(struct survivor *survivor);

#endif
