/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a daemon has begun goes on until it, and all that it has started, wait for others: then nothing fails in it any more. */
#ifndef TESTS_FAULTS_ASLEEP_H
#define TESTS_FAULTS_ASLEEP_H

#include <sys/types.h>

/* Fails the test if it has died. */
void asleep_await(pid_t daemon);
/* Likewise somebody who may also end. */
void asleep_await_end(pid_t pid);

#endif
