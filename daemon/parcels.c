/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A parcel is on its way to a worker: it waits for its uid's turn, is looked at, and what came of it waits for its session, if that
 * is there still. A uid whose workers were killed at it and do not end waits until one of them has.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/parcels.h"
#include "daemon/session.h"
#include "daemon/session_parts.h"
#include "daemon/timer.h"

#define WORKERS_AT_ONCE		4
#define PATIENCE_SECONDS	1	/* of what takes no time at all, unless somebody means it to */
#define RETRY_MS		100	/* while there is no worker to be had */
#define LOST_MAX		2	/* workers that were killed at a uid's and do not die: it gets no more of them until one does */
#define LOST_RETRY_SECONDS	1

static void
parcel_free(struct parcel *parcel)
{
	/* A duplicate of a session's, or one whose queue is empty; and proved memory, which others have as well. */
	close_fd(&parcel->socket_fd);
	close_fd(&parcel->fd);
	charge_deinit(&parcel->charge);
	charge_deinit(&parcel->fd_charge);
	charge_deinit(&parcel->ended_charge);
	charge_deinit(&parcel->flight_charge);
	free(parcel);
}

static struct parcels_queue *
parcel_queue(const struct parcel *parcel)
{
	if (parcel->leader)
		return &parcel->leader->others;
	if (parcel->is_waiting)
		return &parcel->parcels->waiting;
	return parcel->is_running ? &parcel->parcels->running : &parcel->parcels->done;
}

static void
parcel_leave(struct parcel *parcel)
{
	TAILQ_REMOVE(parcel_queue(parcel), parcel, entry);
	parcel->is_waiting = parcel->is_running = false;
	parcel->leader = NULL;
}

static void
parcel_await(struct parcel *parcel)
{
	parcel->is_waiting = true;
	TAILQ_INSERT_TAIL(&parcel->parcels->waiting, parcel, entry);
}

static bool
parcels_has_running(const struct parcels *parcels, uint32_t uid)
{
	const struct parcel *parcel;

	TAILQ_FOREACH(parcel, &parcels->running, entry)
		if (parcel->uid == uid)
			return true;
	return false;
}

/* Whether what a uid has sent along may cost one more worker. */
static bool
parcels_may_lose(const struct parcels *parcels, uint32_t uid)
{
	return uid == 0 || workers_n_lost(&parcels->workers, uid) < LOST_MAX;
}

/* Of a worker that was killed at it. Nobody else would say what is waited for. */
static void
parcels_tell_lost(const struct parcels *parcels, uint32_t uid)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct log_about about = { .has_client_uid = true, .client_uid = uid };

	if (!parcels_may_lose(parcels, uid) && log_allowed(&limit))
		log_write(MESSAGE_WORKERS_LOST, &about, "%u workers that let go of descriptors which uid %u had sent along were killed and "
		    "do not end: what it sends along is not looked at before one of them ends; they wait in the kernel, most often for "
		    "the server of a file system of that user (FUSE), which is to be ended", LOST_MAX, (unsigned)uid);
}

static void
parcels_start(struct parcels *parcels)
{
	static const struct timeval later = { .tv_sec = LOST_RETRY_SECONDS };
	struct parcel *parcel, *next;

	if (evtimer_pending(&parcels->retry_event, NULL))
		return;
	for (parcel = TAILQ_FIRST(&parcels->waiting); parcel; parcel = next) {
		next = TAILQ_NEXT(parcel, entry);
		if (parcels_has_running(parcels, parcel->uid))
			continue;
		if (!parcels_may_lose(parcels, parcel->uid)) {
			(void)evtimer_add(&parcels->lost_event, &later);
			continue;
		}
		parcel_leave(parcel);
		parcel->is_running = true;
		TAILQ_INSERT_TAIL(&parcels->running, parcel, entry);
		workers_submit(&parcels->workers, &parcel->job, false);
	}
}

static void
parcels_on_retry(evutil_socket_t fd, short what, void *arg)
{
	parcels_start(arg);
}

/* There was no worker. */
static void
parcel_try_later(struct parcel *parcel)
{
	static const struct timeval later = { .tv_usec = RETRY_MS * 1000 };

	parcel_await(parcel);
	timer_add(&parcel->parcels->retry_event, &later);
}

/* Who has sent it may send it again, unless the worker says that it is not what was asked for. */
static void
parcel_take_result(struct parcel *parcel, const struct workers_outcome *outcome)
{
	const struct job_result *result = outcome->result;
	const char *text = result ? result->text : "whoever looked at its descriptor came to no end, or was killed";

	parcel->status = result ? result->status : outcome->error ? outcome->error : -EAGAIN;
	if (parcel->status == 0 && *outcome->fd < 0)
		parcel->status = -EMFILE;
	if (outcome->error || (result && parcel->status != result->status))
		text = "the daemon is out of memory, processes or descriptors";
	if (parcel->status == 0) {
		parcel->fd = *outcome->fd;
		*outcome->fd = -1;
	} else {
		(void)snprintf(parcel->text, sizeof(parcel->text), "%s", text);
	}
}

