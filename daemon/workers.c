/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who gets the next job. There are two queues, and in each uids take turns (daemon/rounds.h). Jobs are begun from the loop alone, when
 * one is submitted, when a worker has done its job or ended, and when there may be more workers than before.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/timer.h"
#include "daemon/worker.h"
#include "daemon/workers.h"
#include "host/limits.h"

#define IDLE_SECONDS	2
#define RETRY_MS	20	/* while the kernel has no room for a message */
#define HINDERED_TRIES	10	/* until administrators hear of it */
#define SLOW_BYTES	(64 * MIB)	/* a second, at the very least */
#define LOST_MAX	16	/* of them no more are made by what users do, and at twice as many by nothing: each is a process */
#define CALM_SECONDS	30	/* for so long there are fewer before that is told, unless all have ended: a disk may answer now and then */
#define END_MS		1000	/* of all that were killed at the daemon's end; who has none of a CPU ends after it */

static void workers_dispatch(struct workers *workers);

/* It is none of ours any more. */
static void
workers_drop(struct workers *workers, struct worker *worker)
{
	LIST_REMOVE(worker, entry);
	if (worker->is_lost)
		workers->n_lost--;
	else
		workers->n--;
	worker_free(worker);
}

static void
workers_on_answer(struct worker *worker, struct workers_job *job, const struct job_result *result, int *fd)
{
	struct workers_outcome outcome = { .result = result, .fd = fd };

	job->worker = NULL;
	job->done(job, &outcome);
}

static void
workers_on_wait(struct worker *worker)
{
	workers_dispatch(worker->workers);
}

static unsigned
job_patience_seconds(const struct workers_job *job)
{
	bool is_repair = job->job.kind == JOB_REPAIR || job->job.kind == JOB_REPAIR_MUTEX;

	if (job->patience_seconds)
		return job->patience_seconds;
	/* A repair is one job however much it is; the others are cut in pieces. */
	return WORKER_STUCK_SECONDS + (is_repair ? (unsigned)(job->job.length_bytes / SLOW_BYTES) : 0);
}

/* Its worker is of no use to it any more. */
static void
workers_give_up(struct workers *workers, struct workers_job *job, struct workers_outcome *outcome)
{
	workers->n_deaths++;
	job->worker = NULL;
	outcome->patience_seconds = job_patience_seconds(job);
	job->done(job, outcome);
}

/* What is not begun any more, since so many are lost. 0: nothing; 1: what users do; 2: whatever it is. */
static unsigned
workers_lost_step(const struct workers *workers)
{
	return workers->n_lost >= 2 * LOST_MAX ? 2 : workers->n_lost >= LOST_MAX;
}

/* Nobody else would say why jobs are not begun. */
static void
workers_tell_lost(struct workers *workers)
{
	unsigned step = workers_lost_step(workers);

	if (step >= workers->lost_told)
		(void)evtimer_del(&workers->calm_event);
	if (step <= workers->lost_told)
		return;
	workers->lost_told = step;
	log_write(MESSAGE_WORKERS_LOST, NULL, "%u workers were killed and do not end, since they wait in the kernel for a disk, or "
	    "for the server of a file system, that does not answer: %s is begun before one of them ends", workers->n_lost,
	    step == 1 ? "nothing more that is a user's doing" : "nothing that needs them");
}

/* Nor that they are. */
static void
workers_tell_ended(struct workers *workers)
{
	unsigned step = workers_lost_step(workers);

	workers->lost_told = step;
	if (!workers->n_lost)
		log_write(MESSAGE_WORKERS_ENDED, NULL, "the workers that were killed and did not end have ended: what waited is begun again");
	else
		log_write(MESSAGE_WORKERS_ENDED, NULL, "of the workers that were killed %u do not end yet, fewer than %u: %s", workers->n_lost,
		    (step + 1) * LOST_MAX,
		    step ? "what is nobody's doing is begun again, and what users do is still not" : "what waited is begun again");
}

static void
workers_on_calm(evutil_socket_t fd, short what, void *arg)
{
	workers_tell_ended(arg);
}

