/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the kernel counts for each uid, as descriptors in flight, it counts for all programs of that uid on the host: who lowers a
 * limit for such a thing has others' as well. A test that is apart has a uid that nobody else has.
 */
#ifndef TESTS_SYSTEM_APART_H
#define TESTS_SYSTEM_APART_H

/*
 * In a user namespace of its own, from now on, the test and all that it starts are root there, and can be HARNESS_NOBODY, and
 * neither is to the host. Where that is not to be had, as without root, it says so and goes on as it is.
 */
void apart_enter(void);

#endif
