/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the daemon before has left, as it was read: rows by what they are about, descriptors by their labels. */
#ifndef DAEMON_SURVIVAL_PAST_H
#define DAEMON_SURVIVAL_PAST_H

#include "daemon/box.h"
#include "daemon/hash.h"
#include "daemon/ledger.h"

struct attachment;
struct parcels;
struct past;
struct segment;
struct session;

struct past_segment {
	struct ledger_segment row;
	struct definition *definition;	/* NULL: it could not be read */
	const void *packed;		/* its definition's bytes, those of what was kept of the configuration; NULL: not known there */
	uint32_t n_packed;
	char *template_name;		/* these may be NULL */
	char *reason;
	char *growth_reason;
	uint64_t *node_bytes;
	unsigned n_nodes;
	bool awaits_memory;		/* of a client; survival_await.h */
	int data_fd, control_fd;	/* then: what has been brought of it, or -1 */
	struct segment *segment;	/* once it is restored */
	bool is_awaited;		/* the request that made it is still in its session's queue */
	UT_hash_handle hh;
};

struct past_session {
	struct ledger_session row;
	struct session *session;	/* likewise */
	uint64_t pending_serial;	/* of the first request in its queue, which may have been answered; 0: there is none */
	UT_hash_handle hh;
};

struct past_attachment {
	struct ledger_attachment row;
	struct attachment *attachment;	/* likewise */
	struct ledger_entry kept;	/* its row for a successor, while its segment is awaited */
};

struct past_fd {
	struct box_label label;
	int fd;				/* -1: it was taken */
};

struct past {
	struct parcels *parcels;		/* for what is hung up; NULL: it lies in the box still, and is only closed */
	bool is_kept;			/* this start comes to nothing, and the next one is to find it all */
	struct past_segment *segments;
	struct ledger_lock *locks;
	struct past_session *sessions;
	struct past_attachment *attachments;
	size_t n_segments, n_locks, n_sessions, n_attachments;
	struct past_segment *by_generation;	/* these two once it is sorted */
	struct past_session *by_id;
	struct past_fd *fds;			/* likewise: as the box has them, by kind and id */
	size_t n_fds;
};

struct past *past_new(void);
struct past *past_free(struct past *past);

/* A ledger_take_fn and a box_take_fn, with struct past as arg. */
int past_take_row(const struct ledger_item *item, void *arg);
int past_take_fd(const struct box_label *label, int fd, void *arg);

/* Each kind in its order; from here on they are found. 0 or -ENOMEM. */
int past_sort(struct past *past);
struct past_segment *past_find_segment(const struct past *past, uint64_t generation);
struct past_session *past_find_session(const struct past *past, uint64_t id);

/* The first of a segment's in the list, which has all of them behind one another; or NULL. */
struct past_attachment *past_first_attachment(const struct past *past, uint64_t generation);

/* Behind the last one of all; NULL: there is none. */
static inline struct past_attachment *
past_attachments_end(const struct past *past)
{
	return past->attachments ? past->attachments + past->n_attachments : NULL;
}

/* What was kept of that label, if nobody has taken it; or NULL. */
struct past_fd *past_find_fd(const struct past *past, enum box_kind kind, uint64_t id);
/* The descriptor, the caller's from now on; -1: there is none (any more). */
int past_fd(struct past *past, enum box_kind kind, uint64_t id);
/* Likewise, if it is what its row says; -1, too, if it is something else. An object of number 0 is not looked at. */
int past_object_fd(struct past *past, enum box_kind kind, uint64_t id, uint64_t device, uint64_t inode);
/* A connection that has no row. */
bool past_is_unknown_session(const struct past *past, const struct past_fd *past_fd);
/* Those are hung up: before the others are gone on with, which may need their descriptors. */
void past_close_unknown_sessions(struct past *past);
/* What nobody took: connections are hung up. */
void past_close_fds(struct past *past);

/* The highest number of a descriptor's label: also what has no row any more is not to be mistaken for what comes. */
uint64_t past_last_id(const struct past *past, enum box_kind kind);

#endif
