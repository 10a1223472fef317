/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What segmentd-audit is asked and answers: who holds an object, which System V and POSIX objects nobody holds, and the removal of
 * those. It is a program of its own, since it needs rights that the daemon has not: it looks into other users' processes and
 * removes other users' objects. It does with what rights it has, and says what it could not see.
 *
 * Its standard input is a SOCK_SEQPACKET connection: of systemd's socket with Accept=yes, or one end of a pair of whoever started
 * it. One question at a time; the answer is one message or more, of rows of one size, the last one without AUDIT_MORE. It ends
 * when the connection does, and kills itself when a question takes longer than it may.
 */
#ifndef HOST_AUDIT_H
#define HOST_AUDIT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AUDIT_SOCKET		"/run/segmentd-audit.sock"	/* systemd's, where it looks after one */
#define AUDIT_VERSION		1
#define AUDIT_MESSAGE_BYTES	65536
#define AUDIT_NAME_SIZE		256		/* of a POSIX object, without the slash, with the NUL */
#define AUDIT_COMMAND_SIZE	64
#define AUDIT_CGROUP_SIZE	192
#define AUDIT_CONTAINER_SIZE	80
#define AUDIT_TEXT_SIZE		512
#define AUDIT_SECONDS		10		/* of a question, until the program ends itself */
#define AUDIT_QUARANTINES	"/dev/shm/.segmentd-quarantine-*"	/* to tell people where what a removal has begun waits */

enum audit_kind {
	AUDIT_WHO = 1,			/* audit_object rows -> audit_holder rows: all processes that map or have open one of them */
	AUDIT_LIST,			/* no rows -> audit_stray rows: all objects of this host's /dev/shm and IPC namespace, and in quarantine */
	AUDIT_JUDGE,			/* audit_candidate rows -> an audit_stray row for each, in their order */
};

enum audit_what {
	AUDIT_POSIX = 1,		/* a regular file of /dev/shm, named semaphores included */
	AUDIT_SYSV,
};

/* An object, for AUDIT_WHO. */
struct audit_object {
	uint64_t device;		/* as stat(2) says it */
	uint64_t inode;
	int32_t shm_id;			/* System V; device and inode are 0 then. Else -1 */
	uint32_t zero;
};
static_assert(sizeof(struct audit_object) == 24, "audit_object");

#define AUDIT_CANDIDATE_REMOVE	0x1u	/* else it is only judged */

/* An object that is to be judged, as it was when it was last looked at: if it is another one now, that is the answer. */
struct audit_candidate {
	uint32_t what;			/* enum audit_what */
	uint32_t flags;			/* AUDIT_CANDIDATE_* */
	uint64_t device;		/* POSIX */
	uint64_t inode;
	int32_t shm_id;			/* System V; else -1 */
	uint32_t key;			/* System V; and its times, in seconds since 1970, and creator */
	int64_t attached_s;
	int64_t detached_s;
	int64_t changed_s;
	uint32_t creator;
	uint32_t zero;
	char name[AUDIT_NAME_SIZE];	/* POSIX; ends with a NUL */
};
static_assert(sizeof(struct audit_candidate) == 64 + AUDIT_NAME_SIZE, "audit_candidate");

#define AUDIT_QUESTION_POSIX	0x1u	/* AUDIT_LIST: which objects */
#define AUDIT_QUESTION_SYSV	0x2u

struct audit_question {
	uint32_t version;
	uint32_t kind;			/* enum audit_kind */
	uint64_t serial;		/* comes back in each message of the answer */
	uint32_t flags;			/* AUDIT_QUESTION_* */
	uint32_t n_rows;		/* behind it, as many as the message has room for */
};
static_assert(sizeof(struct audit_question) == 24, "audit_question");

#define AUDIT_MORE		0x1u	/* another message of this answer follows */
#define AUDIT_INCOMPLETE	0x2u	/* time, memory or descriptors were short: there may be more that were not looked at */
#define AUDIT_UNSETTLED		0x4u	/* AUDIT_LIST, AUDIT_JUDGE: what a removal has begun waits in quarantine for the next question */

struct audit_answer {
	uint32_t version;
	uint32_t kind;
	uint64_t serial;
	uint32_t flags;
	int32_t result;			/* 0, or the negative errno with which the whole question failed; text says why */
	uint32_t n_rows;		/* behind it in this message */
	uint32_t row_size;
	uint32_t n_seen;		/* the last message's: processes or objects that were looked at */
	uint32_t n_hidden;		/* and those that this program has no right to look at */
	char text[AUDIT_TEXT_SIZE];	/* what would show those; or why it failed. Ends with a NUL */
};
static_assert(sizeof(struct audit_answer) == 40 + AUDIT_TEXT_SIZE, "audit_answer");

#define AUDIT_MAPS_READ		0x01u	/* how a process has it: mapped */
#define AUDIT_MAPS_WRITE	0x02u	/* mapped, and may write it */
#define AUDIT_FD_READ		0x04u	/* open */
#define AUDIT_FD_WRITE		0x08u
#define AUDIT_FD_PATH		0x10u	/* open with O_PATH only, which keeps nothing alive */
#define AUDIT_IN_PID_NAMESPACE	0x20u	/* its pid namespace is not ours */
#define AUDIT_IN_IPC_NAMESPACE	0x40u	/* nor its IPC namespace: of System V memory it may be another one with the same id */
#define AUDIT_STOPPED		0x80u	/* it does not run: stopped, traced or frozen */

