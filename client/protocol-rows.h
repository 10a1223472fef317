/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The wire's other half: what the daemon tells, in rows that a client asks for page by page, and in events. client/protocol.h
 * has the rules and the requests that do something, and ends with this.
 */
#ifndef CLIENT_PROTOCOL_ROWS_H
#define CLIENT_PROTOCOL_ROWS_H

#include "client/protocol.h"

/* LIST, SHOW: a segment as a row. */

enum protocol_state {
	PROTOCOL_DECLARED = 0,
	PROTOCOL_PROVISIONING = 1,
	PROTOCOL_READY = 2,
	PROTOCOL_DRAINING = 3,
	PROTOCOL_GONE = 4,
	PROTOCOL_FAILED = 5,
	PROTOCOL_STATE_N
};

struct protocol_segment {
	uint64_t cursor;		/* its place in the order of making */
	uint64_t generation;
	uint64_t size_bytes;
	uint64_t max_size_bytes;
	uint64_t resident_bytes;	/* in memory now, by the kernel's count */
	uint64_t locked_bytes;
	uint64_t huge_bytes;		/* mapped by huge pages when it was provisioned, by the kernel's count */
	uint64_t progress_bytes;	/* provisioned so far */
	uint64_t total_bytes;		/* to be provisioned: progress ends here */
	uint64_t recoveries;
	uint32_t readers;		/* attachments, those without a session included */
	uint32_t writers;
	uint32_t unsupervised;		/* of them: without a session, kept by the kernel's word */
	uint32_t owner;
	uint32_t group;
	uint16_t mode;
	uint8_t state;			/* enum protocol_state */
	uint8_t backend;		/* the configuration's order: memfd, posix, sysv, file */
	uint8_t page_size_asked;	/* the configuration's order: auto, base, transparent, 2MiB, 1GiB */
	uint8_t lifetime;		/* persistent, attached */
	uint8_t flags;			/* PROTOCOL_SEGMENT_* */
	uint8_t numa;			/* as asked, the configuration's order: any, local, bind, interleave, preferred */
	uint16_t others;		/* have it besides, by a key or a name; without COUNTED 1: some, told while no client has it */
	uint8_t page_shift;		/* of its hugetlb pool's pages: the logarithm of their size in bytes; 0: of none */
	uint8_t differs;		/* PROTOCOL_DIFFERS_* */
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_segment) == 248, "wire");

/* What is had otherwise than it was asked for, now and by the kernel's word; SHOW's reason says more where there is more. */
#define PROTOCOL_DIFFERS_RESIDENT	UINT8_C(0x1)	/* some of it is not in memory */
#define PROTOCOL_DIFFERS_LOCKED		UINT8_C(0x2)
#define PROTOCOL_DIFFERS_PAGES		UINT8_C(0x4)
#define PROTOCOL_DIFFERS_NODES		UINT8_C(0x8)

#define PROTOCOL_SEGMENT_CREATED	UINT8_C(0x1)	/* from a template */
#define PROTOCOL_SEGMENT_REQUIRED	UINT8_C(0x2)
#define PROTOCOL_SEGMENT_DEGRADED	UINT8_C(0x4)	/* not all was had that was asked for: SHOW says what */
#define PROTOCOL_SEGMENT_POISONED	UINT8_C(0x8)	/* a lock of it was found poisoned: LOCKS says which */
#define PROTOCOL_SEGMENT_FOLLOWED	UINT8_C(0x10)	/* is made anew as it is declared now, once nobody holds it */
#define PROTOCOL_SEGMENT_UNSEALED	UINT8_C(0x20)	/* whoever writes it can cut it short */
#define PROTOCOL_SEGMENT_COUNTED	UINT8_C(0x40)	/* the kernel counts who has it: others is exact */

struct protocol_list {
	struct protocol_header header;
	uint64_t cursor;		/* rows after this one; 0: from the first */
};
static_assert(sizeof(struct protocol_list) == 32, "wire");

