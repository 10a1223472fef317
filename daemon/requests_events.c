/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Subscriptions: which session is told of events, and of whose. A subscriber's connection carries no fds: what it leaves
 * unread must not hold up a reply with one, nor the other way round. So it names the session that is attached, which
 * must be of the same process.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/requests.h"

struct subscription_charges {
	struct charge one;
	struct charge all;		/* where it sees all */
};

struct subscription {
	struct events_subscriber subscriber;
	struct session *session;
	struct session *watched;	/* whose attachments count; NULL: it sees all, or its time is over */
	struct subscription_charges charges;
};

/* Its bounded queue is one thing, the place that it keeps another. What is in its socket it can read still. */
static void
subscription_give_up(struct subscription *subscription)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct identity *identity = &subscription->session->identity;
	const struct log_about about = {
		.client_pid = identity->pid, .has_client_uid = true, .client_uid = identity->uid,
	};

	subscription->subscriber.events->n_silent++;
	if (log_allowed(&limit))
		log_write(MESSAGE_SILENT, &about, "client %d of uid %u was disconnected: it subscribed to events, has read none for long, "
		    "and %" PRIu64 " of them were lost to it", identity->pid, identity->uid, subscription->subscriber.lost);
	(void)shutdown(subscription->session->fd, SHUT_RDWR);
}

int
requests_send_event(struct events_subscriber *subscriber, const struct protocol_event *event)
{
	struct subscription *subscription = BASE_CONTAINER_OF(subscriber, struct subscription, subscriber);
	int r = session_push(subscription->session, &event->header);

	if (r == SESSION_E_FULL && events_is_silent(subscriber))
		subscription_give_up(subscription);
	else if (r == SESSION_E_FULL)
		session_await_room(subscription->session, true);
	/* Most likely it has ended already. Else it must not wait for ever for what it is not told: its session ends in a turn of its own. */
	else if (r)
		(void)shutdown(subscription->session->fd, SHUT_RDWR);
	return r;
}

void
requests_on_room(struct session *session, void *arg)
{
	if (session->subscription)
		events_on_room(&session->subscription->subscriber);
}

static void
subscription_unwatch(struct subscription *subscription)
{
	struct attachment *attachment;

	if (!subscription->watched)
		return;
	LIST_FOREACH(attachment, &subscription->watched->attachments, session_entry)
		events_unwatch(attachment);
	subscription->watched->watched_by = NULL;
	subscription->watched = NULL;
}

static void
subscription_watch(struct subscription *subscription, struct session *watched)
{
	struct attachment *attachment;

	subscription->watched = watched;
	watched->watched_by = subscription;
	LIST_FOREACH(attachment, &watched->attachments, session_entry)
		events_watch(&subscription->subscriber, attachment);
}

static void
subscription_discharge(struct subscription_charges *charges)
{
	charge_deinit(&charges->one);
	charge_deinit(&charges->all);
}

/* Its session goes on without it. */
static void
subscription_end(struct subscription *subscription)
{
	if (!subscription)
		return;
	subscription_unwatch(subscription);
	events_unsubscribe(&subscription->subscriber);
	subscription->session->subscription = NULL;
	subscription->session->sees_all = false;
	subscription->session->watched_session = 0;
	session_await_room(subscription->session, false);
	subscription_discharge(&subscription->charges);
	free(subscription);
}

/* It is told no more, and must not wait for ever: its session hears of the end, and ends in a turn of its own. */
static void
subscription_hang_up(struct subscription *subscription)
{
	if (!subscription)
		return;
	subscription_unwatch(subscription);
	(void)shutdown(subscription->session->fd, SHUT_RDWR);
}

/* Another session of the same process, and so of the same uid. The newest are most likely to be asked for. */
static struct session *
requests_find_sibling(const struct session *session, uint64_t id)
{
	struct session *other;

	TAILQ_FOREACH_REVERSE(other, session_of_uid(session), account_sessions, account_entry)
		if (other->id <= id)
			break;
	return other && other->id == id && other != session && session_is_sibling(session, other) ? other : NULL;
}

static int
requests_unsubscribe(struct session *session, const struct protocol_header *request)
{
	struct protocol_header reply;
	int r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);

	if (r)
		return r;
	subscription_end(session->subscription);
	session_write_row(session);
	return 0;
}

static int
requests_refuse_subscription(struct session *session, const struct protocol_header *request, enum accounts_kind kind, int r)
{
	char text[ACCOUNTS_TEXT_SIZE];

	if (r == ACCOUNTS_E_LIMIT)
		return session_refuse(session, request, -EDQUOT, "%s", accounts_refuse(session->host->accounts,
		    session->identity.uid, kind, 1, text));
	return session_refuse(session, request, r, "the daemon is out of memory");
}

