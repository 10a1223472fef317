/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Starts of a daemon without a service manager, in which something fails: it becomes ready, or ends with a sentence. */
#ifndef TESTS_FAULTS_STARTING_H
#define TESTS_FAULTS_STARTING_H

#include "tests/faults/injector.h"

/* With what is armed, or will be. */
void starting_launch(struct harness_daemon *daemon, struct injector *injector);
/* It ended by itself, since something failed in it: not with 0, and with a sentence. */
void starting_expect_sentence(const struct harness_daemon *daemon, const struct injector *injector, int status);
/* Until it is ready: true. Or it ends, and another one becomes ready, in which nothing fails. */
bool starting_await_ready(struct harness_daemon *daemon, struct injector *injector);

#endif
