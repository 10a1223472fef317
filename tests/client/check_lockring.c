/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The bell: what the kernel is pointed at while a thread has a lock, and when not; what its ring says; and that all goes on
 * without it. There is no daemon that recovers anything, and a description of the dead stays open where it matters,
 * so that nothing but the bell can tell of a death.
 */
#include "config.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/client/fake_locks.h"
#include "tests/suite_run.h"

#define RANGE		4096
#define LOG		256
#define SLICES_MS	60	/* more than three slices */

enum { LOCK_BOOK, LOCK_KEEP, LOCK_POISON, N_LOCKS };

static struct fake_locks locks;
static struct segment_client *client;
static struct segment *segment;

static void
setup(void)
{
	locks = (struct fake_locks){ 0 };
	fake_locks_add(&locks, "book", 0, RANGE, LOG, CONTROL_ROLLBACK);
	fake_locks_add(&locks, "keep", RANGE, RANGE, LOG, CONTROL_KEEP);
	fake_locks_add(&locks, "poison", 2 * RANGE, RANGE, LOG, CONTROL_POISON);
	fake_locks_start(&locks);
}

static void
teardown(void)
{
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}

/* In the test, and in each of its processes. */
static void
attach(void)
{
	fake_assert(segment_connect(&client, locks.fake.path) == 0);
	fake_assert(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment) == 0);
}

static unsigned char *
bytes_of(int lock)
{
	return (unsigned char *)segment_data(segment) + lock * RANGE;
}

static int
lock_for(int lock, unsigned ms)
{
	uint64_t at_ns = clock_monotonic_ns() + ms * NS_PER_MS;
	struct timespec at = { .tv_sec = (time_t)(at_ns / NS_PER_SEC), .tv_nsec = (long)(at_ns % NS_PER_SEC) };

	return segment_timedlock(segment, lock, &at);
}

static uint64_t
state_of(int lock)
{
	return atomic_load(&locks.control[lock].state);
}

static uint32_t
own_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

/* What the kernel is pointed at, by the kernel's own word on where to look. */
static struct robust_list_head *
own_head(void)
{
	struct robust_list_head *head = NULL;
	size_t size;

	fake_assert(syscall(SYS_get_robust_list, 0, &head, &size) == 0 && head);
	return head;
}

/* The bell that the calling thread would ring; or NULL. */
static const void *
own_bell(void)
{
	const struct robust_list_head *head = own_head();

	return head->list_op_pending ? (const char *)head->list_op_pending + head->futex_offset : NULL;
}

static const void *
bell_of(const struct segment *of, int lock)
{
	return control_bell_futex(of->locks[lock].place.lock);
}

START_TEST(kernel_is_pointed_at_the_bell_while_it_is_held)
{
	attach();
	ck_assert_ptr_null(own_bell());
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(i ? segment_trylock(segment, LOCK_BOOK) : segment_lock(segment, LOCK_BOOK), 0);
		ck_assert_uint_eq(state_of(LOCK_BOOK), CONTROL_STATE(segment->attachment, own_tid()));
		ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_BOOK));
		/* The one within is not rung, and does not keep the first from being. */
		ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
		ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_BOOK));
		ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
		ck_assert_uint_eq(state_of(LOCK_KEEP), 0);
		ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_BOOK));
		ck_assert_int_eq(i ? segment_rollback(segment, LOCK_BOOK) : segment_unlock(segment, LOCK_BOOK), 0);
		ck_assert_uint_eq(state_of(LOCK_BOOK), 0);
		ck_assert_ptr_null(own_bell());
	}
}
END_TEST

/* A section with a lock, and a child that lives on with all that its parent had. Said by the parent: in fork it is silent. */
static void
enter(const struct child *self, int lock)
{
	fake_assert(segment_lock(segment, lock) == 0);
	fake_assert(segment_set(segment, lock, bytes_of(lock), "new", 3) == 0);
	if (fork() == 0) {
		child_hear(self);
		_exit(0);
	}
	child_say(self);
}

static void
die_in_a_section(struct child *self, struct fake_locks *all)
{
	attach();
	enter(self, LOCK_BOOK);
	for (;;)
		(void)pause();
}

/* Its parent only: whoever it forked stays. */
static void
kill_parent(struct child *child)
{
	ck_assert_int_eq(kill(child->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child->pid, NULL, 0), child->pid);
}

static void
end_grandchild(struct child *child)
{
	char c;

	child_say(child);
	/* Its end is the end of file. */
	ck_assert_int_eq(read(child->from_fd, &c, 1), 0);
	(void)close(child->to_fd);
}

static int
try_it(void)
{
	return segment_trylock(segment, LOCK_BOOK);
}

static int
wait_for_no_time(void)
{
	return lock_for(LOCK_BOOK, 0);
}

