/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* By what the kernel says in /proc, several times in a row: see asleep.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>

#include "tests/faults/asleep.h"
#include "tests/harness.h"

#define N_ASLEEP	3
#define LOOK_NS		150000

static char
state_of(pid_t pid)
{
	char path[64], text[256] = "", *at;
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at && at[1] ? at[2] : 'X';
}

static bool
is_asleep(pid_t pid)
{
	pid_t children[16];
	size_t n = harness_children(pid, children, BASE_ARRAY_SIZE(children));

	for (size_t i = 0; i < n; i++)
		if (state_of(children[i]) != 'S')
			return false;
	return state_of(pid) == 'S';
}

/* False: it has ended. */
static bool
await(pid_t pid)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (unsigned n = 0; n < N_ASLEEP; n = is_asleep(pid) ? n + 1 : 0) {
		char state = state_of(pid);

		if (state == 'Z' || state == 'X')
			return false;
		harness_assert(harness_clock_ns() < deadline_ns, "pid %d does not come to rest", (int)pid);
		(void)ppoll(NULL, 0, &(struct timespec) { .tv_nsec = LOOK_NS }, NULL);
	}
	return true;
}

void
asleep_await(pid_t daemon)
{
	harness_assert(await(daemon), "the daemon has died");
}

void
asleep_await_end(pid_t pid)
{
	(void)await(pid);
}
