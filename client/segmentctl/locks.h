/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The locks of one segment: a section of `show`. */
#ifndef CLIENT_SEGMENTCTL_LOCKS_H
#define CLIENT_SEGMENTCTL_LOCKS_H

#include "client/segmentctl/ask.h"
#include "client/segmentctl/holders.h"
#include "client/segmentctl/json.h"

struct locks {
	const struct segmentctl *ctl;
	struct protocol_lock *rows;
	size_t n;
	size_t size;			/* room for rows */
};

#define LOCKS_NULL	{ 0 }

/* Asks for all locks of the segment of that generation. An exit status, failures told. */
int locks_collect(struct locks *locks, struct ask *ask, const char *name, uint64_t generation);
void locks_deinit(struct locks *locks);

/* How many are still being recovered, of those with that name; "": of all. */
uint32_t locks_count_recovering(const struct locks *locks, const char *name);

/* The section, if there are any. Holders tell which process an owner is. 0 or a negative errno. */
int locks_print(const struct locks *locks, const struct holders *holders, const char *name);
/* The array "locks" of an object. */
void locks_add_members(const struct locks *locks, const struct holders *holders, struct json *json);

#endif
