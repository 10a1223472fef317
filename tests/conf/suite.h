/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the suites of conf/ share: loading a text, and asking the report for a problem. */
#ifndef TESTS_CONF_SUITE_H
#define TESTS_CONF_SUITE_H

#include <check.h>

#include "base/base.h"
#include "conf/load.h"
#include "tests/suite_run.h"

/* A run of the loader and what came of it. */
struct run {
	int result;
	struct conf_report report;
	struct conf *conf;
};

void run_text(struct run *run, const char *text);
void run_file(struct run *run, const char *path);
void run_done(struct run *run);

/* The problem that has all of: line (0: any), key (NULL: any), words. NULL: there is none such. */
const struct conf_problem *run_find(const struct run *run, unsigned line, const char *key,
    const char *words);

/* All problems as text for a failed assertion; valid until the next call. */
const char *run_problems(const struct run *run);

/* Asserts that a text is refused for one reason alone, which has these words. */
void expect_problem(const char *text, unsigned line, const char *key, const char *words);

/* Asserts that a text is good; the configuration is in *run until run_done. */
void expect_good(struct run *run, const char *text);

/* Reads a whole file of the source tree. The caller frees. */
char *read_whole(const char *path, size_t *ret_length);

#endif
