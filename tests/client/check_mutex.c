/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Applications' mutexes: what glibc really writes, what is recovered and what is not, and real lockers after it. */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/mutex.h"
#include "tests/client/locker.h"

#define N_LISTED	10
#define N_HELD		3000
#define N_KERNEL	2048		/* ROBUST_LIST_LIMIT: as far as the kernel walks */
#define N_SLEEPERS	4
#define RANGE		256

static pthread_mutex_t *mutex;
static unsigned char *range;

static void
set_up(void)
{
	unsigned char *memory = locker_memory(65536);

	mutex = (void *)memory;
	range = memory + 4096;
	memset(range, 0x5a, RANGE);
}

static void
set_word(uint32_t word)
{
	atomic_store((_Atomic uint32_t *)(void *)mutex, word);
}

static struct mutex_death
death_of(pthread_mutex_t *at, uint32_t thread, enum control_on_death on_death)
{
	return (struct mutex_death) { .mutex = at, .thread = thread, .on_death = on_death, .range = range,
		.range_bytes = RANGE, .copy = control_copy };
}

static int
recover(pthread_mutex_t *at, uint32_t thread, enum control_on_death on_death)
{
	struct mutex_death death = death_of(at, thread, on_death);

	return mutex_recover(&death);
}

static bool
range_is(unsigned char value)
{
	for (size_t i = 0; i < RANGE; i++)
		if (range[i] != value)
			return false;
	return true;
}

/* A thread id that was a process's until just now. */
static uint32_t
dead_thread(void)
{
	pid_t pid = harness_fork();

	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return (uint32_t)pid;
}

/* A pthread client in a process of its own: what locking says to it. It leaves the mutex free and consistent. */
static int
lock_elsewhere(pthread_mutex_t *at)
{
	struct locker_row row = { at, 1, 0 };
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, locker_lock, &row);
	harness_say(child.control, "go");
	return harness_child_await(&child);
}

/* The kind that glibc makes of all its attributes, and what we make of that. */
START_TEST(every_kind_that_glibc_makes_is_told_apart)
{
	static const int types[] = {
		PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP
	};
	static const int protocols[] = { PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT, PTHREAD_PRIO_PROTECT };
	unsigned n_seen[MUTEX_KIND_N] = { 0 };

	for (unsigned i = 0; i < 4 * 3 * 2 * 2; i++) {
		struct locker_kind kind = { types[i % 4], (int)(i / 4 % 2), (int)(i / 8 % 2), protocols[i / 16] };
		enum mutex_kind expected = MUTEX_GOOD, seen;

		if (kind.protocol)
			expected = kind.protocol == PTHREAD_PRIO_INHERIT ? MUTEX_PI : MUTEX_PP;
		else if (!kind.robust)
			expected = kind.shared ? MUTEX_NOT_ROBUST : MUTEX_NOT_SHARED;
		if (locker_init(mutex, &kind)) {
			/* Robust with a ceiling: glibc does not have it. */
			ck_assert(kind.robust && kind.protocol == PTHREAD_PRIO_PROTECT);
			continue;
		}
		/* A mutex of all defaults is all zeros until somebody locks it; to lock it may also change its kind. */
		for (int is_locked = 0; is_locked < 2; is_locked++) {
			if (is_locked && kind.protocol != PTHREAD_PRIO_PROTECT)
				ck_assert_int_eq(pthread_mutex_lock(mutex), 0);
			ck_assert_int_eq(mutex_look(mutex, control_copy, &seen), 0);
			ck_assert_msg(seen == expected, "type %d robust %d shared %d protocol %d: kind %#x is taken for '%s'",
			    kind.type, kind.robust, kind.shared, kind.protocol, mutex->__data.__kind, mutex_kind_text(seen));
		}
		n_seen[seen]++;
		if (kind.protocol != PTHREAD_PRIO_PROTECT)
			ck_assert_int_eq(pthread_mutex_unlock(mutex), 0);
	}
	for (int i = MUTEX_GOOD; i < MUTEX_FOREIGN; i++)
		ck_assert_uint_gt(n_seen[i], 0);
}
END_TEST

