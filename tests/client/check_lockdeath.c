/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Processes that die, stop or disturb while having locks, with no daemon to put anything right: who waits learns from the
 * kernel that the owner is gone, and takes over.
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/client/fake_locks.h"
#include "tests/suite_run.h"

#define RANGE		4096
#define LOG		256
#define SLICES_MS	60	/* more than three slices */
#define N_CHILDREN	3
#define N_ROUNDS	10000

enum { LOCK_BOOK, LOCK_KEEP, LOCK_ZERO, LOCK_POISON, N_LOCKS };

static struct fake_locks locks;
static struct segment_client *client;
static struct segment *segment;

static void
setup(void)
{
	locks = (struct fake_locks){ 0 };
	fake_locks_add(&locks, "book", 0, RANGE, LOG, CONTROL_ROLLBACK);
	fake_locks_add(&locks, "keep", RANGE, RANGE, LOG, CONTROL_KEEP);
	fake_locks_add(&locks, "zero", 2 * RANGE, RANGE, LOG, CONTROL_ZERO);
	fake_locks_add(&locks, "poison", 3 * RANGE, RANGE, LOG, CONTROL_POISON);
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

static void
write_old(void)
{
	for (int i = 0; i < N_LOCKS; i++)
		memcpy(locks.data + i * RANGE, "old", 3);
}

/* A process in a section of every lock. */
static void
hold_all(struct child *self, struct fake_locks *all)
{
	attach();
	for (int i = 0; i < N_LOCKS; i++) {
		fake_assert(segment_lock(segment, i) == 0);
		fake_assert(segment_set(segment, i, bytes_of(i), "new", 3) == 0);
	}
	child_say(self);
	child_hear(self);
	for (int i = 0; i < N_LOCKS; i++)
		fake_assert(segment_unlock(segment, i) == 0);
	child_say(self);
	child_hear(self);
}

START_TEST(killed_owner_is_recovered_from_without_a_daemon)
{
	struct child owner;

	write_old();
	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	attach();
	fake_locks_kill(&locks);
	child_kill(&owner);
	for (int i = 0; i < LOCK_POISON; i++) {
		ck_assert_int_eq(segment_lock(segment, i), 0);
		ck_assert(segment_recovered(segment, i));
		ck_assert_int_eq(segment_unlock(segment, i), 0);
		ck_assert_uint_eq(fake_owner(&locks, i), 0);
		ck_assert_uint_eq(segment_read_begin(segment, i) & 1, 0);
	}
	ck_assert(memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert(memcmp(bytes_of(LOCK_KEEP), "new", 3) == 0);
	ck_assert(memcmp(bytes_of(LOCK_ZERO), "\0\0\0", 3) == 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_POISON), -ENOTRECOVERABLE);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_POISON), CONTROL_ID_POISON);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_POISON) & 1, 1);
	ck_assert_ptr_nonnull(strstr(segment_error(), "poisoned"));
	ck_assert(memcmp(bytes_of(LOCK_POISON), "new", 3) == 0);
}
END_TEST