/* The reply: PROTOCOL_MORE when there are more than fit. */
struct protocol_listed {
	struct protocol_header header;
	uint32_t n_rows;
	uint32_t row_size;		/* of one row, in bytes: a later version may append to it */
	/* rows follow */
};
static_assert(sizeof(struct protocol_listed) == 32, "wire");

struct protocol_show {
	struct protocol_header header;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_show) == 160, "wire");

/*
 * The reply: three texts follow, each ended by a NUL that its length counts. reason: why it failed, or what it has not as
 * asked, or what it waits for; empty if nothing. keys: a line a key of the definition, its columns separated by tabs:
 * key, value as written in a file, "default" or "set", "live", "drained" or "never". nodes, up to the message's end: a line a
 * node that has some of its data, with the node's number, a tab, and bytes when they were made, by the kernel's count.
 */
struct protocol_shown {
	struct protocol_header header;
	struct protocol_segment segment;
	uint32_t reason_len;
	uint32_t keys_len;
	uint64_t synced_ns;		/* of a file, since 1970: all that was stored until then is on the disk; 0: none was written yet */
	uint64_t dirty_bytes;		/* likewise: not written yet, by the kernel's count; UINT64_MAX: it does not tell */
	uint32_t file_flags;		/* PROTOCOL_SHOWN_*; 0: it is no file, or not ready */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_shown) == 304, "wire");

#define PROTOCOL_SHOWN_FILE	UINT32_C(0x1)
#define PROTOCOL_SHOWN_DIRTY	UINT32_C(0x2)	/* somebody could have stored to it since synced_ns */

/*
 * HOLDERS: a row an attachment of one segment; the reply is a struct protocol_listed with these rows. With PROTOCOL_BRIEF they end
 * ahead of the command, which with the rest takes looks in /proc for each: then a message has PROTOCOL_BRIEF_ROWS of them, in a hundredth of
 * the time.
 */

struct protocol_holders {
	struct protocol_header header;
	uint64_t cursor;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_holders) == 168, "wire");

#define PROTOCOL_HOLDER_UNSUPERVISED	UINT32_C(0x1)	/* its session is gone, or gave it back; memory is still mapped */
#define PROTOCOL_HOLDER_UNMARKED	UINT32_C(0x2)	/* counted by its session: somebody disturbs the kernel's marks */
#define PROTOCOL_HOLDER_LIVES		UINT32_C(0x4)	/* the process with this pid is the one that attached; not told in brief */

struct protocol_holder {
	uint64_t cursor;
	uint64_t session;		/* 0: none */
	uint64_t since_ns;		/* since 1970 */
	uint32_t attachment;
	uint32_t access;
	uint32_t flags;			/* PROTOCOL_HOLDER_* */
	uint32_t uid;
	int32_t pid;			/* of who attached; 0 where its pid namespace hides it */
	uint32_t zero;
	char command[32];		/* empty where that process is gone; so are these */
	char cgroup[192];
	char container[80];		/* empty: none that is known */
};
static_assert(sizeof(struct protocol_holder) == 352, "wire");

#define PROTOCOL_BRIEF_SIZE	offsetof(struct protocol_holder, command)
#define PROTOCOL_BRIEF_ROWS	((PROTOCOL_MESSAGE_MAX - sizeof(struct protocol_listed)) / PROTOCOL_BRIEF_SIZE)

/*
 * WHO: which processes have a segment's memory by what /proc says of them, whether or not they ever heard of us. It is answered
 * when segmentd-audit has looked; the rows are kept for this session until it has had the last of them, or asks again. WHO_ROWS
 * has them: a struct protocol_listed with a struct protocol_process each. The daemon's own processes are left out.
 */
struct protocol_who {
	struct protocol_header header;
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_who) == 160, "wire");

#define PROTOCOL_TOLD_FAILED		UINT32_C(0x1)	/* nobody could be asked: the text says why */
#define PROTOCOL_TOLD_INCOMPLETE	UINT32_C(0x2)	/* there was no time, or no room, for all */
#define PROTOCOL_TOLD_OWN_RIGHTS	UINT32_C(0x4)	/* it was looked with no more rights than the daemon has */
#define PROTOCOL_TOLD_OTHER_PIDS	UINT32_C(0x8)	/* pids are of another pid namespace than HOLDERS' */

