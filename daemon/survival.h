/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What outlives the daemon, tied together. The ledger says what there was: segments with their definitions, sessions, attachments;
 * the box has the descriptors; the record the rows of what has a name. A successor restores each of them as it was, before it
 * serves anybody, and then puts all that lives into a box of its own. What it cannot restore is told, and goes the way of what an
 * earlier daemon left behind (leftovers.h).
 */
#ifndef DAEMON_SURVIVAL_H
#define DAEMON_SURVIVAL_H

#include "base/allotment.h"
#include "daemon/box.h"
#include "daemon/ledger.h"
#include "daemon/leftovers.h"
#include "daemon/requests.h"

struct survival {
	struct registry *registry;
	struct requests *requests;	/* with its sessions */
	struct leftovers *leftovers;
	struct ledger ledger;
	struct box box;
	bool has_box;			/* there is a service manager that keeps it */
	bool is_ending;			/* what is put now is for who comes next */
	struct past *past;	/* of the daemon before, until it is restored; or NULL */
	struct event_base *base;
	unsigned n_awaited;		/* segments were, of clients: then the past is kept until the event */
	struct event await_event;
	uint64_t await_ms;
	bool awaits;			/* they are, for as long as this is not over */
	struct allotment await;
};

#define SURVIVAL_NULL	{ .ledger = LEDGER_NULL }

#define SURVIVAL_E_FEW	1		/* what was left takes more descriptors than this process may have */

/*
 * Reads what the daemon before has left, of the directory whose lock is held and of what was handed down, and has all that is made
 * from now on entered. 0, SURVIVAL_E_FEW, or a negative errno: with a sentence.
 */
int survival_init(struct survival *survival, struct event_base *base, struct registry *registry, struct requests *requests,
    struct leftovers *leftovers, struct inherited *inherited, const struct pack_known *known, const char *state_dir, char *text,
    size_t text_size);

/*
 * Restores it: segments in use with who has them, and connections with what is in their queues. ret_differs: the configuration has
 * something else for one of them, or has one no more. 0 or -ENOMEM.
 */
int survival_restore(struct survival *survival, const struct conf *conf, bool *ret_differs);

/* All is there: whoever comes next finds it as it is from now on. 0, or a negative errno with a sentence. */
int survival_begin(struct survival *survival, char *text, size_t text_size);

/* Hands over, in order: what is only kept then is kept now. The process is to end at once, as if it had been killed. */
void survival_hand_over(struct survival *survival);

/* Everything was given back, and nobody is to find anything; or it is kept for who comes next, as if we had been killed. */
void survival_deinit(struct survival *survival, bool is_kept);

#endif
