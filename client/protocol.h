/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The wire: what client and daemon say to each other over the daemon's SOCK_SEQPACKET socket.
 *
 * One message is one request, one reply or one event. Every message starts with a struct protocol_header; all fields are of
 * fixed width and in the machine's byte order (both ends are on one machine); all padding is explicit and zero. Strings sit
 * in fixed fields, end with a NUL and are zero behind it. Numbers are never reused.
 *
 * Order: HELLO is the first message of a session, once; its reply need not be awaited before the next request is sent.
 * Serials rise with each request (the first is 1 or more); a reply carries its request's serial and type. A request that
 * is repeated with its serial is answered again and done once. A request that waits (WAIT, CREATE, PLAN, WHO) holds up later
 * requests of its session until it is answered.
 *
 * A reply with a negative status holds, after the header, a sentence that ends with a NUL. A peer that breaks these rules
 * is answered once with serial 0, type 0 and -EPROTO, with a sentence, and is disconnected. An unknown type in a well
 * formed message is answered with -EOPNOTSUPP, and nothing else happens.
 *
 * fds travel from the daemon to the client only with a good reply to ATTACH, ATTACH_MANY or CREATE. A client must not send a
 * request that returns an fd before it has read the reply to the one before: the daemon waits until it has. From the client to the
 * daemon they travel only with RETURN.
 *
 * Here are the header and the requests that do something; client/protocol-rows.h, which comes with it, has those that ask for
 * rows, and the events.
 */
#ifndef CLIENT_PROTOCOL_H
#define CLIENT_PROTOCOL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_MAGIC		UINT32_C(0x44474553)	/* "SEGD" */
#define PROTOCOL_VERSION	1
#define PROTOCOL_MESSAGE_MAX	32768		/* bytes of one message, either way */
#define PROTOCOL_REQUEST_MAX	20480		/* bytes of one request */
#define PROTOCOL_NAME_SIZE	136		/* 128 bytes, NUL, zero */
#define PROTOCOL_ATTACH_ROWS	64		/* segments of one ATTACH_MANY */
#define PROTOCOL_ATTACH_FDS	2		/* fds of one attachment */
#define PROTOCOL_FDS_MAX	(PROTOCOL_ATTACH_ROWS * PROTOCOL_ATTACH_FDS)	/* of one reply; the kernel sends 253 */

enum protocol_type {
	PROTOCOL_HELLO = 1,
	PROTOCOL_ATTACH = 2,
	PROTOCOL_DETACH = 3,
	PROTOCOL_CREATE = 4,
	PROTOCOL_REMOVE = 5,
	PROTOCOL_LIST = 6,
	PROTOCOL_SHOW = 7,
	PROTOCOL_HOLDERS = 8,
	PROTOCOL_CLIENTS = 9,
	PROTOCOL_WAIT = 10,
	PROTOCOL_METRICS = 11,
	PROTOCOL_SUBSCRIBE = 12,
	PROTOCOL_EVENT = 13,		/* never a request: pushed by the daemon */
	PROTOCOL_LOCKS = 14,
	PROTOCOL_RECOVER = 15,
	PROTOCOL_PLAN = 16,
	PROTOCOL_UPLOAD = 17,
	PROTOCOL_PLAN_LINES = 18,
	PROTOCOL_RETRY = 19,
	PROTOCOL_ATTACH_MANY = 20,
	PROTOCOL_WHO = 21,
	PROTOCOL_WHO_ROWS = 22,
	PROTOCOL_RETURN = 23,
	PROTOCOL_USERS = 24,
	PROTOCOL_TYPE_N
};

/* Of struct protocol_header. */
#define PROTOCOL_REPLY		UINT16_C(0x0001)	/* set in replies, clear in requests */
#define PROTOCOL_MORE		UINT16_C(0x0002)	/* rows: more follow, ask again with the last row's cursor */
#define PROTOCOL_QUIET		UINT16_C(0x0004)	/* in DETACH: no reply is wanted */
#define PROTOCOL_BRIEF		UINT16_C(0x0010)	/* in HOLDERS: rows that are not looked for in /proc */
#define PROTOCOL_PUSHED		UINT16_C(0x0008)	/* with REPLY: an event, which nobody asked for; its serial is 0 */

struct protocol_header {
	uint32_t size;			/* of the whole message, in bytes */
	uint16_t type;			/* enum protocol_type */
	uint16_t flags;
	uint64_t serial;
	int32_t status;			/* replies: 0 or a negative errno; requests: 0 */
	union {
		uint32_t zero;
		uint32_t row;		/* refusals of ATTACH_MANY: which of its rows, from 1, or 0: none; else 0 */
	};
};
static_assert(sizeof(struct protocol_header) == 24, "wire");

/* HELLO */

