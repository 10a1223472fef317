/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One connection to the daemon, as libsegment and segmentctl use it: connect, say hello, ask, get the answer. Internal to
 * client/: nothing of it is exported from libsegment. A connection is used by one thread at a time; libsegment locks.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdbool.h>

#include "base/allotment.h"
#include "client/protocol.h"

#define CONNECTION_ERROR_SIZE	1024

/* Where the daemon of a host listens unless its configuration says otherwise. */
#define CONNECTION_DEFAULT_SOCKET	"/run/segmentd/segmentd.sock"

struct connection {
	int fd;				/* -1: not connected */
	uint64_t serial;		/* of the last request */
	bool hello_pending;		/* its reply was not read yet */
	uint32_t version;		/* 0 until HELLO is answered */
	uint64_t session;		/* the daemon's number for it, likewise */
	uint64_t features;		/* what the daemon knows: PROTOCOL_FEATURE_*, likewise */
	uint32_t row;			/* the last refusal's: which row of the request, from 1; 0: none */
	char error[CONNECTION_ERROR_SIZE];	/* the sentence of the last failure */
	_Alignas(8) char buffer[PROTOCOL_MESSAGE_MAX];	/* a message as it came; too large for the stack of some threads */
};

#define CONNECTION_NULL	{ .fd = -1 }

/* CONNECTION_NULL for one that is allocated: its buffer is left as it is. */
static inline void
connection_init(struct connection *connection)
{
	connection->fd = -1;
	connection->serial = 0;
	connection->hello_pending = false;
	connection->version = 0;
	connection->session = 0;
	connection->features = 0;
	connection->row = 0;
	connection->error[0] = '\0';
}

/* The daemon's socket: path if not NULL, else $SEGMENTD_SOCKET, else the built-in default. */
const char *connection_socket_path(const char *path);

/*
 * Connects and sends HELLO; its reply is read with the first request's. 0 or a negative errno, with a sentence in error.
 * The connection must be CONNECTION_NULL or closed.
 */
int connection_open(struct connection *connection, const char *path);
void connection_close(struct connection *connection);

/*
 * Tries to reach a daemon that hangs up before it has answered HELLO: it was killed just then, and had not put the connection
 * aside yet. Nothing that was asked has happened, and who comes next may be killed as well.
 */
struct connection_tries {
	struct allotment time;		/* once one has failed */
	unsigned n;			/* that have */
};

/*
 * After connection_open, _greet or _request returned r. True: it is to be opened again, and asked the same; after a moment, where
 * several have failed. False: r stands, with a sentence of its own if it has been tried for long enough.
 */
bool connection_may_try_again(struct connection *connection, struct connection_tries *tries, int r);

/* Waits for HELLO's answer, if it was not read yet: then version and session are known. Results as connection_request. */
int connection_greet(struct connection *connection);

/* Whether the daemon has hung up, as far as is known without asking it. */
bool connection_is_hung_up(const struct connection *connection);

/*
 * Takes a message that nobody asked for, without waiting: of this type and size. Replies to what was answered before are passed
 * over: who comes after a daemon that was killed answers once more. 0; -EAGAIN: there is none; otherwise a negative
 * errno as connection_request has, and the connection is closed.
 */
int connection_receive_pushed(struct connection *connection, enum protocol_type type, void *message, size_t size);

/*
 * Sends a request and waits for its reply. request: complete but for size, type, flags and serial of its header, which
 * are filled in here. The reply is written to reply, reply_size bytes at most; *ret_size is its size. fds (n_fds of them,
 * -1 where none came) take what the reply brings; NULL, 0: none is expected, and the kernel drops what comes.
 *
 * 0: a good reply. Negative errno: the daemon's status, and its sentence in error; or -ENOTCONN when the connection broke,
 * -EPROTO when the daemon broke the rules (the connection is closed after both), -EMFILE when this process is out of
 * descriptors: the reply is there, its fds are not.
 */
int connection_request(struct connection *connection, enum protocol_type type,
    struct protocol_header *request, size_t request_size,
    void *reply, size_t reply_size, size_t *ret_size, int *fds, unsigned n_fds);

/*
 * Says that an attachment is to be this session's: generation, attachment and flags of the request are set. fd: with DATA or
 * CONTROL a descriptor of that memory; else -1. What is wanted of it then is in ret_wants. Results as connection_request.
 */
int connection_return(struct connection *connection, struct protocol_return *request, int fd, uint32_t *ret_wants);

/*
 * Sends a request to which no reply is wanted (PROTOCOL_QUIET), and does not wait. What is asked after it finds it done.
 * 0, or a negative errno as above.
 */
int connection_post(struct connection *connection, enum protocol_type type,
    struct protocol_header *request, size_t request_size);

#endif