static int (*const ways[])(void) = { try_it, wait_for_no_time };

START_TEST(dead_owners_lock_is_had_at_once)
{
	struct child owner;

	memcpy(locks.data, "old", 3);
	child_start(&owner, die_in_a_section, &locks);
	child_hear(&owner);
	attach();
	ck_assert_int_eq(ways[_i](), _i ? -ETIMEDOUT : -EBUSY);
	kill_parent(&owner);
	ck_assert(control_is_rung(state_of(LOCK_BOOK)));
	ck_assert_int_eq(ways[_i](), 0);
	/* Others may sleep for it, though nobody does. */
	ck_assert_uint_eq(state_of(LOCK_BOOK), CONTROL_STATE(segment->attachment | CONTROL_WAITERS,
	    own_tid() | CONTROL_WAITERS));
	ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_BOOK));
	ck_assert(segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	/* Whom it was taken from, for the daemon's books. */
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].taken_n), 1);
	ck_assert(control_was_taken(&locks.control[LOCK_BOOK], segment->attachment - 1));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_ptr_null(own_bell());
	end_grandchild(&owner);
}
END_TEST

static void
die_with_poison(struct child *self, struct fake_locks *all)
{
	attach();
	enter(self, LOCK_POISON);
	for (;;)
		(void)pause();
}

START_TEST(poisoner_does_not_keep_the_kernel_pointed_at_it)
{
	struct child owner;

	child_start(&owner, die_with_poison, &locks);
	child_hear(&owner);
	attach();
	kill_parent(&owner);
	ck_assert_int_eq(segment_lock(segment, LOCK_POISON), -ENOTRECOVERABLE);
	ck_assert_uint_eq(state_of(LOCK_POISON), CONTROL_STATE(CONTROL_ID_POISON, 0));
	ck_assert_ptr_null(own_bell());
	end_grandchild(&owner);
}
END_TEST

static void
wait_for_book(struct child *self, struct fake_locks *all)
{
	attach();
	child_say(self);
	child_hear(self);
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0 && segment_recovered(segment, LOCK_BOOK));
	fake_assert(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "two", 3) == 0);
	child_say(self);
	child_hear(self);
}

/* One after the other dies in the section that it got by a death, while a child of the first keeps its mark. */
START_TEST(who_takes_over_rings_for_the_next)
{
	struct child owner, waiters[2];

	memcpy(locks.data, "old", 3);
	child_start(&owner, die_in_a_section, &locks);
	child_hear(&owner);
	for (int i = 0; i < 2; i++) {
		child_start(&waiters[i], wait_for_book, &locks);
		child_hear(&waiters[i]);
		child_say(&waiters[i]);
		fake_await_waiter(&locks, LOCK_BOOK);
	}
	attach();
	kill_parent(&owner);
	for (int i = 0; i < 2; i++) {
		/* Which of them had slept first is chance: the one that has it is looked for. */
		uint32_t id;
		int k;

		while ((id = fake_owner(&locks, LOCK_BOOK)) < 2 || id > 3 || memcmp(locks.data, "two", 3) != 0)
			(void)sched_yield();
		k = (int)id - 2;
		child_hear(&waiters[k]);
		child_kill(&waiters[k]);
		if (i == 1)
			break;
		/* The other one puts it right before it writes. */
		while (fake_owner(&locks, LOCK_BOOK) == id)
			(void)sched_yield();
	}
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), 0);
	ck_assert(memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].taken_n), 3);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	end_grandchild(&owner);
}
END_TEST

static void
make_robust(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;

	fake_assert(pthread_mutexattr_init(&attr) == 0 && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	fake_assert(pthread_mutex_init(mutex, &attr) == 0);
}

/* The C library's own use of the same pointer, in the section: the bell is silent then. */
static void
die_after_a_robust_mutex(struct child *self, struct fake_locks *all)
{
	static pthread_mutex_t mutex;

	attach();
	make_robust(&mutex);
	fake_assert(pthread_mutex_lock(&mutex) == 0 && segment_lock(segment, LOCK_KEEP) == 0);
	fake_assert(own_bell() == bell_of(segment, LOCK_KEEP));
	fake_assert(pthread_mutex_unlock(&mutex) == 0 && own_bell() == NULL);
	fake_assert(segment_unlock(segment, LOCK_KEEP) == 0 && own_bell() == NULL);
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
	fake_assert(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "new", 3) == 0);
	fake_assert(pthread_mutex_lock(&mutex) == 0);
	child_say(self);
	child_hear(self);
}

