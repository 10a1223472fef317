/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A process that is run instruction by instruction, so that it can be stopped, or killed, after each. */
#ifndef TESTS_CLIENT_STEPPER_H
#define TESTS_CLIENT_STEPPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Its result is the process's exit status. */
typedef int (*stepper_fn)(void *arg);

/* Forks a process that stands right before its call of fn. Skips the test where tracing is not allowed. */
pid_t stepper_start(stepper_fn fn, void *arg);
/* Runs one instruction of it. False: fn has returned. */
bool stepper_step(pid_t pid);
/* Runs at most n. Whether fn has returned. */
bool stepper_run(pid_t pid, unsigned n);
/* Whether its next instruction is a compare-and-swap, and the 32 bits that it will compare with. Skips elsewhere than on x86-64. */
bool stepper_before_exchange(pid_t pid, uint32_t *ret_expected);
/* Lets it run to its end: what fn returned. */
int stepper_finish(pid_t pid);
void stepper_kill(pid_t pid);

#endif
