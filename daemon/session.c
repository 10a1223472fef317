/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A session's life: it is heard of, serves requests in its turn, and ends when its peer does. A rule that is broken ends this
 * session alone, and nothing that a peer does can make it grow.
 */
#include "config.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/session_parts.h"

#define RETRY_MS	10

/* A connection's requests in one turn: a pipelined HELLO and one more. */
#define TURN_REQUESTS	2
#define LAST_TURNS_MAX	256	/* for requests of one that is dead: a queue of them takes no more */

static void session_on_event(evutil_socket_t fd, short what, void *arg);

static void
session_end(struct session *session)
{
	session->host->on_end(session, session->host->arg);
	(void)session_free(session);
}

/*
 * A connection that lies in its own queue is closed by nobody. Who sends itself so behind a request that waits keeps its session until
 * its process ends; of one without a process that we know, that would be never.
 */
static bool
session_must_look_behind(const struct session *session)
{
	return session->pidfd < 0 && !session->parcel && (session->mode == SESSION_WAITING || session->mode == SESSION_FULL);
}

static short
session_events(const struct session *session)
{
	static const short events[] = {
		[SESSION_READING] = EV_READ | EV_PERSIST,
		/* Not for what it sends: the request that waits is still in the queue. Its end is heard all the same. */
		[SESSION_WAITING] = EV_CLOSED | EV_PERSIST,
		/* Edges: the socket is writable long before the peer has read what it was sent. */
		[SESSION_FULL] = EV_WRITE | EV_CLOSED | EV_PERSIST | EV_ET,
	};
	short what = events[session->mode];

	if (session_must_look_behind(session))
		what |= EV_READ | EV_ET;
	if (session->is_edge)
		what |= EV_ET;
	if (!session->awaits_room)
		return what;
	/*
	 * A level serves where no fd is awaited: it is writable again when three quarters of what it can hold were read. What waits in
	 * the queue would be heard of without end.
	 */
	return (short)((session_must_look_behind(session) ? what : what & ~EV_ET) | EV_WRITE);
}

static int
session_hear(struct session *session)
{
	if (event_assign(&session->event, session->host->base, session->fd, session_events(session), session_on_event,
	    session) || event_add(&session->event, NULL)) {
		session->mode = SESSION_OFF;
		return -ENOMEM;
	}
	return 0;
}

static int
session_set_mode(struct session *session, enum session_mode mode)
{
	if (session->mode == mode)
		return 0;
	if (session->mode != SESSION_OFF)
		(void)event_del(&session->event);
	session->mode = mode;
	session->is_woken = false;
	session->behind_bytes = 0;
	return mode == SESSION_OFF ? 0 : session_hear(session);
}

static void
session_violated(struct session *session, const char *how)
{
	static struct log_limit limit = LOG_LIMIT(10);
	struct log_about about = {
		.client_pid = session->identity.pid,
		.has_client_uid = true,
		.client_uid = session->identity.uid,
	};

	session->host->n_violations++;
	if (log_allowed(&limit))
		log_write(MESSAGE_PROTOCOL, &about, "client %d of uid %u broke the protocol (%s) and was disconnected",
		    session->identity.pid, session->identity.uid, how);
	session_farewell(session, -EPROTO, "the protocol was broken: %s", how);
	session_end(session);
}

static int
session_retry_soon(struct session *session)
{
	static const struct timeval soon = { .tv_usec = RETRY_MS * 1000 };

	if (!event_initialized(&session->retry_event))
		return -ENOMEM;
	return evtimer_add(&session->retry_event, &soon) ? -ENOMEM : 0;
}

void
session_await_room(struct session *session, bool awaits_room)
{
	if (session->awaits_room == awaits_room)
		return;
	session->awaits_room = awaits_room;
	if (session->mode == SESSION_OFF)
		return;
	(void)event_del(&session->event);
	if (session_hear(session))
		(void)session_retry_soon(session);
}

/* The request that was answered, out of the queue. 0: it is; 1: it will be, and nothing is done until then; or a negative errno. */
static int
session_take_off(struct session *session)
{
	int r;

	(void)parcels_forget(session);
	if (!session->brings_fds) {
		session_consume(session);
		return session_set_mode(session, SESSION_READING);
	}
	r = parcels_discard(&session->host->parcels, session);
	if (r == 0)
		r = session_set_mode(session, SESSION_WAITING);
	return r ? r : 1;
}

/* What serving one comes to. */
enum session_served {
	SESSION_SERVED,			/* it was consumed, and there may be more */
	SESSION_DRAINED,		/* there was none */
	SESSION_STOPPED,		/* nothing more now */
	SESSION_GONE,			/* it was freed */
};

