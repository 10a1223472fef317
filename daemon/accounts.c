/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Accounts of uids. An account exists while something is charged to it, so that idle uids cost nothing. */
#include "config.h"

#include <assert.h>
#include <inttypes.h>

#include "base/base.h"
#include "daemon/accounts.h"

#define TOLD_NS		(60 * NS_PER_SEC)	/* in which administrators are told of a kind so often */
#define TOLD_MAX	5

#define RESERVE_PART	16		/* of what all may have together: one in so many is for who administers */

/* Of kinds that have no key. */
#define ALL_EVENTS_MAX	64
#define UNREAD_BYTES	(32 * MIB)
#define UNREAD_BYTES_ALL	(256 * MIB)
#define MEMORY_BYTES	(32 * MIB)
#define MEMORY_BYTES_ALL	(256 * MIB)
#define ENDED_MAX	128		/* no client ends so unless it means to */
#define ENDED_MAX_ALL	4096
#define DEATHS_MAX	4096		/* each for a second */
#define DEATHS_MAX_ALL	16384
#define ENDS_MAX	4096		/* of a uid, at least */
#define ENDS_OF_ATTACHMENT	2	/* one that has ended, and one that came after it */
#define ENDS_USERS	4		/* who may have as many as one */
#define FDS_OF_ATTACHMENT	2	/* data, and control */
#define IN_FLIGHT_MIN	256		/* a reply or two with as many as there can be */

const struct accounts_row accounts_rows[ACCOUNTS_KIND_N] = {
	[ACCOUNTS_CLIENTS] = { "clients", "connections", "close some", "limits.clients", "limits.total_clients" },
	[ACCOUNTS_ATTACHMENTS] = { "attachments", "attachments", "detach some", "limits.attachments",
	    "limits.total_attachments" },
	[ACCOUNTS_SUBSCRIPTIONS] = { "subscriptions", "subscriptions to events", "close some", "limits.subscriptions",
	    "limits.total_subscriptions" },
	[ACCOUNTS_ALL_EVENTS] = { "all_events", "subscriptions to all events", "close some, or subscribe to those of what is attached",
	    NULL, NULL },
	[ACCOUNTS_SEGMENTS] = { "segments", "created segments", "remove some", "limits.segments", "limits.total_segments" },
	[ACCOUNTS_BYTES] = { "bytes", "bytes of created segments", "remove some", "limits.bytes", "limits.total_bytes" },
	[ACCOUNTS_DESCRIPTORS] = { "descriptors", "of the daemon's file descriptors", "close some connections", NULL,
	    "LimitNOFILE of the service" },
	[ACCOUNTS_IN_FLIGHT] = { "in_flight", "file descriptors that were sent to it and that it has not read", "read them",
	    "limits.attachments", "LimitNOFILE of the service" },
	[ACCOUNTS_UNREAD] = { "unread", "bytes of replies that it has not read", "read them", NULL, NULL },
	[ACCOUNTS_MEMORY] = { "memory", "bytes that are kept for its connections", "read what was asked for, or close some", NULL,
	    NULL },
	[ACCOUNTS_ENDED] = { "ended", "connections that were closed with file descriptors unread", "send none along", NULL, NULL },
	[ACCOUNTS_DEATHS] = { "deaths", "processes whose end is awaited", "wait", NULL, NULL },
	[ACCOUNTS_ENDS] = { "ends", "attachments whose end is remembered", "wait", NULL, NULL },
};

void
accounts_init(struct accounts *accounts, const struct conf_limits *limits)
{
	*accounts = (struct accounts) { 0 };
	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++) {
		accounts->limits[i] = accounts->limits_all[i] = ACCOUNTS_UNLIMITED;
		accounts->told[i] = (struct log_limit) { .interval_ns = TOLD_NS, .burst = TOLD_MAX };
	}
	accounts->limits[ACCOUNTS_ALL_EVENTS] = ALL_EVENTS_MAX;
	accounts->limits[ACCOUNTS_UNREAD] = UNREAD_BYTES;
	accounts->limits_all[ACCOUNTS_UNREAD] = UNREAD_BYTES_ALL;
	accounts->limits[ACCOUNTS_MEMORY] = MEMORY_BYTES;
	accounts->limits_all[ACCOUNTS_MEMORY] = MEMORY_BYTES_ALL;
	accounts->limits[ACCOUNTS_ENDED] = ENDED_MAX;
	accounts->limits_all[ACCOUNTS_ENDED] = ENDED_MAX_ALL;
	accounts->limits[ACCOUNTS_DEATHS] = DEATHS_MAX;
	accounts->limits_all[ACCOUNTS_DEATHS] = DEATHS_MAX_ALL;
	accounts_set_limits(accounts, limits);
}