struct protocol_hello {
	struct protocol_header header;
	uint32_t magic;			/* PROTOCOL_MAGIC */
	uint32_t version_min;		/* the versions that the client speaks */
	uint32_t version_max;
	uint32_t zero;
	uint64_t features;		/* bits, none so far; unknown ones are ignored */
};
static_assert(sizeof(struct protocol_hello) == 48, "wire");

#define PROTOCOL_FEATURE_RETURN		UINT64_C(0x1)	/* the daemon knows RETURN */

struct protocol_welcome {
	struct protocol_header header;
	uint32_t version;		/* the one that is spoken from here on */
	uint32_t zero;
	uint64_t features;		/* PROTOCOL_FEATURE_*; unknown ones are ignored */
	uint64_t session;		/* its number, as `segmentctl clients` shows it */
	char release[32];		/* the daemon's, as in "0.1.0" */
};
static_assert(sizeof(struct protocol_welcome) == 80, "wire");

/* ATTACH and CREATE */

#define PROTOCOL_ACCESS_READ	UINT32_C(0x1)
#define PROTOCOL_ACCESS_WRITE	UINT32_C(0x2)	/* with READ: a writable mapping is readable */

#define PROTOCOL_ATTACH_OWNED	UINT32_C(0x1)	/* only a segment that is one's own uid's or root's */

struct protocol_attach {
	struct protocol_header header;
	uint32_t access;		/* PROTOCOL_ACCESS_* */
	uint32_t flags;			/* PROTOCOL_ATTACH_* */
	uint64_t generation;		/* the one that is wanted, or 0 for any; another: -ESTALE */
	char name[PROTOCOL_NAME_SIZE];
	char layout[PROTOCOL_NAME_SIZE];	/* empty: any */
};
static_assert(sizeof(struct protocol_attach) == 312, "wire");

/* What ATTACH says after its header. */
struct protocol_attach_row {
	uint32_t access;
	uint32_t flags;
	uint64_t generation;
	char name[PROTOCOL_NAME_SIZE];
	char layout[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_attach_row) == 288, "wire");
static_assert(sizeof(struct protocol_header) + offsetof(struct protocol_attach_row, layout) ==
    offsetof(struct protocol_attach, layout), "one row of many is as one alone");

/*
 * ATTACH_MANY: all or none. Either each row is attached, or the refusal's header says which row is in the way, and nothing
 * has happened. -EAGAIN, since a segment is being provisioned, is the answer only where no row is refused for good.
 */
struct protocol_attach_many {
	struct protocol_header header;
	uint32_t n_rows;		/* 1 to PROTOCOL_ATTACH_ROWS */
	uint32_t zero;
	/* rows follow */
};
static_assert(sizeof(struct protocol_attach_many) == 32, "wire");
static_assert(sizeof(struct protocol_attach_many) + PROTOCOL_ATTACH_ROWS * sizeof(struct protocol_attach_row) <=
    PROTOCOL_REQUEST_MAX, "all rows fit into a request");

struct protocol_create {
	struct protocol_header header;
	uint64_t size_bytes;
	uint32_t flags;			/* none so far */
	uint32_t zero;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_create) == 176, "wire");

/*
 * An attachment's mark: an OFD read lock on this byte + its id, of data's open file description that the attachment was
 * given. As long as a descriptor or a mapping of it is left in any process, F_OFD_GETLK of another description finds it.
 */
#define PROTOCOL_MARK_BASE	(INT64_C(1) << 40)	/* far past every size that could be mapped with sense */

#define PROTOCOL_ATTACHED_DONTDUMP	UINT32_C(0x1)	/* the mapping is to stay out of core dumps */
#define PROTOCOL_ATTACHED_SHM		UINT32_C(0x2)	/* data is System V memory */
#define PROTOCOL_ATTACHED_FILE		UINT32_C(0x4)	/* data is a file: it can be written to the disk */

/*
 * The reply to ATTACH and CREATE; data's fd comes with it. The segment is provisioned already: otherwise ATTACH is answered with
 * -EAGAIN (WAIT says when). CREATE is answered when the segment is ready, and holds up later requests of its session
 * until then, as WAIT does.
 * map_bytes is what to map (the object's size, which never changes), size_bytes what is provisioned of it now.
 *
 * With SHM data is attached by shm_id, as shmat(2) does, where the client is in the daemon's IPC namespace, and its fd is that
 * of a page that stands in for it, for the mark. It is to be mapped, without any access, for as long as data is attached.
 *
 * With locks (n_locks > 0) a second fd is control memory, control_bytes of it (client/control.h), writable where data is;
 * and n_locks rows of struct protocol_lock follow the struct, all of them or, where they do not fit into a message, none
 * and PROTOCOL_MORE: LOCKS has them.
 */
