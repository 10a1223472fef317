/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A worker is this same executable under another name (JOB_ARGV0): always of the daemon's own version, also while a
 * package is being upgraded underneath. It gets one end of a socket pair as standard input. Its death is learnt from its
 * pidfd; what it said before it died is read first.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/timer.h"
#include "daemon/worker.h"

#define LOST_SECONDS	5	/* from its being killed on: who is dead but for a disk that does not answer */

#ifndef P_PIDFD
#define P_PIDFD		3
#endif

void
worker_free(struct worker *worker)
{
	if (event_initialized(&worker->socket_event))
		(void)event_del(&worker->socket_event);
	if (event_initialized(&worker->pidfd_event))
		(void)event_del(&worker->pidfd_event);
	if (event_initialized(&worker->stuck_event))
		(void)event_del(&worker->stuck_event);
	close_fd(&worker->socket);
	close_fd(&worker->pidfd);
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

/* Reads one result, if there is one. */
static void
worker_read(struct worker *worker)
{
	cleanup_close int fd = -1;
	struct job_result result = { 0 };
	ssize_t n = worker_receive(worker, &result, &fd);

	if (n != (ssize_t)sizeof(result) || !worker->job || result.id != worker->job_id)
		return;
	result.text[sizeof(result.text) - 1] = '\0';
	(void)event_del(&worker->stuck_event);
	worker->owner->answered(worker, take_ptr(worker->job), &result, &fd);
}

static void
worker_on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	char byte;

	/* At end of file the pidfd will tell; until it does, a socket that stays readable must not spin. */
	if (recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == 0) {
		(void)event_del(&worker->socket_event);
		return;
	}
	worker_read(worker);
	worker->owner->waits(worker);
}

static void
worker_on_death(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	siginfo_t info = { 0 };
	bool is_killed;

	if (waitid((idtype_t)P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG) || info.si_pid == 0)
		return;
	worker_read(worker);
	is_killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
	worker->owner->ended(worker, take_ptr(worker->job), is_killed ? info.si_status : 0);
}

static void
worker_look_in(struct worker *worker, uint64_t ns)
{
	timer_add_ns(&worker->stuck_event, ns);
}

static void
worker_on_look(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	uint64_t again_ns;

	if (worker->was_stuck) {
		worker->is_lost = true;
		worker->is_retired = true;
		worker->owner->lost(worker, take_ptr(worker->job));
		return;
	}
	/* Our child and not reaped: the pid is still its. */
	again_ns = patience_look(&worker->patience, worker->pid);
	if (again_ns) {
		worker_look_in(worker, again_ns);
		return;
	}
	worker->was_stuck = true;
	worker_kill(worker);
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
worker_listen(struct worker *worker, struct event_base *base)
{
	(void)event_assign(&worker->socket_event, base, worker->socket, EV_READ | EV_PERSIST, worker_on_socket, worker);
	(void)event_assign(&worker->pidfd_event, base, worker->pidfd, EV_READ | EV_PERSIST, worker_on_death, worker);
	(void)evtimer_assign(&worker->stuck_event, base, worker_on_look, worker);
	return event_add(&worker->socket_event, NULL) || event_add(&worker->pidfd_event, NULL) ? -ENOMEM : 0;
}

int
worker_new(struct event_base *base, const struct worker_owner *owner, struct workers *workers, struct worker **ret_worker)
{
	int pair[2];
	struct worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	*worker = (struct worker) { .owner = owner, .workers = workers, .pidfd = -1, .socket = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		r = -errno;
		free(worker);
		return r;
	}
	r = worker_spawn(pair[1], &worker->pid);
	close_fd(&pair[1]);
	if (r) {
		close_fd(&pair[0]);
		free(worker);
		return r;
	}
	worker->socket = pair[0];
	worker->pidfd = (int)syscall(SYS_pidfd_open, worker->pid, 0);
	r = worker->pidfd < 0 ? -errno : worker_listen(worker, base);
	if (r) {
		worker_kill(worker);
		while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR)
			;
		worker_free(worker);
		return r;
	}
	*ret_worker = worker;
	return 0;
}

int
worker_give(struct worker *worker, const struct worker_task *task)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * JOB_MANY_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec io = { .iov_base = (void *)(uintptr_t)task->message, .iov_len = sizeof(*task->message) };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(sizeof(int) * task->n_fds),
	};

	control.align = (struct cmsghdr) {
		.cmsg_len = CMSG_LEN(sizeof(int) * task->n_fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&control.align), task->fds, sizeof(int) * task->n_fds);
	if (sendmsg(worker->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	worker->job = task->job;
	worker->uid = task->uid;
	worker->job_id = task->message->id;
	worker_limit(worker, task->patience_seconds);
	return 0;
}

void
worker_hurry(struct worker *worker)
{
	const struct job cancel = { .id = worker->job_id, .kind = JOB_CANCEL };

	/* One that is dying does not hear of it, and need not; a second one to the same job is dropped. */
	(void)send(worker->socket, &cancel, sizeof(cancel), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* At end of file it goes by itself, and its pidfd says when. */
void
worker_dismiss(struct worker *worker)
{
	(void)event_del(&worker->socket_event);
	(void)shutdown(worker->socket, SHUT_RDWR);
	/* One that was stopped does not hear of it, and would keep its place from others for ever. */
	if (!worker->is_retired)
		worker_limit(worker, WORKER_STUCK_SECONDS);
	worker->is_retired = true;
}

void
worker_kill(struct worker *worker)
{
	(void)kill(worker->pid, SIGKILL);
}

/*
 * Dying takes CPU time too, and who ends is in nobody's haste but ours. One that is not done in time is not waited for: with us
 * it loses its parent, and whoever takes it over reaps it.
 */
void
worker_reap(struct worker *worker, uint64_t until_ns)
{
	struct pollfd pollfd = { .fd = worker->pidfd, .events = POLLIN };
	uint64_t now_ns = clock_monotonic_ns();
	int ms = now_ns < until_ns ? (int)((until_ns - now_ns) / NS_PER_MS) : 0;

	while (poll(&pollfd, 1, ms) < 0 && errno == EINTR)
		;
	(void)waitpid(worker->pid, NULL, WNOHANG);
}
