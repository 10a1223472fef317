/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A list of fixed length, and a timer that runs while it is not empty. */
#include "config.h"

#include "base/base.h"
#include "daemon/burials.h"
#include "daemon/session.h"

#define WAIT_MS		1		/* about when the kernel is asked once more what the dead held: one wake-up for both */

static void
burials_close(struct burials *burials)
{
	while (burials->n) {
		burials->n--;
		session_hang_up(burials->parcels, &burials->list[burials->n].fd);
		close_fd(&burials->list[burials->n].pidfd);
	}
}

static void
burials_on_time(evutil_socket_t fd, short what, void *arg)
{
	burials_close(arg);
}

int
burials_init(struct burials *burials, struct event_base *base, struct parcels *parcels)
{
	burials->parcels = parcels;
	burials->n = 0;
	return evtimer_assign(&burials->event, base, burials_on_time, burials) ? -ENOMEM : 0;
}

void
burials_deinit(struct burials *burials)
{
	if (event_initialized(&burials->event))
		(void)event_del(&burials->event);
	burials_close(burials);
}

bool
burials_add(struct burials *burials, int *fd, int *pidfd)
{
	static const struct timeval wait = { .tv_usec = WAIT_MS * 1000 };

	if (burials->n == BURIALS_MAX || (burials->n == 0 && evtimer_add(&burials->event, &wait)))
		return false;
	burials->list[burials->n].fd = take_fd(fd);
	burials->list[burials->n].pidfd = take_fd(pidfd);
	burials->n++;
	return true;
}