struct protocol_attached {
	struct protocol_header header;
	uint64_t generation;
	uint64_t size_bytes;
	uint64_t map_bytes;
	uint64_t alignment_bytes;	/* the mapping's address: a multiple of this, for huge pages */
	uint32_t attachment;		/* its id */
	uint32_t access;
	uint32_t flags;			/* PROTOCOL_ATTACHED_* */
	uint32_t n_locks;
	uint64_t control_bytes;		/* what to map of control */
	uint64_t ipc_namespace;		/* the inode of the daemon's, or 0: not known; without SHM 0 */
	int32_t shm_id;			/* without SHM 0 */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_attached) == 96, "wire");

/*
 * The reply to ATTACH_MANY: for each row, in their order, what ATTACH would have been answered: a struct protocol_attached,
 * whose header has the size of it with its rows of locks, and its own PROTOCOL_MORE. The fds come in the same order.
 */
struct protocol_attached_many {
	struct protocol_header header;
	uint32_t n_rows;
	uint32_t n_fds;
	/* the answers follow */
};
static_assert(sizeof(struct protocol_attached_many) == 32, "wire");
static_assert(sizeof(struct protocol_attached_many) + PROTOCOL_ATTACH_ROWS * sizeof(struct protocol_attached) <=
    PROTOCOL_MESSAGE_MAX, "all answers fit into a message");

/*
 * RETURN: an attachment of a connection that is gone, as the daemon knows it still, or one before it did: it is this session's from
 * now on, if this is the process that it was handed out to. Where the memory was lost with a daemon, the reply wants it: it comes
 * back with a RETURN for each, with DATA or CONTROL and one fd of it, if the kernel says that it is the same object. -ESTALE: there
 * is no such attachment any more, or the memory is another.
 */
#define PROTOCOL_RETURN_DATA	UINT32_C(0x1)
#define PROTOCOL_RETURN_CONTROL	UINT32_C(0x2)	/* that of its locks */

struct protocol_return {
	struct protocol_header header;
	uint64_t generation;
	uint32_t attachment;
	uint32_t flags;			/* one PROTOCOL_RETURN_*: its fd comes with the message; or 0 */
};
static_assert(sizeof(struct protocol_return) == 40, "wire");

struct protocol_returned {
	struct protocol_header header;
	uint32_t wants;			/* 0: the attachment is the session's; PROTOCOL_RETURN_*: these are still missing */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_returned) == 32, "wire");

/*
 * DETACH: answered with a header, or with PROTOCOL_QUIET not at all; what the same session asks next finds it done. The
 * kernel has the last word: what is still mapped stays attached.
 */

struct protocol_detach {
	struct protocol_header header;
	uint32_t attachment;
	uint32_t zero;
	uint64_t generation;
};
static_assert(sizeof(struct protocol_detach) == 40, "wire");

/* REMOVE: answered with a header once the segment drains, or with NOW once its name is gone. */

#define PROTOCOL_REMOVE_NOW	UINT32_C(0x1)

struct protocol_remove {
	struct protocol_header header;
	uint32_t flags;
	uint32_t zero;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_remove) == 168, "wire");

/*
 * RECOVER: frees poisoned locks. By writers of the segment and administrators. Their logs are rolled back; with KEEP their
 * bytes stay as they are. -ENOENT: no such segment. -ESRCH: no such lock of it. -EALREADY: none is poisoned.
 */
#define PROTOCOL_RECOVER_KEEP	UINT32_C(0x1)

struct protocol_recover {
	struct protocol_header header;
	uint32_t flags;
	uint32_t zero;
	char name[PROTOCOL_NAME_SIZE];
	char lock[PROTOCOL_NAME_SIZE];	/* empty: all of the segment's */
};
static_assert(sizeof(struct protocol_recover) == 304, "wire");

struct protocol_recovered {
	struct protocol_header header;
	uint32_t n_locks;		/* that are free now, or will be when a worker has restored their bytes */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_recovered) == 32, "wire");

/*
 * WAIT: answered when the segment is neither declared nor being provisioned; or, unless progress is PROTOCOL_WAIT_STATE,
 * when at least a hundredth of total has been provisioned beyond progress. -ENOENT: no such segment, or it went away.
 */
#define PROTOCOL_WAIT_STATE	UINT64_MAX

struct protocol_wait {
	struct protocol_header header;
	uint64_t progress_bytes;	/* what the client has seen */
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_wait) == 168, "wire");

struct protocol_waited {
	struct protocol_header header;
	uint64_t progress_bytes;
	uint64_t total_bytes;
	uint32_t state;			/* enum protocol_state */
	uint32_t reason_len;		/* as in struct protocol_shown; the text follows */
};
static_assert(sizeof(struct protocol_waited) == 48, "wire");

