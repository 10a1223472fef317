/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Only who is root outside may give a namespace a uid that is not its own: a child, which stays there. */
#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/harness.h"
#include "tests/system/apart.h"

#define UIDS	(UINT32_C(1) << 30)	/* beyond those that are given to people, services and containers; two for each pid */

static bool
write_map(pid_t pid, const char *name, uint32_t id)
{
	cleanup_close int fd = -1;
	char path[64], text[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	(void)snprintf(text, sizeof(text), "0 %u 1\n%u %u 1\n", id, HARNESS_NOBODY, id + 1);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* When it is told to. */
static void
map(pid_t pid, int fd)
{
	uint32_t id = UIDS + 2 * (uint32_t)pid;
	char c;

	_exit(read(fd, &c, 1) == 1 && write_map(pid, "uid_map", id) && write_map(pid, "gid_map", id) ? 0 : 1);
}

static bool
enter(void)
{
	pid_t self = getpid(), pid;
	int pair[2], status;
	bool is_apart;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return false;
	pid = harness_fork();
	if (pid == 0) {
		(void)close(pair[1]);
		map(self, pair[0]);
	}
	(void)close(pair[0]);
	is_apart = unshare(CLONE_NEWUSER) == 0 && send(pair[1], "", 1, MSG_NOSIGNAL) == 1;
	(void)close(pair[1]);
	/* Of a uid that is not mapped the daemon would say that it cannot see it. */
	is_apart = waitpid(pid, &status, 0) == pid && status == 0 && is_apart && setgroups(0, NULL) == 0 && setresgid(0, 0, 0) == 0 &&
	    setresuid(0, 0, 0) == 0;
	/* Who changes its uid hides its files in /proc, from its own children as well. */
	return is_apart && prctl(PR_SET_DUMPABLE, 1) == 0 && access(HARNESS_DAEMON_PROGRAM, X_OK) == 0;
}

/* In a child, since there is no way back. */
static bool
can_enter(void)
{
	pid_t pid = harness_fork();
	int status;

	if (pid == 0)
		_exit(enter() ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

void
apart_enter(void)
{
	if (geteuid() != 0 || !can_enter())
		(void)printf("NOT APART: no uid of this test's own is to be had here; programs of this one may be in its way\n");
	else
		harness_assert(enter(), "a user namespace: %s", strerror(errno));
}
