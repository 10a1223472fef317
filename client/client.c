/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client: the connection that threads share, one request at a time, made anew when it broke; and what fork asks for.
 *
 * A forked child must not use its parent's connection: their requests would mix. So all clients are in a list, and the
 * fork handler closes the child's copies (close only: the parent goes on) and renews the mutexes, which other threads of
 * the parent may have held. The child's next call then opens a connection of its own. The list's mutex is held for a few
 * instructions only, never during a request: fork does not wait for the daemon.
 */
#include "config.h"

#include "client/client.h"
#include "client/lock.h"

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct segment_client *list_first;
static uint64_t n_forks;		/* changed only where there is one thread: in a child, before fork returns */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void
fork_prepare(void)
{
	lock_fork_prepare();
	growth_fork_prepare();
	returns_fork_prepare();
	(void)pthread_mutex_lock(&list_mutex);
}

static void
fork_parent(void)
{
	(void)pthread_mutex_unlock(&list_mutex);
	returns_fork_parent();
	growth_fork_parent();
	lock_fork_parent();
}

static void
fork_child(void)
{
	struct segment_client *client;

	n_forks++;
	for (client = list_first; client; client = client->next) {
		(void)pthread_mutex_init(&client->mutex, NULL);
		connection_close(&client->connection);
		if (!client->events)
			continue;
		(void)pthread_mutex_init(&client->events->mutex, NULL);
		events_close(client->events);
	}
	(void)pthread_mutex_unlock(&list_mutex);
	returns_fork_child();
	growth_fork_child();
	lock_fork_child();
}

static void
fork_register(void)
{
	(void)pthread_atfork(fork_prepare, fork_parent, fork_child);	/* fails only for want of memory, at load */
}

uint64_t
client_forks(void)
{
	return n_forks;
}

static void
list_add(struct segment_client *client)
{
	(void)pthread_once(&fork_once, fork_register);
	(void)pthread_mutex_lock(&list_mutex);
	client->previous = NULL;
	client->next = list_first;
	if (list_first)
		list_first->previous = client;
	list_first = client;
	(void)pthread_mutex_unlock(&list_mutex);
}

static void
list_remove(struct segment_client *client)
{
	(void)pthread_mutex_lock(&list_mutex);
	if (client->next)
		client->next->previous = client->previous;
	if (client->previous)
		client->previous->next = client->next;
	else
		list_first = client->next;
	(void)pthread_mutex_unlock(&list_mutex);
}

int
client_new(const char *path, struct segment_client **ret_client)
{
	struct segment_client *client = malloc(sizeof(*client));
	char *copy = strdup(connection_socket_path(path));

	if (!client || !copy) {
		free(client);
		free(copy);
		return error_set(-ENOMEM, "memory ran out");
	}
	connection_init(&client->connection);
	client->epoch = 0;
	client->events = NULL;
	client->segments = NULL;
	client->has_refused = false;
	client->path = copy;
	(void)pthread_mutex_init(&client->mutex, NULL);
	list_add(client);
	*ret_client = client;
	return 0;
}

struct segment_client *
client_free(struct segment_client *client)
{
	if (!client)
		return NULL;
	/* First the connection: a fork between the two must still find it in the list. */
	connection_close(&client->connection);
	if (client->events)
		events_close(client->events);
	returns_leave(client);
	list_remove(client);
	(void)pthread_mutex_destroy(&client->mutex);
	if (client->events)
		(void)pthread_mutex_destroy(&client->events->mutex);
	free(client->events);
	free(client->path);
	free(client);
	return NULL;
}

/* The caller holds the mutex. */
static int
open_locked(struct segment_client *client, struct connection_tries *tries)
{
	int r;

	do {
		client->epoch++;
		r = connection_open(&client->connection, client->path);
		if (r == 0)
			r = returns_offer(client);
	} while (connection_may_try_again(&client->connection, tries, r));
	return r;
}

static int
request_locked(struct segment_client *client, struct client_call *call)
{
	int r;

	call->epoch = client->epoch;
	r = connection_request(&client->connection, call->type, call->request, call->request_size,
	    call->reply, call->reply_size, &call->reply_size, call->fds, call->n_fds);
	call->row = client->connection.row;
	return r;
}