/* 0: there is no such limit. */
static uint64_t
limit_or_none(uint64_t limit)
{
	return limit ? limit : ACCOUNTS_UNLIMITED;
}

/* 0: half of what the host has, or what each uid was given where that is more. */
static uint64_t
accounts_bytes_in_all(uint64_t bytes, uint64_t bytes_of_uid)
{
	long n_pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	if (bytes)
		return bytes;
	if (n_pages <= 0 || page_bytes <= 0)
		return ACCOUNTS_UNLIMITED;
	return max_u64((uint64_t)n_pages / 2 * (uint64_t)page_bytes, bytes_of_uid);
}

void
accounts_set_limits(struct accounts *accounts, const struct conf_limits *limits)
{
	uint64_t *of_uid = accounts->limits, *of_all = accounts->limits_all;

	of_uid[ACCOUNTS_CLIENTS] = limits->clients;
	of_uid[ACCOUNTS_ATTACHMENTS] = limits->attachments;
	of_uid[ACCOUNTS_SUBSCRIPTIONS] = limits->subscriptions;
	of_uid[ACCOUNTS_SEGMENTS] = limits->segments;
	of_uid[ACCOUNTS_BYTES] = limits->bytes;
	of_uid[ACCOUNTS_IN_FLIGHT] = max_u64(FDS_OF_ATTACHMENT * (uint64_t)limits->attachments, IN_FLIGHT_MIN);
	of_uid[ACCOUNTS_ENDS] = max_u64(ENDS_OF_ATTACHMENT * (uint64_t)limits->attachments, ENDS_MAX);
	of_all[ACCOUNTS_ENDS] = ENDS_USERS * of_uid[ACCOUNTS_ENDS];
	of_all[ACCOUNTS_CLIENTS] = limit_or_none(limits->total_clients);
	of_all[ACCOUNTS_ATTACHMENTS] = limit_or_none(limits->total_attachments);
	of_all[ACCOUNTS_SUBSCRIPTIONS] = limit_or_none(limits->total_subscriptions);
	of_all[ACCOUNTS_SEGMENTS] = limit_or_none(limits->total_segments);
	of_all[ACCOUNTS_BYTES] = accounts_bytes_in_all(limits->total_bytes, limits->bytes);
}

void
accounts_set_limit_all(struct accounts *accounts, enum accounts_kind kind, uint64_t limit)
{
	accounts->limits_all[kind] = limit;
}

void
accounts_deinit(struct accounts *accounts)
{
	assert(!accounts->by_uid);
	milestones_deinit(&accounts->milestones);
}

struct account *
accounts_find(const struct accounts *accounts, uint32_t uid)
{
	struct account *account;

	HASH_FIND(hh, accounts->by_uid, &uid, sizeof(uid), account);
	return account;
}

static struct account *
accounts_get(struct accounts *accounts, uint32_t uid)
{
	struct account *account = accounts_find(accounts, uid);

	if (account)
		return account;
	account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->uid = uid;
	TAILQ_INIT(&account->sessions);
	HASH_ADD(hh, accounts->by_uid, uid, sizeof(account->uid), account);
	if (!HASH_TAKES(account)) {
		free(account);
		return NULL;
	}
	account->number = ++accounts->last_number;
	milestones_add(&accounts->milestones, account->number, account);
	return account;
}

static void
accounts_put(struct accounts *accounts, struct account *account)
{
	struct account *next = account->hh.next;

	if (account->n_charges)
		return;
	milestones_remove(&accounts->milestones, account->number, account, next ? next->number : 0, next);
	HASH_DELETE(hh, accounts->by_uid, account);
	free(account);
}

