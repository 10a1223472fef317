/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * That every CPU has come to choose what to run since a moment: then whatever ran in the kernel at that moment, and does not wait
 * there, has come to its end. A helper finds out by running on each of them in turn. It is a process of its own, since on one where
 * something runs that never makes room it would never come back.
 */
#ifndef DAEMON_AUDIT_CPUS_H
#define DAEMON_AUDIT_CPUS_H

#include "base/base.h"

/*
 * Has a helper, started at the first call: before anything is open that it must not keep open. A descriptor that is readable when
 * there is an answer; or a negative errno: there is none.
 */
int cpus_begin(void);

/* Asks, from now. 0 or a negative errno. */
int cpus_ask(void);

/* 1: all have; 0: not all of them could be asked; -EAGAIN: no answer yet, but to an earlier question. */
int cpus_answer(void);

/* No answer has come in time: there is no helper from here on. */
void cpus_give_up(void);

#endif
