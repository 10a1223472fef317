/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A worker is this same executable under another name (JOB_ARGV0): always of the daemon's own version, also while a
 * package is being upgraded underneath. It gets one end of a socket pair as standard input. Its death is learnt from its
 * pidfd; what it said before it died is read first.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/patience.h"
#include "daemon/timer.h"
#include "daemon/workers.h"
#include "host/limits.h"

#define STUCK_SECONDS	10	/* for one job, as daemon/patience.h counts them: a piece takes milliseconds */
#define IDLE_SECONDS	2
#define RETRY_MS	20	/* while the kernel has no room for a message */
#define HINDERED_TRIES	10	/* until administrators hear of it */
#define SLOW_BYTES	(64 * MIB)	/* a second, at the very least */
#define LOST_SECONDS	5	/* from its being killed on: who is dead but for a disk that does not answer */
#define LOST_MAX	16	/* of them no more are made by what users do, and at twice as many by nothing: each is a process */
#define END_MS		1000	/* of all that were killed at the daemon's end; who has none of a CPU ends after it */

#ifndef P_PIDFD
#define P_PIDFD		3
#endif

struct worker {
	struct workers *workers;
	pid_t pid;
	int pidfd;
	int socket;
	struct event socket_event;
	struct event pidfd_event;
	struct event stuck_event;
	struct patience patience;	/* while that is pending */
	struct workers_job *job;
	uint32_t uid;			/* of the last one */
	uint64_t job_id;		/* likewise */
	bool was_stuck;			/* it was killed, and did not die yet */
	bool is_lost;			/* likewise for long: it waits in the kernel for what may never come, and is not counted */
	bool is_retired;		/* takes no job any more: it ends, or has ended */
	LIST_ENTRY(worker) entry;
};

static void workers_dispatch(struct workers *workers);

static void
worker_free(struct worker *worker)
{
	struct workers *workers = worker->workers;

	if (event_initialized(&worker->socket_event))
		(void)event_del(&worker->socket_event);
	if (event_initialized(&worker->pidfd_event))
		(void)event_del(&worker->pidfd_event);
	if (event_initialized(&worker->stuck_event))
		(void)event_del(&worker->stuck_event);
	close_fd(&worker->socket);
	close_fd(&worker->pidfd);
	LIST_REMOVE(worker, entry);
	if (worker->is_lost)
		workers->n_lost--;
	else
		workers->n--;
	free(worker);
}

/* Receives a message, and the fd that may be with it. As recv. */
static ssize_t
worker_receive(struct worker *worker, struct job_result *result, int *ret_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = result, .iov_len = sizeof(*result) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	const struct cmsghdr *header;
	ssize_t n;

	do
		n = recvmsg(worker->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
	return n;
}

/* Reads one result, if there is one, and hands it to who submitted the job. */
static void
worker_read(struct worker *worker)
{
	cleanup_close int fd = -1;
	struct job_result result = { 0 };
	struct workers_outcome outcome = { .result = &result, .fd = &fd };
	struct workers_job *job = worker->job;
	ssize_t n = worker_receive(worker, &result, &fd);

	if (n != (ssize_t)sizeof(result) || !job || result.id != job->job.id)
		return;
	result.text[sizeof(result.text) - 1] = '\0';
	worker->job = NULL;
	job->worker = NULL;
	(void)event_del(&worker->stuck_event);
	job->done(job, &outcome);
}

static void
worker_on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	struct workers *workers = worker->workers;
	char byte;

	/* At end of file the pidfd will tell; until it does, a socket that stays readable must not spin. */
	if (recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0) {
		(void)event_del(&worker->socket_event);
		return;
	}
	worker_read(worker);
	workers_dispatch(workers);
}

