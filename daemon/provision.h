/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Provisioning: choose where pages come from, judge, create (a file by errands of workers), size, seal, reserve of a pool,
 * populate by workers, copy initial contents, lock in slices, verify from the kernel. A step that fails leaves nothing behind.
 * What was asked for and not had is said in a text.
 */
#ifndef DAEMON_PROVISION_H
#define DAEMON_PROVISION_H

#include "conf/definition.h"
#include "daemon/budget.h"
#include "daemon/holding.h"
#include "daemon/inquiry.h"
#include "daemon/slices.h"
#include "daemon/workers.h"
#include "host/findings.h"

/* What all provisioning shares. */
struct provisioner {
	struct event_base *base;
	struct workers *workers;
	struct budget budget;
	struct releases releases;
	LIST_HEAD(, provision) orphans;	/* abandoned, and waiting for their workers */
	uint64_t locked_bytes;		/* by all holdings, as the daemon counts them */
	uint64_t mlocked_bytes;		/* of them by mlock, which VmLck shows */
	struct record *record;		/* what outlives us; NULL: nothing is entered */
	struct leftovers *leftovers;	/* what earlier daemons left; NULL: nothing is looked for */
	struct auditor *auditor;	/* who tells who has what is in the way; NULL: nobody */
	void (*on_room)(void *arg);	/* some memory that was on its way back has arrived; NULL: nobody waits for it */
	void *on_room_arg;
};

struct provision;

/* r: 0, or -errno with the reason in the provision's text; the provision may be freed in it. */
typedef void (*provision_done_fn)(struct provision *provision, int r);
typedef void (*provision_progress_fn)(struct provision *provision);

struct provision_piece {
	struct provision *provision;
	struct workers_job job;
	bool is_busy;
};

struct provision {
	struct provisioner *provisioner;
	struct definition *definition;
	struct holding *holding;	/* the segment's, filled in here; or orphan, when that is gone */
	struct holding orphan;
	LIST_ENTRY(provision) orphan_entry;
	provision_done_fn done;
	provision_progress_fn progress;
	void *owner;

	uint64_t from_bytes;		/* of a growth: what is there already, in whole pages; else 0 */
	uint64_t data_bytes;		/* to make resident, from the start of the object */
	uint64_t total_bytes;		/* with control memory's, which follow in the count; not those of a growth */
	uint64_t next_bytes;		/* handed to workers up to here */
	uint64_t done_bytes;
	uint64_t told_bytes;		/* of them, when the owner last told somebody */
	uint64_t told_ns;		/* monotonic, its start at first */
	uint64_t resident_bytes;	/* of them, by the workers' word from the kernel */
	uint64_t huge_bytes;
	uint64_t promised_bytes;	/* of the budget, still to be given back */
	uint64_t promised_lock_bytes;
	uint64_t had_bytes;		/* of an object that was adopted: in memory already, of data */
	uint64_t page_bytes;		/* of that pool; 0: of none */
	uint64_t nodes;			/* bit N: node N; for numa */
	uint64_t node_bytes[NODES_MAX];	/* of data, by the workers' word from the kernel */
	enum job_numa numa;
	bool lock;			/* lock what is populated */
	bool is_scrub;			/* the object is there already; its pages go first */
	bool is_held;			/* they do not: somebody has them. It is ready again as it is */
	bool is_growth;			/* it is there and in use; only what is beyond from_bytes is made, or given back */
	bool is_undoing;		/* the latter is under way */
	bool is_revival;		/* all of it is there, and nothing is given back */
	bool is_reserve_only;		/* of a file: its blocks are wanted, and no pages */
	enum backend_stage stage;	/* of the errands that are under way */
	struct inquiry inquiry;		/* while it has failed already, and is only asked about why */
	bool is_left_over;		/* it failed for what an earlier daemon left: the text says why, but not who has that */
	int failed;			/* negative errno; waits for busy pieces to end */
	bool memory_short;		/* its pages must be given back before anything else */
	int path_fd;			/* of init: its path, for workers; or -1 */
	uint64_t init_bytes;		/* copied up to here */
	struct job_file init_file;
	struct slices locking;
	struct provision_piece free_piece;
	unsigned n_pieces;
	unsigned n_busy;
	char text[FINDINGS_TEXT_SIZE];	/* why it failed, or what was not had as asked */
	char note[FINDINGS_TEXT_SIZE];	/* what else is to be told of it */
	struct provision_piece pieces[];	/* as many as workers run at once */
};

