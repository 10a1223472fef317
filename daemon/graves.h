/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Connections that ended with descriptors in their queues, of uids that have so many of those that nobody reads them away any more
 * (parcels.h): many at a time are left to a process that has nothing but them, and ends. What the kernel lets go of for a process
 * that ends it does not wait for, as close(2) does for a socket that lingers; and it is not the loop that lets go.
 */
#ifndef DAEMON_GRAVES_H
#define DAEMON_GRAVES_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>

#define GRAVES_FDS	128		/* that wait for a process, or for one of those that are at it to end */

struct graves {
	struct event_base *base;
	struct event event;
	int fds[GRAVES_FDS];
	unsigned n;
	LIST_HEAD(, grave) list;	/* processes */
	unsigned n_graves;
};

void graves_init(struct graves *graves, struct event_base *base);
/* What waits is not closed: that is done when we exit, which waits for nothing. */
void graves_deinit(struct graves *graves);

/* Consumes a connection that was shut down. Only where they are not full. */
void graves_add(struct graves *graves, int *fd);
/* Nobody is to end any connection before some of those that are there are gone. */
bool graves_are_full(const struct graves *graves);

#endif
