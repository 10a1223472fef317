/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The recovery of locks: each policy, large and punched and lying logs, recovery by hand, ids, and the queue. */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "client/mutex.h"
#include "tests/daemon/recovery_rig.h"

START_TEST(locks_are_laid_out_apart)
{
	const struct locks *locks = test.segment->locks;
	uint64_t end = N_LOCKS * (uint64_t)CONTROL_RECORD_BYTES;

	for (uint32_t i = 0; i < locks->n; i++) {
		ck_assert_uint_ge(locks->list[i].log_offset_bytes, end);
		end = locks->list[i].log_offset_bytes + locks->list[i].place.log_bytes;
		ck_assert_uint_eq(lock_index(&locks->list[i]), i);
	}
	ck_assert_uint_le(end, test.segment->holding.control->object.map_bytes);
	ck_assert_uint_eq(locks_control_bytes(test.definition) % CONTROL_RECORD_BYTES, 0);
}
END_TEST

START_TEST(each_policy_at_an_owners_death)
{
	struct client client = attach();
	uint32_t id = client.attachment->id;

	die_within(ROLL, id, 100);
	die_within(KEEP, id, 100);
	die_within(ZERO, id, 100);
	die_within(POISON, id, 100);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(segment_n_attached(test.segment), 0);

	expect_free(ROLL, 0xaa, PAGE);
	expect_free(KEEP, 0xbb, 100);
	expect_free(ZERO, 0, PAGE + 5);
	ck_assert_uint_eq(word_of(POISON), CONTROL_ID_POISON);
	ck_assert(all_are(bytes_of(POISON), 0xbb, 100));
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 3);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_POISONED], 1);
	ck_assert_int_eq(test.last_pid, getpid());
	ck_assert_uint_eq(lock_of(ROLL)->n_recoveries, 1);
	ck_assert_int_eq(lock_of(ROLL)->recovered_pid, getpid());
	ck_assert_uint_gt(lock_of(ROLL)->recovered_ns, 0);
	ck_assert_uint_eq(test.segment->locks->n_recoveries, 3);
}
END_TEST

START_TEST(others_locks_are_left_alone)
{
	struct client dead = attach(), alive = attach();

	die_within(ROLL, alive.attachment->id, 100);
	(void)close(dead.fd);
	attachment_give_up(dead.attachment, UINT64_MAX);
	ck_assert_uint_eq(word_of(ROLL), alive.attachment->id);
	ck_assert(all_are(bytes_of(ROLL), 0xbb, 100));
	(void)close(alive.fd);
	attachment_give_up(alive.attachment, UINT64_MAX);
	expect_free(ROLL, 0xaa, PAGE);
}
END_TEST

/* Its description is still held by somebody: the session's end alone is no death. */
START_TEST(a_held_mark_robs_nobody)
{
	struct client client = attach();

	die_within(ROLL, client.attachment->id, 100);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(word_of(ROLL), client.attachment->id);
	ck_assert_uint_eq(test.segment->n_unsupervised, 1);
	(void)close(client.fd);
	while (segment_n_attached(test.segment))
		turn();
	expect_free(ROLL, 0xaa, PAGE);
}
END_TEST

/* What is large, or has lost its pages, is a worker's. */
START_TEST(large_ones_go_to_a_worker)
{
	struct client client = attach();
	uint32_t id = client.attachment->id;
	const struct control_place *place = &lock_of(LARGE)->place;

	die_within(LARGE, id, 500000);
	ck_assert_int_eq(control_log(place, place->offset_bytes + 5 * MIB, 200000), 0);
	memset(bytes_of(LARGE) + 5 * MIB, 0xcc, 200000);
	die_within(BIGZERO, id, 100);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(word_of(LARGE), test.segment->locks->claim_id);
	ck_assert_uint_eq(test.segment->locks->n_busy, 2);
	while (test.segment->locks->n_busy)
		turn();
	expect_free(LARGE, 0xaa, 6 * MIB);
	expect_free(BIGZERO, 0, 8 * MIB);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 2);
}
END_TEST

