/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Jobs on an object that somebody cuts short and mends again, as fast as possible: each is answered, by the same worker, which
 * no touch behind the end kills. Of what it answers there is nothing to be said.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "client/control.h"
#include "client/mutex.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#define SIZE		(4 * MIB)
#define MUTEX_AT	(2 * MIB)
#define RANGE_AT	(3 * MIB)
#define RANGE		(512 * KIB)
#define N_JOBS		400
#define DEAD		4194303u	/* no thread has this id yet */

static struct {
	struct harness worker;
	int fd;
	pid_t cutter;
} test;

static void
cut_and_mend(void)
{
	static const off_t lengths[] = { 0, MUTEX_AT, MUTEX_AT + 4096, RANGE_AT, RANGE_AT + 64 * KIB, RANGE_AT + RANGE - 4096 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0;; i++)
		if (ftruncate(test.fd, lengths[i % BASE_ARRAY_SIZE(lengths)]) || ftruncate(test.fd, SIZE))
			_exit(1);
}

static void
setup(void)
{
	test.fd = harness_memfd(SIZE);
	harness_start(&test.worker, NULL, NULL);
	test.cutter = fork();
	ck_assert_int_ge(test.cutter, 0);
	if (test.cutter == 0)
		cut_and_mend();
}

/* The worker ends well, as it is told to. */
static void
teardown(void)
{
	int status;

	ck_assert_int_eq(kill(test.cutter, SIGKILL), 0);
	ck_assert_int_eq(waitpid(test.cutter, &status, 0), test.cutter);
	ck_assert(WIFSIGNALED(status));
	harness_stop(&test.worker);
	(void)close(test.fd);
}

START_TEST(pages_are_made_and_given_back)
{
	for (unsigned i = 0; i < N_JOBS; i++) {
		(void)harness_job(&test.worker, JOB_POPULATE, i % 2 ? JOB_PAGES_BASE : JOB_PAGES_MOUNT, test.fd, 0, SIZE, 0);
		if (i % 8 == 0)
			(void)harness_job(&test.worker, JOB_FREE, 0, test.fd, 0, SIZE, 0);
	}
}
END_TEST

/* A mutex of the dead, whose range is zeroed. */
START_TEST(mutexes_are_recovered)
{
	unsigned char bytes[MUTEX_BYTES];
	const uint32_t dead = DEAD;
	unsigned n_done = 0;

	ck_assert_int_eq(mutex_make(bytes), 0);
	memcpy(bytes, &dead, sizeof(dead));
	for (unsigned i = 0; i < N_JOBS; i++) {
		struct job job = {
			.id = i + 1, .kind = JOB_REPAIR_MUTEX, .offset_bytes = RANGE_AT, .length_bytes = RANGE,
			.lock = { .at_bytes = MUTEX_AT, .thread = DEAD, .on_death = CONTROL_ZERO },
		};
		struct job_result result;

		ck_assert_int_eq(pwrite(test.fd, bytes, sizeof(bytes), MUTEX_AT), sizeof(bytes));
		harness_send(&test.worker, &job, sizeof(job), &test.fd, 1);
		ck_assert_msg(harness_receive(&test.worker, &result), "the worker ended at job %u", i);
		ck_assert_uint_eq(result.id, job.id);
		n_done += result.status == 0;
	}
	/* It is about something. */
	ck_assert_uint_gt(n_done, 0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("worker/cut");
	TCase *tcase = tcase_create("worker/cut");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, pages_are_made_and_given_back);
	tcase_add_test(tcase, mutexes_are_recovered);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return suite_run(make_suite());
}
