/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Writing a mark is one call, and waiting for one is a worker's: that may be long. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/allotment.h"
#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/mark.h"
#include "host/process.h"

#define AWAIT_SECONDS	30
#define OWN_SECONDS	5
#define AWAIT_MS	20

int
mark_write(int fd, const struct mark *mark)
{
	char bytes[MARK_BYTES + 1];
	ssize_t n;

	mark_format(mark, bytes);
	do
		n = pwrite(fd, bytes, MARK_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 || (n == MARK_BYTES && ftruncate(fd, MARK_BYTES)) || fsync(fd))
		return -errno;
	return n == MARK_BYTES ? 0 : -ENOSPC;
}

int
mark_now(struct mark *mark, enum mark_state state, uint64_t size_bytes)
{
	*mark = (struct mark) {
		.state = state,
		.generation = clock_realtime_ns() / 1000,
		.size_bytes = size_bytes,
		.pid = getppid(),
	};
	return mark_read_boot("", mark->boot);
}

static pid_t
mark_holder(int fd)
{
	struct mark mark;
	struct stat st;
	pid_t pid = fstat(fd, &st) == 0 ? process_lock_holder("", &st) : 0;

	if (!pid && mark_read(fd, &mark) == 0 && mark.state != MARK_INVALID)
		pid = mark.pid;
	return pid;
}

/*
 * A killed daemon's worker that waits for a disk cannot be killed before that has answered, and has the lock until then. There
 * is nothing that could be polled for a lock, so it is tried now and then. The daemon that this worker is of may have removed a
 * segment whose file is still written back, or have it by another path, for good.
 */
int
mark_await_free(int fd, pid_t *ret_pid)
{
	struct allotment time;

	allotment_begin(&time, AWAIT_SECONDS * NS_PER_SEC, 2 * (AWAIT_MS * NS_PER_MS));
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		bool is_own, may_go, is_late = !allotment_look(&time);
		pid_t pid;

		if (errno != EWOULDBLOCK)
			return -errno;
		pid = mark_holder(fd);
		is_own = pid == getppid();
		may_go = pid && (is_own || (kill(pid, 0) && errno == ESRCH));
		is_late = is_late || (is_own && time.left_ns < (AWAIT_SECONDS - OWN_SECONDS) * NS_PER_SEC);
		if (!may_go || is_late) {
			*ret_pid = pid;
			return -EBUSY;
		}
		if (cancel_asked())
			return -ECANCELED;
		(void)poll(NULL, 0, AWAIT_MS);
	}
	(void)flock(fd, LOCK_UN);
	return 0;
}
