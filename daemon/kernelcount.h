/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the kernel knows of who holds an object. A mark (an OFD read lock on a byte far past the end) tells whether one
 * attachment's description is still held by any fd or mapping; inotify says when to look; a lease has the last word on
 * whether anybody is left. Marks give accuracy, never safety: hostile holders can disturb them.
 */
#ifndef DAEMON_KERNELCOUNT_H
#define DAEMON_KERNELCOUNT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/hash.h"
#include "daemon/toll.h"

struct kernelcount_watch;

/*
 * Looks at the watched object for at most until_ns (of the monotonic clock). True: done; false: to be called again soon.
 */
typedef bool (*kernelcount_look_fn)(struct kernelcount_watch *watch, uint64_t until_ns);

#define KERNELCOUNT_ECHOES	4
#define KERNELCOUNT_SOON	0	/* the queue of looks that are due at once, or rest; then one for each echo */
#define KERNELCOUNT_QUEUES	(1 + KERNELCOUNT_ECHOES)

struct kernelcount {
	struct event_base *base;
	int inotify_fd;
	struct event inotify_event;
	struct event due_event;		/* a timer that runs only while looks are due */
	TAILQ_HEAD(, kernelcount_watch) due[KERNELCOUNT_QUEUES];
	unsigned first_queue;		/* of the next turn, modulo their number */
	struct kernelcount_watch *by_wd;
	uint64_t n_events;
	uint64_t n_overflows;
	struct tolls tolls;		/* of what is marked */
};

/* Embedded in what is watched. */
struct kernelcount_watch {
	int wd;				/* -1: not watched */
	kernelcount_look_fn look;
	struct kernelcount *kernelcount;
	bool is_due;
	unsigned queue;			/* while it is due */
	bool is_looking;		/* a look has begun, and goes on in a later turn */
	bool is_dirty;			/* something happened since it began */
	unsigned n_echoes;		/* looks since the last event, after the first */
	uint64_t at_ns;			/* when it is due */
	uint64_t rest_until_ns;		/* looks that cost much come seldom */
	uint64_t spent_ns;		/* by the look under way */
	TAILQ_ENTRY(kernelcount_watch) due_entry;
	UT_hash_handle hh;
};

#define KERNELCOUNT_WATCH_NULL	{ .wd = -1 }

int kernelcount_init(struct kernelcount *kernelcount, struct event_base *base);
void kernelcount_deinit(struct kernelcount *kernelcount);

/* Calls look whenever a description of fd's inode was closed for good. 0 or a negative errno. */
int kernelcount_watch(struct kernelcount *kernelcount, struct kernelcount_watch *watch, int fd,
    kernelcount_look_fn look);
/* Calls look in a later turn, as if something had been closed. */
void kernelcount_look_soon(struct kernelcount_watch *watch);
void kernelcount_unwatch(struct kernelcount_watch *watch);

/* Marks the description of fd. 0; or a negative errno: -EAGAIN when a hostile writer has locked the byte. */
int kernelcount_mark(int fd, uint32_t slot);

/*
 * Asks through own_fd, a description without that mark, whether the mark is still held. in_doubt is the answer where the
 * kernel gives none, or tells of a lock that covers more than the slot: somebody has laid it over the marks of others.
 */
bool kernelcount_held(int own_fd, uint32_t slot, bool in_doubt);

/* Whether own_fd's description is the only one of its inode that is left in the whole system. On any doubt: false. */
bool kernelcount_alone(int own_fd);

#endif
