/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One segment, as LIST and SHOW have it: checked, as words, and as JSON. */
#ifndef CLIENT_SEGMENTCTL_ROW_H
#define CLIENT_SEGMENTCTL_ROW_H

#include <stdbool.h>

#include "client/protocol.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/text.h"

#define ROW_STATE_SIZE	32
#define ROW_OWNER_SIZE	(2 * TEXT_USER_SIZE + 1)
#define ROW_MODE_SIZE	8

/* Whether its name ends; nothing else in it can hurt. */
bool row_is_sound(const struct protocol_segment *row);

const char *row_state_name(unsigned state);		/* "unknown" for what we do not know */
const char *row_state_color(const struct protocol_segment *row);	/* or NULL */
/* With the percentage while it is being provisioned, and a hint of a poisoned lock. */
void row_format_state(const struct protocol_segment *row, char buf[ROW_STATE_SIZE]);

void row_format_owner(const struct protocol_segment *row, char buf[ROW_OWNER_SIZE]);	/* "user:group" */
void row_format_mode(const struct protocol_segment *row, char buf[ROW_MODE_SIZE]);

const char *row_backend_name(unsigned backend);
const char *row_page_size_name(unsigned page_size);	/* as asked */
const char *row_lifetime_name(unsigned lifetime);
const char *row_numa_name(unsigned numa);
/* What its pages are: "2MiB", "mixed", "4KiB"; NULL: it has none. */
const char *row_page_size_had(const struct protocol_segment *row);

/* The members of an object of it. */
void row_add_members(struct json *json, const struct protocol_segment *row);

#endif
