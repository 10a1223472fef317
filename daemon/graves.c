/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The process is a worker that is never told anything, and ends at end of file. It is given the connections by what exec leaves open,
 * and all else closes there; that it has the last references is certain, since it is let go when we have closed ours.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/graves.h"
#include "daemon/timer.h"
#include "daemon/worker.h"

#define GRAVES_AT_ONCE	4
#define GATHER_MS	20		/* a process serves as many as come meanwhile */

#ifndef P_PIDFD
#define P_PIDFD		3
#endif

struct grave {
	struct graves *graves;
	int pidfd;
	struct event event;
	LIST_ENTRY(grave) entry;
};

static void
graves_dig_later(struct graves *graves)
{
	static const struct timeval later = { .tv_usec = GATHER_MS * 1000 };

	if (!evtimer_pending(&graves->event, NULL))
		timer_add(&graves->event, &later);
}

static void
grave_free(struct grave *grave)
{
	(void)event_del(&grave->event);
	close_fd(&grave->pidfd);
	LIST_REMOVE(grave, entry);
	grave->graves->n_graves--;
	free(grave);
}

static void
grave_on_end(evutil_socket_t fd, short what, void *arg)
{
	struct grave *grave = arg;
	struct graves *graves = grave->graves;
	siginfo_t info = { 0 };

	if (waitid((idtype_t)P_PIDFD, (id_t)grave->pidfd, &info, WEXITED | WNOHANG) || info.si_pid == 0)
		return;
	grave_free(grave);
	if (graves->n)
		graves_dig_later(graves);
}

/* Starts the process with all that wait; it ends when *ret_fd is closed. 0 or a negative errno. */
static int
grave_dig(struct grave *grave, int *ret_fd)
{
	struct graves *graves = grave->graves;
	cleanup_close int own = -1, its = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	own = pair[0];
	its = pair[1];
	for (unsigned i = 0; i < graves->n; i++)
		(void)fcntl(graves->fds[i], F_SETFD, 0);
	r = worker_spawn(its, &pid);
	for (unsigned i = 0; i < graves->n; i++)
		(void)fcntl(graves->fds[i], F_SETFD, FD_CLOEXEC);
	if (r)
		return r;
	grave->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (grave->pidfd < 0 ||
	    event_assign(&grave->event, graves->base, grave->pidfd, EV_READ | EV_PERSIST, grave_on_end, grave) ||
	    event_add(&grave->event, NULL)) {
		/* Here they are kept, for another one. */
		r = grave->pidfd < 0 ? -errno : -ENOMEM;
		close_fd(&grave->pidfd);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	*ret_fd = take_fd(&own);
	return 0;
}

static void
graves_dig(struct graves *graves)
{
	cleanup_close int fd = -1;
	struct grave *grave;

	if (!graves->n || graves->n_graves == GRAVES_AT_ONCE)
		return;
	grave = calloc(1, sizeof(*grave));
	if (!grave) {
		graves_dig_later(graves);
		return;
	}
	grave->graves = graves;
	grave->pidfd = -1;
	if (grave_dig(grave, &fd)) {
		free(grave);
		graves_dig_later(graves);
		return;
	}
	LIST_INSERT_HEAD(&graves->list, grave, entry);
	graves->n_graves++;
	while (graves->n)
		(void)close(graves->fds[--graves->n]);
}

static void
graves_on_timer(evutil_socket_t fd, short what, void *arg)
{
	graves_dig(arg);
}

void
graves_init(struct graves *graves, struct event_base *base)
{
	*graves = (struct graves) { .base = base };
	LIST_INIT(&graves->list);
	(void)evtimer_assign(&graves->event, base, graves_on_timer, graves);
}

void
graves_deinit(struct graves *graves)
{
	struct grave *grave;

	if (!graves->base)
		return;
	(void)event_del(&graves->event);
	while ((grave = LIST_FIRST(&graves->list)))
		grave_free(grave);
}

void
graves_add(struct graves *graves, int *fd)
{
	graves->fds[graves->n++] = take_fd(fd);
	if (graves_are_full(graves))
		graves_dig(graves);
	if (graves->n)
		graves_dig_later(graves);
}

bool
graves_are_full(const struct graves *graves)
{
	return graves->n >= GRAVES_FDS;
}