/*
 * PLAN: what a reload of the configuration would do, or with RELOAD what it did; by administrators. It is answered when all is
 * judged, or carried out. What is being provisioned then, or waits for clients, goes on by itself. The lines are kept for this
 * session until its next PLAN; PLAN_LINES has them.
 */
#define PROTOCOL_PLAN_RELOAD	UINT32_C(0x1)	/* carry it out */
#define PROTOCOL_PLAN_UPLOADED	UINT32_C(0x2)	/* judge what this session has uploaded; not with RELOAD */

struct protocol_plan {
	struct protocol_header header;
	uint32_t flags;			/* PROTOCOL_PLAN_* */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_plan) == 32, "wire");

enum protocol_plan_action {
	PROTOCOL_PLAN_PROBLEM = 0,	/* the configuration is not valid, and nothing was judged: a line a problem */
	PROTOCOL_PLAN_ADDED = 1,
	PROTOCOL_PLAN_KEPT = 2,		/* as it is; a line where something that waited is taken back, or it has failed */
	PROTOCOL_PLAN_CHANGED = 3,	/* at once */
	PROTOCOL_PLAN_GROWN = 4,	/* in place */
	PROTOCOL_PLAN_REPLACED = 5,	/* made anew at once: nobody holds it */
	PROTOCOL_PLAN_WAITS = 6,	/* made anew once nobody holds it any more */
	PROTOCOL_PLAN_REMOVED = 7,	/* once nobody holds it any more */
	PROTOCOL_PLAN_REFUSED = 8,	/* stays whole as it is */
	PROTOCOL_PLAN_ACTION_N
};

#define PROTOCOL_PLAN_COUNTS	16

struct protocol_planned {
	struct protocol_header header;
	uint32_t n_lines;
	uint32_t zero;
	uint32_t counts[PROTOCOL_PLAN_COUNTS];	/* by enum protocol_plan_action; of KEPT with those that have no line */
};
static_assert(sizeof(struct protocol_planned) == 96, "wire");

/*
 * PLAN_LINES: the lines of this session's last PLAN, in pages; the reply is a struct protocol_listed with a row_size of 0: each
 * row says its own.
 */
struct protocol_plan_lines {
	struct protocol_header header;
	uint64_t cursor;
};
static_assert(sizeof(struct protocol_plan_lines) == 32, "wire");

enum protocol_plan_subject {
	PROTOCOL_PLAN_SEGMENT = 0,
	PROTOCOL_PLAN_TEMPLATE = 1,
	PROTOCOL_PLAN_DAEMON = 2,	/* name is empty */
	PROTOCOL_PLAN_FILE = 3,		/* a problem; the text says of which file. name is empty */
	PROTOCOL_PLAN_ORPHANS = 4,	/* a rule; the text says which. name is empty */
	PROTOCOL_PLAN_SUBJECT_N
};

#define PROTOCOL_PLAN_PIDS	8

struct protocol_plan_line {
	uint64_t cursor;
	uint32_t size;			/* of the row with its text; a multiple of 8 */
	uint32_t text_len;		/* of the text that follows, its NUL included */
	uint8_t action;			/* enum protocol_plan_action */
	uint8_t subject;		/* enum protocol_plan_subject */
	uint8_t n_pids;
	uint8_t zero;
	uint32_t n_waiting;		/* attachments that have to end first */
	int32_t pids[PROTOCOL_PLAN_PIDS];	/* whose they are: the first n_pids processes */
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_plan_line) == 192, "wire");

/*
 * UPLOAD: configuration files for a PLAN with UPLOADED, piece by piece, in the order in which they are to be read; by
 * administrators. Kept until the session ends, or begins anew.
 */
#define PROTOCOL_UPLOAD_BEGIN	UINT32_C(0x1)	/* what was uploaded before is dropped; with NAME */
#define PROTOCOL_UPLOAD_NAME	UINT32_C(0x2)	/* bytes is the name of another file, whole; else the next piece of contents */
#define PROTOCOL_UPLOAD_BYTES	960

struct protocol_upload {
	struct protocol_header header;
	uint32_t flags;			/* PROTOCOL_UPLOAD_* */
	uint32_t length;		/* of bytes; they are zero behind it */
	char bytes[PROTOCOL_UPLOAD_BYTES];
};
static_assert(sizeof(struct protocol_upload) == 992, "wire");

/* RETRY: a segment that failed is provisioned again; by administrators. -EINVAL: it has not failed. */
struct protocol_retry {
	struct protocol_header header;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_retry) == 160, "wire");

/* METRICS: a header alone; the reply is a header and an OpenMetrics text that ends with a NUL. */

#include "client/protocol-rows.h"

#endif
