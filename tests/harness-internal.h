/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the harness's files share. */
#ifndef TESTS_HARNESS_INTERNAL_H
#define TESTS_HARNESS_INTERNAL_H

#include <stdbool.h>

extern bool harness_in_child;	/* this process is not the test's own: it must not speak to Check */

#endif
