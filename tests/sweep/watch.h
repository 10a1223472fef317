/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A function's stores to some memory, one by one, without stepping through all that stands between them: the memory is
 * write-protected, and each store that faults is let through alone.
 */
#ifndef TESTS_SWEEP_WATCH_H
#define TESTS_SWEEP_WATCH_H

#include <stddef.h>

/*
 * Calls fn(arg) in this process and thread; seen(context) after each of its instructions that stored to the memory (whole
 * pages). 0, -ENOSYS: not on this machine, -errno.
 */
int watch_run(void *memory, size_t length, void (*fn)(void *), void *arg, void (*seen)(void *), void *context);

#endif
