/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The bell at its edges: threads that end by themselves while their process lives, so that others take over a lock which this
 * process believes to have; and what can be in the way of hearing it.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/client/fake_locks.h"
#include "tests/harness-clock.h"
#include "tests/suite_run.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv	449
#endif

#define RANGE		4096
#define STACK_BYTES	(256 * KIB)
#define SLICES_MS	30	/* more than one slice */

enum { LOCK_BOOK, LOCK_KEEP };

static struct fake_locks locks;
static struct segment_client *client;
static struct segment *segment, *other;	/* two attachments: what another process has is the same to this one's threads */

static struct segment *
attach(void)
{
	struct segment *attached = NULL;

	fake_assert(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &attached) == 0);
	return attached;
}

static void
setup(void)
{
	locks = (struct fake_locks){ 0 };
	fake_locks_add(&locks, "book", 0, RANGE, 256, CONTROL_ROLLBACK);
	fake_locks_add(&locks, "keep", RANGE, RANGE, 256, CONTROL_KEEP);
	fake_locks_start(&locks);
	ck_assert_int_eq(segment_connect(&client, locks.fake.path), 0);
	segment = attach();
	other = attach();
}

static void
teardown(void)
{
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_int_eq(segment_detach(other), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}

static int
lock_for(struct segment *in, int lock, unsigned ms)
{
	uint64_t at_ns = clock_monotonic_ns() + ms * NS_PER_MS;
	struct timespec at = { .tv_sec = (time_t)(at_ns / NS_PER_SEC), .tv_nsec = (long)(at_ns % NS_PER_SEC) };

	return segment_timedlock(in, lock, &at);
}

#ifndef WITH_SANITIZERS		/* which count threads, and take one for alive that did not end by the C library's way */
static struct lock_thread *dead_thread;

static void *
run(void *(*fn)(void *), const pthread_attr_t *attributes)
{
	pthread_t thread;
	void *result = NULL;

	ck_assert_int_eq(pthread_create(&thread, attributes, fn, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	return result;
}

/* Ends as no thread should, in sections of both locks; the kernel rings the first one's bell. */
static void *
lock_and_vanish(void *arg)
{
	dead_thread = &lock_thread;
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0 && segment_lock(segment, LOCK_KEEP) == 0);
	fake_assert(segment_set(segment, LOCK_BOOK, segment_data(segment), "new", 3) == 0);
	(void)syscall(SYS_exit, 0);
	return arg;
}

/* The C library gives it the dead one's memory: its locks are not its own for that, whether it has ever locked or not. */
static void *
be_next(void *arg)
{
	fake_assert(segment_unlock(segment, LOCK_BOOK) == -EPERM && segment_rollback(segment, LOCK_KEEP) == -EPERM);
	fake_assert(segment_trylock(segment, LOCK_BOOK) == -EBUSY && segment_unlock(segment, LOCK_BOOK) == -EPERM);
	fake_assert(lock_for(segment, LOCK_BOOK, SLICES_MS) == -ETIMEDOUT);
	return &lock_thread == dead_thread ? arg : &dead_thread;
}

START_TEST(next_thread_does_not_end_the_sections_of_a_dead_one)
{
	(void)run(lock_and_vanish, NULL);
	ck_assert(control_is_rung(atomic_load(&locks.control[LOCK_BOOK].state)));
	ck_assert_int_eq(segment_lock(other, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_set(other, LOCK_BOOK, segment_data(other), "two", 3), 0);
	ck_assert_msg(!run(be_next, NULL), "the second thread has other memory than the first one had: nothing was tested");
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), other->attachment);
	ck_assert(memcmp(locks.data, "two", 3) == 0);
	ck_assert_int_eq(segment_unlock(other, LOCK_BOOK), 0);
	ck_assert(memcmp(locks.data, "two", 3) == 0);
}
END_TEST

START_TEST(detach_does_not_look_for_a_thread_where_it_was)
{
	void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attributes;

	ck_assert(stack != MAP_FAILED);
	ck_assert_int_eq(pthread_attr_init(&attributes), 0);
	ck_assert_int_eq(pthread_attr_setstack(&attributes, stack, STACK_BYTES), 0);
	(void)run(lock_and_vanish, &attributes);
	(void)pthread_attr_destroy(&attributes);
	ck_assert_int_eq(munmap(stack, STACK_BYTES), 0);
	ck_assert(!control_is_rung(atomic_load(&locks.control[LOCK_KEEP].state)));
	ck_assert_uint_eq(fake_owner(&locks, LOCK_KEEP), segment->attachment);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment = NULL;
	for (int i = LOCK_BOOK; i <= LOCK_KEEP; i++) {
		ck_assert_int_eq(segment_trylock(other, i), 0);
		ck_assert(segment_recovered(other, i));
		ck_assert_int_eq(segment_unlock(other, i), 0);
	}
	ck_assert_uint_eq(*locks.data, 0);
}
END_TEST
#endif

static pthread_barrier_t meeting;

static void *
lock_and_stay(void *arg)
{
	fake_assert(segment_lock(other, LOCK_BOOK) == 0 && lock_thread.head->list_op_pending);
	(void)pthread_barrier_wait(&meeting);
	(void)pthread_barrier_wait(&meeting);
	return lock_thread.head->list_op_pending;
}

START_TEST(detach_points_the_kernel_elsewhere)
{
	pthread_t thread;
	void *pending;

	ck_assert_int_eq(pthread_barrier_init(&meeting, NULL, 2), 0);
	ck_assert_int_eq(segment_trylock(segment, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
	if (lock_thread.head == &lock_no_head) {
		printf("SKIP: the kernel does not tell where it looks for robust mutexes\n");
		return;
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, lock_and_stay, NULL), 0);
	(void)pthread_barrier_wait(&meeting);
	ck_assert_int_eq(segment_detach(other), 0);
	other = NULL;
	(void)pthread_barrier_wait(&meeting);
	ck_assert_int_eq(pthread_join(thread, &pending), 0);
	ck_assert_ptr_null(pending);
}
END_TEST

/* What the kernel does at a thread's end, to the bell. */
static void
ring(int lock)
{
	uint32_t word = fake_word(&locks, lock);

	atomic_store(&locks.control[lock].state, CONTROL_STATE(word, CONTROL_DIED));
}

START_TEST(who_takes_it_anew_was_told_nothing)
{
	atomic_store(&locks.control[LOCK_KEEP].marks, CONTROL_OWNER_DIED);
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert(segment_recovered(segment, LOCK_KEEP));
	ring(LOCK_KEEP);
	ck_assert_int_eq(segment_lock(other, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_unlock(other, LOCK_KEEP), 0);
	/* The dead thread's process, which believes that it has been told. */
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_lock(other, LOCK_KEEP), 0);
	ck_assert(segment_recovered(other, LOCK_KEEP));
	ck_assert_int_eq(segment_unlock(other, LOCK_KEEP), 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_KEEP].marks), 0);
}
END_TEST

