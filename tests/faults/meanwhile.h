/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a start may find: clients that did this and that before the last daemon was killed, and died or went on meanwhile; a box with
 * other things in it, and files that somebody else wrote to; a configuration that is not valid; and what makes it come to nothing,
 * until that is taken away again. Nothing of it is a reason to lose what other clients have.
 */
#ifndef TESTS_FAULTS_MEANWHILE_H
#define TESTS_FAULTS_MEANWHILE_H

#include "tests/faults/injector.h"
#include "tests/harness_manager.h"

/* While the one before runs: clients that are there when it is killed. They go on, or not, and put this and that where it was kept. */
void meanwhile_gather(struct harness_manager *manager);
void meanwhile_change(struct harness_manager *manager);
void meanwhile_scatter(struct harness_manager *manager);

/* One waits for what segmentd-audit, which a signal has stopped, is to tell of. */
void meanwhile_ask_audit(struct harness_manager *manager);
void meanwhile_hang_up(struct harness_manager *manager);

/* Its files cannot be read any more: what was kept of them holds. */
void meanwhile_break_files(struct harness_manager *manager);

/* The state directory cannot be written; somebody else has its lock; the socket is none to serve on. */
void meanwhile_forbid_state(struct harness_manager *manager);
void meanwhile_permit_state(struct harness_manager *manager);
void meanwhile_take_lock(struct harness_manager *manager);
void meanwhile_give_lock(struct harness_manager *manager);
void meanwhile_break_socket(struct harness_manager *manager);
void meanwhile_mend_socket(struct harness_manager *manager);

/* Likewise; and what it says is told to the journal, of which it is told in its new process. */
void meanwhile_begin_journal(struct harness_manager *manager);
void meanwhile_tell_journal(void *injector);
void meanwhile_hear_journal(struct harness_manager *manager);
void meanwhile_end_journal(struct harness_manager *manager);

/* A child of the one that was killed has its lock yet, until it execs: some time after the next one has looked at it. */
void meanwhile_inherit_lock(struct harness_manager *manager);
void meanwhile_exec(struct harness_manager *manager);

/* More connections than the next one can have: it has so few, in its new process. */
void meanwhile_crowd(struct harness_manager *manager);
void meanwhile_disperse(struct harness_manager *manager);
void meanwhile_lower_fds(void *injector);

/* In its new process: with another standard error than its manager gave it; as of a unit, which is started again whenever it ends. */
void meanwhile_redirect(void *injector);
void meanwhile_be_a_unit(void *injector);

#endif