START_TEST(static_initialisers_zeros_and_rubbish_are_told_apart)
{
	static const pthread_mutex_t initialiser = PTHREAD_MUTEX_INITIALIZER;
	unsigned char bytes[MUTEX_BYTES];
	enum mutex_kind kind;

	memcpy(mutex, &initialiser, sizeof(initialiser));
	ck_assert_int_eq(mutex_look(mutex, control_copy, &kind), 0);
	ck_assert_int_eq(kind, MUTEX_UNUSED);
	ck_assert_int_eq(pthread_mutex_lock(mutex), 0);
	ck_assert_int_eq(mutex_look(mutex, control_copy, &kind), 0);
	ck_assert_int_eq(kind, MUTEX_NOT_SHARED);
	memset(bytes, 0x5a, sizeof(bytes));
	ck_assert_int_eq(mutex_kind_of(bytes), MUTEX_FOREIGN);
	for (int i = 0; i < MUTEX_KIND_N; i++)
		ck_assert_ptr_nonnull(strstr(mutex_kind_text(i), " "));
}
END_TEST

static int
no_memory(void *to, const void *from, size_t length)
{
	return -EFAULT;
}

START_TEST(missing_memory_is_said)
{
	struct mutex_death death = death_of(mutex, 0, CONTROL_ZERO);
	enum mutex_kind kind;

	death.copy = no_memory;
	ck_assert_int_eq(mutex_look(mutex, no_memory, &kind), -EFAULT);
	ck_assert_int_eq(mutex_recover(&death), -EFAULT);
}
END_TEST

START_TEST(layout_is_what_glibc_writes)
{
	uint32_t self = (uint32_t)syscall(SYS_gettid);

	locker_make(mutex);
	ck_assert_uint_eq(mutex_word(mutex), 0);
	ck_assert_int_eq(pthread_mutex_lock(mutex), 0);
	ck_assert_uint_eq(mutex_word(mutex), self);
	ck_assert_uint_eq(mutex_owner(mutex_word(mutex)), self);
	ck_assert_uint_eq(mutex_owner(mutex_word(mutex) | MUTEX_WAITERS), self);
	ck_assert_uint_eq(mutex_owner(MUTEX_ID_CLAIM | MUTEX_WAITERS), 0);
	ck_assert_uint_eq(mutex_owner(MUTEX_OWNER_DIED | MUTEX_WAITERS), 0);
	ck_assert_int_eq(mutex->__data.__owner, (int)self);
	/* A claim is a foreign owner like any other, to trylock as to lock. */
	ck_assert_int_eq(pthread_mutex_unlock(mutex), 0);
	set_word(MUTEX_ID_CLAIM);
	ck_assert_int_eq(pthread_mutex_trylock(mutex), EBUSY);
}
END_TEST

START_TEST(made_mutex_is_one_for_real)
{
	unsigned char bytes[MUTEX_BYTES];
	struct harness_child child = HARNESS_CHILD_NULL;
	struct locker_row row = { mutex, 1, 0 };

	memset(bytes, 0xff, sizeof(bytes));
	ck_assert_int_eq(mutex_make(bytes), 0);
	ck_assert_int_eq(mutex_kind_of(bytes), MUTEX_GOOD);
	memcpy(mutex, bytes, sizeof(bytes));
	ck_assert_int_eq(lock_elsewhere(mutex), 0);
	locker_start_holder(&child, &row);
	harness_child_kill(&child);
	ck_assert_int_eq(lock_elsewhere(mutex), EOWNERDEAD);
	ck_assert_int_eq(lock_elsewhere(mutex), 0);
}
END_TEST

