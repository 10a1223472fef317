/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Kinds of shared memory: a backend with a size of pages, as a definition asks for it, and as a bare program makes it. */
#ifndef BENCH_KINDS_H
#define BENCH_KINDS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/bench.h"
#include "bench/populate.h"

struct kind_row;

struct kind {
	const char *name;			/* as in "sysv/2MiB" */
	const struct populate_method *methods[2];	/* the bare ways to its pages; the second may be NULL */
	uint64_t page_bytes;			/* what one store makes writable: the size of its pages */
	bool primes_huge;
	bool is_pooled;				/* of the hugetlb pool of that size */
	const struct kind_row *row;
};

extern const struct kind kinds[];
extern const unsigned kinds_n;

/* Memory of a kind, which a bare program made or found. */
struct kind_memory {
	const struct kind *kind;
	uint64_t size_bytes;
	int fd;					/* -1: none */
	int shm_id;				/* -1: none */
	char path[128];				/* of its file, or its object's name; empty: none, or not ours to remove */
};

/* Of the same backend, with base pages. */
const struct kind *kind_of_base_pages(const struct kind *kind);

/* Why so much of a kind cannot be had here; NULL: it can. */
const char *kind_why_not(const struct kind *kind, uint64_t size_bytes);

/* A definition's keys for segment `index`, which has to have a name of its own in some backends. */
void kind_define(const struct kind *kind, const char *directory, unsigned index, char *text, size_t size);

/* 0 or a negative errno. */
int kind_make(const struct kind *kind, const char *directory, uint64_t size_bytes, struct kind_memory *memory);
/* What the daemon has as segment `index` of that definition; fd: of the segment, if it has one. */
int kind_find(const struct kind *kind, unsigned index, int fd, uint64_t size_bytes, struct kind_memory *memory);
/* At a multiple of what its pages ask for; populate: with all its pages. NULL with errno. */
char *kind_map(const struct kind_memory *memory, bool populate);
void kind_unmap(const struct kind_memory *memory, char *at);
void kind_remove(struct kind_memory *memory);

/* What the daemon keeps of segment `index` when it ends. */
void kind_remove_kept(const struct kind *kind, const char *directory, unsigned index);

#endif
