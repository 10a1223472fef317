/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A small service manager: it has the listening socket, keeps the descriptors that the daemon stores, and hands both to the next
 * one. It has no thread of its own: what the daemon says is heard when the bench waits for it, and after the daemon's end.
 */
#ifndef BENCH_KEEPER_H
#define BENCH_KEEPER_H

#include "bench/bench.h"
#include "bench/daemon.h"

#define KEEPER_NAME_SIZE	64
#define KEEPER_STORED_MAX	(DAEMON_HANDED_MAX - 1)

struct keeper {
	struct daemon daemon;
	int listen_fd;
	unsigned n_stored;
	struct {
		int fd;
		char name[KEEPER_NAME_SIZE];
	} stored[KEEPER_STORED_MAX];
	bool is_ready;			/* said since the launch, as */
	bool has_removed;		/* that something need not be kept any more */
};

/* Directory, configuration, sockets; and the first daemon, until it is ready and has stored what it stores. */
void keeper_start(struct bench *bench, struct keeper *keeper, const struct daemon_config *config);

/* Kills the daemon, reaps it, and starts it again with all that is kept. When the signal was sent. */
uint64_t keeper_restart(struct bench *bench, struct keeper *keeper);

/* Until it is ready, and nothing is kept any more of the one before. */
void keeper_settle(struct keeper *keeper);

/* SIGTERM, until its end, and nothing is left. */
void keeper_stop(struct bench *bench, struct keeper *keeper);

#endif
