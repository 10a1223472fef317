/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A flight is a socket, the event of its peer's reading or closing, and a charge. */
#include "config.h"

#include <event2/event_struct.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/base.h"
#include "daemon/flights.h"

struct flight {
	int fd;
	struct event event;
	struct charge charge, fd_charge;
	LIST_ENTRY(flight) entry;
};

void
flights_init(struct flights *flights, struct event_base *base, struct accounts *accounts)
{
	*flights = (struct flights) { .base = base, .accounts = accounts };
	LIST_INIT(&flights->list);
}

static void
flight_free(struct flight *flight)
{
	(void)event_del(&flight->event);
	close_fd(&flight->fd);
	charge_deinit(&flight->charge);
	charge_deinit(&flight->fd_charge);
	LIST_REMOVE(flight, entry);
	free(flight);
}

void
flights_deinit(struct flights *flights)
{
	struct flight *flight;

	while ((flight = LIST_FIRST(&flights->list)))
		flight_free(flight);
}

bool
flights_is_unread(int fd)
{
	int unread = 0;

	/*
	 * The kernel wakes us while one byte of the last message is still counted (sock_wfree): a message is far more, so
	 * one is none. Waiting for 0 would be waiting for an edge that has passed.
	 */
	return ioctl(fd, SIOCOUTQ, &unread) || unread > 1;
}

static void
flight_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct flight *flight = arg;

	if (!flights_is_unread(flight->fd))
		flight_free(flight);
}

void
flights_add(struct flights *flights, int *fd, struct charge *charge)
{
	struct flight *flight = malloc(sizeof(*flight));

	if (!flight)
		return;
	*flight = (struct flight) { .fd = -1 };
	if ((charge->account && accounts_charge_again(flights->accounts, charge->account->uid, ACCOUNTS_DESCRIPTORS, 1,
	    &flight->fd_charge)) ||
	    event_assign(&flight->event, flights->base, *fd, EV_WRITE | EV_ET | EV_PERSIST, flight_on_event, flight) ||
	    event_add(&flight->event, NULL)) {
		charge_deinit(&flight->fd_charge);
		free(flight);
		return;
	}
	flight->fd = take_fd(fd);
	flight->charge = charge_take(charge);
	LIST_INSERT_HEAD(&flights->list, flight, entry);
}
