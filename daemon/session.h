/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A session: one client's connection. Requests are peeked, answered, then consumed: a request whose answer cannot be sent
 * yet, or that waits, stays in the socket's queue and is looked at again. So the daemon queues no replies and no requests.
 * Identity is taken from the kernel when it is accepted, and never changes.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "client/protocol.h"
#include "daemon/access.h"
#include "daemon/accounts.h"
#include "daemon/attachment.h"
#include "daemon/box.h"
#include "daemon/burials.h"
#include "daemon/flights.h"
#include "daemon/ledger.h"
#include "daemon/parcels.h"
#include "daemon/parse.h"
#include "daemon/segment.h"
#include "daemon/turns.h"
#include "daemon/who.h"

struct handout_kept;
struct reload_request;
struct session;
struct subscription;

/* What a new client is told when there are no descriptors for it. */
#define SESSION_OUT_OF_FDS	"the daemon is out of file descriptors: the administrator can raise LimitNOFILE of its " \
	"service"

/* What a request's handling comes to. */
enum {
	SESSION_E_WAIT = 1,		/* answered later, when the session's waiter is woken */
	SESSION_E_FULL = 2,		/* the reply must wait until the peer has read what it has */
	SESSION_E_VIOLATION = 3,	/* the peer broke the rules; session->violation says how */
	SESSION_E_AGAIN = 4,		/* to be looked at again in the next turn: what it met has changed, or its time is up */
	SESSION_E_LATER = 5,		/* likewise after a while, which nothing tells the end of */
};

/* What sessions share, and call. */
struct session_host {
	struct event_base *base;
	struct accounts *accounts;
	struct ledger *ledger;		/* what is written for a successor; NULL: nothing */
	struct box *box;		/* what outlives us; NULL: there is none */
	bool keeps;			/* connections are in it from their beginning on */
	struct burials burials;		/* of sessions whose process has ended */
	struct flights flights;
	struct parcels parcels;
	struct turns turns;
	/* Handles one whole request. 0: answered. SESSION_E_*; or a negative errno, which ends the session. */
	int (*dispatch)(struct session *session, const struct protocol_header *request, void *arg);
	void (*on_end)(struct session *session, void *arg);	/* before it is freed */
	void (*on_room)(struct session *session, void *arg);	/* after session_await_room() */
	bool (*is_trusted)(const struct identity *identity, void *arg);	/* who administers; NULL: nobody */
	void *arg;
	uint64_t last_id;
	uint64_t n_connections;		/* counters, for metrics: that were accepted, also those refused for want of something, */
	uint64_t n_turned_away;		/* which are these */
	uint64_t n_crowded;		/* times that nobody was, for what others had left: listener.c */
	uint64_t n_requests;
	uint64_t n_violations;
	uint64_t refreshed_account;	/* the last one whose sessions were all asked whether they have read, as metrics were told */
	uint64_t nofile;		/* the limit of descriptors, as it was in the run of turns of this number */
	uint64_t nofile_run;
	unsigned n_sessions;
	TAILQ_HEAD(session_queue, session) sessions;	/* in the order of ids */
};

enum session_mode {
	SESSION_OFF,
	SESSION_READING,
	SESSION_WAITING,		/* a request waits in the queue for something of ours */
	SESSION_FULL,			/* a request waits for the peer to read */
};

struct session {
	struct session_host *host;
	uint64_t id;
	int fd;
	int pidfd;			/* -1: the kernel gave none */
	struct event event;		/* of fd, as mode says */
	struct event pidfd_event;
	struct event retry_event;
	enum session_mode mode;
	struct turn turn;
	bool is_edge;			/* it is heard of once for each message: it had more while it waited for its turn */
	bool is_closed;			/* nobody else has the connection any more */
	bool is_woken;			/* what its request waits for may have come: it has a turn */
	bool sent_behind;		/* violation says what, behind a request that waits */
	uint32_t behind_bytes;		/* of the queue that were looked at, while one waits */
	struct identity identity;
	uint64_t since_ns;		/* since 1970 */
	uint64_t n_requests;
	bool is_greeted;
	bool has_ended;			/* its process, as the kernel said */
	uint16_t n_last_turns;		/* in which what it had asked for before was served */
	uint64_t redone_serial;		/* of a request that an earlier daemon had begun, and may have done; or 0 */
	uint64_t answered_serial;	/* of one for which an earlier daemon has sent descriptors, without a doubt; or 0 */
	uint64_t serial;		/* of the last request that was done */
	int32_t status;			/* its reply's, for a repeated one */
	uint64_t doing_serial;		/* of one whose effect may be had, and is to be had once */
	struct ledger_entry row;
	bool is_boxed;
	unsigned n_fds_in_flight;	/* that were sent, and may be unread */
	uint32_t unread_bytes;		/* at most, of what was sent, as the kernel counts them */
	bool awaits_room;		/* something that was pushed did not fit */
	uint64_t created_serial;	/* of a CREATE under way; 0: none */
	char created_name[PROTOCOL_NAME_SIZE];
	const char *violation;
	bool brings_fds;		/* the request that is being looked at came with some, which were not taken */
	struct attachment_list attachments;
	struct subscription *subscription;	/* it is told of events, and gets no fds; or NULL */
	uint64_t watched_session;	/* what it subscribed to, if not to all */
	bool sees_all;			/* it subscribed to all */
	struct subscription *watched_by;	/* another session's, to what this one is attached to; or NULL */
	struct events_ends ends;	/* of its attachments, a moment ago */
	struct segment_waiter waiter;
	uint64_t walk_serial, walk_cursor;	/* of a request that goes over all segments: how far it is */
	struct handout_kept *handout;	/* what of the request under way is attached already; or NULL */
	struct reload_request *plan;	/* its last one, under way or done; or NULL */
	uint64_t plan_serial;		/* of the request that asked for it */
	struct parse_upload upload;
	struct who_request who;		/* what it asked for last */
	uint64_t who_serial;		/* of the request for it */
	struct parcel *parcel;		/* a worker looks at what its request brings, or has; or reads it away. Or NULL */
	struct charge charge;		/* for its place: it is served from then on */
	struct charge fds_charge, groups_charge;
	struct charge flight_charge, unread_charge;	/* until it is known that it has read */
	TAILQ_ENTRY(session) entry;
	TAILQ_ENTRY(session) account_entry;	/* while it is charged */
};

