/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The time that segmentd-audit has for a question, of which nothing is counted in which all of it stood still. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/audit/rig.h"

#define BEYOND_MS	((AUDIT_SECONDS + 1) * 1000)

#define N_MANY		4000		/* whose rows no queue of a socket has room for */

/* As with a machine that is paused: no thread of it runs, and its clock goes on. Here in the middle of a removal. */
START_TEST(standstill_is_no_lateness)
{
	struct audit_candidate candidate;

	rig_enter_private_shm();
	rig_make("object", geteuid(), 0600);
	candidate = rig_candidate("object", AUDIT_CANDIDATE_REMOVE);
	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	ck_assert_int_eq(kill(rig.pid, SIGSTOP), 0);
	ck_assert_int_eq(poll(NULL, 0, BEYOND_MS), 0);
	rig_let_go();
	ck_assert_int_eq(kill(rig.pid, SIGCONT), 0);
	rig_receive(AUDIT_JUDGE);
	ck_assert_uint_eq(rig.n_rows, 1);
	ck_assert_uint_eq(rig.strays[0].verdict, AUDIT_REMOVED);
	rig_stop();
	ck_assert_uint_eq(rig_count(), 0);
}
END_TEST

/* Nothing comes back to it from the kernel: here since nobody reads what it says. */
START_TEST(hang_ends_it)
{
	const struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_LIST, .serial = 1, .flags = AUDIT_QUESTION_POSIX };
	uint64_t begun_ns;
	char name[32];
	int status;

	rig_enter_private_shm();
	for (unsigned i = 0; i < N_MANY; i++) {
		(void)snprintf(name, sizeof(name), "object%u", i);
		rig_make(name, geteuid(), 0600);
	}
	rig_start();
	begun_ns = clock_monotonic_ns();
	ck_assert_int_eq(send(rig.fd, &question, sizeof(question), MSG_NOSIGNAL), sizeof(question));
	status = harness_await_state(rig.pid, 0, "segmentd-audit's end");
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM, "%#x", (unsigned)status);
	ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, AUDIT_SECONDS * NS_PER_SEC);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("standstill");
	TCase *tests = tcase_create("standstill");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tests, standstill_is_no_lateness);
	tcase_add_test(tests, hang_ends_it);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