/* What a request's handling came to, for the session. 0, or a negative errno that ends it. */
static int
session_conclude(struct session *session, int outcome)
{
	int r;

	switch (outcome) {
	case -EAGAIN:
	case SESSION_E_AGAIN:
		return session_set_mode(session, SESSION_READING);
	case SESSION_E_WAIT:
		return session_set_mode(session, SESSION_WAITING);
	case SESSION_E_FULL:
		return session_set_mode(session, SESSION_FULL);
	case -ETOOMANYREFS:
		/* Too many fds of ours are in flight, because of others who do not read: no fault of this one's. */
	case SESSION_E_LATER:
		r = session_set_mode(session, SESSION_WAITING);
		return r ? r : session_retry_soon(session);
	default:
		return outcome;
	}
}

/* One request from the queue. */
static enum session_served
session_serve_one(struct session *session)
{
	union {
		struct protocol_header header;
		uint64_t align;
		char bytes[PROTOCOL_REQUEST_MAX];
	} request;
	bool is_empty;
	size_t n;
	int r;

	r = session_peek(session, &request, sizeof(request), &n);
	is_empty = r == -EAGAIN;
	if (r == 0)
		r = session->host->dispatch(session, &request.header, session->host->arg);
	if (r == SESSION_E_VIOLATION) {
		session_violated(session, session->violation);
		return SESSION_GONE;
	}
	if (r == 0) {
		session->serial = request.header.serial;
		session->n_requests++;
		session->host->n_requests++;
		r = session_take_off(session);
		if (r == 0)
			return SESSION_SERVED;
		if (r > 0)
			return SESSION_STOPPED;
	} else
		r = session_conclude(session, r);
	if (r == 0)
		return is_empty ? SESSION_DRAINED : SESSION_STOPPED;
	session_end(session);
	return SESSION_GONE;
}

static void
session_enter(struct session *session)
{
	turns_enter(&session->host->turns, &session->charge.account->turns, &session->turn);
}

/*
 * Who detached, and then ended, did not die with the segment: what it had asked for still counts, in its next turns. They are
 * counted, since whoever has the socket from it could ask on, and its locks wait to be recovered.
 */
static bool
session_has_last_requests(struct session *session)
{
	int n_bytes = 0;

	return (session->mode == SESSION_READING || session->is_woken) && session->n_last_turns++ < LAST_TURNS_MAX &&
	    ioctl(session->fd, SIOCINQ, &n_bytes) == 0 && n_bytes > 0;
}

static void
session_serve(struct session *session)
{
	enum session_served served = SESSION_STOPPED;

	for (int i = 0; i < TURN_REQUESTS && !parcels_discards(session); i++) {
		bool was_greeted = session->is_greeted;

		served = session_serve_one(session);
		if (served == SESSION_GONE)
			return;
		if (served != SESSION_SERVED || was_greeted)
			break;
	}
	/* What is heard of once has to be read to its end. One that has ended has the rest of its turns. */
	if (session->has_ended || (session->is_edge && session->mode == SESSION_READING && served != SESSION_DRAINED))
		session_enter(session);
}

static void
session_on_turn(struct turn *turn)
{
	struct session *session = BASE_CONTAINER_OF(turn, struct session, turn);

	if (session->is_closed || (session->has_ended && !session_has_last_requests(session)))
		session_end(session);
	else if (session->sent_behind)
		session_violated(session, session->violation);
	else
		session_serve(session);
}

/* It had been heard of, and is again, since nothing could be done yet: from now on only when more comes. */
static void
session_hear_less(struct session *session)
{
	if (session->is_edge || session->mode == SESSION_OFF || !turns_have_time(&session->host->turns))
		return;
	session->is_edge = true;
	(void)event_del(&session->event);
	if (session_hear(session))
		(void)session_retry_soon(session);
}

static void
session_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	session->is_closed |= what & EV_CLOSED && (!(what & EV_READ) || session_must_look_behind(session));
	if (what & EV_READ && session_must_look_behind(session) && !session->is_closed) {
		session->sent_behind = !session_look_behind(session);
		if (!session->sent_behind && !(what & EV_WRITE))
			return;
	}
	if (what & EV_WRITE && session->awaits_room && !session->is_closed) {
		session_await_room(session, false);
		session->host->on_room(session, session->host->arg);
		if (!(what & EV_READ) && session->mode != SESSION_FULL)
			return;
	}
	if (turn_waits(&session->turn))
		session_hear_less(session);
	else
		session_enter(session);
}

static void
session_on_death(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	session->has_ended = true;
	session_enter(session);
}

static int session_admit(struct session *session, bool is_last_word);

static void
session_on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	if (session->charge.account)
		session_enter(session);
	else if (session_admit(session, true))
		(void)session_free(session);
}

