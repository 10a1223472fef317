/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* See descriptors.h. */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "tests/faults/descriptors.h"
#include "tests/harness.h"

static struct rlimit was;
static bool is_limited;

void
descriptors_limit(unsigned more)
{
	struct rlimit limit;
	int next;

	descriptors_restore();
	harness_assert(getrlimit(RLIMIT_NOFILE, &was) == 0, "getrlimit: %s", strerror(errno));
	next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	harness_assert(next >= 0, "dup: %s", strerror(errno));
	(void)close(next);
	limit = was;
	limit.rlim_cur = (rlim_t)next + more;
	harness_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
	is_limited = true;
}

void
descriptors_restore(void)
{
	if (is_limited)
		harness_assert(setrlimit(RLIMIT_NOFILE, &was) == 0, "setrlimit: %s", strerror(errno));
	is_limited = false;
}
