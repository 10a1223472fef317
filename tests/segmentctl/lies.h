/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A daemon that lies, and is found out. */
#ifndef TESTS_SEGMENTCTL_LIES_H
#define TESTS_SEGMENTCTL_LIES_H

#include "tests/segmentctl/fake.h"

extern struct fake lies_fake;

/* After each test. */
void lies_stop(void);

/*
 * Runs a command against a liar, in both forms, and expects it to be found out; no lie is printed as an answer. out: what was
 * true before it.
 */
void lies_assert_found_out_after(fake_handler handler, const char *command, const char *arg, const char *part, const char *out);
/* Nothing was. */
void lies_assert_found_out(fake_handler handler, const char *command, const char *arg, const char *part);

/* A reply that is a header, and nothing else. */
void lies_answer_short(const struct fake_request *request);

#endif
