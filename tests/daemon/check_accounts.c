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

int
main(void)
{
	Suite *suite = suite_create("accounts");
	TCase *tcase = tcase_create("accounts");

	tcase_add_test(tcase, limit_is_per_uid_and_per_kind);
	tcase_add_test(tcase, amounts_cannot_overflow);
	tcase_add_test(tcase, refusal_leaves_no_account_behind);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
