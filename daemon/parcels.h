/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Descriptors that clients send along with messages. The last reference to a socket that lingers, to a file of a server that is the
 * client's, or to much memory, holds up whoever lets go of it, and a message in a queue may have the last one: so it is workers
 * that look at such messages, and that read them away. A uid has one of them at once: who means to keep it for long keeps it from
 * nobody else.
 */
#ifndef DAEMON_PARCELS_H
#define DAEMON_PARCELS_H

#include "daemon/flights.h"
#include "daemon/graves.h"
#include "daemon/workers.h"

struct session;

/* A message of a session, or all of a connection that has ended; owns itself. */
struct parcel {
	struct workers_job job;
	struct parcels *parcels;
	struct session *session;	/* NULL: it has ended */
	int socket_fd;
	uint32_t uid;
	bool is_waiting, is_running;
	/* Of one that is looked at: */
	uint64_t serial;		/* its request's */
	bool is_done;
	int status;			/* 0, or a negative errno with a text */
	int fd;				/* what came, once it is done and status is 0; or -1 */
	char text[JOB_TEXT_SIZE];
	/* Of a connection that has ended: */
	struct charge charge, fd_charge, ended_charge;
	struct charge flight_charge;	/* for what is in flight to the peer */
	struct parcel *leader;		/* with whose job it goes to a worker; NULL: with its own, and */
	TAILQ_HEAD(parcels_queue, parcel) others;	/* these go with it */
	TAILQ_ENTRY(parcel) entry;
};

struct parcels {
	struct workers workers;
	struct accounts *accounts;
	struct flights *flights;
	struct parcels_queue waiting;	/* for a worker, or for the one that their uid has */
	struct parcels_queue running, done;
	struct event retry_event;
	struct event lost_event;	/* while somebody has too many workers that do not die */
	struct graves graves;
};

void parcels_init(struct parcels *parcels, struct event_base *base, struct accounts *accounts, struct flights *flights);
/*
 * After the sessions have ended. Connections that still have something in their queues are not closed: that is done when we exit,
 * which waits for nothing.
 */
void parcels_deinit(struct parcels *parcels);

/* What is to be proved of a descriptor before anybody but a worker has it: memory of our own uid, sealed as we seal it. */
struct parcels_proof {
	uint64_t device, inode;
	uint64_t size_bytes;
};

/*
 * Has what came with the request that is first in the session's queue looked at: session->parcel is it, and when that is done the
 * session's waiter is woken. 0 or a negative errno.
 */
int parcels_receive(struct parcels *parcels, struct session *session, uint64_t serial, const struct parcels_proof *proof);

/* Has the message that is first in the session's queue read away; the session's waiter is woken then. 0 or a negative errno. */
int parcels_discard(struct parcels *parcels, struct session *session);

/* Whether that is still to be done: what is first in the queue then is not known. */
bool parcels_discards(const struct session *session);

/*
 * The session does not want session->parcel any more, or has ended. True: a worker is at what is in its queue, and whoever reads
 * that meanwhile may be left with the last reference to what it lets go of.
 */
bool parcels_forget(struct session *session);

/* Whether nobody is to be accepted for the moment, since whoever ends then could not be taken. */
bool parcels_are_crowded(const struct parcels *parcels);

/*
 * Takes a connection that was shut down, and has descriptors in its queue, and closes it when they are read away. It goes on
 * counting for its uid until then, and what is in flight to the peer after it; charge is for that, or NULL. Of a uid that has as many
 * as it may it is not read away, but left to the graves. Where memory is short it stays the caller's.
 */
void parcels_end(struct parcels *parcels, int *fd, struct charge *charge);

#endif
