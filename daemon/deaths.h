/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who has died, of those whose connection ended while they were attached, or right after. A dying process closes its socket
 * some microseconds before its pidfd tells of its end; one that closes it and lives on is told of by nothing, so it is
 * awaited for a moment only. Done only while somebody has subscribed to events.
 */
#ifndef DAEMON_DEATHS_H
#define DAEMON_DEATHS_H

#include <event2/event.h>
#include <sys/queue.h>

#include "daemon/registry.h"
#include "daemon/session.h"

struct deaths_watch;

struct deaths {
	struct event_base *base;
	struct registry *registry;
	LIST_HEAD(, deaths_watch) list;
};

void deaths_init(struct deaths *deaths, struct event_base *base, struct registry *registry);
void deaths_deinit(struct deaths *deaths);

/*
 * The session ends, and is attached still: if its process lives, its death is listened for. When the attachments have been
 * given up, deaths_conclude() tells of each of them if it has died. Both take its ends.
 */
void deaths_expect(struct deaths *deaths, struct session *session);
void deaths_conclude(struct deaths *deaths, struct session *session);

#endif