/* One of them has ended. */
static void
workers_lost_one_less(struct workers *workers)
{
	static const struct timeval calm = { .tv_sec = CALM_SECONDS };

	if (workers_lost_step(workers) >= workers->lost_told)
		return;
	if (!workers->n_lost) {
		(void)evtimer_del(&workers->calm_event);
		workers_tell_ended(workers);
	} else if (workers->n_lost % LOST_MAX == LOST_MAX - 1) {
		timer_add(&workers->calm_event, &calm);
	}
}

static void
workers_on_end(struct worker *worker, struct workers_job *job, int signal)
{
	struct workers_outcome outcome = { .signal = signal, .was_stuck = worker->was_stuck };
	struct workers *workers = worker->workers;
	bool was_lost = worker->is_lost;

	workers_drop(workers, worker);
	if (was_lost)
		workers_lost_one_less(workers);
	if (job)
		workers_give_up(workers, job, &outcome);
	workers_dispatch(workers);
}

/* Its job has failed, and its place is another one's; it is reaped when it dies. */
static void
workers_on_loss(struct worker *worker, struct workers_job *job)
{
	struct workers_outcome outcome = { .was_stuck = true };
	struct workers *workers = worker->workers;

	workers->n--;
	workers->n_lost++;
	workers_tell_lost(workers);
	if (job)
		workers_give_up(workers, job, &outcome);
	workers_dispatch(workers);
}

static const struct worker_owner workers_owner = {
	.answered = workers_on_answer,
	.waits = workers_on_wait,
	.ended = workers_on_end,
	.lost = workers_on_loss,
};

/* Who it is about. How many. */
static size_t
job_fds(struct workers_job *job, int *ret_fds)
{
	if (job->gather)
		return job->gather(job, ret_fds);
	ret_fds[0] = job->fd;
	ret_fds[1] = job->control_fd;
	ret_fds[2] = job->third_fd;
	return job_n_fds(job->job.kind);
}

static int
workers_give(struct worker *worker, struct workers_job *job)
{
	struct worker_task task = {
		.job = job, .message = &job->job, .uid = job->uid, .patience_seconds = job_patience_seconds(job),
	};
	int r;

	task.n_fds = job_fds(job, task.fds);
	r = worker_give(worker, &task);
	if (r == 0)
		job->worker = worker;
	return r;
}

/* What those who work are at. */
struct workers_load {
	struct worker *idle;		/* one that is; or NULL */
	unsigned n_busy;
	uint32_t uid;			/* of their jobs, where that is one and the same */
	bool is_shared;			/* it is not */
};

static struct workers_load
workers_load(const struct workers *workers)
{
	struct workers_load load = { 0 };
	struct worker *worker;

	LIST_FOREACH(worker, &workers->list, entry) {
		if (worker->job) {
			load.is_shared |= load.n_busy && worker->job->uid != load.uid;
			load.uid = worker->job->uid;
			load.n_busy++;
		} else if (!worker->is_retired && !load.idle)
			load.idle = worker;
	}
	return load;
}

static struct rounds *
workers_queue_of(struct workers *workers, const struct workers_job *job)
{
	return job->can_wait ? &workers->waiting : &workers->queue;
}

static struct workers_job *
job_of(struct round *round)
{
	return round ? BASE_CONTAINER_OF(round, struct workers_job, round) : NULL;
}

/* Of both queues, the one that is served first. */
static const struct rounds *
workers_queue_first(const struct workers *workers)
{
	if (workers->owes_waiting && rounds_first(&workers->waiting))
		return &workers->waiting;
	return rounds_first(&workers->queue) ? &workers->queue : &workers->waiting;
}

static struct workers_job *
workers_first(const struct workers *workers)
{
	return job_of(rounds_first(workers_queue_first(workers)));
}

/* The first that is another uid's. */
static struct workers_job *
rounds_first_of_others(const struct rounds *rounds, uint32_t uid)
{
	struct round *round = rounds_first(rounds);

	return job_of(round && round->uid == uid ? rounds_next_uid(round) : round);
}

static struct workers_job *
rounds_first_of_nobody(const struct rounds *rounds)
{
	struct round *round = rounds_first(rounds);

	while (round && round->uid)
		round = rounds_next_uid(round);
	return job_of(round);
}

/* Many wait in the kernel already. */
static struct workers_job *
workers_next_of_nobody(const struct workers *workers, const struct workers_load *load)
{
	struct workers_job *job;

	if (workers_lost_step(workers) == 2 || load->n_busy >= workers->n_max)
		return NULL;
	job = rounds_first_of_nobody(&workers->queue);
	return job ? job : rounds_first_of_nobody(&workers->waiting);
}