struct account *
accounts_after(const struct accounts *accounts, uint64_t number)
{
	struct account *account = milestones_before(&accounts->milestones, number);

	if (!account)
		account = accounts->by_uid;
	while (account && account->number <= number)
		account = account->hh.next;
	return account;
}

uint64_t
accounts_used(const struct accounts *accounts, uint32_t uid, enum accounts_kind kind)
{
	const struct account *account = accounts_find(accounts, uid);

	return account ? account->used[kind] : 0;
}

bool
accounts_may_refresh(struct accounts *accounts, uint32_t uid, uint64_t now_ns, uint64_t rest_ns)
{
	struct account *account = accounts_find(accounts, uid);

	if (!account || (account->refreshed_ns && now_ns < account->refreshed_ns + rest_ns))
		return false;
	account->refreshed_ns = now_ns;
	return true;
}

/* Who could do to the daemon whatever they like: they share with nobody. */
static bool
is_trusted(uint32_t uid)
{
	return uid == 0 || uid == (uint32_t)geteuid();
}

/* What the uid may have of what there is for all, with what it has already. */
static uint64_t
accounts_share(const struct accounts *accounts, enum accounts_kind kind, uint64_t used, bool has_reserve)
{
	uint64_t limit = accounts->limits_all[kind], others = accounts->used[kind] - used;

	if (limit == ACCOUNTS_UNLIMITED)
		return limit;
	if (!has_reserve)
		limit -= limit / RESERVE_PART;
	if (others >= limit)
		return 0;
	limit -= others;
	return has_reserve ? limit : limit - limit / 2;
}

void
accounts_shares(const struct accounts *accounts, const struct account *account, uint64_t ret_shares[ACCOUNTS_KIND_N])
{
	bool has_reserve = is_trusted(account->uid);

	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		ret_shares[i] = accounts_share(accounts, i, account->used[i], has_reserve);
}

static bool
accounts_allow(const struct accounts *accounts, uint32_t uid, uint64_t used, enum accounts_kind kind, uint64_t sum, bool has_reserve)
{
	return sum <= accounts->limits[kind] &&
	    sum <= accounts_share(accounts, kind, used, has_reserve || is_trusted(uid));
}

enum charge_how {
	CHARGE_AS_ANYBODY,
	CHARGE_TRUSTED,
	CHARGE_WHATEVER
};

static int
charge_new(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount, enum charge_how how,
    struct charge *ret_charge)
{
	struct account *account = accounts_get(accounts, uid);
	uint64_t sum;

	if (!account)
		return -ENOMEM;
	if (!checked_add(account->used[kind], amount, &sum) || !checked_add(accounts->used[kind], amount, &(uint64_t){ 0 }) ||
	    (how != CHARGE_WHATEVER &&
	    !accounts_allow(accounts, uid, account->used[kind], kind, sum, how == CHARGE_TRUSTED))) {
		accounts_put(accounts, account);
		return ACCOUNTS_E_LIMIT;
	}
	account->used[kind] = sum;
	accounts->used[kind] += amount;
	account->n_charges++;
	*ret_charge = (struct charge) {
		.accounts = accounts,
		.account = account,
		.kind = kind,
		.is_trusted = how == CHARGE_TRUSTED,
		.amount = amount,
	};
	return 0;
}

int
accounts_charge(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge)
{
	return charge_new(accounts, uid, kind, amount, CHARGE_AS_ANYBODY, ret_charge);
}

int
accounts_charge_trusted(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge)
{
	return charge_new(accounts, uid, kind, amount, CHARGE_TRUSTED, ret_charge);
}

int
accounts_charge_again(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge)
{
	return charge_new(accounts, uid, kind, amount, CHARGE_WHATEVER, ret_charge);
}

int
charge_resize(struct charge *charge, uint64_t amount)
{
	struct accounts *accounts = charge->accounts;
	struct account *account = charge->account;
	uint64_t sum;

	if (amount > charge->amount && (!checked_add(account->used[charge->kind], amount - charge->amount, &sum) ||
	    !accounts_allow(accounts, account->uid, account->used[charge->kind], charge->kind, sum, charge->is_trusted)))
		return ACCOUNTS_E_LIMIT;
	account->used[charge->kind] += amount - charge->amount;
	accounts->used[charge->kind] += amount - charge->amount;
	charge->amount = amount;
	return 0;
}

