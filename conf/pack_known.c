/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Definitions of a packed configuration, found by their bytes: who meets the same bytes again need not unpack them. */
#include "config.h"

#include "base/base.h"
#include "conf/pack.h"
#include "conf/pack_known.h"

struct pack_known *
pack_known_new(size_t n_max)
{
	struct pack_known *known = calloc(1, sizeof(*known));
	size_t n_places = 16;

	while (n_places < 2 * n_max)
		n_places *= 2;
	if (!known)
		return NULL;
	known->places = calloc(n_places, sizeof(*known->places));
	known->mask = n_places - 1;
	return known->places ? known : pack_known_free(known);
}

/* By words, since thousands of them are looked for; the length is of it, so that no byte that is left counts for less. */
static uint64_t
hash_of(const unsigned char *bytes, size_t length)
{
	uint64_t hash = length * UINT64_C(0x9e3779b97f4a7c15), word;

	for (size_t i = 0; i < length; i += sizeof(word)) {
		word = 0;
		memcpy(&word, bytes + i, min_u64(sizeof(word), length - i));
		hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	return hash;
}

/* Where it is, or would be. There is always a free place. */
static struct pack_known_place *
find_place(const struct pack_known *known, const unsigned char *bytes, size_t length)
{
	size_t at = hash_of(bytes, length) & known->mask;

	while (known->places[at].definition &&
	    (known->places[at].length != length || memcmp(known->places[at].bytes, bytes, length) != 0))
		at = (at + 1) & known->mask;
	return &known->places[at];
}

void
pack_known_add(struct pack_known *known, const unsigned char *bytes, size_t length, struct definition *definition)
{
	*find_place(known, bytes, length) = (struct pack_known_place) { bytes, length, definition };
}

struct definition *
pack_known_find(const struct pack_known *known, const void *bytes, size_t length, const void **ret_bytes)
{
	const struct pack_known_place *place = known && length ? find_place(known, bytes, length) : NULL;

	if (!place || !place->definition)
		return NULL;
	*ret_bytes = place->bytes;
	return place->definition;
}

struct pack_known *
pack_known_free(struct pack_known *known)
{
	if (!known)
		return NULL;
	free(known->window);
	free(known->places);
	free(known);
	return NULL;
}
