/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A function of this very process, an instruction at a time, at a tenth of what ptrace asks for it: no other process has
 * to be woken. That it stops where ptrace does is shown where both are done (recoveries.c).
 */
#ifndef TESTS_SWEEP_TRAP_H
#define TESTS_SWEEP_TRAP_H

/*
 * Calls fn(arg) in this process and thread, and seen(context) after each of its instructions; of one that is repeated
 * (rep movsb), after each turn. 0, -ENOSYS: not on this machine, or code must not be
 * written here; -errno.
 */
int trap_run(void (*fn)(void *), void *arg, void (*seen)(void *), void *context);

#endif
