/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Forked children of the bench: those that are to die, and those that wait or contend beside it. A child has none of the
 * bench's descriptors but its end of a socket to it, and it says by a byte that it has come to where it was to come.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <sys/types.h>

#include "bench/bench.h"
#include "client/segment.h"

#define CHILD_SETTLE_NS		(300 * 1000)	/* until a child that has said so sleeps, and the daemon, too */

struct child {
	pid_t pid;
	int fd;				/* our end; -1: closed */
};

/* What a child does. It must not return, nor end by exit(). */
typedef void (*child_fn)(int fd, void *arg);

/* On the CPU, or on any (-1). keep_fd: a descriptor that it gets as well, or -1. */
void child_start(const struct bench *bench, int cpu, int keep_fd, child_fn run, void *arg, struct child *ret_child);

/* Waits for its byte; what it is about to say is of no use after ten seconds. */
void child_await(const struct child *child);
void child_tell(const struct child *child);

/* Ends it, if it has not ended, and forgets it. Its CPU time counts as ours from then on. */
void child_end(struct child *child);

/* A pidfd of it. */
int child_pidfd(const struct child *child);

/* Sleeps for CHILD_SETTLE_NS. */
void child_settle(void);

/* In the child. */

void child_fail(const char *format, ...) BASE_PRINTF(1, 2) __attribute__((noreturn));
void child_say(int fd);
bool child_hear(int fd);			/* false: the bench has ended */
void child_sleep(void) __attribute__((noreturn));	/* waits for its death */
void child_rest(int fd) __attribute__((noreturn));	/* says it, hangs up, and waits for its death */

/* Attaches for writing by the library, with more flags; what is refused ends the child. */
void child_attach(const char *socket, const char *name, unsigned flags, struct segment **ret_segment);

#endif
