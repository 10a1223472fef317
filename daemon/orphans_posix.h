/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * POSIX objects that a rule is about, between the two files that look after them: orphans_posix.c has the watch of their
 * directory and the turns of the loop, orphans_posix_ask.c the questions to the judge. Nobody else includes this.
 */
#ifndef DAEMON_ORPHANS_POSIX_H
#define DAEMON_ORPHANS_POSIX_H

#include <event2/event_struct.h>
#include <sys/types.h>

#include "base/base.h"
#include "daemon/orphans.h"
#include "daemon/orphans_names.h"
#include "daemon/orphans_scan.h"

#define ORPHANS_POSIX_TURN_NS		(NS_PER_MS / 2)	/* of work in one turn of the loop */
#define ORPHANS_POSIX_SCAN_REST_NS	NS_PER_SEC	/* between two looks at the directory, at least */

struct orphans_posix {
	struct orphans *orphans;
	struct orphans_rules *rules;	/* that the names' are of */
	struct orphans_names names;
	bool is_full;			/* there were more names than are kept */
	bool is_full_told;

	int inotify_fd;
	int dir_fd;
	int wd;
	dev_t device;
	bool is_lost;			/* the directory is not watched: it went away, with its mount perhaps */
	uint64_t rewatch_at_ns;
	struct event read_event;
	struct event turn_event;

	bool has_read;			/* something, in the burst that goes on */
	bool is_resting;		/* until read_at_ns nothing is read */
	uint64_t read_at_ns;
	uint64_t read_ns;		/* what the burst took so far */

	bool wants_scan;
	struct orphans_scan *scan;	/* while one goes on */
	bool is_put_off;		/* the last one could not be done, which was said */
	uint64_t scan_at_ns;		/* not before */
	uint64_t scan_ns;

	struct orphans_ask *ask;
	bool is_settling;		/* it was answered: its verdicts count when all is read that was queued before */
	uint64_t settle_bytes;		/* so much of that is left */
	size_t n_settled;		/* verdicts that were taken */
};

/* The names. */

void orphans_posix_set_due(struct orphans_posix *posix, struct orphans_name *name, uint64_t due_ns);
/* It was let go of, or is looked at for the first time. */
void orphans_posix_touch(struct orphans_posix *posix, struct orphans_name *name, uint64_t now_ns, bool is_seen);
/* It is looked at again, later than the last time. */
void orphans_posix_retry(struct orphans_posix *posix, struct orphans_name *name, uint64_t now_ns);
void orphans_posix_drop(struct orphans_posix *posix, struct orphans_name *name);

/* Reads what the kernel has told. False: the time was up before that. */
bool orphans_posix_read(struct orphans_posix *posix, uint64_t until_ns);
/* When the next turn is. */
void orphans_posix_plan(struct orphans_posix *posix);

/* The questions. */

/* Puts those whose time is over into one question. */
void orphans_posix_ask(struct orphans_posix *posix, uint64_t until_ns);
/* Takes verdicts that count by now. */
void orphans_posix_settle(struct orphans_posix *posix, uint64_t until_ns);
/* The ask's. */
void orphans_posix_on_send(struct orphans_ask *ask);
void orphans_posix_on_end(struct orphans_ask *ask);

#endif