/*
 * The job that may be begun now; or NULL. There may be more workers than there are to be, since before a reload. Where all are busy
 * with one uid's jobs, which may come to no end for long, another's has one more.
 */
static struct workers_job *
workers_next(const struct workers *workers, const struct workers_load *load)
{
	struct workers_job *job;

	if (workers_lost_step(workers))
		return workers_next_of_nobody(workers, load);
	if (load->n_busy < workers->n_max)
		return workers_first(workers);
	if (load->n_busy > workers->n_max || load->is_shared)
		return NULL;
	job = rounds_first_of_others(&workers->queue, load->uid);
	return job ? job : rounds_first_of_others(&workers->waiting, load->uid);
}

/* Those who die or give memory back over and over do not keep what can wait waiting. */
static void
workers_serve(struct workers *workers, struct workers_job *job)
{
	workers->owes_waiting = !job->can_wait && job->uid;
	rounds_serve(workers_queue_of(workers, job), &job->round);
	job->is_queued = false;
}

static void
workers_put_back(struct workers *workers, struct workers_job *job)
{
	rounds_enter_first(workers_queue_of(workers, job), &job->round, job->uid);
	job->is_queued = true;
}

/* What a moment later may well go: whoever has too much in flight of our own uid, or too little memory, is not the worker. */
static bool
error_passes(int r)
{
	return r == -ETOOMANYREFS || error_is_passing(-r);
}

/* Nobody else would say why all stands still: no worker is at fault, and no job. r: of giving it one. */
static void
workers_tell_hindrance(struct workers *workers, int r)
{
	const struct log_about about = { .error = r };

	if (r == -ETOOMANYREFS && ++workers->n_hindered == HINDERED_TRIES)
		log_write(MESSAGE_UNREACHED, &about, "uid %u has more descriptors in flight than the %" PRIu64 " that the kernel allows it, and "
		    "no worker can be sent any: segments wait for that; processes of this uid that send descriptors which nobody "
		    "reads are to be ended, or LimitNOFILE of the service raised; it is tried again every %u ms", (unsigned)geteuid(),
		    limits_nofile(), RETRY_MS);
	if (r == -ETOOMANYREFS)
		return;
	if (workers->n_hindered >= HINDERED_TRIES)
		log_write(MESSAGE_REACHED, &(struct log_about) { 0 }, "workers can be sent descriptors again");
	workers->n_hindered = 0;
}

/* One more, where there may be. NULL: the next one to finish, or to end and make room, takes it; or *ret_r says why there is none. */
static struct worker *
workers_start_one(struct workers *workers, const struct workers_load *load, int *ret_r)
{
	struct worker *worker;

	if (workers->n >= max_u64(workers->n_max, load->n_busy + 1))
		return NULL;
	*ret_r = worker_new(workers->base, &workers_owner, workers, &worker);
	if (*ret_r)
		return NULL;
	LIST_INSERT_HEAD(&workers->list, worker, entry);
	workers->n++;
	return worker;
}

/* Gives jobs to workers until either runs out. */
static void
workers_dispatch(struct workers *workers)
{
	static const struct timeval idle = { .tv_sec = IDLE_SECONDS }, later = { .tv_usec = RETRY_MS * 1000 };
	struct workers_job *job;

	for (;;) {
		struct workers_load load = workers_load(workers);
		struct worker *worker = load.idle;
		int r = 0;

		job = workers_next(workers, &load);
		if (!job)
			break;
		if (!worker)
			worker = workers_start_one(workers, &load, &r);
		if (!worker && workers->n)
			return;
		workers_serve(workers, job);
		if (worker)
			r = workers_give(worker, job);
		if (worker)
			workers_tell_hindrance(workers, r);
		if (worker && (r == -EPIPE || r == -ECONNRESET)) {
			/* It died idle, and its pidfd is about to say so: the job is another one's. */
			worker->is_retired = true;
			workers_put_back(workers, job);
			continue;
		}
		if (worker && error_passes(r)) {
			workers_put_back(workers, job);
			timer_add(&workers->dispatch_event, &later);
			break;
		}
		if (r) {
			struct workers_outcome outcome = { .error = r };

			job->done(job, &outcome);
		}
	}
	if (workers->n && !evtimer_pending(&workers->idle_event, NULL))
		timer_add(&workers->idle_event, &idle);
}

