/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Where workers of a daemon in this process come from: copies of a process that was there before all else, and is small. To execute
 * this program anew, with its sanitizers, takes longer than hundreds of inputs; and workers end all the time, since time passes.
 *
 * They are this process's children, as the daemon's are, and have what posix_spawn(3) would have left open for them. Nothing else is
 * started in its place.
 */
#ifndef TESTS_FUZZ_NURSERY_H
#define TESTS_FUZZ_NURSERY_H

#include <sys/types.h>

/* Before anything else is opened or allocated. sweep: what is to be done when this process has ended, however it did. */
void nursery_open(void (*sweep)(pid_t));

#endif
