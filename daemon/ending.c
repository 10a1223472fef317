/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A disk takes its time, and the service manager would end us before: it is told that we are at it. Not without a limit, since
 * a disk that hangs would keep the machine from going down: the files' marks stay then, and the next start knows. So it does of
 * objects in /dev/shm whose names could not be taken away.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/ending.h"
#include "daemon/leftovers.h"
#include "daemon/log.h"
#include "daemon/timer.h"
#include "systemd/notify.h"

#define LIMIT_SECONDS	600
#define NAMES_SECONDS	20		/* of names: whoever keeps the lock of their directory may do so for ever */
#define TICK_SECONDS	5
#define EXTEND_SECONDS	30		/* more than the ticks are apart, also where we get little of a CPU */

/* Whether there are any left. What files segments have is closed first. */
static bool
ending_has_leftovers(struct provisioner *provisioner)
{
	return leftovers_leave(provisioner->leftovers, !provisioner_runs_errands(provisioner));
}

/* The service manager's own clock is not ours to stop: it is told at each tick. */
static void
ending_allot(struct allotment *allotment, unsigned seconds)
{
	allotment_begin(allotment, seconds * NS_PER_SEC, TICK_SECONDS * NS_PER_SEC);
}

static void
ending_on_tick(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval delay = { .tv_sec = TICK_SECONDS };
	struct ending *ending = arg;
	bool has_leftovers = ending_has_leftovers(ending->provisioner);
	bool runs_errands = provisioner_runs_errands(ending->provisioner);

	if (!runs_errands && !has_leftovers && !backend_names_wait()) {
		(void)event_base_loopbreak(ending->base);
		return;
	}
	if (runs_errands)
		ending_allot(&ending->names, NAMES_SECONDS);
	if (!allotment_look(&ending->names)) {
		log_write(MESSAGE_NOT_REMOVED, NULL, "names in " BACKEND_SHM_DIR " could not be removed within %d seconds, since %s: the next "
		    "start removes them", NAMES_SECONDS,
		    backend_names_wait() ? "somebody keeps the directory's lock" : "segmentd-audit is still at one of them");
		(void)event_base_loopbreak(ending->base);
		return;
	}
	if (!allotment_look(&ending->files)) {
		log_write(MESSAGE_FILE_UNWRITTEN, NULL, "the contents of files could not be written within %d seconds: the marks beside them stay",
		    LIMIT_SECONDS);
		(void)event_base_loopbreak(ending->base);
		return;
	}
	notify_extend(EXTEND_SECONDS);
	notify_status(runs_errands ? "writing the contents of files to the disk" : "removing names in " BACKEND_SHM_DIR);
	timer_add(&ending->tick, &delay);
}

/* Something was given back. */
static void
ending_on_room(void *arg)
{
	struct ending *ending = arg;

	event_active(&ending->tick, EV_TIMEOUT, 0);
}

bool
ending_begin(struct ending *ending, struct event_base *base, struct registry *registry)
{
	struct segment *segment, *next;
	bool has_leftovers;

	leftovers_end(registry->host.provisioner->leftovers);
	for (segment = TAILQ_FIRST(&registry->in_order); segment; segment = next) {
		next = TAILQ_NEXT(segment, entry);
		segment_succeed(segment, NULL);
		if (!backend_has(segment->definition->backend, BACKEND_DURABLE) &&
		    !backend_has(segment->definition->backend, BACKEND_LINKED))
			continue;
		segment_remove(segment, true);
	}
	has_leftovers = ending_has_leftovers(registry->host.provisioner);
	/* Also of segments that were removed before. */
	if (!has_leftovers && !provisioner_runs_errands(registry->host.provisioner) && !backend_names_wait())
		return false;
	*ending = (struct ending) {
		.base = base,
		.registry = registry,
		.provisioner = registry->host.provisioner,
	};
	ending_allot(&ending->files, LIMIT_SECONDS);
	ending_allot(&ending->names, NAMES_SECONDS);
	ending->provisioner->on_room = ending_on_room;
	ending->provisioner->on_room_arg = ending;
	if (evtimer_assign(&ending->tick, base, ending_on_tick, ending))
		return false;
	event_active(&ending->tick, EV_TIMEOUT, 0);
	return true;
}

void
ending_deinit(struct ending *ending)
{
	if (event_initialized(&ending->tick))
		(void)event_del(&ending->tick);
}
