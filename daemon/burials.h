/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Descriptors of sessions whose process has ended: closed a moment later. Nobody waits for that, and closing them costs as
 * much as telling of the death, which an observer on the same CPU would wait for.
 */
#ifndef DAEMON_BURIALS_H
#define DAEMON_BURIALS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#define BURIALS_MAX	16		/* that wait; of many deaths at once the rest are closed in their own turns */

struct parcels;

struct burials {
	struct parcels *parcels;
	struct event event;
	unsigned n;
	struct {
		int fd;
		int pidfd;
	} list[BURIALS_MAX];
};

int burials_init(struct burials *burials, struct event_base *base, struct parcels *parcels);
void burials_deinit(struct burials *burials);

/* Takes both, which nobody may listen to any more. False: there is no room, and they stay the caller's. */
bool burials_add(struct burials *burials, int *fd, int *pidfd);

#endif
