/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One event as a line: for people, or a JSON object. What came before it and was lost is a line of its own. */
#ifndef CLIENT_SEGMENTCTL_EVENT_H
#define CLIENT_SEGMENTCTL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/protocol.h"

#define EVENT_LOST_UNKNOWN	UINT64_MAX	/* nobody knows how many: the daemon was restarted */

struct event_style {
	bool json;
	bool has_color;
	size_t name_width;		/* of the widest name so far */
};

/* A set of kinds, a bit each, of a list as in "died,poisoned". The first of it that is none; or NULL. */
const char *event_parse_kinds(const char *list, uint32_t *ret_kinds, size_t *ret_length);
/* All names, with commas. */
const char *event_all_kinds(char *buf, size_t size);

/* Whether its names end; nothing else in it can hurt. */
bool event_is_sound(const struct protocol_event *event);

/* Print a line each, and flush it in one piece. 0 or a negative errno. */
int event_print(struct event_style *style, const struct protocol_event *event);
int event_print_lost(struct event_style *style, uint64_t time_ns, uint64_t lost);

#endif
