/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* It ends by itself when we hang up, unless it is what it should not be: then it is killed. */
#include "config.h"

#include "client/segmentctl/auditing.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"

#define END_MS	1000		/* that segmentd-audit has for its end */

/* Whether it ended in time. */
static bool
await_end(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&pfd, 1, END_MS);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

void
auditing_close(struct auditing *auditing)
{
	cleanup_close int pidfd = auditing->pid ? (int)syscall(SYS_pidfd_open, auditing->pid, 0) : -1;

	close_fd(&auditing->fd);
	if (pidfd < 0)
		return;
	if (!await_end(pidfd)) {
		(void)kill(auditing->pid, SIGKILL);
		(void)await_end(pidfd);
	}
	(void)waitpid(auditing->pid, NULL, WNOHANG);
}
