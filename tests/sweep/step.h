/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A child that is stepped through a function, an instruction at a time. */
#ifndef TESTS_SWEEP_STEP_H
#define TESTS_SWEEP_STEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct stepped {
	pid_t pid;
	uint64_t n_steps;	/* of it */
};

#define STEPPED_NULL	{ .pid = -1 }

enum {
	STEP_E_FORBIDDEN = 1,	/* ptrace is not to be had here */
	STEP_E_END = 2,		/* the function has returned */
	STEP_E_ASLEEP = 3,	/* it sleeps in the middle of the instruction */
};

/*
 * Makes the child, which stops before fn(arg) and after it, and calls it again whenever it is let go on. 0,
 * STEP_E_FORBIDDEN, -errno.
 */
int step_start(struct stepped *child, void (*fn)(void *), void *arg);

/* One instruction more. 0, STEP_E_END, -errno: -ECHILD if it died. */
int step_once(struct stepped *child);

/*
 * The same, where the instruction may sleep: if so, step_wait() waits for its end. *is_about_to_sleep is looked at first,
 * so that it costs nothing where it cannot.
 */
int step_once_or_sleep(struct stepped *child, const volatile uint32_t *is_about_to_sleep);
int step_wait(struct stepped *child);

/* Whether a process, stepped or not, sleeps now. */
bool step_is_asleep(pid_t pid);

/* A word of its memory. 0, -errno. */
int step_peek(const struct stepped *child, uintptr_t address, uintptr_t *ret_value);

/* The address of the next instruction. 0, -errno; -ENOSYS: not on this machine. */
int step_where(const struct stepped *child, uintptr_t *ret_address);

/*
 * Runs on, without steps, to before an instruction, when it has passed that n_before times.
 * 0, -errno as above.
 */
int step_run_to(struct stepped *child, uintptr_t address, uint64_t n_before);

/*
 * Keeps this process, the child if there is one, and the children that it makes on the CPU where it is, until it is let go
 * again: two that wait for each other at each instruction are several times as fast on one. In vain where it is not
 * permitted.
 */
void step_pin(const struct stepped *child);
void step_unpin(void);

/* From the end of the function to its beginning. 0, -errno. */
int step_again(struct stepped *child);

/* Kills it, wherever it is, and waits until it is gone. */
void step_kill(struct stepped *child);

#endif
