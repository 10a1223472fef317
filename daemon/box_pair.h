/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One pair of the box, and the messages in its queues: a header, labels, and as many descriptors. What is sent on one end lies
 * in the other end's queue. A filling goes into A's, so that B's has all its room for what is put one by one later; what is
 * too much for A's goes into B's.
 */
#ifndef DAEMON_BOX_PAIR_H
#define DAEMON_BOX_PAIR_H

#include <assert.h>

#include "daemon/box.h"

#define BOX_PAIR_NAME_SIZE	40
#define BOX_PAIR_LAST_N		((uint64_t)1000000000000000000)	/* what a name may count up to */

#define BOX_WIRE_MAGIC		"segmbox"
#define BOX_WIRE_VERSION	1

/* A message's beginning; magic and version are where they are in every version. */
struct box_wire_header {
	char magic[8];
	uint32_t version;
	uint16_t n_labels;
	uint16_t flags;			/* enum box_wire_flags; unknown ones are nobody's */
};
static_assert(sizeof(struct box_wire_header) == 16, "box_wire_header");

enum box_wire_flags {
	BOX_WIRE_FILLED = 1,		/* no labels; all that lived then is in this pair, and the older ones are needless */
};

/* 12 bytes, so that a full message is below what the kernel needs two pages for: twice as many fit into a queue. */
struct box_wire_label {
	uint32_t kind;
	uint32_t id_low;
	uint32_t id_high;
};
static_assert(sizeof(struct box_wire_label) == 12, "box_wire_label");

enum box_side { BOX_A, BOX_B, BOX_SIDE_N };

struct box_pair {
	TAILQ_ENTRY(box_pair) entry;
	struct box *box;
	uint64_t n;
	int ends[BOX_SIDE_N];		/* B is closed when the manager was given it: then A hangs up if it is not kept */
	unsigned n_said;		/* ends that the manager was given, A first */
	unsigned n_unsaid;		/* of them that it was told to remove */
	bool wants_filling;		/* it is to have all that lives, */
	bool is_filled;			/* and has */
	bool is_kept;			/* by the manager, for certain */
	bool is_inherited;		/* an earlier daemon's */
	bool is_used;			/* of an inherited one: there is something in its queues */
	bool stays;			/* in the store, since not all of it can be read: seen by box_peek() alone */
	bool leaves;			/* it is to be removed from the store, and then gone */
	struct event closed_event;
};

/* A pair with both ends. Negative errno. */
int box_pair_new(uint64_t n, struct box_pair **ret_pair);
struct box_pair *box_pair_free(struct box_pair *pair);

/* Its ends are not ours any more; what the manager may have of it is to be removed. */
void box_pair_leave(struct box_pair *pair);
/* Of what is filled and kept the newest makes all before it needless. */
void box_pairs_leave_older(struct box_pairs *pairs);
/* Of daemons that were killed one after the other, each before its renewal was through: or the store would run full. */
void box_pairs_leave_empty(struct box_pairs *pairs);

void box_pair_name(uint64_t n, enum box_side side, char *ret_name);
/* Whether it is a name of an end. */
bool box_pair_parse_name(const char *name, uint64_t *ret_n, enum box_side *ret_side);

/* One message of at most BOX_MESSAGE_FDS; of none: that the pair is filled. 0 or a negative errno; -EAGAIN: the queue is full. */
int box_pair_send(const struct box_pair *pair, enum box_side side, const struct box_label *labels, const int *fds, unsigned n);

/* Whether nobody has B any more. */
bool box_pair_hung_up(const struct box_pair *pair);

#endif
