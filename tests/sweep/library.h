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

/* To be called first in a child: it is another thread to the kernel. */
void library_child(void);

/* The calling thread's list_op_pending, and where that is, in the children as well. */
uintptr_t library_pending(void);
uintptr_t library_pending_address(void);

/* What the kernel does to the field at the end of a thread whose list_op_pending it is: in a copy. True: it rang a bell. */
bool library_ring(struct field *left, uintptr_t pending, uint32_t tid);

/* This process's thread. */
uint32_t library_tid(void);

/* Replaces a thread in the bells by FIELD_TID. */
void library_hide_tid(struct field *left, uint32_t tid);

/* Runs a PIECE_LIBRARY_*. */
void library_run(enum piece piece, const struct field *field);

#endif
