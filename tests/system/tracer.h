/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that is killed at a system call of the test's choice: before the kernel has begun with it, or after all that it does
 * was done. By ptrace(2); a test that dies takes the daemon with it. What only asks the kernel, and changes nothing that outlives
 * a process or that another one sees, is passed over: a kill on either side of it is the same kill.
 *
 * The daemon's threads are one; its workers are not traced, and go on or end as they do when a daemon dies.
 */
#ifndef TESTS_SYSTEM_TRACER_H
#define TESTS_SYSTEM_TRACER_H

#include "tests/harness.h"

#define TRACER_STOPS_MAX	16384

/* Of each system call that counts there are two: where it begins, and where it ends. */
struct tracer_stop {
	uint16_t call;			/* its number */
	bool is_end;
	bool is_naming;			/* it makes, names, unnames or records what outlives the daemon */
	bool is_lease;			/* it takes a lease, or gives it back: what somebody else keeps open keeps that, too */
};

struct tracer {
	pid_t pid;			/* 0: none is traced */
	int signals;			/* that say that it has stopped */
	uint64_t call;			/* of the stop that it stands at, or was last let go from */
	bool is_in_call;		/* which has begun, and has not ended */
	bool is_in_naming, is_in_lease;
	bool is_running;		/* it was let go, and has not stopped since, as far as is known */
	bool is_begun;			/* stops count from now on */
	long begins_with;		/* the system call with which they do; -1: at once */
	bool (*counts)(const struct tracer_stop *stop);	/* of those that change something; NULL: all do */
	size_t n_stops;
	struct tracer_stop stops[TRACER_STOPS_MAX];	/* those that were counted */
};

void tracer_skip_unless_permitted(void);
/* Once in a test, before anything is started. Skips where nobody may be traced. */
void tracer_prepare(struct tracer *tracer);
/* Launches the daemon, with its stops counted from the first such system call on: it stands still at its first instruction. */
void tracer_launch(struct tracer *tracer, struct harness_daemon *daemon, long begins_with);
/* Likewise in two steps, for whom another one launches: before that, and after it. */
void tracer_arm(struct harness_daemon *daemon);
void tracer_take(struct tracer *tracer, struct harness_daemon *daemon, long begins_with);
/* In the new process, instead of the first step: of a program that is not the daemon's. */
void tracer_let_trace(void);
/* Stops one that runs. */
void tracer_seize(struct tracer *tracer, struct harness_daemon *daemon);

/*
 * Lets it go on until it is at the stop of this number (from 0): true, and it stands still there. Or until is_over(arg), which is
 * asked when fd is readable (negative: now and again) and the daemon waits for others: false, and it runs.
 */
bool tracer_run(struct tracer *tracer, size_t at, int fd, bool (*is_over)(void *arg), void *arg);

/* It is not traced any more, and runs on with that signal as the next thing it meets; 0: with none. */
void tracer_let_go(struct tracer *tracer, int signal);

/*
 * Of a daemon that was armed and launched, and has one worker: it goes on, and its first child, which is that worker, stands still
 * before its first instruction. Whatever it was to do is not done before it gets SIGCONT; the daemon kills it after 10 seconds.
 */
pid_t tracer_hold_worker(struct harness_daemon *daemon);

/* What it stands at, or was killed at: "after linkat", or the number of a system call. Valid until the next call. */
const char *tracer_describe(const struct tracer_stop *stop);

#endif
