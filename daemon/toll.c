/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The clock also runs while somebody else has the CPU: one slow attach or close proves nothing, and the next one is measured by the
 * time that this thread had. Two attaches that were slow have the segment rest for eight times what the last one cost, and two closes
 * have those that follow wait for their turn.
 */
#include "config.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/timer.h"
#include "daemon/toll.h"

#define SLOW_NS			(NS_PER_MS / 10)	/* an attach takes 5 us, most often */
#define ATTACHMENT_NS		150			/* of it for each mark that is there by rights, twice what was seen */
#define SLOW_ATTACHES		2			/* until it rests */
#define SLOW_CLOSES		2			/* until the next ones are late */
#define TOLD_ATTACHES		4			/* until administrators hear of it */
#define REST_FACTOR		8
#define REST_MAX_NS		NS_PER_SEC
#define GRACE_NS		(25 * NS_PER_MS)	/* for who is next: it asks each 10 ms */
#define CLOSES_LATE_NS		NS_PER_SEC		/* after a close that was slow by that */
#define CLOSINGS_MAX		64			/* that wait: beyond them nobody is given what would add to them */
#define CLOSE_REST_FACTOR	4
#define CLOSE_TURN_NS	(NS_PER_MS / 20)	/* of closing in one turn of the loop: one that is slow, or many that are not */

struct toll_closing {
	int fd;
	struct charge charge;		/* for it */
	STAILQ_ENTRY(toll_closing) entry;
};

/* What it costs by rights is less. */
static uint64_t
toll_slow_ns(uint32_t n_attachments)
{
	return SLOW_NS + n_attachments * (uint64_t)ATTACHMENT_NS;
}

/* By the clock, or, after one that was slow, the time that this thread had. */
static uint64_t
toll_now_ns(unsigned n_slow)
{
	struct timespec t;

	if (!n_slow)
		return clock_monotonic_ns();
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Whoever is next and does not come loses its turn. */
static void
toll_drop_late(struct toll *toll, uint64_t now_ns)
{
	while (toll->n_uids && now_ns >= toll->rest_until_ns + GRACE_NS) {
		toll->n_uids--;
		memmove(&toll->uids[0], &toll->uids[1], toll->n_uids * sizeof(toll->uids[0]));
		toll->rest_until_ns += GRACE_NS;
	}
}

static bool
toll_has_uid(const struct toll *toll, uint32_t uid)
{
	for (unsigned i = 0; i < toll->n_uids; i++)
		if (toll->uids[i] == uid)
			return true;
	return false;
}

bool
toll_admits(struct toll *toll, const struct tolls *tolls, uint32_t uid)
{
	uint64_t now_ns;

	if (!toll->rest_until_ns && !toll->closes_late_until_ns)
		return true;
	now_ns = clock_monotonic_ns();
	if (now_ns < toll->closes_late_until_ns && tolls->n_closings >= CLOSINGS_MAX)
		return false;
	if (!toll->rest_until_ns)
		return true;
	toll_drop_late(toll, now_ns);
	if (now_ns >= toll->rest_until_ns && (!toll->n_uids || toll->uids[0] == uid))
		return true;
	if (toll->n_uids < TOLL_UIDS && !toll_has_uid(toll, uid))
		toll->uids[toll->n_uids++] = uid;
	return false;
}

uint64_t
toll_begin(const struct toll *toll)
{
	return toll_now_ns(toll->n_slow);
}

/* It was given to the first of those that wait. */
static void
toll_serve_first(struct toll *toll)
{
	if (!toll->n_uids)
		return;
	toll->n_uids--;
	memmove(&toll->uids[0], &toll->uids[1], toll->n_uids * sizeof(toll->uids[0]));
}

enum toll_news
toll_end(struct toll *toll, struct tolls *tolls, uint64_t begun_ns, uint32_t n_attachments, uint64_t *ret_ns)
{
	uint64_t cost_ns = toll_now_ns(toll->n_slow) - begun_ns;
	bool was_told = toll->n_slow >= TOLD_ATTACHES;

	*ret_ns = cost_ns;
	toll_serve_first(toll);
	if (cost_ns <= toll_slow_ns(n_attachments)) {
		toll->n_slow = 0;
		toll->rest_until_ns = 0;
		toll->n_uids = 0;
		return was_told ? TOLL_QUICK : TOLL_NOTHING;
	}
	if (toll->n_slow < TOLD_ATTACHES)
		toll->n_slow++;
	if (toll->n_slow >= SLOW_ATTACHES) {
		toll->rest_until_ns = clock_monotonic_ns() + min_u64(REST_FACTOR * cost_ns, REST_MAX_NS);
		tolls->n_rests++;
	}
	return toll->n_slow == TOLD_ATTACHES && !was_told ? TOLL_SLOW : TOLL_NOTHING;
}

/* Some were closed, and that took so long: the next ones have their time. */
static void
tolls_rest(struct tolls *tolls, uint64_t cost_ns)
{
	if (tolls->n_closings)
		timer_add_ns(&tolls->event, min_u64(CLOSE_REST_FACTOR * cost_ns, REST_MAX_NS));
}

static void
tolls_close_first(struct tolls *tolls)
{
	struct toll_closing *closing = STAILQ_FIRST(&tolls->closings);

	STAILQ_REMOVE_HEAD(&tolls->closings, entry);
	tolls->n_closings--;
	(void)close(closing->fd);
	charge_deinit(&closing->charge);
	free(closing);
}

static void
tolls_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct tolls *tolls = arg;
	uint64_t begun_ns = clock_monotonic_ns(), now_ns;

	do {
		tolls_close_first(tolls);
		now_ns = clock_monotonic_ns();
	} while (tolls->n_closings && now_ns - begun_ns < CLOSE_TURN_NS);
	tolls_rest(tolls, now_ns - begun_ns);
}