int provisioner_init(struct provisioner *provisioner, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes);
void provisioner_deinit(struct provisioner *provisioner);

/* A name has gone: backend_names_begin()'s. Who waits for that, or for what it had, tries again. arg: the provisioner. */
void provisioner_on_name(void *arg);

/* What a holding has locked is not counted any more: it goes. */
void provisioner_uncount_locked(struct provisioner *provisioner, const struct holding *holding);

/* Whether memory is on its way back, so that what cannot be had now may be had after on_room. */
bool provisioner_awaits_room(const struct provisioner *provisioner);

/*
 * Starts to provision the definition into *holding, or with is_scrub to give its pages new ones. done may be called
 * before this returns only for *ret_provision == NULL: then r says how it went, and text holds the sentence.
 * 0: under way. PROVISION_E_DONE: nothing had to wait. Negative errno: it failed, and text says why.
 */
enum {
	PROVISION_E_DONE = 1
};

int provision_start(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    bool is_scrub, provision_done_fn done, provision_progress_fn progress, void *owner,
    struct provision **ret_provision, char *text, size_t text_size);

/*
 * Makes the data of a holding that is in use larger, from one size to another within its object, with pages as the definition
 * asks for; control memory is left alone. When it fails, or is cancelled, the new range's pages are given back before done is
 * called. Results as provision_start's.
 */
int provision_grow(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    uint64_t from_bytes, uint64_t to_bytes, provision_done_fn done, provision_progress_fn progress, void *owner,
    struct provision **ret_provision, char *text, size_t text_size);

/*
 * Verifies and locks again what an earlier daemon had ready, and is in use. When it fails, the memory stays as it is, and the text
 * says what it has not as asked. 0: it was begun; or a negative errno with the sentence.
 */
int provision_revive(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    provision_done_fn done, provision_progress_fn progress, void *owner, struct provision **ret_provision, char *text,
    size_t text_size);
/* Whether there is anything of that to be done. */
bool provision_must_revive(const struct definition *definition, const struct holding *holding);

/*
 * Whether such a growth would be begun, if ahead_bytes were promised to others before; nothing is. 0 or PROVISION_E_DONE:
 * it would. Negative errno: it would be refused, and text says why.
 */
int provision_may_grow(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    uint64_t from_bytes, uint64_t to_bytes, uint64_t ahead_bytes, char *text, size_t text_size);

/* Gives a growth up, as if it had failed with -ECANCELED; why: the sentence that becomes its text. From done, in a later turn. */
void provision_cancel(struct provision *provision, const char *why);

/*
 * Gives up, for an owner that goes away now: *holding is taken over, and given back with the provision itself when no worker
 * is at it any more. Nothing is called back. After the workers' own end, only the provision is freed.
 */
void provision_abandon(struct provision *provision);

/* Whether a file is being opened or closed whose segment is gone: a stop waits for that. */
bool provisioner_runs_errands(const struct provisioner *provisioner);

struct provision *provision_free(struct provision *provision);

/*
 * How far it is, and where that ends: bytes made resident, and after them those of initial contents copied. How many these are
 * shows when a worker has found the file; until then they are taken for as many as may be, so that the share done never falls.
 */
uint64_t provision_progress_bytes(const struct provision *provision);
uint64_t provision_end_bytes(const struct provision *provision);

/* The latter of one that is not begun yet, or is over. */
uint64_t provision_bytes_of(const struct definition *definition);

#endif
