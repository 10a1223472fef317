/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Events: a second connection that only listens, since a reply with a descriptor must never wait for events that a program
 * has not read. The program polls an epoll descriptor that holds the connection and a timer, so that the connection can be
 * made anew, and be tried for, without the program's part. Mutexes are taken in this order: events, then the client's.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "client/client.h"

#define DISPATCH_MAX	1024		/* events of one call: other descriptors of the program wait meanwhile */
#define DELAY_MIN_MS	100		/* between two tries to connect */
#define DELAY_MAX_MS	3200
#define TRIES_MAX	3		/* to subscribe, while connections break underway */

static_assert((int)SEGMENT_EVENT_LOST == (int)PROTOCOL_EVENT_LOST && (int)SEGMENT_EVENT_DIED == (int)PROTOCOL_EVENT_DIED &&
    (int)SEGMENT_EVENT_POISONED == (int)PROTOCOL_EVENT_POISONED && (int)SEGMENT_EVENT_READY == (int)PROTOCOL_EVENT_READY &&
    (int)SEGMENT_EVENT_REMOVED == (int)PROTOCOL_EVENT_REMOVED && (int)SEGMENT_EVENT_RELOAD == (int)PROTOCOL_EVENT_RELOAD &&
    (int)SEGMENT_EVENT_UNSYNCED == (int)PROTOCOL_EVENT_UNSYNCED && PROTOCOL_EVENT_N == 17, "events have the wire's numbers");

void
events_close(struct client_events *events)
{
	/* Each is forgotten before it is closed, as in connection_close. */
	int poll_fd = take_fd(&events->poll_fd);
	int timer_fd = take_fd(&events->timer_fd);

	connection_close(&events->connection);
	base_cleanup_close(&timer_fd);
	base_cleanup_close(&poll_fd);
}

/* The client's, made at the first use; or NULL with the sentence set. */
static struct client_events *
events_get(struct segment_client *client)
{
	struct client_events *events;

	(void)pthread_mutex_lock(&client->mutex);
	events = client->events;
	if (!events && (events = malloc(sizeof(*events)))) {
		connection_init(&events->connection);
		(void)pthread_mutex_init(&events->mutex, NULL);
		events->poll_fd = events->timer_fd = -1;
		events->delay_ms = DELAY_MIN_MS;
		client->events = events;
	}
	(void)pthread_mutex_unlock(&client->mutex);
	if (!events)
		(void)error_set(-ENOMEM, "memory ran out");
	return events;
}

/* A program that closed its standard streams must not have them replaced by ours. Consumes fd. */
static int
above_standard_streams(int fd)
{
	int moved;

	if (fd < 0 || fd >= 3)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	base_cleanup_close(&fd);
	return moved;
}

static int
events_add(const struct client_events *events, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(events->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* Makes what the program polls, with no connection in it yet. */
static int
events_open_poll(struct client_events *events)
{
	cleanup_close int poll_fd = above_standard_streams(epoll_create1(EPOLL_CLOEXEC));
	cleanup_close int timer_fd = poll_fd < 0 ? -1 :
	    above_standard_streams(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	int r;

	if (timer_fd < 0)
		return error_set(-errno, "no descriptor for events could be had: %s", strerrordesc_np(errno));
	events->poll_fd = take_fd(&poll_fd);
	events->timer_fd = take_fd(&timer_fd);
	if (events_add(events, events->timer_fd) < 0) {
		r = error_set(-errno, "no descriptor for events could be had: %s", strerrordesc_np(errno));
		events_close(events);
		return r;
	}
	return 0;
}

/* The descriptor becomes readable after ms; 0: no more for this. */
static void
events_set_timer(const struct client_events *events, unsigned ms)
{
	struct itimerspec when = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 } };

	(void)timerfd_settime(events->timer_fd, 0, &when, NULL);
}

static int
events_subscribe_once(struct segment_client *client, struct client_events *events)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON };
	struct connection_tries tries = { 0 };
	struct protocol_header reply;
	uint64_t epoch;
	size_t size;
	int r;

	r = client_session(client, &request.session, &epoch);
	if (r < 0)
		return r;
	do {
		r = connection_open(&events->connection, client->path);
		if (r == 0)
			r = connection_request(&events->connection, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request),
			    &reply, sizeof(reply), &size, NULL, 0);
	} while (connection_may_try_again(&events->connection, &tries, r));
	/* Nobody listens any more; or who was asked knows of no such session, which has ended meanwhile. */
	if (r == -ENOENT)
		r = events->connection.version ? -ESTALE : -ENOTCONN;
	if (r == -ECONNREFUSED)
		r = -ENOTCONN;
	if (r < 0)
		return error_set(r, "%s", events->connection.error);
	/* What was subscribed to is this client's only if no other daemon has come in between. */
	return client_is_connected(client, epoch) ? 0 : error_set(-ESTALE, "the daemon was restarted underway");
}