START_TEST(punched_holes_are_a_workers)
{
	struct client client = attach();

	die_within(ROLL, client.attachment->id, 100);
	ck_assert_int_eq(fallocate(client.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(test.segment->locks->n_busy, 1);
	while (test.segment->locks->n_busy)
		turn();
	ck_assert_uint_eq(word_of(ROLL), 0);
	ck_assert(all_are(bytes_of(ROLL), 0xaa, 100));
	ck_assert(all_are(bytes_of(ROLL) + 100, 0, PAGE - 100));
}
END_TEST

/* What is punched out is to be allocated anew, and there is no memory for it; then there is. */
START_TEST(what_waits_for_memory_is_told_once_and_poisons_nothing)
{
	uint64_t reserve_bytes = test.recovery.memory_reserve_bytes;
	struct client client = attach();

	die_within(ROLL, client.attachment->id, 100);
	ck_assert_int_eq(fallocate(client.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	(void)close(client.fd);
	test.recovery.memory_reserve_bytes = UINT64_C(1) << 50;
	attachment_give_up(client.attachment, UINT64_MAX);
	while (!test.n_outcomes[RECOVERY_DELAYED])
		turn();
	ck_assert_uint_eq(word_of(ROLL), test.segment->locks->claim_id);
	test.recovery.memory_reserve_bytes = reserve_bytes;
	while (word_of(ROLL) == test.segment->locks->claim_id)
		turn();
	ck_assert_uint_eq(word_of(ROLL), 0);
	ck_assert(all_are(bytes_of(ROLL), 0xaa, 100));
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_DELAYED], 1);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 1);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_DISTRUSTED], 0);
}
END_TEST

/* A segment that goes while a worker is at its lock: nothing is called for it any more, and nothing is leaked. */
START_TEST(a_segment_may_go_meanwhile)
{
	struct client client = attach();

	die_within(LARGE, client.attachment->id, 500000);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(test.segment->locks->n_busy, 1);
	segment_remove(test.segment, true);
	ck_assert_ptr_null(registry_find(&test.registry, "s"));
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 0);
}
END_TEST

/* A log that no owner of ours can have written: entries are held against what the definition says, before one is undone. */
START_TEST(a_log_that_is_none_poisons)
{
	static const struct control_footer bad[] = {
		{ .offset_bytes = PAGE, .length_bytes = 16 },			/* outside, behind */
		{ .offset_bytes = PAGE - 8, .length_bytes = 16 },		/* reaches outside */
		{ .offset_bytes = 0, .length_bytes = 4096 },			/* longer than the log */
		{ .offset_bytes = UINT64_MAX - 7, .length_bytes = 16 },		/* wraps */
		{ .offset_bytes = 0, .length_bytes = 16, .zero = 1 },
		{ .offset_bytes = 0, .length_bytes = 0xffffffff },
	};
	const struct control_place *place = &lock_of(ROLL)->place;
	struct client client = attach();

	die_within(ROLL, client.attachment->id, 16);
	if (_i < (int)BASE_ARRAY_SIZE(bad))
		memcpy(place->log + 16, &bad[_i], sizeof(bad[_i]));
	else
		atomic_store(&place->lock->used_bytes, _i == (int)BASE_ARRAY_SIZE(bad) ? 0xfffffff8 : 33);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(word_of(ROLL), CONTROL_ID_POISON);
	ck_assert(all_are(bytes_of(ROLL), 0xbb, 16));
	ck_assert(all_are(bytes_of(ROLL) + 16, 0xaa, PAGE - 16));
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_DISTRUSTED], 1);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(ROLL), false, UINT64_MAX), -EBADMSG);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(ROLL), true, UINT64_MAX), 0);
	ck_assert_uint_eq(word_of(ROLL), 0);
}
END_TEST

