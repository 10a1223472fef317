/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments that programs reach without us: by a key, or by a name. The kernel keeps whom a definition does not let in away from
 * them.
 *
 * Where it counts who has them, nothing tells of a change of that count. So while somebody has one whom nobody waits for by
 * other means, and something waits for its being left, the kernel is asked now and again; of any segment where it could not say.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/segment.h"
#include "daemon/timer.h"

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

	/* As it was when it was not alone: who had it may have gone since. */
	if (!segment->holding.asks_again)
		return;
	if (!segment->count)
		segment->count = evtimer_new(segment->host->base, segment_on_count, segment);
	/* Without memory for a timer it stays until something else asks: that loses nobody anything. */
	if (segment->count && !evtimer_pending(segment->count, NULL))
		timer_add(segment->count, &delay);
}

int
segment_admit(struct segment *segment, const struct definition *definition, char *text, size_t text_size)
{
	const struct holding *holding = &segment->holding;

	if (holding->object.fd < 0 || !holding->backend->admit)
		return 0;
	return holding->backend->admit(&holding->object, definition, text, text_size);
}

void
segment_admit_or_tell(struct segment *segment)
{
	const char *name = segment->definition->name;
	static struct log_limit limit = LOG_LIMIT(20);
	char text[FINDINGS_TEXT_SIZE];

	/* Of what is scrubbed, as often as its clients let go of it. */
	if (segment_admit(segment, segment->definition, text, sizeof(text)) && log_allowed(&limit))
		log_write(MESSAGE_SEGMENT_OPEN, &(struct log_about) { .segment = name }, "segment '%s': %s; without us it is open to whom it was "
		    "open before", name, text);
}

void
segment_readmit(struct segment *segment)
{
	const struct holding *holding = &segment->holding;

	if (segment->state == PROTOCOL_READY && holding->backend->is_admitted && !holding->backend->is_admitted(&holding->object))
		segment_admit_or_tell(segment);
}

/* That are at its pages: they have it, too, by the kernel's count. One that has just begun, or ended, may be one too many. */
static uint32_t
segment_n_workers(const struct segment *segment)
{
	return (segment->provision ? segment->provision->n_busy : 0) + (segment->growth ? segment->growth->n_busy : 0);
}

uint32_t
segment_n_others(struct segment *segment)
{
	struct holding *holding = &segment->holding;
	uint64_t others = holding_others(holding);
	uint32_t n_attached = segment_n_attached(segment);

	if (holding->object.fd < 0 || !(holding->backend->features & BACKEND_NAMED))
		return 0;
	if (holding->backend->features & BACKEND_COUNTED)
		return (uint32_t)(others - min_u64(others, n_attached + segment_n_workers(segment)));
	return !n_attached && !holding_is_alone(holding);
}

bool
segment_counts_others(const struct segment *segment)
{
	const struct holding *holding = &segment->holding;

	return holding->object.fd >= 0 && holding->backend->features & BACKEND_COUNTED;
}

int
segment_check(const struct segment *segment, char *text, size_t text_size)
{
	const struct holding *holding = &segment->holding;

	text[0] = '\0';
	if (holding->object.fd < 0 || !holding->backend->check)
		return 0;
	return holding->backend->check(&holding->object, text, text_size);
}

bool
segment_is_unsealed(const struct segment *segment)
{
	const struct holding *holding = &segment->holding;

	return holding->object.fd >= 0 && holding->backend->features & BACKEND_FD &&
	    !(holding->backend->features & BACKEND_SEALED);
}
