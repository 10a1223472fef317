/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The hugetlb pools of this machine, for tests that need one of a size of their own: one test program at a time has them, and
 * they are as before when it ends, however its tests end.
 */
#ifndef TESTS_SYSTEM_POOL_H
#define TESTS_SYSTEM_POOL_H

#include "tests/harness.h"

/* As an unchecked fixture: waits until no other test has the pools, and remembers them; puts them back. */
void pool_borrow(void);
void pool_give_back(void);

/* The pool of 2 MiB or 1 GiB pages has so many free pages that nobody has reserved, on a node or with -1 anywhere; or skips. */
void pool_set_free(uint64_t page_bytes, int node, uint64_t n_pages);

/* So many more pages for a node, of its common memory; or skips. */
void pool_enlarge(uint64_t page_bytes, unsigned node, uint64_t n_pages);

/* All pages of a node's part. */
uint64_t pool_pages(uint64_t page_bytes, unsigned node);

/* Its free pages less the reserved ones, now. */
uint64_t pool_free(uint64_t page_bytes);

#endif
