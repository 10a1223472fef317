/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Numbers and texts as bytes, little-endian, and back. */
#include "config.h"

#include "conf/pack_bytes.h"

#include "base/base.h"

#define NO_TEXT		UINT32_MAX	/* the length of NULL */

void
pack_deinit(struct pack *pack)
{
	free(pack->bytes);
	*pack = (struct pack)PACK_NULL;
}

void
pack_put(struct pack *pack, const void *bytes, size_t length)
{
	if (pack->error)
		return;
	if (length > pack->room - pack->length) {
		size_t room = max_u64(2 * pack->room, pack->length + length + 512);
		unsigned char *grown = realloc(pack->bytes, room);

		if (!grown) {
			pack->error = -ENOMEM;
			return;
		}
		pack->bytes = grown;
		pack->room = room;
	}
	if (length)
		memcpy(pack->bytes + pack->length, bytes, length);
	pack->length += length;
}

/* Numbers are taken apart by hand: the same bytes on every host. */
static void
encode(unsigned char *to, size_t size, uint64_t value)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (unsigned char)(value >> (8 * i));
}

void
pack_put_u8(struct pack *pack, uint8_t value)
{
	pack_put(pack, &value, sizeof(value));
}

void
pack_put_u32(struct pack *pack, uint32_t value)
{
	unsigned char bytes[4];

	encode(bytes, sizeof(bytes), value);
	pack_put(pack, bytes, sizeof(bytes));
}

void
pack_put_u64(struct pack *pack, uint64_t value)
{
	unsigned char bytes[8];

	encode(bytes, sizeof(bytes), value);
	pack_put(pack, bytes, sizeof(bytes));
}

void
pack_put_text(struct pack *pack, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	pack_put_u32(pack, text ? (uint32_t)length : NO_TEXT);
	pack_put(pack, text, length);
}

size_t
pack_begin(struct pack *pack)
{
	pack_put_u32(pack, 0);
	return pack->length;
}

void
pack_end(struct pack *pack, size_t begun)
{
	if (!pack->error)
		encode(pack->bytes + begun - 4, 4, pack->length - begun);
}

static uint64_t
decode(struct cursor *cursor, size_t size)
{
	uint64_t value = 0;

	if (cursor_left(cursor) < size) {
		cursor->at = cursor->end;
		cursor->is_short = true;
		return 0;
	}
	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)cursor->at[i] << (8 * i);
	cursor->at += size;
	return value;
}

uint8_t
cursor_u8(struct cursor *cursor)
{
	return (uint8_t)decode(cursor, 1);
}

uint32_t
cursor_u32(struct cursor *cursor)
{
	return (uint32_t)decode(cursor, 4);
}

uint64_t
cursor_u64(struct cursor *cursor)
{
	return decode(cursor, 8);
}

struct cursor
cursor_take(struct cursor *cursor, size_t length)
{
	struct cursor taken = { .at = cursor->at, .end = cursor->end };

	if (cursor_left(cursor) < length) {
		taken.at = cursor->at = cursor->end;
		cursor->is_short = taken.is_short = true;
		return taken;
	}
	taken.end = cursor->at = cursor->at + length;
	return taken;
}

struct cursor
cursor_enclosed(struct cursor *cursor)
{
	return cursor_take(cursor, cursor_u32(cursor));
}

int
cursor_rest(struct cursor *cursor, char **ret_text)
{
	size_t length = cursor_left(cursor);
	char *text;

	if (cursor->is_short || (length && memchr(cursor->at, '\0', length)))
		return PACK_E_INVALID;
	text = malloc(length + 1);
	if (!text)
		return -ENOMEM;
	if (length)
		memcpy(text, cursor->at, length);
	text[length] = '\0';
	cursor->at = cursor->end;
	*ret_text = text;
	return 0;
}

int
cursor_text(struct cursor *cursor, char **ret_text)
{
	uint32_t length = cursor_u32(cursor);
	struct cursor text;

	if (length == NO_TEXT) {
		*ret_text = NULL;
		return 0;
	}
	text = cursor_take(cursor, length);
	return cursor_rest(&text, ret_text);
}
