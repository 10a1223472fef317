/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Inputs that are rows of steps of a fixed size, each with its kind in the first byte. */
#ifndef TESTS_FUZZ_STEPS_H
#define TESTS_FUZZ_STEPS_H

#include "base/base.h"

/* For LLVMFuzzerCustomMutator: the new size. A step has 64 bytes at most. */
size_t steps_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, size_t step, unsigned n_kinds);

#endif