/* One process and one of the objects. */
struct audit_holder {
	uint32_t object;		/* which of those that were asked for, from 0 */
	int32_t pid;			/* in segmentd-audit's pid namespace */
	uint32_t uid;
	uint32_t how;			/* AUDIT_* */
	uint32_t n_maps;
	uint32_t n_fds;
	uint64_t mapped_bytes;
	uint64_t started_ns;		/* when the process began, since 1970: it cannot have had the object for longer */
	int32_t inner_pid;		/* in its own pid namespace; 0: not known */
	uint32_t zero;
	char command[AUDIT_COMMAND_SIZE];	/* without control characters, as the others are */
	char cgroup[AUDIT_CGROUP_SIZE];
	char container[AUDIT_CONTAINER_SIZE];	/* runtime:id by its cgroup, as in "docker:4f2e..."; "" in none that is known */
};
static_assert(sizeof(struct audit_holder) == 48 + AUDIT_COMMAND_SIZE + AUDIT_CGROUP_SIZE + AUDIT_CONTAINER_SIZE, "audit_holder");

enum audit_verdict {
	AUDIT_HELD = 1,			/* somebody maps it or has it open, by the kernel's word */
	AUDIT_UNHELD,			/* nobody, by the kernel's word */
	AUDIT_UNKNOWN,			/* no right to ask the kernel */
	AUDIT_CHANGED,			/* the candidate is another object by now, or was in use meanwhile */
	AUDIT_GONE,			/* there is none of that name or id */
	AUDIT_UNFIT,			/* no object of the kind: a directory, fifo, socket, symbolic link, or a file of several names */
	AUDIT_REMOVED,			/* nobody held it, and it was removed */
	AUDIT_KEPT,			/* nobody held it, and it could not be removed: error. Of AUDIT_LIST: it waits in quarantine */
};

enum audit_proof {
	AUDIT_BY_NOTHING,
	AUDIT_BY_LEASE,			/* a write lease was granted, or refused */
	AUDIT_BY_OPEN,			/* somebody else's lease or lock kept us from opening it */
	AUDIT_BY_NATTCH,		/* the kernel's count of attachments */
};

struct audit_stray {
	uint32_t what;			/* enum audit_what */
	uint32_t verdict;		/* enum audit_verdict */
	uint32_t proof;			/* enum audit_proof */
	int32_t error;			/* a negative errno; 0: none */
	uint64_t device;
	uint64_t inode;
	int32_t shm_id;
	uint32_t key;
	uint64_t size_bytes;
	uint64_t resident_bytes;	/* in memory or swap: what its removal gives back */
	uint32_t uid;
	uint32_t gid;
	uint32_t mode;			/* the type bits of stat(2), too, for POSIX */
	uint32_t n_attached;		/* System V */
	int64_t attached_s;		/* System V: last shmat; POSIX: last access. Since 1970; 0: never */
	int64_t detached_s;		/* System V: last shmdt; POSIX: last modification */
	int64_t changed_s;
	int32_t creator;		/* System V: the process that made it, which may be another one by now; else 0 */
	int32_t last;			/* System V: the last that attached or detached; else 0 */
	char name[AUDIT_NAME_SIZE];	/* POSIX: as the directory has it, any byte but NUL and slash; else "" */
};
static_assert(sizeof(struct audit_stray) == 104 + AUDIT_NAME_SIZE, "audit_stray");

/*
 * A connection to segmentd-audit: to its socket, where there is one that lets us in (NULL: there is none), else to a program of
 * our own with our own rights, which dies with the calling thread. Never blocks. SEGMENTD_AUDIT in the environment names another
 * program, and no socket is asked then. *ret_pid: the program's process, to be reaped, which ends when the connection does; 0: it
 * is systemd's. The descriptor, non-blocking and close-on-exec, or a negative errno: of starting the program.
 */
int audit_open(const char *socket, pid_t *ret_pid);

/*
 * Hangs up, and reaps the program, if it is one of our own: it ends by itself then, and is killed if it does not within a second.
 * For who may wait that long.
 */
void audit_close(int fd, pid_t pid);

/*
 * Whether `size` bytes are a well-formed message of the answer to the question: sizes, counts, values that are known, names that
 * can be one, and all texts ended. A message without rows is an answer's last. The rows stand right behind its header.
 */
bool audit_is_sound(const void *message, size_t size, const struct audit_question *question);

/*
 * Asks, waits and gives each row to take(), which returns 0 or a negative errno that ends it; to one that is to be judged, in
 * their order. *ret_end: the last message's header, whose result says whether the question failed. 0, or a negative errno: -EPROTO
 * for an answer that is none, -ETIME for none in time, -ECONNRESET if it went away, -EMSGSIZE for more rows than a message has
 * room for. After any but 0 the connection is of no use.
 */
int audit_ask(int fd, const struct audit_question *question, const void *rows, int (*take)(const void *row, void *arg), void *arg,
    struct audit_answer *ret_end);

const char *audit_verdict_name(enum audit_verdict verdict);

#endif
