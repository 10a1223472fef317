/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Quiet points of a soak: what the daemon counts is what /proc shows while all stand still; and when the crowd has gone, the daemon
 * has no more than before it came.
 */
#ifndef TESTS_SOAK_QUIET_H
#define TESTS_SOAK_QUIET_H

#include "tests/soak/operator.h"

#define QUIET_POINTS_MAX	4096

/* What the daemon has when there is nobody. */
struct quiet {
	struct harness_usage usage;
	uint64_t rss_kib, charged_bytes;
	unsigned n;
	struct {
		uint64_t rss_kib, charged_bytes;
		size_t fds;
		pid_t pid;
		double at;
	} points[QUIET_POINTS_MAX];
};

/* Nobody has come yet. */
void quiet_begin(struct quiet *quiet, struct operator *operator);
/* The crowd stands still, and then goes. */
void quiet_look(struct quiet *quiet, struct operator *operator, struct crowd *crowd);
/* How it was from point to point; and that it did not rise with one daemon. */
void quiet_print(const struct quiet *quiet);
void quiet_expect_level(const struct quiet *quiet);

#endif
