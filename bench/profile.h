/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which system calls an attachment takes, and the share of each: `make profile`. */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include "bench/bench.h"

/* Prints the table, or why there is none here. */
void profile_attach(struct bench *bench);

#endif
