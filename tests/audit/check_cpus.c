/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The helper that runs on every CPU: it answers, has nothing of its parent's open, and its death is an answer, too. */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "daemon/audit/cpus.h"
#include "tests/harness.h"

static int
ask(int fd)
{
	int r = -EAGAIN;

	ck_assert_int_eq(cpus_ask(), 0);
	while (r == -EAGAIN) {
		harness_await_readable(fd, "the helper's answer");
		r = cpus_answer();
	}
	return r;
}

static pid_t
helper(void)
{
	pid_t pids[2];

	ck_assert_uint_eq(harness_children(getpid(), pids, 2), 1);
	return pids[0];
}

START_TEST(helper_answers_and_is_the_same_for_all_questions)
{
	int fd = cpus_begin(), first;
	pid_t pid = helper();

	ck_assert_int_ge(fd, 0);
	first = ask(fd);
	ck_assert(first == 0 || first == 1);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(ask(fd), first);
	ck_assert_int_eq(cpus_begin(), fd);
	ck_assert_int_eq(helper(), pid);
	cpus_give_up();
}
END_TEST

/* That we are bound to one CPU, as by taskset(1), keeps it from none. */
START_TEST(helper_is_not_bound_by_our_affinity)
{
	cpu_set_t one;
	int fd, r;

	fd = cpus_begin();
	if (ask(fd) != 1)
		harness_skip("not all CPUs are ours to run on");
	/* It takes it from us at its birth: here by hand. */
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	ck_assert_int_eq(sched_setaffinity(helper(), sizeof(one), &one), 0);
	r = ask(fd);
	ck_assert_int_eq(r, 1);
	cpus_give_up();
}
END_TEST

START_TEST(helper_has_nothing_of_ours_open)
{
	int file = open("/dev/null", O_RDONLY), fd = cpus_begin();
	struct harness_usage usage;

	ck_assert_int_ge(file, 0);
	ck_assert_int_ge(ask(fd), 0);
	harness_usage_read(helper(), &usage);
	ck_assert_uint_eq(usage.fds, 1);
	cpus_give_up();
}
END_TEST

START_TEST(answers_to_earlier_questions_are_none)
{
	int fd = cpus_begin(), r = -EAGAIN, n_early = 0;

	ck_assert_int_eq(cpus_ask(), 0);
	ck_assert_int_eq(cpus_ask(), 0);
	while (r == -EAGAIN) {
		harness_await_readable(fd, "the helper's answer");
		r = cpus_answer();
		n_early += r == -EAGAIN;
	}
	ck_assert_int_ge(r, 0);
	ck_assert_int_eq(n_early, 1);
	cpus_give_up();
}
END_TEST

START_TEST(helper_that_is_killed_is_given_up)
{
	int fd = cpus_begin();

	ck_assert_int_eq(kill(helper(), SIGKILL), 0);
	harness_await_readable(fd, "the helper's end");
	ck_assert_int_eq(cpus_answer(), 0);
	ck_assert_int_lt(cpus_begin(), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cpus");
	TCase *tests = tcase_create("cpus");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tests, helper_answers_and_is_the_same_for_all_questions);
	tcase_add_test(tests, helper_is_not_bound_by_our_affinity);
	tcase_add_test(tests, helper_has_nothing_of_ours_open);
	tcase_add_test(tests, answers_to_earlier_questions_are_none);
	tcase_add_test(tests, helper_that_is_killed_is_given_up);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
