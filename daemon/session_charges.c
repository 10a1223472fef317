/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a session's uid is charged with for it: its place, its descriptors, what is kept of its identity, and what it was sent and has
 * not read. That it has read the kernel says when it is asked, which is done when it is sent more, or when its uid's limit is in the
 * way: so who reads is never refused for it, and costs a question in many replies.
 */
#include "config.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/base.h"
#include "daemon/session_parts.h"
#include "host/limits.h"

#define FDS		2		/* the socket and the pidfd */
#define FREE_GROUPS	256		/* of a list of them, which costs nothing: more have few */
#define FREE_UNREAD	8192		/* bytes of what was sent, likewise */
#define MESSAGE_BYTES	512		/* of the kernel's for a message, at least, besides what is in it */
#define OWN_FDS		128		/* that may be in flight for workers, and on their way into the box */
#define REFRESH_NS	(10 * NS_PER_MS)	/* between two looks at sessions of one uid */
#define REFRESH_TURN_NS	(NS_PER_MS / 20)	/* of such a look, which goes on with the next one */

static bool
session_is_trusted(const struct session *session)
{
	const struct session_host *host = session->host;

	return host->is_trusted && host->is_trusted(&session->identity, host->arg);
}

/*
 * A new descriptor has the lowest number that is free: so many are in use at least. What is not the clients' is the daemon's own, and
 * the rest is theirs.
 */
static void
session_limit_descriptors(const struct session *session)
{
	struct accounts *accounts = session->host->accounts;
	uint64_t most = limits_nofile(), fd = (uint64_t)session->fd, used = accounts->used[ACCOUNTS_DESCRIPTORS];
	uint64_t own = fd > used ? fd - used : 0;

	accounts_set_limit_all(accounts, ACCOUNTS_DESCRIPTORS, most > own ? most - own : 0);
}

static uint64_t
session_groups_bytes(const struct session *session)
{
	const struct identity *identity = &session->identity;

	return identity->n_groups > FREE_GROUPS ? identity->n_groups * sizeof(*identity->groups) : 0;
}

/* Among those of its uid. One that had to wait for its place comes after some that connected later. */
static void
session_enter_account(struct session *session)
{
	struct account_sessions *sessions = session_of_uid(session);
	struct session *other;

	TAILQ_FOREACH_REVERSE(other, sessions, account_sessions, account_entry)
		if (other->id < session->id)
			break;
	if (other)
		TAILQ_INSERT_AFTER(sessions, other, session, account_entry);
	else
		TAILQ_INSERT_HEAD(sessions, session, account_entry);
}

int
session_charge(struct session *session, char *text)
{
	struct accounts *accounts = session->host->accounts;
	uint64_t groups_bytes = session_groups_bytes(session);
	enum accounts_kind kind = ACCOUNTS_CLIENTS;
	uint32_t uid = session->identity.uid;
	bool is_trusted = session_is_trusted(session);
	uint64_t amount = 1;
	int r;

	r = (is_trusted ? accounts_charge_trusted : accounts_charge)(accounts, uid, kind, amount, &session->charge);
	if (r == 0) {
		session_enter_account(session);
		kind = ACCOUNTS_DESCRIPTORS;
		amount = FDS;
		session_limit_descriptors(session);
		/* Who administers is refused only by the kernel. */
		r = (is_trusted ? accounts_charge_again : accounts_charge)(accounts, uid, kind, amount, &session->fds_charge);
	}
	if (r == 0 && groups_bytes) {
		kind = ACCOUNTS_MEMORY;
		amount = groups_bytes;
		r = accounts_charge(accounts, uid, kind, amount, &session->groups_charge);
	}
	if (r)
		session_discharge(session);
	if (r == ACCOUNTS_E_LIMIT && text)
		(void)accounts_refuse(accounts, uid, kind, amount, text);
	return r;
}

int
session_charge_again(struct session *session)
{
	struct accounts *accounts = session->host->accounts;
	uint64_t groups_bytes = session_groups_bytes(session);
	uint32_t uid = session->identity.uid;
	int r = accounts_charge_again(accounts, uid, ACCOUNTS_CLIENTS, 1, &session->charge);

	if (r == 0) {
		session_enter_account(session);
		r = accounts_charge_again(accounts, uid, ACCOUNTS_DESCRIPTORS, FDS, &session->fds_charge);
	}
	if (r == 0 && groups_bytes)
		r = accounts_charge_again(accounts, uid, ACCOUNTS_MEMORY, groups_bytes, &session->groups_charge);
	if (r == 0 && session->n_fds_in_flight)
		r = accounts_charge_again(accounts, uid, ACCOUNTS_IN_FLIGHT, session->n_fds_in_flight, &session->flight_charge);
	return r;
}

void
session_discharge(struct session *session)
{
	struct account *account = session->charge.account;

	if (account && account->refresh_next == session)
		account->refresh_next = TAILQ_NEXT(session, account_entry);
	if (account)
		TAILQ_REMOVE(session_of_uid(session), session, account_entry);
	charge_deinit(&session->charge);
	charge_deinit(&session->fds_charge);
	charge_deinit(&session->groups_charge);
	charge_deinit(&session->flight_charge);
	charge_deinit(&session->unread_charge);
}

/* What of it the peer has not read, by the kernel's word. */
static void
session_refresh(struct session *session)
{
	int unread = 0;

	/* One byte of the last message may still be counted when it was read: see flights_is_unread(). */
	if (ioctl(session->fd, SIOCOUTQ, &unread) || unread > 1) {
		session->unread_bytes = (uint32_t)max_u64((uint64_t)unread, 2);
		return;
	}
	session->unread_bytes = 0;
	session->n_fds_in_flight = 0;
	charge_deinit(&session->flight_charge);
	charge_deinit(&session->unread_charge);
}

