/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A host of files for doctor, below a root of its own (tests/host/tree.h), on which everything fits and nothing is to be noted. */
#ifndef TESTS_SEGMENTCTL_DOCTOR_HOST_H
#define TESTS_SEGMENTCTL_DOCTOR_HOST_H

/* Its configuration: three segments, of which "cache" is not required and "prices" takes less. */
extern char doctor_conf[128];

/* Makes all of it anew; before each test. */
void doctor_put_host(void);
void doctor_put_meminfo(unsigned available_mib, unsigned swap_mib, unsigned commit_mib);
void doctor_put_limits(const char *nofile, const char *memlock);

/* Whether there is what a command is about, where that can be told without running it. */
void doctor_try_command(const char *command);

#endif
