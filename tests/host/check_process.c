/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Threads that live, have ended, or are gone; and processes of other pid namespaces. */
#include "config.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "host/process.h"
#include "tests/suite_run.h"

#define THREADS		1000

/* A process that can be asked to end: it lives until its side of the pair is closed. */
struct child {
	pid_t pid;
	int fd;
};

static struct child
start(void (*fn)(int fd))
{
	struct child child;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	child.pid = fork();
	ck_assert_int_ge(child.pid, 0);
	if (child.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(pair[0]);
		fn(pair[1]);
		_exit(0);
	}
	(void)close(pair[1]);
	child.fd = pair[0];
	return child;
}

static void
await_close(int fd)
{
	char byte;

	(void)!read(fd, &byte, 1);
}

static void
await_end(pid_t pid, int flags)
{
	siginfo_t info;

	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | flags), 0);
}

START_TEST(process_lives_ends_and_is_gone)
{
	struct child child = start(await_close);

	ck_assert_int_eq(process_tid_state(getpid()), PROCESS_THREAD_LIVES);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_LIVES);
	/* A stopped process lives. */
	ck_assert_int_eq(kill(child.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(child.pid, NULL, WUNTRACED), child.pid);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_LIVES);
	ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
	await_end(child.pid, WNOWAIT);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_ENDED);
	await_end(child.pid, 0);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_GONE);
	close_fd(&child.fd);
}
END_TEST

static void *
await_nothing(void *arg)
{
	for (;;)
		(void)pause();
	return NULL;
}

static void
be_many(int fd)
{
	char enough = 1;
	pthread_attr_t attr;
	pthread_t thread;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 65536);
	for (int i = 0; i < THREADS && enough; i++)
		enough = pthread_create(&thread, &attr, await_nothing, NULL) == 0;
	(void)!write(fd, &enough, 1);
	await_close(fd);
}

/* At best: others have things to do, too. */
static uint64_t
measure_state(pid_t pid)
{
	uint64_t best_ns = UINT64_MAX;

	for (int i = 0; i < 200; i++) {
		uint64_t begun_ns = clock_monotonic_ns();

		ck_assert_int_eq(process_tid_state(pid), PROCESS_THREAD_LIVES);
		best_ns = min_u64(best_ns, clock_monotonic_ns() - begun_ns);
	}
	return best_ns;
}

/* Whose it is an owner's number in shared memory says, which anybody may have written there. */
START_TEST(who_has_a_thousand_threads_takes_no_longer)
{
	struct child child = start(await_close), many = start(be_many);
	uint64_t one_ns, many_ns;
	char enough = 0;

	ck_assert_int_eq(read(many.fd, &enough, 1), 1);
	one_ns = measure_state(child.pid);
	many_ns = measure_state(many.pid);
	close_fd(&many.fd);
	close_fd(&child.fd);
	await_end(many.pid, 0);
	await_end(child.pid, 0);
	if (!enough) {
		printf("SKIP: a process may not have %d threads here\n", THREADS);
		return;
	}
	ck_assert_msg(many_ns < 5 * one_ns, "%ju ns with %d threads, %ju with one", (uintmax_t)many_ns, THREADS, (uintmax_t)one_ns);
}
END_TEST

START_TEST(ids_that_no_thread_can_have_are_gone)
{
	static const pid_t tids[] = { 0, -1, INT32_MIN, INT32_MAX, 0x3ffffffd, 4194304 };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(tids); i++)
		ck_assert_int_eq(process_tid_state(tids[i]), PROCESS_THREAD_GONE);
}
END_TEST

struct thread {
	pthread_t id;
	pid_t tid;
	int pair[2];
};

static void *
run_thread(void *arg)
{
	struct thread *thread = arg;
	pid_t tid = (pid_t)syscall(SYS_gettid);

	(void)!write(thread->pair[1], &tid, sizeof(tid));
	await_close(thread->pair[1]);
	return NULL;
}

static void
start_thread(struct thread *thread)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, thread->pair) ||
	    pthread_create(&thread->id, NULL, run_thread, thread) ||
	    read(thread->pair[0], &thread->tid, sizeof(thread->tid)) != sizeof(thread->tid))
		abort();
}

/* One that was joined may be seen by its id for a moment yet: it ends by itself. */
START_TEST(thread_is_told_by_its_own_id)
{
	struct thread thread;

	start_thread(&thread);
	ck_assert_int_ne(thread.tid, getpid());
	ck_assert_int_eq(process_tid_state(thread.tid), PROCESS_THREAD_LIVES);
	close_fd(&thread.pair[0]);
	ck_assert_int_eq(pthread_join(thread.id, NULL), 0);
	while (process_tid_state(thread.tid) == PROCESS_THREAD_LIVES)
		(void)sched_yield();
	ck_assert_int_eq(process_tid_state(getpid()), PROCESS_THREAD_LIVES);
	close_fd(&thread.pair[1]);
}
END_TEST

