/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Moves money between accounts that live in shared memory, and never loses a cent, wherever it is killed:
 *
 *	ledger bank 0 1 100		moves 100 from account 0 (which may owe) to account 1
 *	ledger bank 1 2 30 die		is killed in the middle of that
 *	ledger bank			shows the accounts; they always sum up to 0
 *
 * The segment, in /etc/segmentd/segments.d/bank.conf (or in the file that segmentd -c was given):
 *
 *	segments = ( {
 *	  name  = "bank";
 *	  size  = "4KiB";
 *	  locks = ( { name = "accounts"; offset = "0"; length = "4KiB"; undo = "1KiB"; on_death = "rollback"; } );
 *	} );
 *
 * Build: cc ledger.c -o ledger $(pkg-config --cflags --libs libsegment)
 */
#include <errno.h>
#include <segment.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_ACCOUNTS	16

struct ledger {
	int64_t balances[N_ACCOUNTS];
	uint64_t n_transfers;
};

static void
fail(const char *what)
{
	fprintf(stderr, "ledger: %s: %s\n", what, segment_error());
	exit(1);
}

/* Looks at the accounts without taking the lock: copies them, until no section was under way meanwhile. */
static void
show(struct segment *segment, int lock)
{
	struct ledger copy;
	int64_t sum = 0;
	uint32_t begun;

	do {
		begun = segment_read_begin(segment, lock);
		/* Odd: the lock is poisoned. With on_death = "rollback" that takes somebody who damages its undo log. */
		if (begun & 1)
			fail("looking at the accounts");
		memcpy(&copy, segment_data(segment), sizeof(copy));
	} while (segment_read_retry(segment, lock, begun));

	/* Only now is the copy known to be whole, and looked at. */
	for (int i = 0; i < N_ACCOUNTS; i++) {
		sum += copy.balances[i];
		if (copy.balances[i])
			printf("account %d: %lld\n", i, (long long)copy.balances[i]);
	}
	printf("%llu transfers, sum %lld\n", (unsigned long long)copy.n_transfers, (long long)sum);
}

/* Returns whether there was enough money. */
static int
transfer(struct segment *segment, int lock, int from, int to, int64_t amount, int die)
{
	struct ledger *ledger = segment_data(segment);

	if (segment_lock(segment, lock) < 0)
		fail("locking the accounts");

	/* With "rollback" the accounts are right again already: there is nothing to do but to know it. */
	if (segment_recovered(segment, lock))
		printf("recovered: somebody died in a transfer, which was undone\n");

	/* Old bytes first, then the change. Until the unlock nothing of it counts. */
	if (segment_modify(segment, lock, &ledger->balances[from], sizeof(ledger->balances[from])) < 0)
		fail("changing an account");
	ledger->balances[from] -= amount;
	if (die) {
		printf("account %d has %lld less, and account %d has not got it yet\n", from, (long long)amount, to);
		fflush(stdout);
		raise(SIGKILL);
	}
	if (from != 0 && ledger->balances[from] < 0) {
		/* What was changed so far is undone, and the lock is free. */
		if (segment_rollback(segment, lock) < 0)
			fail("undoing the transfer");
		return 0;
	}
	if (segment_modify(segment, lock, &ledger->balances[to], sizeof(ledger->balances[to])) < 0 ||
	    segment_modify(segment, lock, &ledger->n_transfers, sizeof(ledger->n_transfers)) < 0)
		fail("changing an account");
	ledger->balances[to] += amount;
	ledger->n_transfers++;

	/* From one instant on, all of it counts. */
	if (segment_unlock(segment, lock) < 0)
		fail("unlocking the accounts");
	return 1;
}

static int64_t
number(const char *text, int64_t most)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || *end || end == text || n < 0 || n > most) {
		fprintf(stderr, "ledger: '%s' is not a number from 0 to %lld\n", text, (long long)most);
		exit(2);
	}
	return n;
}

int
main(int argc, char **argv)
{
	int die = argc == 6 && strcmp(argv[5], "die") == 0;
	struct segment_client *client;
	struct segment *segment;
	int enough = 1;
	int lock;

	if (argc != 2 && argc != 5 && !die) {
		fprintf(stderr, "usage: ledger SEGMENT [FROM TO AMOUNT [die]]\n");
		return 2;
	}

	if (segment_connect(&client, NULL) < 0)
		fail("connect");
	/* Who only looks needs no more than to read. */
	if (segment_attach(client, argv[1], NULL, argc == 2 ? SEGMENT_READ : SEGMENT_WRITE, &segment) < 0)
		fail(argv[1]);
	lock = segment_find_lock(segment, "accounts");
	if (lock < 0)
		fail(argv[1]);
	if (segment_size(segment) < sizeof(struct ledger)) {
		fprintf(stderr, "ledger: %s has no room for %d accounts\n", argv[1], N_ACCOUNTS);
		return 1;
	}

	if (argc > 2)
		enough = transfer(segment, lock, (int)number(argv[2], N_ACCOUNTS - 1), (int)number(argv[3], N_ACCOUNTS - 1),
		    number(argv[4], 1000000000), die);
	if (!enough)
		printf("account %s has not got %s\n", argv[2], argv[4]);
	show(segment, lock);

	segment_detach(segment);
	segment_disconnect(client);
	return enough ? 0 : 1;
}
