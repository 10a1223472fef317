/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A vigil lives as long as there is an attachment in it: what it costs is bounded by what attachments are. */
#include "config.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/base.h"
#include "daemon/vigil.h"

#define TURN_NS		(NS_PER_MS / 2)

struct vigil {
	int pidfd;
	struct event event;
	LIST_HEAD(, attachment) attachments;
	struct charge charge;
};

static void
vigil_free(struct vigil *vigil)
{
	(void)event_del(&vigil->event);
	close_fd(&vigil->pidfd);
	charge_deinit(&vigil->charge);
	free(vigil);
}

static void
vigil_on_death(evutil_socket_t fd, short what, void *arg)
{
	struct vigil *vigil = arg;
	uint64_t until_ns = clock_monotonic_ns() + TURN_NS;
	struct attachment *attachment;

	while ((attachment = LIST_FIRST(&vigil->attachments))) {
		LIST_REMOVE(attachment, vigil_entry);
		attachment->vigil = NULL;
		attachment_owner_gone(attachment, until_ns);
	}
	vigil_free(vigil);
}

struct vigil *
vigil_new(struct event_base *base, struct accounts *accounts, uint32_t uid, int *pidfd)
{
	struct vigil *vigil = calloc(1, sizeof(*vigil));

	if (!vigil)
		return NULL;
	LIST_INIT(&vigil->attachments);
	/* Whatever the limit is: without it locks would stay with the dead. There are no more of them than attachments. */
	if (accounts_charge_again(accounts, uid, ACCOUNTS_DESCRIPTORS, 1, &vigil->charge) ||
	    event_assign(&vigil->event, base, *pidfd, EV_READ, vigil_on_death, vigil) || event_add(&vigil->event, NULL)) {
		charge_deinit(&vigil->charge);
		free(vigil);
		return NULL;
	}
	vigil->pidfd = take_fd(pidfd);
	return vigil;
}

void
vigil_add(struct vigil *vigil, struct attachment *attachment)
{
	LIST_INSERT_HEAD(&vigil->attachments, attachment, vigil_entry);
	attachment->vigil = vigil;
}

void
vigil_leave(struct attachment *attachment)
{
	struct vigil *vigil = attachment->vigil;

	if (!vigil)
		return;
	LIST_REMOVE(attachment, vigil_entry);
	attachment->vigil = NULL;
	if (LIST_EMPTY(&vigil->attachments))
		vigil_free(vigil);
}