START_TEST(a_poisoned_lock_by_hand)
{
	struct client client = attach();

	die_within(POISON, client.attachment->id, 100);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(POISON), false, UINT64_MAX), -EALREADY);
	(void)close(client.fd);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(POISON), _i, UINT64_MAX), 0);
	expect_free(POISON, _i ? 0xbb : 0xaa, 100);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(POISON), false, UINT64_MAX), -EALREADY);
	ck_assert_int_eq(recovery_by_hand(&test.recovery, lock_of(LARGE), false, UINT64_MAX), -EALREADY);
}
END_TEST

static void
die(uint32_t id, uint64_t until_ns)
{
	struct locks_dead dead = { .id = id };

	recovery_owner_gone(&test.recovery, test.segment->locks, &dead, until_ns);
}

static unsigned
n_passes(void)
{
	return recovery_n_waiting(&test.recovery);
}

/* A writer that changes a log while it is judged: 8 bytes at the beginning are a small undo, another 8 far behind are not. */
static void *
flip(void *arg)
{
	const struct control_place *place = &lock_of(LARGE)->place;
	_Atomic bool *ends = arg;

	while (!atomic_load(ends)) {
		atomic_store(&place->lock->used_bytes, 24);
		atomic_store(&place->lock->used_bytes, 48);
	}
	return NULL;
}

START_TEST(what_is_undone_on_the_loop_is_what_was_judged)
{
	const struct control_place *place = &lock_of(LARGE)->place;
	unsigned char *far = bytes_of(LARGE) + 5 * MIB;
	_Atomic bool ends = false;
	uint64_t until_ns = clock_monotonic_ns() + NS_PER_SEC / 2;
	unsigned n_small = 0;
	pthread_t thread;

	ck_assert_int_eq(control_log(place, place->offset_bytes, 8), 0);
	ck_assert_int_eq(control_log(place, place->offset_bytes + 5 * MIB, 8), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, flip, &ends), 0);
	while (n_small < 20000 && clock_monotonic_ns() < until_ns) {
		*far = 0xbb;
		atomic_store(&place->lock->state, CONTROL_STATE(STRANGER, 0));
		die(STRANGER, UINT64_MAX);
		if (!test.segment->locks->n_busy) {
			ck_assert_uint_eq(*far, 0xbb);
			n_small++;
		}
		while (test.segment->locks->n_busy)
			turn();
	}
	atomic_store(&ends, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	printf("%u of a log that was changed meanwhile\n", n_small);
}
END_TEST

/* Words of nobody who is attached, as a daemon finds them that takes a segment over; and a claim that was cut short. */
START_TEST(strays_are_recovered)
{
	die_within(ROLL, STRANGER, 100);
	die_within(KEEP, test.segment->locks->claim_id, 100);
	segment_recover_strays(test.segment);
	expect_free(ROLL, 0xaa, PAGE);
	expect_free(KEEP, 0xbb, 100);
}
END_TEST

/* After 2^30 attachments ids come round: none is given that an attachment or a word still has. */
START_TEST(ids_are_not_reused_while_a_word_has_them)
{
	struct client first = attach(), second;
	uint32_t id = first.attachment->id;

	test.segment->last_id = CONTROL_ID_MAX - 1;
	second = attach();
	ck_assert_uint_eq(second.attachment->id, CONTROL_ID_MAX);
	(void)close(second.fd);
	attachment_give_up(second.attachment, UINT64_MAX);
	atomic_store(&lock_of(KEEP)->place.lock->state, CONTROL_STATE((id + 1) | CONTROL_WAITERS, 0));
	second = attach();
	/* 1 is the daemon's claim, then comes the first's, then the word's. */
	ck_assert_uint_eq(test.segment->locks->claim_id, 1);
	ck_assert_uint_eq(second.attachment->id, id + 2);
	atomic_store(&lock_of(KEEP)->place.lock->state, 0);
	(void)close(first.fd);
	(void)close(second.fd);
	attachment_give_up(first.attachment, UINT64_MAX);
	attachment_give_up(second.attachment, UINT64_MAX);
}
END_TEST