/* What becomes of each word that there can be. */
START_TEST(what_is_due_is_recovered_and_nothing_else)
{
	const uint32_t dead = dead_thread(), live = (uint32_t)getpid();
	const struct {
		uint32_t word;
		uint32_t thread;
		int keep;		/* the results */
		int zero;
	} rows[] = {
		{ 0, dead, 0, 0 },
		{ live, dead, 0, 0 },
		{ live, 0, 0, 0 },
		{ dead, 0, 0, 0 },	/* nobody said that it is gone */
		{ dead, dead, MUTEX_E_RECOVERED, MUTEX_E_RECOVERED },
		{ dead | MUTEX_OWNER_DIED, dead, MUTEX_E_RECOVERED, MUTEX_E_RECOVERED },
		{ MUTEX_OWNER_DIED, 0, MUTEX_E_MARKED, MUTEX_E_RECOVERED },
		{ MUTEX_OWNER_DIED, dead, MUTEX_E_MARKED, MUTEX_E_RECOVERED },
		{ MUTEX_ID_CLAIM, 0, MUTEX_E_RECOVERED, MUTEX_E_RECOVERED },
		{ MUTEX_ID_CLAIM, dead, MUTEX_E_RECOVERED, MUTEX_E_RECOVERED },
	};

	locker_make(mutex);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows) * 4; i++) {
		size_t k = i / 4;
		enum control_on_death on_death = i % 2 ? CONTROL_ZERO : CONTROL_KEEP;
		int expected = on_death == CONTROL_ZERO ? rows[k].zero : rows[k].keep;
		uint32_t waiters = i % 4 < 2 ? 0 : MUTEX_WAITERS;
		uint32_t after = (expected ? MUTEX_OWNER_DIED : rows[k].word) | waiters;
		pthread_mutex_t before;
		int r;

		set_word(rows[k].word | waiters);
		memcpy(&before, mutex, sizeof(before));
		memset(range, 0x5a, RANGE);
		r = recover(mutex, rows[k].thread, on_death);
		ck_assert_msg(r == expected, "row %zu, %s: %d instead of %d", k, i % 2 ? "zero" : "keep", r, expected);
		ck_assert_msg(mutex_word(mutex) == after, "row %zu, %s: the word is %#x instead of %#x", k,
		    i % 2 ? "zero" : "keep", mutex_word(mutex), after);
		ck_assert(range_is(on_death == CONTROL_ZERO && expected ? 0 : 0x5a));
		/* Nothing but the word was written. */
		ck_assert_mem_eq((char *)&before + 4, (char *)mutex + 4, sizeof(before) - 4);
	}
}
END_TEST

START_TEST(all_bytes_of_the_range_are_zeroed_but_the_mutex)
{
	const uint32_t dead = dead_thread();
	unsigned char *memory = (void *)mutex;
	const size_t size = 3 * 4096 + 7;

	for (size_t at = 0; at <= 4096 * 2 + 16; at += at < 16 ? 8 : 4096) {
		pthread_mutex_t *inside = (void *)(memory + 4096 + at);
		struct mutex_death death = { inside, dead, CONTROL_ZERO, memory + 4096 + 8, size, control_copy };
		enum mutex_kind kind;

		memset(memory, 0x5a, 65536);
		locker_make(inside);
		*(volatile uint32_t *)inside = dead;
		ck_assert_int_eq(mutex_recover(&death), MUTEX_E_RECOVERED);
		ck_assert_int_eq(mutex_look(inside, control_copy, &kind), 0);
		ck_assert_int_eq(kind, MUTEX_GOOD);
		ck_assert_int_eq(lock_elsewhere(inside), EOWNERDEAD);
		memset(inside, 0, sizeof(*inside));
		for (size_t i = 0; i < 65536; i++) {
			bool is_within = (i >= 4096 + 8 && i < 4096 + 8 + size) ||
			    (i >= 4096 + at && i < 4096 + at + MUTEX_BYTES);

			ck_assert_msg(memory[i] == (is_within ? 0 : 0x5a), "mutex at %zu: byte %zu is %#x", at, i, memory[i]);
		}
	}
}
END_TEST

static unsigned n_copies;

/* The first one is of the mutex's bytes; then memory is missing, once. */
static int
missing_once(void *to, const void *from, size_t length)
{
	return ++n_copies == 2 ? -EFAULT : control_copy(to, from, length);
}

START_TEST(recovery_cut_short_stays_claimed_until_it_is_called_again)
{
	const uint32_t dead = dead_thread();
	struct mutex_death death = death_of(mutex, dead, CONTROL_ZERO);

	locker_make(mutex);
	set_word(dead | MUTEX_WAITERS);
	death.copy = missing_once;
	ck_assert_int_eq(mutex_recover(&death), -EFAULT);
	ck_assert_uint_eq(mutex_word(mutex), MUTEX_ID_CLAIM | MUTEX_WAITERS);
	ck_assert_int_eq(mutex_recover(&death), MUTEX_E_RECOVERED);
	ck_assert_uint_eq(mutex_word(mutex), MUTEX_OWNER_DIED | MUTEX_WAITERS);
	ck_assert(range_is(0));
	ck_assert_int_eq(lock_elsewhere(mutex), EOWNERDEAD);
}
END_TEST

START_TEST(other_kinds_are_refused_and_not_touched)
{
	static const struct locker_kind kinds[] = {
		{ PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_INHERIT },
		{ PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE },
		{ PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PROCESS_PRIVATE, PTHREAD_PRIO_NONE },
		{ PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_PROTECT },
	};
	const uint32_t dead = dead_thread();

	for (size_t i = 0; i < BASE_ARRAY_SIZE(kinds); i++) {
		ck_assert_int_eq(locker_init(mutex, &kinds[i]), 0);
		set_word(dead);
		ck_assert_int_eq(recover(mutex, dead, CONTROL_ZERO), MUTEX_E_REFUSED);
		ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), MUTEX_E_REFUSED);
		ck_assert_uint_eq(mutex_word(mutex), dead);
	}
	memset(mutex, 0x5a, sizeof(*mutex));
	ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), MUTEX_E_REFUSED);
	memset(mutex, 0, sizeof(*mutex));
	ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), 0);
	ck_assert(range_is(0x5a));
}
END_TEST

