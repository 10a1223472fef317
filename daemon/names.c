/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Buckets, each a chain through the segments themselves. They are doubled when there are as many names. */
#include "config.h"

#include "base/base.h"
#include "daemon/hash.h"
#include "daemon/names.h"
#include "daemon/segment.h"

#define BUCKETS_FIRST	64

static uint32_t
names_hash(const char *name)
{
	return hash_bytes(name, strlen(name));
}

static struct segment **
names_bucket(const struct names *names, uint32_t hash)
{
	return &names->buckets[hash & (names->n_buckets - 1)];
}

static void
names_chain(struct names *names, struct segment *segment)
{
	struct segment **bucket = names_bucket(names, segment->name_hash);

	segment->names_next = *bucket;
	*bucket = segment;
}

/* Twice as many buckets; where there is no memory for them, chains are longer and nothing else. */
static void
names_grow(struct names *names)
{
	struct names wider = *names;
	struct segment *segment, *next;

	wider.n_buckets *= 2;
	wider.buckets = calloc(wider.n_buckets, sizeof(struct segment *));
	if (!wider.buckets)
		return;
	for (size_t i = 0; i < names->n_buckets; i++)
		for (segment = names->buckets[i]; segment; segment = next) {
			next = segment->names_next;
			names_chain(&wider, segment);
		}
	free(names->buckets);
	*names = wider;
}

int
names_init(struct names *names)
{
	*names = (struct names) { .n_buckets = BUCKETS_FIRST };
	names->buckets = calloc(names->n_buckets, sizeof(struct segment *));
	return names->buckets ? 0 : -ENOMEM;
}

void
names_deinit(struct names *names)
{
	free(names->buckets);
	*names = (struct names) { 0 };
}

void
names_add(struct names *names, struct segment *segment)
{
	if (names->n == names->n_buckets)
		names_grow(names);
	names->n++;
	segment->name_hash = names_hash(segment->definition->name);
	names_chain(names, segment);
}

void
names_remove(struct names *names, struct segment *segment)
{
	struct segment **at = names_bucket(names, segment->name_hash);

	while (*at != segment)
		at = &(*at)->names_next;
	*at = segment->names_next;
	names->n--;
}

struct segment *
names_find(const struct names *names, const char *name)
{
	uint32_t hash = names_hash(name);
	struct segment *segment = *names_bucket(names, hash);

	while (segment && (segment->name_hash != hash || !streq(segment->definition->name, name)))
		segment = segment->names_next;
	return segment;
}
