/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's side of segmentd-audit (host/audit.h): a queue of questions, asked one at a time over a connection that is opened
 * when there is one and closed a moment after the last. Nothing runs while nobody asks. Who answers is not believed: an answer
 * that breaks the contract, comes too late or never, is a failure of its question with a sentence, and of nothing else.
 */
#ifndef DAEMON_AUDITOR_H
#define DAEMON_AUDITOR_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/allotment.h"
#include "host/audit.h"

#define AUDITOR_LIMIT_MS	((AUDIT_SECONDS + 5) * 1000)	/* of a question: segmentd-audit has given up by itself before */

struct auditor;
struct auditor_child;
struct auditor_question;

/* How a question ended. */
struct auditor_end {
	int result;			/* 0, or a negative errno; -ETIME: no answer in time; -EPROTO: one that breaks the contract */
	const char *text;		/* why it failed; else what would show what was hidden, or "" */
	uint32_t n_seen;		/* as in struct audit_answer */
	uint32_t n_hidden;
	bool is_incomplete;		/* segmentd-audit ran out of time: there may be more */
	bool is_own;			/* it was a process of ours, with no more rights than we have */
};

/* An int, that is 0, or a negative errno that ends the question with it: of memory. The row is a copy that nobody else writes. */
typedef int (*auditor_row_fn)(struct auditor_question *question, const void *row);
/* From the loop, never before auditor_ask() has returned. Rows of a question that fails may have come before. */
typedef void (*auditor_done_fn)(struct auditor_question *question, const struct auditor_end *end);

/* Right before it is sent, which may be long after it was asked: the last moment to change its rows. Asks and cancels nothing. */
typedef void (*auditor_prepare_fn)(struct auditor_question *question);

/* Embedded in who asks; must stay until done is called or it was cancelled. The first part is the asker's, zero elsewhere. */
struct auditor_question {
	uint32_t kind;			/* enum audit_kind */
	uint32_t flags;			/* AUDIT_QUESTION_* */
	uint32_t n_rows;		/* auditor_rows_max() at most */
	const void *rows;		/* the asker's, kept until done */
	bool can_wait;			/* somebody's question goes before it */
	auditor_prepare_fn prepare;	/* NULL: the rows stay as they are */
	auditor_row_fn take;
	auditor_done_fn done;

	struct auditor *auditor;	/* in whose queue it is, or whose current one; NULL: in none */
	uint64_t serial;
	bool was_tried;			/* over a connection that was opened for it */
	TAILQ_ENTRY(auditor_question) entry;
};

TAILQ_HEAD(auditor_queue, auditor_question);

/*
 * What a removal has begun and nobody has finished: segmentd-audit ended over it, or could not finish what it found. It is asked
 * again until nothing is left, since what waits in quarantine is seen by nobody else.
 */
struct auditor_unsettled {
	bool is_any;
	bool is_own;			/* by a process of ours: neither settles what the other's user has left */
	bool is_told;
	uint64_t retry_ns;		/* before the next attempt */
	uint32_t n;			/* objects that were being removed; 0: it is not known which */
	uint64_t inode;			/* of the first of them */
	char name[AUDIT_NAME_SIZE];
	struct event timer;
	struct auditor_question question;	/* about nothing: who judges settles first */
};

struct auditor {
	struct event_base *base;
	char *socket;			/* of segmentd-audit; NULL: there is none for us */
	unsigned limit_ms;		/* AUDITOR_LIMIT_MS, but for tests */
	int fd;				/* -1: not connected */
	struct auditor_child *child;	/* behind fd, until it is reaped; NULL: it is none of ours */
	bool is_own;			/* behind fd is or was one of ours */
	bool avoids_socket;		/* what listens there hung up at once: the next connection is to a process of ours */
	bool has_other_pids;		/* what answers is in another pid namespace than we are: its pids mean nothing to us */
	char *message;			/* room for one, while connected */
	struct event read_event;
	struct event timer;		/* runs while there are questions, or a connection that is idle */
	struct allotment time;		/* until the timer does what it runs for */
	struct auditor_question *current;	/* that was sent */
	uint64_t n_rows;		/* of its answer so far */
	bool has_answer;		/* a message of it has come */
	bool was_read;			/* it was, by one that has ended since */
	struct auditor_queue queue;
	LIST_HEAD(, auditor_child) children;	/* that were not reaped yet */
	unsigned n_children;
	bool is_crowded;		/* too many of them; the timer says for how long that is waited for */
	uint64_t last_serial;
	uint64_t n_questions;		/* counters, for metrics */
	uint64_t n_failures;
	struct auditor_unsettled unsettled;
};

/* socket: a path, or NULL. 0 or -ENOMEM. One that is zero, but for fd, may be deinitialised. */
int auditor_init(struct auditor *auditor, struct event_base *base, const char *socket);
/* Kills and reaps. No question's done is called. */
void auditor_deinit(struct auditor *auditor);

/* From the next connection on. Without memory it stays as it is. */
void auditor_set_socket(struct auditor *auditor, const char *socket);

/* How many rows a question of the kind may have. */
uint32_t auditor_rows_max(uint32_t kind);

void auditor_ask(struct auditor *auditor, struct auditor_question *question);
/* Nothing more is called of it. One that is in no queue may be cancelled as well. */
void auditor_cancel(struct auditor_question *question);

/* Copies the pids of processes of ours that answer, or were not reaped yet, max at most. How many. */
size_t auditor_pids(const struct auditor *auditor, pid_t *pids, size_t max);

/* Between its own files. */

void auditor_set_timer(struct auditor *auditor, unsigned ms);

/* 0 or -ENOMEM. */
int auditor_unsettled_init(struct auditor *auditor);
void auditor_unsettled_deinit(struct auditor *auditor);
/* Who was asked it ended, or is of no use any more, before it had answered all. */
void auditor_unsettled_note(struct auditor *auditor, const struct auditor_question *question);
/* Who judged has answered. */
void auditor_unsettled_hear(struct auditor *auditor, bool is_any);

/* Takes a process over, as the one behind fd. 0; or a negative errno: it was killed and reaped. */
int auditor_child_new(struct auditor *auditor, pid_t pid);
/* Nothing more is asked of it. at_once: it is given no time to end by itself. */
void auditor_child_hang_up(struct auditor_child *child, bool at_once);
/* All of them: waited for a moment, killed and reaped. */
void auditor_children_end(struct auditor *auditor);

#endif
