/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sets of latencies: 32 bits each, since a latency beyond 4 s is a failure and not a figure. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define SAMPLES_FIRST	4096

static void
samples_reserve(struct samples *samples, size_t n)
{
	size_t capacity = samples->capacity ? samples->capacity : SAMPLES_FIRST;

	if (n <= samples->capacity)
		return;
	while (capacity < n)
		capacity *= 2;
	samples->ns = realloc(samples->ns, capacity * sizeof(samples->ns[0]));
	if (!samples->ns)
		bench_fail("no memory for %zu samples", capacity);
	samples->capacity = capacity;
}

void
samples_add(struct samples *samples, uint64_t ns)
{
	if (samples->n == samples->capacity)
		samples_reserve(samples, samples->n + 1);
	samples->ns[samples->n++] = (uint32_t)min_u64(ns, UINT32_MAX);
}

void
samples_append(struct samples *samples, const struct samples *more)
{
	if (more->n == 0)
		return;
	samples_reserve(samples, samples->n + more->n);
	memcpy(samples->ns + samples->n, more->ns, more->n * sizeof(more->ns[0]));
	samples->n += more->n;
}

void
samples_clear(struct samples *samples)
{
	samples->n = 0;
}

void
samples_deinit(struct samples *samples)
{
	free(samples->ns);
	*samples = (struct samples)SAMPLES_NULL;
}

static int
compare_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint64_t
samples_percentile(struct samples *samples, double fraction)
{
	size_t at = (size_t)(fraction * (double)samples->n);

	if (samples->n == 0)
		return 0;
	qsort(samples->ns, samples->n, sizeof(samples->ns[0]), compare_ns);
	return samples->ns[at < samples->n ? at : samples->n - 1];
}