/* A PI mutex that its holder died with: the kernel does what is to be done, and its users live on. */
START_TEST(refused_pi_mutex_works_on)
{
	static const struct locker_kind kind = {
		PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_INHERIT
	};
	struct harness_child child = HARNESS_CHILD_NULL;
	struct locker_row row = { mutex, 1, 0 };
	uint32_t dead;

	ck_assert_int_eq(locker_init(mutex, &kind), 0);
	locker_start_holder(&child, &row);
	dead = (uint32_t)child.pid;
	harness_child_kill(&child);
	ck_assert_int_eq(recover(mutex, dead, CONTROL_ZERO), MUTEX_E_REFUSED);
	ck_assert_int_eq(lock_elsewhere(mutex), EOWNERDEAD);
}
END_TEST

static void
flip(int control, void *arg)
{
	_Atomic uint32_t *word = arg;

	harness_say(control, "flipping");
	for (;;)
		(void)atomic_fetch_xor(word, MUTEX_WAITERS);
}

/* A peer that never lets the word stand still costs a bounded number of tries, and cannot keep it claimed for long. */
START_TEST(word_that_never_stands_still_is_given_up)
{
	const uint32_t dead = dead_thread();
	struct harness_child child = HARNESS_CHILD_NULL;
	unsigned n_busy = 0, n_recovered = 0;

	locker_make(mutex);
	harness_child_start(&child, flip, mutex);
	harness_expect(child.control, "flipping");
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t before = mutex_word(mutex);
		int r;

		while (!atomic_compare_exchange_weak((_Atomic uint32_t *)(void *)mutex, &before, dead))
			;
		r = recover(mutex, dead, CONTROL_ZERO);
		ck_assert(r == MUTEX_E_RECOVERED || r == MUTEX_E_BUSY);
		n_recovered += r == MUTEX_E_RECOVERED;
		n_busy += r == MUTEX_E_BUSY;
	}
	harness_child_kill(&child);
	printf("a word that is flipped all the time: %u times recovered, %u times busy\n", n_recovered, n_busy);
	ck_assert_uint_gt(n_recovered, 0);
}
END_TEST

/* Several that sleep for one mutex. */
struct sleepers {
	struct harness_child children[N_SLEEPERS];
};

static struct sleepers sleepers;

static void
start_sleepers(const struct locker_row *row)
{
	for (size_t i = 0; i < N_SLEEPERS; i++) {
		sleepers.children[i] = (struct harness_child)HARNESS_CHILD_NULL;
		harness_child_start(&sleepers.children[i], locker_lock, (void *)row);
		harness_expect(sleepers.children[i].control, "asked");
		locker_await_state(sleepers.children[i].pid, 'S');
	}
	locker_await_bits(row->mutexes, MUTEX_WAITERS);
}

static void
signal_sleepers(int signal)
{
	for (size_t i = 0; i < N_SLEEPERS; i++)
		harness_assert(kill(sleepers.children[i].pid, signal) == 0, "kill: %s", strerror(errno));
}

/* All get it, one after the other, and the first of them is told. */
static void
let_sleepers_go(void)
{
	unsigned n_told = 0;

	for (size_t i = 0; i < N_SLEEPERS; i++)
		harness_say(sleepers.children[i].control, "go");
	for (size_t i = 0; i < N_SLEEPERS; i++) {
		int r = harness_child_await(&sleepers.children[i]);

		ck_assert_msg(r == 0 || r == EOWNERDEAD, "a sleeper ended with %d", r);
		n_told += r == EOWNERDEAD;
	}
	ck_assert_uint_eq(n_told, 1);
	ck_assert_uint_eq(mutex_word(mutex) & ~MUTEX_WAITERS, 0);
}

static unsigned n_in_copy;

