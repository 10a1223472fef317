/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The names of objects that a rule is about: found by their text, and in the order in which they are due. Strangers choose the
 * names, so the table's hash (daemon/hash.h) has a key that they do not know.
 */
#ifndef DAEMON_ORPHANS_NAMES_H
#define DAEMON_ORPHANS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_orphan;

struct orphans_name {
	struct orphans_name *next;	/* in its chain */
	const struct conf_orphan *rule;
	uint64_t since_ns;		/* monotonic: nobody is known to have let go of it later */
	uint64_t due_ns;		/* while it is sorted */
	uint64_t told_inode;		/* what was said of this object is not said again; 0: nothing was */
	uint32_t place;			/* in the heap, from 1; 0: it waits for an event only */
	uint32_t hash;
	uint8_t told_verdict;
	uint8_t n_tries;		/* since it was last let go of */
	bool is_seen;			/* since_ns is when somebody did; else when it was first looked at */
	bool is_asked;			/* it is being judged */
	bool is_touched;		/* since then it was let go of, or came anew */
	bool is_gone;			/* since then its name went */
	char text[];
};

struct orphans_names {
	struct orphans_name **buckets;	/* a power of two of them */
	size_t n_buckets;
	size_t n;
	struct orphans_name **heap;	/* the earliest at 1 */
	size_t n_heap, n_heap_allocated;
};

/* 0 or -ENOMEM. */
int orphans_names_init(struct orphans_names *names);
/* Some of it: until until_ns of the monotonic clock. True: that was all. */
bool orphans_names_free_some(struct orphans_names *names, uint64_t until_ns);

struct orphans_name *orphans_names_find(const struct orphans_names *names, const char *text);
/* One that is not there yet, all zero. NULL when memory is short. */
struct orphans_name *orphans_names_add(struct orphans_names *names, const char *text);
void orphans_names_remove(struct orphans_names *names, struct orphans_name *name);

/* Its due_ns was set: it has its place in the order. There is always room for it. */
void orphans_names_sort(struct orphans_names *names, struct orphans_name *name);
/* It is due at no time. */
void orphans_names_unsort(struct orphans_names *names, struct orphans_name *name);
/* The earliest; or NULL. */
struct orphans_name *orphans_names_first(const struct orphans_names *names);

#endif
