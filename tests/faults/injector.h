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
	struct harness_child tracer;
};

/* In this directory. Skips where nobody may be traced. */
void injector_init(struct injector *injector, enum faults_kind kind, const char *dir);
void injector_deinit(struct injector *injector);

/* In the new process of a daemon, as its before_exec(arg): what is to fail in it can be chosen. */
void injector_prepare(void *arg);
/* After its launch; or a process that the test forked, which has stopped itself: in that one alone something fails then. */
void injector_take(struct injector *injector, pid_t pid);
void injector_take_client(struct injector *injector, pid_t pid);
/* Nothing fails any more, and nobody is traced. */
void injector_let_go(struct injector *injector);

/* From now on the one of this number fails, of those of the target. */
void injector_arm(struct injector *injector, enum faults_target target, unsigned variant, uint64_t at);
void injector_disarm(struct injector *injector);
/* How many there were since it was armed. */
uint64_t injector_n_seen(const struct injector *injector);
bool injector_has_failed(const struct injector *injector);
/* What failed; valid until it is armed again. */
const char *injector_describe(const struct injector *injector);

#endif
