/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The bare ways of making shared memory resident: what the daemon's own way is measured against. */
#ifndef BENCH_POPULATE_H
#define BENCH_POPULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/bench.h"

struct populate_method;

extern const struct populate_method populate_touch;	/* a store to each page, one thread */
extern const struct populate_method populate_base;	/* MADV_POPULATE_WRITE, base pages, two threads */
extern const struct populate_method populate_advised;	/* MADV_HUGEPAGE first */
extern const struct populate_method populate_collapsed;	/* a page in each 2 MiB, then MADV_COLLAPSE */
extern const struct populate_method populate_hugetlb;	/* pages of the 2 MiB pool */
extern const struct populate_method populate_read;	/* MADV_POPULATE_READ, for files whose blocks are there, two threads */

const char *populate_name(const struct populate_method *method);

/* Whether this host gives size_bytes that way. */
bool populate_possible(const struct populate_method *method, uint64_t size_bytes);

/* Makes what is mapped there resident, n_threads at once (1 or 2). 0 or an errno. */
int populate_run(const struct bench *bench, const struct populate_method *method, unsigned n_threads, char *at,
    uint64_t length);

/* An address, a multiple of align_bytes, with nothing mapped for size_bytes behind it; NULL with errno: there is none. */
char *populate_hole(uint64_t size_bytes, uint64_t align_bytes);

/* Makes a segment, fills it, gives it back; the seconds from its creation until it was resident. */
double populate_time(const struct bench *bench, const struct populate_method *method, uint64_t size_bytes);

/*
 * Has the host give this virtual machine the memory that comes next: allocated and freed at once, it stays ours for some
 * seconds, and what is timed is the guest's work alone. Private memory: huge pages of that ask no shmem_enabled.
 */
void populate_prime(const struct bench *bench, uint64_t size_bytes, bool huge);

bool populate_primes_huge(const struct populate_method *method);

#endif