struct protocol_told {
	struct protocol_header header;
	uint64_t looked_ns;		/* since 1970: who has come since may be missing */
	uint64_t generation;		/* of the segment then; 0: it had no memory */
	uint64_t counted;		/* mappings by the kernel's own count, but for the daemon's; PROTOCOL_TOLD_UNCOUNTED */
	uint64_t pid_namespace;		/* the inode of the daemon's, or 0: not known; likewise */
	uint64_t ipc_namespace;
	uint32_t flags;			/* PROTOCOL_TOLD_* */
	uint32_t n_rows;
	uint32_t n_seen;		/* processes that were looked into, of the whole host */
	uint32_t n_hidden;		/* processes that must not be looked into: what they have is unknown */
	uint32_t n_unseen;		/* holders by the kernel's word that no process shows; where it keeps no count 1 for some */
	uint32_t n_objects;		/* that follow: what was looked for, struct protocol_object */
	uint32_t n_pids;		/* that follow those: processes of the daemon's own, 32 bits each */
	uint32_t text_len;		/* of the text behind them, its NUL included: what would show more, or why it failed */
};
static_assert(sizeof(struct protocol_told) == 96, "wire");

#define PROTOCOL_TOLD_UNCOUNTED		UINT64_MAX

enum protocol_object_kind {
	PROTOCOL_OBJECT_DATA = 0,
	PROTOCOL_OBJECT_CONTROL = 1,	/* the locks' memory */
	PROTOCOL_OBJECT_STAND_IN = 2,	/* System V: the page that attachments are marked by */
};

/* By which it is known to the kernel: for who may look into processes that the daemon may not. */
struct protocol_object {
	uint64_t device;		/* as stat(2) says it */
	uint64_t inode;
	int32_t shm_id;			/* System V; device and inode are 0 then. Else -1 */
	uint32_t kind;			/* enum protocol_object_kind */
};
static_assert(sizeof(struct protocol_object) == 24, "wire");

struct protocol_who_rows {
	struct protocol_header header;
	uint64_t cursor;
};
static_assert(sizeof(struct protocol_who_rows) == 32, "wire");

#define PROTOCOL_HAS_MAP_READ		UINT32_C(0x1)	/* its data is mapped */
#define PROTOCOL_HAS_MAP_WRITE		UINT32_C(0x2)
#define PROTOCOL_HAS_FD_READ		UINT32_C(0x4)	/* or open */
#define PROTOCOL_HAS_FD_WRITE		UINT32_C(0x8)
#define PROTOCOL_HAS_FD_PATH		UINT32_C(0x10)	/* by O_PATH alone, which holds nothing */
#define PROTOCOL_HAS_PID_NAMESPACE	UINT32_C(0x20)	/* the process is in another pid namespace */
#define PROTOCOL_HAS_IPC_NAMESPACE	UINT32_C(0x40)	/* and IPC namespace: what it has may be others' memory with this id */
#define PROTOCOL_HAS_STOPPED		UINT32_C(0x80)	/* it does not run */
#define PROTOCOL_HAS_CONTROL		UINT32_C(0x100)	/* it has the locks' memory */
#define PROTOCOL_HAS_STAND_IN		UINT32_C(0x200)	/* System V: it has the page that its attachment is marked by */

struct protocol_process {
	uint64_t cursor;		/* its place, from 1 */
	uint64_t started_ns;		/* since 1970 */
	uint64_t mapped_bytes;		/* of data */
	int32_t pid;
	uint32_t uid;
	uint32_t how;			/* PROTOCOL_HAS_* */
	uint32_t n_maps;		/* of data */
	uint32_t n_fds;
	int32_t inner_pid;		/* in its own pid namespace; 0: not known */
	char command[64];
	char cgroup[192];
	char container[80];		/* empty: none that is known */
};
static_assert(sizeof(struct protocol_process) == 384, "wire");

