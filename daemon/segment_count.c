/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments that programs reach without us: by a key. The kernel keeps whom a definition does not let in away from them, and
 * counts who has them; but of a change of that count nothing tells. So while somebody has one whom nobody waits for by
 * other means, and something waits for its being left, the kernel is asked now and again.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/segment.h"

#define ASK_MS	100

static void
segment_on_count(evutil_socket_t fd, short what, void *arg)
{
	segment_rest(arg);
}

void
segment_ask_again(struct segment *segment)
{
	static const struct timeval delay = { .tv_usec = ASK_MS * 1000 };

	if (!holding_others(&segment->holding))
		return;
	if (!segment->count)
		segment->count = evtimer_new(segment->host->base, segment_on_count, segment);
	/* Without memory for a timer it stays until something else asks: that loses nobody anything. */
	if (segment->count && !evtimer_pending(segment->count, NULL))
		(void)evtimer_add(segment->count, &delay);
}

int
segment_permit(struct segment *segment, bool is_open)
{
	const struct backend *backend = segment->holding.backend;

	if (segment->holding.object.fd < 0 || !backend->permit)
		return 0;
	return backend->permit(&segment->holding.object, is_open ? segment->definition : NULL);
}

uint32_t
segment_n_others(const struct segment *segment)
{
	uint64_t others = holding_others(&segment->holding);

	return (uint32_t)(others - min_u64(others, segment_n_attached(segment)));
}
