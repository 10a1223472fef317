/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a start comes to: see starting.h. */
#include "config.h"

#include <poll.h>

#include "tests/faults/starting.h"

void
starting_launch(struct harness_daemon *daemon, struct injector *injector)
{
	daemon->before_exec = injector_prepare;
	daemon->before_exec_arg = injector;
	harness_daemon_launch(daemon);
	injector_take(injector, daemon->pid);
}

void
starting_expect_sentence(const struct harness_daemon *daemon, const struct injector *injector, int status)
{
	harness_assert(status == 1 && injector_has_failed(injector), "it ended with %d; failed: %s", status,
	    injector_has_failed(injector) ? injector_describe(injector) : "nothing");
	harness_assert(strstr(harness_daemon_log(daemon), "rror"), "it ended without a sentence; failed: %s", injector_describe(injector));
}

/* False: it has ended. */
static bool
becomes_ready(struct harness_daemon *daemon, const struct injector *injector)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct pollfd fds[] = { { .fd = daemon->notify_fd, .events = POLLIN }, { .fd = daemon->pidfd, .events = POLLIN } };

	do {
		harness_assert(harness_clock_ns() < deadline_ns, "it is not ready, and does not end; failed: %s",
		    injector_describe(injector));
		(void)harness_poll(fds, BASE_ARRAY_SIZE(fds), HARNESS_TIMEOUT_MS);
		if (harness_daemon_hear(daemon))
			return true;
	} while (!fds[1].revents);
	return false;
}

bool
starting_await_ready(struct harness_daemon *daemon, struct injector *injector)
{
	if (becomes_ready(daemon, injector))
		return true;
	injector_disarm(injector);
	starting_expect_sentence(daemon, injector, harness_daemon_await_exit(daemon));
	starting_launch(daemon, injector);
	harness_daemon_await_ready(daemon);
	return false;
}
