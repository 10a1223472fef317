/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Numbers and texts as bytes, little-endian, and back. Writing grows and remembers that memory ran short; reading never goes
 * past the end and remembers that it would have. Internal to conf/.
 */
#ifndef CONF_PACK_BYTES_H
#define CONF_PACK_BYTES_H

#include "conf/pack.h"

void pack_put(struct pack *pack, const void *bytes, size_t length);
void pack_put_u8(struct pack *pack, uint8_t value);
void pack_put_u32(struct pack *pack, uint32_t value);
void pack_put_u64(struct pack *pack, uint64_t value);
/* A length and so many bytes; NULL is told from "". */
void pack_put_text(struct pack *pack, const char *text);
/* Leaves room for a length, which pack_end fills in with how much was put since. */
size_t pack_begin(struct pack *pack);
void pack_end(struct pack *pack, size_t begun);

/* Bytes that are being read. Whatever is read past the end is zero, and is_short is set. */
struct cursor {
	const unsigned char *at;
	const unsigned char *end;
	bool is_short;
};

static inline size_t
cursor_left(const struct cursor *cursor)
{
	return (size_t)(cursor->end - cursor->at);
}

uint8_t cursor_u8(struct cursor *cursor);
uint32_t cursor_u32(struct cursor *cursor);
uint64_t cursor_u64(struct cursor *cursor);
/* The next length bytes as a cursor of their own. */
struct cursor cursor_take(struct cursor *cursor, size_t length);
/* What pack_begin and pack_end enclosed. */
struct cursor cursor_enclosed(struct cursor *cursor);
/* All that is left as a string of its own, without a byte 0 in it. 0, PACK_E_INVALID or -ENOMEM. */
int cursor_rest(struct cursor *cursor, char **ret_text);
/* What pack_put_text put. */
int cursor_text(struct cursor *cursor, char **ret_text);

#endif
