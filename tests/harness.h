/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the system tests stand on: a real daemon in a directory of its own, real client processes that stop at named
 * points, a connection that may send any bytes, and the kernel's view of both in /proc. For Check's forked tests: a test
 * that ends leaves no process behind, since Check kills its process group.
 *
 * Nothing here sleeps. What waits, waits for an event, at most HARNESS_TIMEOUT_MS of harness_clock_ns(), and then fails the test with the
 * daemon's log. In a client process a failure is printed and ends that process, which fails the test that awaits it.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/base.h"
#include "client/protocol.h"
#include "tests/harness-clock.h"

#define HARNESS_TIMEOUT_MS	30000
#define HARNESS_LEAK_TIMEOUT_MS	20000		/* by then the daemon has given back what it will */
#define HARNESS_TEST_TIMEOUT_S	(harness_is_full() ? 240 : 120)	/* of a test, for tcase_set_timeout; by the clock */
#define HARNESS_STORM_S		3		/* of a storm that is not the full check's */
#define HARNESS_NOBODY		65534		/* a uid that the daemon does not run as; numbers need no database */
#define HARNESS_HANDED_MAX	128		/* descriptors that a manager hands down */
#define HARNESS_EXIT_FAILED	99		/* of a client process that failed */

/* Fails the test, in whatever process of it. */
void harness_fail(const char *format, ...) BASE_PRINTF(1, 2) __attribute__((noreturn));

void harness_fail_at(const char *file, int line, const char *condition, const char *format, ...)
    BASE_PRINTF(4, 5) __attribute__((noreturn));

