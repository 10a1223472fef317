/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the rules of orphans make of System V segments, in an IPC namespace of the test's own where there can be one, else of keys
 * of its own, with a judge that says what the test wants to hear.
 */
#include "config.h"

#include <check.h>
#include <sched.h>
#include <sys/shm.h>

#include "base/base.h"
#include "daemon/orphans.h"
#include "tests/suite_run.h"

#define N_MANY	(ORPHANS_BATCH + 7)

static struct {
	struct event_base *base;
	struct orphans orphans;
	struct orphans_ask *ask;
	uint32_t first_key;
	bool is_private;		/* the namespace */
	int ids[N_MANY];
	unsigned n_ids;
} rig;

static int
judge(struct orphans_ask *ask, void *arg)
{
	ck_assert_ptr_null(rig.ask);
	rig.ask = ask;
	return 0;
}

static void
forget(struct orphans_ask *ask, void *arg)
{
	rig.ask = NULL;
}

static void
set_rule(const struct conf_orphan *rule)
{
	struct conf_orphan *list = calloc(1, sizeof(*list));
	size_t n = 1;

	*list = *rule;
	list->is_sysv = true;
	list->file = strdup("f.conf");
	ck_assert_int_eq(orphans_set_rules(&rig.orphans, &list, &n), 0);
	conf_orphans_free(list, n);
}

static uint32_t
key(unsigned i)
{
	return rig.first_key + i;
}

static void
begin(void)
{
	rig.is_private = unshare(CLONE_NEWIPC) == 0;
	rig.first_key = 0x5e000000u + (uint32_t)getpid() % 0x10000 * 0x100;
	rig.base = event_base_new();
	orphans_init(&rig.orphans, &(struct orphans_host) { .base = rig.base, .directory = "/nowhere", .judge = judge,
	    .forget = forget });
}

static int
make(uint32_t with_key, unsigned mode)
{
	int id = shmget((key_t)with_key, 4096, IPC_CREAT | IPC_EXCL | (int)mode);

	ck_assert_msg(id >= 0, "shmget: %s", strerror(errno));
	rig.ids[rig.n_ids++] = id;
	return id;
}

static void
end(void)
{
	orphans_deinit(&rig.orphans);
	event_base_free(rig.base);
	for (unsigned i = 0; i < rig.n_ids; i++)
		(void)shmctl(rig.ids[i], IPC_RMID, NULL);
}

static void
await_ask(void)
{
	while (!rig.ask)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
}

static void
answer(enum audit_verdict verdict)
{
	struct orphans_ask *ask = take_ptr(rig.ask);

	for (size_t i = 0; i < ask->n; i++)
		orphans_answer(ask, &(struct audit_stray) { .what = AUDIT_SYSV, .verdict = verdict, .proof = AUDIT_BY_NATTCH,
		    .shm_id = ask->candidates[i].shm_id, .key = ask->candidates[i].key, .resident_bytes = 4096,
		    .size_bytes = 4096 });
	orphans_end(ask, 0, "");
}

static void
expect_ask(int id)
{
	struct shmid_ds status;

	await_ask();
	ck_assert_uint_eq(rig.ask->n, 1);
	ck_assert_int_eq(shmctl(id, IPC_STAT, &status), 0);
	ck_assert_uint_eq(rig.ask->candidates[0].what, AUDIT_SYSV);
	ck_assert_int_eq(rig.ask->candidates[0].shm_id, id);
	ck_assert_uint_eq(rig.ask->candidates[0].key, (uint32_t)status.shm_perm.__key);
	ck_assert_int_eq(rig.ask->candidates[0].attached_s, status.shm_atime);
	ck_assert_int_eq(rig.ask->candidates[0].detached_s, status.shm_dtime);
	ck_assert_int_eq(rig.ask->candidates[0].changed_s, status.shm_ctime);
	ck_assert_int_eq(rig.ask->candidates[0].creator, getpid());
}

START_TEST(unattached_is_due_by_the_kernels_times)
{
	struct conf_orphan rule = { .has_key = true, .after_ms = 500 };
	uint64_t made_ns;
	int id;

	begin();
	rule.key = key(1);
	set_rule(&rule);
	id = make(key(1), 0600);
	made_ns = clock_monotonic_ns();
	expect_ask(id);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	ck_assert_uint_ge(clock_monotonic_ns() - made_ns, 500 * NS_PER_MS);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	/* It is used, and let go: it is asked about again. */
	ck_assert_int_eq(shmdt(shmat(id, NULL, 0)), 0);
	expect_ask(id);
	ck_assert_int_gt(rig.ask->candidates[0].detached_s, 0);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	end();
}
END_TEST