/* Connects, and puts the connection into what the program polls. */
static int
events_subscribe(struct segment_client *client, struct client_events *events)
{
	int r = -ESTALE;

	for (unsigned tries = 0; tries < TRIES_MAX && r == -ESTALE; tries++) {
		r = events_subscribe_once(client, events);
		if (r < 0)
			connection_close(&events->connection);
	}
	if (r == 0 && events_add(events, events->connection.fd) < 0) {
		r = error_set(-errno, "events cannot be polled for: %s", strerrordesc_np(errno));
		connection_close(&events->connection);
	}
	if (r < 0) {
		events_set_timer(events, events->delay_ms);
		events->delay_ms = events->delay_ms < DELAY_MAX_MS ? 2 * events->delay_ms : DELAY_MAX_MS;
		return r == -ESTALE ? -ENOTCONN : r;
	}
	events_set_timer(events, 0);
	events->delay_ms = DELAY_MIN_MS;
	return 0;
}

/* The first connection: without one there is nothing to poll. */
static int
events_open(struct segment_client *client, struct client_events *events)
{
	int r;

	if (events->poll_fd >= 0)
		return 0;
	r = events_open_poll(events);
	if (r < 0)
		return r;
	r = events_subscribe(client, events);
	if (r < 0)
		events_close(events);
	return r;
}

/* A name as it may stand in a terminal, of at most PROTOCOL_NAME_SIZE - 1 bytes. */
static bool
is_name(const char *field)
{
	const char *end = memchr(field, '\0', PROTOCOL_NAME_SIZE);

	for (const char *p = field; end && p < end; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return end;
}

/* What is wrong with an event, or NULL. */
static const char *
event_fault(const struct protocol_event *event)
{
	if (!is_name(event->segment) || !is_name(event->lock_name))
		return "a name in it is none";
	if (event->lock < -1)
		return "its lock has no index";
	if (event->pid < 0)
		return "its process has no number";
	return NULL;
}

/* One event. 1: there is one; 0: none; or a negative errno with the sentence set. */
static int
events_next(struct segment_client *client, struct client_events *events, struct protocol_event *ret_event)
{
	const char *fault;
	int r;

	r = events_open(client, events);
	if (r < 0)
		return r;
	r = connection_receive_pushed(&events->connection, PROTOCOL_EVENT, ret_event, sizeof(*ret_event));
	if (r == -EAGAIN)
		return 0;
	fault = r == 0 ? event_fault(ret_event) : NULL;
	if (fault) {
		connection_close(&events->connection);
		events_set_timer(events, events->delay_ms);
		return error_set(-EPROTO, "the daemon broke the protocol: an event came, but %s; the connection was closed",
		    fault);
	}
	if (r == 0)
		return 1;
	if (r != -ENOTCONN) {
		events_set_timer(events, events->delay_ms);
		return error_set(r, "%s", events->connection.error);
	}
	r = events_subscribe(client, events);
	if (r < 0)
		return r;
	*ret_event = (struct protocol_event) { .kind = PROTOCOL_EVENT_LOST, .lock = -1, .time_ns = clock_realtime_ns() };
	return 1;
}

int
segment_event_fd(struct segment_client *client)
{
	struct client_events *events;
	int r;

	if (!client)
		return error_set(-EINVAL, "segment_event_fd: the client is missing (NULL)");
	events = events_get(client);
	if (!events)
		return -ENOMEM;
	(void)pthread_mutex_lock(&events->mutex);
	r = events_open(client, events);
	if (r == 0)
		r = events->poll_fd;
	(void)pthread_mutex_unlock(&events->mutex);
	return r;
}

static void
event_deliver(struct segment_client *client, const struct protocol_event *event, segment_event_fn fn, void *arg)
{
	struct segment_event told = {
		.what = (int)event->kind, .lock = event->lock, .segment = event->segment, .lock_name = event->lock_name,
		.generation = event->generation, .time_ns = event->time_ns, .lost = event->lost, .pid = event->pid,
		.size = event->value, .total = event->total,
	};

	if (event->kind == PROTOCOL_EVENT_GROWN)
		growth_raise(client, event->generation, event->value);
	fn(&told, arg);
}

int
segment_dispatch(struct segment_client *client, segment_event_fn fn, void *arg)
{
	uint64_t forks = client_forks();
	struct client_events *events;
	struct protocol_event event;
	int n, r = 1;

	if (!client || !fn)
		return error_set(-EINVAL, "segment_dispatch: the %s is missing (NULL)", client ? "function" : "client");
	events = events_get(client);
	if (!events)
		return -ENOMEM;
	/* A child that was forked in the callback goes no further on its parent's behalf. */
	for (n = 0; n < DISPATCH_MAX && forks == client_forks(); n++) {
		(void)pthread_mutex_lock(&events->mutex);
		r = events_next(client, events, &event);
		(void)pthread_mutex_unlock(&events->mutex);
		if (r <= 0)
			break;
		event_deliver(client, &event, fn, arg);
	}
	return n > 0 ? n : r;
}
