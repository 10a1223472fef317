/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Charges: what one uid has does not count for another, and what is given back can be had again. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "daemon/accounts.h"
#include "tests/suite_run.h"

static const struct conf_limits limits = { .clients = 2, .attachments = 3, .bytes = 100 };

START_TEST(limit_is_per_uid_and_per_kind)
{
	struct accounts accounts;
	struct charge charges[6] = { 0 };

	accounts_init(&accounts, &limits);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[0]), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[1]), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[2]), ACCOUNTS_E_LIMIT);
	ck_assert_ptr_null(charges[2].account);
	ck_assert_int_eq(accounts_charge(&accounts, 8, ACCOUNTS_CLIENTS, 1, &charges[3]), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_ATTACHMENTS, 1, &charges[4]), 0);
	charge_deinit(&charges[0]);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[2]), 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(charges); i++)
		charge_deinit(&charges[i]);
	accounts_deinit(&accounts);	/* asserts that no account is left */
}
END_TEST

START_TEST(amounts_cannot_overflow)
{
	struct accounts accounts;
	struct charge charge = CHARGE_NULL, other = CHARGE_NULL;

	accounts_init(&accounts, &limits);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, 100, &charge), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, UINT64_MAX, &other), ACCOUNTS_E_LIMIT);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, UINT64_MAX - 99, &other), ACCOUNTS_E_LIMIT);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, 0, &other), 0);
	charge_deinit(&other);
	charge_deinit(&other);
	charge_deinit(&charge);
	accounts_deinit(&accounts);
}
END_TEST

START_TEST(refusal_leaves_no_account_behind)
{
	struct accounts accounts;
	struct charge charge = CHARGE_NULL;

	accounts_init(&accounts, &limits);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, 101, &charge), ACCOUNTS_E_LIMIT);
	ck_assert_ptr_null(accounts.by_uid);
	accounts_deinit(&accounts);
}
END_TEST

/* What a uid can have of what there is for all, taken one by one. */
static uint64_t
take_all(struct accounts *accounts, uint32_t uid, struct charge *charges, uint64_t max)
{
	uint64_t n = 0;

	while (n < max && accounts_charge(accounts, uid, ACCOUNTS_CLIENTS, 1, &charges[n]) == 0)
		n++;
	return n;
}

/* However many come, and whatever they take, the next one finds something; and who administers more. */
START_TEST(users_at_their_limits_leave_room)
{
	enum { TOTAL = 1600, EACH = 1000 };
	static const struct conf_limits wide = { .clients = EACH, .total_clients = TOTAL };
	static struct charge charges[9][EACH];
	struct charge own[TOTAL] = { 0 }, trusted = CHARGE_NULL;
	uint64_t left = TOTAL - TOTAL / 16, n, n_own = 0;
	struct accounts accounts;

	accounts_init(&accounts, &wide);
	for (uint32_t i = 0; i < BASE_ARRAY_SIZE(charges); i++) {
		n = take_all(&accounts, 1000 + i, charges[i], EACH);
		ck_assert_uint_eq(n, left - left / 2);
		left -= n;
	}
	ck_assert_uint_gt(left, 0);
	ck_assert_int_eq(accounts_charge_trusted(&accounts, 4000, ACCOUNTS_CLIENTS, 50, &trusted), 0);
	while (accounts_charge(&accounts, 0, ACCOUNTS_CLIENTS, 1, &own[n_own]) == 0)
		n_own++;
	ck_assert_uint_eq(n_own, left + TOTAL / 16 - 50);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_CLIENTS], TOTAL);
	/* What one gives back the others can have. */
	for (size_t i = 0; i < EACH; i++)
		charge_deinit(&charges[0][i]);
	n = take_all(&accounts, 2000, charges[0], EACH);
	ck_assert_uint_gt(n, 300);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(charges); i++)
		for (size_t j = 0; j < EACH; j++)
			charge_deinit(&charges[i][j]);
	for (size_t i = 0; i < n_own; i++)
		charge_deinit(&own[i]);
	charge_deinit(&trusted);
	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		ck_assert_uint_eq(accounts.used[i], 0);
	accounts_deinit(&accounts);
}
END_TEST

