/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Shared memory that others left behind, by the rules of the configuration's `orphans`. It watches for what may have been let
 * go, and after the rule's time has segmentd-audit ask the kernel, which alone says whether anybody holds an object, and which
 * removes it, if the rule says so. It takes nothing away by itself, and judges by no name, age or dead creator.
 *
 * Nothing runs where there are no rules. POSIX rules wait for what the kernel tells of /dev/shm; System V rules need a timer,
 * since nothing tells of a detach.
 */
#ifndef DAEMON_ORPHANS_H
#define DAEMON_ORPHANS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/auditor.h"
#include "daemon/events.h"
#include "daemon/log.h"
#include "daemon/orphans_names.h"
#include "daemon/orphans_rules.h"
#include "daemon/orphans_scan.h"
#include "host/audit.h"

#define ORPHANS_BATCH		200	/* objects of one question: as many as a message has room for */
#define ORPHANS_ENTRIES_MAX	131072	/* of each kind, that are kept in mind */

struct orphans;
struct orphans_ask;

/* A question, and who is to hear the answer. There is one of each kind of object. */
struct orphans_ask {
	struct orphans *orphans;
	size_t n;			/* candidates */
	size_t n_answered;		/* in their order */
	bool is_out;			/* it was asked */
	bool is_sent;			/* and is being answered: who judges opens and closes POSIX objects from now on */
	void (*on_send)(struct orphans_ask *ask);	/* now; NULL: that makes no difference */
	void (*on_end)(struct orphans_ask *ask);	/* all that will be answered has been */
	struct auditor_question question;	/* the judge's */
	struct orphans_rules *rules;	/* while there are candidates: under which they are */
	const struct conf_orphan *rule_of[ORPHANS_BATCH];
	uint64_t since_ns[ORPHANS_BATCH];
	bool is_seen[ORPHANS_BATCH];	/* somebody was seen letting it go then; else that is when it was first looked at */
	struct audit_candidate candidates[ORPHANS_BATCH];
	struct audit_stray strays[ORPHANS_BATCH];
};
static_assert(sizeof(struct audit_question) + ORPHANS_BATCH * sizeof(struct audit_candidate) <= AUDIT_MESSAGE_BYTES,
    "a question is one message");

/* Who judges: begins to ask, and calls orphans_send(), orphans_answer() for each row, and orphans_end() in later turns. 0 or a negative errno. */
typedef int (*orphans_judge_fn)(struct orphans_ask *ask, void *arg);
/* Nobody wants the answer any more. */
typedef void (*orphans_forget_fn)(struct orphans_ask *ask, void *arg);
/* Whether an object of /dev/shm is one of our own. System V segments of ours are attached by us. */
typedef bool (*orphans_is_ours_fn)(const char *name, void *arg);

struct orphans_host {
	struct event_base *base;
	struct events *events;		/* NULL: nobody is told */
	const char *directory;		/* of POSIX objects */
	struct workers *workers;	/* that list it */
	orphans_judge_fn judge;
	orphans_forget_fn forget;
	void *judge_arg;
	orphans_is_ours_fn is_ours;	/* NULL: none is */
	void *is_ours_arg;
};

struct orphans {
	struct orphans_host host;
	struct orphans_rules *rules;
	struct orphans_posix *posix;	/* while there are rules of that kind */
	struct orphans_scans scans;	/* with those that nobody waits for */
	struct orphans_sysv *sysv;
	size_t max_entries;
	uint64_t retry_ns;		/* how long it waits before it asks again, after it could not; 0: it could */
	struct orphans_names garbage;	/* of other rules, and given back in pieces */
	struct event garbage_event;
	struct log_limit found_limit, removed_limit, unknown_limit;
	uint64_t n_found;		/* counters, for metrics */
	uint64_t n_removed;
	uint64_t n_kept;
	uint64_t n_unknown;
	uint64_t freed_bytes;
	uint64_t n_overflows;
};

/* Without rules. */
void orphans_init(struct orphans *orphans, const struct orphans_host *host);
void orphans_deinit(struct orphans *orphans);
/* After the workers have ended. */
void orphans_free_scans(struct orphans *orphans);

/*
 * These rules count from now on; takes the list over. Where nothing differs, nothing changes; else all that falls under a rule
 * is looked at anew. 0 or a negative errno: they count, but for those that cannot be watched for.
 */
int orphans_set_rules(struct orphans *orphans, struct conf_orphan **list, size_t *n);

/* How many objects are kept in mind. */
size_t orphans_n_watched(const struct orphans *orphans);

/*
 * From who judges, right before it does, and again if it has to begin anew: the question may have waited for its turn. What was let
 * go of since then, or is under other rules, is only looked at.
 */
void orphans_send(struct orphans_ask *ask);
/* From who judges. A row of the answer, in the order of the candidates; and its end: result, and a sentence if it failed. */
void orphans_answer(struct orphans_ask *ask, const struct audit_stray *stray);
void orphans_end(struct orphans_ask *ask, int result, const char *text);

/* An orphans_judge_fn and what takes it back, by segmentd-audit: arg is a struct auditor. */
int orphans_judge_ask(struct orphans_ask *ask, void *arg);
void orphans_judge_forget(struct orphans_ask *ask, void *arg);

/* Between its own files. */

/* When to look again at what is held or cannot be judged, after so many tries: ever later, a day at most. */
uint64_t orphans_backoff_ns(const struct conf_orphan *rule, unsigned n_tries);

/* CPU time that this thread has used: what others do on the machine is not rested for. */
uint64_t orphans_spent_ns(void);
/* How long to rest after so much of it. */
uint64_t orphans_rest_ns(uint64_t spent_ns, uint64_t at_least_ns);
/* Takes over what is to be given back. */
void orphans_throw_away(struct orphans *orphans, struct orphans_names *names);

struct orphans_ask *orphans_ask_new(struct orphans *orphans, void (*on_end)(struct orphans_ask *ask));
/* One that is out is forgotten. */
struct orphans_ask *orphans_ask_free(struct orphans_ask *ask);
/* Room for one more candidate, all zero but for what the rule says; it is one of rules. */
struct audit_candidate *orphans_ask_add(struct orphans_ask *ask, struct orphans_rules *rules, const struct conf_orphan *rule,
    uint64_t since_ns, bool is_seen);
/* Asks. When it cannot, its end comes at once. */
void orphans_ask_submit(struct orphans_ask *ask);
/* Whether a candidate was not to be removed when it was sent, other than its rule says. */
bool orphans_ask_is_spared(const struct orphans_ask *ask, size_t i);
/* It was dealt with, and is empty again. */
void orphans_ask_clear(struct orphans_ask *ask);

/* Says what came of candidate i: to the log, to those who listen, and in the counters. */
void orphans_tell(struct orphans_ask *ask, size_t i);

struct orphans_posix *orphans_posix_free(struct orphans_posix *posix);
/* 0 or a negative errno, and there is none then. */
int orphans_posix_new(struct orphans *orphans, struct orphans_posix **ret_posix);
/* Other rules count: all is looked at anew. With none of its kind it ends, once what was asked is answered. 0 or -ENOMEM. */
int orphans_posix_renew(struct orphans_posix *posix);
size_t orphans_posix_n(const struct orphans_posix *posix);

struct orphans_sysv *orphans_sysv_free(struct orphans_sysv *sysv);
int orphans_sysv_new(struct orphans *orphans, struct orphans_sysv **ret_sysv);
/* Likewise. */
void orphans_sysv_renew(struct orphans_sysv *sysv);
size_t orphans_sysv_n(const struct orphans_sysv *sysv);

#endif
