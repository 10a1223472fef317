/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Threads of one process, whose attachment is the same: they exclude each other, end, fork and detach with sections open. */
#include "config.h"

#include <pthread.h>
#include <sys/wait.h>

#include "tests/client/fake_locks.h"
#include "tests/suite_run.h"

#define RANGE		4096
#define N_THREADS	4
#ifdef __SANITIZE_THREAD__
#define N_ROUNDS	2000
#else
#define N_ROUNDS	20000
#endif

enum { LOCK_BOOK, LOCK_KEEP, LOCK_ZERO, LOCK_POISON, N_LOCKS };

static struct fake_locks locks;
static struct segment_client *client;
static struct segment *segment;

static struct segment *
attach(void)
{
	struct segment *attached = NULL;
	int r = segment_attach(client, "bank", NULL, SEGMENT_WRITE, &attached);

	ck_assert_msg(r == 0, "attaching: %d: %s", r, segment_error());
	return attached;
}

static void
setup(void)
{
	locks = (struct fake_locks){ 0 };
	fake_locks_add(&locks, "book", 0, RANGE, 256, CONTROL_ROLLBACK);
	fake_locks_add(&locks, "keep", RANGE, RANGE, 256, CONTROL_KEEP);
	fake_locks_add(&locks, "zero", 2 * RANGE, RANGE, 256, CONTROL_ZERO);
	fake_locks_add(&locks, "poison", 3 * RANGE, RANGE, 256, CONTROL_POISON);
	fake_locks_start(&locks);
	ck_assert_int_eq(segment_connect(&client, locks.fake.path), 0);
	segment = attach();
}

static void
teardown(void)
{
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}

static unsigned char *
bytes_of(int lock)
{
	return (unsigned char *)segment_data(segment) + lock * RANGE;
}

static struct timespec
in_ms(unsigned ms)
{
	uint64_t at_ns = clock_monotonic_ns() + ms * NS_PER_MS;

	return (struct timespec){ .tv_sec = (time_t)(at_ns / NS_PER_SEC), .tv_nsec = (long)(at_ns % NS_PER_SEC) };
}

/* What failed in a thread is its result. */
#define thread_check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, segment_error()); \
			return (void *)1;					\
		}								\
	} while (0)

static void
run(void *(*fn)(void *), void *arg)
{
	pthread_t thread;
	void *result;

	ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_msg(!result || result == PTHREAD_CANCELED, "a thread failed");
}

/* Plain memory, which nothing but the lock keeps the threads from sharing. */
static uint64_t counted;

static void *
count(void *arg)
{
	uint64_t *in_segment = (uint64_t *)(void *)bytes_of(LOCK_BOOK);

	for (int i = 0; i < N_ROUNDS; i++) {
		struct timespec deadline;
		int r = -EBUSY;

		if (i % 3 == 0)
			r = segment_trylock(segment, LOCK_BOOK);
		if (r == -EBUSY && i % 3 == 1) {
			deadline = in_ms(1);
			do
				r = segment_timedlock(segment, LOCK_BOOK, &deadline);
			while (r == -ETIMEDOUT && (deadline = in_ms(1), true));
		}
		if (r == -EBUSY)
			r = segment_lock(segment, LOCK_BOOK);
		thread_check(r == 0);
		thread_check(segment_modify(segment, LOCK_BOOK, in_segment, sizeof(*in_segment)) == 0);
		counted++;
		++*in_segment;
		thread_check(segment_unlock(segment, LOCK_BOOK) == 0);
	}
	return NULL;
}

START_TEST(threads_exclude_each_other)
{
	pthread_t threads[N_THREADS];
	void *result;

	for (int i = 0; i < N_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < N_THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &result), 0);
		ck_assert_ptr_null(result);
	}
	ck_assert_uint_eq(counted, (uint64_t)N_THREADS * N_ROUNDS);
	ck_assert_uint_eq(*(uint64_t *)(void *)bytes_of(LOCK_BOOK), (uint64_t)N_THREADS * N_ROUNDS);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), 0);
}
END_TEST

/* Long enough for several slices, after which the kernel would say of the own mark that it is free. */
static void *
wait_in_vain(void *arg)
{
	struct timespec deadline = in_ms(60);

	thread_check(segment_trylock(segment, LOCK_BOOK) == -EBUSY);
	thread_check(segment_unlock(segment, LOCK_BOOK) == -EPERM);
	thread_check(segment_modify(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), 1) == -EPERM);
	thread_check(segment_timedlock(segment, LOCK_BOOK, &deadline) == -ETIMEDOUT);
	return NULL;
}