/* CLIENTS: a row a session; one's own, all for administrators. */

struct protocol_clients {
	struct protocol_header header;
	uint64_t cursor;
};
static_assert(sizeof(struct protocol_clients) == 32, "wire");

struct protocol_client {
	uint64_t cursor;		/* the session's number */
	uint64_t since_ns;
	uint64_t requests;
	uint32_t uid;
	uint32_t gid;
	int32_t pid;
	uint32_t attachments;
	char command[32];		/* empty where that process is gone, or hidden by its pid namespace; so are these */
	char cgroup[192];
	char container[80];		/* empty: none that is known */
};
static_assert(sizeof(struct protocol_client) == 344, "wire");

/*
 * USERS: a row a uid that makes the daemon hold anything, with how much of each kind, and how much it may. For administrators all
 * of them, and behind them a row of all together; for others their own, without what there is for all.
 */

struct protocol_users {
	struct protocol_header header;
	uint64_t cursor;
};
static_assert(sizeof(struct protocol_users) == 32, "wire");

/* What is charged to a uid; segmentd-security(7) says more of each. */
enum protocol_charged {
	PROTOCOL_CHARGED_CLIENTS = 0,		/* sessions, and connections that have ended and are not read away yet */
	PROTOCOL_CHARGED_ATTACHMENTS = 1,
	PROTOCOL_CHARGED_SUBSCRIPTIONS = 2,
	PROTOCOL_CHARGED_ALL_EVENTS = 3,	/* of them, those to all events: each costs every event a look */
	PROTOCOL_CHARGED_SEGMENTS = 4,		/* that it created */
	PROTOCOL_CHARGED_BYTES = 5,		/* of them */
	PROTOCOL_CHARGED_DESCRIPTORS = 6,	/* of the daemon's, for what is the uid's */
	PROTOCOL_CHARGED_IN_FLIGHT = 7,		/* descriptors that were sent to it and that it has not read */
	PROTOCOL_CHARGED_UNREAD = 8,		/* bytes that were sent to it, likewise, beyond a little for each connection */
	PROTOCOL_CHARGED_MEMORY = 9,		/* bytes of the daemon's that are kept for it, beyond a little for each thing */
	PROTOCOL_CHARGED_ENDED = 10,		/* connections that have ended with descriptors in their queue */
	PROTOCOL_CHARGED_DEATHS = 11,		/* processes whose end is awaited, and told to others */
	PROTOCOL_CHARGED_ENDS = 12,		/* attachments that have ended, kept for that */
	PROTOCOL_CHARGED_N
};

#define PROTOCOL_CHARGES_MAX	16		/* kinds that a row has room for */
#define PROTOCOL_UNLIMITED	UINT64_MAX

struct protocol_charge {
	uint64_t used;
	uint64_t limit;			/* of each uid; of all together: of all. PROTOCOL_UNLIMITED: there is none */
	uint64_t share;			/* that it may have now of what there is for all, with what it has; likewise, or not told */
};
static_assert(sizeof(struct protocol_charge) == 24, "wire");

#define PROTOCOL_USER_ALL	UINT32_C(0x1)	/* all together: it is no uid's row */

struct protocol_user {
	uint64_t cursor;
	uint32_t uid;			/* of all together 0 */
	uint32_t flags;			/* PROTOCOL_USER_* */
	uint32_t n_charges;		/* that the daemon knows: those behind them are zero */
	uint32_t zero;
	struct protocol_charge charges[PROTOCOL_CHARGES_MAX];	/* by enum protocol_charged */
};
static_assert(sizeof(struct protocol_user) == 408, "wire");

/*
 * LOCKS: a row an entry of a segment's `locks`, in the configuration's order; the reply is a struct protocol_listed with
 * these rows. A row's cursor is its index + 1.
 */