static void
parcel_was_looked_at(struct parcel *parcel, const struct workers_outcome *outcome)
{
	if (!parcel->session) {
		parcel_free(parcel);
		return;
	}
	TAILQ_INSERT_TAIL(&parcel->parcels->done, parcel, entry);
	parcel->is_done = true;
	parcel_take_result(parcel, outcome);
	parcel->session->waiter.wake(&parcel->session->waiter);
}

/* A worker that was killed at it had taken the message, most likely: else the request is answered once more. */
static void
parcel_was_discarded(struct parcel *parcel)
{
	struct session *session = parcel->session;

	if (session) {
		session->parcel = NULL;
		session->waiter.wake(&session->waiter);
	}
	parcel_free(parcel);
}

static void
parcel_has_ended(struct parcel *parcel, const struct workers_outcome *outcome)
{
	if (outcome->error) {
		parcel_try_later(parcel);
		return;
	}
	/* Each worker that was killed at them, or had no more time, has taken one message at least. */
	if (!session_shut(parcel->socket_fd)) {
		parcel_await(parcel);
		return;
	}
	if (parcel->flight_charge.account && flights_is_unread(parcel->socket_fd))
		flights_add(parcel->parcels->flights, &parcel->socket_fd, &parcel->flight_charge);
	parcel_free(parcel);
}

/* A worker has come for it: all of its uid that wait likewise go with it, so that many take little more of the loop than one. */
static unsigned
parcel_gather(struct workers_job *job, int *ret_fds)
{
	struct parcel *leader = BASE_CONTAINER_OF(job, struct parcel, job), *parcel, *next;
	unsigned n = 0;

	ret_fds[n++] = leader->socket_fd;
	/* It was given to one that could not be sent anything. */
	TAILQ_FOREACH(parcel, &leader->others, entry)
		ret_fds[n++] = parcel->socket_fd;
	for (parcel = TAILQ_FIRST(&leader->parcels->waiting); parcel && n < JOB_MANY_MAX; parcel = next) {
		next = TAILQ_NEXT(parcel, entry);
		if (parcel->uid != leader->uid || parcel->job.job.kind != JOB_EMPTY)
			continue;
		parcel_leave(parcel);
		parcel->leader = leader;
		TAILQ_INSERT_TAIL(&leader->others, parcel, entry);
		ret_fds[n++] = parcel->socket_fd;
	}
	return n;
}

static void
parcels_have_ended(struct parcel *leader, const struct workers_outcome *outcome)
{
	struct parcel *parcel;

	while ((parcel = TAILQ_FIRST(&leader->others))) {
		parcel_leave(parcel);
		parcel_has_ended(parcel, outcome);
	}
	parcel_has_ended(leader, outcome);
}

static void
parcel_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct parcel *parcel = BASE_CONTAINER_OF(job, struct parcel, job);
	struct parcels *parcels = parcel->parcels;

	parcel_leave(parcel);
	if (outcome->was_stuck)
		parcels_tell_lost(parcels, parcel->uid);
	if (job->job.kind == JOB_RECEIVE)
		parcel_was_looked_at(parcel, outcome);
	else if (job->job.kind == JOB_EMPTY)
		parcels_have_ended(parcel, outcome);
	else if (outcome->error)
		parcel_try_later(parcel);
	else
		parcel_was_discarded(parcel);
	parcels_start(parcels);
}

void
parcels_init(struct parcels *parcels, struct event_base *base, struct accounts *accounts, struct flights *flights)
{
	*parcels = (struct parcels) { .accounts = accounts, .flights = flights };
	workers_init(&parcels->workers, base, WORKERS_AT_ONCE);
	TAILQ_INIT(&parcels->waiting);
	TAILQ_INIT(&parcels->running);
	TAILQ_INIT(&parcels->done);
	(void)evtimer_assign(&parcels->retry_event, base, parcels_on_retry, parcels);
	(void)evtimer_assign(&parcels->lost_event, base, parcels_on_retry, parcels);
	graves_init(&parcels->graves, base);
}

static void
parcels_drop(struct parcels_queue *queue)
{
	struct parcel *parcel;

	while ((parcel = TAILQ_FIRST(queue))) {
		parcels_drop(&parcel->others);
		parcel_leave(parcel);
		parcel->socket_fd = -1;
		parcel_free(parcel);
	}
}

void
parcels_deinit(struct parcels *parcels)
{
	/* It was never initialised. */
	if (!parcels->workers.base)
		return;
	workers_deinit(&parcels->workers);
	(void)event_del(&parcels->retry_event);
	(void)event_del(&parcels->lost_event);
	parcels_drop(&parcels->waiting);
	parcels_drop(&parcels->running);
	parcels_drop(&parcels->done);
	graves_deinit(&parcels->graves);
}

