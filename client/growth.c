/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments grow in place: the mapping is as large as they can become, and nothing but a number changes. The handles of those
 * that can grow are kept by their generation, so that an event, or another attachment's answer, finds them; others cost
 * nothing. The mutex is held for a few instructions only, never during a request.
 */
#include "config.h"

#include "client/client.h"

#define N_BUCKETS	256

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct bucket {
	struct segment *first;
	const struct segment_client *client;	/* whose daemon said so */
	uint64_t generation;		/* what grew last, and */
	uint64_t size_bytes;		/* how large: a handle of it may be in the making, from an older answer */
} buckets[N_BUCKETS];

static struct bucket *
bucket_of(uint64_t generation)
{
	return &buckets[generation % N_BUCKETS];
}

static bool
can_grow(const struct segment *segment)
{
	return segment->map_bytes - atomic_load_explicit(&segment->size_bytes, memory_order_relaxed) >=
	    (size_t)sysconf(_SC_PAGESIZE);
}

/* The caller has the mutex. */
static void
raise_all(struct segment_client *client, uint64_t generation, uint64_t size_bytes)
{
	struct segment *segment;

	for (segment = bucket_of(generation)->first; segment; segment = segment->growth_next)
		/* What comes late tells of less, and what is more than the mapping is not believed. */
		if (segment->client == client && segment->generation == generation && size_bytes <= segment->map_bytes &&
		    size_bytes > atomic_load_explicit(&segment->size_bytes, memory_order_relaxed))
			atomic_store_explicit(&segment->size_bytes, (size_t)size_bytes, memory_order_release);
}

void
growth_raise(struct segment_client *client, uint64_t generation, uint64_t size_bytes)
{
	struct bucket *bucket = bucket_of(generation);

	(void)pthread_mutex_lock(&mutex);
	bucket->client = client;
	bucket->generation = generation;
	bucket->size_bytes = size_bytes;
	raise_all(client, generation, size_bytes);
	(void)pthread_mutex_unlock(&mutex);
}

void
growth_add(struct segment *segment)
{
	struct bucket *bucket = bucket_of(segment->generation);

	segment->can_grow = can_grow(segment);
	(void)pthread_mutex_lock(&mutex);
	if (segment->can_grow) {
		segment->growth_previous = NULL;
		segment->growth_next = bucket->first;
		if (bucket->first)
			bucket->first->growth_previous = segment;
		bucket->first = segment;
	}
	/* It may have grown since others were attached; or since this one's answer was sent. */
	raise_all(segment->client, segment->generation, segment->size_bytes);
	if (bucket->client == segment->client && bucket->generation == segment->generation)
		raise_all(segment->client, segment->generation, bucket->size_bytes);
	(void)pthread_mutex_unlock(&mutex);
}

void
growth_remove(struct segment *segment)
{
	if (!segment->can_grow)
		return;
	(void)pthread_mutex_lock(&mutex);
	if (segment->growth_next)
		segment->growth_next->growth_previous = segment->growth_previous;
	if (segment->growth_previous)
		segment->growth_previous->growth_next = segment->growth_next;
	else
		bucket_of(segment->generation)->first = segment->growth_next;
	(void)pthread_mutex_unlock(&mutex);
}

void
growth_fork_prepare(void)
{
	(void)pthread_mutex_lock(&mutex);
}

void
growth_fork_parent(void)
{
	(void)pthread_mutex_unlock(&mutex);
}

void
growth_fork_child(void)
{
	/* The thread that has it is this one. */
	(void)pthread_mutex_unlock(&mutex);
}
