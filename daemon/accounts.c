/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Accounts of uids. An account exists while something is charged to it, so that idle uids cost nothing. */
#include "config.h"

#include <assert.h>

#include "base/base.h"
#include "daemon/accounts.h"

void
accounts_init(struct accounts *accounts, const struct conf_limits *limits)
{
	*accounts = (struct accounts) { 0 };
	accounts_set_limits(accounts, limits);
}

void
accounts_set_limits(struct accounts *accounts, const struct conf_limits *limits)
{
	accounts->limits[ACCOUNTS_CLIENTS] = limits->clients;
	accounts->limits[ACCOUNTS_ATTACHMENTS] = limits->attachments;
	accounts->limits[ACCOUNTS_BYTES] = limits->bytes;
	accounts->limits[ACCOUNTS_SUBSCRIPTIONS] = limits->subscriptions;
}

void
accounts_deinit(struct accounts *accounts)
{
	assert(!accounts->by_uid);
}

static struct account *
accounts_get(struct accounts *accounts, uint32_t uid)
{
	struct account *account;

	HASH_FIND(hh, accounts->by_uid, &uid, sizeof(uid), account);
	if (account)
		return account;
	account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->uid = uid;
	HASH_ADD(hh, accounts->by_uid, uid, sizeof(account->uid), account);
	if (!HASH_TAKES(account)) {
		free(account);
		return NULL;
	}
	return account;
}

static void
accounts_put(struct accounts *accounts, struct account *account)
{
	if (account->n_charges)
		return;
	HASH_DELETE(hh, accounts->by_uid, account);
	free(account);
}

static int
charge_new(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount, uint64_t limit,
    struct charge *ret_charge)
{
	struct account *account = accounts_get(accounts, uid);
	uint64_t sum;

	if (!account)
		return -ENOMEM;
	if (!checked_add(account->used[kind], amount, &sum) || sum > limit) {
		accounts_put(accounts, account);
		return ACCOUNTS_E_LIMIT;
	}
	account->used[kind] = sum;
	account->n_charges++;
	*ret_charge = (struct charge) {
		.accounts = accounts,
		.account = account,
		.kind = kind,
		.amount = amount,
	};
	return 0;
}

int
accounts_charge(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge)
{
	return charge_new(accounts, uid, kind, amount, accounts->limits[kind], ret_charge);
}

int
accounts_charge_again(struct accounts *accounts, uint32_t uid, enum accounts_kind kind, uint64_t amount,
    struct charge *ret_charge)
{
	return charge_new(accounts, uid, kind, amount, UINT64_MAX, ret_charge);
}

void
charge_deinit(struct charge *charge)
{
	struct account *account = charge->account;

	if (!account)
		return;
	account->used[charge->kind] -= charge->amount;
	account->n_charges--;
	accounts_put(charge->accounts, account);
	*charge = (struct charge) CHARGE_NULL;
}
