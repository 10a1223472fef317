/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One check of doctor's run by itself, of definitions that the test makes, whatever the configuration's grammar takes. */
#ifndef TESTS_SEGMENTCTL_DOCTOR_DIRECT_H
#define TESTS_SEGMENTCTL_DOCTOR_DIRECT_H

#include "client/segmentctl/doctor.h"

extern struct doctor direct;
extern struct conf direct_conf;
extern struct definition direct_definitions[3];

/* The definition of this number, and doctor, begun anew; those before it stay, and those behind it are left out. */
void direct_define(size_t i, const char *name, enum definition_backend backend, uint64_t size_bytes, bool required);

/* Runs one check, which has so many rows. */
void direct_run(doctor_check_fn check, size_t n_rows);

/* Runs one check; its only row has the level, says the words, and is about so many segments. */
void direct_assert(doctor_check_fn check, enum doctor_level level, const char *words, size_t n_segments);

/* After each test. */
void direct_drop_rows(void);

#endif