/* Waits for the lock that its turn says, and finds it recovered. */
static void
wait_for_book(struct child *self, struct fake_locks *all)
{
	attach();
	child_say(self);
	child_hear(self);
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
	fake_assert(segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	fake_assert(segment_set(segment, LOCK_BOOK, bytes_of(LOCK_BOOK), "two", 3) == 0);
	child_say(self);
	child_hear(self);
}

/* Wakes all that wait for the lock, which who only reads can do as well, and never stops. */
static void
wake_and_wake(struct child *self, struct fake_locks *all)
{
	child_say(self);
	for (;;)
		control_wake(&all->control[LOCK_BOOK], N_CHILDREN);
}

START_TEST(who_wakes_all_the_time_keeps_nobody_from_asking)
{
	struct child owner, wakers[N_CHILDREN];

	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	attach();
	fake_locks_kill(&locks);
	child_kill(&owner);
	for (int i = 0; i < N_CHILDREN; i++) {
		child_start(&wakers[i], wake_and_wake, &locks);
		child_hear(&wakers[i]);
	}
	/* It would never ask; of a second or two a busy machine may leave it nothing. */
	ck_assert_int_eq(lock_for(LOCK_BOOK, 20000), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	for (int i = 0; i < N_CHILDREN; i++)
		child_kill(&wakers[i]);
}
END_TEST

START_TEST(sleepers_take_over_one_after_the_other)
{
	struct child owner, waiters[2];

	write_old();
	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	for (int i = 0; i < 2; i++) {
		child_start(&waiters[i], wait_for_book, &locks);
		child_hear(&waiters[i]);
	}
	attach();
	fake_locks_kill(&locks);
	child_say(&waiters[0]);
	fake_await_waiter(&locks, LOCK_BOOK);
	child_kill(&owner);
	child_hear(&waiters[0]);
	/* The one that took over dies, too. */
	child_say(&waiters[1]);
	fake_await_waiter(&locks, LOCK_BOOK);
	child_kill(&waiters[0]);
	child_hear(&waiters[1]);
	child_kill(&waiters[1]);
	/* A deadline that is shorter than a slice does not keep anybody from asking. */
	ck_assert_int_eq(lock_for(LOCK_BOOK, 1), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "old", 3) == 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

START_TEST(stopped_owner_is_not_robbed)
{
	struct child owner;
	int status;

	write_old();
	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	attach();
	ck_assert_int_eq(kill(owner.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(owner.pid, &status, WUNTRACED), owner.pid);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(lock_for(LOCK_BOOK, SLICES_MS), -ETIMEDOUT);
	ck_assert_int_eq(kill(owner.pid, SIGCONT), 0);
	child_say(&owner);
	child_hear(&owner);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(!segment_recovered(segment, LOCK_BOOK) && memcmp(bytes_of(LOCK_BOOK), "new", 3) == 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	child_say(&owner);
	child_end(&owner);
}
END_TEST

/* Its child lives on with the mapping, and may still store through it. Of two locks the first one's bell is rung. */
static void
hold_and_fork(struct child *self, struct fake_locks *all)
{
	attach();
	fake_assert(segment_lock(segment, LOCK_BOOK) == 0 && segment_lock(segment, LOCK_KEEP) == 0);
	if (fork() == 0) {
		child_hear(self);
		_exit(0);
	}
	/* In the fork the bell is silent. */
	child_say(self);
	for (;;)
		(void)pause();
}

START_TEST(forked_child_of_the_dead_keeps_what_was_not_rung_for)
{
	struct child owner;
	char c;

	child_start(&owner, hold_and_fork, &locks);
	child_hear(&owner);
	attach();
	ck_assert_int_eq(kill(owner.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(owner.pid, NULL, 0), owner.pid);
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(lock_for(LOCK_KEEP, SLICES_MS), -ETIMEDOUT);
	child_say(&owner);
	/* The grandchild's end is the end of file. */
	ck_assert_int_eq(read(owner.from_fd, &c, 1), 0);
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert(segment_recovered(segment, LOCK_KEEP));
	ck_assert_int_eq(segment_unlock(segment, LOCK_KEEP), 0);
	(void)close(owner.to_fd);
}
END_TEST

START_TEST(claim_lasts_as_long_as_the_claimant)
{
	uint32_t claim_id = 1000;
	int fd = fake_reopen(locks.data_fd, O_RDWR);

	attach();
	ck_assert(fake_mark(fd, claim_id));
	atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(claim_id, 0));
	ck_assert_int_eq(lock_for(LOCK_BOOK, SLICES_MS), -ETIMEDOUT);
	ck_assert_uint_eq(fake_word(&locks, LOCK_BOOK), claim_id | CONTROL_WAITERS);
	(void)close(fd);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

START_TEST(wider_lock_leaves_doubt_and_the_lock)
{
	struct flock all = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = fake_reopen(locks.data_fd, O_RDWR);

	attach();
	atomic_store(&locks.control[LOCK_BOOK].state, CONTROL_STATE(1000, 0));
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &all), 0);
	ck_assert_int_eq(lock_for(LOCK_BOOK, SLICES_MS), -ETIMEDOUT);
	(void)close(fd);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

/* An attachment that the kernel does not know would be robbed. */
START_TEST(unmarked_attachment_gets_no_lock)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)PROTOCOL_MARK_BASE };
	int fd = fake_reopen(locks.data_fd, O_RDWR);

	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &all), 0);
	attach();
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), -ENOLCK);
	ck_assert_ptr_nonnull(strstr(segment_error(), "attach again"));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), -ENOLCK);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	(void)close(fd);
	attach();
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

static void
lock_and_unlock(bool ask, bool told)
{
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	if (ask)
		ck_assert_msg(segment_recovered(segment, LOCK_BOOK) == told, "told: %d", !told);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}

START_TEST(all_are_told_until_one_that_was_told_unlocks)
{
	struct child owner;

	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	attach();
	child_kill(&owner);
	lock_and_unlock(false, false);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(segment_recovered(segment, LOCK_BOOK));
	/* Who was told and undid its own repair has repaired nothing. */
	ck_assert_int_eq(segment_rollback(segment, LOCK_BOOK), 0);
	lock_and_unlock(false, false);
	lock_and_unlock(true, true);
	lock_and_unlock(true, false);
}
END_TEST