static unsigned
job_patience_seconds(const struct workers_job *job)
{
	bool is_repair = job->job.kind == JOB_REPAIR || job->job.kind == JOB_REPAIR_MUTEX;

	if (job->patience_seconds)
		return job->patience_seconds;
	/* A repair is one job however much it is; the others are cut in pieces. */
	return STUCK_SECONDS + (is_repair ? (unsigned)(job->job.length_bytes / SLOW_BYTES) : 0);
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

static void
worker_on_death(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	struct workers *workers = worker->workers;
	struct workers_outcome outcome = { .was_stuck = worker->was_stuck };
	struct workers_job *job;
	siginfo_t info = { 0 };

	if (waitid((idtype_t)P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG) || info.si_pid == 0)
		return;
	worker_read(worker);
	if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
		outcome.signal = info.si_status;
	job = worker->job;
	worker_free(worker);
	if (job)
		workers_give_up(workers, job, &outcome);
	workers_dispatch(workers);
}

static void
worker_look_in(struct worker *worker, uint64_t ns)
{
	const struct timeval delay = {
		.tv_sec = (time_t)(ns / NS_PER_SEC),
		.tv_usec = (suseconds_t)(ns % NS_PER_SEC / 1000),
	};

	timer_add(&worker->stuck_event, &delay);
}

/* Nobody else would say why jobs are not begun. */
static void
workers_tell_lost(const struct workers *workers)
{
	static struct log_limit limit = LOG_LIMIT(4);

	if ((workers->n_lost == LOST_MAX || workers->n_lost == 2 * LOST_MAX) && log_allowed(&limit))
		log_write(MESSAGE_WORKERS_LOST, NULL, "%u workers were killed and do not end, since they wait in the kernel for a disk, or "
		    "for the server of a file system, that does not answer: %s is begun before one of them ends", workers->n_lost,
		    workers->n_lost == LOST_MAX ? "nothing more that is a user's doing" : "nothing that needs them");
}

/*
 * Killed, it does nothing any more but what the kernel is at for it. Its job has failed, and its place is another one's; it is
 * reaped when it dies.
 */
static void
worker_lose(struct worker *worker)
{
	struct workers_outcome outcome = { .was_stuck = true };
	struct workers *workers = worker->workers;
	struct workers_job *job = take_ptr(worker->job);

	worker->is_lost = true;
	worker->is_retired = true;
	workers->n--;
	workers->n_lost++;
	workers_tell_lost(workers);
	if (job)
		workers_give_up(workers, job, &outcome);
	workers_dispatch(workers);
}

static void
worker_on_look(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	uint64_t again_ns;

	if (worker->was_stuck) {
		worker_lose(worker);
		return;
	}
	/* Our child and not reaped: the pid is still its. */
	again_ns = patience_look(&worker->patience, worker->pid);
	if (again_ns) {
		worker_look_in(worker, again_ns);
		return;
	}
	worker->was_stuck = true;
	(void)kill(worker->pid, SIGKILL);
	worker_look_in(worker, LOST_SECONDS * NS_PER_SEC);
}

/* From now on it may take so long, for its job or to end. */
static void
worker_limit(struct worker *worker, unsigned seconds)
{
	worker_look_in(worker, patience_begin(&worker->patience, seconds * NS_PER_SEC, worker->pid));
}

/* One that nobody hears, or whose death nobody hears of, is none. */
static int
worker_listen(struct worker *worker)
{
	struct event_base *base = worker->workers->base;

	(void)event_assign(&worker->socket_event, base, worker->socket, EV_READ | EV_PERSIST, worker_on_socket, worker);
	(void)event_assign(&worker->pidfd_event, base, worker->pidfd, EV_READ | EV_PERSIST, worker_on_death, worker);
	(void)evtimer_assign(&worker->stuck_event, base, worker_on_look, worker);
	return event_add(&worker->socket_event, NULL) || event_add(&worker->pidfd_event, NULL) ? -ENOMEM : 0;
}

static int
worker_new(struct workers *workers)
{
	int pair[2];
	struct worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	*worker = (struct worker) { .workers = workers, .pidfd = -1, .socket = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		r = -errno;
		free(worker);
		return r;
	}
	r = workers_spawn(pair[1], &worker->pid);
	close_fd(&pair[1]);
	if (r) {
		close_fd(&pair[0]);
		free(worker);
		return r;
	}
	worker->socket = pair[0];
	LIST_INSERT_HEAD(&workers->list, worker, entry);
	workers->n++;
	worker->pidfd = (int)syscall(SYS_pidfd_open, worker->pid, 0);
	r = worker->pidfd < 0 ? -errno : worker_listen(worker);
	if (r) {
		(void)kill(worker->pid, SIGKILL);
		while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR)
			;
		worker_free(worker);
	}
	return r;
}

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
worker_give(struct worker *worker, struct workers_job *job)
{
	int fds[JOB_MANY_MAX];
	size_t n_fds = job_fds(job, fds);
	union {
		char buf[CMSG_SPACE(sizeof(int) * JOB_MANY_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec io = { .iov_base = &job->job, .iov_len = sizeof(job->job) };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds),
	};

	control.align = (struct cmsghdr) {
		.cmsg_len = CMSG_LEN(sizeof(int) * n_fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n_fds);
	if (sendmsg(worker->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	worker->job = job;
	worker->uid = job->uid;
	worker->job_id = job->job.id;
	job->worker = worker;
	worker_limit(worker, job_patience_seconds(job));
	return 0;
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

	if (workers->n_lost >= 2 * LOST_MAX || load->n_busy >= workers->n_max)
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

	if (workers->n_lost >= LOST_MAX)
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
	if (workers->n < max_u64(workers->n_max, load->n_busy + 1))
		*ret_r = worker_new(workers);
	else
		return NULL;
	return *ret_r ? NULL : LIST_FIRST(&workers->list);
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
			r = worker_give(worker, job);
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

/* Ends workers without a job: at end of file they go by themselves, and their pidfd says when. */
static void
workers_on_idle(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval idle = { .tv_sec = IDLE_SECONDS };
	struct workers *workers = arg;
	struct worker *worker;
	bool is_busy = false;

	LIST_FOREACH(worker, &workers->list, entry)
		is_busy = is_busy || worker->job;
	if (is_busy) {
		timer_add(&workers->idle_event, &idle);
		return;
	}
	LIST_FOREACH(worker, &workers->list, entry) {
		(void)event_del(&worker->socket_event);
		(void)shutdown(worker->socket, SHUT_RDWR);
		/* One that was stopped does not hear of it, and would keep its place from others for ever. */
		if (!worker->is_retired)
			worker_limit(worker, STUCK_SECONDS);
		worker->is_retired = true;
	}
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
}

void
workers_set_max(struct workers *workers, unsigned n_max)
{
	static const struct timeval now = { 0 };

	workers->n_max = n_max;
	if (workers_first(workers) && !evtimer_pending(&workers->dispatch_event, NULL))
		timer_add(&workers->dispatch_event, &now);
}

/*
 * Dying takes CPU time too, and who ends is in nobody's haste but ours. One that is not done in time is not waited for: with us
 * it loses its parent, and whoever takes it over reaps it.
 */
static void
worker_reap(struct worker *worker, uint64_t until_ns)
{
	struct pollfd pollfd = { .fd = worker->pidfd, .events = POLLIN };
	uint64_t now_ns = clock_monotonic_ns();
	int ms = now_ns < until_ns ? (int)((until_ns - now_ns) / NS_PER_MS) : 0;

	while (poll(&pollfd, 1, ms) < 0 && errno == EINTR)
		;
	(void)waitpid(worker->pid, NULL, WNOHANG);
}

void
workers_deinit(struct workers *workers)
{
	uint64_t until_ns = clock_monotonic_ns() + END_MS * NS_PER_MS;
	struct worker *worker;

	if (!workers->base)
		return;
	LIST_FOREACH(worker, &workers->list, entry)
		(void)kill(worker->pid, SIGKILL);
	while ((worker = LIST_FIRST(&workers->list))) {
		worker_reap(worker, until_ns);
		worker_free(worker);
	}
	(void)evtimer_del(&workers->idle_event);
	(void)evtimer_del(&workers->dispatch_event);
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
	const struct job cancel = { .id = job->job.id, .kind = JOB_CANCEL };

	/* One that is dying does not hear of it, and need not; a second one to the same job is dropped. */
	if (job->worker)
		(void)send(job->worker->socket, &cancel, sizeof(cancel), MSG_NOSIGNAL | MSG_DONTWAIT);
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
