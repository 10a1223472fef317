/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that lies, in the client's own thread: it gets its turn whenever the library waits for a message, and answers with the
 * truth but for what the test has asked for. What it never says is that the library should wait: then it hangs up.
 */
#ifndef TESTS_FUZZ_REPLY_DAEMON_H
#define TESTS_FUZZ_REPLY_DAEMON_H

#include "base/base.h"

#define REPLY_PATH	"/segment-fuzz/socket"	/* where it is to be found */
#define REPLY_BYTES	((uint64_t)64 << 10)	/* of its segments */
#define REPLY_LOCKS	4			/* of each, the last one a mutex */

/* How the next answers differ from the truth. */
enum reply_lie_kind {
	REPLY_PATCH,			/* bytes at an offset */
	REPLY_RESIZE,			/* so many bytes are sent, and said if value is odd */
	REPLY_STATUS,			/* a refusal */
	REPLY_FDS,			/* other descriptors, more or fewer */
	REPLY_HANG_UP,			/* at >> 1 answers later */
	REPLY_SILENCE,			/* the request is read, and not answered */
	REPLY_TWICE,			/* an answer that comes again */
	REPLY_PUSH,			/* an event before it, to whichever connection */
	REPLY_SHAPE,			/* at & 1: without locks; at & 2: rows not with the attachment; value: bytes of the object */
	REPLY_LIE_N
};

struct reply_lie {
	uint8_t kind;
	uint8_t after;			/* answers that are true before it */
	uint32_t at;
	uint64_t value;
};

/* Begins with nothing asked for. */
void reply_reset(void);
void reply_lie(const struct reply_lie *lie);
/* Stores into what it has handed out last: which 0 data, 1 control memory. */
void reply_store(unsigned which, uint64_t at, const void *bytes, size_t length);
/* Pushes an event to the connection that was subscribed, or the last one. */
void reply_push(const struct reply_lie *lie);
/* All that it has is closed. */
void reply_end(void);

/* Bytes of memory objects that are mapped in this process. */
uint64_t reply_mapped_bytes(void);

#endif