enum protocol_lock_kind {
	PROTOCOL_LOCK_OURS = 0,		/* in control memory */
	PROTOCOL_LOCK_MUTEX = 1,	/* an application's pthread_mutex_t in data */
	PROTOCOL_LOCK_KIND_N
};

struct protocol_locks {
	struct protocol_header header;
	uint64_t cursor;
	uint64_t generation;		/* the one that is wanted, or 0 for any; another: -ESTALE */
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_locks) == 176, "wire");

struct protocol_lock {
	uint64_t cursor;
	uint64_t offset_bytes;		/* in data: what it protects */
	uint64_t length_bytes;
	uint64_t at_bytes;		/* a mutex: where it is in data; ours: where its log is in control */
	uint64_t n_recoveries;		/* by the daemon, since the segment was made */
	uint64_t recovered_ns;		/* the last of them, since 1970; 0: none */
	uint32_t log_bytes;		/* ours: room in its log */
	uint32_t owner;			/* ours: the attachment that has it now, by its word; a mutex: a thread's id */
	int32_t recovered_pid;		/* the last of the dead that it was recovered from; 0: hidden, or none */
	uint8_t kind;			/* enum protocol_lock_kind */
	uint8_t on_death;		/* the configuration's order: rollback, keep, zero, poison */
	uint8_t flags;			/* PROTOCOL_LOCK_* */
	uint8_t reason;			/* a mutex that is not looked after: why, enum protocol_lock_reason */
	char name[PROTOCOL_NAME_SIZE];
};
static_assert(sizeof(struct protocol_lock) == 200, "wire");

#define PROTOCOL_LOCK_POISONED	UINT8_C(0x1)	/* nobody gets it until RECOVER */
#define PROTOCOL_LOCK_DUE	UINT8_C(0x2)	/* its owner died, and its recovery is under way */
#define PROTOCOL_LOCK_STUCK	UINT8_C(0x4)	/* a mutex whose owner seems gone, and that must not be touched */

enum protocol_lock_reason {
	PROTOCOL_LOCK_FINE = 0,
	PROTOCOL_LOCK_UNUSED = 1,	/* all bytes zero: nobody has initialised it yet */
	PROTOCOL_LOCK_NOT_ROBUST = 2,
	PROTOCOL_LOCK_NOT_SHARED = 3,
	PROTOCOL_LOCK_INHERITS = 4,	/* PTHREAD_PRIO_INHERIT or _PROTECT: the kernel's own word format */
	PROTOCOL_LOCK_NAMESPACES = 5,	/* writers of another pid namespace are attached: its thread ids mean nothing here */
	PROTOCOL_LOCK_UNREADABLE = 6,	/* its memory cannot be touched: somebody punched it out */
	PROTOCOL_LOCK_FOREIGN = 7,	/* no mutex of glibc */
	PROTOCOL_LOCK_REASON_N
};

/*
 * SUBSCRIBE: from its reply (a header) on, EVENT messages are pushed on this connection, which gets no fds any more: ATTACH
 * and CREATE are refused with -EBUSY until it has unsubscribed. So it is a second connection of its process.
 *
 * With ON alone, session is another session of the same process (in doubt it is none: before Linux 6.9 that is so where a
 * pid namespace hides the process from the daemon), and what it is attached to is told of; also when any segment that it
 * may attach becomes ready or fails. It has one subscriber at most: a new one takes the old one's place. A
 * connection is hung up when the session that it named has ended or was taken over. With ALL, everything about each segment
 * that it may attach is told; session is 0. No flags: events end; session is 0.
 */
#define PROTOCOL_SUBSCRIBE_ON	UINT32_C(0x1)
#define PROTOCOL_SUBSCRIBE_ALL	UINT32_C(0x2)	/* with ON */

struct protocol_subscribe {
	struct protocol_header header;
	uint32_t flags;			/* PROTOCOL_SUBSCRIBE_* */
	uint32_t zero;
	uint64_t session;		/* welcome.session of the other connection */
};
static_assert(sizeof(struct protocol_subscribe) == 40, "wire");

