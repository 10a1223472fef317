/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A waiter is killed at each instruction of segment_lock() and segment_unlock(), while a living owner has the lock and then
 * gives it back, and a third process sleeps for it. The third has to be woken by what is done at a death (a recovery, or
 * a wake where the dead had nothing), since its sleep has no slices here.
 */
#ifndef TESTS_SWEEP_THIRD_H
#define TESTS_SWEEP_THIRD_H

#include <stdint.h>

/* Says what it did. Returns how much was bad. */
uint64_t third_sweep(uint64_t *ret_positions);

#endif
