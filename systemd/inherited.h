/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the service manager handed down: the listening socket that it made for us, and what an earlier daemon gave it to keep
 * (systemd/store.h), by name.
 */
#ifndef SYSTEMD_INHERITED_H
#define SYSTEMD_INHERITED_H

#include <stddef.h>

#define INHERITED_NAME_SIZE	256		/* systemd allows 255 bytes */

struct inherited_entry {
	int fd;				/* -1: taken */
	unsigned kind;			/* as inherited.c has judged it */
	char name[INHERITED_NAME_SIZE];
};

struct inherited {
	int listen_fd;			/* -1: none, or taken */
	unsigned n;
	struct inherited_entry *entries;
};

#define INHERITED_NULL	{ .listen_fd = -1 }

/* A sentence about something that was handed down and is of no use. */
typedef void (*inherited_tell_fn)(const char *text, void *arg);

/*
 * Once in a process: it clears the environment, so that children do not take these numbers for theirs. All is close-on-exec
 * afterwards, and the listening socket non-blocking. Nothing may have been handed down. Of several that could be served on one is
 * chosen: what is called after a socket unit first, then what comes first; the others are entries. -EINVAL: there is none, but
 * what may have been meant as one: a socket unit's socket that is not a listening AF_UNIX SOCK_SEQPACKET one, or what has no name;
 * other negative errno: asking failed. *ret_inherited is empty then, and nothing of it is open any more.
 */
int inherited_init(struct inherited *ret_inherited);

/* The entry of that name, the caller's from now on; of several the first. -1: there is none (any more). */
int inherited_take(struct inherited *inherited, const char *name);

/*
 * What nobody took is removed from the manager's store, told, and closed: a later daemon would have as little use for it. Not so by
 * a name by which something was taken, which is in the store still: that goes with it.
 */
void inherited_drop(struct inherited *inherited, inherited_tell_fn tell, void *arg);

/* Closes what nobody took; the manager keeps it. */
void inherited_deinit(struct inherited *inherited);

#endif