START_TEST(fork_does_not_forget_what_was_told)
{
	pid_t pid;

	atomic_store(&locks.control[LOCK_KEEP].marks, CONTROL_OWNER_DIED);
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert(segment_recovered(segment, LOCK_KEEP));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_KEEP].marks), 0);
}
END_TEST

START_TEST(nobody_is_noted_who_has_lost_nothing)
{
	struct control_lock lock = { .state = CONTROL_STATE(2, 0) };

	ck_assert_int_eq(control_take_over(&lock, 1, 3, 0), CONTROL_E_OTHER);
	ck_assert(!control_was_taken(&lock, 1));
	ck_assert_int_eq(control_take_over(&lock, 2, 3, 0), 0);
	ck_assert(control_was_taken(&lock, 2) && !control_was_taken(&lock, 3));
}
END_TEST

/* What a writer left in the bell keeps nobody from a lock that is free. */
START_TEST(free_lock_is_free_whatever_its_bell)
{
	static const uint32_t bells[] = { 1, CONTROL_DIED, CONTROL_WAITERS, CONTROL_DIED | CONTROL_WAITERS, UINT32_MAX };

	for (size_t i = 0; i < 2 * BASE_ARRAY_SIZE(bells); i++) {
		atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(i % 2 ? CONTROL_WAITERS : 0, bells[i / 2]));
		ck_assert_int_eq(i % 3 ? segment_trylock(segment, LOCK_BOOK) : segment_lock(segment, LOCK_BOOK), 0);
		ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), segment->attachment);
		ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
		ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].state), 0);
	}
}
END_TEST