START_TEST(damaged_log_poisons)
{
	struct control_footer footer = { .offset_bytes = RANGE, .length_bytes = 8 };
	unsigned char *log;
	struct child owner;

	write_old();
	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	attach();
	/* Another lock's bytes, and a length that is none. */
	log = (unsigned char *)locks.control + locks.rows[LOCK_BOOK].at_bytes;
	memcpy(log + 8, &footer, sizeof(footer));
	atomic_store(&locks.control[LOCK_ZERO].used_bytes, UINT32_MAX);
	child_kill(&owner);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), -ENOTRECOVERABLE);
	ck_assert_int_eq(segment_lock(segment, LOCK_ZERO), 0);
	ck_assert_uint_eq(*bytes_of(LOCK_ZERO), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_ZERO, bytes_of(LOCK_ZERO), "x", 1), 0);
	atomic_store(&locks.control[LOCK_ZERO].used_bytes, 8);
	ck_assert_int_eq(segment_rollback(segment, LOCK_ZERO), -ENOTRECOVERABLE);
	ck_assert_ptr_nonnull(strstr(segment_error(), "damaged"));
	ck_assert_int_eq(segment_unlock(segment, LOCK_ZERO), -EPERM);
	ck_assert_int_eq(segment_lock(segment, LOCK_ZERO), -ENOTRECOVERABLE);
	ck_assert(memcmp(bytes_of(LOCK_KEEP), "new", 3) == 0);
}
END_TEST

static void
wait_for_poison(struct child *self, struct fake_locks *all)
{
	attach();
	child_say(self);
	fake_assert(segment_lock(segment, LOCK_POISON) == -ENOTRECOVERABLE);
	child_say(self);
	child_hear(self);
	fake_assert(segment_lock(segment, LOCK_POISON) == 0 && segment_recovered(segment, LOCK_POISON));
	fake_assert(segment_unlock(segment, LOCK_POISON) == 0);
}

START_TEST(poison_wakes_all_and_is_lifted_by_hand)
{
	struct child owner, waiters[N_CHILDREN];

	child_start(&owner, hold_all, &locks);
	child_hear(&owner);
	for (int i = 0; i < N_CHILDREN; i++) {
		child_start(&waiters[i], wait_for_poison, &locks);
		child_hear(&waiters[i]);
	}
	fake_await_waiter(&locks, LOCK_POISON);
	attach();
	child_kill(&owner);
	for (int i = 0; i < N_CHILDREN; i++)
		child_hear(&waiters[i]);
	/* What the daemon does for `segmentctl recover`. */
	ck_assert_int_eq(control_claim_poisoned(&locks.control[LOCK_POISON], 1000), 0);
	ck_assert_int_eq(control_undo(&segment->locks[LOCK_POISON].place, control_copy), 0);
	ck_assert_int_eq(control_release(&locks.control[LOCK_POISON], 1000), 0);
	ck_assert_uint_eq(*bytes_of(LOCK_POISON), 0);
	for (int i = 0; i < N_CHILDREN; i++) {
		/* Told to be by the first; the others are not asked for more than the lock. */
		atomic_fetch_or(&locks.control[LOCK_POISON].marks, CONTROL_OWNER_DIED);
		child_say(&waiters[i]);
		child_end(&waiters[i]);
	}
}
END_TEST

/* Two numbers that are always the same, outside of sections. */
struct pair {
	_Atomic uint64_t first;
	_Atomic uint64_t second;
};

static void
count_up(struct child *self, struct fake_locks *all)
{
	struct pair *pair;

	attach();
	pair = (struct pair *)(void *)bytes_of(LOCK_BOOK);
	child_say(self);
	child_hear(self);
	for (int i = 0; i < N_ROUNDS; i++) {
		uint64_t n;

		fake_assert(segment_lock(segment, LOCK_BOOK) == 0);
		n = atomic_load_explicit(&pair->first, memory_order_relaxed);
		fake_assert(segment_modify(segment, LOCK_BOOK, pair, sizeof(*pair)) == 0);
		atomic_store_explicit(&pair->first, n + 1, memory_order_relaxed);
		atomic_store_explicit(&pair->second, n + 1, memory_order_relaxed);
		if (i % 4 == 0) {
			fake_assert(segment_rollback(segment, LOCK_BOOK) == 0);
			continue;
		}
		fake_assert(segment_unlock(segment, LOCK_BOOK) == 0);
	}
	fake_assert(segment_detach(segment) == 0);
}

