/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The bare servers that the daemon is measured against. Each hands one descriptor to whoever asks with any 64 bytes, and
 * does nothing else: what remains is what the kernel asks for the operation. They run in a child bound to one CPU.
 */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include <sys/types.h>

#include "bench/bench.h"

#define BASELINE_MESSAGE_SIZE	64

enum baseline_kind {
	BASELINE_PAIR,			/* one connection, blocking: the raw round trip (B2, B3) */
	BASELINE_MARKED,		/* the same with what attachments need of the kernel: the floor of our mechanism */
	BASELINE_COLD,			/* one connection after the other, identity, pidfd, epoll tracking (B4c) */
	BASELINE_EPOLL,			/* many connections, level-triggered epoll (H6) */
	BASELINE_LIBEVENT,		/* many connections on libevent (H5) */
};

struct baseline {
	pid_t pid;
	int fd;				/* our end of a pair; -1 where there is a path */
	char directory[64];		/* of its socket, which is at */
	char path[96];
};

/* Starts the server on the CPU; its segment has size_bytes, resident. */
void baseline_start(struct bench *bench, enum baseline_kind kind, int cpu, uint64_t size_bytes,
    struct baseline *ret_baseline);
void baseline_stop(struct bench *bench, struct baseline *baseline);

/* Connects to one of the servers with a path. */
int baseline_connect(const struct baseline *baseline);

/* The two halves of one request; the descriptor is the caller's. */
void baseline_ask(int fd);
int baseline_receive(int fd);

#endif
