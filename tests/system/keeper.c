/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a keeper does is the kernel's; of the protocol it knows how to attach. */
#include "config.h"

#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/system/keeper.h"

#define WORD_MAX	80

/* In the program. */

struct role {
	const struct keeper *keeper;
	struct harness_conn conn;
	struct protocol_attached attached;
	int fd;
	void *map;
	size_t length;
};

struct line {
	char verb[16];
	char name[64];			/* or the first number */
	long a, b;
};

static long
result(long r)
{
	return r < 0 ? -errno : r;
}

static long
do_attach(struct role *role, const struct line *line)
{
	struct protocol_attach request = { .access = (uint32_t)line->b };
	struct harness_reply reply;
	int status;

	harness_open(&role->conn, role->keeper->socket);
	(void)snprintf(request.name, sizeof(request.name), "%s", line->name);
	status = harness_ask(&role->conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	if (status)
		return status;
	/* Locks' memory, where it comes along, is kept as it is. */
	role->attached = reply.attached;
	role->fd = reply.fds[0];
	return 0;
}

static long
do_detach(struct role *role, const struct line *line)
{
	return harness_detach(&role->conn, &role->attached);
}

static long
do_hangup(struct role *role, const struct line *line)
{
	harness_close(&role->conn);
	return 0;
}

static long
do_map(struct role *role, const struct line *line)
{
	int prot = line->b ? PROT_READ | PROT_WRITE : PROT_READ;
	void *map = mmap(NULL, (size_t)line->a, prot, MAP_SHARED, role->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	role->map = map;
	role->length = (size_t)line->a;
	return 0;
}

static long
do_close(struct role *role, const struct line *line)
{
	return result(close(take_fd(&role->fd)));
}

static long
do_unmap(struct role *role, const struct line *line)
{
	return result(munmap(take_ptr(role->map), role->length));
}

/* A child lives on until the test ends. */
static pid_t
fork_on(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			(void)pause();
	return pid;
}

static long
do_fork(struct role *role, const struct line *line)
{
	return result(fork_on());
}

static long
do_crowd(struct role *role, const struct line *line)
{
	for (long i = 0; i < line->a; i++)
		if (fork_on() < 0)
			return -errno;
	return 0;
}

static long
do_orphan(struct role *role, const struct line *line)
{
	int ends[2];
	pid_t parent, pid = 0;

	if (pipe(ends))
		return -errno;
	parent = fork();
	if (parent == 0) {
		pid = fork_on();
		_exit(write(ends[1], &pid, sizeof(pid)) != sizeof(pid));
	}
	(void)waitpid(parent, NULL, 0);
	if (read(ends[0], &pid, sizeof(pid)) != sizeof(pid))
		return -EPIPE;
	(void)close(ends[0]);
	(void)close(ends[1]);
	return pid;
}

static long
do_send(struct role *role, const struct line *line)
{
	ssize_t n = harness_send(role->keeper->pass, "x", 1, &role->fd, 1);

	return n < 0 ? n : 0;
}

static long
take(struct role *role)
{
	struct harness_reply reply;

	if (harness_receive(role->keeper->pass, &reply) != 1 || reply.n_fds != 1)
		return -EPIPE;
	role->fd = reply.fds[0];
	return 0;
}

/* The child has a pid that somebody had who is gone. */
static long
take_as(struct role *role, pid_t pid)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	long got = syscall(SYS_clone3, &args, sizeof(args));

	if (got < 0)
		return -errno;
	if (got == 0) {
		char byte = take(role) == 0;

		(void)send(role->keeper->pass, &byte, 1, 0);
		for (;;)
			(void)pause();
	}
	return 0;
}

static long
do_take(struct role *role, const struct line *line)
{
	return line->a ? take_as(role, (pid_t)line->a) : take(role);
}

static long
do_exit(struct role *role, const struct line *line)
{
	_exit(0);
}

static const struct {
	const char *verb;
	long (*act)(struct role *role, const struct line *line);
} verbs[] = {
	{ "attach", do_attach }, { "detach", do_detach }, { "hangup", do_hangup }, { "map", do_map }, { "close", do_close },
	{ "unmap", do_unmap }, { "fork", do_fork }, { "orphan", do_orphan }, { "crowd", do_crowd }, { "send", do_send },
	{ "take", do_take }, { "exit", do_exit },
};

static long
act(struct role *role, const char *word)
{
	struct line line = { .a = 0 };

	(void)sscanf(word, "%15s %63s %ld", line.verb, line.name, &line.b);
	line.a = strtol(line.name, NULL, 0);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i].verb, line.verb))
			return verbs[i].act(role, &line);
	harness_fail("a keeper was told '%s'", word);
}

