/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Text, so that an administrator can read it; of a fixed size, so that it is written by one call. What is read is taken for a
 * mark only if writing it again would give the same bytes: nothing that is not understood is passed over.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/mark.h"
#include "host/process.h"

#define AWAIT_SECONDS	30
#define AWAIT_MS	20
#define BOOT_ID_FILE	"/proc/sys/kernel/random/boot_id"

static const char *const state_names[] = { [MARK_FREE] = "free", [MARK_USED] = "used", [MARK_SPOILED] = "spoiled" };

/* FNV-1a: against accidents, not against anybody. */
static uint64_t
checksum(const char *bytes, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static void
format(const struct mark *mark, char bytes[MARK_BYTES + 1])
{
	int n = snprintf(bytes, MARK_BYTES, "segmentd mark 1\nstate %s\nboot %s\ngeneration %" PRIu64 "\nsize %" PRIu64
	    "\npid %" PRId32 "\n", state_names[mark->state], mark->boot, mark->generation, mark->size_bytes, mark->pid);

	n += snprintf(bytes + n, MARK_BYTES - (size_t)n, "sum %016" PRIx64 "\n", checksum(bytes, (size_t)n));
	memset(bytes + n, '\n', MARK_BYTES - (size_t)n);
	bytes[MARK_BYTES] = '\0';
}

static bool
parse(const char *bytes, struct mark *ret_mark)
{
	struct mark mark = { 0 };
	char state[16], again[MARK_BYTES + 1];

	if (sscanf(bytes, "segmentd mark 1 state %15s boot %39s generation %" SCNu64 " size %" SCNu64 " pid %" SCNd32, state,
	    mark.boot, &mark.generation, &mark.size_bytes, &mark.pid) != 5)
		return false;
	for (mark.state = 0; mark.state < MARK_INVALID; mark.state++)
		if (streq(state_names[mark.state], state))
			break;
	if (mark.state == MARK_INVALID)
		return false;
	format(&mark, again);
	*ret_mark = mark;
	return memcmp(bytes, again, MARK_BYTES) == 0;
}

int
mark_read(int fd, struct mark *ret_mark)
{
	char bytes[MARK_BYTES + 2];
	ssize_t n;

	do
		n = pread(fd, bytes, sizeof(bytes) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	bytes[n] = '\0';
	if (n != MARK_BYTES || !parse(bytes, ret_mark))
		*ret_mark = (struct mark) { .state = MARK_INVALID };
	return 0;
}

int
mark_write(int fd, const struct mark *mark)
{
	char bytes[MARK_BYTES + 1];
	ssize_t n;

	format(mark, bytes);
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
	cleanup_close int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	*mark = (struct mark) {
		.state = state,
		.generation = clock_realtime_ns() / 1000,
		.size_bytes = size_bytes,
		.pid = getppid(),
	};
	if (fd < 0)
		return -errno;
	n = read(fd, mark->boot, sizeof(mark->boot) - 1);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	mark->boot[n] = '\0';
	mark->boot[strcspn(mark->boot, "\n ")] = '\0';
	return 0;
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
 * is nothing that could be polled for a lock, so it is tried now and then.
 */
int
mark_await_free(int fd, pid_t *ret_pid)
{
	uint64_t until_ns = clock_monotonic_ns() + AWAIT_SECONDS * NS_PER_SEC;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		pid_t pid;

		if (errno != EWOULDBLOCK)
			return -errno;
		pid = mark_holder(fd);
		if (!pid || kill(pid, 0) == 0 || errno != ESRCH || clock_monotonic_ns() > until_ns) {
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
