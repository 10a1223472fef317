/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the daemon holds of a segment's memory: the object; where it is locked a mapping, since pages stay locked only as
 * long as the mapping that locked them; and where the definition has locks, control memory and mappings of both.
 */
#ifndef DAEMON_HOLDING_H
#define DAEMON_HOLDING_H

#include <stddef.h>

#include "daemon/accounts.h"
#include "daemon/backend/backend.h"
#include "daemon/slices.h"
#include "daemon/workers.h"

struct holding_control {
	struct backend_object object;	/* a memfd, whatever holds the data */
	int read_fd;			/* its read-only description, which all readers get; each writer gets one of its own */
	void *map;
	uint64_t locked_bytes;
};

/* Of who created it, for as long as anybody has it; nothing is charged before its segment has ended. */
enum holding_charge {
	HOLDING_SEGMENT,
	HOLDING_BYTES,
	HOLDING_CHARGE_N
};

struct holding {
	const struct backend *backend;
	struct backend_object object;
	void *map;			/* NULL: not mapped */
	struct holding_control *control;	/* NULL: none */
	uint64_t locked_bytes;		/* of both: of data from its start on */
	uint64_t huge_bytes;		/* mapped by huge pages, when they were made */
	uint64_t *node_bytes;		/* of data, when it was made: on node 0, 1, ...; NULL: nothing was counted */
	unsigned n_nodes;
	bool is_elsewhere;		/* not on the nodes that were asked for, or not spread over them so */
	bool asks_again;		/* it was not alone, and of that one's leaving nothing tells; or the kernel could not say */
	bool is_adopted;		/* an earlier daemon's, and not ready here yet: if that fails it is kept, and not given back */
	bool took_row;			/* of an earlier daemon, whose file it opens anew: likewise at our end, and else given back */
	uint64_t generation;		/* of its segment; what was adopted has brought its own */
	uint32_t creator;		/* likewise, by uid; 0: the configuration */
	struct charge charges[HOLDING_CHARGE_N];
};

#define HOLDING_NULL	{ .object = BACKEND_OBJECT_NULL }

/* Bytes of control memory that are locked. */
static inline uint64_t
holding_control_locked_bytes(const struct holding *holding)
{
	return holding->control ? holding->control->locked_bytes : 0;
}

/* Of what is locked, what mlock locked: the kernel shows it as VmLck. */
static inline uint64_t
holding_mlocked_bytes(const struct holding *holding)
{
	if (holding->backend && holding->backend->lock)
		return holding_control_locked_bytes(holding);
	return holding->locked_bytes;
}

/* Whether a store to its data may have to wait for a disk, and so is no matter of the loop's. */
static inline bool
holding_may_wait(const struct holding *holding)
{
	return holding->backend && holding->backend->features & BACKEND_DURABLE;
}

/* How many have the object by the kernel's own count, besides us; with those that we handed it out to. */
uint64_t holding_others(const struct holding *holding);

/* What of both can never be swapped out: what is locked, and the pages of a hugetlb pool, which need no locking. */
uint64_t holding_locked_bytes(const struct holding *holding);

/* Maps the whole object, aligned for huge pages and kept out of core dumps. 0 or a negative errno. */
int holding_map(struct holding *holding);

/* Makes control memory, zeroed, and maps it. 0, or a negative errno with a sentence. */
int holding_add_control(struct holding *holding, const char *name, uint64_t size_bytes, char *text, size_t text_size);

/*
 * The control memory that an earlier daemon made for it, by a descriptor, which is taken. 0; BACKEND_E_GONE, BACKEND_E_OTHER, or
 * a negative errno with a sentence.
 */
int holding_revive_control(struct holding *holding, int *fd, uint64_t size_bytes, char *text, size_t text_size);

/* Lets go of it as it is, with its name and its row, as if we had been killed. */
void holding_leave(struct holding *holding);

/* Whether nobody else holds the object, by the kernel's word. */
bool holding_is_alone(struct holding *holding);

/* Holdings on their way out. */
struct releases {
	struct workers *workers;
	struct workers *io;		/* for what may wait for a disk; the same, where nobody says otherwise */
	struct workers *names;		/* one, for names that are given; likewise */
	void (*on_end)(struct releases *releases);	/* one has been given back; NULL: nobody waits for that */
	void (*keep)(struct holding *holding, void *arg);	/* consumes one that was adopted in vain; NULL: it is given back */
	void *keep_arg;
	bool is_closing;		/* the loop does not run any more: close at once */
	LIST_HEAD(releases_list, release) list;
	struct releases_list held;	/* of these, others have the memory: they pay for it until they let go */
};

void releases_init(struct releases *releases, struct workers *workers);
/* Closes what is still on its way, after the workers have ended, and from now on everything at once. */
void releases_close(struct releases *releases);

/* Whether a worker is at an errand for one of them, or is to be: what is in a file is not on the disk yet. */
bool releases_run_errands(const struct releases *releases);

/*
 * Gives a holding back without holding up the loop: its pages by a worker where nobody else has them, its mapping in
 * slices. What is charged for stays as it is for as long as others have it: they could otherwise have as much as they like, one
 * after the other; and where they give pages back meanwhile, unmapping it waits for that. Consumes *holding. first: before all other jobs, since memory is short. Where memory is too short even for the
 * books of that, it is closed at once.
 */
void holding_release(struct holding *holding, struct releases *releases, bool first);

/* The same for its control memory alone. Another one can be made then, which nobody has ever seen. */
void holding_release_control(struct holding *holding, struct releases *releases);

/* Whether it is so little that giving it back holds nobody up: that is done at once. */
bool holding_is_small(const struct holding *holding);

#endif
