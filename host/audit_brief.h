/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who has an object, in one clause for a sentence about it: the first few of those that segmentd-audit tells of (host/audit.h). */
#ifndef HOST_AUDIT_BRIEF_H
#define HOST_AUDIT_BRIEF_H

#include <stdbool.h>
#include <stddef.h>

#include "host/audit.h"

#define AUDIT_BRIEF_SHOWN	4

/* Zero at first. */
struct audit_brief {
	struct {
		int32_t pid;
		char command[AUDIT_COMMAND_SIZE];
	} shown[AUDIT_BRIEF_SHOWN];	/* the first of them */
	unsigned n;			/* all that were told of */
};

/* A row of an answer about one object. Who has no more than its path does not have it. */
void audit_brief_add(struct audit_brief *brief, const struct audit_holder *holder);

/*
 * "12 (feed) and 13 (cat) have it", "no process is seen to have it". hidden: what the answer's end says of those that were not
 * looked into, or ""; is_incomplete: not all was looked at. Returns buf.
 */
const char *audit_brief_describe(char *buf, size_t size, const struct audit_brief *brief, const char *hidden, bool is_incomplete);

#endif
