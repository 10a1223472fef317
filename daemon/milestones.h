/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Places in the order of making: about every 32nd segment, so that whoever asks for the next page of thousands is led to it,
 * and the list is not walked from its start for each page.
 */
#ifndef DAEMON_MILESTONES_H
#define DAEMON_MILESTONES_H

#include <stddef.h>
#include <stdint.h>

struct segment;

struct milestone {
	uint64_t cursor;
	struct segment *segment;
};

/* All zero at first. */
struct milestones {
	struct milestone *list;		/* in the order of cursors */
	size_t n, n_allocated;
};

void milestones_deinit(struct milestones *milestones);

/* A segment is the last in the order. Without memory for it, ways are longer. */
void milestones_add(struct milestones *milestones, struct segment *segment);

/* A segment is about to be taken out of the order. */
void milestones_remove(struct milestones *milestones, const struct segment *segment);

/* The nearest one at or before the cursor; NULL: there is none. */
struct segment *milestones_before(const struct milestones *milestones, uint64_t cursor);

#endif
