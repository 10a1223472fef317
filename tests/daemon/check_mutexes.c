/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The recovery of applications' mutexes: what the kernel marked, what it did not get to, and what is only reported. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/mutex.h"
#include "daemon/mutexes.h"
#include "tests/daemon/recovery_rig.h"

/* A process that ends while it has the mutex. is_stuck: without a robust list, so that the kernel marks nothing. */
static void
die_with_mutex(unsigned index, bool is_stuck)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (pthread_mutex_lock(mutex_of(index)))
			_exit(1);
		memset((unsigned char *)test.segment->holding.map + lock_of(index)->definition->offset_bytes, 0xbb,
		    lock_of(index)->definition->length_bytes);
		if (is_stuck)
			(void)syscall(SYS_set_robust_list, NULL, (size_t)24);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void
detach(struct client *client)
{
	(void)close(client->fd);
	attachment_give_up(client->attachment, UINT64_MAX);
	while (test.segment->locks->n_busy)
		turn();
}

START_TEST(mutexes_of_the_dead)
{
	bool is_stuck = _i & 1;
	unsigned index = MUTEX + (unsigned)_i / 2;
	struct client client = attach();

	die_with_mutex(index, is_stuck);
	ck_assert_uint_eq(mutex_owner(mutex_word(mutex_of(index))) != 0, is_stuck);
	detach(&client);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 1);
	ck_assert_uint_eq(lock_of(index)->n_recoveries, 1);
	if (index != MUTEX)
		ck_assert(all_are((unsigned char *)test.segment->holding.map + lock_of(index)->definition->offset_bytes, 0,
		    lock_of(index)->definition->length_bytes));
	/* Nobody has taken it: the next death tells nothing new. */
	client = attach();
	detach(&client);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 1);
	ck_assert_int_eq(pthread_mutex_lock(mutex_of(index)), EOWNERDEAD);
	ck_assert_int_eq(pthread_mutex_consistent(mutex_of(index)), 0);
	ck_assert_int_eq(pthread_mutex_unlock(mutex_of(index)), 0);
	/* And another death is another one, though nobody has looked in between. */
	client = attach();
	die_with_mutex(index, is_stuck);
	detach(&client);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 2);
	ck_assert_int_eq(pthread_mutex_lock(mutex_of(index)), EOWNERDEAD);
}
END_TEST

/* A worker that is refused memory leaves the mutex as it was, and another one follows. */
START_TEST(a_mutex_that_a_worker_could_not_zero)
{
	const struct definition_lock *definition = lock_of(MUTEX_BIGZERO)->definition;
	struct client client = attach();

	die_with_mutex(MUTEX_BIGZERO, true);
	ck_assert_int_eq(fallocate(client.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)definition->offset_bytes,
	    PAGE), 0);
	test.recovery.memory_reserve_bytes = (uint64_t)1 << 60;
	detach(&client);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 0);
	test.recovery.memory_reserve_bytes = 0;
	while (!test.n_outcomes[RECOVERY_FREED])
		turn();
	ck_assert_int_eq(pthread_mutex_lock(mutex_of(MUTEX_BIGZERO)), EOWNERDEAD);
}
END_TEST

START_TEST(mutexes_of_the_living)
{
	struct client client = attach();

	ck_assert_int_eq(pthread_mutex_lock(mutex_of(MUTEX)), 0);
	detach(&client);
	ck_assert_uint_eq(mutex_owner(mutex_word(mutex_of(MUTEX))), (uint32_t)gettid());
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 0);
	ck_assert_int_eq(pthread_mutex_unlock(mutex_of(MUTEX)), 0);
}
END_TEST

/* Thread ids mean nothing where a writer counts them differently: what seems stuck is shown, and not touched. */
START_TEST(mutexes_among_namespaces)
{
	enum protocol_lock_reason reason;
	struct client client = attach(), foreign;
	uint32_t owner;

	test.identity.pid = 0;		/* whom we cannot see */
	foreign = attach();
	ck_assert(foreign.attachment->is_foreign && !client.attachment->is_foreign);
	die_with_mutex(MUTEX, true);
	detach(&client);
	ck_assert_uint_ne(mutex_owner(mutex_word(mutex_of(MUTEX))), 0);
	ck_assert(lock_of(MUTEX)->is_stuck);
	mutexes_observe(lock_of(MUTEX), &owner, &reason);
	ck_assert_int_eq(reason, PROTOCOL_LOCK_NAMESPACES);
	/* It has gone: the next look frees it. */
	detach(&foreign);
	test.identity.pid = getpid();
	client = attach();
	detach(&client);
	ck_assert(!lock_of(MUTEX)->is_stuck);
	ck_assert_int_eq(pthread_mutex_lock(mutex_of(MUTEX)), EOWNERDEAD);
}
END_TEST

START_TEST(mutexes_of_other_kinds)
{
	static const struct {
		int kind;
		enum protocol_lock_reason reason;
	} kinds[] = {
		{ 0, PROTOCOL_LOCK_NOT_SHARED }, { 0x80, PROTOCOL_LOCK_NOT_ROBUST }, { 0xb0, PROTOCOL_LOCK_INHERITS },
		{ 0x7fff0000, PROTOCOL_LOCK_FOREIGN },
	};
	enum protocol_lock_reason reason;
	struct client client = attach();
	uint32_t owner;

	die_with_mutex(MUTEX, true);
	mutex_of(MUTEX)->__data.__kind = kinds[_i].kind;
	mutexes_observe(lock_of(MUTEX), &owner, &reason);
	ck_assert_int_eq(reason, kinds[_i].reason);
	owner = mutex_word(mutex_of(MUTEX));
	detach(&client);
	ck_assert_uint_eq(mutex_word(mutex_of(MUTEX)), owner);
	memset(mutex_of(MUTEX), 0, sizeof(pthread_mutex_t));
	mutexes_observe(lock_of(MUTEX), &owner, &reason);
	ck_assert_int_eq(reason, PROTOCOL_LOCK_UNUSED);
	ck_assert_int_eq(fallocate(test.segment->holding.object.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    16 * MIB, 2 * MIB), 0);
	mutexes_observe(lock_of(MUTEX), &owner, &reason);
	ck_assert_int_eq(reason, PROTOCOL_LOCK_UNREADABLE);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, mutexes_of_the_dead, 0, 6);
	tcase_add_test(tcase, a_mutex_that_a_worker_could_not_zero);
	tcase_add_test(tcase, mutexes_of_the_living);
	tcase_add_test(tcase, mutexes_among_namespaces);
	tcase_add_loop_test(tcase, mutexes_of_other_kinds, 0, 4);
}

int
main(int argc, char **argv)
{
	return rig_main(argv, "mutexes", add_tests);
}