/*
 * Takes in an accepted connection. Consumes fd. 0: it is served; or, where its uid has enough, it will be told so in the
 * next turn and disconnected, unless something was given back by then. Negative errno: it is closed.
 */
int session_new(struct session_host *host, int fd);
struct session *session_free(struct session *session);

/* What of a session outlives a daemon, besides its connection. */
struct session_past {
	uint64_t id;
	uint64_t since_ns;
	uint64_t n_requests;
	uint64_t serial, doing_serial;
	int32_t status;
	bool is_greeted;
	uint64_t process;
	uint64_t socket_inode;		/* 0: not known */
};

/*
 * A connection that an earlier daemon had accepted, in the order of ids; its requests are still in its queue. Consumes fd. Nothing
 * is heard of it before session_resume(). 0, or a negative errno: it is closed; -ESTALE: it is another one. By an error that passes
 * its peer is not hung up.
 */
int session_revive(struct session_host *host, const struct session_past *past, int fd, struct session **ret_session);
/* The session may be freed: what it is told then is that it ended. 0, or -ENOMEM: it cannot be heard of, and is as it was. */
int session_resume(struct session *session);

/* The serial of the request that is first in its queue; 0: there is none. What it is has not been looked at. */
uint64_t session_pending_serial(const struct session *session);
/* Whether a request in its queue gives that attachment back: who does so has been answered that it has it. */
bool session_has_pending_detach(const struct session *session, uint32_t attachment, uint64_t generation);
/* The first request of its queue has this serial, and was answered by an earlier daemon, with descriptors: it is not looked at again. */
void session_take_answered(struct session *session, uint64_t serial);

/* Puts its connection into the box. */
void session_box(struct session *session);

/*
 * Writes what a successor has to know of it, as it is now. Where that fails it is served all the same, which is told: a restart
 * would have it connect again.
 */
void session_write_row(struct session *session);
/* A request is about to have its effect, or 0: it has had none yet. */
void session_set_doing(struct session *session, uint64_t serial);

/*
 * Ends a connection for both sides, and closes it: now, or when what the peer sent along is read away. parcels: NULL: it is not the
 * last reference.
 */
void session_hang_up(struct parcels *parcels, int *fd);

/*
 * Sends a reply: status, and after the header size - sizeof(header) bytes that are there already, with fds. 0,
 * SESSION_E_FULL, or a negative errno.
 */
int session_reply(struct session *session, const struct protocol_header *request, struct protocol_header *reply,
    size_t size, uint16_t flags, const int *fds, unsigned n_fds);

/* Answers with a negative status and a sentence, about the row that the header has. Results as session_reply. */
int session_refuse(struct session *session, const struct protocol_header *request, int status,
    const char *format, ...) BASE_PRINTF(4, 5);

/* Whether the peer's process has ended, as far as the kernel tells. */
bool session_peer_has_ended(struct session *session);

/* The sessions of its uid, this one among them; as long as it is served. */
static inline struct account_sessions *
session_of_uid(const struct session *session)
{
	return &session->charge.account->sessions;
}

/* Whether two sessions' peers are one process, as far as the kernel tells them apart; in doubt they are not. */
bool session_is_sibling(const struct session *session, const struct session *other);

/* Sends what nobody asked for. Results as session_reply. */
int session_push(struct session *session, const struct protocol_header *message);

/*
 * Calls the host's on_room once, when the peer has read most of what it was sent; or no longer. Only after SESSION_E_FULL, and
 * for a session that gets no fds.
 */
void session_await_room(struct session *session, bool awaits_room);

/* Whether a reply without fds can be sent now. Asked before what cannot be undone, and is said to be done. */
bool session_has_room(struct session *session);

/* Whether a reply with fds may be sent now: the peer has read the one before. */
bool session_may_send_fds(struct session *session);

/* Asks the kernel, until until_ns of the monotonic clock, who has read what it is charged for as unread; on from where it ended. */
void session_refresh_charges(struct session_host *host, uint64_t until_ns);
/* Likewise of one uid's sessions. */
void session_refresh_account(struct account *account, uint64_t until_ns);
/* Of the session's own uid: for a moment, and not again at once. */
void session_refresh_own(struct session *session);

/*
 * Charges what the next reply will bring; right before it. 0, -ENOMEM, -ETOOMANYREFS: not now; or ACCOUNTS_E_LIMIT: text, of
 * ACCOUNTS_TEXT_SIZE, says why.
 * Where the reply is not sent it is given back.
 */
int session_charge_flight(struct session *session, unsigned n_fds, char *text);

#endif