#define harness_assert(condition, ...) \
	do {								\
		if (!(condition))					\
			harness_fail_at(__FILE__, __LINE__, #condition, __VA_ARGS__); \
	} while (0)

/* Called with the sentence before a test fails in its own process, once: for what else is to be told. NULL: nothing. */
void harness_on_failure(void (*tell)(const char *text));

/*
 * What the test is at, for who wants just that again: told with whatever it fails by, be it a signal or the end of its time. It counts
 * until there is another one, or "", which it has to have said when it ends.
 */
void harness_note(const char *format, ...) BASE_PRINTF(1, 2);

/* Ends the test as passed after printing what is missing here. */
void harness_skip(const char *format, ...) BASE_PRINTF(1, 2) __attribute__((noreturn));
void harness_need_root(void);			/* skips unless root */

/* $CHECK_FULL: this is the full check, which may take its time; without it, what everybody runs all day. */
bool harness_is_full(void);

/* $SEGMENTD_TEST_SCALE, 1 by default: how many times longer than a few seconds the long tests are to last. */
unsigned harness_scale(void);

/* How long a storm is to last; says so where a full check's would be longer. */
unsigned harness_storm_seconds(unsigned full);
bool harness_has_sanitizers(void);

/* The main of a suite's program. */
int harness_run(Suite *suite);

/* The daemon. */

struct harness_daemon {
	char dir[64];			/* holds everything else; removed at the end */
	char config[96];
	char socket[96];
	char state[96];
	char log[96];
	char notify[96];
	char audit[96];			/* the socket of segmentd-audit, where one is served */
	pid_t audit_pid;		/* who starts one for each connection; 0: nobody */
	void (*before_audit)(void *arg);	/* in that new process; or NULL */
	void *before_audit_arg;
	const char *program;		/* NULL: the daemon of the build tree */
	void (*before_exec)(void *arg);	/* in the new process; or NULL */
	void *before_exec_arg;
	bool is_managed;		/* harness_manager.h: the manager has the notify socket, and hands these down */
	unsigned n_handed;
	const int *handed;
	const char *handed_names;
	pid_t pid;			/* 0: not running */
	int pidfd;
	int notify_fd;
	char status[512];		/* the last STATUS= */
	unsigned n_status, n_extended;	/* how often STATUS= and EXTEND_TIMEOUT_USEC= were heard */
};

#define HARNESS_DAEMON_NULL	{ .pidfd = -1, .notify_fd = -1 }

/*
 * Makes a fresh directory with a configuration: its daemon group has socket, state_dir and audit_socket there and the
 * daemon_keys given; no admin_group, and await_returns = "0s", unless they name them. body follows it.
 */
void harness_daemon_prepare(struct harness_daemon *daemon, const char *daemon_keys, const char *body);
void harness_daemon_configure(struct harness_daemon *daemon, const char *daemon_keys, const char *body);
/* The segmentd-audit of the build tree. */
const char *harness_audit_program(void);
/*
 * A socket of it with the test's rights, as systemd would have one: a process for each connection. Before
 * the launch, or else the daemon is told to start it itself, with no more rights than it has.
 */
void harness_daemon_serve_audit(struct harness_daemon *daemon);
void harness_daemon_launch(struct harness_daemon *daemon);
void harness_daemon_await_ready(struct harness_daemon *daemon);
/* Reads what it said to the service manager since, into status. Whether it was that it is ready. */
bool harness_daemon_hear(struct harness_daemon *daemon);
/*
 * Has it read its configuration anew. What it said before is read first: its queue to the service manager holds a few messages, and
 * where RELOADING=1 has no room in it, the end is not told either.
 */
void harness_daemon_hangup(struct harness_daemon *daemon);
/* All three. */
void harness_daemon_start(struct harness_daemon *daemon, const char *daemon_keys, const char *body);

/* Waits for its end: an exit status, or minus the signal. */
int harness_daemon_await_exit(struct harness_daemon *daemon);
/* SIGTERM, exit status 0, and the directory is removed. */
void harness_daemon_stop(struct harness_daemon *daemon);
/* SIGKILL; the directory stays, for a next launch. */
void harness_daemon_kill(struct harness_daemon *daemon);
/* Removes the directory of a daemon that does not run. */
void harness_daemon_remove(struct harness_daemon *daemon);

/* What it logged so far; valid until the next call. */
const char *harness_daemon_log(const struct harness_daemon *daemon);
/* Its log has this text: waits for it. */
void harness_daemon_await_log(const struct harness_daemon *daemon, const char *text);

/* Client processes. */

struct harness_child {
	pid_t pid;
	int pidfd;
	int control;			/* words to and from the child */
};

#define HARNESS_CHILD_NULL	{ .pidfd = -1, .control = -1 }

typedef void (*harness_child_fn)(int control, void *arg);

/* A process that runs fn and ends with 0. */
void harness_child_start(struct harness_child *child, harness_child_fn fn, void *arg);
/* fork() for tests that need nothing else: a failure in the child ends the child. */
pid_t harness_fork(void);
/* A word to the other side, and the word that is expected from it. */
void harness_say(int control, const char *word);
void harness_expect(int control, const char *word);
/* Waits for its end: an exit status, or minus the signal. */
int harness_child_await(struct harness_child *child);
void harness_child_await_success(struct harness_child *child);
void harness_child_kill(struct harness_child *child);
/* Gives the calling process another identity, for good. */
void harness_become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups);
/* waitpid(2), bounded: the status of a child that ends, or stops where it is traced or the options say so. */
int harness_await_state(pid_t pid, int options, const char *what);
/* Waits until fd is readable or hung up. */
void harness_await_readable(int fd, const char *what);

/*
 * Mounts something on a file whose server never answers (FUSE): whoever asks it for anything waits until they are killed. In a
 * mount namespace of the caller's own. Returns the server's end, to be closed before the file system goes: else the end of the
 * process waits. Skips where that cannot be done.
 */
int harness_mount_silent(const char *path);

/* The wire. */

struct harness_conn {
	int fd;
	uint64_t serial;		/* of the last request */
	uint64_t session;
	bool is_lasting;		/* replies that it has had already may come again, from another daemon: dropped */
	bool takes_farewell;		/* a refusal of no request, before the daemon hangs up, is -ENOTCONN */
};

#define HARNESS_CONN_NULL	{ .fd = -1 }

struct harness_reply {
	union {
		struct protocol_header header;
		struct protocol_welcome welcome;
		struct protocol_attached attached;
		struct protocol_listed listed;
		struct protocol_shown shown;
		struct protocol_waited waited;
		char bytes[PROTOCOL_MESSAGE_MAX + 1];
	};
	size_t size;
	int fds[PROTOCOL_FDS_MAX];
	unsigned n_fds;
};

