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

#define TRIES		2		/* beyond the first one, of all together */
#define FIRST_PAUSE_NS	2000000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* These have the mutex. The first one's `previous` is the last. */
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
list_prepend(struct segment_client *client, struct segment *segment)
{
	list_append(client, segment);
	if (client->segments == segment)
		return;
	segment->client_previous->client_next = NULL;
	segment->client_next = client->segments;
	client->segments = segment;
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
	/* Another thread may have connected anew since the daemon answered, or be at it: those of older connections stand first. */
	if (client->segments && client->segments->client_previous->epoch > segment->epoch)
		list_prepend(client, segment);
	else
		list_append(client, segment);
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

/* By the bits of PROTOCOL_RETURN_*. */
enum {
	OFFER_DATA,
	OFFER_CONTROL,
	OFFER_N
};

static const uint32_t offer_flags[OFFER_N] = { PROTOCOL_RETURN_DATA, PROTOCOL_RETURN_CONTROL };

/* A handle, and copies of its descriptors: -EBADF where it has none, or why there is no copy. */
struct offer {
	uint64_t generation;
	uint32_t attachment;
	bool is_own;
	int fds[OFFER_N];
};

static int
copy_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* The next one that is not the connection's yet. False: there is none. */
static bool
look_at_next(struct segment_client *client, struct offer *ret_offer)
{
	const struct segment *segment;

	(void)pthread_mutex_lock(&mutex);
	segment = client->segments;
	if (segment && segment->epoch == client->epoch)
		segment = NULL;
	if (segment) {
		/* What is a forked child's by inheritance is its parent's attachment. */
		*ret_offer = (struct offer) {
			.generation = segment->generation, .attachment = segment->attachment, .is_own = segment->forks == client_forks(),
			.fds[OFFER_DATA] = copy_fd(segment->fd),
			.fds[OFFER_CONTROL] = segment->control_fd < 0 ? -EBADF : copy_fd(segment->control_fd),
		};
	}
	(void)pthread_mutex_unlock(&mutex);
	return segment;
}

/* It was offered, and is the connection's, unless it was detached meanwhile. is_refused: it is to be offered once more. */
static void
take_first(struct segment_client *client, const struct offer *offer, bool is_refused)
{
	struct segment *segment;

	(void)pthread_mutex_lock(&mutex);
	segment = client->segments;
	if (segment && segment->epoch != client->epoch && segment->generation == offer->generation &&
	    segment->attachment == offer->attachment) {
		list_unlink(client, segment);
		segment->epoch = client->epoch;
		segment->is_refused = is_refused;
		client->has_refused |= is_refused;
		list_append(client, segment);
	}
	(void)pthread_mutex_unlock(&mutex);
}

/* Those that were refused for the time being are offered again: they are of no connection. The caller has the mutex. */
static void
release_refused(struct segment_client *client)
{
	struct segment *next;

	for (struct segment *segment = client->has_refused ? client->segments : NULL; segment; segment = next) {
		next = segment->client_next;
		if (!segment->is_refused)
			continue;
		segment->is_refused = false;
		list_unlink(client, segment);
		segment->epoch = 0;
		list_prepend(client, segment);
	}
	client->has_refused = false;
}

static int
offer_one(struct connection *connection, const struct offer *offer)
{
	struct protocol_return request = { .generation = offer->generation, .attachment = offer->attachment };
	uint32_t wants = 0;
	int r = offer->is_own ? connection_return(connection, &request, -1, &wants) : 0;

	for (unsigned i = 0; r == 0 && i < OFFER_N; i++) {
		if (!(wants & offer_flags[i]) || offer->fds[i] == -EBADF)
			continue;
		if (offer->fds[i] < 0)
			return offer->fds[i];
		request.flags = offer_flags[i];
		r = connection_return(connection, &request, offer->fds[i], &wants);
	}
	return r;
}

/* Another time it may be taken: somebody had no memory or descriptors left, or the daemon's worker was killed. */
static bool
is_passing(int r)
{
	switch (r) {
	case 0:
	case -ESTALE:
	case -EBUSY:
	case -EBADF:
	case -E2BIG:
	case -EINVAL:
		return false;
	default:
		return true;
	}
}

/*
 * Whoever goes on without it may wait for it until it is given up, and made anew: so one that is refused for the time being is offered
 * some times, and again before each of the next requests.
 */
static int
offer_all(struct segment_client *client)
{
	struct connection *connection = &client->connection;
	struct timespec pause = { .tv_nsec = FIRST_PAUSE_NS };
	struct offer offer;
	unsigned n_tries = 0;

	while (look_at_next(client, &offer)) {
		int r = offer_one(connection, &offer);

		for (unsigned i = 0; i < OFFER_N; i++)
			close_fd(&offer.fds[i]);
		if (connection->fd < 0)
			return r;
		if (!is_passing(r) || n_tries == TRIES) {
			take_first(client, &offer, is_passing(r));
		} else {
			n_tries++;
			(void)nanosleep(&pause, NULL);
			pause.tv_nsec *= 4;
		}
	}
	return 0;
}

int
returns_offer(struct segment_client *client)
{
	struct connection *connection = &client->connection;
	bool has_some;
	int r;

	/* Whoever has nothing to offer does not wait for HELLO's answer either. */
	(void)pthread_mutex_lock(&mutex);
	release_refused(client);
	has_some = client->segments && client->segments->epoch != client->epoch;
	(void)pthread_mutex_unlock(&mutex);
	if (!has_some)
		return 0;
	r = connection_greet(connection);
	return r < 0 || !(connection->features & PROTOCOL_FEATURE_RETURN) ? r : offer_all(client);
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