START_TEST(own_attachment_is_never_robbed)
{
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	run(wait_in_vain, NULL);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), segment->attachment);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(!segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

/* Leaves a section of every lock open. */
static void *
leave_open(void *arg)
{
	bool by_exit = arg != NULL;

	for (int i = 0; i < N_LOCKS; i++) {
		thread_check(segment_lock(segment, i) == 0);
		thread_check(segment_set(segment, i, bytes_of(i), "new", 3) == 0);
	}
	if (by_exit)
		pthread_exit(NULL);
	(void)pthread_cancel(pthread_self());
	pthread_testcancel();
	return (void *)1;
}

START_TEST(thread_end_is_a_death)
{
	for (int i = 0; i < N_LOCKS; i++)
		memcpy(bytes_of(i), "old", 3);
	run(leave_open, _i ? segment : NULL);
	for (int i = 0; i < LOCK_POISON; i++) {
		ck_assert_uint_eq(fake_word(&locks, i), 0);
		ck_assert_int_eq(segment_lock(segment, i), 0);
		ck_assert(segment_recovered(segment, i));
		ck_assert_int_eq(segment_unlock(segment, i), 0);
		ck_assert_uint_eq(segment_read_begin(segment, i) & 1, 0);
	}
	ck_assert(memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert(memcmp(bytes_of(LOCK_KEEP), "new", 3) == 0);
	ck_assert(memcmp(bytes_of(LOCK_ZERO), "\0\0\0", 3) == 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_POISON), -ENOTRECOVERABLE);
	ck_assert_int_eq(segment_trylock(segment, LOCK_POISON), -ENOTRECOVERABLE);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_POISON) & 1, 1);
}
END_TEST

static void *
end_when_waited_for(void *arg)
{
	pthread_barrier_t *begun = arg;

	thread_check(segment_lock(segment, LOCK_BOOK) == 0);
	thread_check(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "new", 3) == 0);
	(void)pthread_barrier_wait(begun);
	fake_await_waiter(&locks, LOCK_BOOK);
	return NULL;
}

START_TEST(thread_end_wakes_who_waits)
{
	pthread_barrier_t begun;
	pthread_t thread;

	ck_assert_int_eq(pthread_barrier_init(&begun, NULL, 2), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, end_when_waited_for, &begun), 0);
	(void)pthread_barrier_wait(&begun);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_uint_eq(*bytes_of(LOCK_BOOK), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

static pthread_key_t late_key;

/* A destructor of the program's, which may run behind the library's own. */
static void
lock_late(void *arg)
{
	(void)segment_lock(segment, LOCK_KEEP);
	(void)segment_set(segment, LOCK_KEEP, bytes_of(LOCK_KEEP), "late", 4);
}

static void *
end_late(void *arg)
{
	thread_check(segment_lock(segment, LOCK_BOOK) == 0);
	thread_check(segment_unlock(segment, LOCK_BOOK) == 0);
	thread_check(pthread_setspecific(late_key, segment) == 0);
	return NULL;
}

START_TEST(locks_of_a_destructor_are_given_back)
{
	/* The library's key is made first, so its destructor runs first. */
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(pthread_key_create(&late_key, lock_late), 0);
	run(end_late, NULL);
	ck_assert_uint_eq(fake_word(&locks, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert(segment_recovered(segment, LOCK_KEEP));
	ck_assert(memcmp(bytes_of(LOCK_KEEP), "late", 4) == 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
}
END_TEST

START_TEST(detach_ends_open_sections)
{
	struct segment *other = attach();

	ck_assert_int_ne(other->attachment, segment->attachment);
	memcpy(bytes_of(LOCK_BOOK), "old", 3);
	ck_assert_int_eq(segment_lock(other, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_set(other, LOCK_BOOK, segment_data(other), "new", 3), 0);
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), -EBUSY);
	ck_assert_int_eq(segment_detach(other), 0);
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert(memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

/* Attaches, opens a section and either detaches or ends: others do the same. */
static void *
come_and_go(void *arg)
{
	struct segment *own = NULL;

	thread_check(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &own) == 0);
	thread_check(segment_lock(own, LOCK_BOOK) == 0);
	thread_check(segment_set(own, LOCK_BOOK, (char *)segment_data(own) + 64, "new", 3) == 0);
	thread_check(segment_detach(own) == 0);
	thread_check(segment_lock(segment, LOCK_KEEP) == 0);
	return NULL;
}

START_TEST(threads_end_while_others_detach)
{
	pthread_t threads[N_THREADS];
	void *result;

	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < N_THREADS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
		for (int i = 0; i < N_THREADS; i++) {
			ck_assert_int_eq(pthread_join(threads[i], &result), 0);
			ck_assert_ptr_null(result);
		}
	}
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), 0);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_KEEP), 0);
	ck_assert_uint_eq(bytes_of(LOCK_BOOK)[64], 0);
}
END_TEST

