/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients of a daemon that runs in this process, as whomever: what the kernel would say of a peer (SO_PEERCRED, SO_PEERGROUPS,
 * SO_PEERPIDFD) is said here, by the address that a client's socket is bound to. So one process is root and strangers at once, and its
 * clients die when the test says so.
 */
#ifndef TESTS_FUZZ_WIRE_PEER_H
#define TESTS_FUZZ_WIRE_PEER_H

#include "base/base.h"
#include "client/protocol.h"

#define PEER_HELD_MAX	8	/* attachments that a client keeps of those that it was given */

/* Who it is. */
enum peer_identity {
	PEER_ADMINISTRATOR,		/* the daemon's own uid */
	PEER_MEMBER,			/* of a group that may */
	PEER_STRANGER,
	PEER_OTHER_STRANGER,
	PEER_HIDDEN,			/* its pid namespace hides it: pid 0, no pidfd */
	PEER_IDENTITY_N
};

#define PEER_GROUP	4242	/* which PEER_MEMBER is in */
#define PEER_UID_FIRST	70000	/* the others' uids, from here on */

/* An attachment that the client was given. */
struct peer_held {
	int fds[PROTOCOL_ATTACH_FDS];	/* -1: none, or closed */
	uint32_t attachment;
	uint64_t generation;
	void *shm;			/* NULL: it is not System V's */
};

struct peer {
	int fd;				/* -1: not connected */
	int death_fd;			/* what stands for its pidfd: readable once it is dead */
	enum peer_identity identity;
	uint64_t session;		/* as its HELLO was answered */
	uint64_t serial;		/* of its last request */
	uint64_t highest_serial;	/* that it has sent, in whatever message */
	struct peer_held held[PEER_HELD_MAX];
	unsigned n_held;
	unsigned n_replies;
};

#define PEER_NULL	{ .fd = -1, .death_fd = -1 }

/*
 * Connects to the daemon's socket; the daemon has not accepted it yet. One whose connection alone was closed is the same process again,
 * with what it had attached.
 */
void peer_connect(struct peer *peer, const char *path, enum peer_identity identity);
/* Its process ends: the kernel says so first, and then closes all that it has. */
void peer_die(struct peer *peer);
/* It closes all that it has, and lives on. */
void peer_close(struct peer *peer);
/* Those processes end. */
void peer_end_all(void);

/* Sends bytes, as they are, with copies of fds. False: there was no room, or no connection any more. */
bool peer_send(struct peer *peer, const void *bytes, size_t size, const int *fds, unsigned n_fds);

/* Reads a message, if there is one, and checks what any message of the daemon's is. -1: none; 0: the end. */
ssize_t peer_receive(struct peer *peer, void *bytes, size_t size);

#endif
