/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Raising a segment's size while clients use it. Definitions are never changed: the one with the new size is made first, so
 * that nothing can fail once the memory is there, and takes the running one's place in the end.
 *
 * One growth runs at a time. What is wanted may change meanwhile: a larger size is the next growth, a smaller one cancels the
 * one that runs.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/segment.h"

#define SEGMENT_E_WAITS	1

#define TELL_NS		(NS_PER_SEC / 10)	/* between two events of progress */

void
segment_tell_progress(struct segment *segment, struct provision *provision)
{
	uint64_t done_bytes = provision_progress_bytes(provision), end_bytes = provision_end_bytes(provision), now_ns;

	/* The end has an event of its own. */
	if (done_bytes == end_bytes || done_bytes < provision->told_bytes + end_bytes / 100)
		return;
	now_ns = clock_monotonic_ns();
	if (now_ns - provision->told_ns < TELL_NS)
		return;
	provision->told_ns = now_ns;
	provision->told_bytes = done_bytes;
	events_post_size(segment->host->events, PROTOCOL_EVENT_PROGRESS, segment, done_bytes, end_bytes);
}

static void
segment_on_growth(struct provision *provision)
{
	segment_tell_progress(provision->owner, provision);
}

static void
growth_sentence(const struct segment *segment, uint64_t wanted_bytes, const char *why, char *text, size_t text_size)
{
	char was[32], wanted[32];

	(void)snprintf(text, text_size, "its size could not be raised from %s to %s: %s",
	    findings_size(was, sizeof(was), segment->definition->size_bytes),
	    findings_size(wanted, sizeof(wanted), wanted_bytes), why);
}

static void
segment_explain_growth(struct segment *segment, uint64_t wanted_bytes, const char *why)
{
	char text[FINDINGS_TEXT_SIZE + 128];

	growth_sentence(segment, wanted_bytes, why, text, sizeof(text));
	segment->growth_reason = strdup(text);
}

/* A growth has ended; text: why it failed, or what the new memory has not as asked. */
static void
segment_end_growth(struct segment *segment, int r, const char *text)
{
	struct definition *grown = take_ptr(segment->grown);
	uint64_t was_bytes = segment->definition->size_bytes;
	uint64_t wanted_bytes = grown ? grown->size_bytes : segment->grow_to_bytes;
	/* One that was cancelled may have been asked for again since; one that failed would fail again. */
	bool is_given_up = segment->grow_to_bytes <= was_bytes ||
	    (r != -ECANCELED && segment->grow_to_bytes == wanted_bytes);

	if (r == 0) {
		if (*text)
			segment_set_reason(segment, text);
		segment_redefine(segment, grown);
		events_post_size(segment->host->events, PROTOCOL_EVENT_GROWN, segment, wanted_bytes, 0);
	} else if (is_given_up) {
		segment->grow_to_bytes = 0;
		segment_explain_growth(segment, wanted_bytes, text);
		segment_rewrite_texts(segment);
		events_post_size(segment->host->events, PROTOCOL_EVENT_FAILED, segment, was_bytes, wanted_bytes);
	}
	(void)definition_unref(grown);
	/* One that only makes room for another is nothing to tell of. */
	if (segment->host->on_grown && (r == 0 || is_given_up))
		segment->host->on_grown(segment, was_bytes, r, segment->host->on_grown_arg);
}

static void
segment_on_grown(struct provision *provision, int r)
{
	struct segment *segment = provision->owner;
	char text[FINDINGS_TEXT_SIZE];

	memcpy(text, provision->text, sizeof(text));
	segment->growth = provision_free(provision);
	segment_end_growth(segment, r, text);
	segment_grow_on(segment);
	/* What the growth held up. */
	if (!segment->growth && !segment_n_attached(segment))
		segment_rest(segment);
}

/*
 * Begins one growth, from what it has to what is wanted. 0; SEGMENT_E_WAITS: it is to be begun again when memory has come
 * back; or a negative errno: it failed, and that was told.
 */
static int
segment_begin_growth(struct segment *segment)
{
	char text[FINDINGS_TEXT_SIZE] = "";
	int r;

	free(take_ptr(segment->growth_reason));
	segment->grown = definition_copy(segment->definition);
	if (!segment->grown) {
		segment_end_growth(segment, -ENOMEM, "the daemon is out of memory");
		return -ENOMEM;
	}
	segment->grown->size_bytes = segment->grow_to_bytes;
	r = provision_grow(segment->host->provisioner, segment->definition, &segment->holding,
	    segment->definition->size_bytes, segment->grow_to_bytes, segment_on_grown, segment_on_growth, segment,
	    &segment->growth, text, sizeof(text));
	if (segment_waits_for_room(segment, r)) {
		(void)definition_unref(take_ptr(segment->grown));
		return SEGMENT_E_WAITS;
	}
	segment->n_waits = 0;
	if (r) {
		r = r == PROVISION_E_DONE ? 0 : r;
		segment_end_growth(segment, r, text);
	}
	return r;
}

