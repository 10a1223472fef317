/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Where the daemon is, by the kernel, while a heartbeat takes long: for who wants to know why. */
#ifndef TESTS_SOAK_STALLS_H
#define TESTS_SOAK_STALLS_H

#include "tests/harness.h"

/* Each turn of the soak: looks, if there is something to see. */
void stalls_look(pid_t daemon);
void stalls_print(void);

#endif
