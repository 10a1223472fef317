/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's stop, as far as it has to wait: what is in files is written to the disk first, and names in /dev/shm are taken away,
 * by workers.
 */
#ifndef DAEMON_ENDING_H
#define DAEMON_ENDING_H

#include "base/allotment.h"
#include "daemon/registry.h"

struct ending {
	struct event_base *base;
	struct registry *registry;
	struct provisioner *provisioner;
	struct event tick;
	struct allotment files;		/* what there is for all */
	struct allotment names;		/* where nothing else is waited for */
};

/*
 * Removes the segments whose contents are kept, and those of such names. Nobody is served any more. False: there is nothing to wait
 * for. True: the loop goes on, and is broken when all is done, or has taken too long.
 */
bool ending_begin(struct ending *ending, struct event_base *base, struct registry *registry);
void ending_deinit(struct ending *ending);

#endif
