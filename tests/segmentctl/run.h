/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Runs segmentctl as its users do, in a process of its own, and keeps what it printed. */
#ifndef TESTS_SEGMENTCTL_RUN_H
#define TESTS_SEGMENTCTL_RUN_H

#include <stdbool.h>
#include <stddef.h>

#define RUN_OUTPUT_SIZE	262144

struct run {
	int status;			/* exit status; 128 + signal if one ended it */
	char out[RUN_OUTPUT_SIZE];
	size_t out_bytes;
	char err[RUN_OUTPUT_SIZE];
};

/* The last argument is NULL; `segmentctl` goes without saying. The result stays until the next run. */
const struct run *run_segmentctl(const char *first, ...) __attribute__((sentinel));

/* What the next run finds on its standard input; empty unless set. */
void run_set_input(const void *data, size_t size);
/* The next run's standard output and error are one terminal of this many columns; both are in out. 0: they are not. */
void run_set_terminal(unsigned columns);
/* On that terminal somebody has typed this, which is in out, too. */
void run_set_typed(const char *text);

/* Whether text is one JSON document. *ret_known is false where nothing can tell: neither python3 nor jq. */
bool run_is_json(const char *text, bool *ret_known);

/* Says so where nothing can tell. */
void assert_json(const char *text);
void assert_has(const char *text, const char *part);
void assert_lacks(const char *text, const char *part);

/* The line of text that begins so, which has to be there; until the next call. */
const char *run_line_of(const char *text, const char *begin);

#endif
