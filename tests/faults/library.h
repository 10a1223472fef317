/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a client asks of the library in check_library.c's process: a row each. From a row's first error on nothing more is asked of the
 * library, but for giving back, and that error is what the row returns. Nothing else of the process may be counted: what is the
 * test's own stands between library_pause() and library_resume().
 */
#ifndef TESTS_FAULTS_LIBRARY_H
#define TESTS_FAULTS_LIBRARY_H

#include "client/segment.h"
#include "tests/faults/injector.h"

#define LIBRARY_LOCKS		200	/* of the segment "l": more than fit into an answer */

struct library_row {
	const char *name;
	bool (*prepare)(void);		/* or NULL: the process is made what it has to be; false: that cannot be here */
	int (*run)(void);		/* 0, or a negative errno */
	bool is_first;			/* what is kept for the life of the process is not there yet */
};

/* An error has a sentence. Returns it. */
int library_must_say(int r);
/* Nothing fails, and nothing is counted, until it is told what this returned. */
unsigned library_pause(void);
void library_resume(unsigned armed);
/* Connects, attaches, does `then`, which may be NULL, and gives back. */
int library_attach(const char *name, unsigned flags, int (*then)(struct segment *segment));
/* A section of its lock "all". */
int library_use(struct segment *segment);

/* library_locks.c: locks that somebody else has. */
int library_run_wait(void);
bool library_refuse_waitv(void);
int library_run_read(void);
int library_run_thread(void);

/* library_straits.c: processes that have less than others. */
bool library_hide_namespaces(void);
int library_run_no_streams(void);
int library_run_no_descriptors(void);
int library_run_hang_ups(void);
int library_run_cut(void);

/* check_library.c */
int library_run_events(void);

#endif
