/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A uid at its limit of what it has not read: which of its sessions have read meanwhile is asked of the kernel, some of thousands in a
 * turn, and nobody is refused before all were asked.
 */
#include "config.h"

#include <check.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/session_parts.h"
#include "tests/suite_run.h"

#define N_SESSIONS	4000
#define AMOUNT		11000		/* each: so 3,000 of them reach the limit, and all is charged */
#define UID		4711
#define OTHER		4712
#define N_OTHERS	100

static struct conf_limits limits = {
	.clients = 2 * N_SESSIONS, .total_clients = 8 * N_SESSIONS, .attachments = 1, .bytes = 1, .subscriptions = 1, .segments = 1,
};
static struct accounts accounts;
static struct session_host host;
static struct session *sessions[N_SESSIONS];
static int peers[N_SESSIONS];
static unsigned n_sessions;

static struct session *
add_of(uint32_t uid)
{
	char text[ACCOUNTS_TEXT_SIZE];
	struct session *session;
	int fds[2];

	ck_assert_uint_lt(n_sessions, N_SESSIONS);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	session = session_make(&host, fds[0]);
	ck_assert_ptr_nonnull(session);
	session->id = n_sessions;
	session->identity.uid = uid;
	ck_assert_int_eq(session_charge(session, text), 0);
	peers[n_sessions] = fds[1];
	sessions[n_sessions++] = session;
	return session;
}

static void
begin(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 4 * N_SESSIONS) {
		printf("SKIP: a process may have %ju descriptors only\n", (uintmax_t)limit.rlim_cur);
		_exit(0);
	}
	accounts_init(&accounts, &limits);
	host.base = event_base_new();
	host.accounts = &accounts;
	TAILQ_INIT(&host.sessions);
	ck_assert_ptr_nonnull(host.base);
}

static void
end(void)
{
	while (n_sessions) {
		struct session *session = sessions[--n_sessions];

		session_discharge(session);
		(void)event_del(&session->retry_event);
		(void)close(session->fd);
		(void)close(peers[n_sessions]);
		free(session);
	}
	accounts_deinit(&accounts);
	event_base_free(host.base);
}

/* Sessions that are charged as unread; up to the limit. */
static void
fill(bool is_unread)
{
	static const char some[100];
	char text[ACCOUNTS_TEXT_SIZE];
	uint64_t charged;

	do {
		struct session *session = add_of(UID);

		ck_assert_int_eq(session_charge_unread(session, AMOUNT, text), 0);
		if (is_unread)
			ck_assert_int_eq(send(session->fd, some, sizeof(some), MSG_NOSIGNAL), sizeof(some));
		charged = session->unread_charge.amount;
	} while (accounts_used(&accounts, UID, ACCOUNTS_UNREAD) + charged <= accounts.limits[ACCOUNTS_UNREAD]);
}

static unsigned
count_charged(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_sessions; i++)
		n += sessions[i]->unread_charge.account != NULL;
	return n;
}

START_TEST(some_are_asked_in_a_turn)
{
	char text[ACCOUNTS_TEXT_SIZE];
	unsigned n_before;

	begin();
	fill(false);
	n_before = count_charged();
	ck_assert_uint_gt(n_before, 2000);
	ck_assert_int_eq(session_charge_unread(add_of(UID), AMOUNT, text), 0);
	/* As many as there is time for, which are enough for this one. */
	ck_assert_uint_lt(count_charged(), n_before);
	ck_assert_uint_gt(count_charged(), n_before / 4);
	end();
}
END_TEST

START_TEST(nobody_is_refused_before_all_were_asked)
{
	char text[ACCOUNTS_TEXT_SIZE];
	struct session *late;
	unsigned n_later = 0;
	int r;

	begin();
	fill(true);
	late = add_of(UID);
	/* Nobody has read: that is known after several turns. */
	while ((r = session_charge_unread(late, AMOUNT, text)) == SESSION_E_LATER) {
		n_later++;
		(void)poll(NULL, 0, 1);
	}
	ck_assert_uint_gt(n_later, 0);
	ck_assert_int_eq(r, SESSION_E_AGAIN);
	ck_assert_ptr_nonnull(strstr(text, "that it has not read"));
	/* One goes while it is its turn to be asked, and leaves as much. */
	(void)poll(NULL, 0, 11);
	ck_assert_int_eq(session_charge_unread(late, AMOUNT, text), SESSION_E_LATER);
	ck_assert_ptr_nonnull(late->charge.account->refresh_next);
	session_discharge(late->charge.account->refresh_next);
	ck_assert_int_eq(session_charge_unread(late, AMOUNT, text), 0);
	end();
}
END_TEST

/* Metrics are asked for, each time for a moment that is too short for all of one uid, who do not read. */
START_TEST(those_far_behind_have_their_turn)
{
	char text[ACCOUNTS_TEXT_SIZE];

	begin();
	fill(true);
	for (unsigned i = 0; i < N_OTHERS; i++)
		ck_assert_int_eq(session_charge_unread(add_of(OTHER), AMOUNT, text), 0);
	while (accounts_used(&accounts, OTHER, ACCOUNTS_UNREAD))
		session_refresh_charges(&host, clock_monotonic_ns() + NS_PER_MS / 50);
	ck_assert_uint_eq(count_charged(), n_sessions - N_OTHERS);
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("refresh");
	TCase *tcase = tcase_create("refresh");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, some_are_asked_in_a_turn);
	tcase_add_test(tcase, nobody_is_refused_before_all_were_asked);
	tcase_add_test(tcase, those_far_behind_have_their_turn);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