/*
 * What it waited for may have come: the request is looked at again in the session's turn, not from here. Thousands may be woken at
 * once: what the kernel has to be told is told in their turns, too.
 */
static void
session_on_wake(struct segment_waiter *waiter)
{
	struct session *session = BASE_CONTAINER_OF(waiter, struct session, waiter);

	if (session->mode != SESSION_WAITING)
		return;
	session->is_woken = true;
	session_enter(session);
}

static int
session_listen(struct session *session)
{
	struct event_base *base = session->host->base;

	if (session->pidfd >= 0) {
		if (event_assign(&session->pidfd_event, base, session->pidfd, EV_READ, session_on_death, session) ||
		    event_add(&session->pidfd_event, NULL))
			return -ENOMEM;
	}
	return session_set_mode(session, SESSION_READING);
}

/*
 * Charges the session and begins to serve it. A uid that has enough is asked once more in the next turn, unless this is the
 * last word: what it closed a moment ago is heard of by then. 0: it is served, or waits, or has ended already.
 */
static int
session_admit(struct session *session, bool is_last_word)
{
	static const struct timeval next_turn = { 0 };
	char text[ACCOUNTS_TEXT_SIZE];
	int r = session_charge(session, is_last_word ? text : NULL);

	if (r == ACCOUNTS_E_LIMIT && !is_last_word)
		return evtimer_add(&session->retry_event, &next_turn) ? -ENOMEM : 0;
	if (r == ACCOUNTS_E_LIMIT)
		session_farewell(session, -EDQUOT, "%s", text);
	if (r == 0)
		r = session_listen(session);
	if (r)
		return r;
	session_write_row(session);
	if (session->host->keeps)
		session_box(session);
	/* What it said right after connecting is here already, most often. */
	session_enter(session);
	return 0;
}

struct session *
session_make(struct session_host *host, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session || evtimer_assign(&session->retry_event, host->base, session_on_retry, session)) {
		free(session);
		(void)close(fd);
		return NULL;
	}
	session->host = host;
	session->fd = fd;
	session->pidfd = -1;
	session->upload = (struct parse_upload) PARSE_UPLOAD_NULL;
	session->since_ns = clock_realtime_ns();
	session->turn.take = session_on_turn;
	session->waiter.wake = session_on_wake;
	LIST_INIT(&session->attachments);
	TAILQ_INIT(&session->ends);
	TAILQ_INSERT_TAIL(&host->sessions, session, entry);
	host->n_sessions++;
	return session;
}

int
session_new(struct session_host *host, int fd)
{
	struct session *session = session_make(host, fd);
	int r;

	if (!session)
		return -ENOMEM;
	session->id = ++host->last_id;
	r = session_identify(session);
	/* It was accepted with the last descriptor, and has none for its pidfd. */
	if (r == -EMFILE || r == -ENFILE)
		session_farewell(session, -ENFILE, "%s", SESSION_OUT_OF_FDS);
	if (r == 0)
		r = session_admit(session, false);
	if (r)
		(void)session_free(session);
	return r;
}

int
session_resume(struct session *session)
{
	if (!session->has_ended)
		return session_listen(session);
	session_end(session);
	return 0;
}

struct session *
session_free(struct session *session)
{
	struct session_host *host;
	bool is_read;

	if (!session)
		return NULL;
	host = session->host;
	segment_waiter_cancel(&session->waiter);
	(void)session_set_mode(session, SESSION_OFF);
	turns_leave(&host->turns, &session->turn);
	if (event_initialized(&session->pidfd_event))
		(void)event_del(&session->pidfd_event);
	if (event_initialized(&session->retry_event))
		(void)event_del(&session->retry_event);
	/* What a worker reads away is no matter of ours, not even to be looked at; that of this uid which comes next has the rest. */
	is_read = parcels_forget(session);
	if (is_read)
		(void)shutdown(session->fd, SHUT_RDWR);
	if (session->fd >= 0 && (is_read || !session_may_send_fds(session))) {
		if (!is_read && session_shut(session->fd))
			flights_add(&host->flights, &session->fd, &session->flight_charge);
		else
			parcels_end(&host->parcels, &session->fd, &session->flight_charge);
	}
	if (session->fd < 0 || !session->has_ended || !burials_add(&host->burials, &session->fd, &session->pidfd)) {
		session_hang_up(&host->parcels, &session->fd);
		close_fd(&session->pidfd);
	}
	ledger_drop(host->ledger, &session->row);
	TAILQ_REMOVE(&host->sessions, session, entry);
	host->n_sessions--;
	if (session->is_boxed)
		box_dead(host->box, false);
	identity_deinit(&session->identity);
	session_discharge(session);
	free(session);
	return NULL;
}