/* Whatever comes and goes meanwhile: what waits in the queue is one pass of a kind, and all is done in the end. */
START_TEST(deaths_do_not_make_the_queue_longer)
{
	ck_assert_int_eq(pthread_mutex_lock(mutex_of(MUTEX)), 0);
	die_within(ROLL, STRANGER, 100);
	die_within(KEEP, STRANGER + 1, 100);
	die_within(ZERO, STRANGER + 2, 100);
	for (int i = 0; i < 100; i++) {
		die(STRANGER + 3, UINT64_MAX);
		recovery_strays(&test.recovery, test.segment->locks, 0);
	}
	ck_assert_uint_le(n_passes(), 2);
	ck_assert_int_eq(pthread_mutex_unlock(mutex_of(MUTEX)), 0);
	while (n_passes())
		turn();
	expect_free(ROLL, 0xaa, PAGE);
	expect_free(KEEP, 0xbb, 100);
	expect_free(ZERO, 0, PAGE + 5);
}
END_TEST

/* Thousands of one uid's deaths wait, and then one of another's: that is served after one of those, and not after all. */
START_TEST(many_deaths_of_one_uid_delay_no_others)
{
	enum { N = 12000 };	/* more than a turn can do */
	unsigned n;

	for (uint32_t i = 0; i < N; i++) {
		struct locks_dead dead = { .id = STRANGER + 1 + i, .uid = 7 };

		die_within(KEEP, dead.id, 100);
		recovery_owner_gone(&test.recovery, test.segment->locks, &dead, 0);
	}
	ck_assert_uint_ge(n_passes(), N);
	/* Nobody was gone past for it but uids. */
	ck_assert_uint_le(test.recovery.passes.n_steps, n_passes() + 1);
	/* The first lock is put right at once, and the other is left to later turns. */
	die_within(ROLL, STRANGER, 100);
	die_within(ZERO, STRANGER, 100);
	recovery_owner_gone(&test.recovery, test.segment->locks, &(struct locks_dead) { .id = STRANGER, .uid = 8 }, 0);
	ck_assert_uint_eq(word_of(ZERO), STRANGER);
	n = n_passes();
	while (n_passes() == n)
		turn();
	ck_assert_uint_gt(n_passes(), 0);
	ck_assert_uint_ne(word_of(ZERO), STRANGER);
	while (n_passes())
		turn();
	expect_free(ROLL, 0xaa, PAGE);
	expect_free(ZERO, 0, PAGE + 5);
}
END_TEST

