/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* An answer on its way: rows are gathered into messages, and sent when one is full. Blocks where the asker does not read. */
#ifndef DAEMON_AUDIT_ANSWER_H
#define DAEMON_AUDIT_ANSWER_H

#include "base/allotment.h"
#include "base/base.h"
#include "host/audit.h"

struct answer {
	int fd;
	int error;			/* of sending: nothing is sent afterwards */
	size_t row_size;
	struct allotment time;		/* for the work at it */
	struct audit_answer head;	/* of the message that is being filled; n_seen and n_hidden are counted in it */
	_Alignas(8) char message[AUDIT_MESSAGE_BYTES];
};

void answer_begin(struct answer *answer, int fd, const struct audit_question *question, size_t row_size);

/* 0, or the negative errno with which the asker went away. */
int answer_add(struct answer *answer, const void *row);

/* Sends what is left, as the last message. */
int answer_end(struct answer *answer);

/* Sends that the question failed, and why: instead of answer_end(), and only where no row was added. */
int answer_fail(struct answer *answer, int error, const char *format, ...) BASE_PRINTF(3, 4);

#endif
