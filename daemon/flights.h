/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Connections that have ended, but for a reply with file descriptors that the peer has neither read nor closed. Those count
 * against all that we send, in the kernel, so they go on counting for who lets them lie, until they are gone.
 */
#ifndef DAEMON_FLIGHTS_H
#define DAEMON_FLIGHTS_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/accounts.h"

struct flights {
	struct event_base *base;
	struct accounts *accounts;
	LIST_HEAD(, flight) list;
};

void flights_init(struct flights *flights, struct event_base *base, struct accounts *accounts);
void flights_deinit(struct flights *flights);

/* Whether the peer of a socket has not read all that it was sent. */
bool flights_is_unread(int fd);

/*
 * Takes a socket that was shut down and that nobody listens to any more, with what is charged for the descriptors in a reply that is
 * unread. Where it cannot be kept both stay the caller's.
 */
void flights_add(struct flights *flights, int *fd, struct charge *charge);

#endif