/* The results that the call for both may have, besides those that a wait has. */
static const int waitv_errors[] = { ENOMEM, ENOSYS, EPERM, EINVAL, EACCES };

static bool
refuse_waitv(int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Is the test's process, which the filter stays with. */
START_TEST(waiting_goes_on_without_the_call_for_both)
{
	if (!refuse_waitv(waitv_errors[_i])) {
		printf("SKIP: no seccomp filter here: %s\n", strerror(errno));
		return;
	}
	ck_assert_int_eq(segment_lock(other, LOCK_BOOK), 0);
	ck_assert_int_eq(lock_for(segment, LOCK_BOOK, SLICES_MS), -ETIMEDOUT);
	/* The bell is heard at the end of a slice. */
	ring(LOCK_BOOK);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

static void *
wait_for_book(void *arg)
{
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0 && segment_unlock(segment, LOCK_BOOK) == 0);
	return arg;
}

/* A claim has no bell; who takes the lock after it has one, and who sleeps since then hears it, too. */
START_TEST(sleeper_behind_a_claim_hears_the_bell_of_the_next)
{
	struct control_lock *lock = &locks.control[LOCK_BOOK];
	uint64_t until_ns = harness_clock_ns() + 5 * NS_PER_SEC;
	int fd = fake_reopen(locks.data_fd, O_RDWR);
	pthread_t thread;
	long n = 0;

	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno != EINVAL) {
		printf("SKIP: no futex_waitv here: %s\n", strerror(errno));
		(void)close(fd);
		return;
	}
	ck_assert(fake_mark(fd, 1000));
	atomic_store(&lock->state, CONTROL_STATE(1000, 0));
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_book, NULL), 0);
	/* How many sleep for it, the kernel says. */
	while (n == 0 && harness_clock_ns() < until_ns) {
		n = syscall(SYS_futex, control_bell_futex(lock), FUTEX_WAKE, 1, NULL, NULL, 0);
		lock_pause();
	}
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(control_release(lock, 1000), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	(void)close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockbell");
	TCase *tcase = tcase_create("lockbell");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
#ifndef WITH_SANITIZERS
	tcase_add_test(tcase, next_thread_does_not_end_the_sections_of_a_dead_one);
	tcase_add_test(tcase, detach_does_not_look_for_a_thread_where_it_was);
#else
	printf("SKIP: two tests with threads that end without the C library, which the sanitizers do not understand\n");
#endif
	tcase_add_test(tcase, detach_points_the_kernel_elsewhere);
	tcase_add_test(tcase, who_takes_it_anew_was_told_nothing);
	tcase_add_test(tcase, fork_does_not_forget_what_was_told);
	tcase_add_test(tcase, nobody_is_noted_who_has_lost_nothing);
	tcase_add_test(tcase, free_lock_is_free_whatever_its_bell);
	tcase_add_loop_test(tcase, waiting_goes_on_without_the_call_for_both, 0, (int)BASE_ARRAY_SIZE(waitv_errors));
	tcase_add_test(tcase, sleeper_behind_a_claim_hears_the_bell_of_the_next);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