/* Behind those that wait. Without memory for that, now. */
void
tolls_close_later(struct tolls *tolls, struct accounts *accounts, uint32_t uid, int fd)
{
	struct toll_closing *closing = malloc(sizeof(*closing));

	if (!closing || accounts_charge_again(accounts, uid, ACCOUNTS_DESCRIPTORS, 1, &closing->charge)) {
		free(closing);
		(void)close(fd);
		return;
	}
	closing->fd = fd;
	STAILQ_INSERT_TAIL(&tolls->closings, closing, entry);
	if (tolls->n_closings++ == 0)
		tolls_rest(tolls, 0);
}

bool
toll_closes_late(const struct toll *toll)
{
	return toll->n_slow || (toll->closes_late_until_ns && clock_monotonic_ns() < toll->closes_late_until_ns);
}

void
toll_close(struct toll *toll, uint32_t n_attachments, int fd)
{
	uint64_t begun_ns = toll_now_ns(toll->n_slow_closes);

	(void)close(fd);
	if (toll_now_ns(toll->n_slow_closes) - begun_ns <= toll_slow_ns(n_attachments))
		toll->n_slow_closes = 0;
	else if (toll->n_slow_closes < SLOW_CLOSES)
		toll->n_slow_closes++;
	toll->closes_late_until_ns = toll->n_slow_closes < SLOW_CLOSES ? 0 : clock_monotonic_ns() + CLOSES_LATE_NS;
}

int
tolls_init(struct tolls *tolls, struct event_base *base)
{
	*tolls = (struct tolls) { 0 };
	STAILQ_INIT(&tolls->closings);
	return evtimer_assign(&tolls->event, base, tolls_on_event, tolls) ? -ENOMEM : 0;
}

void
tolls_deinit(struct tolls *tolls)
{
	if (!event_initialized(&tolls->event))
		return;
	(void)event_del(&tolls->event);
	while (!STAILQ_EMPTY(&tolls->closings))
		tolls_close_first(tolls);
}