static void
workers_on_dispatch(evutil_socket_t fd, short what, void *arg)
{
	workers_dispatch(arg);
}

/* Ends workers without a job. Where there was one since the last look the next is likely soon, and would wait for another worker. */
static void
workers_on_idle(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval idle = { .tv_sec = IDLE_SECONDS };
	struct workers *workers = arg;
	struct worker *worker;
	bool is_busy = workers->n_jobs != workers->idle_n_jobs;

	LIST_FOREACH(worker, &workers->list, entry)
		is_busy = is_busy || worker->job;
	workers->idle_n_jobs = workers->n_jobs;
	if (is_busy) {
		timer_add(&workers->idle_event, &idle);
		return;
	}
	LIST_FOREACH(worker, &workers->list, entry)
		worker_dismiss(worker);
}

void
workers_init(struct workers *workers, struct event_base *base, unsigned n_max)
{
	*workers = (struct workers) { .base = base, .n_max = n_max, .next_id = 1 };
	LIST_INIT(&workers->list);
	rounds_init(&workers->queue);
	rounds_init(&workers->waiting);
	(void)evtimer_assign(&workers->idle_event, base, workers_on_idle, workers);
	(void)evtimer_assign(&workers->dispatch_event, base, workers_on_dispatch, workers);
	(void)evtimer_assign(&workers->calm_event, base, workers_on_calm, workers);
}

void
workers_set_max(struct workers *workers, unsigned n_max)
{
	static const struct timeval now = { 0 };

	workers->n_max = n_max;
	if (workers_first(workers) && !evtimer_pending(&workers->dispatch_event, NULL))
		timer_add(&workers->dispatch_event, &now);
}

void
workers_deinit(struct workers *workers)
{
	uint64_t until_ns = clock_monotonic_ns() + END_MS * NS_PER_MS;
	struct worker *worker;

	if (!workers->base)
		return;
	LIST_FOREACH(worker, &workers->list, entry)
		worker_kill(worker);
	while ((worker = LIST_FIRST(&workers->list))) {
		worker_reap(worker, until_ns);
		workers_drop(workers, worker);
	}
	(void)evtimer_del(&workers->idle_event);
	(void)evtimer_del(&workers->dispatch_event);
	(void)evtimer_del(&workers->calm_event);
}

void
workers_submit(struct workers *workers, struct workers_job *job, bool first)
{
	static const struct timeval now = { 0 };

	job->job.id = workers->next_id++;
	job->workers = workers;
	job->worker = NULL;
	job->is_queued = true;
	job->round = (struct round) { 0 };
	workers->n_jobs++;
	(first ? rounds_enter_first : rounds_enter)(workers_queue_of(workers, job), &job->round, job->uid);
	/* From the loop, so that done is never called before submit has returned. */
	if (!evtimer_pending(&workers->dispatch_event, NULL))
		timer_add(&workers->dispatch_event, &now);
}

bool
workers_cancel(struct workers_job *job)
{
	if (!job->is_queued)
		return false;
	rounds_leave(workers_queue_of(job->workers, job), &job->round);
	job->is_queued = false;
	return true;
}

void
workers_hurry(struct workers_job *job)
{
	if (job->worker)
		worker_hurry(job->worker);
}

unsigned
workers_n_lost(const struct workers *workers, uint32_t uid)
{
	const struct worker *worker;
	unsigned n = 0;

	LIST_FOREACH(worker, &workers->list, entry)
		n += worker->is_lost && worker->uid == uid;
	return n;
}

bool
workers_has_lost(const struct workers *workers, uint64_t id)
{
	const struct worker *worker;

	LIST_FOREACH(worker, &workers->list, entry)
		if (worker->is_lost && worker->job_id == id)
			return true;
	return false;
}

size_t
workers_pids(const struct workers *workers, pid_t *pids, size_t max)
{
	const struct worker *worker;
	size_t n = 0;

	LIST_FOREACH(worker, &workers->list, entry)
		if (n < max)
			pids[n++] = worker->pid;
	return n;
}
