/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What clients bring back: workers of their own receive the descriptors that come with requests, since a hostile one holds up
 * whoever touches it. What it is of is for the caller to find out: all that is known is that no file system will be asked.
 */
#ifndef DAEMON_RETURNS_H
#define DAEMON_RETURNS_H

#include "daemon/workers.h"

struct session;

struct returning {
	struct workers_job job;
	int socket_fd;
	int fd;				/* what came, once it is done and status is 0; or -1 */
	struct session *session;	/* NULL: it has ended */
	uint64_t serial;		/* of its request */
	bool is_done;
	int status;			/* 0, or a negative errno with a text */
	char text[JOB_TEXT_SIZE];
	LIST_ENTRY(returning) entry;
};

struct returns {
	struct workers workers;
	LIST_HEAD(, returning) list;
};

void returns_init(struct returns *returns, struct event_base *base);
/* After the sessions have ended. */
void returns_deinit(struct returns *returns);

/*
 * Has what came with the request that is at the head of the session's queue received: session->returning is it, and when that is
 * done, the session's waiter is woken. 0 or a negative errno.
 */
int returns_receive(struct returns *returns, struct session *session, uint64_t serial);
/* The session does not want it, or has ended. */
void returns_forget(struct session *session);

#endif