START_TEST(a_charge_grows_and_moves)
{
	struct accounts accounts;
	struct charge charge = CHARGE_NULL, other;

	accounts_init(&accounts, &limits);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_BYTES, 10, &charge), 0);
	ck_assert_int_eq(charge_resize(&charge, 100), 0);
	ck_assert_int_eq(charge_resize(&charge, 101), ACCOUNTS_E_LIMIT);
	ck_assert_int_eq(charge_resize(&charge, UINT64_MAX), ACCOUNTS_E_LIMIT);
	ck_assert_uint_eq(accounts_used(&accounts, 7, ACCOUNTS_BYTES), 100);
	ck_assert_int_eq(charge_resize(&charge, 3), 0);
	other = charge_take(&charge);
	charge_deinit(&charge);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_BYTES], 3);
	charge_deinit(&other);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_BYTES], 0);
	/* It may be tried again: what is refused is what somebody is answered. */
	ck_assert_uint_eq(accounts.n_refused[ACCOUNTS_BYTES], 0);
	accounts_refused(&accounts, 7, ACCOUNTS_BYTES, 101);
	ck_assert_uint_eq(accounts.n_refused[ACCOUNTS_BYTES], 1);
	accounts_deinit(&accounts);
}
END_TEST

/* The part that is for who administers is also what grows for them; and nobody else comes to it by growing. */
START_TEST(a_charge_remembers_who_administers)
{
	enum { TOTAL = 1600, OWN_PART = TOTAL / 16 };
	static const struct conf_limits wide = { .clients = TOTAL, .total_clients = TOTAL };
	struct charge other = CHARGE_NULL, charge = CHARGE_NULL, trusted = CHARGE_NULL, moved;
	struct accounts accounts;

	accounts_init(&accounts, &wide);
	ck_assert_int_eq(accounts_charge_again(&accounts, 7, ACCOUNTS_CLIENTS, TOTAL - OWN_PART - 2, &other), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 8, ACCOUNTS_CLIENTS, 1, &charge), 0);
	ck_assert_int_eq(accounts_charge_trusted(&accounts, 9, ACCOUNTS_CLIENTS, 1, &trusted), 0);
	ck_assert_int_eq(charge_resize(&charge, 2), ACCOUNTS_E_LIMIT);
	moved = charge_take(&trusted);
	ck_assert_int_eq(charge_resize(&moved, OWN_PART), 0);
	ck_assert_int_eq(charge_resize(&moved, 0), 0);
	ck_assert_int_eq(charge_resize(&moved, OWN_PART + 1), 0);
	ck_assert_int_eq(charge_resize(&moved, OWN_PART + 2), ACCOUNTS_E_LIMIT);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_CLIENTS], TOTAL);
	charge_deinit(&other);
	charge_deinit(&charge);
	charge_deinit(&moved);
	accounts_deinit(&accounts);
}
END_TEST

