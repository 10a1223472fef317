/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who waits in the kernel for something that never comes can be killed, and not told to go on with something else. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/allotment.h"
#include "daemon/audit/minder.h"

#define LOOK_MS	100			/* at how it goes, while it works */

void *
minder_share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void
minder_begin(struct minder_progress *progress, uint64_t step)
{
	progress->step = step;
	progress->since_ns = clock_monotonic_ns();
}

void
minder_end(struct minder_progress *progress)
{
	progress->since_ns = 0;
}

/* Looked at again and again, also by a parent that was itself kept from it (base/allotment.h). */
struct stand {
	uint64_t since_ns;		/* as in struct minder_progress, when it was seen last */
	struct allotment time;
};

static bool
stands_still(struct stand *stand, const struct minder_progress *progress, uint64_t limit_ns)
{
	uint64_t since_ns = progress->since_ns;

	if (since_ns != stand->since_ns) {
		stand->since_ns = since_ns;
		allotment_begin(&stand->time, limit_ns, 2 * (LOOK_MS * NS_PER_MS));
	}
	return since_ns && !allotment_look(&stand->time);
}

/* Until it ends, by itself or since it stood still: waitpid's status. */
static int
await_child(const struct minder_progress *progress, uint64_t limit_ns, pid_t pid, bool *ret_is_stuck)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
	struct stand stand = { 0 };

	*ret_is_stuck = false;
	while (pidfd >= 0 && poll(&poll_fd, 1, LOOK_MS) <= 0)
		if (stands_still(&stand, progress, limit_ns)) {
			*ret_is_stuck = true;
			(void)kill(pid, SIGKILL);
			break;
		}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	close_fd(&pidfd);
	return status;
}

/* Its own end of it is an error's number; an error is never 255. */
static pid_t
start_child(int (*work)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(EIO);
	_exit((unsigned)-work(arg) & 0xff);
}

int
minder_run(struct minder_progress *progress, uint64_t limit_ns, int (*work)(void *arg), void (*stuck)(void *arg), void *arg)
{
	for (;;) {
		pid_t pid = start_child(work, arg);
		bool is_stuck;
		int status;

		if (pid < 0)
			return work(arg);
		status = await_child(progress, limit_ns, pid, &is_stuck);
		if (WIFEXITED(status))
			return -WEXITSTATUS(status);
		if (!is_stuck)
			return -EIO;
		progress->since_ns = 0;
		stuck(arg);
	}
}