/* One that takes an older one's place has its charges. 0, -ENOMEM, or ACCOUNTS_E_LIMIT, of the kind. */
static int
subscription_charge(const struct session *session, bool sees_all, struct subscription_charges *charges, enum accounts_kind *ret_kind)
{
	const struct subscription *older = session->subscription;
	struct accounts *accounts = session->host->accounts;
	uint32_t uid = session->identity.uid;
	int r = 0;

	*ret_kind = ACCOUNTS_SUBSCRIPTIONS;
	if (!older)
		r = accounts_charge(accounts, uid, ACCOUNTS_SUBSCRIPTIONS, 1, &charges->one);
	if (r == 0 && sees_all && !(older && older->charges.all.account)) {
		*ret_kind = ACCOUNTS_ALL_EVENTS;
		r = accounts_charge(accounts, uid, ACCOUNTS_ALL_EVENTS, 1, &charges->all);
	}
	if (r)
		subscription_discharge(charges);
	return r;
}

static void
subscription_take_charges(struct subscription *older, bool sees_all, struct subscription_charges *charges)
{
	charges->one = charge_take(&older->charges.one);
	if (sees_all && older->charges.all.account)
		charges->all = charge_take(&older->charges.all);
}

/* watched: NULL for all. */
static void
subscription_begin(const struct requests *requests, struct session *session, struct subscription *subscription,
    struct session *watched, const struct subscription_charges *charges)
{
	static const int buffer_bytes = PROTOCOL_MESSAGE_MAX / 2 + 1024;

	*subscription = (struct subscription) {
		.subscriber = {
			.identity = &session->identity,
			.sees_all = !watched,
			.is_administrator = requests_is_administrator(requests, &session->identity),
		},
		.session = session,
		.charges = *charges,
	};
	/*
	 * The kernel doubles it: room for the longest reply. Who reads late has what is kept for all, and events in the queues of
	 * thousands of subscribers would be memory that is counted for nobody.
	 */
	(void)setsockopt(session->fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
	session->subscription = subscription;
	session->sees_all = !watched;
	session->watched_session = watched ? watched->id : 0;
	session_write_row(session);
	events_subscribe(requests->events, &subscription->subscriber);
	if (watched) {
		subscription_hang_up(watched->watched_by);
		subscription_watch(subscription, watched);
	}
}

/* watched: NULL for all. */
static int
requests_subscribe_to(struct requests *requests, struct session *session, const struct protocol_header *request,
    struct session *watched)
{
	struct subscription *subscription = malloc(sizeof(*subscription));
	struct subscription_charges charges = { 0 };
	enum accounts_kind kind = ACCOUNTS_SUBSCRIPTIONS;
	struct protocol_header reply;
	int r = subscription ? subscription_charge(session, !watched, &charges, &kind) : -ENOMEM;

	if (r) {
		free(subscription);
		return requests_refuse_subscription(session, request, kind, r);
	}
	r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
	if (r) {
		subscription_discharge(&charges);
		free(subscription);
		return r;
	}
	if (session->subscription)
		subscription_take_charges(session->subscription, !watched, &charges);
	subscription_end(session->subscription);
	subscription_begin(requests, session, subscription, watched, &charges);
	return 0;
}

void
requests_revive_subscription(struct requests *requests, struct session *session, struct session *watched)
{
	struct subscription *subscription = malloc(sizeof(*subscription));
	struct accounts *accounts = session->host->accounts;
	struct subscription_charges charges = { 0 };
	uint32_t uid = session->identity.uid;
	int r = subscription ? accounts_charge_again(accounts, uid, ACCOUNTS_SUBSCRIPTIONS, 1, &charges.one) : -ENOMEM;

	if (r == 0 && !watched)
		r = accounts_charge_again(accounts, uid, ACCOUNTS_ALL_EVENTS, 1, &charges.all);
	/* It hears of the end, and subscribes anew: better than to wait for ever. */
	if (r) {
		subscription_discharge(&charges);
		free(subscription);
		(void)shutdown(session->fd, SHUT_RDWR);
		return;
	}
	subscription_begin(requests, session, subscription, watched, &charges);
}

int
requests_subscribe(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_subscribe *subscribe = (const void *)request;
	bool sees_all = subscribe->flags == (PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL);
	struct session *watched = NULL;

	if (subscribe->flags != 0 && subscribe->flags != PROTOCOL_SUBSCRIBE_ON && !sees_all)
		return session_refuse(session, request, -EINVAL, "the flags of a subscription must be none, ON, or ON and ALL");
	if (subscribe->session && subscribe->flags != PROTOCOL_SUBSCRIBE_ON)
		return session_refuse(session, request, -EINVAL, "only a subscription to what a session is attached to "
		    "names a session");
	if (!subscribe->flags)
		return requests_unsubscribe(session, request);
	if (!sees_all) {
		watched = requests_find_sibling(session, subscribe->session);
		if (!watched)
			return session_refuse(session, request, -ENOENT, "this process has no other connection that is "
			    "session %" PRIu64, subscribe->session);
	}
	return requests_subscribe_to(requests, session, request, watched);
}

void
requests_on_attach(struct session *session, struct attachment *attachment)
{
	events_on_attach(attachment, &session->ends);
	if (session->watched_by)
		events_watch(&session->watched_by->subscriber, attachment);
}

void
requests_on_return(struct session *session, struct attachment *attachment)
{
	attachment->ends = &session->ends;
	if (session->watched_by)
		events_watch(&session->watched_by->subscriber, attachment);
}

void
requests_end_subscriptions(struct session *session)
{
	subscription_hang_up(session->watched_by);
	subscription_end(session->subscription);
}