static void
obey(int control, const struct keeper *keeper)
{
	struct role role = { .keeper = keeper, .conn = HARNESS_CONN_NULL, .fd = -1 };
	char word[WORD_MAX + 1], answer[32];
	ssize_t n;

	while ((n = recv(control, word, WORD_MAX, 0)) > 0) {
		word[n] = 0;
		(void)snprintf(answer, sizeof(answer), "%ld", act(&role, word));
		harness_say(control, answer);
	}
}

static void
run_keeper(int control, void *arg)
{
	const struct keeper *keeper = arg;
	char answer[32];
	pid_t pid;

	if (!keeper->is_apart) {
		obey(control, keeper);
		return;
	}
	if (unshare(CLONE_NEWPID))
		harness_skip("a pid namespace: %s", strerror(errno));
	pid = fork();
	harness_assert(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		obey(control, keeper);
		_exit(0);
	}
	(void)snprintf(answer, sizeof(answer), "%d", (int)pid);
	harness_say(control, answer);
	(void)waitpid(pid, NULL, 0);
}

/* The test's side. */

static long
hear(struct keeper *keeper, const char *what)
{
	char word[WORD_MAX + 1];
	ssize_t n;

	harness_await_readable(keeper->child.control, what);
	n = recv(keeper->child.control, word, WORD_MAX, 0);
	harness_assert(n > 0, "a keeper ended: %s", what);
	word[n] = 0;
	return strtol(word, NULL, 10);
}

static void
start(struct keeper *keeper, const char *socket, int pass, bool is_apart)
{
	(void)fflush(NULL);
	*keeper = (struct keeper) { .child = HARNESS_CHILD_NULL, .socket = socket, .pass = pass, .is_apart = is_apart };
	harness_child_start(&keeper->child, run_keeper, keeper);
	keeper->pid = is_apart ? (pid_t)hear(keeper, "its pid") : keeper->child.pid;
}

void
keeper_start(struct keeper *keeper, const char *socket, int pass)
{
	start(keeper, socket, pass, false);
}

void
keeper_start_apart(struct keeper *keeper, const char *socket)
{
	if (geteuid() != 0)
		harness_skip("a pid namespace takes root");
	start(keeper, socket, -1, true);
}

long
keeper_do(struct keeper *keeper, const char *format, ...)
{
	char word[WORD_MAX + 1];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(word, sizeof(word), format, ap);
	va_end(ap);
	harness_say(keeper->child.control, word);
	return hear(keeper, word);
}

void
keeper_exit(struct keeper *keeper)
{
	harness_say(keeper->child.control, "exit");
	harness_await_readable(keeper->child.pidfd, "a keeper's end");
}

void
keeper_kill(struct keeper *keeper)
{
	harness_child_kill(&keeper->child);
}

static int
ask_rows(struct harness_conn *conn, struct protocol_process *rows, size_t max)
{
	struct protocol_who_rows request = { 0 };
	struct harness_reply reply;
	size_t n = 0;

	do {
		int status = harness_ask(conn, PROTOCOL_WHO_ROWS, &request.header, sizeof(request), &reply);

		if (status)
			return status;
		harness_assert(reply.listed.row_size == sizeof(*rows), "rows of %u bytes", reply.listed.row_size);
		for (uint32_t i = 0; i < reply.listed.n_rows; i++) {
			struct protocol_process row;

			memcpy(&row, reply.bytes + sizeof(reply.listed) + i * sizeof(row), sizeof(row));
			harness_assert(row.cursor > request.cursor, "cursors rise");
			request.cursor = row.cursor;
			if (n < max)
				rows[n] = row;
			n++;
		}
	} while (reply.header.flags & PROTOCOL_MORE);
	return (int)n;
}

int
keeper_who(struct harness_conn *conn, const char *name, struct protocol_told *ret_told, char *text, size_t text_size,
    struct protocol_process *rows, size_t max)
{
	struct protocol_who request = { 0 };
	struct harness_reply reply;
	size_t text_at;
	int status, n;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	status = harness_ask(conn, PROTOCOL_WHO, &request.header, sizeof(request), &reply);
	if (status)
		return status;
	memcpy(ret_told, reply.bytes, sizeof(*ret_told));
	text_at = sizeof(*ret_told) + ret_told->n_objects * sizeof(struct protocol_object) + ret_told->n_pids * sizeof(int32_t);
	harness_assert(reply.size == text_at + ret_told->text_len && ret_told->text_len > 0 && reply.bytes[reply.size - 1] == '\0',
	    "a text has its length");
	if (text)
		(void)snprintf(text, text_size, "%s", reply.bytes + text_at);
	if (!ret_told->n_rows)
		return 0;
	n = ask_rows(conn, rows, max);
	harness_assert(n < 0 || n == (int)ret_told->n_rows, "%d rows, not %u", n, ret_told->n_rows);
	return n;
}
