/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The inside of libsegment: a client (a connection that is made anew when it broke, and its lock), a segment, and what
 * the library's modules say to each other. Nothing of it is exported.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/base.h"
#include "client/connection.h"

/* All is compiled with hidden visibility; what the public header declares is what leaves the library. */
#pragma GCC visibility push(default)
#include "client/segment.h"
#pragma GCC visibility pop

/* A client's connection for events, made at the first use of one. */
struct client_events {
	pthread_mutex_t mutex;		/* of all of it, and taken before a client's own; not while a callback runs */
	struct connection connection;
	int poll_fd;			/* what the program polls: stays the same when the connection is made anew; or -1 */
	int timer_fd;			/* in poll_fd: when to try again to connect */
	unsigned delay_ms;		/* before the next try */
};

struct segment_client {
	pthread_mutex_t mutex;		/* of connection, epoch and events, for the length of a request */
	struct connection connection;
	uint64_t epoch;			/* counts connections: an attachment belongs to one */
	struct client_events *events;	/* set once; NULL before */
	char *path;
	struct segment *segments;	/* that it has attached and not detached; see client/returns.c */
	bool has_refused;		/* the daemon could not take one of them back, for the time being */
	struct segment_client *previous;	/* in the list of all clients, which fork needs */
	struct segment_client *next;
};

struct segment_lock;

/* Not changed after it was made, but its size, and in a forked child: threads may read it without a lock. */
struct segment {
	/* What a lock's section looks at; client/lock.h. Who may not lock, for whatever reason, has none that are lockable. */
	struct segment_lock *locks;
	uint32_t n_lockable;
	uint32_t attachment;
	uint32_t n_readable;
	uint32_t n_locks;
	char *lock_names;		/* one behind the other */
	size_t lock_names_bytes;
	void *control;
	size_t control_bytes;
	struct segment *previous;	/* in the list of all segments with locks */
	struct segment *next;

	struct segment_client *client;
	void *data;
	_Atomic size_t size_bytes;	/* becomes larger, up to map_bytes */
	size_t map_bytes;
	bool can_grow;			/* it is in the list of those; client/growth.c */
	struct segment *growth_previous;
	struct segment *growth_next;
	uint64_t generation;
	_Atomic uint64_t epoch;		/* the connection that it is an attachment of; while it is in the client's list, that's */
	bool is_refused;		/* likewise */
	struct segment *client_previous;	/* in its client's list */
	struct segment *client_next;
	uint64_t forks;			/* client_forks() then */
	bool dontfork;
	bool is_writer;
	bool is_shm;			/* data is System V memory; fd is of the page that stands in for it, and */
	void *stand_in;			/* this is where that is mapped; else NULL */
	int shm_id;
	bool is_file;
	int fd;
	int control_fd;			/* for a daemon that has lost it; -1: there are no locks */
};

/* A request, and where its reply goes. */
struct client_call {
	enum protocol_type type;
	struct protocol_header *request;
	size_t request_size;
	void *reply;
	size_t reply_size;		/* room for it; afterwards: its size */
	int *fds;			/* NULL: the reply brings none */
	unsigned n_fds;			/* room for them; -1 where none came */
	uint64_t epoch;			/* out: the connection that carried it */
	uint32_t row;			/* out: which row of the request was refused, from 1; 0: none */
};

/* A client with no connection yet; path as in segment_connect. */
int client_new(const char *path, struct segment_client **ret_client);
struct segment_client *client_free(struct segment_client *client);

/*
 * Asks, with a connection made first where there is none, and once more where it broke underway; as often as it breaks before the
 * daemon has said hello, for some seconds. 0 or a negative errno with this thread's sentence set. -ENOTCONN: there is no daemon.
 */
int client_call(struct segment_client *client, struct client_call *call);

/* Sends what wants no reply, if the connection is still that of the epoch. */
void client_post_same(struct segment_client *client, uint64_t epoch, enum protocol_type type,
    struct protocol_header *request, size_t request_size);

/*
 * The daemon's number for the client's connection, which is made where there is none. 0 or a negative errno with this thread's
 * sentence set.
 */
int client_session(struct segment_client *client, uint64_t *ret_session, uint64_t *ret_epoch);

/* Whether the connection `epoch` is still there. */
bool client_is_connected(struct segment_client *client, uint64_t epoch);

/* The client's connection, for who hands it on over exec; -1: there is none. */
int client_connection_fd(struct segment_client *client);

/* Gives up the connection `epoch`, whose other end cannot be believed. */
void client_drop(struct segment_client *client, uint64_t epoch);

/* A handle of the client, from its making to its end. returns_remove() says which connection it is an attachment of by then. */
void returns_add(struct segment *segment);
uint64_t returns_remove(struct segment *segment);
/*
 * Has the attachments of older connections be the new one's, which is client->epoch; the caller has the client's mutex. 0, or the
 * failure of a connection that broke: what the daemon refuses is not its any more.
 */
int returns_offer(struct segment_client *client);
/* fork()'s three moments, and a client without its segments, which outlive it. */
void returns_fork_prepare(void);
void returns_fork_parent(void);
void returns_fork_child(void);
void returns_leave(struct segment_client *client);

/* For the end of a client, and for a forked child: closes what there is, no more. */
void events_close(struct client_events *events);

/* A handle that may become larger, from its making to its end. What it was attached with counts for the client's others, too. */
void growth_add(struct segment *segment);
void growth_remove(struct segment *segment);
/* The client was told that its segments of this generation have grown. */
void growth_raise(struct segment_client *client, uint64_t generation, uint64_t size_bytes);

/* fork()'s three moments. */
void growth_fork_prepare(void);
void growth_fork_parent(void);
void growth_fork_child(void);

/* How often the process was forked, as seen from the first one down to this one. */
uint64_t client_forks(void);

/* Sets the calling thread's sentence and returns r. */
int error_set(int r, const char *format, ...) BASE_PRINTF(2, 3);

/* What a mapping is to be. */
struct mapping {
	int fd;
	bool is_shm;			/* System V memory, by shm_id and not by fd */
	int shm_id;
	uid_t shm_uid;			/* who made it */
	size_t map_bytes;
	size_t populate_bytes;		/* of them, to be mapped at once; 0: none */
	size_t alignment_bytes;		/* a power of two */
	bool write;
	bool dontfork;
	bool dontdump;
};

/* The id of a segment's System V memory; -1: it is no such one. */
int segment_shm_id(const struct segment *segment);

/* Maps it. 0 or a negative errno with this thread's sentence set. */
int mapping_new(const struct mapping *mapping, void **ret_data);

/*
 * Maps the page that stands in for System V memory, without any access: as long as it is mapped, in a forked child too, the
 * kernel finds the attachment's mark. Results as above.
 */
int mapping_stand_in(const struct mapping *mapping, void **ret_page);

#endif
