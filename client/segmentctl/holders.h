/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who is attached to one segment, and who else has its memory: a section of `show`. */
#ifndef CLIENT_SEGMENTCTL_HOLDERS_H
#define CLIENT_SEGMENTCTL_HOLDERS_H

#include "client/segmentctl/ask.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/processes.h"
#include "client/segmentctl/table.h"

struct holders_owner {
	uint32_t attachment;
	int32_t pid;
};

struct holders {
	const struct segmentctl *ctl;
	struct json *json;		/* where rows go with --json */
	struct table table;		/* and without */
	struct processes processes;	/* as they were seen, where that was asked */
	struct holders_owner *owners;	/* who has which attachment, for locks that name one */
	size_t n_owners;
	size_t owners_size;
};

int holders_init(struct holders *holders, const struct segmentctl *ctl, struct json *json);
void holders_deinit(struct holders *holders);

/* Asks for all attachments, into the table or the JSON array that the caller opened. An exit status, failures told. */
int holders_collect(struct holders *holders, struct ask *ask, const char *name);

/* The same after asking for the processes; with those that have no attachment. */
int holders_collect_all(struct holders *holders, struct ask *ask, const char *name);

/* The process of an attachment; 0: it is not known, or there is no such attachment. */
int32_t holders_find_pid(const struct holders *holders, uint32_t attachment);

#endif
