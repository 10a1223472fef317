/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Daemons with many segments: 10 to 15,000, each 4 KiB, of which no page is made resident, as far as the limit of file
 * descriptors goes. What is common to the families bench_scale.c and bench_many.c.
 */
#ifndef BENCH_SCALE_H
#define BENCH_SCALE_H

#include <stddef.h>

#include "bench/bench.h"
#include "bench/daemon.h"

#define SCALE_N			6		/* counts of segments that are compared */
#define SCALE_MANY		2		/* the first count that fills a page, and in which one more is lost: 1,000 */
#define SCALE_NAME_SIZE		16
#define SCALE_OTHER_FDS		256		/* of a daemon, beside those of segments and clients */

/* The counts, the first the smallest; all that are more than this process may have descriptors are that many. */
unsigned scale_count(unsigned i, unsigned n_client_fds);
unsigned scale_largest(unsigned n_client_fds);

/* A note, if the limit allows fewer segments than are wanted. */
void scale_note_limit(unsigned n_client_fds);

/* Name of segment i, from 0. */
void scale_name(char name[SCALE_NAME_SIZE], unsigned i);

/*
 * A configuration's text for n segments, `changed` of them other than at first in one key that acts at once (-1: none). The
 * caller's.
 */
char *scale_definitions(unsigned n, int changed);

/* Makes the daemon's configuration and directory for n segments in all. It is not started. */
void scale_init(struct daemon *daemon, unsigned n);

#endif
