/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What has to hold: while the field changes, and when all is over. Each NULL, or a sentence that says what does not. */
#ifndef TESTS_SWEEP_JUDGE_H
#define TESTS_SWEEP_JUDGE_H

#include "tests/sweep/field.h"

/* A reader's view: a sequence that is even stands for bytes that do not change. */
struct judge_reader {
	struct {
		uint32_t sequence;	/* the last even one */
		uint32_t newest;
		unsigned char bytes[FIELD_A_BYTES];
	} locks[2];
};

void judge_reader_init(struct judge_reader *reader, const struct field *field);
const char *judge_reader(struct judge_reader *reader, const struct field *field);

/*
 * That `end` is what a recovery may make of what a death left. pristine: a field on which only the rest is looked at,
 * which nobody may have touched.
 */
const char *judge_end(const struct field *left, const struct field *end, enum control_on_death on_death,
    const struct field *pristine);

/* That poison left all as it was for a recovery by hand. */
const char *judge_poisoned(const struct field *left, const struct field *poisoned);

/* That a fresh client can have the locks of a field (a copy is used), and its section stands. */
const char *judge_fresh(const struct field *end, enum control_on_death on_death);

/* The bytes of A or B. */
const unsigned char *judge_bytes(const struct field *field, int lock, uint64_t *ret_length);

#endif