START_TEST(attached_and_doomed_are_no_candidates)
{
	struct conf_orphan rule = { .has_mode = true, .mode = 0612, .remove = true };
	void *map, *doomed;
	int id, fence;

	begin();
	id = make(key(1), 0612);
	map = shmat(id, NULL, 0);
	ck_assert_ptr_ne(map, (void *)-1);
	doomed = shmat(make(IPC_PRIVATE, 0612), NULL, 0);
	ck_assert_ptr_ne(doomed, (void *)-1);
	ck_assert_int_eq(shmctl(rig.ids[1], IPC_RMID, NULL), 0);
	(void)make(key(2), 0600);
	set_rule(&rule);
	fence = make(key(3), 0612);
	expect_ask(fence);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	ck_assert_int_eq(shmctl(fence, IPC_RMID, NULL), 0);
	answer(AUDIT_REMOVED);
	ck_assert_int_eq(shmdt(map), 0);
	expect_ask(id);
	answer(AUDIT_HELD);
	ck_assert_int_eq(shmdt(doomed), 0);
	end();
}
END_TEST

START_TEST(all_that_a_rule_says_must_be_true)
{
	struct conf_orphan rule = { .has_user = true, .user = getuid(), .has_key = true, .has_mode = true, .mode = 0640 };
	int id;

	begin();
	rule.key = key(1);
	(void)make(key(2), 0640);
	id = make(key(1), 0640);
	set_rule(&rule);
	expect_ask(id);
	answer(AUDIT_UNHELD);
	rule.user++;
	set_rule(&rule);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	end();
}
END_TEST

START_TEST(what_cannot_be_removed_is_told_once_and_tried_again)
{
	struct conf_orphan rule = { .has_key = true, .remove = true };
	uint64_t told_ns;
	int id;

	begin();
	rule.key = key(1);
	id = make(key(1), 0600);
	set_rule(&rule);
	expect_ask(id);
	told_ns = clock_monotonic_ns();
	answer(AUDIT_KEPT);
	expect_ask(id);
	ck_assert_uint_ge(clock_monotonic_ns() - told_ns, 2 * NS_PER_SEC - NS_PER_MS);
	answer(AUDIT_KEPT);
	ck_assert_uint_eq(rig.orphans.n_kept, 1);
	end();
}
END_TEST

START_TEST(many_are_asked_about_in_questions_of_some)
{
	struct conf_orphan rule = { .has_mode = true, .mode = 0617, .remove = true };
	unsigned n = 0;

	begin();
	for (unsigned i = 0; i < N_MANY; i++)
		(void)make(IPC_PRIVATE, 0617);
	set_rule(&rule);
	while (n < N_MANY) {
		await_ask();
		ck_assert_uint_le(rig.ask->n, ORPHANS_BATCH);
		for (size_t i = 0; i < rig.ask->n; i++, n++)
			ck_assert_int_eq(shmctl(rig.ask->candidates[i].shm_id, IPC_RMID, NULL), 0);
		answer(AUDIT_REMOVED);
	}
	ck_assert_uint_eq(rig.orphans.n_removed, N_MANY);
	ck_assert_uint_eq(rig.orphans.freed_bytes, N_MANY * 4096);
	end();
}
END_TEST

START_TEST(last_rule_that_goes_waits_for_what_is_being_removed)
{
	struct conf_orphan rule = { .has_key = true, .remove = true }, *list = NULL;
	size_t n = 0;
	int id;

	begin();
	rule.key = key(1);
	id = make(key(1), 0600);
	set_rule(&rule);
	expect_ask(id);
	ck_assert_int_eq(orphans_set_rules(&rig.orphans, &list, &n), 0);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	ck_assert_ptr_null(rig.orphans.sysv);
	end();
}
END_TEST

START_TEST(without_rules_nothing_runs)
{
	struct conf_orphan rule = { .has_key = true }, *list = NULL;
	size_t n = 0;

	begin();
	set_rule(&rule);
	ck_assert_int_eq(orphans_set_rules(&rig.orphans, &list, &n), 0);
	while (event_base_loop(rig.base, EVLOOP_ONCE) == 0)
		;
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/orphansysv");
	TCase *tcase = tcase_create("orphansysv");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, unattached_is_due_by_the_kernels_times);
	tcase_add_test(tcase, attached_and_doomed_are_no_candidates);
	tcase_add_test(tcase, all_that_a_rule_says_must_be_true);
	tcase_add_test(tcase, what_cannot_be_removed_is_told_once_and_tried_again);
	tcase_add_test(tcase, many_are_asked_about_in_questions_of_some);
	tcase_add_test(tcase, last_rule_that_goes_waits_for_what_is_being_removed);
	tcase_add_test(tcase, without_rules_nothing_runs);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
