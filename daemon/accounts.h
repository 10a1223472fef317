/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What each uid makes the daemon hold, and its limits. A charge lives in the object that it pays for and is given back by
 * that object's deinit, so that it cannot leak. Charge first, then acquire.
 *
 * Of each kind there is a limit for a uid and one for all together. Of the latter nobody gets more than half of what the others
 * leave: so several uids at their limit still leave room for one that comes, however many they are. A part of it is for the daemon's
 * own user and root alone, and for who administers, since they are who can do something about the others.
 */
#ifndef DAEMON_ACCOUNTS_H
#define DAEMON_ACCOUNTS_H

#include "client/protocol.h"
#include "conf/load.h"
#include "daemon/hash.h"
#include "daemon/log.h"
#include "daemon/milestones.h"
#include "daemon/turns.h"

struct session;

#define ACCOUNTS_UNLIMITED	PROTOCOL_UNLIMITED
#define ACCOUNTS_TEXT_SIZE	320

/* Each is a row of accounts_rows; client/protocol-rows.h says what it is. */
enum accounts_kind {
	ACCOUNTS_CLIENTS = PROTOCOL_CHARGED_CLIENTS,
	ACCOUNTS_ATTACHMENTS = PROTOCOL_CHARGED_ATTACHMENTS,
	ACCOUNTS_SUBSCRIPTIONS = PROTOCOL_CHARGED_SUBSCRIPTIONS,
	ACCOUNTS_ALL_EVENTS = PROTOCOL_CHARGED_ALL_EVENTS,
	ACCOUNTS_SEGMENTS = PROTOCOL_CHARGED_SEGMENTS,
	ACCOUNTS_BYTES = PROTOCOL_CHARGED_BYTES,
	ACCOUNTS_DESCRIPTORS = PROTOCOL_CHARGED_DESCRIPTORS,
	ACCOUNTS_IN_FLIGHT = PROTOCOL_CHARGED_IN_FLIGHT,
	ACCOUNTS_UNREAD = PROTOCOL_CHARGED_UNREAD,
	ACCOUNTS_MEMORY = PROTOCOL_CHARGED_MEMORY,
	ACCOUNTS_ENDED = PROTOCOL_CHARGED_ENDED,
	ACCOUNTS_DEATHS = PROTOCOL_CHARGED_DEATHS,
	ACCOUNTS_ENDS = PROTOCOL_CHARGED_ENDS,
	ACCOUNTS_KIND_N = PROTOCOL_CHARGED_N
};
static_assert(ACCOUNTS_KIND_N <= PROTOCOL_CHARGES_MAX, "a row has room for all kinds");

struct accounts_row {
	const char *name;		/* to administrators, as in metrics */
	const char *what;		/* in sentences: so many what */
	const char *remedy;		/* of who has too many: what it can do, "" where it can do nothing but wait */
	const char *key;		/* whose the limit of a uid is; NULL: it is this daemon's own */
	const char *key_all;		/* likewise of all together */
};

extern const struct accounts_row accounts_rows[ACCOUNTS_KIND_N];

struct account {
	uint32_t uid;
	unsigned n_charges;		/* that point here */
	uint64_t number;		/* rises from account to account, from 1 */
	uint64_t used[ACCOUNTS_KIND_N];
	struct turns_uid turns;
	TAILQ_HEAD(account_sessions, session) sessions;	/* that are charged, in the order of ids; whose file enters them */
	uint64_t refreshed_ns;		/* monotonic */
	uint64_t told_ns[ACCOUNTS_KIND_N];	/* when administrators were told that it is refused more, likewise; or 0 */
	struct session *refresh_next;	/* while they are asked, in several turns, whether they have read; or NULL */
	UT_hash_handle hh;
};

struct accounts {
	struct account *by_uid;		/* hh.next: in the order of their numbers */
	struct milestones milestones;	/* of them */
	uint64_t last_number;
	uint64_t limits[ACCOUNTS_KIND_N];	/* of each uid */
	uint64_t limits_all[ACCOUNTS_KIND_N];
	uint64_t used[ACCOUNTS_KIND_N];	/* by all */
	uint64_t n_refused[ACCOUNTS_KIND_N];	/* counters, for metrics: of answers, and of what was left out */
	struct log_limit told[ACCOUNTS_KIND_N];
};

struct charge {
	struct accounts *accounts;
	struct account *account;	/* NULL: nothing is charged */
	enum accounts_kind kind;
	bool is_trusted;		/* charged to somebody who administers: so is what it grows by */
	uint64_t amount;
};

#define CHARGE_NULL	{ 0 }

enum {
	ACCOUNTS_E_LIMIT = 1		/* the uid has as much as it may, or the others leave no more: accounts_describe() */
};

void accounts_init(struct accounts *accounts, const struct conf_limits *limits);
/* From now on; what is charged already stays, also beyond a limit. */
void accounts_set_limits(struct accounts *accounts, const struct conf_limits *limits);
/* What of a kind there can be in all, where that is not the configuration's to say. */
void accounts_set_limit_all(struct accounts *accounts, enum accounts_kind kind, uint64_t limit);
void accounts_deinit(struct accounts *accounts);

/* Charges amount to uid. 0, ACCOUNTS_E_LIMIT, or -ENOMEM. */
int accounts_charge(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge);
/* Likewise, to somebody who administers: also from the part that is for those alone. */
int accounts_charge_trusted(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge);
/* What it has already, or was charged with by an earlier daemon, whatever the limit is. 0 or -ENOMEM. */
int accounts_charge_again(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge);
/* More of the same, or less, as the amount is to be, by the same part of what all may have. 0 or ACCOUNTS_E_LIMIT: it is as it was. */
int charge_resize(struct charge *charge, uint64_t amount);
void charge_deinit(struct charge *charge);
/* What the one pays for belongs to the other's object from now on. */
struct charge charge_take(struct charge *charge);

/* What uid has of a kind now. */
uint64_t accounts_used(const struct accounts *accounts, uint32_t uid, enum accounts_kind kind);
/* The uid's; NULL: it has nothing. */
struct account *accounts_find(const struct accounts *accounts, uint32_t uid);
/* The first one whose number is larger; NULL: there is none. The next one is its hh.next. */
struct account *accounts_after(const struct accounts *accounts, uint64_t number);
/* What the account may have of each kind now, as far as there is enough for all; who administers may have more. */
void accounts_shares(const struct accounts *accounts, const struct account *account, uint64_t ret_shares[ACCOUNTS_KIND_N]);

/* Whether it may be asked of all that is the uid's whether it is still there, which costs something: at most once in rest_ns. */
bool accounts_may_refresh(struct accounts *accounts, uint32_t uid, uint64_t now_ns, uint64_t rest_ns);

/*
 * Why amount more was refused: the limit, what the uid has of it, and what helps. text: of ACCOUNTS_TEXT_SIZE; it is returned. Right
 * after the refusal.
 */
const char *accounts_describe(const struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    char *text);
/* That is what a client is answered, now: it is counted, and administrators are told, seldom. A charge alone may be tried again. */
void accounts_refused(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount);
/* Both. */
const char *accounts_refuse(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount, char *text);
/* It is left out, and nobody is answered that: only counted. */
void accounts_left_out(struct accounts *accounts, enum accounts_kind kind);

#endif