/*
 * EVENT: bounded for each subscriber. What one that does not read cannot be sent is lost to it; the next event says how many
 * were lost before it, and where there is none, LOST does when the peer has read.
 */
enum protocol_event_kind {
	PROTOCOL_EVENT_LOST = 0,	/* nothing but the count of those that were lost */
	PROTOCOL_EVENT_ATTACHED = 1,
	PROTOCOL_EVENT_DETACHED = 2,	/* the kernel knows no holder of this attachment any more */
	PROTOCOL_EVENT_DIED = 3,	/* a process that was attached has died */
	PROTOCOL_EVENT_RECOVERED = 4,	/* a lock whose owner died was put right, by whomever */
	PROTOCOL_EVENT_POISONED = 5,
	PROTOCOL_EVENT_READY = 6,
	PROTOCOL_EVENT_FAILED = 7,	/* its provisioning. With a value only its growth to total: it stays as it is, value large */
	PROTOCOL_EVENT_REMOVED = 8,
	PROTOCOL_EVENT_GROWN = 9,
	PROTOCOL_EVENT_DRAINING = 10,
	PROTOCOL_EVENT_PROGRESS = 11,
	PROTOCOL_EVENT_RELOAD = 12,	/* of no segment */
	PROTOCOL_EVENT_UNCLEAN = 13,	/* its contents were in use when the machine went down; SHOW says what became of them */
	PROTOCOL_EVENT_UNSYNCED = 14,	/* what was stored to it could not be written to its file; likewise */
	PROTOCOL_EVENT_ORPHAN = 15,	/* of no segment: a stray object that nobody holds; to its owner and administrators, with ALL */
	PROTOCOL_EVENT_LEFTOVER = 16,	/* an object that an earlier daemon left, by its record; as ORPHAN, and of the segment that had it */
	PROTOCOL_EVENT_N
};

/* ORPHAN's attachment: what was done. */
enum protocol_orphan {
	PROTOCOL_ORPHAN_FOUND = 1,	/* nothing, as the rule says */
	PROTOCOL_ORPHAN_REMOVED = 2,
	PROTOCOL_ORPHAN_KEPT = 3,	/* it could not be removed. LEFTOVER: somebody has it, and it is removed when they are gone */
	PROTOCOL_ORPHAN_TAKEN = 4,	/* LEFTOVER: it is its segment's again, with what is in it */
	PROTOCOL_ORPHAN_N
};

#define PROTOCOL_NOBODY		UINT32_MAX	/* in place of a uid: there is none, or it is not known */

struct protocol_event {
	struct protocol_header header;	/* flags: REPLY and PUSHED; serial and status: 0 */
	uint32_t kind;			/* enum protocol_event_kind */
	int32_t lock;			/* its index, or -1. ORPHAN: the id of a System V segment, or -1 */
	uint64_t generation;		/* of the segment, or 0. ORPHAN: the inode of a POSIX object */
	uint64_t time_ns;		/* since 1970 */
	uint64_t lost;			/* events that were not sent before this one */
	uint32_t attachment;		/* or 0. ORPHAN: enum protocol_orphan */
	int32_t pid;			/* of who acted or died; 0: nobody, or hidden by its pid namespace. ORPHAN: who made it, or 0 */
	char segment[PROTOCOL_NAME_SIZE];	/* or empty */
	char lock_name[PROTOCOL_NAME_SIZE];	/* or empty. ORPHAN: "/NAME", cut to fit; of System V "key 0xKEY" */
	uint64_t value;			/* GROWN: its size now. PROGRESS: what is provisioned so far. ORPHAN: what is in memory. FAILED: see there */
	uint64_t total;			/* PROGRESS: what is to be provisioned. ORPHAN: its size. FAILED: see there. Else 0 */
	uint32_t uid;			/* of who acted or died, or PROTOCOL_NOBODY; of RELOAD that is a signal: SIGHUP. ORPHAN: its owner's */
	uint32_t zero;
};
static_assert(sizeof(struct protocol_event) == 360, "wire");

#endif
