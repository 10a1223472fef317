/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a successor must know to go on where this daemon was: a file in state_dir with a row for each segment that is ready, each
 * session and each attachment, written before anybody is told of it. The record says what was made and has a name; the ledger who
 * has what. It knows no segments and no sessions, only what is written of them.
 *
 * A row is written by one call and has a sum of its own. A definition takes several, which are written before the segment's row
 * names them, and are never written over while it does: what is read is the old one or the new one. What is damaged, or of a newer
 * segmentd, is told and kept aside, and nothing is done by it.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/pack.h"
#include "daemon/rowfile.h"

#define LEDGER_FILE		"ledger"	/* in state_dir */
#define LEDGER_VERSION		1
#define LEDGER_ROW_BYTES	256
#define LEDGER_BODY_BYTES	240
#define LEDGER_BOOT_SIZE	40

enum ledger_kind {
	LEDGER_FREE,			/* no row */
	LEDGER_SEGMENT,
	LEDGER_LOCK,			/* only of locks that were recovered */
	LEDGER_SESSION,
	LEDGER_ATTACHMENT,
	LEDGER_TEXT,			/* a part of what a segment's row has not room for */
	LEDGER_KIND_N
};

/*
 * Bodies: of fixed widths, without holes. Fields and numbers are never given another meaning; new fields take room of the zeros at
 * the end, which read as 0 where an older daemon wrote them.
 */

/* Where the texts of a segment are. The ledger's own. */
struct ledger_chain {
	uint64_t number;		/* that all of its rows have, and no others ever had */
	uint32_t first;			/* row; 0: none */
	uint32_t n_bytes;
};

/* ledger_segment.flags */
#define LEDGER_SEGMENT_DECLARED		0x01u	/* else created, from a template */
#define LEDGER_SEGMENT_WAS_ATTACHED	0x02u	/* also where an attachment of its has a row: this is written after that */
#define LEDGER_SEGMENT_IDS_WRAPPED	0x04u
#define LEDGER_SEGMENT_ELSEWHERE	0x08u	/* not on the nodes that were asked for */

struct ledger_segment {
	struct ledger_chain texts;	/* the ledger's own */
	uint64_t generation;
	uint64_t cursor;
	uint64_t map_bytes;
	uint64_t page_bytes;		/* of a hugetlb pool; else 0 */
	uint64_t huge_bytes;
	uint64_t locked_bytes;		/* of data and control memory; 0: none of it was to be */
	uint64_t data_device, data_inode;	/* 0 of a file */
	uint64_t control_device, control_inode;
	uint64_t control_bytes;		/* 0: it has no control memory */
	uint64_t grow_to_bytes;
	uint64_t created_session;	/* these are 0 where the configuration declares it */
	uint64_t created_serial;
	uint64_t charged_bytes;
	uint32_t charged_uid;
	uint32_t state;			/* READY, DRAINING; or PROVISIONING: it is being scrubbed, and its bytes are worth nothing */
	uint32_t flags;
	uint32_t claim_id;
	uint32_t last_id;
	int32_t shm_id;			/* -1: none */
	uint32_t n_readers, n_writers;	/* when it was written */
	uint64_t zero[9];
};
static_assert(sizeof(struct ledger_segment) == LEDGER_BODY_BYTES, "ledger_segment");

/* ledger_lock.flags */
#define LEDGER_LOCK_WAS_MARKED	0x01u
#define LEDGER_LOCK_STUCK	0x02u

struct ledger_lock {
	uint64_t generation;		/* of its segment */
	uint64_t n_recoveries;
	uint64_t recovered_ns;
	uint32_t index;			/* in the definition's order */
	int32_t recovered_pid;
	uint32_t flags;
	uint32_t marked_owner;
	uint64_t zero[25];
};
static_assert(sizeof(struct ledger_lock) == LEDGER_BODY_BYTES, "ledger_lock");

/* ledger_session.flags */
#define LEDGER_SESSION_GREETED		0x01u
#define LEDGER_SESSION_SUBSCRIBED	0x02u
#define LEDGER_SESSION_SUBSCRIBED_ALL	0x04u	/* with SUBSCRIBED; else to what watched_session is attached to */

struct ledger_session {
	uint64_t id;
	uint64_t process;
	uint64_t since_ns;
	uint64_t socket_inode;
	uint64_t serial;		/* these three are as old as the row: a request does not write it */
	uint64_t n_requests;
	uint64_t doing_serial;		/* a request whose effect is to be had once was begun; 0: none */
	uint64_t watched_session;
	uint32_t uid, gid;
	int32_t pid;
	int32_t status;			/* of serial's reply */
	uint32_t flags;
	uint32_t zero32;
	uint64_t zero[19];
};
static_assert(sizeof(struct ledger_session) == LEDGER_BODY_BYTES, "ledger_session");

/* ledger_attachment.flags */
#define LEDGER_ATTACHMENT_MARKED	0x01u
#define LEDGER_ATTACHMENT_FOREIGN	0x02u
#define LEDGER_ATTACHMENT_OWNER_GONE	0x04u

