/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What happens to segments, told to those who subscribed. An event is built once and kept for a while, the same for all; a
 * subscriber has a bit for each one kept that it is still to be sent. So whoever posts waits for nobody, and who does not
 * read costs those bits alone: what it cannot be sent in time is counted, and the count is sent in its place.
 *
 * It knows no sessions: how a subscriber is reached is its owner's affair.
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/allotment.h"
#include "client/protocol.h"
#include "conf/definition.h"
#include "daemon/accounts.h"

#define EVENTS_KEPT	2048		/* a power of two; two events for each of 1,000 that die at once */

struct attachment;
struct events_subscriber;
struct identity;
struct segment;

/* Embedded in its owner, and all zero before events_subscribe. */
struct events_subscriber {
	struct events *events;		/* NULL: it has not subscribed */
	const struct identity *identity;	/* who reads */
	bool sees_all;			/* of every segment that it may attach; else of those it is attached to */
	bool is_administrator;		/* it may attach whatever there is */
	bool is_full;			/* nothing can be sent until events_on_room() */
	bool was_full;			/* and nothing could be sent since: it has this time for reading */
	struct allotment silence;
	bool is_due;
	uint64_t next;			/* no event before this number is pending */
	uint64_t last;			/* the last one that was queued for it */
	uint64_t lost;			/* since the last that was sent */
	unsigned n_pending;
	uint64_t pending[EVENTS_KEPT / 64];	/* a bit a number, modulo EVENTS_KEPT */
	LIST_ENTRY(events_subscriber) entry;
	LIST_ENTRY(events_subscriber) all_entry;	/* only if it sees all */
	TAILQ_ENTRY(events_subscriber) due_entry;	/* only if it is due */
};

LIST_HEAD(events_list, events_subscriber);

/*
 * An attachment that ended while its session went on: the kernel may know that a dying process holds nothing before it is
 * known that it dies. Kept for a moment, in order, for who learns of that.
 */
struct events_end {
	struct definition *definition;
	uint64_t generation;
	uint32_t attachment;
	uint32_t uid;			/* of who was attached */
	uint64_t ended_ns;		/* monotonic */
	struct events *events;
	struct charge charge;
	TAILQ_ENTRY(events_end) entry;
};

TAILQ_HEAD(events_ends, events_end);

/* 0: sent. Positive: there is no room; events_on_room() will be called. Negative errno: it cannot be reached any more. */
typedef int (*events_send_fn)(struct events_subscriber *subscriber, const struct protocol_event *event);

struct events {
	struct event pump_event;
	events_send_fn send;
	unsigned n_subscribers;
	struct events_list subscribers;
	struct events_list all;		/* those of them that see all */
	TAILQ_HEAD(, events_subscriber) due;	/* have something that may be sent */
	uint64_t flushed_ns;		/* when the pump was last made to run before its turn */
	uint64_t n_posted;		/* the number of the newest that is kept; the first is 1 */
	uint64_t n_sent;		/* counters, for metrics */
	uint64_t n_lost;
	uint64_t n_silent;		/* subscribers that were given up */
	struct protocol_event kept[EVENTS_KEPT];	/* by number, modulo */
};

int events_init(struct events *events, struct event_base *base, events_send_fn send);
void events_deinit(struct events *events);

/*
 * Something happened. lock: its index, or -1; lock_name, or NULL. pid: of who acted or died, or 0. Calls nothing of anybody's:
 * it may be posted from anywhere. events may be NULL, as in tests.
 */
void events_post(struct events *events, enum protocol_event_kind kind, const struct segment *segment, int lock,
    const char *lock_name, uint32_t attachment, int32_t pid);

/* Likewise, of a segment's size or of how much of it there is: the event's value and total. */
void events_post_size(struct events *events, enum protocol_event_kind kind, const struct segment *segment, uint64_t value,
    uint64_t total);

/* Likewise of a process that was attached, and died. segment: NULL when it is gone by now. */
void events_post_death(const struct events_end *end, const struct segment *segment, int32_t pid);

/* Likewise of what concerns everybody. uid: PROTOCOL_NOBODY where a signal asked for it. */
void events_post_reload(struct events *events, int32_t pid, uint32_t uid);

/*
 * Likewise of a stray object (ORPHAN), or one that an earlier daemon left (LEFTOVER), to its owner and administrators who see all.
 * There may be very many: whoever has a segment is not told.
 */
struct events_orphan {
	enum protocol_event_kind kind;
	const char *segment;		/* NULL: of none */
	enum protocol_orphan what;
	const char *name;		/* what does not fit is cut off */
	uint64_t inode;
	int32_t shm_id;			/* or -1 */
	int32_t creator_pid;
	uint32_t uid;
	uint64_t resident_bytes;
	uint64_t size_bytes;
};
void events_post_orphan(struct events *events, const struct events_orphan *orphan);

/* It has read nothing for so long, and lost so much, that it is not to be told any more. Asked by send, where there is no room. */
bool events_is_silent(const struct events_subscriber *subscriber);

/* From here on it is told; its identity, sees_all and is_administrator are set. */
void events_subscribe(struct events *events, struct events_subscriber *subscriber);
void events_unsubscribe(struct events_subscriber *subscriber);

/*
 * Sends what was posted now rather than in a turn of its own, unless that was done a moment ago. Calls the subscribers' send.
 */
void events_flush(struct events *events);

/* What it could not be sent may be sent now. */
void events_on_room(struct events_subscriber *subscriber);

/* The subscriber is told of the attachment's segment as long as the attachment has a session. */
void events_watch(struct events_subscriber *subscriber, struct attachment *attachment);
void events_unwatch(struct attachment *attachment);

/* An attachment was handed out. ends: its session's. */
void events_on_attach(struct attachment *attachment, struct events_ends *ends);
/* One ends, whether or not it was handed out. */
void events_on_detach(struct attachment *attachment);

/* Adds the attachment's end, if anybody is to be told. */
void events_add_end(struct events_ends *ends, const struct attachment *attachment);
struct events_end *events_end_free(struct events_ends *ends, struct events_end *end);
/* All; or the one that was given back by its holder, who is alive. */
void events_forget_ends(struct events_ends *ends);
void events_forget_end(struct events_ends *ends, uint32_t attachment, uint64_t generation);

#endif
