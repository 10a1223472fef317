/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What comes from the asker: checked as a whole before anything is looked at, and given to who answers it. */
#ifndef DAEMON_AUDIT_QUESTION_H
#define DAEMON_AUDIT_QUESTION_H

#include "base/base.h"
#include "host/audit.h"

struct allotment;
struct answer;

/* A question that was found sound, and for how long it may be worked on. */
struct question {
	const struct audit_question *head;
	const void *rows;		/* aligned for any of them */
	struct allotment *time;		/* shared by all who work on it: what is not looked at when it is over is left out, and said to be */
};

/* Whether its time is over; looked at again and again. */
bool question_is_late(const struct question *question);

/*
 * Answers one message, of size bytes at an address that is a multiple of 8. 0; -EPROTO: it was no question, and was told so, after
 * which nothing of this asker is believed; or the negative errno with which the asker went away.
 */
int question_serve(struct answer *answer, int fd, const void *message, size_t size);

#endif
