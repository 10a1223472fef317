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
 * fds travel only from the daemon to the client, only with a good reply to ATTACH, ATTACH_MANY or CREATE. A client must not send a
 * request that returns an fd before it has read the reply to the one before: the daemon waits until it has.
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

struct protocol_welcome {
	struct protocol_header header;
	uint32_t version;		/* the one that is spoken from here on */
	uint32_t zero;
	uint64_t features;
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
 * ahead of the command, which takes a look in /proc for each: then a message has PROTOCOL_BRIEF_ROWS of them, in a hundredth of
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
	char command[32];		/* empty where that process is gone */
};
static_assert(sizeof(struct protocol_holder) == 80, "wire");

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
	char command[32];
};
static_assert(sizeof(struct protocol_client) == 72, "wire");

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
	PROTOCOL_EVENT_N
};

/* ORPHAN's attachment: what was done. */
enum protocol_orphan {
	PROTOCOL_ORPHAN_FOUND = 1,	/* nothing, as the rule says */
	PROTOCOL_ORPHAN_REMOVED = 2,
	PROTOCOL_ORPHAN_KEPT = 3,	/* it could not be removed */
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

#endif
