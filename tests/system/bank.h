/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A bank in a segment: groups of accounts, a lock each, between which client processes transfer money until they are told
 * to stop or are killed. What must hold is looked at all the time, by the clients in their sections and by readers: a
 * group's sum stands, and nobody is in a section beside another. For tests in which its clients die.
 */
#ifndef TESTS_SYSTEM_BANK_H
#define TESTS_SYSTEM_BANK_H

#include <stdatomic.h>

#include "client/segment.h"
#include "tests/harness.h"

#define BANK_GROUPS	4
#define BANK_ACCOUNTS	32
#define BANK_STRIDE	192		/* of accounts: some lines of the cache apart */
#define BANK_GROUP	8192		/* bytes of a group */
#define BANK_SEATS	256

/* What a client leaves for the others to see, also when it is killed. */
struct bank_seat {
	_Alignas(64) _Atomic uint64_t since_ns;	/* waits for a lock, or for readable bytes; 0: it does not */
	_Atomic uint64_t longest_ns;	/* of that */
	_Atomic uint64_t n_transfers;
	_Atomic uint64_t n_sections;
	_Atomic uint64_t n_rollbacks;
	_Atomic uint64_t n_told;	/* sections in which an owner had died before */
	_Atomic uint64_t n_reads;
};

struct bank {
	char name[32];
	const char *socket;
	uint64_t seed;
	unsigned n_seats;		/* in use */
	_Atomic bool is_closed;
	struct bank_seat seats[BANK_SEATS];
};

/* The sums of all seats. */
struct bank_figures {
	uint64_t longest_ns, n_transfers, n_sections, n_rollbacks, n_told, n_reads;
};

/*
 * The definition of a segment that is a bank, as it stands in a list of segments. Valid until the next call.
 */
const char *bank_definition(const char *name);

/* A bank in the segment `name`, for processes forked from here on: its accounts are filled. */
struct bank *bank_open(const char *name, const char *socket);
/* No client of it is left. */
void bank_free(struct bank *bank);

/* $SEGMENTD_TEST_SEED, or one for all days. */
uint64_t bank_seed(void);
uint32_t bank_draw(uint64_t *random, uint32_t below);

/*
 * Client processes, each with a seat that nobody has. The teller, once it is told "go" (at once if with_go is false), and
 * the reader work until the bank is closed, and then end with 0.
 */
void bank_start_teller(struct bank *bank, unsigned seat, bool with_go, struct harness_child *ret_child);
void bank_start_reader(struct bank *bank, unsigned seat, struct harness_child *ret_child);

/* An attached process that waits for bank_audit(). */
void bank_start_auditor(struct bank *bank, struct harness_child *ret_child);
/* All sums stand, all locks can be had: in a process of its own, which ends. */
void bank_audit(struct harness_child *auditor);

/* Nobody has waited for longer. */
void bank_watch(const struct bank *bank, uint64_t limit_ns);
void bank_count(const struct bank *bank, struct bank_figures *ret_figures);

#endif
