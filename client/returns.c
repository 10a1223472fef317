/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A connection that was made anew is to have the attachments of the one that broke: the daemon is told of each, and where the memory
 * went with an earlier daemon, it has it back from here. Each client has its handles in a list, with the oldest connection's first:
 * what is offered goes to the end. The mutex is held for a few instructions only, never during a request: a handle may be detached
 * meanwhile by another thread, so that it is a copy of its descriptor that is sent.
 */
#include "config.h"

#include <fcntl.h>

#include "client/client.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* These two have the mutex. The first one's `previous` is the last. */
static void
list_append(struct segment_client *client, struct segment *segment)
{
	struct segment *first = client->segments;

	segment->client_next = NULL;
	segment->client_previous = first ? first->client_previous : segment;
	if (first) {
		first->client_previous->client_next = segment;
		first->client_previous = segment;
	} else {
		client->segments = segment;
	}
}

static void
list_unlink(struct segment_client *client, struct segment *segment)
{
	struct segment *next = segment->client_next;

	if (next)
		next->client_previous = segment->client_previous;
	else if (client->segments != segment)
		client->segments->client_previous = segment->client_previous;
	if (client->segments == segment)
		client->segments = next;
	else
		segment->client_previous->client_next = next;
}

void
returns_add(struct segment *segment)
{
	struct segment_client *client = segment->client;

	(void)pthread_mutex_lock(&mutex);
	list_append(client, segment);
	/* Another thread may have connected anew since the daemon answered, or be at it: those of older connections stand first. */
	if (segment->client_previous->epoch > segment->epoch) {
		segment->client_previous->client_next = NULL;
		segment->client_next = client->segments;
		client->segments = segment;
	}
	(void)pthread_mutex_unlock(&mutex);
}

uint64_t
returns_remove(struct segment *segment)
{
	uint64_t epoch;

	(void)pthread_mutex_lock(&mutex);
	if (segment->client_previous)
		list_unlink(segment->client, segment);
	segment->client_previous = NULL;
	epoch = segment->epoch;
	(void)pthread_mutex_unlock(&mutex);
	return epoch;
}

void
returns_leave(struct segment_client *client)
{
	(void)pthread_mutex_lock(&mutex);
	while (client->segments) {
		struct segment *segment = client->segments;

		list_unlink(client, segment);
		segment->client_previous = NULL;
	}
	(void)pthread_mutex_unlock(&mutex);
}

/* What is offered of a handle: copies, or -1. By the bits of PROTOCOL_RETURN_*. */
enum {
	OFFER_DATA,
	OFFER_CONTROL,
	OFFER_N
};

static const uint32_t offer_flags[OFFER_N] = { PROTOCOL_RETURN_DATA, PROTOCOL_RETURN_CONTROL };

/* The next one that is not the connection's yet. */
static bool
take_next(struct segment_client *client, struct protocol_return *ret_request, int *ret_fds)
{
	struct segment *segment;

	(void)pthread_mutex_lock(&mutex);
	segment = client->segments;
	if (segment && segment->epoch == client->epoch)
		segment = NULL;
	if (segment) {
		list_unlink(client, segment);
		segment->epoch = client->epoch;
		list_append(client, segment);
		*ret_request = (struct protocol_return){ .generation = segment->generation, .attachment = segment->attachment };
		ret_fds[OFFER_DATA] = fcntl(segment->fd, F_DUPFD_CLOEXEC, 3);
		ret_fds[OFFER_CONTROL] = segment->control_fd < 0 ? -1 : fcntl(segment->control_fd, F_DUPFD_CLOEXEC, 3);
		/* What is a forked child's by inheritance is its parent's attachment. */
		if (segment->forks != client_forks())
			ret_request->generation = 0;
	}
	(void)pthread_mutex_unlock(&mutex);
	return segment;
}

static int
offer(struct connection *connection, struct protocol_return *request, const int *fds)
{
	uint32_t wants = 0;
	int r = connection_return(connection, request, -1, &wants);

	for (unsigned i = 0; r == 0 && i < OFFER_N; i++) {
		if (!(wants & offer_flags[i]) || fds[i] < 0)
			continue;
		request->flags = offer_flags[i];
		r = connection_return(connection, request, fds[i], &wants);
	}
	return r;
}

int
returns_offer(struct segment_client *client)
{
	struct connection *connection = &client->connection;
	struct protocol_return request;
	bool has_some;
	int fds[OFFER_N], r = 0;

	/* Whoever has nothing to offer does not wait for HELLO's answer either. */
	(void)pthread_mutex_lock(&mutex);
	has_some = client->segments && client->segments->epoch != client->epoch;
	(void)pthread_mutex_unlock(&mutex);
	if (!has_some)
		return 0;
	r = connection_greet(connection);
	if (r < 0 || !(connection->features & PROTOCOL_FEATURE_RETURN))
		return r;
	while (connection->fd >= 0 && take_next(client, &request, fds)) {
		if (request.generation)
			r = offer(connection, &request, fds);
		for (unsigned i = 0; i < OFFER_N; i++)
			close_fd(&fds[i]);
	}
	return connection->fd < 0 ? r : 0;
}

void
returns_fork_prepare(void)
{
	(void)pthread_mutex_lock(&mutex);
}

void
returns_fork_parent(void)
{
	(void)pthread_mutex_unlock(&mutex);
}

void
returns_fork_child(void)
{
	/* The thread that has it is this one. */
	(void)pthread_mutex_unlock(&mutex);
}