struct ledger_attachment {
	uint64_t generation;		/* of its segment */
	uint64_t process;
	uint64_t session;		/* 0: none any more */
	uint64_t since_ns;
	uint32_t id;			/* in its segment */
	uint32_t access;
	uint32_t uid;
	int32_t pid;
	uint32_t flags;
	uint32_t zero32;
	uint64_t serial;		/* of the request, in the session that asked for it; 0: not known */
	uint64_t zero[22];
};
static_assert(sizeof(struct ledger_attachment) == LEDGER_BODY_BYTES, "ledger_attachment");

/* What is written of a segment besides: everything but the definition may be NULL, or 0. */
struct ledger_texts {
	struct definition *definition;
	const void *packed;		/* its bytes, where they are known: as good as struct pack_known */
	uint32_t n_packed;
	const char *template_name;
	const char *reason;
	const char *growth_reason;
	const char *note;		/* of how its file was found */
	const uint64_t *node_bytes;
	uint32_t n_nodes;
};

/* A row of an earlier daemon's. What it refers to need not be there: the segment of an attachment may have been damaged. */
struct ledger_item {
	enum ledger_kind kind;
	union {
		const struct ledger_segment *segment;
		const struct ledger_lock *lock;
		const struct ledger_session *session;
		const struct ledger_attachment *attachment;
	};
	/* Of a segment. Its definition is one reference of the ledger's; NULL: it could not be read, and why was told. */
	struct ledger_texts texts;
};

/* A row that is somebody's: embedded in whom it is about, and all zero before its first put. */
struct ledger_entry {
	uint32_t index;			/* 0: there is no row */
};

struct ledger_segment_entry {
	struct ledger_entry entry;
	struct ledger_chain texts;	/* as the row names them */
};

struct ledger {
	int dir_fd;
	int fd;				/* -1: there is no ledger */
	char *state_dir;
	bool is_committed;		/* the file has its name; until then */
	unsigned char *gathered;	/* its rows are here, and in no file */
	size_t n_gathered;		/* that there is room for */
	bool is_newer;			/* what stands in its place is a newer segmentd's, of which nothing is known */
	enum rowfile_old old;		/* what stands in its place */
	uint32_t *links;		/* by row: the next free one, or the next of its chain */
	uint32_t n_allocated;
	uint32_t n_rows;		/* the file has so many, with the header */
	uint32_t first_free;		/* the list of those before n_rows that nobody has */
	uint32_t n_free;
	uint64_t last_chain;		/* its number */
	int error;			/* of the last put that failed */
	uint64_t last_generation;	/* the highest of all segments' that were read */
	uint64_t last_session;		/* likewise, of all that rows name */
	void (*tell)(const char *text, void *arg);
	void *tell_arg;
};

#define LEDGER_NULL	{ .dir_fd = -1, .fd = -1 }

/* A sentence about what could not be read, or was left aside. */
typedef void (*ledger_tell_fn)(const char *text, void *arg);
/* A row of an earlier daemon's, good for the call alone. 0, or a negative errno that ends it. */
typedef int (*ledger_take_fn)(const struct ledger_item *item, void *arg);

/*
 * Begins a ledger beside an earlier daemon's, and gives take() the rows of that one: all segments, then locks, then sessions, then
 * attachments, each kind in the order of the file. take() may put rows already. What nobody puts again is lost with the commit.
 * A definition whose bytes are known, which may be NULL, is that one. Nobody else may have the directory: its lock is the caller's.
 * 0, or a negative errno with a sentence, and there is no ledger.
 */
int ledger_open(struct ledger *ledger, const char *state_dir, const struct pack_known *known, ledger_take_fn take,
    ledger_tell_fn tell, void *arg, char *text, size_t text_size);

/* Whether the one in state_dir is of this boot, of a version that this one reads, and has a segment. */
bool ledger_has_segments(const char *state_dir);

/*
 * Everything was taken over: the new ledger takes the earlier one's place. Whoever is killed before that has lost nothing. 0, or a
 * negative errno with a sentence: the earlier one is still there.
 */
int ledger_commit(struct ledger *ledger, char *text, size_t text_size);

/* Without rows the file is removed: nothing is left that it would be needed for. One that was not committed is thrown away. */
void ledger_close(struct ledger *ledger);

/*
 * Adds a row, or writes it in its place. ledger NULL: there is none, and nothing is done. 0, or a negative errno: the file and the
 * entry are as they were. What has a row has its room: a write in its place fails for want of memory only with texts.
 */
int ledger_put_segment(struct ledger *ledger, struct ledger_segment_entry *entry, const struct ledger_segment *body,
    const struct ledger_texts *texts);		/* texts NULL: as they were. body->texts is not looked at */
int ledger_put_lock(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_lock *body);
int ledger_put_session(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_session *body);
int ledger_put_attachment(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_attachment *body);

/* Its matter is over. Accepts an empty entry. */
void ledger_drop(struct ledger *ledger, struct ledger_entry *entry);
void ledger_drop_segment(struct ledger *ledger, struct ledger_segment_entry *entry);

/* Why the last put that failed did so, as a clause that names the file and says what mends it. Returns text. */
const char *ledger_describe_error(const struct ledger *ledger, char *text, size_t text_size);

#endif