START_TEST(robust_mutex_in_a_section_costs_the_bell_only)
{
	struct child owner;

	memcpy(locks.data, "old", 3);
	child_start(&owner, die_after_a_robust_mutex, &locks);
	child_hear(&owner);
	attach();
	child_kill(&owner);
	ck_assert(!control_is_rung(state_of(LOCK_BOOK)));
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), -EBUSY);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert(control_was_taken(&locks.control[LOCK_BOOK], segment->attachment - 1));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

START_TEST(forked_child_is_not_pointed_at_its_parents_bell)
{
	int status;
	pid_t pid;

	attach();
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct segment *own = NULL;

		fake_assert(!own_bell());
		/* It is a thread of its own in locks that are its own. */
		fake_assert(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &own) == 0 && segment_lock(own, LOCK_KEEP) == 0);
		fake_assert(own_bell() == bell_of(own, LOCK_KEEP) && control_bell(state_of(LOCK_KEEP)) == own_tid());
		_exit(0);
	}
	ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_BOOK));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(state_of(LOCK_BOOK), CONTROL_STATE(segment->attachment, own_tid()));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_trylock(segment, LOCK_KEEP), 0);
	ck_assert(segment_recovered(segment, LOCK_KEEP));
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
	ck_assert_ptr_null(own_bell());
}
END_TEST

static void
lock_around(void)
{
	fake_assert(segment_lock(segment, LOCK_KEEP) == 0);
}

static void
unlock_around(void)
{
	fake_assert(segment_unlock(segment, LOCK_BOOK) == 0);
}

/* A program's handlers of fork, which come after ours in the parent: or before them, as those that were there first. */
START_TEST(handlers_of_fork_may_lock_and_unlock)
{
	int status;
	pid_t pid;

	/* Before ours: its first function runs after our first, and its second before our second. */
	ck_assert_int_eq(pthread_atfork(_i == 0 ? lock_around : NULL, _i == 1 ? unlock_around : NULL, NULL), 0);
	attach();
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	pid = fork();
	if (pid == 0)
		_exit(own_bell() ? 1 : 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* Of two it is whichever was first; of none it is none. */
	if (_i == 0)
		ck_assert_ptr_eq(own_bell(), bell_of(segment, LOCK_KEEP));
	else
		ck_assert_ptr_null(own_bell());
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), _i == 0 ? 0 : -EPERM);
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), _i == 0 ? 0 : -EPERM);
	ck_assert_ptr_null(own_bell());
}
END_TEST

struct holder {
	pthread_barrier_t barrier;
	struct segment *segment;
};

static void *
hold_in_a_thread(void *arg)
{
	struct holder *holder = arg;
	const void *bell = bell_of(holder->segment, LOCK_BOOK);

	fake_assert(segment_lock(holder->segment, LOCK_BOOK) == 0 && own_bell() == bell);
	(void)pthread_barrier_wait(&holder->barrier);
	(void)pthread_barrier_wait(&holder->barrier);
	/* Nothing is mapped there any more, or something else. */
	return own_bell() ? (void *)1 : NULL;
}

START_TEST(detaching_points_threads_away_from_what_is_unmapped)
{
	struct holder holder = { .segment = NULL };
	pthread_t thread;
	void *result;

	attach();
	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &holder.segment), 0);
	ck_assert_int_eq(pthread_barrier_init(&holder.barrier, NULL, 2), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, hold_in_a_thread, &holder), 0);
	(void)pthread_barrier_wait(&holder.barrier);
	ck_assert_int_eq(segment_detach(holder.segment), 0);
	ck_assert_uint_eq(state_of(LOCK_BOOK), 0);
	(void)pthread_barrier_wait(&holder.barrier);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(pthread_barrier_destroy(&holder.barrier), 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

static void *
end_behind_everybodys_back(void *arg)
{
	(void)arg;
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
	fake_assert(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "new", 3) == 0);
	(void)syscall(SYS_exit, 0);
	return NULL;
}

