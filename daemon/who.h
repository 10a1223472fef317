/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who has a segment's memory: sessions ask, segmentd-audit looks into /proc, and what it saw is held against what the kernel
 * counts. One look serves all who ask at that time, of whatever segments as far as there is room, uids by turns; those who come
 * meanwhile share the next one. Looks cost the host something, so that one on behalf of ordinary users alone is followed by a rest.
 */
#ifndef DAEMON_WHO_H
#define DAEMON_WHO_H

#include "daemon/auditor.h"
#include "daemon/registry.h"
#include "daemon/rounds.h"
#include "daemon/who_answer.h"

#define WHO_SEGMENTS	256		/* of one look */
#define WHO_PIDS	160		/* of our own processes */

struct who_entry;

/* Embedded in who asks. */
struct who_request {
	void (*wake)(struct who_request *request);	/* answer is there, or why there is none */
	struct accounts *accounts;	/* in which uid is charged for what it keeps */
	uint32_t uid;
	bool is_trusted;		/* it administers: it does not wait for a rest, and has its part of what all may have */
	struct who_answer *answer;	/* what was asked for last; or NULL */
	struct charge charge;		/* for that */
	int refusal;			/* it may not keep what there is: ACCOUNTS_E_LIMIT, or -ENOMEM; or 0 */
	size_t refused_bytes;
	struct who_entry *entry;	/* it waits for the answer; or NULL */
	struct round round;		/* until that is looked at */
	LIST_ENTRY(who_request) link;
};

TAILQ_HEAD(who_entries, who_entry);

struct who {
	struct event_base *base;
	struct auditor *auditor;
	struct registry *registry;
	struct workers *workers[2];
	struct auditor_question question;	/* while entries are asked */
	struct audit_object objects[WHO_SEGMENTS * WHO_OBJECTS];
	struct who_entry *owners[WHO_SEGMENTS * WHO_OBJECTS];	/* of each object */
	pid_t pids[WHO_PIDS];		/* of our own processes, when it was asked */
	size_t n_pids;
	struct rounds rounds;		/* of requests whose segments were not looked at yet: uids take turns */
	struct who_entry *by_name;	/* that wait */
	unsigned n_at_once;		/* of those that wait */
	struct who_entries again;	/* to be looked at a second time, before all others */
	struct who_entries asked;
	struct who_entries ending;	/* whose answers are being handed out */
	struct event timer;		/* while some wait, or end */
	uint64_t begun_ns;		/* monotonic: of the look */
	uint64_t rest_until_ns;
};

/* 0 or -ENOMEM. */
int who_init(struct who *who, struct event_base *base, struct auditor *auditor, struct registry *registry,
    struct workers *workers, struct workers *io_workers);
/* After all who asked have forgotten. One that is zero may be deinitialised. */
void who_deinit(struct who *who);

/* 0 or -ENOMEM; wake is called from the loop. What it asked for before is forgotten. */
int who_ask(struct who *who, struct segment *segment, struct who_request *request);
/* Copies the pids of our own processes, max at most. How many. */
size_t who_own_pids(const struct who *who, pid_t *pids, size_t max);
/* Gives the answer up, or does not wait any more. */
void who_forget(struct who_request *request);

#endif
