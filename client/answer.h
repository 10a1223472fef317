/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between client/attach.c, which asks, and client/answer.c, which makes a handle of an answer. */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H

#include "client/client.h"

/* An attachment as the daemon told of it, before it is believed. */
struct answer {
	struct protocol_attached attached;
	const char *rows;		/* of its locks: what stood behind it */
	size_t rows_bytes;
	uint64_t epoch;
	int *fd;			/* where they are; taken from there by whoever keeps them */
	int *control_fd;
};

/* PROTOCOL_ACCESS_* of a call's flags. */
uint32_t answer_access(unsigned flags);

/* What the daemon said cannot be right: its connection is closed. Returns -EPROTO with this thread's sentence set. */
int answer_disbelieve(struct segment_client *client, uint64_t epoch, const char *name, const char *fault);

/*
 * From an answer to a handle. An attachment that comes to nothing is given back. 0 or a negative errno with this thread's
 * sentence set.
 */
int answer_take(struct segment_client *client, const char *name, const struct answer *answer, unsigned flags,
    struct segment **ret_segment);

/* Gives back what is not taken. */
void answer_give_back(struct segment_client *client, const struct answer *answer);

#endif
