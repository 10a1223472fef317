/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* How values are written for people: sizes, times, users, and strings that somebody else chose. */
#ifndef CLIENT_SEGMENTCTL_TEXT_H
#define CLIENT_SEGMENTCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_SIZE	32		/* of a buffer for a size, a percentage or a time */
#define TEXT_USER_SIZE	64		/* of a buffer for a user's or a group's name */

/* The bytes of the UTF-8 character at p, 1 to 4; 0 where none is well formed. p ends with a NUL. */
size_t text_utf8_length(const unsigned char *p);

/*
 * Writes a string that may come from a peer: control characters and bytes that are not UTF-8 as \ooo, so that no string
 * moves the cursor, recolours the terminal or forges a line.
 */
void text_put_escaped(FILE *out, const char *string);
/* The same as a new string; NULL when memory is short. */
char *text_escape(const char *string);
/* Columns that an escaped string takes on a terminal. */
size_t text_width(const char *escaped);

/* The beginning of an escaped string, with a mark of its being one, so that both take width columns; NULL when memory is short. */
char *text_cut(const char *escaped, size_t width);

/* "1 GiB", "1.5 MiB", "0 B". */
void text_format_size(uint64_t bytes, char buf[TEXT_SIZE]);
/* part of total in whole percent, 0 to 100; rounded down, so 100 means all. */
unsigned text_percent(uint64_t part, uint64_t total);
/* Nanoseconds since 1970 as local time, "2026-01-31 23:59:59"; as_json: as UTC, "2026-01-31T23:59:59.123456Z". */
void text_format_time(uint64_t since_ns, bool as_json, char buf[TEXT_SIZE]);

/* The name of a user or group, or its number where it has no name. */
void text_format_user(uint32_t uid, char buf[TEXT_USER_SIZE]);
void text_format_group(uint32_t gid, char buf[TEXT_USER_SIZE]);

/* Whether a fixed field of the wire ends with a NUL. */
bool text_field_ends(const char *field, size_t size);

#endif
