/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Processes of ours that answer as segmentd-audit. One that was hung up on is killed when it is still there a while later; its pid
 * is ours until we reap it.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/auditor.h"
#include "daemon/timer.h"

#define STEP_MS		500	/* of these, for who stood still */
#define END_MS		2000	/* until a process that was hung up on is killed */
#define FINISH_MS	2000	/* at the daemon's end, until it is killed: a removal on a machine with load takes some 100 ms */
#define REAP_MS		1000	/* of all of them at the daemon's end */

#ifndef P_PIDFD
#define P_PIDFD		3
#endif

struct auditor_child {
	struct auditor *auditor;
	pid_t pid;
	int pidfd;
	struct event pidfd_event;
	struct event kill_event;
	struct allotment time;		/* once it was hung up on */
	LIST_ENTRY(auditor_child) entry;
};

static void
auditor_child_free(struct auditor_child *child)
{
	if (event_initialized(&child->pidfd_event))
		(void)event_del(&child->pidfd_event);
	if (event_initialized(&child->kill_event))
		(void)event_del(&child->kill_event);
	close_fd(&child->pidfd);
	if (child->auditor->child == child)
		child->auditor->child = NULL;
	LIST_REMOVE(child, entry);
	child->auditor->n_children--;
	free(child);
}

/* Its end is told by the connection, too, after all that it has said. */
static void
auditor_on_child_end(evutil_socket_t fd, short what, void *arg)
{
	struct auditor_child *child = arg;
	struct auditor *auditor = child->auditor;
	siginfo_t info = { 0 };

	if (waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) || info.si_pid == 0)
		return;
	auditor_child_free(child);
	if (auditor->is_crowded)
		auditor_set_timer(auditor, 0);
	auditor->is_crowded = false;
}

/* Kills it in time; or now, where that cannot be. */
static void
auditor_child_kill_late(struct auditor_child *child)
{
	if (timer_is_over(&child->kill_event, &child->time))
		(void)kill(child->pid, SIGKILL);
}

static void
auditor_on_child_late(evutil_socket_t fd, short what, void *arg)
{
	auditor_child_kill_late(arg);
}

int
auditor_child_new(struct auditor *auditor, pid_t pid)
{
	struct auditor_child *child = malloc(sizeof(*child));
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), r = child ? 0 : -ENOMEM;

	if (pidfd < 0)
		r = -errno;
	if (r == 0) {
		*child = (struct auditor_child) { .auditor = auditor, .pid = pid, .pidfd = pidfd };
		if (event_assign(&child->pidfd_event, auditor->base, pidfd, EV_READ | EV_PERSIST, auditor_on_child_end, child) ||
		    evtimer_assign(&child->kill_event, auditor->base, auditor_on_child_late, child) ||
		    event_add(&child->pidfd_event, NULL))
			r = -ENOMEM;
	}
	if (r) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		close_fd(&pidfd);
		free(child);
		return r;
	}
	LIST_INSERT_HEAD(&auditor->children, child, entry);
	auditor->n_children++;
	auditor->child = child;
	return 0;
}

void
auditor_child_hang_up(struct auditor_child *child, bool at_once)
{
	allotment_begin(&child->time, at_once ? 0 : END_MS * NS_PER_MS, STEP_MS * NS_PER_MS);
	auditor_child_kill_late(child);
}

size_t
auditor_pids(const struct auditor *auditor, pid_t *pids, size_t max)
{
	const struct auditor_child *child;
	size_t n = 0;

	LIST_FOREACH(child, &auditor->children, entry)
		if (n < max)
			pids[n++] = child->pid;
	return n;
}

static void
auditor_child_await(const struct auditor_child *child, struct allotment *time)
{
	struct pollfd pollfd = { .fd = child->pidfd, .events = POLLIN };
	uint64_t left_ns;

	while ((left_ns = allotment_look(time)) && poll(&pollfd, 1, (int)(left_ns / NS_PER_MS) + 1) <= 0)
		;
}

/* Who does not end in time is not waited for: with us it loses its parent, and whoever takes it over reaps it. */
static void
auditor_child_reap(const struct auditor_child *child, struct allotment *time)
{
	auditor_child_await(child, time);
	(void)waitpid(child->pid, NULL, WNOHANG);
}

void
auditor_children_end(struct auditor *auditor)
{
	struct allotment time;
	struct auditor_child *child;

	allotment_begin(&time, FINISH_MS * NS_PER_MS, STEP_MS * NS_PER_MS);
	LIST_FOREACH(child, &auditor->children, entry)
		auditor_child_await(child, &time);
	LIST_FOREACH(child, &auditor->children, entry)
		(void)kill(child->pid, SIGKILL);
	allotment_begin(&time, REAP_MS * NS_PER_MS, STEP_MS * NS_PER_MS);
	while ((child = LIST_FIRST(&auditor->children))) {
		auditor_child_reap(child, &time);
		auditor_child_free(child);
	}
}
