/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The answer to WHO: the processes that have a segment's memory, whether or not they are attached, and what is not known of them. */
#ifndef CLIENT_SEGMENTCTL_PROCESSES_H
#define CLIENT_SEGMENTCTL_PROCESSES_H

#include "client/segmentctl/ask.h"
#include "client/segmentctl/json.h"

#define PROCESSES_HOW_SIZE	64

struct processes_row {
	struct protocol_process process;
	bool is_told;			/* in an attachment's row */
};

struct processes {
	bool was_asked;
	struct protocol_told told;
	char *text;			/* what would show more, or why nothing is known; or NULL */
	struct protocol_object *objects;	/* told.n_objects of them */
	int32_t *pids;			/* told.n_pids of them */
	struct processes_row *rows;
	size_t n;
	size_t size;
};

#define PROCESSES_NULL	{ 0 }

/*
 * Asks, and keeps them. What the daemon refuses, or does not know of, is no failure: it is told. Where the daemon must not look
 * into all processes it is also looked with the caller's own rights. An exit status.
 */
int processes_ask(struct processes *processes, struct ask *ask, const char *name);
void processes_deinit(struct processes *processes);

/* Room for one more; NULL when memory is short. */
struct processes_row *processes_add(struct processes *processes);
/*
 * Looks with the caller's own rights for what the daemon looked for. Where they show more, that is what is known then, with
 * what the daemon has seen beyond it. 0 or -ENOMEM: a look that fails shows nothing more.
 */
int processes_look(struct processes *processes);

/* The process that had this pid when a holder since since_ns was there; NULL: none was seen, or it has come since. */
struct processes_row *processes_find(struct processes *processes, int32_t pid, uint64_t since_ns);

/* Whether all there are were looked into. */
bool processes_are_complete(const struct processes *processes);

/* "map rw, fd r x2"; "" for nothing that holds it. */
void processes_format_how(const struct protocol_process *process, char buf[PROCESSES_HOW_SIZE]);

/* The members of a holder's JSON object that are about its process. */
void processes_add_members(struct json *json, const struct protocol_process *process);
/* An object of what was looked at. */
void processes_add_look(const struct processes *processes, struct json *json);

/* What is not known, a line each; nothing, where all is. */
void processes_print_unknown(const struct processes *processes);

#endif
