/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who hangs up and lives is waited for, so many of a uid, and not for long. */
#include "config.h"

#include <check.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/deaths.h"
#include "tests/suite_run.h"

#define MOST		16
#define ONE		7
#define OTHER		8

static struct session_host host;
static struct deaths deaths;
static struct accounts accounts;

/* One of this process, which was attached to something, has ended. */
static void
end_session(uint32_t uid)
{
	struct events_end *end = calloc(1, sizeof(*end));
	struct session session = { .host = &host, .pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), .identity = { .uid = uid } };

	ck_assert_ptr_nonnull(end);
	ck_assert_int_ge(session.pidfd, 0);
	end->definition = definition_new();
	TAILQ_INIT(&session.ends);
	TAILQ_INSERT_TAIL(&session.ends, end, entry);
	deaths_conclude(&deaths, &session);
	ck_assert(TAILQ_EMPTY(&session.ends));
	(void)close(session.pidfd);
}

START_TEST(deaths_of_a_uid_are_limited)
{
	const struct conf_limits limits = { .clients = 1 };
	struct event_base *base = event_base_new();

	accounts_init(&accounts, &limits);
	accounts.limits[ACCOUNTS_DEATHS] = MOST;
	host.accounts = &accounts;
	deaths_init(&deaths, base, NULL);
	for (unsigned i = 0; i < 2 * MOST; i++)
		end_session(ONE);
	ck_assert_uint_eq(accounts_used(&accounts, ONE, ACCOUNTS_DEATHS), MOST);
	ck_assert_uint_eq(accounts_used(&accounts, ONE, ACCOUNTS_DESCRIPTORS), MOST);
	end_session(OTHER);
	ck_assert_uint_eq(accounts_used(&accounts, OTHER, ACCOUNTS_DEATHS), 1);
	/* Nobody has died when the time is over, and nothing is left of them. */
	ck_assert_int_ge(event_base_dispatch(base), 0);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_DEATHS], 0);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_DESCRIPTORS], 0);
	end_session(ONE);
	ck_assert_uint_eq(accounts_used(&accounts, ONE, ACCOUNTS_DEATHS), 1);
	deaths_deinit(&deaths);
	accounts_deinit(&accounts);
	event_base_free(base);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("deaths");
	TCase *tcase = tcase_create("deaths");

	tcase_add_test(tcase, deaths_of_a_uid_are_limited);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