/* 0, or the error of the last growth. */
static int
segment_grow_further(struct segment *segment)
{
	int r = 0;

	/* What it has is locked first: a growth goes on from there. */
	segment_revive_on(segment);
	while (r != SEGMENT_E_WAITS && segment->state == PROTOCOL_READY && !segment->growth &&
	    segment->grow_to_bytes > segment->definition->size_bytes)
		r = segment_begin_growth(segment);
	return r == SEGMENT_E_WAITS ? 0 : r;
}

void
segment_grow_on(struct segment *segment)
{
	(void)segment_grow_further(segment);
}

/* It has no memory yet: there is nothing to be made larger. */
static int
segment_grow_declared(struct segment *segment, uint64_t size_bytes)
{
	struct definition *definition = definition_copy(segment->definition);

	if (!definition)
		return -ENOMEM;
	definition->size_bytes = size_bytes;
	segment_redefine(segment, definition);
	(void)definition_unref(definition);
	return 0;
}

int
segment_grow(struct segment *segment, struct definition *next)
{
	uint64_t size_bytes = next->size_bytes;

	if (size_bytes <= segment->definition->size_bytes || size_bytes > segment->definition->max_size_bytes)
		return -EINVAL;
	switch (segment->state) {
	case PROTOCOL_DECLARED:
	case PROTOCOL_FAILED:
		return segment_grow_declared(segment, size_bytes);
	case PROTOCOL_PROVISIONING:
	case PROTOCOL_READY:
		break;
	default:
		return -ESHUTDOWN;
	}
	segment->grow_to_bytes = size_bytes;
	if (segment->growth && segment->grown && size_bytes < segment->grown->size_bytes)
		provision_cancel(segment->growth, "a smaller size was asked for meanwhile");
	return segment_grow_further(segment);
}

bool
segment_frees_later(struct segment *segment)
{
	return segment->provision || (segment->holding.backend && !segment_is_held(segment) &&
	    !holding_is_small(&segment->holding));
}

int
segment_may_grow(struct segment *segment, uint64_t size_bytes, uint64_t ahead_bytes, char *text, size_t text_size)
{
	char why[FINDINGS_TEXT_SIZE] = "";
	int r;

	/* Later, whatever is there then; or it would wait for what is on its way back. */
	if (segment->state != PROTOCOL_READY || segment->growth || provisioner_awaits_room(segment->host->provisioner))
		return 0;
	r = provision_may_grow(segment->host->provisioner, segment->definition, &segment->holding,
	    segment->definition->size_bytes, size_bytes, ahead_bytes, why, sizeof(why));
	if (r >= 0)
		return 0;
	growth_sentence(segment, size_bytes, why, text, text_size);
	return r;
}

void
segment_stop_growing(struct segment *segment, const char *why)
{
	segment->grow_to_bytes = 0;
	segment->n_waits = 0;
	/* What it has is locked again by something that is no growth. */
	if (segment->growth && segment->grown)
		provision_cancel(segment->growth, why);
}

static bool
segment_awaits_growth(const struct segment *segment)
{
	return segment->state == PROTOCOL_READY && !segment->growth && segment->n_waits &&
	    segment->grow_to_bytes > segment->definition->size_bytes;
}

const char *
segment_describe(const struct segment *segment, char *text, size_t text_size)
{
	char found[FINDINGS_TEXT_SIZE];
	const char *const parts[] = {
		segment->reason, segment->growth_reason, segment_file_trouble(segment), segment_file_note(segment),
		segment_check(segment, found, sizeof(found)) ? found : NULL,
	};
	char size[32];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < BASE_ARRAY_SIZE(parts); i++)
		if (parts[i] && len < text_size)
			len += (size_t)snprintf(text + len, text_size - len, "%s%s", len ? "; " : "", parts[i]);
	if (segment_awaits_growth(segment) && len < text_size)
		(void)snprintf(text + len, text_size - len, "%sits size is raised to %s when memory that is being given back "
		    "is there", len ? "; " : "", findings_size(size, sizeof(size), segment->grow_to_bytes));
	if (segment->growth && segment->grown && len < text_size)
		(void)snprintf(text + len, text_size - len, "%sits size is being raised to %s", len ? "; " : "",
		    findings_size(size, sizeof(size), segment->grown->size_bytes));
	return text;
}