/* In the midst of a recovery: all that sleep run, see the claim, and go to sleep again. */
static int
copy_while_sleepers_run(void *to, const void *from, size_t length)
{
	if (++n_in_copy == 2) {
		ck_assert_uint_eq(mutex_word(mutex) & MUTEX_ID_MASK, MUTEX_ID_CLAIM);
		signal_sleepers(SIGCONT);
		for (size_t i = 0; i < N_SLEEPERS; i++)
			locker_await_state(sleepers.children[i].pid, 'S');
		ck_assert_uint_eq(mutex_word(mutex), MUTEX_ID_CLAIM | MUTEX_WAITERS);
	}
	return control_copy(to, from, length);
}

/* The kernel wakes one at the death; it is stopped and sees the mutex only when that is claimed. */
START_TEST(sleepers_stopped_around_a_death_all_get_it)
{
	struct locker_row row = { mutex, 1, 0 };
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct mutex_death death = death_of(mutex, 0, CONTROL_ZERO);

	locker_make(mutex);
	locker_start_holder(&holder, &row);
	start_sleepers(&row);
	for (size_t i = 0; i < N_SLEEPERS; i++)
		locker_stop(&sleepers.children[i]);
	harness_child_kill(&holder);
	ck_assert_uint_eq(mutex_word(mutex), MUTEX_OWNER_DIED | MUTEX_WAITERS);
	death.copy = copy_while_sleepers_run;
	ck_assert_int_eq(mutex_recover(&death), MUTEX_E_RECOVERED);
	ck_assert(range_is(0));
	let_sleepers_go();
}
END_TEST

/* The kernel found nothing to mark and woke nobody: all is left to us. */
START_TEST(sleepers_of_a_stuck_mutex_all_get_it)
{
	enum control_on_death on_death = _i ? CONTROL_ZERO : CONTROL_KEEP;
	struct locker_row row = { mutex, 1, 0 };
	const uint32_t dead = dead_thread();

	locker_make(mutex);
	set_word(dead);
	start_sleepers(&row);
	ck_assert_int_eq(recover(mutex, 0, on_death), 0);
	ck_assert_uint_eq(mutex_word(mutex), dead | MUTEX_WAITERS);
	ck_assert_int_eq(recover(mutex, dead, on_death), MUTEX_E_RECOVERED);
	let_sleepers_go();
}
END_TEST

/*
 * The dead had unlocked, and another took the mutex before the dead could wake anybody: the kernel wakes nobody then, and
 * the word does not say that somebody sleeps. To be woken once is enough for a sleeper to say so again.
 */
START_TEST(sleeper_that_the_dead_was_to_wake_is_woken)
{
	struct locker_row row = { mutex, 1, 0 };
	struct harness_child sleeper = HARNESS_CHILD_NULL;
	const uint32_t dead = dead_thread(), live = (uint32_t)getpid();

	locker_make(mutex);
	set_word(live);
	harness_child_start(&sleeper, locker_lock, &row);
	harness_expect(sleeper.control, "asked");
	locker_await_bits(mutex, MUTEX_WAITERS);
	locker_await_state(sleeper.pid, 'S');
	set_word(live);
	ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), 0);
	locker_await_bits(mutex, MUTEX_WAITERS);
	locker_await_state(sleeper.pid, 'S');

	/* Or nobody had taken it. */
	set_word(0);
	ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), 0);
	harness_expect(sleeper.control, "locked");
	harness_say(sleeper.control, "go");
	ck_assert_int_eq(harness_child_await(&sleeper), 0);
}
END_TEST

START_TEST(recursive_mutex_is_free_whatever_its_count_was)
{
	static const struct locker_kind kind = {
		PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE
	};
	struct locker_row row = { mutex, 1, 3 };
	struct harness_child holder = HARNESS_CHILD_NULL;
	uint32_t dead;

	ck_assert_int_eq(locker_init(mutex, &kind), 0);
	locker_start_holder(&holder, &row);
	ck_assert_uint_eq(mutex->__data.__count, 3);
	dead = (uint32_t)holder.pid;
	harness_child_kill(&holder);
	/* As if the kernel had missed it. */
	set_word(dead);
	ck_assert_int_eq(recover(mutex, dead, CONTROL_KEEP), MUTEX_E_RECOVERED);
	ck_assert_int_eq(lock_elsewhere(mutex), EOWNERDEAD);
	ck_assert_uint_eq(mutex_word(mutex), 0);
	ck_assert_int_eq(lock_elsewhere(mutex), 0);
}
END_TEST

/* Kills the holder of a row, recovers all of it, and lets a real client lock each. */
struct tally {
	unsigned n_stuck;
	unsigned n_marked;
	unsigned n_recovered;
	unsigned n_told;
};

