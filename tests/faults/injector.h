/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Has one allocation (preload.c) or one system call of a process fail. System calls by ptrace(2), from a process of its own, so that
 * the test goes on meanwhile; those of who is forked by who is traced count as well. tests/faults/calls.c says which errors each can
 * have, and which calls are left out.
 */
#ifndef TESTS_FAULTS_INJECTOR_H
#define TESTS_FAULTS_INJECTOR_H

#include "tests/faults/page.h"
#include "tests/harness.h"

struct injector {
	enum faults_kind kind;
	struct faults_page *page;
	char path[96];			/* of the page */
	uint64_t n_last;		/* how many there were in its life, when that has ended */
	unsigned n_left_out[FAULTS_LEFT_OUT_N];	/* when it was disarmed last */
	struct harness_child tracer;
};

/* In this directory. Skips where nobody may be traced. */
void injector_init(struct injector *injector, enum faults_kind kind, const char *dir);
void injector_deinit(struct injector *injector);

/* In a test whose own allocations are to fail, first of all: it is started once more, with what does it. */
void injector_load(enum faults_kind kind, char **argv);

/* In the new process of a daemon, as its before_exec(arg): what is to fail in it can be chosen. */
void injector_prepare(void *arg);
/* After its launch; or a process that the test forked, which has stopped itself: in that one alone something fails then. */
void injector_take(struct injector *injector, pid_t pid);
void injector_take_client(struct injector *injector, pid_t pid);
/* Before a daemon's launch: segmentd-audit with the test's rights, of which each can be chosen, too; and its end, before the daemon's. */
void injector_serve_audit(struct injector *injector, struct harness_daemon *daemon);
void injector_end_audit(struct harness_daemon *daemon);
/* Nothing fails any more, and nobody is traced. */
void injector_let_go(struct injector *injector);

/*
 * At a test's end: nobody is traced any more, and stop(arg) has the daemon end. Then nothing is left of it in this world, no object
 * and no process.
 */
void injector_end(struct injector *injector, void (*stop)(void *arg), void *arg);

/* From now on the one of this number fails, of those of the target. */
void injector_arm(struct injector *injector, enum faults_target target, unsigned variant, uint64_t at);
void injector_disarm(struct injector *injector);
/* How many there were since it was armed; in its last life, where that has ended. */
uint64_t injector_n_seen(const struct injector *injector);
bool injector_has_failed(const struct injector *injector);
/*
 * Whether to wait on, since then, for what may not come where something has failed: so long then, and as long as for anything else
 * where nothing has, on whatever machine.
 */
bool injector_awaits(const struct injector *injector, uint64_t since_ns, uint64_t ms);
/* What failed; valid until it is armed again. */
const char *injector_describe(const struct injector *injector);
/* Whether the kernel means that for good, as a refusal; what it has no room for now it may have the next time. */
bool injector_is_lasting(const struct injector *injector);
/* Of those that were seen at last: a line for each kind of what is left out. */
void injector_tell_left_out(const struct injector *injector);

/* $FAULTS_ALL, or $FAULTS_AT: what is wanted is done, however long that takes. */
bool injector_is_all(void);
/*
 * Whoever looks for the cause of a failure wants what failed alone: $FAULTS_ONLY is an operation, $FAULTS_PART the part of
 * check_calls or check_allocations in which it is done, and $FAULTS_AT "errors:number" of the one point. Each failure tells them.
 */
bool injector_is_wanted(const char *name);
bool injector_is_wanted_part(const char *name);
/* False: all points are wanted, or other ones each time. */
bool injector_is_chosen(unsigned *ret_variant, uint64_t *ret_at);
/* What takes a while is done in the full check, too. */
bool injector_has_time(void);
/* The i-th of n points in an order that spreads them, and is another one by each shift. */
uint64_t injector_spread(uint64_t i, uint64_t n, uint64_t shift);

#endif
