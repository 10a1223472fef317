/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The end of a test program's main(). Programs that need a daemon call harness_run() (tests/harness.h), which does more. */
#ifndef TESTS_SUITE_RUN_H
#define TESTS_SUITE_RUN_H

#include <check.h>
#include <stdlib.h>

/* Runs and frees the suite. An exit status. $CK_VERBOSITY says how much is told. */
static inline int
suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int n_failed;

	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
