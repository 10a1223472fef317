/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whoever listens at the audit socket: segmentd-audit, of another version, out of its mind, or somebody in its place. An answer is
 * good but for what was asked to be changed in it.
 */
#ifndef TESTS_FUZZ_WIRE_AUDITOR_H
#define TESTS_FUZZ_WIRE_AUDITOR_H

#include <stdint.h>

#define WIRE_AUDITOR_MORE	0x01u	/* of the answer: its flags */
#define WIRE_AUDITOR_INCOMPLETE	0x02u
#define WIRE_AUDITOR_ENDS	0x04u	/* and hangs up */
#define WIRE_AUDITOR_SHORT	0x08u	/* not the whole message */
#define WIRE_AUDITOR_FAILS	0x10u	/* a result, with a text */
#define WIRE_AUDITOR_CHANGED	0x20u	/* value stands at a place of it */
#define WIRE_AUDITOR_STRANGE	0x40u	/* a pid that is nobody's here */
#define WIRE_AUDITOR_OTHER	0x80u	/* the answer to another question */

/* Listens at path. */
void wire_auditor_open(const char *path);

/* Answers what was asked last, if anything was, with so many rows. */
void wire_auditor_answer(unsigned n_rows, unsigned flags, uint32_t at, uint64_t value);

/* All that ask, or have asked, are hung up on. */
void wire_auditor_hang_up(void);

#endif