static struct parcel *
parcel_new(struct parcels *parcels, enum job_kind kind, uint32_t uid)
{
	struct parcel *parcel = malloc(sizeof(*parcel));

	if (!parcel)
		return NULL;
	*parcel = (struct parcel) {
		.job = {
			.job = { .kind = kind },
			.fd = -1,
			.control_fd = -1,
			.third_fd = -1,
			.uid = uid,
			.patience_seconds = PATIENCE_SECONDS,
			.done = parcel_done,
		},
		.parcels = parcels,
		.socket_fd = -1,
		.uid = uid,
		.fd = -1,
	};
	TAILQ_INIT(&parcel->others);
	return parcel;
}

static void
parcel_submit(struct parcel *parcel)
{
	parcel->job.fd = parcel->socket_fd;
	parcel_await(parcel);
	parcels_start(parcel->parcels);
}

/* One of a session, which may end, and its number be another's, while a worker is at it. */
static int
parcels_take(struct parcels *parcels, struct session *session, enum job_kind kind, struct parcel **ret_parcel)
{
	struct parcel *parcel;
	int r;

	(void)parcels_forget(session);
	parcel = parcel_new(parcels, kind, session->identity.uid);
	if (!parcel)
		return -ENOMEM;
	parcel->socket_fd = fcntl(session->fd, F_DUPFD_CLOEXEC, 3);
	if (parcel->socket_fd < 0) {
		r = -errno;
		parcel_free(parcel);
		return r;
	}
	/* Whatever the limit is: a session has one at most. */
	(void)accounts_charge_again(parcels->accounts, parcel->uid, ACCOUNTS_DESCRIPTORS, 1, &parcel->fd_charge);
	parcel->session = session;
	session->parcel = parcel;
	*ret_parcel = parcel;
	return 0;
}

int
parcels_receive(struct parcels *parcels, struct session *session, uint64_t serial, const struct parcels_proof *proof)
{
	struct parcel *parcel;
	int r = parcels_take(parcels, session, JOB_RECEIVE, &parcel);

	if (r)
		return r;
	parcel->serial = serial;
	parcel->job.job.file = (struct job_file) {
		.device = proof->device, .inode = proof->inode, .size_bytes = proof->size_bytes,
	};
	parcel_submit(parcel);
	return 0;
}

int
parcels_discard(struct parcels *parcels, struct session *session)
{
	struct parcel *parcel;
	int r = parcels_take(parcels, session, JOB_DISCARD, &parcel);

	if (r == 0)
		parcel_submit(parcel);
	return r;
}

bool
parcels_discards(const struct session *session)
{
	return session->parcel && session->parcel->job.job.kind == JOB_DISCARD;
}

bool
parcels_forget(struct session *session)
{
	struct parcel *parcel = take_ptr(session->parcel);
	struct parcels *parcels;

	if (!parcel)
		return false;
	parcel->session = NULL;
	/* A worker that is at it has a duplicate of its own, and done comes to the rest. */
	if (parcel->is_running && !workers_cancel(&parcel->job))
		return true;
	parcels = parcel->parcels;
	parcel_leave(parcel);
	parcel_free(parcel);
	parcels_start(parcels);
	return false;
}

bool
parcels_are_crowded(const struct parcels *parcels)
{
	return graves_are_full(&parcels->graves);
}

/* Where memory is short it is not counted. */
static void
parcel_charge(struct parcel *parcel)
{
	struct accounts *accounts = parcel->parcels->accounts;

	(void)accounts_charge_again(accounts, parcel->uid, ACCOUNTS_CLIENTS, 1, &parcel->charge);
	(void)accounts_charge_again(accounts, parcel->uid, ACCOUNTS_DESCRIPTORS, 1, &parcel->fd_charge);
}

void
parcels_end(struct parcels *parcels, int *fd, struct charge *charge)
{
	struct ucred peer = { .uid = UINT32_MAX };
	socklen_t length = sizeof(peer);
	struct charge ended = CHARGE_NULL;
	struct parcel *parcel;
	int r;

	(void)getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
	r = accounts_charge(parcels->accounts, peer.uid, ACCOUNTS_ENDED, 1, &ended);
	/* What is in flight goes on counting by its connection: there are no more of those than that has a limit of its own. */
	if (r == ACCOUNTS_E_LIMIT)
		accounts_left_out(parcels->accounts, ACCOUNTS_ENDED);
	if (r == ACCOUNTS_E_LIMIT && !(charge && charge->account) && !graves_are_full(&parcels->graves)) {
		graves_add(&parcels->graves, fd);
		return;
	}
	parcel = parcel_new(parcels, JOB_EMPTY, peer.uid);
	if (!parcel) {
		charge_deinit(&ended);
		return;
	}
	parcel->job.gather = parcel_gather;
	parcel->socket_fd = take_fd(fd);
	parcel->ended_charge = ended;
	if (charge)
		parcel->flight_charge = charge_take(charge);
	parcel_charge(parcel);
	parcel_submit(parcel);
}
