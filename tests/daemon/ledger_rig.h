/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the suites of the ledger stand on: a state directory with a ledger of some rows, all of which say by their numbers which
 * one they are and what else belongs to them, so that a row that is believed and is not as it was written is seen at once.
 */
#ifndef TESTS_DAEMON_LEDGER_RIG_H
#define TESTS_DAEMON_LEDGER_RIG_H

#include <check.h>

#include "base/base.h"
#include "daemon/ledger_rows.h"

#define RIG_MANY	1000		/* of a kind */

extern struct ledger_rig {
	char dir[64];
	char path[96];
	struct ledger ledger;
	char text[512];			/* of what failed */

	/* What a read has given, by kinds. */
	size_t n[LEDGER_KIND_N];
	uint64_t numbers[LEDGER_KIND_N][RIG_MANY];	/* of the rows */
	unsigned versions[RIG_MANY];	/* of the segments' definitions; 0: none was read */
	char told[8192];
} rig;

/* Makes the directory, and begins a ledger in it. */
void rig_begin(void);
/* Removes all. How many files had been kept aside. */
unsigned rig_end(void);

/* Reads, into the rig. 0 or a negative errno. The ledger that is begun is not committed. */
int rig_open(void);
void rig_must_open(void);
void rig_must_commit(void);
/* As if the daemon were killed. */
void rig_forget(void);
/* Opens, and forgets: nothing in the directory is another than before. */
void rig_look(void);

/* Row i of its kind, as rig_take checks it. Asserts that it is written. */
void rig_put_segment(struct ledger_segment_entry *entry, unsigned i, unsigned version);
void rig_put_lock(struct ledger_entry *entry, unsigned i);
void rig_put_session(struct ledger_entry *entry, unsigned i);
void rig_put_attachment(struct ledger_entry *entry, unsigned i);
/* Likewise; what comes of it. */
int rig_try_segment(struct ledger_segment_entry *entry, unsigned i, unsigned version);
int rig_try_attachment(struct ledger_entry *entry, unsigned i);

/* Writes over the file's bytes. */
void rig_poke(size_t at, const void *bytes, size_t length);
void rig_peek(size_t at, void *bytes, size_t length);
size_t rig_file_bytes(void);
void rig_expect_told(const char *words);

#endif
