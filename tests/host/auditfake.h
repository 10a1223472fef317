/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segmentd-audit that says what a test wants it to say, honest, lying or silent: the test's own program, started anew as
 * $SEGMENTD_AUDIT, that finds its part by the name in $AUDITFAKE.
 */
#ifndef TESTS_HOST_AUDITFAKE_H
#define TESTS_HOST_AUDITFAKE_H

#include <stddef.h>

#include "host/audit.h"

/* A question that came. */
struct auditfake {
	int fd;
	size_t size;
	union {
		struct audit_question question;
		_Alignas(8) char bytes[AUDIT_MESSAGE_BYTES];
	};
};

/* Answers one question. */
typedef void (*auditfake_fn)(struct auditfake *fake);

struct auditfake_part {
	const char *name;
	auditfake_fn answer;
};

/* First of all in main(): does not return in a process that was started as segmentd-audit. The last part has no name. */
void auditfake_begin(char **argv, const struct auditfake_part *parts);
/* From now on audit_open() starts this part. */
void auditfake_choose(const char *name);

/* What came behind the question. */
const void *auditfake_rows(const struct auditfake *fake);

/* The header of a good answer to it, to be spoilt; and its being sent, with rows as they are. */
struct audit_answer auditfake_header(const struct auditfake *fake, unsigned n_rows);
void auditfake_send(const struct auditfake *fake, const struct audit_answer *answer, const void *rows, size_t size);
/* A good message. */
void auditfake_answer(const struct auditfake *fake, const void *rows, unsigned n_rows, unsigned flags);

/* Good rows. */
struct audit_holder auditfake_holder(unsigned object, int pid);
struct audit_stray auditfake_posix(const char *name, enum audit_verdict verdict);
struct audit_stray auditfake_sysv(int id, enum audit_verdict verdict);

#endif