/* Its first thread ends, and the other, whose id it tells, goes on. */
static void
outlive_leader(int fd)
{
	struct thread thread;

	start_thread(&thread);
	(void)!write(fd, &thread.tid, sizeof(thread.tid));
	syscall(SYS_exit, 0);
}

START_TEST(first_thread_ends_before_its_process)
{
	struct child child = start(outlive_leader);
	pid_t tid;

	ck_assert_int_eq(read(child.fd, &tid, sizeof(tid)), sizeof(tid));
	while (process_tid_state(child.pid) == PROCESS_THREAD_LIVES)
		(void)sched_yield();
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_ENDED);
	ck_assert_int_eq(process_tid_state(tid), PROCESS_THREAD_LIVES);
	ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
	await_end(child.pid, WNOWAIT);
	ck_assert_int_eq(process_tid_state(tid), PROCESS_THREAD_GONE);
	await_end(child.pid, 0);
}
END_TEST

START_TEST(another_users_process_lives)
{
	struct child child = start(await_close);

	if (geteuid() != 0) {
		printf("SKIP: needs root, to become somebody else\n");
		return;
	}
	ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(kill(child.pid, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_LIVES);
	ck_assert_int_eq(process_pid_namespace(child.pid), PROCESS_NAMESPACE_OURS);
	close_fd(&child.fd);
	await_end(child.pid, WNOWAIT);
	ck_assert_int_eq(process_tid_state(child.pid), PROCESS_THREAD_ENDED);
	await_end(child.pid, 0);
}
END_TEST

/* What a process in a pid namespace of its own tells, and what is told of it. */
struct nested {
	int error;			/* of unshare() */
	pid_t pid;			/* in our namespace */
	enum process_namespace of_itself;
};

static void
nest(int fd)
{
	struct nested nested = { 0 };
	int pair[2];

	if (unshare(CLONE_NEWPID) && unshare(CLONE_NEWUSER | CLONE_NEWPID)) {
		nested.error = errno;
		(void)!write(fd, &nested, sizeof(nested));
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	nested.pid = fork();
	if (nested.pid == 0) {
		/* Process 1 of a namespace, whose /proc is the outer one. */
		nested.of_itself = process_pid_namespace(getpid());
		(void)!write(pair[0], &nested.of_itself, sizeof(nested.of_itself));
		await_close(fd);
		_exit(0);
	}
	(void)!read(pair[1], &nested.of_itself, sizeof(nested.of_itself));
	(void)!write(fd, &nested, sizeof(nested));
	await_close(fd);
	(void)waitpid(nested.pid, NULL, 0);
}

START_TEST(pid_namespaces_are_told_apart)
{
	struct child child = start(nest);
	struct nested nested = { 0 };

	ck_assert_int_eq(process_pid_namespace(getpid()), PROCESS_NAMESPACE_OURS);
	ck_assert_int_eq(process_pid_namespace(child.pid), PROCESS_NAMESPACE_OURS);
	ck_assert_int_eq(process_pid_namespace(0), PROCESS_NAMESPACE_UNKNOWN);
	ck_assert_int_eq(process_pid_namespace(-1), PROCESS_NAMESPACE_UNKNOWN);
	ck_assert_int_eq(process_pid_namespace(INT32_MAX), PROCESS_NAMESPACE_UNKNOWN);
	ck_assert_int_eq(read(child.fd, &nested, sizeof(nested)), sizeof(nested));
	if (nested.error) {
		printf("SKIP: no pid namespace can be made here: %s\n", strerror(nested.error));
	} else {
		ck_assert_int_eq(process_pid_namespace(nested.pid), PROCESS_NAMESPACE_NESTED);
		ck_assert_int_eq(nested.of_itself, PROCESS_NAMESPACE_UNKNOWN);
	}
	close_fd(&child.fd);
	await_end(child.pid, WNOWAIT);
	/* Of one that has ended it can still be told. */
	ck_assert_int_eq(process_pid_namespace(child.pid), PROCESS_NAMESPACE_OURS);
	await_end(child.pid, 0);
	ck_assert_int_eq(process_pid_namespace(child.pid), PROCESS_NAMESPACE_UNKNOWN);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("process");
	TCase *tcase = tcase_create("process");

	tcase_add_test(tcase, process_lives_ends_and_is_gone);
	tcase_add_test(tcase, who_has_a_thousand_threads_takes_no_longer);
	tcase_add_test(tcase, ids_that_no_thread_can_have_are_gone);
	tcase_add_test(tcase, thread_is_told_by_its_own_id);
	tcase_add_test(tcase, first_thread_ends_before_its_process);
	tcase_add_test(tcase, another_users_process_lives);
	tcase_add_test(tcase, pid_namespaces_are_told_apart);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
