/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Inputs that are rows of steps of a fixed size, each with its kind in the first byte. */
#ifndef TESTS_FUZZ_STEPS_H
#define TESTS_FUZZ_STEPS_H

#include "base/base.h"

/* What each number is for is its kind's matter. */
struct step {
	uint8_t kind;
	uint8_t which;			/* peer, handle or flags */
	uint8_t a;
	uint8_t b;
	uint32_t x;
	uint64_t y;
};

/* For LLVMFuzzerCustomMutator: the new size. */
size_t steps_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, unsigned n_kinds);

#endif
