/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `segmentctl events` in a process of its own: what it prints, a line after the other. */
#ifndef TESTS_SEGMENTCTL_FOLLOWER_H
#define TESTS_SEGMENTCTL_FOLLOWER_H

#include "tests/harness.h"

/* A segmentctl that follows, and what it printed: standard output by lines, standard error as it is. */
struct follower {
	struct harness_child child;
	int out[2];
	int err[2];
	char *args[9];
	int n_args;
	char lines[65536];
	size_t n_bytes;
	size_t taken;
};

/* The daemon sends events to this many. */
void follower_await_subscribers(const char *socket, unsigned n);
/* At that socket, with the arguments of `events`, ended by NULL; the daemon sends it events from then on. */
void follower_start(struct follower *follower, const char *socket, const char *const *args);
/* The next line of its output, without its end. */
const char *follower_next_line(struct follower *follower);
/* The next line is of this kind, and has these two. */
const char *follower_expect(struct follower *follower, const char *kind, const char *a, const char *b);
/* Ends it by the signal, and it exits with 0. */
void follower_stop(struct follower *follower, int sig);

/* A segmentctl whose standard input and output are the child's control; the arguments behind `--socket PATH`, ended by NULL. */
void follower_run(struct harness_child *child, const char *socket, const char *const *args);

#endif