/* The daemon could not mark it, since a writer was in the way; then the client did. It lives, though its connection ended. */
START_TEST(who_has_marked_itself_is_not_robbed)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	struct client hostile = attach(), client;

	lock.l_start = PROTOCOL_MARK_BASE + (off_t)hostile.attachment->id + 1;
	ck_assert_int_eq(fcntl(hostile.fd, F_OFD_SETLK, &lock), 0);
	client = attach();
	ck_assert(!client.attachment->is_marked);
	lock.l_type = F_UNLCK;
	ck_assert_int_eq(fcntl(hostile.fd, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(kernelcount_mark(client.fd, client.attachment->id), 0);
	die_within(ROLL, client.attachment->id, 100);
	attachment_give_up(client.attachment, UINT64_MAX);
	ck_assert_uint_eq(word_of(ROLL), client.attachment->id);
	ck_assert_uint_eq(segment_n_attached(test.segment), 2);
	(void)close(client.fd);
	while (segment_n_attached(test.segment) > 1)
		turn();
	expect_free(ROLL, 0xaa, PAGE);
	(void)close(hostile.fd);
	attachment_give_up(hostile.attachment, UINT64_MAX);
}
END_TEST

/* As a waiter does it that has heard the bell, or found the mark gone; it has a section of its own then, and gives it back. */
static void
take_over(unsigned index, uint32_t dead_id, uint32_t id)
{
	const struct control_place *place = &lock_of(index)->place;
	int r;

	ck_assert_int_eq(control_take_over(place->lock, dead_id, id, 77), 0);
	r = control_repair(place, control_copy);
	if (r == CONTROL_E_POISONED)
		ck_assert_int_eq(control_poison(place->lock, id), 0);
	else
		ck_assert_int_eq(r, 0);
}

/* Counted and told like the daemon's own, each once for each death: in the hands of the waiter, or given back. */
START_TEST(what_waiters_put_right_is_counted)
{
	struct client dead = attach(), waiter = attach();
	uint32_t id = dead.attachment->id, waiter_id = waiter.attachment->id;

	die_within(ROLL, id, 100);
	die_within(KEEP, id, 100);
	die_within(POISON, id, 100);
	die_within(ZERO, id, 100);
	take_over(ROLL, id, waiter_id);
	take_over(KEEP, id, waiter_id);
	take_over(POISON, id, waiter_id);
	control_unlock(lock_of(KEEP)->place.lock);
	(void)close(dead.fd);
	attachment_give_up(dead.attachment, UINT64_MAX);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 3);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_POISONED], 1);
	ck_assert_uint_eq(test.n_by_waiters, 3);
	ck_assert_uint_eq(lock_of(ROLL)->n_recoveries, 1);
	ck_assert_uint_eq(lock_of(KEEP)->n_recoveries, 1);
	ck_assert_uint_eq(lock_of(ZERO)->n_recoveries, 1);
	ck_assert_int_eq(lock_of(ROLL)->recovered_pid, getpid());
	ck_assert_uint_gt(lock_of(ROLL)->recovered_ns, 0);
	ck_assert_uint_eq(test.segment->locks->n_recoveries, 3);
	ck_assert_uint_eq(test.segment->locks->n_poisoned, 1);
	ck_assert_uint_eq(word_of(ROLL), waiter_id | CONTROL_WAITERS);
	ck_assert_uint_eq(word_of(KEEP), 0);
	/* The waiter dies with the lock; what it took before is not counted again. */
	(void)close(waiter.fd);
	attachment_give_up(waiter.attachment, UINT64_MAX);
	ck_assert_uint_eq(lock_of(ROLL)->n_recoveries, 2);
	ck_assert_uint_eq(lock_of(KEEP)->n_recoveries, 1);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 4);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_POISONED], 1);
	ck_assert_uint_eq(test.n_by_waiters, 3);
	expect_free(ROLL, 0xaa, PAGE);
}
END_TEST

/* It wrote down whom it would take the lock from, and the daemon was faster. */
START_TEST(what_a_waiter_only_meant_to_take_is_counted_once)
{
	struct client dead = attach();
	uint32_t id = dead.attachment->id;
	struct control_lock *lock = lock_of(ROLL)->place.lock;

	die_within(ROLL, id, 100);
	ck_assert(!control_take_rung(lock, CONTROL_STATE(id, CONTROL_DIED), STRANGER, 77));
	ck_assert(control_was_taken(lock, id));
	(void)close(dead.fd);
	attachment_give_up(dead.attachment, UINT64_MAX);
	expect_free(ROLL, 0xaa, PAGE);
	ck_assert_uint_eq(lock_of(ROLL)->n_recoveries, 1);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 1);
	ck_assert_uint_eq(test.n_by_waiters, 0);
}
END_TEST

/* One take-over follows the other, and the daemon hears of all the deaths later, the first one first. */
START_TEST(deaths_of_waiters_in_a_row_are_all_counted)
{
	struct client dead[CONTROL_TAKEN_N + 1];

	for (int i = 0; i <= CONTROL_TAKEN_N; i++)
		dead[i] = attach();
	die_within(ROLL, dead[0].attachment->id, 100);
	for (int i = 0; i < CONTROL_TAKEN_N; i++)
		take_over(ROLL, dead[i].attachment->id, dead[i + 1].attachment->id);
	ck_assert_uint_eq(atomic_load(&lock_of(ROLL)->place.lock->taken_n), CONTROL_TAKEN_N);
	for (int i = 0; i <= CONTROL_TAKEN_N; i++) {
		(void)close(dead[i].fd);
		attachment_give_up(dead[i].attachment, UINT64_MAX);
		ck_assert_uint_eq(lock_of(ROLL)->n_recoveries, i + 1);
	}
	ck_assert_uint_eq(test.n_by_waiters, CONTROL_TAKEN_N);
	expect_free(ROLL, 0xaa, PAGE);
}
END_TEST

