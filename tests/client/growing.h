/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon with one segment that grows at the test's word: its modules are put together as the manager does, in a process that
 * harness_child_start() runs. It says "ready", and to each size that it hears, in bytes, "grown" or "failed"; "end" ends it.
 */
#ifndef TESTS_CLIENT_GROWING_H
#define TESTS_CLIENT_GROWING_H

#include "daemon/worker/job.h"
#include "tests/harness.h"

struct growing {
	const char *dir;		/* of its socket, "socket", and its state */
	uint64_t size_bytes;
	uint64_t max_size_bytes;
	bool prefault;
};

/* A harness_child_fn with a struct growing. Its executable is also its workers': main begins with growing_main(). */
void growing_daemon(int control, void *arg);

/* Serves as a worker, and does not return, if that is what this process was started for. */
void growing_main(int argc, char **argv);

/* In the test: asks for a size, and waits until it was reached. */
void growing_grow(const struct harness_child *child, uint64_t size_bytes);

#endif
