/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * All worker processes (daemon/worker.h is one of them) and the queue of their jobs. A worker may be killed at any moment (that is what
 * it is for): its job fails with the signal, nothing else does. Workers are started when there is work, and end when there was none for
 * a while.
 * Uids take turns; and while all workers are busy with one uid's jobs there is one more for the others. Of those that were killed and
 * do not end there are not more and more: then jobs wait that are users' doing.
 */
#ifndef DAEMON_WORKERS_H
#define DAEMON_WORKERS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/rounds.h"
#include "daemon/worker/job.h"

struct workers_job;
struct worker;

/* How a job ended: a result of the worker, or the worker's death. */
struct workers_outcome {
	const struct job_result *result;	/* NULL: the worker died or could not be started */
	int signal;			/* that killed it, or 0 */
	bool was_stuck;			/* it was we who killed it, since it did not come to an end, and */
	unsigned patience_seconds;	/* so long it had */
	int error;			/* negative errno: no worker could be had */
	int *fd;			/* with a result: what was returned with it, which is taken, or closed; or -1 */
};

typedef void (*workers_done_fn)(struct workers_job *job, const struct workers_outcome *outcome);

/* Embedded by who submits it; must stay until done is called or it was cancelled. */
struct workers_job {
	struct job job;
	int fd;				/* what it is about: the submitter's, kept open until done */
	int control_fd;			/* the second, likewise, of kinds that have two */
	int third_fd;			/* likewise */
	/* Of a kind that takes any number, instead of those three: which they are when a worker has come, JOB_MANY_MAX at most. */
	unsigned (*gather)(struct workers_job *job, int *ret_fds);
	uint32_t uid;			/* whose doing it is, also if it comes to no end; 0: nobody's */
	unsigned patience_seconds;	/* until its worker counts as stuck; 0: as long as its kind may take */
	workers_done_fn done;
	struct workers *workers;	/* in whose queue it is, or was; NULL: it was never submitted */
	struct worker *worker;		/* that works on it, or NULL */
	bool is_queued;
	bool can_wait;			/* what others wait for goes first: it is given to workers that have nothing else */
	struct round round;
};

struct workers {
	struct event_base *base;
	unsigned n_max;			/* at once */
	unsigned n;
	unsigned n_lost;		/* beside those: they were killed and have not died */
	unsigned lost_told;		/* what of that administrators were told last: workers_lost_step() */
	LIST_HEAD(, worker) list;
	struct rounds queue;
	struct rounds waiting;		/* of jobs that can; one of them after each of the former that is a user's doing */
	bool owes_waiting;
	struct event idle_event;	/* ends idle workers, once */
	uint64_t idle_n_jobs;		/* n_jobs when that looked last */
	struct event dispatch_event;
	struct event calm_event;	/* tells that fewer are lost */
	unsigned n_hindered;		/* tries, one after the other, in which the kernel let nothing be sent */
	uint64_t next_id;
	uint64_t n_jobs;		/* counters, for metrics */
	uint64_t n_deaths;
};

void workers_init(struct workers *workers, struct event_base *base, unsigned n_max);
/* As many at once from now on; those beyond it end when they have done what they are at. */
void workers_set_max(struct workers *workers, unsigned n_max);
/* Kills and reaps every worker. No job's done is called. */
void workers_deinit(struct workers *workers);

/* first: before all others of its queue. */
void workers_submit(struct workers *workers, struct workers_job *job, bool first);
/* Takes a job that waits out of its queue. False: a worker has it, and done will be called; or it was never submitted. */
bool workers_cancel(struct workers_job *job);
/* Tells the worker that has a job, if one has it, that it is of no use any more: done is called soon, with whatever result. */
void workers_hurry(struct workers_job *job);

/* How many were killed at jobs of that uid, and have not died: the kernel is at something for them that does not end. */
unsigned workers_n_lost(const struct workers *workers, uint32_t uid);
/* Whether one is that had the job of this id: another at the same would come to no end either. */
bool workers_has_lost(const struct workers *workers, uint64_t id);

/* Copies the pids of the workers there are, max at most. How many. */
size_t workers_pids(const struct workers *workers, pid_t *pids, size_t max);

#endif
