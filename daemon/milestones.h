/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Places in a list by rising numbers: about every 32nd item, so that whoever asks for the next page of thousands, or for one of them,
 * is led to it, and the list is not walked from its start each time.
 */
#ifndef DAEMON_MILESTONES_H
#define DAEMON_MILESTONES_H

#include <stddef.h>
#include <stdint.h>

struct milestone {
	uint64_t cursor;
	void *item;
};

/* All zero at first. */
struct milestones {
	struct milestone *list;		/* in the order of cursors */
	size_t n, n_allocated;
};

void milestones_deinit(struct milestones *milestones);

/* An item is the last in the order. Without memory for it, ways are longer. */
void milestones_add(struct milestones *milestones, uint64_t cursor, void *item);

/* An item is about to be taken out of the order; next: the one behind it, or NULL. */
void milestones_remove(struct milestones *milestones, uint64_t cursor, const void *item, uint64_t next_cursor, void *next);

/* The nearest one at or before the cursor; NULL: there is none. */
void *milestones_before(const struct milestones *milestones, uint64_t cursor);

#endif
