/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The clock of the tests' patience, see harness-clock.c. Part of the harness; who has no use for the rest compiles it alone.
 */
#ifndef TESTS_HARNESS_CLOCK_H
#define TESTS_HARNESS_CLOCK_H

#include <poll.h>
#include <stdint.h>

/*
 * Time for which there was somebody to look, in this thread: of what goes by between two calls a second counts, and no more. The
 * machine may stand still: a wait for something that has to come ends by this clock. Times of it are compared within a thread.
 */
uint64_t harness_clock_ns(void);
/*
 * How long somebody has waited who began at that time of clock_monotonic_ns(), anew since the last standstill: for who looks at others
 * again and again.
 */
uint64_t harness_passed_ns(uint64_t since_ns);
/* poll(2) for so long of that clock, less than 0: without end. No signal ends it. */
int harness_poll(struct pollfd *fds, nfds_t n, int ms);

#endif
