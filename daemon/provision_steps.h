/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The inside of provisioning: what its files say to each other. Nobody else includes it. */
#ifndef DAEMON_PROVISION_STEPS_H
#define DAEMON_PROVISION_STEPS_H

#include "daemon/provision.h"

#define PROVISION_PAGE_BYTES	4096
#define PROVISION_HUGE_BYTES	(2 * MIB)

/* One with nothing under way yet, for all of the definition's data and control memory. NULL when memory is short. */
struct provision *provision_new(struct provisioner *provisioner, struct definition *definition, struct holding *holding);

/* Promises what it is about to take of the budget. 0, or a negative errno with the reason in its text. */
int provision_judge(struct provision *provision);

/*
 * Where its pages are to come from: the pool, and the nodes. Judged before anything is made; what is not to be had and only
 * preferred is done without, and said. 0, or a negative errno with the reason in its text.
 */
int provision_choose_place(struct provision *provision);

/* What of it is not judged by the budget: it is the pool's already. */
uint64_t provision_pool_bytes(const struct provision *provision);

/* Whether its data is on the nodes that were asked for. The text says what is not. */
bool provision_is_in_place(struct provision *provision);

/* Keeps with the holding what of it is where. */
void provision_keep_place(struct provision *provision);

/*
 * Takes over what an earlier daemon left of it, if there is that and it fits. 0: so it has, or there is nothing in its way; or a
 * negative errno with the reason in its text.
 */
int provision_adopt(struct provision *provision);

/* Makes the object, unless it was adopted, and what its locks need. 0, or a negative errno with the reason in its text; nothing is held then. */
int provision_create(struct provision *provision);

/* Gives back what was promised and not taken. */
void provision_keep_promises(struct provision *provision);

/* Something was not had as asked. True: go on all the same, and say so. */
static inline bool
provision_may_degrade(const struct provision *provision)
{
	return provision->definition->placement == DEFINITION_PREFER;
}

/* Whether its owner has gone away: what it holds is given back whole. */
static inline bool
provision_is_orphan(const struct provision *provision)
{
	return provision->holding == &provision->orphan;
}

/* Who works on it: what may wait for a disk keeps nobody else's memory waiting. */
static inline struct workers *
provision_workers(const struct provision *provision)
{
	const struct backend *backend = backend_find(provision->definition->backend);

	if (backend && backend->features & BACKEND_DURABLE)
		return provision->provisioner->releases.io;
	return provision->provisioner->workers;
}

/* Whether its backend locks the data whole, without a mapping: no limit of mlock's is about that. */
static inline bool
provision_locks_whole(const struct provision *provision)
{
	const struct backend *backend = backend_find(provision->definition->backend);

	return backend && backend->lock;
}

/* Reserves its range of the pool, and goes on with provision_fill_all(). */
void provision_reserve(struct provision *provision);
void provision_fill_all(struct provision *provision);

/* Reserves, populates, locks and verifies the range, and finishes. */
void provision_begin(struct provision *provision);
void provision_init_locking(struct provision *provision);

/* Copies the definition's initial contents in, and goes on with provision_contents_done(). */
void provision_copy_contents(struct provision *provision);
void provision_contents_done(struct provision *provision);

/* Has workers do what the backend wants of them in this stage, and goes on with provision_opened(), or finishes. */
void provision_run_errands(struct provision *provision, enum backend_stage stage);

/* Something is in its way: whether it is asked who has that, before it fails. */
bool provision_inquire(struct provision *provision);
void provision_opened(struct provision *provision);

/* A worker died at it, or could not be had: fails with a sentence. Likewise for one that refused. */
void provision_worker_died(struct provision *provision, const struct workers_outcome *outcome);
void provision_piece_failed(struct provision *provision, const struct job_result *result);

/* Fails: as soon as no worker is at it any more. Its text says why. The provision may be freed. */
void provision_fail(struct provision *provision, int r);

/* The end, once no worker is at it. The provision may be freed. */
void provision_finish(struct provision *provision, int r);

/* A growth that failed: gives the new range back, and nothing else, and is done then. */
void provision_undo(struct provision *provision);

#endif
