/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * libsegment's lock API on the field. The segments are made here instead of by an attach; what stands in them is the same.
 * Marks in the kernel say who is there: FIELD_LIVE alone.
 */
#ifndef TESTS_SWEEP_LIBRARY_H
#define TESTS_SWEEP_LIBRARY_H

#include "tests/sweep/pieces.h"

struct segment;

/* The calling thread, and those that are forked from it, can lock then. 0 or a negative errno. */
int library_init(void);

/* Makes all clients' segments anew: nobody holds anything. */
void library_prepare(struct field *field, enum control_on_death on_death);

struct segment *library_segment(uint32_t id);

/* Runs a PIECE_LIBRARY_*. */
void library_run(enum piece piece, const struct field *field);

#endif
