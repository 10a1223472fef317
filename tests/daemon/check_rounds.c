/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Rounds: however many wait of one uid, another's comes after one of them, and what that costs does not grow with them. */
#include "config.h"

#include <check.h>
#include <stdlib.h>

#include "base/base.h"
#include "daemon/rounds.h"
#include "tests/suite_run.h"

#define MANY		4096
#define UIDS		8

static struct rounds rounds;
static struct round many[MANY], others[UIDS];

static void
enter_many(uint32_t uid)
{
	rounds_init(&rounds);
	for (unsigned i = 0; i < MANY; i++) {
		many[i] = (struct round) { 0 };
		rounds_enter(&rounds, &many[i], uid);
	}
}

START_TEST(thousands_of_one_uid_delay_another_by_one)
{
	enter_many(7);
	rounds_enter(&rounds, &others[0], 8);
	rounds_enter(&rounds, &others[1], 9);
	ck_assert_ptr_eq(rounds_take(&rounds), &many[0]);
	ck_assert_ptr_eq(rounds_take(&rounds), &others[0]);
	ck_assert_ptr_eq(rounds_take(&rounds), &others[1]);
	for (unsigned i = 1; i < MANY; i++) {
		/* One that comes meanwhile is next but one. */
		if (i == MANY / 2)
			rounds_enter(&rounds, &others[0], 8);
		if (i == MANY / 2 + 1)
			ck_assert_ptr_eq(rounds_take(&rounds), &others[0]);
		ck_assert_ptr_eq(rounds_take(&rounds), &many[i]);
	}
	ck_assert_ptr_null(rounds_take(&rounds));
	ck_assert_uint_eq(rounds.n, 0);
	/* Nobody was gone past but uids. */
	ck_assert_uint_le(rounds.n_steps, 3 * (MANY + 3));
}
END_TEST

START_TEST(uids_take_turns)
{
	static struct round three[3][3];
	static const unsigned order[] = { 0, 1, 2, 0, 1, 2, 0, 1, 2 };

	rounds_init(&rounds);
	for (unsigned uid = 0; uid < 3; uid++)
		for (unsigned i = 0; i < 3; i++)
			rounds_enter(&rounds, &three[uid][i], uid);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(order); i++)
		ck_assert_ptr_eq(rounds_take(&rounds), &three[order[i]][i / 3]);
}
END_TEST

START_TEST(who_leaves_keeps_the_place_for_the_next_of_its_uid)
{
	enter_many(7);
	rounds_enter(&rounds, &others[0], 8);
	rounds_leave(&rounds, &many[0]);
	rounds_leave(&rounds, &many[0]);
	rounds_leave(&rounds, &many[MANY - 1]);
	rounds_leave(&rounds, &many[2]);
	ck_assert_uint_eq(rounds.n, MANY - 3 + 1);
	ck_assert_ptr_eq(rounds_first(&rounds), &many[1]);
	ck_assert_ptr_eq(rounds_next_uid(&many[1]), &others[0]);
	ck_assert_ptr_null(rounds_next_uid(&others[0]));
	ck_assert_ptr_eq(rounds_take(&rounds), &many[1]);
	rounds_leave(&rounds, &others[0]);
	for (unsigned i = 3; i < MANY - 1; i++)
		ck_assert_ptr_eq(rounds_take(&rounds), &many[i]);
	ck_assert_ptr_null(rounds_first(&rounds));
}
END_TEST

START_TEST(who_comes_first_is_before_all)
{
	enter_many(7);
	rounds_enter(&rounds, &others[0], 8);
	rounds_enter_first(&rounds, &others[1], 8);
	rounds_enter_first(&rounds, &others[2], 9);
	ck_assert_ptr_eq(rounds_take(&rounds), &others[2]);
	ck_assert_ptr_eq(rounds_take(&rounds), &others[1]);
	ck_assert_ptr_eq(rounds_take(&rounds), &many[0]);
	ck_assert_ptr_eq(rounds_take(&rounds), &others[0]);
	ck_assert_ptr_eq(rounds_take(&rounds), &many[1]);
}
END_TEST

/* Against a model: queues of each uid, and the order of uids. */
START_TEST(any_order_is_as_in_a_model)
{
	static struct round places[64];
	struct round *queues[UIDS][BASE_ARRAY_SIZE(places)];
	unsigned lengths[UIDS] = { 0 }, order[UIDS], n_uids = 0;

	rounds_init(&rounds);
	srandom(11);
	for (unsigned step = 0; step < 100000; step++) {
		struct round *round = &places[random() % (long)BASE_ARRAY_SIZE(places)];
		unsigned uid = round->is_waiting ? round->uid : (unsigned)(random() % UIDS), at = 0, i = 0;

		if (random() % 3 == 0 && n_uids) {
			uid = order[0];
			ck_assert_ptr_eq(rounds_take(&rounds), queues[uid][0]);
			memmove(order, order + 1, (n_uids - 1) * sizeof(order[0]));
			order[n_uids - 1] = uid;
			at = n_uids - 1;
		} else if (!round->is_waiting) {
			rounds_enter(&rounds, round, uid);
			if (!lengths[uid])
				order[n_uids++] = uid;
			queues[uid][lengths[uid]++] = round;
			continue;
		} else {
			rounds_leave(&rounds, round);
			while (queues[uid][i] != round)
				i++;
			while (order[at] != uid)
				at++;
		}
		memmove(&queues[uid][i], &queues[uid][i + 1], (--lengths[uid] - i) * sizeof(round));
		if (!lengths[uid])
			memmove(&order[at], &order[at + 1], (--n_uids - at) * sizeof(order[0]));
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rounds");
	TCase *tcase = tcase_create("rounds");

	tcase_add_test(tcase, thousands_of_one_uid_delay_another_by_one);
	tcase_add_test(tcase, uids_take_turns);
	tcase_add_test(tcase, who_leaves_keeps_the_place_for_the_next_of_its_uid);
	tcase_add_test(tcase, who_comes_first_is_before_all);
	tcase_add_test(tcase, any_order_is_as_in_a_model);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
