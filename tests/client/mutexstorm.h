/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A storm of pthread clients that move money between accounts under mutexes of their own, in memory that they share, and
 * are killed and replaced all the time. Whoever recovers what they leave is the caller's business: a process of the test
 * or a daemon.
 *
 * Half of the clients hide what they hold from the kernel, which then marks nothing at their end: as behind a corrupted list.
 */
#ifndef TESTS_CLIENT_MUTEXSTORM_H
#define TESTS_CLIENT_MUTEXSTORM_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/harness.h"

#define MUTEXSTORM_GROUPS	4
#define MUTEXSTORM_ACCOUNTS	16

/* The state of a transfer that is under way: what it was before. */
struct mutexstorm_undo {
	uint64_t is_valid;
	uint64_t from;
	uint64_t to;
	int64_t from_balance;
	int64_t to_balance;
};

/* Accounts whose sum never changes, and their mutex. */
struct mutexstorm_group {
	pthread_mutex_t mutex;
	_Atomic uint64_t owner;		/* who is inside, by its process id */
	/* From here on a recovery may zero, of a group that is one for that. */
	struct mutexstorm_undo undo;
	int64_t balances[MUTEXSTORM_ACCOUNTS];
};

struct mutexstorm_bank {
	struct mutexstorm_group groups[MUTEXSTORM_GROUPS];
	_Atomic uint64_t is_over;
	_Atomic uint64_t n_transfers;
	_Atomic uint64_t n_told;	/* times that a locker got EOWNERDEAD */
	_Atomic uint64_t n_undone;	/* of them with a transfer under way */
};

/* Whether a recovery zeroes this group's money (its sum is 0 then, as before); else it keeps the bytes. */
bool mutexstorm_group_zeroes(unsigned group);

struct mutexstorm {
	struct mutexstorm_bank *bank;	/* the test's own view */
	struct mutexstorm_bank *(*open)(void *arg);	/* in a client's process: its view of the same memory */
	void (*died)(pid_t pid, void *arg);	/* a client was killed and has ended; or NULL */
	void *arg;
	unsigned seconds;
	uint64_t seed;
	unsigned n_kills;		/* out */
};

/* Fills the bank's accounts; and makes its mutexes, unless somebody else has. */
void mutexstorm_prepare(struct mutexstorm_bank *bank, bool make_mutexes);

/* Runs it to its end, when everybody is gone and every sum stands, or fails the test. */
void mutexstorm_run(struct mutexstorm *storm);

#endif