void
charge_deinit(struct charge *charge)
{
	struct account *account = charge->account;

	if (!account)
		return;
	account->used[charge->kind] -= charge->amount;
	charge->accounts->used[charge->kind] -= charge->amount;
	account->n_charges--;
	accounts_put(charge->accounts, account);
	*charge = (struct charge) CHARGE_NULL;
}

struct charge
charge_take(struct charge *charge)
{
	struct charge taken = *charge;

	*charge = (struct charge) CHARGE_NULL;
	return taken;
}

/* Whether it is the uid's own limit that is in the way, and not that of all together. */
static bool
accounts_is_own(const struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount)
{
	uint64_t sum;

	return !checked_add(accounts_used(accounts, uid, kind), amount, &sum) || sum > accounts->limits[kind];
}

const char *
accounts_describe(const struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount, char *text)
{
	const struct accounts_row *row = &accounts_rows[kind];
	uint64_t used = accounts_used(accounts, uid, kind), limit = accounts->limits[kind];
	bool is_own = accounts_is_own(accounts, uid, kind, amount);
	const char *key = is_own ? row->key : row->key_all;
	size_t n;

	if (amount == 1)
		n = (size_t)snprintf(text, ACCOUNTS_TEXT_SIZE, "uid %u has %" PRIu64 " %s already, as many as ", uid, used, row->what);
	else
		n = (size_t)snprintf(text, ACCOUNTS_TEXT_SIZE, "uid %u has %" PRIu64 " %s, and %" PRIu64 " more would be beyond the ",
		    uid, used, row->what, amount);
	if (is_own && amount != 1)
		n += (size_t)snprintf(text + n, ACCOUNTS_TEXT_SIZE - n, "%" PRIu64 " that ", limit);
	else if (!is_own)
		n += (size_t)snprintf(text + n, ACCOUNTS_TEXT_SIZE - n, "%shalf that others leave of the %" PRIu64 " that ",
		    amount == 1 ? "the " : "", accounts->limits_all[kind]);
	(void)snprintf(text + n, ACCOUNTS_TEXT_SIZE - n, "%s allows %s; %s%s", key ? key : "the daemon",
	    is_own ? "each uid" : "all together", row->remedy, key ? ", or have the administrator raise it" : "");
	return text;
}

/* Of one uid once in a while, and of all a few: who is at its limit may ask as often as it likes. */
static bool
accounts_may_tell(struct accounts *accounts, uint32_t uid, enum accounts_kind kind)
{
	struct account *account = accounts_find(accounts, uid);
	uint64_t now_ns = clock_monotonic_ns();

	if (account && account->told_ns[kind] && now_ns - account->told_ns[kind] < TOLD_NS)
		return false;
	if (!log_allowed(&accounts->told[kind]))
		return false;
	if (account)
		account->told_ns[kind] = now_ns;
	return true;
}

void
accounts_refused(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount)
{
	const struct log_about about = { .has_client_uid = true, .client_uid = uid };
	bool is_own = accounts_is_own(accounts, uid, kind, amount);
	const struct accounts_row *row = &accounts_rows[kind];
	const char *key = is_own ? row->key : row->key_all;

	accounts->n_refused[kind]++;
	if (!accounts_may_tell(accounts, uid, kind))
		return;
	log_write(MESSAGE_LIMIT_REACHED, &about, "uid %u has reached %s (%" PRIu64 " %s for %s; it has %" PRIu64 "): more of it are refused",
	    (unsigned)uid, key ? key : "the daemon's limit", is_own ? accounts->limits[kind] : accounts->limits_all[kind], row->what,
	    is_own ? "each uid" : "all, of which it gets half of what others leave", accounts_used(accounts, uid, kind));
}

const char *
accounts_refuse(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount, char *text)
{
	accounts_refused(accounts, uid, kind, amount);
	return accounts_describe(accounts, uid, kind, amount, text);
}

void
accounts_left_out(struct accounts *accounts, enum accounts_kind kind)
{
	accounts->n_refused[kind]++;
}
