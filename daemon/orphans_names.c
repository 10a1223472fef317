/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A chained table, and a binary heap of those that are due. Room in the heap is made with each name, so that sorting cannot fail. */
#include "config.h"

#include "base/base.h"
#include "daemon/hash.h"
#include "daemon/orphans_names.h"

#define BUCKETS_FIRST	64

static uint32_t
names_hash(const char *text)
{
	return hash_bytes(text, strlen(text));
}

int
orphans_names_init(struct orphans_names *names)
{
	*names = (struct orphans_names) { .n_buckets = BUCKETS_FIRST };
	names->buckets = calloc(names->n_buckets, sizeof(struct orphans_name *));
	if (names->buckets)
		return 0;
	names->n_buckets = 0;
	return -ENOMEM;
}

bool
orphans_names_free_some(struct orphans_names *names, uint64_t until_ns)
{
	struct orphans_name *name;

	free(take_ptr(names->heap));
	names->n_heap = names->n_heap_allocated = 0;
	while (names->n_buckets) {
		if ((name = names->buckets[names->n_buckets - 1])) {
			names->buckets[names->n_buckets - 1] = name->next;
			free(name);
			names->n--;
		} else {
			names->n_buckets--;
		}
		if (names->n_buckets % 64 == 0 && names->n_buckets && clock_monotonic_ns() >= until_ns)
			return false;
	}
	free(take_ptr(names->buckets));
	return true;
}

static void
names_grow(struct orphans_names *names)
{
	size_t n_buckets = 2 * names->n_buckets;
	struct orphans_name **buckets = calloc(n_buckets, sizeof(struct orphans_name *)), *name, *next;

	if (!buckets)
		return;
	for (size_t i = 0; i < names->n_buckets; i++)
		for (name = names->buckets[i]; name; name = next) {
			next = name->next;
			name->next = buckets[name->hash & (n_buckets - 1)];
			buckets[name->hash & (n_buckets - 1)] = name;
		}
	free(names->buckets);
	names->buckets = buckets;
	names->n_buckets = n_buckets;
}

static bool
names_make_room(struct orphans_names *names)
{
	size_t n = names->n_heap_allocated ? 2 * names->n_heap_allocated : BUCKETS_FIRST;
	void *heap;

	if (names->n == names->n_buckets)
		names_grow(names);
	/* The heap's first place is not used. */
	if (names->n + 1 < names->n_heap_allocated)
		return true;
	heap = reallocarray(names->heap, n, sizeof(struct orphans_name *));
	if (!heap)
		return false;
	names->heap = heap;
	names->n_heap_allocated = n;
	return true;
}

struct orphans_name *
orphans_names_find(const struct orphans_names *names, const char *text)
{
	uint32_t hash = names_hash(text);
	struct orphans_name *name = names->buckets[hash & (names->n_buckets - 1)];

	while (name && (name->hash != hash || !streq(name->text, text)))
		name = name->next;
	return name;
}

struct orphans_name *
orphans_names_add(struct orphans_names *names, const char *text)
{
	size_t size = strlen(text) + 1;
	struct orphans_name *name, **bucket;

	if (!names_make_room(names) || !(name = malloc(sizeof(*name) + size)))
		return NULL;
	*name = (struct orphans_name) { .hash = names_hash(text) };
	memcpy(name->text, text, size);
	bucket = &names->buckets[name->hash & (names->n_buckets - 1)];
	name->next = *bucket;
	*bucket = name;
	names->n++;
	return name;
}

void
orphans_names_remove(struct orphans_names *names, struct orphans_name *name)
{
	struct orphans_name **at = &names->buckets[name->hash & (names->n_buckets - 1)];

	orphans_names_unsort(names, name);
	while (*at != name)
		at = &(*at)->next;
	*at = name->next;
	names->n--;
	free(name);
}

static void
heap_put(struct orphans_names *names, size_t place, struct orphans_name *name)
{
	names->heap[place] = name;
	name->place = (uint32_t)place;
}

/* Finds the place for a name, from a place on that is free. */
static void
heap_settle(struct orphans_names *names, size_t place, struct orphans_name *name)
{
	size_t child;

	for (; place > 1 && names->heap[place / 2]->due_ns > name->due_ns; place /= 2)
		heap_put(names, place, names->heap[place / 2]);
	for (; (child = 2 * place) <= names->n_heap; place = child) {
		if (child < names->n_heap && names->heap[child + 1]->due_ns < names->heap[child]->due_ns)
			child++;
		if (names->heap[child]->due_ns >= name->due_ns)
			break;
		heap_put(names, place, names->heap[child]);
	}
	heap_put(names, place, name);
}

void
orphans_names_sort(struct orphans_names *names, struct orphans_name *name)
{
	heap_settle(names, name->place ? name->place : ++names->n_heap, name);
}

void
orphans_names_unsort(struct orphans_names *names, struct orphans_name *name)
{
	struct orphans_name *last;
	size_t place = name->place;

	if (!place)
		return;
	name->place = 0;
	last = names->heap[names->n_heap--];
	if (last != name)
		heap_settle(names, place, last);
}

struct orphans_name *
orphans_names_first(const struct orphans_names *names)
{
	return names->n_heap ? names->heap[1] : NULL;
}
