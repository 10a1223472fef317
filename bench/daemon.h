/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The real daemon, started from the build tree with a configuration, a socket and a directory of its own for its state, and
 * stopped again. Readiness is its own READY=1: nothing here sleeps and hopes.
 */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <sys/types.h>

#include "bench/bench.h"

#define DAEMON_SEGMENT		"bench"		/* 1 MiB, ready, in every configuration */
#define DAEMON_HANDED_MAX	16

struct daemon {
	pid_t pid;
	uint64_t boot_ns;		/* from fork to READY=1 */
	int notify_fd;
	char directory[64];
	char state[64];			/* daemon.state_dir, in memory, as it is by default */
	char socket[96];
	char config[96];
	/* What it is handed down, DAEMON_HANDED_MAX at most; as many names with colons between them. */
	const int *handed;
	const char *handed_names;
	unsigned n_handed;
};

/* segments: text that goes behind `segments = (`'s first element, each definition led by a comma; templates likewise. */
struct daemon_config {
	const char *keys;		/* more of the daemon's own, each ended by a semicolon */
	const char *segments;
	const char *templates;
	const char *rest;		/* what stands behind all that */
};

/* Makes directory and configuration, and nothing more. */
void daemon_init(struct daemon *daemon, const struct daemon_config *config);

/* Writes its configuration anew. */
void daemon_configure(const struct daemon *daemon, const struct daemon_config *config);

/* Whether what is measured may be locked into memory here. */
bool daemon_may_lock(void);

/* Starts it, and does not wait. */
void daemon_launch(struct bench *bench, struct daemon *daemon);

/* Starts it and waits until it is ready. */
void daemon_start(struct bench *bench, struct daemon *daemon);

/* Ends it and waits for its end. It may be started again. */
void daemon_stop(struct bench *bench, struct daemon *daemon);

/* Has it read its configuration again, which nobody else does meanwhile. From SIGHUP to READY=1. */
uint64_t daemon_reload(const struct daemon *daemon);

/* `segmentd --check` of its configuration, from fork to end. */
uint64_t daemon_check(const struct bench *bench, const struct daemon *daemon);

/* Ends the bench with a sentence, and with what the daemon had to say. */
void daemon_fail(const struct daemon *daemon, const char *why) __attribute__((noreturn));

void daemon_deinit(struct daemon *daemon);

#endif