/* The process lives, and so the mark stays; and the daemon is not to hear of it when the process dies. */
START_TEST(thread_that_ends_unseen_rings)
{
	pthread_t thread;

#ifdef WITH_SANITIZERS
	printf("SKIP: the sanitizers want to see each thread's end\n");
	attach();
	return;
#endif
	memcpy(locks.data, "old", 3);
	attach();
	ck_assert_int_eq(pthread_create(&thread, NULL, end_behind_everybodys_back, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(control_is_rung(state_of(LOCK_BOOK)));
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].taken_n), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	/* Or the segment is given back before anybody asks. */
	ck_assert_int_eq(pthread_create(&thread, NULL, end_behind_everybodys_back, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_uint_eq(state_of(LOCK_BOOK), 0);
	segment_disconnect(client);
	attach();
}
END_TEST

/* As where a kernel, or a sandbox, does not know the calls. */
static void
forbid(unsigned number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(code), .filter = code };

	fake_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	fake_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void
die_without_a_head(struct child *self, struct fake_locks *all)
{
	forbid(SYS_get_robust_list);
	attach();
	for (int i = 0; i < 2; i++) {
		fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
		fake_assert(atomic_load(&all->control[LOCK_BOOK].state) == CONTROL_STATE(segment->attachment, 0));
		if (i == 0)
			fake_assert(segment_unlock(segment, LOCK_BOOK) == 0);
	}
	if (fork() == 0) {
		fake_assert(segment_lock(segment, LOCK_BOOK) == -ECHILD);
		_exit(0);
	}
	(void)wait(NULL);
	child_say(self);
	child_hear(self);
}

START_TEST(thread_without_a_robust_list_is_recovered_from_all_the_same)
{
	struct child owner;

	child_start(&owner, die_without_a_head, &locks);
	child_hear(&owner);
	attach();
	ck_assert_int_eq(lock_for(LOCK_BOOK, SLICES_MS), -ETIMEDOUT);
	ck_assert_uint_eq(control_bell(state_of(LOCK_BOOK)), 0);
	child_kill(&owner);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

static void
wait_with_one_ear(struct child *self, struct fake_locks *all)
{
	forbid(449);	/* futex_waitv */
	wait_for_book(self, all);
}

START_TEST(waiter_that_can_sleep_for_one_word_only_gets_it)
{
	struct child owner, waiter;

	child_start(&owner, die_in_a_section, &locks);
	child_hear(&owner);
	child_start(&waiter, wait_with_one_ear, &locks);
	child_hear(&waiter);
	child_say(&waiter);
	fake_await_waiter(&locks, LOCK_BOOK);
	attach();
	kill_parent(&owner);
	child_hear(&waiter);
	child_kill(&waiter);
	end_grandchild(&owner);
}
END_TEST

static void
own_and_go_on(struct child *self, struct fake_locks *all)
{
	attach();
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
	child_say(self);
	child_hear(self);
	fake_assert(segment_unlock(segment, LOCK_BOOK) == 0);
	child_say(self);
	child_hear(self);
}

/* Bells of all kinds while the owner lives: its lock may be lost, and comes back; nothing hangs. */
START_TEST(bell_that_a_writer_sets_harms_that_lock_at_most)
{
	static const uint32_t bells[] = { 0, 1, CONTROL_DIED, CONTROL_WAITERS, CONTROL_DIED | CONTROL_WAITERS,
		CONTROL_DIED | 7, UINT32_MAX, 0x3fffffff };
	struct child owner;
	int r;

	child_start(&owner, own_and_go_on, &locks);
	child_hear(&owner);
	attach();
	atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(fake_owner(&locks, LOCK_BOOK), bells[_i]));
	r = lock_for(LOCK_BOOK, SLICES_MS);
	ck_assert_int_eq(r, bells[_i] & CONTROL_DIED ? 0 : -ETIMEDOUT);
	if (r == 0)
		ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	child_say(&owner);
	child_hear(&owner);
	ck_assert_uint_eq(state_of(LOCK_BOOK), 0);
	/* With nobody in the word. */
	atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(_i % 2 ? CONTROL_WAITERS : 0, bells[_i]));
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_uint_eq(control_bell(state_of(LOCK_BOOK)) & ~CONTROL_WAITERS, own_tid());
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(CONTROL_ID_POISON, bells[_i]));
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), -ENOTRECOVERABLE);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), -ENOTRECOVERABLE);
	atomic_store(&locks.control[LOCK_BOOK].state, 0);
	child_say(&owner);
	child_end(&owner);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockring");
	TCase *tcase = tcase_create("lockring");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, kernel_is_pointed_at_the_bell_while_it_is_held);
	tcase_add_loop_test(tcase, dead_owners_lock_is_had_at_once, 0, BASE_ARRAY_SIZE(ways));
	tcase_add_test(tcase, poisoner_does_not_keep_the_kernel_pointed_at_it);
	tcase_add_test(tcase, who_takes_over_rings_for_the_next);
	tcase_add_test(tcase, robust_mutex_in_a_section_costs_the_bell_only);
	tcase_add_test(tcase, forked_child_is_not_pointed_at_its_parents_bell);
	tcase_add_loop_test(tcase, handlers_of_fork_may_lock_and_unlock, 0, 2);
	tcase_add_test(tcase, detaching_points_threads_away_from_what_is_unmapped);
	tcase_add_test(tcase, thread_that_ends_unseen_rings);
	tcase_add_test(tcase, thread_without_a_robust_list_is_recovered_from_all_the_same);
	tcase_add_test(tcase, waiter_that_can_sleep_for_one_word_only_gets_it);
	tcase_add_loop_test(tcase, bell_that_a_writer_sets_harms_that_lock_at_most, 0, 8);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
