/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Which errors a system call can have here: up to three that programs treat differently, each in a variant of its own. And which
 * calls are left out, since the kernel never fails them for who calls them rightly. EPIPE is none of these: who gets it is told
 * of the end, too, and of a failure that was made up nobody is.
 */
#ifndef TESTS_FAULTS_CALLS_H
#define TESTS_FAULTS_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#define CALLS_VARIANTS	3

struct calls_fault {
	const char *name;
	int error;			/* 0: it has none in that variant, and does not count */
	bool is_done;			/* the kernel does it all the same: close(2) closes, and shutdown(2) ends a unix socket, whatever they return */
};

struct calls_fault calls_judge(uint64_t number, const uint64_t *args, unsigned variant);

#endif
