/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A program of Python that has made shared memory by Python's own module, which has a tracker of its own. */
#ifndef TESTS_AUDIT_PYTHON_H
#define TESTS_AUDIT_PYTHON_H

#include <sys/types.h>

struct python {
	pid_t pid;
	int fd;				/* hangs up when program and tracker are gone */
	char name[64];			/* of what it made, in /dev/shm; 64 KiB that are all there */
};

/* Where there is none, the test is skipped. */
void python_must_be_there(void);
void python_start(struct python *ret_python);
/* Kills it, and its tracker with it; returns when both are gone. */
void python_kill(struct python *python);

#endif
