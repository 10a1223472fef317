/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is refused: by a queue that is full, by the kernel for all that is in flight, or for one descriptor alone. */
#include "config.h"

#include <sys/mman.h>

#include "base/base.h"
#include "daemon/box_batch.h"

#define LOST_MAX	64		/* that cannot be sent are passed over before it is asked whether anything can */

/* One message of a filling: into A's queue, or else B's. */
static int
batch_send(const struct box_batch *batch, unsigned first, unsigned n)
{
	int r = box_pair_send(batch->pair, BOX_B, batch->labels + first, batch->fds + first, n);

	return r == -EAGAIN ? box_pair_send(batch->pair, BOX_A, batch->labels + first, batch->fds + first, n) : r;
}

/* Whether nothing at all goes: then what there was before is better. */
static bool
flight_is_closed(void)
{
	static const struct box_label label = { 0 };
	cleanup_close int fd = memfd_create("segmentd-box", MFD_CLOEXEC);
	struct box_pair *pair;
	int r;

	if (fd < 0 || box_pair_new(1, &pair))
		return true;
	r = box_pair_send(pair, BOX_A, &label, &fd, 1);
	(void)box_pair_free(pair);
	return r != 0;
}

/*
 * A message that the kernel refuses may do so for one of its descriptors: a session whose client has sent sockets in sockets in
 * sockets, which the kernel says by the error that it has for too many of all, too. The halves are sent then, down to the one
 * that is passed over. One uid can have thousands of those: they are no reason to leave all others as they were.
 */
static void
batch_send_halves(struct box_batch *batch, unsigned first, unsigned n)
{
	int r;

	if (batch->r)
		return;
	r = batch_send(batch, first, n);
	if (r == 0) {
		batch->n_items += n;
	} else if (r == -EAGAIN) {
		batch->r = -ENOSPC;
	} else if (n > 1) {
		batch_send_halves(batch, first, n / 2);
		batch_send_halves(batch, first + n / 2, n - n / 2);
	} else {
		batch->lost_r = batch->lost_r ? batch->lost_r : r;
		if (r == -ETOOMANYREFS ? batch->n_lost % LOST_MAX == 0 && flight_is_closed() : batch->n_lost >= LOST_MAX)
			batch->r = r;
		batch->n_lost++;
	}
}

static void
batch_flush(struct box_batch *batch)
{
	if (batch->n)
		batch_send_halves(batch, 0, batch->n);
	batch->n = 0;
}

void
box_batch_begin(struct box_batch *batch, struct box_pair *pair)
{
	batch->pair = pair;
	batch->n = batch->n_lost = 0;
	batch->n_items = 0;
	batch->r = batch->lost_r = 0;
}

int
box_batch_add(struct box_batch *batch, const struct box_label *label, int fd)
{
	batch->labels[batch->n] = *label;
	batch->fds[batch->n] = fd;
	if (++batch->n == BOX_MESSAGE_FDS)
		batch_flush(batch);
	return batch->r;
}

int
box_batch_end(struct box_batch *batch)
{
	batch_flush(batch);
	if (batch->r == 0)
		batch->r = batch_send(batch, 0, 0);
	return batch->r;
}
