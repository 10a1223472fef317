/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * client/lock_wait.c with a sleep that the test has in its hand: a slice ends at once, or never. And with one CPU, so that
 * nobody spins before it sleeps: that only looks.
 */
#ifndef TESTS_SWEEP_WAITING_H
#define TESTS_SWEEP_WAITING_H

#include <stdint.h>

/*
 * NULL: every slice ends at once, without a wake. Else there are no slices: only a wake ends a sleep, and this is 1 from
 * shortly before it to shortly after it. Of this process.
 */
extern volatile uint32_t *waiting_is_asleep;

#endif