static struct tally
kill_and_recover(struct harness_child *holder, const struct locker_row *row)
{
	struct tally tally = { 0 };
	uint32_t dead = (uint32_t)holder->pid;

	harness_child_kill(holder);
	for (unsigned i = 0; i < row->n; i++) {
		int r;

		tally.n_stuck += mutex_owner(mutex_word(&row->mutexes[i])) == dead;
		r = recover(&row->mutexes[i], dead, CONTROL_KEEP);
		tally.n_marked += r == MUTEX_E_MARKED;
		tally.n_recovered += r == MUTEX_E_RECOVERED;
		/* This process is a client like any other. */
		r = pthread_mutex_trylock(&row->mutexes[i]);
		tally.n_told += r == EOWNERDEAD;
		ck_assert_int_eq(pthread_mutex_consistent(&row->mutexes[i]), 0);
		ck_assert_int_eq(pthread_mutex_unlock(&row->mutexes[i]), 0);
		ck_assert_uint_eq(mutex_word(&row->mutexes[i]), 0);
	}
	return tally;
}

START_TEST(mutexes_behind_a_corrupted_list_are_freed)
{
	struct locker_row row = { mutex, N_LISTED, 0 };
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct tally tally;

	for (unsigned i = 0; i < N_LISTED; i++)
		locker_make(&mutex[i]);
	locker_start_holder(&holder, &row);
	/* What any peer that can write can do. */
	mutex[5].__data.__list.__prev = (void *)(uintptr_t)0xdead0000;
	mutex[5].__data.__list.__next = (void *)(uintptr_t)0xbeef0000;
	tally = kill_and_recover(&holder, &row);
	printf("a corrupted list of %u: %u stuck, all recovered\n", N_LISTED, tally.n_stuck);
	ck_assert_uint_gt(tally.n_stuck, 0);
	ck_assert_uint_eq(tally.n_recovered, tally.n_stuck);
	ck_assert_uint_eq(tally.n_marked, N_LISTED - tally.n_stuck);
	ck_assert_uint_eq(tally.n_told, N_LISTED);
}
END_TEST

START_TEST(more_mutexes_than_the_kernel_walks_are_freed)
{
	struct locker_row row = { locker_memory(N_HELD * sizeof(pthread_mutex_t)), N_HELD, 0 };
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct tally tally;

	locker_need_plain_pthread();
	for (unsigned i = 0; i < N_HELD; i++)
		locker_make(&row.mutexes[i]);
	locker_start_holder(&holder, &row);
	tally = kill_and_recover(&holder, &row);
	printf("%u held by a thread: %u freed by the kernel, %u by us\n", N_HELD, tally.n_marked, tally.n_recovered);
	ck_assert_uint_eq(tally.n_marked, N_KERNEL);
	ck_assert_uint_eq(tally.n_recovered, N_HELD - N_KERNEL);
	ck_assert_uint_eq(tally.n_stuck, tally.n_recovered);
	ck_assert_uint_eq(tally.n_told, N_HELD);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mutex");
	TCase *tcase = tcase_create("mutex");

	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, every_kind_that_glibc_makes_is_told_apart);
	tcase_add_test(tcase, static_initialisers_zeros_and_rubbish_are_told_apart);
	tcase_add_test(tcase, missing_memory_is_said);
	tcase_add_test(tcase, layout_is_what_glibc_writes);
	tcase_add_test(tcase, made_mutex_is_one_for_real);
	tcase_add_test(tcase, what_is_due_is_recovered_and_nothing_else);
	tcase_add_test(tcase, all_bytes_of_the_range_are_zeroed_but_the_mutex);
	tcase_add_test(tcase, recovery_cut_short_stays_claimed_until_it_is_called_again);
	tcase_add_test(tcase, other_kinds_are_refused_and_not_touched);
	tcase_add_test(tcase, refused_pi_mutex_works_on);
	tcase_add_test(tcase, word_that_never_stands_still_is_given_up);
	tcase_add_test(tcase, sleepers_stopped_around_a_death_all_get_it);
	tcase_add_loop_test(tcase, sleepers_of_a_stuck_mutex_all_get_it, 0, 2);
	tcase_add_test(tcase, sleeper_that_the_dead_was_to_wake_is_woken);
	tcase_add_test(tcase, recursive_mutex_is_free_whatever_its_count_was);
	tcase_add_test(tcase, mutexes_behind_a_corrupted_list_are_freed);
	tcase_add_test(tcase, more_mutexes_than_the_kernel_walks_are_freed);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
