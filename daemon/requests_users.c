/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who is charged with what: a row a uid, as it is in the accounts when its page is asked for. A page is one message, and where it
 * begins is found at once, so that thousands of uids cost the loop no long turn. Who does not administer hears of nobody else: nor
 * what of it there is left for all, which is what the others have.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/requests.h"

#define REFRESH_NS	(NS_PER_MS / 4)		/* of asking who has read; what is not asked then is told as it was known */
#define ROWS_MAX	((PROTOCOL_MESSAGE_MAX - sizeof(struct protocol_listed)) / sizeof(struct protocol_user))

static void
describe_all(const struct accounts *accounts, struct protocol_user *row)
{
	*row = (struct protocol_user) { .cursor = UINT64_MAX, .flags = PROTOCOL_USER_ALL, .n_charges = ACCOUNTS_KIND_N };
	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		row->charges[i] = (struct protocol_charge) { accounts->used[i], accounts->limits_all[i], PROTOCOL_UNLIMITED };
}

static void
describe_user(const struct accounts *accounts, const struct account *account, bool tells_share, struct protocol_user *row)
{
	uint64_t shares[ACCOUNTS_KIND_N];

	accounts_shares(accounts, account, shares);
	*row = (struct protocol_user) { .cursor = account->number, .uid = account->uid, .n_charges = ACCOUNTS_KIND_N };
	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		row->charges[i] = (struct protocol_charge) {
			.used = account->used[i],
			.limit = accounts->limits[i],
			.share = tells_share ? shares[i] : PROTOCOL_UNLIMITED,
		};
}

/* Those of one page: none of them goes by it, since whose sessions are asked has these. */
static void
refresh_some(struct account *account)
{
	uint64_t until_ns = clock_monotonic_ns() + REFRESH_NS;

	for (size_t i = 0; account && i < ROWS_MAX && clock_monotonic_ns() < until_ns; i++, account = account->hh.next)
		session_refresh_account(account, until_ns);
}

/* All together come last, when it is known of the others who has read. */
static void
list_all(struct requests_page *page, const struct accounts *accounts, uint64_t cursor)
{
	struct account *account = accounts_after(accounts, cursor);
	struct protocol_user *row;

	refresh_some(account);
	for (; account; account = account->hh.next) {
		row = requests_page_next(page);
		if (!row)
			return;
		describe_user(accounts, account, true, row);
	}
	row = cursor < UINT64_MAX ? requests_page_next(page) : NULL;
	if (row)
		describe_all(accounts, row);
}

/* The uid of those whose own is not known here is many's, and nobody's own. */
static void
list_own(struct requests_page *page, struct session *session, uint64_t cursor)
{
	const struct accounts *accounts = session->host->accounts;
	const struct account *account = accounts_find(accounts, session->identity.uid);
	struct protocol_user *row;

	if (!account || cursor >= account->number || !identity_is_uid(&session->identity, account->uid))
		return;
	session_refresh_own(session);
	row = requests_page_next(page);
	if (row)
		describe_user(accounts, account, false, row);
}

int
requests_users(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_users *users = (const void *)request;
	struct requests_page page = { .requests = requests, .row_size = sizeof(struct protocol_user) };

	if (requests_is_administrator(requests, &session->identity))
		list_all(&page, session->host->accounts, users->cursor);
	else
		list_own(&page, session, users->cursor);
	return requests_page_reply(&page, session, request);
}
