/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client's hold on a segment. It begins when a description of the segment's own is marked for it, and ends when the
 * kernel says that the mark is free: neither a detach nor a session's death ends it while anybody still maps.
 */
#ifndef DAEMON_ATTACHMENT_H
#define DAEMON_ATTACHMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/access.h"
#include "daemon/accounts.h"
#include "daemon/ledger.h"

struct events_ends;
struct events_subscriber;
struct segment;
struct attachment;
struct vigil;

LIST_HEAD(attachment_list, attachment);
TAILQ_HEAD(attachment_queue, attachment);

enum {
	ATTACHMENT_E_LEDGER = ACCOUNTS_E_LIMIT + 1	/* a successor would not know of it: the ledger says why */
};

struct attachment {
	struct segment *segment;
	uint32_t id;			/* in its segment; also the slot of its mark */
	uint32_t access;		/* PROTOCOL_ACCESS_* */
	uint32_t uid;
	int32_t pid;			/* of who asked for it */
	uint64_t process;		/* likewise, as in its identity */
	uint64_t session;		/* its session's number; 0: none any more */
	uint64_t serial;		/* of the session's request for it */
	const struct identity *identity;	/* its session's; NULL: there is none any more */
	uint64_t since_ns;		/* since 1970 */
	bool is_marked;			/* false: somebody disturbed the marks; the session's word counts as long as it lives */
	bool is_foreign;		/* may be of another pid namespace; asked only where there are mutexes */
	bool is_owner_gone;		/* its locks were recovered, or are being: it takes none any more */
	bool is_told;			/* it was handed out, and subscribers heard of it: they hear of its end, too */
	struct events_ends *ends;	/* of its session, while there is one */
	struct events_subscriber *watcher;	/* of its session; or NULL */
	struct ledger_entry row;
	struct charge charge;
	LIST_ENTRY(attachment) watched_entry;	/* in its segment's, only with a watcher */
	TAILQ_ENTRY(attachment) segment_entry;	/* in the order of ids */
	LIST_ENTRY(attachment) session_entry;	/* only while session is not 0 */
	struct vigil *vigil;		/* over its process, once the session is gone; or NULL */
	LIST_ENTRY(attachment) vigil_entry;
};

/* An id that nobody has, for an attachment of the segment or for the daemon itself. */
uint32_t attachment_next_id(struct segment *segment);

/*
 * Opens a description for it, marks it, and enters the attachment into the segment's books and the session's list.
 * *ret_fd is the description, which the caller sends and closes; when it was sent, it calls segment_on_more(). 0,
 * ACCOUNTS_E_LIMIT, ATTACHMENT_E_LEDGER, or a negative errno.
 */
int attachment_new(struct segment *segment, const struct identity *identity, uint64_t session, uint64_t serial,
    uint32_t access, struct accounts *accounts, struct attachment_list *session_list,
    struct attachment **ret_attachment, int *ret_fd);

/* What of an attachment outlives a daemon. */
struct attachment_past {
	uint32_t id;
	uint32_t access;
	uint32_t uid;
	int32_t pid;
	uint64_t process;
	uint64_t since_ns;
	uint64_t serial;
	bool is_marked;
	bool is_foreign;
	bool is_owner_gone;
	struct ledger_entry *row;	/* what is in the ledger of it already, which it takes */
};

/*
 * One that an earlier daemon handed out, in the order of ids in its segment. session_list and identity are its session's; NULL: it
 * has none any more. attachment_resume() has the kernel's word on it. 0 or a negative errno.
 */
int attachment_revive(struct segment *segment, const struct attachment_past *past, uint64_t session,
    const struct identity *identity, struct accounts *accounts, struct attachment_list *session_list,
    struct attachment **ret_attachment);

/*
 * The segment has all of its attachments again. It ends if nobody holds it; the locks of an owner that is gone are recovered, and
 * one that is alone with its process is watched. The attachment may be freed.
 */
void attachment_resume(struct attachment *attachment);

/* One that no session has any more is this one's from now on: of the same process, which has connected anew. */
void attachment_adopt(struct attachment *attachment, uint64_t session, const struct identity *identity,
    struct attachment_list *session_list);

/* Whether it may hold locks of its segment. */
bool attachment_may_own(const struct attachment *attachment);

/*
 * Whoever could hold locks by it is gone, whatever else still maps it: recovers them, until until_ns (of the monotonic
 * clock) at once and the rest in later turns.
 */
void attachment_owner_gone(struct attachment *attachment, uint64_t until_ns);

/* Whether the process that asked for it still has the pid that it had, as far as can be told; in doubt it has not. */
bool attachment_process_lives(const struct attachment *attachment);

/* Whether the kernel still knows a holder. */
bool attachment_is_held(const struct attachment *attachment);

/*
 * The session gives it up: it ends if nobody holds it any more, and stays without supervision otherwise. After until_ns (of
 * the monotonic clock) the kernel is asked in a later turn. The attachment may be freed.
 */
void attachment_give_up(struct attachment *attachment, uint64_t until_ns);

/*
 * Asks the kernel now for those of one session, as long as a turn may take, before something is refused it for having too
 * many. True: some had ended.
 */
bool attachment_prune(struct attachment_list *session_list);
/* Likewise of a segment, before those that are left keep it; the caller sees to what follows for the segment. */
void attachment_prune_segment(struct segment *segment);

/* The kernel knows no holder any more: recovers its locks, takes it out of all books and frees it. */
void attachment_end(struct attachment *attachment);

/* Takes it out of all books and frees it; nobody ever had it, or nobody is to be cared for any more. */
void attachment_free(struct attachment *attachment);

#endif
