/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The one table of requests: type, size, who may, what it does. Everything that can be checked by a row is checked before
 * its handler runs; a new request is a row and a handler.
 */
#ifndef DAEMON_REQUESTS_H
#define DAEMON_REQUESTS_H

#include "daemon/box.h"
#include "daemon/deaths.h"
#include "daemon/events.h"
#include "daemon/registry.h"
#include "daemon/session.h"
#include "daemon/who.h"

struct survival;

/*
 * Who may. A segment that one may not attach does not exist for one who does not administer: whatever is asked of it is answered
 * as of a name that nobody has.
 */
enum requests_privilege {
	REQUESTS_ANYONE,		/* who connects: what it tells or does is of one's own, or of what one may attach */
	REQUESTS_ADMINISTRATOR,
	/* Of the segment that the message names first, and administrators of any. */
	REQUESTS_READER,		/* who may attach it in some way */
	REQUESTS_WRITER,		/* who may attach it for writing */
	REQUESTS_CREATOR,		/* who created it from a template */
	/* What the message's rows or the template say, which the handler judges: administrators have no more than others. */
	REQUESTS_ATTACHER,		/* who may attach each segment that is named in the way that is asked for */
	REQUESTS_INSTANTIATOR,		/* whom a template lets have that name */
	REQUESTS_PRIVILEGE_N
};

/* The row's, or -1: there is no such request. */
int requests_privilege_of(unsigned type);

/* What handlers work on. */
struct requests {
	struct registry *registry;
	struct session_host *sessions;
	struct workers *workers;
	struct kernelcount *kernelcount;
	struct provisioner *provisioner;
	struct events *events;
	struct deaths *deaths;
	struct reload *reload;
	struct orphans *orphans;
	struct who *who;
	struct survival *survival;
	const struct box *box;		/* or NULL */
	bool has_admin_gid;
	uint32_t admin_gid;
	uint64_t started_ns;		/* monotonic */
	/* Of the request under way: what it names, judged already, where its row has a privilege about that; else NULL. */
	struct segment *segment;
	/* The reply under construction: there is one at a time, since there is one thread. */
	union {
		struct protocol_header header;
		uint64_t align;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;
};

/* Results as session_host.dispatch. The message is the row's size, and zero where it must be. */
typedef int (*requests_handler_fn)(struct requests *requests, struct session *session,
    const struct protocol_header *request);

/* session_host's dispatch, on_end, on_room and is_trusted, with struct requests as arg. */
int requests_dispatch(struct session *session, const struct protocol_header *request, void *arg);
void requests_on_session_end(struct session *session, void *arg);
void requests_on_room(struct session *session, void *arg);
bool requests_is_trusted(const struct identity *identity, void *arg);

/* struct events' way to a session. */
int requests_send_event(struct events_subscriber *subscriber, const struct protocol_event *event);

/* An attachment was handed out to the session: who is to hear of it, and whether the session's subscriber hears more. */
void requests_on_attach(struct session *session, struct attachment *attachment);
/* An attachment that was handed out before has become the session's: nothing has happened that anybody would be told. */
void requests_on_return(struct session *session, struct attachment *attachment);
/* A subscription that it had with an earlier daemon: to watched, or with NULL to all. */
void requests_revive_subscription(struct requests *requests, struct session *session, struct session *watched);
/* The session's own, and the one that names it. */
void requests_end_subscriptions(struct session *session);
/* What of its request under way is attached, and was not told. */
void requests_end_handout(struct requests *requests, struct session *session);
/* The session's own. */
void requests_end_plan(struct requests *requests, struct session *session);

/*
 * Whether the request is about a reload that the session's peer began as an administrator: it hears what came of that, also
 * where it came to be none by it.
 */
bool requests_owes_lines(const struct session *session, const struct protocol_header *request);

/* Who administers from now on, also of those that are connected. */
void requests_set_administrators(struct requests *requests, bool has_admin_gid, uint32_t admin_gid);
bool requests_is_administrator(const struct requests *requests, const struct identity *identity);

/* The segment, if it exists for this session; otherwise NULL, as if there were none. */
struct segment *requests_find(struct requests *requests, struct session *session, const char *name);
/* Answers that there is none. */
int requests_refuse_unknown(struct session *session, const struct protocol_header *request, const char *name);

/*
 * Going over all segments, from the one behind the cursor on, for one request of a session; a part of them in a turn. Whoever was
 * given NULL asks requests_walk_ends(): false: the handler returns SESSION_E_AGAIN, and what it looked at so far is not looked at
 * again.
 */
struct requests_walk {
	struct session *session;
	uint64_t serial;
	struct segment *at;
	unsigned n;
};

void requests_walk_begin(struct requests_walk *walk, struct requests *requests, struct session *session,
    const struct protocol_header *request, uint64_t cursor);
struct segment *requests_walk_next(struct requests_walk *walk);
bool requests_walk_ends(struct requests_walk *walk);

/* Rows of a reply under construction, from one that a cursor says on. */
struct requests_page {
	struct requests *requests;
	uint32_t row_size;
	uint32_t max_rows;		/* 0: as many as fit */
	uint32_t n_rows;
	bool has_more;
};

/* Room for one more row, or NULL. */
void *requests_page_next(struct requests_page *page);
int requests_page_reply(struct requests_page *page, struct session *session, const struct protocol_header *request);

/* A lock as a row, without what its memory says now. */
void requests_describe_lock(const struct lock *lock, struct protocol_lock *row);

/* Attaches the segment for the request alone, and answers with its fds, or with why not. Results as session_host.dispatch. */
int requests_hand_out(struct requests *requests, struct session *session, const struct protocol_header *request,
    struct segment *segment, uint32_t access);

/* The handlers, a file a family. */
int requests_attach(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_attach_many(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_detach(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_create(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_remove(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_wait(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_list(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_show(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_holders(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_clients(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_users(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_locks(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_recover(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_subscribe(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_plan(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_upload(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_plan_lines(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_retry(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_who(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_who_rows(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_return(struct requests *requests, struct session *session, const struct protocol_header *request);
int requests_metrics(struct requests *requests, struct session *session, const struct protocol_header *request);

#endif
