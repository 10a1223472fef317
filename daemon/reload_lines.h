/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The lines of a plan: what is done to one segment, template or the daemon, or would be, with a sentence. Kept as they are
 * sent, in blocks of a message each, so that tens of thousands of them cost little and are given back a block at a time.
 */
#ifndef DAEMON_RELOAD_LINES_H
#define DAEMON_RELOAD_LINES_H

#include <stdint.h>
#include <sys/queue.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/accounts.h"

#define RELOAD_TEXT_SIZE	4096	/* of one line's sentence; a longer one is cut, and says so */

/* A sentence under construction. */
struct reload_text {
	char bytes[RELOAD_TEXT_SIZE];
	size_t len;
};

void reload_text_clear(struct reload_text *text);
void reload_text_add(struct reload_text *text, const char *format, ...) BASE_PRINTF(2, 3);

/* One thing that is done, or would be. */
struct reload_step {
	enum protocol_plan_action action;
	uint32_t n_waiting;
	unsigned n_pids;
	int32_t pids[PROTOCOL_PLAN_PIDS];
	struct reload_text text;
};

struct reload_block;

struct reload_lines {
	TAILQ_HEAD(reload_blocks, reload_block) blocks;
	uint32_t n;
	uint32_t counts[PROTOCOL_PLAN_COUNTS];	/* by action */
	struct charge charge;		/* for the blocks; of no account: nobody is charged */
};

void reload_lines_init(struct reload_lines *lines);
void reload_lines_deinit(struct reload_lines *lines);
/* Some of it: until until_ns of the monotonic clock, at least a block. True: that was all. */
bool reload_lines_free_some(struct reload_lines *lines, uint64_t until_ns);
/* Puts what there is behind what another has, only to be given back there: nobody is charged for it any more. */
void reload_lines_move(struct reload_lines *lines, struct reload_lines *to);

/* Adds a line, and counts it. name: "" for none. 0, or -ENOMEM, also where who is charged may have no more. */
int reload_lines_add(struct reload_lines *lines, enum protocol_plan_subject subject, const char *name,
    const struct reload_step *step);

/*
 * The lines after a cursor that one message takes: *ret_rows, of so many bytes and so many rows. False: there is none.
 */
bool reload_lines_page(const struct reload_lines *lines, uint64_t cursor, const char **ret_rows, size_t *ret_size,
    uint32_t *ret_n, bool *ret_has_more);

/* Calls fn for the first so many lines. */
typedef void (*reload_line_fn)(const struct protocol_plan_line *line, const char *text, void *arg);
void reload_lines_walk(const struct reload_lines *lines, uint32_t n, reload_line_fn fn, void *arg);

/* "added", "waits". */
const char *reload_action_name(enum protocol_plan_action action);

/* "1 added, 2 changed, 12 kept"; of a configuration that is not valid, how many problems there are. Returns buf. */
const char *reload_lines_sum(const struct reload_lines *lines, char *buf, size_t size);

#endif
