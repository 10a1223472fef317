/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* How busy others kept this machine while we measured: /proc/stat, less the CPU time of our own processes. */
#ifndef BENCH_GATE_H
#define BENCH_GATE_H

#include <stdint.h>

#include "bench/bench.h"

struct gate {
	uint64_t at_ns;
	uint64_t busy_ns;		/* of all CPUs, whoever it was */
	uint64_t own_ns;
};

void gate_read(const struct bench *bench, struct gate *ret_gate);

/* What others took between the two, as a fraction of all CPUs; never negative. */
double gate_other(const struct gate *before, const struct gate *after);

#endif
