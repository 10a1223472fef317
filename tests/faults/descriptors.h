/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A process that has used up its RLIMIT_NOFILE, or nearly. */
#ifndef TESTS_FAULTS_DESCRIPTORS_H
#define TESTS_FAULTS_DESCRIPTORS_H

/* The calling process gets as many more than it has now, until its limit is restored. */
void descriptors_limit(unsigned more);
void descriptors_restore(void);

#endif
