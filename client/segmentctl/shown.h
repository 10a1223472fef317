/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The reply to SHOW, taken apart: a segment, its reason, and the keys of its definition. */
#ifndef CLIENT_SEGMENTCTL_SHOWN_H
#define CLIENT_SEGMENTCTL_SHOWN_H

#include <stdbool.h>
#include <stddef.h>

#include "client/segmentctl/ask.h"

#define SHOWN_NODES_MAX	64

struct shown_key {
	char *key;
	char *value;			/* as a file would have it */
	char *origin;			/* "default" or "set" */
	char *reload;			/* "live", "drained", "never" */
};

struct shown {
	struct protocol_segment segment;
	uint64_t synced_ns;		/* these three as in struct protocol_shown */
	uint64_t dirty_bytes;
	uint32_t file_flags;
	char *reason;			/* "" for none */
	char *text;			/* what the keys point into */
	struct shown_key *keys;
	size_t n_keys;
	struct shown_node {
		uint64_t node;
		uint64_t bytes;
	} nodes[SHOWN_NODES_MAX];
	size_t n_nodes;			/* 0: it is not known */
};

#define SHOWN_NULL	{ 0 }

/* Asks for a segment. An exit status, failures told. */
int shown_ask(struct shown *shown, struct ask *ask, const char *name);
void shown_deinit(struct shown *shown);

/* The value of a key; NULL when the definition has none of that name. */
const char *shown_find(const struct shown *shown, const char *key);

#endif