/* To a caller who was connected once, that nobody listens any more is no answer to what was asked. */
static int
call_status(const struct connection *connection, int r)
{
	return !connection->version && (r == -ENOENT || r == -ECONNREFUSED) ? -ENOTCONN : r;
}

int
client_call(struct segment_client *client, struct client_call *call)
{
	struct connection_tries tries = { 0 };
	unsigned n_broken = 0;
	int r;

	(void)pthread_mutex_lock(&client->mutex);
	do {
		r = client->connection.fd < 0 ? open_locked(client, &tries) : returns_offer(client);
		if (r == 0)
			r = request_locked(client, call);
		/* What was never answered at all is asked again as it is; what broke later may have been done, and is repeated once. */
	} while (connection_may_try_again(&client->connection, &tries, r) ||
	    (r == -ENOTCONN && client->connection.version && n_broken++ == 0));
	r = call_status(&client->connection, r);
	if (r < 0)
		(void)error_set(r, "%s", client->connection.error);
	(void)pthread_mutex_unlock(&client->mutex);
	return r;
}

void
client_post_same(struct segment_client *client, uint64_t epoch, enum protocol_type type,
    struct protocol_header *request, size_t request_size)
{
	(void)pthread_mutex_lock(&client->mutex);
	if (client->connection.fd >= 0 && client->epoch == epoch)
		(void)connection_post(&client->connection, type, request, request_size);
	(void)pthread_mutex_unlock(&client->mutex);
}

int
client_session(struct segment_client *client, uint64_t *ret_session, uint64_t *ret_epoch)
{
	struct connection_tries tries = { 0 };
	int r;

	(void)pthread_mutex_lock(&client->mutex);
	/* A daemon that was restarted counts its sessions anew: the number must not be one of before. */
	if (client->connection.fd >= 0 && connection_is_hung_up(&client->connection))
		connection_close(&client->connection);
	do {
		r = client->connection.fd < 0 ? open_locked(client, &tries) : 0;
		if (r == 0)
			r = connection_greet(&client->connection);
	} while (connection_may_try_again(&client->connection, &tries, r));
	r = call_status(&client->connection, r);
	if (r < 0)
		(void)error_set(r, "%s", client->connection.error);
	*ret_session = client->connection.session;
	*ret_epoch = client->epoch;
	(void)pthread_mutex_unlock(&client->mutex);
	return r;
}

bool
client_is_connected(struct segment_client *client, uint64_t epoch)
{
	bool is_connected;

	(void)pthread_mutex_lock(&client->mutex);
	is_connected = client->connection.fd >= 0 && client->epoch == epoch && !connection_is_hung_up(&client->connection);
	(void)pthread_mutex_unlock(&client->mutex);
	return is_connected;
}

int
client_connection_fd(struct segment_client *client)
{
	int fd;

	(void)pthread_mutex_lock(&client->mutex);
	fd = client->connection.fd;
	(void)pthread_mutex_unlock(&client->mutex);
	return fd;
}

void
client_drop(struct segment_client *client, uint64_t epoch)
{
	(void)pthread_mutex_lock(&client->mutex);
	if (client->epoch == epoch)
		connection_close(&client->connection);
	(void)pthread_mutex_unlock(&client->mutex);
}

int
segment_connect(struct segment_client **ret_client, const char *path)
{
	struct connection_tries tries = { 0 };
	struct segment_client *client;
	int r;

	if (!ret_client)
		return error_set(-EINVAL, "segment_connect: there is no place for the client (NULL)");
	r = client_new(path, &client);
	if (r < 0)
		return r;
	/* Other threads do not know it yet; a child of theirs leaves it alone, as it is the child's copy that is closed. */
	(void)pthread_mutex_lock(&client->mutex);
	r = open_locked(client, &tries);
	if (r < 0)
		(void)error_set(r, "%s", client->connection.error);
	(void)pthread_mutex_unlock(&client->mutex);
	if (r < 0) {
		client_free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

void
segment_disconnect(struct segment_client *client)
{
	client_free(client);
}