/* A connected socket, or a negative errno. */
int harness_dial(const char *socket);
/* Dials and says hello. */
void harness_open(struct harness_conn *conn, const char *socket);
void harness_close(struct harness_conn *conn);
/* Sends bytes with fds, as they are. What sendmsg says: bytes, or a negative errno. */
ssize_t harness_send(int fd, const void *bytes, size_t size, const int *fds, unsigned n_fds);
/* One message: its size, 0 at the end, or a negative errno. Closes no fd that comes. */
ssize_t harness_receive(int fd, struct harness_reply *reply);
void harness_fill(struct harness_conn *conn, struct protocol_header *header, unsigned type, size_t size);
/* A request, and its reply. Its status; -ENOTCONN when the daemon hung up. The reply's serial and type are checked. */
int harness_ask(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size,
    struct harness_reply *reply);
/* The daemon answers with -EPROTO, or with nothing, and hangs up. */
void harness_expect_hangup(int fd);

int harness_attach(struct harness_conn *conn, const char *name, uint32_t access,
    struct protocol_attached *ret_attached, int *ret_fd);
int harness_create(struct harness_conn *conn, const char *name, uint64_t size,
    struct protocol_attached *ret_attached, int *ret_fd);
int harness_detach(struct harness_conn *conn, const struct protocol_attached *attached);
int harness_remove(struct harness_conn *conn, const char *name, uint32_t flags);
/* All rows, at most max; the number of rows. */
size_t harness_list(struct harness_conn *conn, struct protocol_segment *rows, size_t max);
/* A row by name from LIST, the definition's reason from SHOW. -ENOENT: it is not there. */
int harness_find(struct harness_conn *conn, const char *name, struct protocol_segment *ret_row);
int harness_show(struct harness_conn *conn, const char *name, struct harness_reply *reply);
const char *harness_reason(const struct harness_reply *shown);
/* From SHOW, too: what of its data is on a node. */
uint64_t harness_node_bytes(const struct harness_reply *shown, unsigned node);
/* A negative status, or the number of rows. */
int harness_holders(struct harness_conn *conn, const char *name, struct protocol_holder *rows, size_t max);
int harness_clients(struct harness_conn *conn, struct protocol_client *rows, size_t max);
int harness_users(struct harness_conn *conn, struct protocol_user *rows, size_t max);
/* A negative status, or the state. */
int harness_wait(struct harness_conn *conn, const char *name);
/* Asks until readers and writers of a segment are these. */
void harness_await_counts(struct harness_conn *conn, const char *name, unsigned readers, unsigned writers);
/* Asks until the segment is gone. */
void harness_await_gone(struct harness_conn *conn, const char *name);

/* The kernel's view. */

struct harness_usage {
	size_t fds;
	size_t memfds;			/* of the fds */
	size_t sockets;
	size_t maps;
	size_t children;
};

void harness_usage_read(pid_t pid, struct harness_usage *ret_usage);
/* Makes round trips until pid uses no more than before, as counted. */
void harness_usage_await(struct harness_conn *conn, pid_t pid, const struct harness_usage *before);
/* A figure of /proc/PID/status, as in "VmRSS:". */
uint64_t harness_status_figure(pid_t pid, const char *key);
/*
 * What is mounted from here on is of this mount namespace alone: everywhere, or on path where "/" is no mount, as in a chroot.
 * 0, or -1 with errno.
 */
int harness_make_private(const char *path);
/* The children of a process; at most max. */
size_t harness_children(pid_t pid, pid_t *pids, size_t max);

struct harness_scan {
	size_t readers;			/* distinct open descriptions, read-only and writable */
	size_t writers;
	size_t fds;			/* descriptors, and mappings */
	size_t maps;
};

/*
 * Counts the open file descriptions of an object (by device and inode) that processes other than `except` and its children
 * hold. Only the test's process group is looked at, which all that it started belong to: a host may have thousands of other
 * processes. Descriptors are told apart by kcmp(2). Which description a mapping belongs to the kernel does not tell: a mapping
 * at offset X is taken for one of the description whose file position is X, so a test that wants exact figures lets each
 * description have an offset of its own, for both.
 */
void harness_scan(dev_t device, ino_t inode, pid_t except, struct harness_scan *ret_scan);
/* Likewise of n objects (by st_dev and st_ino), in one pass over /proc. */
void harness_scan_all(const struct stat *objects, size_t n, pid_t except, struct harness_scan *ret_scans);

#endif