/* Each says whose limit it is, how much there is of what, and what helps. */
START_TEST(refusals_have_their_own_sentences)
{
	static const struct conf_limits few = { .clients = 2, .attachments = 3, .bytes = 100, .total_clients = 2 };
	char text[ACCOUNTS_TEXT_SIZE], other[ACCOUNTS_TEXT_SIZE];
	struct charge charges[3] = { 0 };
	struct accounts accounts;

	accounts_init(&accounts, &few);
	ck_assert_str_eq(accounts_describe(&accounts, 7, ACCOUNTS_ATTACHMENTS, 4, text), "uid 7 has 0 attachments, and 4 more would "
	    "be beyond the 3 that limits.attachments allows each uid; detach some, or have the administrator raise it");
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[0]), 0);
	ck_assert_int_eq(accounts_charge(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[1]), ACCOUNTS_E_LIMIT);
	ck_assert_str_eq(accounts_describe(&accounts, 7, ACCOUNTS_CLIENTS, 1, text), "uid 7 has 1 connections already, as many as the "
	    "half that others leave of the 2 that limits.total_clients allows all together; close some, or have the administrator "
	    "raise it");
	ck_assert_int_eq(accounts_charge_again(&accounts, 7, ACCOUNTS_CLIENTS, 1, &charges[1]), 0);
	ck_assert_str_eq(accounts_describe(&accounts, 7, ACCOUNTS_CLIENTS, 1, text), "uid 7 has 2 connections already, as many as "
	    "limits.clients allows each uid; close some, or have the administrator raise it");
	for (int i = 0; i < ACCOUNTS_KIND_N; i++) {
		ck_assert(accounts_rows[i].name && accounts_rows[i].what && accounts_rows[i].remedy);
		(void)accounts_describe(&accounts, 7, (enum accounts_kind)i, 1, text);
		ck_assert_uint_lt(strlen(text), ACCOUNTS_TEXT_SIZE - 32);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(accounts_describe(&accounts, 7, (enum accounts_kind)j, 1, other), text);
	}
	charge_deinit(&charges[0]);
	charge_deinit(&charges[1]);
	accounts_deinit(&accounts);
}
END_TEST

/* In the order in which they came, from any number on, whoever has gone meanwhile. */
START_TEST(accounts_are_found_by_their_numbers)
{
	enum { N = 1000 };
	static const struct conf_limits wide = { .clients = N };
	static struct charge charges[N];
	struct accounts accounts;

	accounts_init(&accounts, &wide);
	ck_assert_ptr_null(accounts_after(&accounts, 0));
	for (uint32_t i = 0; i < N; i++)
		ck_assert_int_eq(accounts_charge(&accounts, 7 * i, ACCOUNTS_CLIENTS, i + 1, &charges[i]), 0);
	/* Some single ones, and some in a row, with whatever might stand for others. */
	for (uint32_t i = 0; i < N; i++)
		if (i % 3 == 0 || i % 32 < 2 || (i > 300 && i < 420))
			charge_deinit(&charges[i]);
	for (uint32_t number = 0, next = 0; number <= N; number++) {
		const struct account *account = accounts_after(&accounts, number);

		for (next = number; next < N && !charges[next].account; next++)
			;
		ck_assert_ptr_eq(account, next < N ? charges[next].account : NULL);
		ck_assert(!account || (account->number == next + 1 && account->uid == 7 * next && account->used[ACCOUNTS_CLIENTS] == next + 1));
	}
	/* A number is nobody's a second time. */
	ck_assert_int_eq(accounts_charge(&accounts, 0, ACCOUNTS_CLIENTS, 1, &charges[0]), 0);
	ck_assert_ptr_eq(accounts_after(&accounts, N), charges[0].account);
	ck_assert_ptr_null(accounts_after(&accounts, UINT64_MAX));
	for (uint32_t i = 0; i < N; i++)
		charge_deinit(&charges[i]);
	ck_assert_ptr_null(accounts_after(&accounts, 0));
	accounts_deinit(&accounts);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("accounts");
	TCase *tcase = tcase_create("accounts");

	tcase_add_test(tcase, limit_is_per_uid_and_per_kind);
	tcase_add_test(tcase, amounts_cannot_overflow);
	tcase_add_test(tcase, refusal_leaves_no_account_behind);
	tcase_add_test(tcase, users_at_their_limits_leave_room);
	tcase_add_test(tcase, a_charge_grows_and_moves);
	tcase_add_test(tcase, a_charge_remembers_who_administers);
	tcase_add_test(tcase, refusals_have_their_own_sentences);
	tcase_add_test(tcase, accounts_are_found_by_their_numbers);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