/* A log that is none: the waiter poisons it, and that is what the daemon tells. */
START_TEST(what_a_waiter_distrusts_is_told_as_that)
{
	struct client dead = attach();
	uint32_t id = dead.attachment->id;

	die_within(ROLL, id, 100);
	atomic_store(&lock_of(ROLL)->place.lock->used_bytes, 33);
	take_over(ROLL, id, STRANGER);
	ck_assert_uint_eq(word_of(ROLL), CONTROL_ID_POISON);
	(void)close(dead.fd);
	attachment_give_up(dead.attachment, UINT64_MAX);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_DISTRUSTED], 1);
	ck_assert_uint_eq(test.n_outcomes[RECOVERY_FREED], 0);
	ck_assert_uint_eq(test.recovery.n_poisonings, 1);
}
END_TEST

/* A claim takes the bell away with the word: whoever hears it after that finds nobody to take from. */
START_TEST(claim_silences_the_bell)
{
	struct client dead = attach();
	uint32_t id = dead.attachment->id, claim_id = test.segment->locks->claim_id;
	struct control_lock *lock = lock_of(LARGE)->place.lock;
	uint64_t rung = CONTROL_STATE(id | CONTROL_WAITERS, CONTROL_DIED | CONTROL_WAITERS);

	die_within(LARGE, id, 500000);
	atomic_store(&lock->state, rung);
	(void)close(dead.fd);
	attachment_give_up(dead.attachment, UINT64_MAX);
	ck_assert_uint_eq(atomic_load(&lock->state), CONTROL_STATE(claim_id | CONTROL_WAITERS, 0));
	ck_assert(!control_take_rung(lock, rung, STRANGER, 77));
	ck_assert_uint_eq(atomic_load(&lock->state), CONTROL_STATE(claim_id | CONTROL_WAITERS, 0));
	while (test.segment->locks->n_busy)
		turn();
	expect_free(LARGE, 0xaa, 6 * MIB);
	ck_assert_uint_eq(atomic_load(&lock->state), 0);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, locks_are_laid_out_apart);
	tcase_add_test(tcase, each_policy_at_an_owners_death);
	tcase_add_test(tcase, others_locks_are_left_alone);
	tcase_add_test(tcase, a_held_mark_robs_nobody);
	tcase_add_test(tcase, large_ones_go_to_a_worker);
	tcase_add_test(tcase, punched_holes_are_a_workers);
	tcase_add_test(tcase, what_waits_for_memory_is_told_once_and_poisons_nothing);
	tcase_add_test(tcase, a_segment_may_go_meanwhile);
	tcase_add_loop_test(tcase, a_log_that_is_none_poisons, 0, 8);
	tcase_add_loop_test(tcase, a_poisoned_lock_by_hand, 0, 2);
	tcase_add_test(tcase, strays_are_recovered);
	tcase_add_test(tcase, ids_are_not_reused_while_a_word_has_them);
	tcase_add_test(tcase, what_is_undone_on_the_loop_is_what_was_judged);
	tcase_add_test(tcase, deaths_do_not_make_the_queue_longer);
	tcase_add_test(tcase, many_deaths_of_one_uid_delay_no_others);
	tcase_add_test(tcase, who_has_marked_itself_is_not_robbed);
	tcase_add_test(tcase, what_waiters_put_right_is_counted);
	tcase_add_test(tcase, what_a_waiter_only_meant_to_take_is_counted_once);
	tcase_add_test(tcase, deaths_of_waiters_in_a_row_are_all_counted);
	tcase_add_test(tcase, what_a_waiter_distrusts_is_told_as_that);
	tcase_add_test(tcase, claim_silences_the_bell);
}

int
main(int argc, char **argv)
{
	return rig_main(argv, "recovery", add_tests);
}
