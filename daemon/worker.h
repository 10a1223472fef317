/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One worker process, from its start until it is reaped: it is given a job at a time, and says what came of it. One that does not come
 * to an end is killed; and one that was killed and does not die is lost, since it waits in the kernel. Who is given what, and how many
 * there are, is not decided here but by its owner (daemon/workers.h), which is told what happens.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/patience.h"
#include "daemon/worker/job.h"

#define WORKER_STUCK_SECONDS	10	/* for one job, as daemon/patience.h counts them: a piece takes milliseconds */

struct worker;
struct workers;
struct workers_job;		/* not looked into here, as little as its owner */

/* What its owner hears. In each case but that of `waits` it has no job any more: job is the one that it had, or NULL. */
struct worker_owner {
	/* fd: what was returned with the result, which is taken, or closed; or -1. */
	void (*answered)(struct worker *worker, struct workers_job *job, const struct job_result *result, int *fd);
	/* It has nothing more to say for now. */
	void (*waits)(struct worker *worker);
	/* It has ended and is reaped, and is to be freed. signal: that killed it, or 0. What it said before was answered first. */
	void (*ended)(struct worker *worker, struct workers_job *job, int signal);
	/* It does nothing any more but what the kernel is at for it, and ends when that does. */
	void (*lost)(struct worker *worker, struct workers_job *job);
};

struct worker {
	const struct worker_owner *owner;
	struct workers *workers;	/* its owner's, as is entry */
	LIST_ENTRY(worker) entry;
	pid_t pid;
	int pidfd;
	int socket;
	struct event socket_event;
	struct event pidfd_event;
	struct event stuck_event;
	struct patience patience;	/* while that is pending */
	struct workers_job *job;	/* that it has, or NULL */
	uint32_t uid;			/* of the last one */
	uint64_t job_id;		/* likewise */
	bool was_stuck;			/* it was killed, and did not die yet */
	bool is_lost;			/* likewise for long: it waits in the kernel for what may never come */
	bool is_retired;		/* takes no job any more: it ends, or has ended */
};

/* What it is given. */
struct worker_task {
	struct workers_job *job;
	const struct job *message;
	int fds[JOB_MANY_MAX];
	size_t n_fds;
	uint32_t uid;			/* whose doing it is */
	unsigned patience_seconds;
};

/* Starts one, which waits for a job. 0 or a negative errno. */
int worker_new(struct event_base *base, const struct worker_owner *owner, struct workers *workers, struct worker **ret_worker);
void worker_free(struct worker *worker);

/* 0, and it has the job; or a negative errno. -EPIPE, -ECONNRESET: it died, and that is about to be heard. */
int worker_give(struct worker *worker, const struct worker_task *task);
/* Tells it that its job is of no use any more. */
void worker_hurry(struct worker *worker);
/* Lets it end, which takes a moment. */
void worker_dismiss(struct worker *worker);

void worker_kill(struct worker *worker);
/* Waits for one that was killed, but not longer than until then. */
void worker_reap(struct worker *worker, uint64_t until_ns);

/*
 * Starts such a process and does no more: with one end of a pair of sockets as its standard input it does what it is told there, and ends
 * at end of file. Who starts it reaps it. 0 or a negative errno.
 */
int worker_spawn(int socket, pid_t *ret_pid);

#endif
