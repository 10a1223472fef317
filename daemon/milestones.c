/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* An array in the order of cursors, searched by halves. Where memory is short there is one less, and a walk is longer. */
#include "config.h"

#include "base/base.h"
#include "daemon/milestones.h"

#define DISTANCE	32		/* of cursors */
#define FIRST		64

void
milestones_deinit(struct milestones *milestones)
{
	free(milestones->list);
	*milestones = (struct milestones) { 0 };
}

void
milestones_add(struct milestones *milestones, uint64_t cursor, void *item)
{
	size_t n = milestones->n;
	void *list;

	if (n && cursor < milestones->list[n - 1].cursor + DISTANCE)
		return;
	if (n == milestones->n_allocated) {
		list = realloc(milestones->list, (n ? 2 * n : FIRST) * sizeof(struct milestone));
		if (!list)
			return;
		milestones->list = list;
		milestones->n_allocated = n ? 2 * n : FIRST;
	}
	milestones->list[milestones->n++] = (struct milestone) { cursor, item };
}

/* How many there are at or before the cursor. */
static size_t
milestones_count(const struct milestones *milestones, uint64_t cursor)
{
	size_t low = 0, high = milestones->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (milestones->list[middle].cursor <= cursor)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
milestones_remove(struct milestones *milestones, uint64_t cursor, const void *item, uint64_t next_cursor, void *next)
{
	size_t after = milestones_count(milestones, cursor);
	struct milestone *at;

	if (!after || milestones->list[after - 1].item != item)
		return;
	at = &milestones->list[after - 1];
	/* Its neighbour takes its place, unless that has one of its own, or comes first by its number. */
	if (next && next_cursor > cursor && (after == milestones->n || at[1].item != next)) {
		*at = (struct milestone) { next_cursor, next };
		return;
	}
	memmove(at, at + 1, (milestones->n - after) * sizeof(*at));
	milestones->n--;
}

void *
milestones_before(const struct milestones *milestones, uint64_t cursor)
{
	size_t n = milestones_count(milestones, cursor);

	return n ? milestones->list[n - 1].item : NULL;
}
