/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What each uid makes the daemon hold, and its limits. A charge lives in the object that it pays for and is given back by
 * that object's deinit, so that it cannot leak. Charge first, then acquire.
 */
#ifndef DAEMON_ACCOUNTS_H
#define DAEMON_ACCOUNTS_H

#include "conf/load.h"
#include "daemon/turns.h"
#include "daemon/hash.h"

enum accounts_kind {
	ACCOUNTS_CLIENTS,
	ACCOUNTS_ATTACHMENTS,
	ACCOUNTS_BYTES,			/* of segments that it created */
	ACCOUNTS_SUBSCRIPTIONS,
	ACCOUNTS_KIND_N
};

struct account {
	uint32_t uid;
	unsigned n_charges;		/* that point here */
	uint64_t used[ACCOUNTS_KIND_N];
	struct turns_uid turns;
	UT_hash_handle hh;
};

struct accounts {
	struct account *by_uid;
	uint64_t limits[ACCOUNTS_KIND_N];
};

struct charge {
	struct accounts *accounts;
	struct account *account;	/* NULL: nothing is charged */
	enum accounts_kind kind;
	uint64_t amount;
};

#define CHARGE_NULL	{ 0 }

enum {
	ACCOUNTS_E_LIMIT = 1		/* the uid has as much as it may */
};

void accounts_init(struct accounts *accounts, const struct conf_limits *limits);
/* From now on; what is charged already stays, also beyond a limit. */
void accounts_set_limits(struct accounts *accounts, const struct conf_limits *limits);
void accounts_deinit(struct accounts *accounts);

/* Charges amount to uid. 0, ACCOUNTS_E_LIMIT, or -ENOMEM. */
int accounts_charge(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge);
/* What it was charged with by an earlier daemon, whatever the limit is now. 0 or -ENOMEM. */
int accounts_charge_again(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge);
void charge_deinit(struct charge *charge);

#endif
