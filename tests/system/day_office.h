/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The administrator of a day of operation: a configuration that is changed an entry at a time, and reloads of it by the real
 * segmentctl and by SIGHUP, in turns. Before each one it is planned, and what was foretold has to be what is said to be done, word
 * for word: by segmentctl, and in the daemon's log.
 */
#ifndef TESTS_SYSTEM_DAY_OFFICE_H
#define TESTS_SYSTEM_DAY_OFFICE_H

#include "tests/system/suite.h"

#define OFFICE_ENTRIES_MAX	40
#define OFFICE_TEXT_SIZE	(64 * 1024)

/* "daemon", "template NAME", "file NAME", or a segment's name; and its keys, or the file's text. */
struct office_entry {
	char name[64];
	char keys[512];
	bool is_there;
};

struct office {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct office_entry entries[OFFICE_ENTRIES_MAX];	/* in the configuration's order */
	unsigned n_entries;
	unsigned n_reloads;
	unsigned n_hangups;		/* of them */
};

/* Starts the daemon with what was set. */
void office_open(struct office *office);
void office_close(struct office *office);

/* Has an entry be so at the next reload; keys: NULL: there is none. */
void office_set(struct office *office, const char *name, const char *keys);

/*
 * Plans and reloads. status: segmentctl's. Returns what was foretold and done, a line each and their sum: "removed book: ...".
 * Valid until the next call.
 */
const char *office_reload(struct office *office, int status);

#endif