/* In a forked child: no lock of the parent's is the child's, whatever it tries, and the parent's section goes on. */
static void
be_forked(void)
{
	struct segment *own = NULL;
	struct timespec past = { 0 };

	fake_assert(segment_lock(segment, LOCK_BOOK) == -ECHILD && strstr(segment_error(), "fork"));
	fake_assert(segment_trylock(segment, LOCK_KEEP) == -ECHILD && segment_unlock(segment, LOCK_BOOK) == -ECHILD);
	fake_assert(segment_timedlock(segment, LOCK_BOOK, &past) == -ECHILD);
	fake_assert(segment_modify(segment, LOCK_BOOK, segment_data(segment), 1) == -ECHILD);
	fake_assert(segment_rollback(segment, LOCK_BOOK) == -ECHILD && !segment_recovered(segment, LOCK_BOOK));
	fake_assert(segment_find_lock(segment, "keep") == LOCK_KEEP);
	fake_assert(segment_read_begin(segment, LOCK_KEEP) == 0 && !segment_read_retry(segment, LOCK_KEEP, 0));
	fake_assert(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &own) == 0);
	fake_assert(segment_trylock(own, LOCK_BOOK) == -EBUSY && segment_lock(own, LOCK_KEEP) == 0);
	fake_assert(segment_unlock(own, LOCK_KEEP) == 0);
	fake_assert(segment_detach(own) == 0 && segment_detach(segment) == 0);
#ifdef WITH_SANITIZERS
	_exit(0);	/* they have a thread of their own, or count what the suite leaves to the process's end */
#endif
	/* As the last thread of the child, which never had the lock. */
	pthread_exit(NULL);
}

START_TEST(forked_child_has_no_lock_of_its_parents)
{
	int status;
	pid_t pid;

	memcpy(bytes_of(LOCK_BOOK), "old", 3);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "new", 3), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		be_forked();
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), segment->attachment);
	ck_assert(memcmp(bytes_of(LOCK_BOOK), "new", 3) == 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert(!segment_recovered(segment, LOCK_BOOK));
}
END_TEST

START_TEST(child_without_the_mapping_does_not_touch_it)
{
	struct segment *own = NULL;
	int status;
	pid_t pid;

	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_WRITE | SEGMENT_DONTFORK, &own), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		fake_assert(!segment_data(own) && segment_lock(own, LOCK_BOOK) == -ECHILD);
		fake_assert((segment_read_begin(own, LOCK_BOOK) & 1) && strstr(segment_error(), "fork"));
		fake_assert(segment_read_retry(own, LOCK_BOOK, 0) && segment_detach(own) == 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(segment_lock(own, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_detach(own), 0);
}
END_TEST

static void *
fork_much(void *arg)
{
	for (int i = 0; i < 20; i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(segment_lock(segment, LOCK_KEEP) == -ECHILD ? 0 : 1);
		thread_check(waitpid(pid, &status, 0) == pid && status == 0);
	}
	return NULL;
}

START_TEST(forks_while_threads_end)
{
	pthread_t forker;
	void *result;

	ck_assert_int_eq(pthread_create(&forker, NULL, fork_much, NULL), 0);
	for (int i = 0; i < 50; i++)
		run(come_and_go, NULL);
	ck_assert_int_eq(pthread_join(forker, &result), 0);
	ck_assert_ptr_null(result);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockthreads");
	TCase *tcase = tcase_create("lockthreads");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, threads_exclude_each_other);
	tcase_add_test(tcase, own_attachment_is_never_robbed);
	tcase_add_loop_test(tcase, thread_end_is_a_death, 0, 2);
	tcase_add_test(tcase, thread_end_wakes_who_waits);
	tcase_add_test(tcase, locks_of_a_destructor_are_given_back);
	tcase_add_test(tcase, detach_ends_open_sections);
	tcase_add_test(tcase, threads_end_while_others_detach);
	tcase_add_test(tcase, forked_child_has_no_lock_of_its_parents);
	tcase_add_test(tcase, child_without_the_mapping_does_not_touch_it);
	tcase_add_test(tcase, forks_while_threads_end);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