void
session_refresh_account(struct account *account, uint64_t until_ns)
{
	struct session *session = account->refresh_next ? account->refresh_next : TAILQ_FIRST(&account->sessions);

	for (; session && clock_monotonic_ns() < until_ns; session = TAILQ_NEXT(session, account_entry))
		if (session->flight_charge.account || session->unread_charge.account)
			session_refresh(session);
	account->refresh_next = session;
}

/* Each account once at most. */
void
session_refresh_charges(struct session_host *host, uint64_t until_ns)
{
	for (unsigned n = HASH_COUNT(host->accounts->by_uid); n && clock_monotonic_ns() < until_ns; n--) {
		struct account *account = accounts_after(host->accounts, host->refreshed_account);

		if (!account)
			account = accounts_after(host->accounts, 0);
		session_refresh_account(account, until_ns);
		if (account->refresh_next)
			break;
		host->refreshed_account = account->number;
	}
}

static int
session_try_charge(struct session *session, enum accounts_kind kind, uint64_t amount, struct charge *charge)
{
	if (charge->account)
		return charge_resize(charge, amount);
	return accounts_charge(session->host->accounts, session->identity.uid, kind, amount, charge);
}

enum refreshed {
	REFRESHED_ALL,			/* a moment ago, too */
	REFRESHED_SOME,			/* the others later */
};

/* All of the uid's, as one of them is refused something: there may be thousands. */
static enum refreshed
session_refresh_all(struct session *session)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct account *account = session->charge.account;

	if (!account)
		return REFRESHED_ALL;
	if (accounts_may_refresh(session->host->accounts, account->uid, now_ns, REFRESH_NS))
		session_refresh_account(account, now_ns + REFRESH_TURN_NS);
	return account->refresh_next ? REFRESHED_SOME : REFRESHED_ALL;
}

void
session_refresh_own(struct session *session)
{
	(void)session_refresh_all(session);
}

/*
 * Charged by the first attempt, or when it is known who of the uid has read meanwhile. SESSION_E_LATER: that is not known of all.
 */
static int
session_charge_sent(struct session *session, enum accounts_kind kind, uint64_t amount, struct charge *charge)
{
	int r = session_try_charge(session, kind, amount, charge);
	enum refreshed refreshed;

	if (r != ACCOUNTS_E_LIMIT)
		return r;
	refreshed = session_refresh_all(session);
	r = session_try_charge(session, kind, amount, charge);
	return r == ACCOUNTS_E_LIMIT && refreshed == REFRESHED_SOME ? SESSION_E_LATER : r;
}

bool
session_may_send_fds(struct session *session)
{
	if (session->n_fds_in_flight)
		session_refresh(session);
	return !session->n_fds_in_flight;
}

/* It may be changed from outside, but not with each request. */
static uint64_t
session_nofile(struct session_host *host)
{
	if (!host->nofile || host->nofile_run != host->turns.n_runs) {
		host->nofile = limits_nofile();
		host->nofile_run = host->turns.n_runs;
	}
	return host->nofile;
}

int
session_charge_flight(struct session *session, unsigned n_fds, char *text)
{
	struct accounts *accounts = session->host->accounts;
	uint64_t most = session_nofile(session->host), own = OWN_FDS + (session->host->box ? box_n_live(session->host->box) : 0);
	int r;

	/* By the kernel's rule each uid of ours, and not each process, has so many. */
	accounts_set_limit_all(accounts, ACCOUNTS_IN_FLIGHT, most - min_u64(own, most / 2));
	r = session_charge_sent(session, ACCOUNTS_IN_FLIGHT, n_fds, &session->flight_charge);
	if (r != ACCOUNTS_E_LIMIT)
		return r == SESSION_E_LATER ? -ETOOMANYREFS : r;
	/* It is others who do not read: that is waited out, as where the kernel says so. */
	if (accounts_used(accounts, session->identity.uid, ACCOUNTS_IN_FLIGHT) + n_fds <= accounts->limits[ACCOUNTS_IN_FLIGHT])
		return -ETOOMANYREFS;
	(void)accounts_refuse(accounts, session->identity.uid, ACCOUNTS_IN_FLIGHT, n_fds, text);
	return r;
}

int
session_charge_unread(struct session *session, size_t size, char *text)
{
	struct accounts *accounts = session->host->accounts;
	uint64_t amount = size + MESSAGE_BYTES;
	int r = 0;

	if (session->unread_bytes + amount > FREE_UNREAD)
		session_refresh(session);
	if (session->unread_bytes + amount > FREE_UNREAD)
		r = session_charge_sent(session, ACCOUNTS_UNREAD, session->unread_bytes + amount, &session->unread_charge);
	/* It is heard of when this one reads. */
	if ((r == ACCOUNTS_E_LIMIT || r == SESSION_E_LATER) && session->unread_bytes)
		return SESSION_E_FULL;
	if (r == SESSION_E_LATER)
		return r;
	if (r == ACCOUNTS_E_LIMIT) {
		(void)accounts_describe(accounts, session->identity.uid, ACCOUNTS_UNREAD, amount, text);
		return SESSION_E_AGAIN;
	}
	/* Without memory to count it, it is sent all the same. */
	session->unread_bytes += (uint32_t)amount;
	return 0;
}
