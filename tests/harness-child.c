/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness: client processes, and the words by which they stop and go on. */
#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/harness.h"
#include "tests/harness-internal.h"

#define WORD_MAX	64
#define LOOK_MS		100			/* where no event may come */

void
harness_await_readable(int fd, const char *what)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	harness_assert(harness_poll(&poll_fd, 1, HARNESS_TIMEOUT_MS) == 1, "waited %d ms for %s", HARNESS_TIMEOUT_MS, what);
}

/*
 * What a traced process does no pidfd tells, so SIGCHLD is waited for. Another thread may get it instead, or the caller have taken it
 * before: so it is looked at again every now and then, whatever comes.
 */
int
harness_await_state(pid_t pid, int options, const char *what)
{
	const struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	sigset_t child, before;
	int status = 0;
	pid_t got;

	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)pthread_sigmask(SIG_BLOCK, &child, &before);
	while ((got = waitpid(pid, &status, options | WNOHANG)) == 0 && harness_clock_ns() < until_ns)
		(void)sigtimedwait(&child, NULL, &look);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	harness_assert(got >= 0, "waitpid for %s: %s", what, strerror(errno));
	harness_assert(got == pid, "waited %d ms for %s", HARNESS_TIMEOUT_MS, what);
	return status;
}

pid_t
harness_fork(void)
{
	pid_t pid = fork();

	harness_assert(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		harness_in_child = true;
	return pid;
}

void
harness_child_start(struct harness_child *child, harness_child_fn fn, void *arg)
{
	pid_t parent = getpid();
	int pair[2];

	harness_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0,
	    "socketpair: %s", strerror(errno));
	child->pid = harness_fork();
	if (child->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(HARNESS_EXIT_FAILED);
		(void)close(pair[0]);
		fn(pair[1], arg);
		_exit(0);
	}
	(void)close(pair[1]);
	child->control = pair[0];
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	harness_assert(child->pidfd >= 0, "pidfd_open: %s", strerror(errno));
	(void)fcntl(child->pidfd, F_SETFD, FD_CLOEXEC);
}

void
harness_say(int control, const char *word)
{
	ssize_t n = send(control, word, strlen(word), MSG_NOSIGNAL);

	harness_assert(n == (ssize_t)strlen(word), "could not say '%s': %s", word, strerror(errno));
}

void
harness_expect(int control, const char *word)
{
	char got[WORD_MAX];
	ssize_t n;

	harness_await_readable(control, word);
	n = recv(control, got, sizeof(got) - 1, 0);
	got[n > 0 ? n : 0] = 0;
	harness_assert(n > 0, "the other side ended where '%s' was expected", word);
	harness_assert(streq(got, word), "heard '%s' where '%s' was expected", got, word);
}

int
harness_child_await(struct harness_child *child)
{
	int status;

	harness_await_readable(child->pidfd, "a client process's end");
	harness_assert(waitpid(child->pid, &status, 0) == child->pid, "waitpid: %s", strerror(errno));
	child->pid = 0;
	close_fd(&child->pidfd);
	close_fd(&child->control);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
harness_child_await_success(struct harness_child *child)
{
	int status = harness_child_await(child);

	harness_assert(status == 0, "a client process ended with %d instead of 0", status);
}

void
harness_child_kill(struct harness_child *child)
{
	int status;

	harness_assert(kill(child->pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	status = harness_child_await(child);
	harness_assert(status == -SIGKILL, "a client process ended with %d before it was killed", status);
}

void
harness_become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
	harness_assert(setgroups(n_groups, groups) == 0, "setgroups: %s", strerror(errno));
	harness_assert(setresgid(gid, gid, gid) == 0, "setresgid: %s", strerror(errno));
	harness_assert(setresuid(uid, uid, uid) == 0, "setresuid: %s", strerror(errno));
	/* A changed uid makes a process undumpable: its /proc/self would be root's, unlike that of a login. */
	harness_assert(prctl(PR_SET_DUMPABLE, 1) == 0, "prctl: %s", strerror(errno));
}

const char *
harness_audit_program(void)
{
	return HARNESS_AUDIT_PROGRAM;
}

static void __attribute__((noreturn))
serve_audit(const struct harness_daemon *daemon, int fd)
{
	int log_fd = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	/* What one that the daemon starts says is there, too. */
	(void)dup2(log_fd, STDERR_FILENO);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGCHLD, SIG_IGN);
	if (daemon->before_audit)
		daemon->before_audit(daemon->before_audit_arg);
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		pid_t pid;

		harness_assert(peer >= 0, "accept: %s", strerror(errno));
		pid = fork();
		harness_assert(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0) {
			(void)dup2(peer, STDIN_FILENO);
			(void)syscall(SYS_close_range, 3u, ~0u, 0u);
			(void)execl(HARNESS_AUDIT_PROGRAM, "segmentd-audit", (char *)NULL);
			harness_fail("%s: %s", HARNESS_AUDIT_PROGRAM, strerror(errno));
		}
		(void)close(peer);
	}
}

void
harness_daemon_serve_audit(struct harness_daemon *daemon)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->audit);
	harness_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0, "%s: %s",
	    daemon->audit, strerror(errno));
	(void)chmod(daemon->audit, 0666);
	daemon->audit_pid = harness_fork();
	if (daemon->audit_pid == 0)
		serve_audit(daemon, fd);
	(void)close(fd);
}

int
harness_mount_silent(const char *path)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[96];

	if (fd < 0)
		harness_skip("no FUSE: %s", strerror(errno));
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", fd);
	if (mount("silent", path, "fuse", 0, options))
		harness_skip("FUSE cannot be mounted on '%s': %s", path, strerror(errno));
	return fd;
}
