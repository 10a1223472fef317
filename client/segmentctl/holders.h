/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who is attached to one segment: a section of `show`. */
#ifndef CLIENT_SEGMENTCTL_HOLDERS_H
#define CLIENT_SEGMENTCTL_HOLDERS_H

#include "client/segmentctl/ask.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/table.h"

struct holders {
	const struct segmentctl *ctl;
	struct json *json;		/* where rows go with --json */
	struct table table;		/* and without */
};

int holders_init(struct holders *holders, const struct segmentctl *ctl, struct json *json);
void holders_deinit(struct holders *holders);

/* Asks for all of them, into the table or the JSON array that the caller opened. An exit status, failures told. */
int holders_collect(struct holders *holders, struct ask *ask, const char *name);

#endif
