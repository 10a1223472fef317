/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/child.h"

#define CHILD_AWAIT_MS	10000

/* exit() would remove the bench's directories. */
void
child_fail(const char *format, ...)
{
	va_list args;

	(void)fputs("bench: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	_exit(EXIT_FAILURE);
}

static void
close_between(int after, int before)
{
	if (after + 1 < before)
		(void)close_range((unsigned)after + 1, (unsigned)before - 1, 0);
}

/* A descriptor of the bench's more makes the death of whoever has it longer, or is another's connection. */
static void
close_others(int fd, int keep_fd)
{
	int low = fd < keep_fd ? fd : keep_fd;
	int high = fd < keep_fd ? keep_fd : fd;

	if (low < 0)
		low = STDERR_FILENO;
	close_between(STDERR_FILENO, low);
	close_between(low, high);
	(void)close_range((unsigned)high + 1, ~0U, 0);
}

static void
child_begin(const struct bench *bench, int cpu, int fd, int keep_fd)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	close_others(fd, keep_fd);
	bench_pin(bench, 0, cpu);
}

void
child_start(const struct bench *bench, int cpu, int keep_fd, child_fn run, void *arg, struct child *ret_child)
{
	struct child child = { .fd = -1 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		bench_fail("socketpair: %s", strerror(errno));
	(void)fflush(NULL);
	child.pid = fork();
	if (child.pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (child.pid == 0) {
		child_begin(bench, cpu, pair[1], keep_fd);
		run(pair[1], arg);
		child_fail("a child came to its end");
	}
	(void)close(pair[1]);
	child.fd = pair[0];
	*ret_child = child;
}

void
child_await(const struct child *child)
{
	struct pollfd pollfd = { .fd = child->fd, .events = POLLIN };
	char byte;
	int r = poll(&pollfd, 1, CHILD_AWAIT_MS);

	if (r != 1 || recv(child->fd, &byte, 1, 0) != 1)
		bench_fail("a child %s", r == 1 ? "ended before it was to" : "was waited for in vain");
}

void
child_tell(const struct child *child)
{
	if (send(child->fd, "", 1, MSG_NOSIGNAL) != 1)
		bench_fail("a child is gone: %s", strerror(errno));
}

void
child_end(struct child *child)
{
	(void)kill(child->pid, SIGKILL);
	(void)waitpid(child->pid, NULL, 0);
	close_fd(&child->fd);
}

int
child_pidfd(const struct child *child)
{
	int pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);

	if (pidfd < 0)
		bench_fail("pidfd_open: %s", strerror(errno));
	return pidfd;
}

void
child_settle(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = CHILD_SETTLE_NS }, NULL);
}

void
child_say(int fd)
{
	if (send(fd, "", 1, MSG_NOSIGNAL) != 1)
		_exit(EXIT_FAILURE);
}

bool
child_hear(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) == 1;
}

void
child_sleep(void)
{
	for (;;)
		(void)pause();
}

void
child_rest(int fd)
{
	child_say(fd);
	(void)close(fd);
	child_sleep();
}

void
child_attach(const char *socket, const char *name, unsigned flags, struct segment **ret_segment)
{
	struct segment_client *client;
	int r = segment_connect(&client, socket);

	if (r == 0)
		r = segment_attach(client, name, NULL, SEGMENT_WRITE | flags, ret_segment);
	if (r < 0)
		child_fail("a client that is to die could not attach '%s': %s (%s)", name, strerror(-r), segment_error());
}
