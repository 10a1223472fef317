/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Descriptors that wait to be closed: each is charged to its uid as long as it waits, whatever that one's limit is, many that cost
 * nothing are closed in a turn of the loop, and nothing is left when all ends.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>

#include "base/base.h"
#include "daemon/toll.h"
#include "tests/suite_run.h"

#define ONE		1001
#define OTHER		1002
#define MANY		400		/* of each; below what a process may have open */
#define ALL_MAX		100		/* descriptors of clients, of the daemon's */

static struct event_base *base;
static struct accounts accounts;
static struct tolls tolls;
static int last_fd;

static void
open_late(uint32_t uid)
{
	last_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(last_fd, 0);
	tolls_close_later(&tolls, &accounts, uid, last_fd);
}

static void
begin(unsigned n)
{
	static const struct conf_limits limits = { .clients = 1 };

	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	accounts_init(&accounts, &limits);
	accounts_set_limit_all(&accounts, ACCOUNTS_DESCRIPTORS, ALL_MAX);
	ck_assert_int_eq(tolls_init(&tolls, base), 0);
	for (unsigned i = 0; i < n; i++) {
		open_late(ONE);
		open_late(OTHER);
	}
}

static void
end(void)
{
	tolls_deinit(&tolls);
	ck_assert_int_eq(fcntl(last_fd, F_GETFD), -1);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_DESCRIPTORS], 0);
	accounts_deinit(&accounts);	/* asserts that no account is left */
	event_base_free(base);
}

static uint64_t
used(uint32_t uid)
{
	return accounts_used(&accounts, uid, ACCOUNTS_DESCRIPTORS);
}

START_TEST(what_waits_is_charged_until_it_is_closed)
{
	struct charge charge = CHARGE_NULL;
	uint64_t n;

	begin(MANY);
	ck_assert_uint_eq(used(ONE), MANY);
	ck_assert_uint_eq(used(OTHER), MANY);
	ck_assert_int_eq(accounts_charge(&accounts, ONE, ACCOUNTS_DESCRIPTORS, 1, &charge), ACCOUNTS_E_LIMIT);
	while ((n = tolls.n_closings)) {
		ck_assert_uint_eq(used(ONE) + used(OTHER), n);
		/* One after the other, as they came. */
		ck_assert_uint_le(used(ONE), used(OTHER));
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
		ck_assert_uint_lt(tolls.n_closings, n);
	}
	ck_assert_int_eq(accounts_charge(&accounts, ONE, ACCOUNTS_DESCRIPTORS, 1, &charge), 0);
	charge_deinit(&charge);
	end();
}
END_TEST

START_TEST(many_that_cost_nothing_go_in_one_turn)
{
	unsigned n_turns = 0;

	begin(MANY / 2);
	for (; tolls.n_closings; n_turns++)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	/* Each takes a microsecond. */
	ck_assert_uint_lt(n_turns, MANY / 4);
	end();
}
END_TEST

START_TEST(what_waits_at_the_end_is_closed_and_given_back)
{
	begin(MANY / 2);
	ck_assert_uint_eq(tolls.n_closings, MANY);
	end();
}
END_TEST

START_TEST(who_is_slow_once_is_closed_late)
{
	struct toll toll = { 0 };

	ck_assert(!toll_closes_late(&toll));
	toll.n_slow = 1;
	ck_assert(toll_closes_late(&toll));
	toll.n_slow = 0;
	toll.closes_late_until_ns = clock_monotonic_ns() + NS_PER_SEC * 60;
	ck_assert(toll_closes_late(&toll));
	toll.closes_late_until_ns = clock_monotonic_ns() - 1;
	ck_assert(!toll_closes_late(&toll));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("toll");
	TCase *tcase = tcase_create("toll");

	tcase_add_test(tcase, what_waits_is_charged_until_it_is_closed);
	tcase_add_test(tcase, many_that_cost_nothing_go_in_one_turn);
	tcase_add_test(tcase, what_waits_at_the_end_is_closed_and_given_back);
	tcase_add_test(tcase, who_is_slow_once_is_closed_late);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
