/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the tests of a configuration as bytes share. */
#ifndef TESTS_CONF_PACKING_H
#define TESTS_CONF_PACKING_H

#include "tests/conf/suite.h"

/* Segments and templates with keys of all kinds; the second segment has most of them. */
extern const char packing_text[];

/* Numbers as by chance, the same in each run. */
uint64_t packing_random(void);
uint64_t packing_random_between(uint64_t min, uint64_t max);

/* An empty file in memory, and the bytes of one. */
int packing_file(void);
uint64_t packing_length(int fd);

#endif
