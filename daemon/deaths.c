/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A list of pidfds of processes that hung up, each with what it was attached to and a time limit. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/deaths.h"
#include "daemon/events.h"

#define WAIT_S		1		/* from the socket's end to the process's: microseconds, on a machine at rest */
#define POST_NS		(NS_PER_MS / 4)	/* in one turn of the loop */

struct deaths_watch {
	struct deaths *deaths;
	struct event event;
	int pidfd;
	int32_t pid;
	struct events_ends ends;	/* still to be told */
	struct charge charge, fd_charge;
	LIST_ENTRY(deaths_watch) entry;
};

static struct deaths_watch *
deaths_watch_free(struct deaths_watch *watch)
{
	if (event_initialized(&watch->event))
		(void)event_del(&watch->event);
	close_fd(&watch->pidfd);
	events_forget_ends(&watch->ends);
	charge_deinit(&watch->charge);
	charge_deinit(&watch->fd_charge);
	LIST_REMOVE(watch, entry);
	free(watch);
	return NULL;
}

/* The segment may be gone by now. */
static void
deaths_tell(struct deaths_watch *watch, struct events_end *end)
{
	struct segment *segment = registry_find(watch->deaths->registry, end->definition->name);

	if (segment && segment->generation != end->generation)
		segment = NULL;
	events_post_death(end, segment, watch->pid);
	(void)events_end_free(&watch->ends, end);
}

static int
deaths_listen(struct deaths_watch *watch)
{
	static const struct timeval limit = { .tv_sec = WAIT_S };

	return event_add(&watch->event, &limit);
}

/* Of a process that has ended. True: all was told that there was to tell. */
static bool
deaths_tell_some(struct deaths_watch *watch)
{
	uint64_t until_ns = clock_monotonic_ns() + POST_NS;
	struct events_end *end;

	while ((end = TAILQ_FIRST(&watch->ends)) && clock_monotonic_ns() < until_ns)
		deaths_tell(watch, end);
	return TAILQ_EMPTY(&watch->ends);
}

static void
deaths_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct deaths_watch *watch = arg;

	/* It stays dead: the rest in the next turn. */
	if (!(what & EV_READ) || deaths_tell_some(watch) || deaths_listen(watch))
		(void)deaths_watch_free(watch);
}

void
deaths_init(struct deaths *deaths, struct event_base *base, struct registry *registry)
{
	*deaths = (struct deaths) { .base = base, .registry = registry };
	LIST_INIT(&deaths->list);
}

void
deaths_deinit(struct deaths *deaths)
{
	struct deaths_watch *watch;

	while ((watch = LIST_FIRST(&deaths->list)))
		(void)deaths_watch_free(watch);
}

static void
deaths_watch(struct deaths *deaths, struct session *session)
{
	struct accounts *accounts = session->host->accounts;
	struct charge charge = CHARGE_NULL;
	struct deaths_watch *watch;

	/* Who connects, attaches and hangs up as often as it can uses up what is its own. */
	if (accounts_charge(accounts, session->identity.uid, ACCOUNTS_DEATHS, 1, &charge)) {
		accounts_left_out(accounts, ACCOUNTS_DEATHS);
		return;
	}
	watch = malloc(sizeof(*watch));
	if (!watch) {
		charge_deinit(&charge);
		return;
	}
	*watch = (struct deaths_watch) { .deaths = deaths, .pidfd = -1, .pid = session->identity.pid, .charge = charge };
	TAILQ_INIT(&watch->ends);
	TAILQ_CONCAT(&watch->ends, &session->ends, entry);
	LIST_INSERT_HEAD(&deaths->list, watch, entry);
	/* Most often its end is here before we have come to look. */
	if (session_peer_has_ended(session) && deaths_tell_some(watch)) {
		(void)deaths_watch_free(watch);
		return;
	}
	/* A copy: who recovers its locks waits for it, too. */
	(void)accounts_charge_again(accounts, session->identity.uid, ACCOUNTS_DESCRIPTORS, 1, &watch->fd_charge);
	watch->pidfd = fcntl(session->pidfd, F_DUPFD_CLOEXEC, 3);
	if (watch->pidfd < 0 || event_assign(&watch->event, deaths->base, watch->pidfd, EV_READ, deaths_on_event, watch) ||
	    deaths_listen(watch))
		(void)deaths_watch_free(watch);
}

void
deaths_expect(struct deaths *deaths, struct session *session)
{
	const struct attachment *attachment;

	LIST_FOREACH(attachment, &session->attachments, session_entry)
		events_add_end(&session->ends, attachment);
	/* What became of the dead one's locks is told before its death, as who reads of it may go and look. */
	if (!session_peer_has_ended(session))
		deaths_conclude(deaths, session);
}

void
deaths_conclude(struct deaths *deaths, struct session *session)
{
	if (!TAILQ_EMPTY(&session->ends) && session->pidfd >= 0)
		deaths_watch(deaths, session);
	events_forget_ends(&session->ends);
}
