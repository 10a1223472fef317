/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The process that traces: every system call of who is taken, and of who is forked by it, stops there. See injector.h. */
#ifndef TESTS_FAULTS_TRACING_H
#define TESTS_FAULTS_TRACING_H

#include "tests/faults/page.h"
#include "tests/harness.h"

/* Skips where nobody may be traced. */
void tracing_start(struct harness_child *tracer, struct faults_page *page);
/* A child of the test that has stopped itself before its exec. */
void tracing_take(struct harness_child *tracer, pid_t pid);
/* All that are traced go on without. */
void tracing_let_go(struct harness_child *tracer);

#endif