START_TEST(processes_exclude_each_other_and_readers_see_whole_sections)
{
	struct segment *reader = NULL;
	struct child children[N_CHILDREN];
	struct pair *pair;
	uint64_t n_reads = 0, n_tries = 0, first, second, want = (uint64_t)N_CHILDREN * (N_ROUNDS - N_ROUNDS / 4);

	attach();
	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_READ, &reader), 0);
	pair = segment_data(reader);
	for (int i = 0; i < N_CHILDREN; i++) {
		child_start(&children[i], count_up, &locks);
		child_hear(&children[i]);
	}
	for (int i = 0; i < N_CHILDREN; i++)
		child_say(&children[i]);
	do {
		uint32_t begun;

		do {
			begun = segment_read_begin(reader, LOCK_BOOK);
			ck_assert_uint_eq(begun & 1, 0);
			first = atomic_load_explicit(&pair->first, memory_order_relaxed);
			second = atomic_load_explicit(&pair->second, memory_order_relaxed);
			n_tries++;
		} while (segment_read_retry(reader, LOCK_BOOK, begun));
		ck_assert_uint_eq(first, second);
		n_reads++;
	} while (first < want);
	for (int i = 0; i < N_CHILDREN; i++)
		child_end(&children[i]);
	printf("%llu sections of %d processes, %llu reads, %llu tries\n", (unsigned long long)N_CHILDREN * N_ROUNDS, N_CHILDREN,
	    (unsigned long long)n_reads, (unsigned long long)n_tries);
	ck_assert_uint_eq(atomic_load(&pair->first), want);
	ck_assert_uint_eq(fake_owner(&locks, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_detach(reader), 0);
}
END_TEST

/* Writes what it likes all over control memory. */
static void
scribble(struct child *self, struct fake_locks *all)
{
	uint64_t seed = 1;

	child_say(self);
	for (;;) {
		_Atomic uint32_t *words = (_Atomic uint32_t *)(void *)all->control;
		uint32_t value;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		value = (uint32_t)(seed >> 32);
		/* Mostly small numbers, which look like something, and often nothing. */
		if (value & 3)
			value = value & 4 ? 0 : value >> 3 & 0xff;
		if (seed >> 20 & 1)
			words[(seed >> 33) % (N_LOCKS * CONTROL_RECORD_BYTES / 4)] = value;
		else
			words[FAKE_LOCKS_MAX * CONTROL_RECORD_BYTES / 4 + (seed >> 33) % (N_LOCKS * LOG / 4)] = value;
	}
}

START_TEST(scribbled_control_memory_harms_nothing_else)
{
	const unsigned n_wanted = getenv("CHECK_FULL") ? 10000 : 2000;
	unsigned n_sections = 0, n_rounds;
	struct child vandal;

	if (n_wanted < 10000)
		printf("LEFT OUT: %u sections under a vandal; CHECK_FULL=1 has 10000\n", n_wanted);
	attach();
	for (uint64_t i = N_LOCKS * RANGE; i < FAKE_SIZE; i++)
		locks.data[i] = (unsigned char)i;
	child_start(&vandal, scribble, &locks);
	child_hear(&vandal);
	for (unsigned i = n_rounds = 0; n_sections < n_wanted; i = ++n_rounds) {
		int lock = (int)(i % N_LOCKS);
		unsigned char *bytes = bytes_of(lock);

		if (segment_trylock(segment, lock) < 0 && (i % 1009 || lock_for(lock, 1) < 0)) {
			(void)sched_yield();
			continue;
		}
		n_sections++;
		(void)segment_recovered(segment, lock);
		for (int k = 0; k < 8; k++)
			(void)segment_set(segment, lock, bytes + (i + (unsigned)k * 40) % (RANGE - 40), "scribble scribble", 17);
		(void)(i & 8 ? segment_unlock(segment, lock) : segment_rollback(segment, lock));
	}
	child_kill(&vandal);
	printf("%u sections in %u tries under a vandal\n", n_sections, n_rounds);
	for (uint64_t i = N_LOCKS * RANGE; i < FAKE_SIZE; i++)
		ck_assert_uint_eq(locks.data[i], (unsigned char)i);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockdeath");
	TCase *tcase = tcase_create("lockdeath");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, killed_owner_is_recovered_from_without_a_daemon);
	tcase_add_test(tcase, who_wakes_all_the_time_keeps_nobody_from_asking);
	tcase_add_test(tcase, sleepers_take_over_one_after_the_other);
	tcase_add_test(tcase, stopped_owner_is_not_robbed);
	tcase_add_test(tcase, forked_child_of_the_dead_keeps_what_was_not_rung_for);
	tcase_add_test(tcase, claim_lasts_as_long_as_the_claimant);
	tcase_add_test(tcase, wider_lock_leaves_doubt_and_the_lock);
	tcase_add_test(tcase, unmarked_attachment_gets_no_lock);
	tcase_add_test(tcase, all_are_told_until_one_that_was_told_unlocks);
	tcase_add_test(tcase, damaged_log_poisons);
	tcase_add_test(tcase, poison_wakes_all_and_is_lifted_by_hand);
	tcase_add_test(tcase, processes_exclude_each_other_and_readers_see_whole_sections);
	tcase_add_test(tcase, scribbled_control_memory_harms_nothing_else);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
