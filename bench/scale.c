/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bench/scale.h"

#define DEFINITION_TEXT	160		/* of one definition, at most */

static const unsigned counts[SCALE_N] = { 10, 100, 1000, 5000, 10000, 15000 };

static uint64_t
descriptors(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 1024;
}

unsigned
scale_count(unsigned i, unsigned n_client_fds)
{
	uint64_t others = n_client_fds + SCALE_OTHER_FDS;
	uint64_t most = descriptors() > others + counts[0] ? descriptors() - others : counts[0];

	return (unsigned)min_u64(counts[i], most);
}

unsigned
scale_largest(unsigned n_client_fds)
{
	return scale_count(SCALE_N - 1, n_client_fds);
}

void
scale_note_limit(unsigned n_client_fds)
{
	if (scale_largest(n_client_fds) < counts[SCALE_N - 1])
		bench_note("%u segments and not %u: the limit of file descriptors is %llu (ulimit -n)",
		    scale_largest(n_client_fds), counts[SCALE_N - 1], (unsigned long long)descriptors());
}

void
scale_name(char name[SCALE_NAME_SIZE], unsigned i)
{
	(void)snprintf(name, SCALE_NAME_SIZE, "s%05u", i);
}

char *
scale_definitions(unsigned n, int changed)
{
	size_t size = (size_t)n * DEFINITION_TEXT + 1, at = 0;
	char *text = malloc(size), name[SCALE_NAME_SIZE];

	if (!text)
		bench_fail("no memory for %u definitions", n);
	text[0] = '\0';
	for (unsigned i = 0; i < n; i++) {
		scale_name(name, i);
		at += (size_t)snprintf(text + at, size - at, ",\n  { name = \"%s\"; size = \"4KiB\"; prefault = false; "
		    "mlock = false; placement = \"prefer\"; mode = \"%s\"; }", name, (int)i == changed ? "0640" : "0600");
	}
	return text;
}

void
scale_init(struct daemon *daemon, unsigned n)
{
	/* One is in every configuration. */
	char *text = scale_definitions(n - 1, -1);
	struct daemon_config config = { .segments = text };

	daemon_init(daemon, &config);
	free(text);
}
