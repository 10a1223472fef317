/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The box: descriptors that outlive the daemon. They lie in flight in the queues of a pair of connected sockets, each with a
 * label, and the service manager's store keeps the pair, so that it compares two descriptors with all that it has and not
 * thousands. Whoever comes next reads copies out of the queues and leaves them full.
 *
 * Nothing can be taken out of the middle of a queue. What is not needed any more stays in it until the box is renewed: another
 * pair is stored, filled with all that lives, and when the manager has taken it in, the older ones are removed from the store.
 * Until then each item is in one that is stored, and whoever reads finds some of them twice.
 *
 * It knows nothing of segments and sessions. No call waits.
 */
#ifndef DAEMON_BOX_H
#define DAEMON_BOX_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "systemd/inherited.h"

#define BOX_MESSAGE_FDS		253	/* the kernel's limit for one message */

enum box_kind {
	BOX_SEGMENT_DATA = 1,
	BOX_SEGMENT_CONTROL = 2,
	BOX_SESSION = 3,
	BOX_SEGMENT_MARK = 4,		/* what says that the data is in use: of files */
};

struct box_label {
	uint32_t kind;			/* enum box_kind; numbers are never given another meaning */
	uint32_t zero;
	uint64_t id;			/* of a segment its generation, of a session its id */
};

struct box;

/*
 * Puts all that lives, by box_put(). Called in a turn of its own or within a call of box_begin(); what is put at another time
 * has to be among it from the next turn of the loop on.
 */
typedef void (*box_fill_fn)(struct box *box, void *arg);
/* Consumes fd. 0, or a negative errno that ends it. */
typedef int (*box_take_fn)(const struct box_label *label, int fd, void *arg);
/* A sentence about what could not be read. */
typedef void (*box_tell_fn)(const char *text, void *arg);

TAILQ_HEAD(box_pairs, box_pair);

struct box {
	struct event_base *base;
	box_fill_fn fill;
	void *arg;
	struct box_pairs pairs;		/* oldest first; what is put goes to the last */
	unsigned n_pairs;		/* of our own */
	uint64_t last_n;		/* of the newest pair; names count up, so that none is used again */
	struct box_batch *batch;	/* while a pair is being filled: what is to be its next message */
	struct event send_event;	/* what the manager's queue had no room for is said again */
	struct event renew_event;
	struct event barrier_event;
	int barrier_fd;			/* -1: the manager is not asked for anything */
	uint64_t barrier_n;		/* pairs up to this one were stored before it */
	unsigned n_refusals;		/* one after the other of the manager's queue */
	unsigned n_single;		/* messages since the box was filled that have one descriptor each */
	bool is_begun;
	bool is_limited;		/* not all that was handed down could be read, since the process may have no more open; */
	uint64_t n_missing;		/* then: descriptors that were not */
	bool spares_past;		/* what is handed down stays in the store, whatever is read of it */
	bool renews;			/* another one is to be filled when that in hand is stored */
	uint64_t rest_until_ns;		/* not before then; */
	uint64_t shun_until_ns;		/* nor before then */
	uint64_t short_ns;		/* how long it was shunned the last time that we had not enough ourselves; 0: we had */
	uint64_t n_items;		/* in the newest that was filled, and put since; the dead, too: for metrics */
	uint64_t n_dead;
	uint64_t dead_more;		/* than what lives, and it is renewed */
	uint64_t n_renewals;
	uint64_t n_lost;		/* what could not be put, or was in a pair that the manager did not keep */
};

/* Without a service manager: -ENOENT, and all other calls do nothing then. 0 or another negative errno. */
int box_init(struct box *box, struct event_base *base, box_fill_fn fill, void *arg);

/*
 * Takes the pairs out of what was handed down, and gives a copy of each of their items to take(), by kind and id; of a label
 * that is there more than once the item that was put last. What cannot be read is told: a pair of a newer segmentd, or with
 * more than this process may have open, stays in the store for the next daemon. 0, or what take() or memory, also the kernel's,
 * ended it with; or -EACCES, -EPERM: somebody forbids reading.
 */
int box_peek(struct box *box, struct inherited *inherited, box_take_fn take, box_tell_fn tell, void *arg);

/* From now on: the first pair is stored and filled, and removes those that were handed down when the manager has it. */
void box_begin(struct box *box);

/*
 * fd stays the caller's. 0: it will outlive us, or will as soon as the box is begun. A negative errno: it will not, unless a
 * renewal brings it in; -ENOENT: there is no store. Box NULL: 0.
 */
int box_put(struct box *box, const struct box_label *label, int fd);

/* Something that was put is not needed any more. soon: it keeps memory, so that the box is renewed as soon as may be. NULL: nothing. */
void box_dead(struct box *box, bool soon);

uint64_t box_n_live(const struct box *box);

/* Leaves all that is stored. */
void box_deinit(struct box *box);
/* Removes it from the store before: nobody is to find it. May wait a moment for a manager that does not read. */
void box_forget(struct box *box);

#endif
