/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The filling of a pair: all that lives, in messages of as many descriptors as the kernel lets us. It all goes, but for single
 * ones that cannot be sent, or the filling is of no use. What becomes of the pair then is box.c's.
 */
#ifndef DAEMON_BOX_BATCH_H
#define DAEMON_BOX_BATCH_H

#include "daemon/box.h"
#include "daemon/box_pair.h"

/* Large, so that not all of it is initialised. */
struct box_batch {
	struct box_pair *pair;
	uint64_t n_items;		/* that are in the queues */
	unsigned n_lost;		/* that were passed over */
	int r;				/* why the filling cannot be used */
	int lost_r;			/* why the first that was passed over was */
	unsigned n;			/* of that message so far */
	struct box_label labels[BOX_MESSAGE_FDS];
	int fds[BOX_MESSAGE_FDS];
};

void box_batch_begin(struct box_batch *batch, struct box_pair *pair);
/* fd stays the caller's, and open until the end. 0, or a negative errno: the filling cannot be used. */
int box_batch_add(struct box_batch *batch, const struct box_label *label, int fd);
/* Sends the rest, and that it was all. As box_batch_add(). */
int box_batch_end(struct box_batch *batch);

#endif
