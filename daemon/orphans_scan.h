/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A look at a directory as a whole, by a worker: whoever keeps the directory's lock makes that wait, and not the loop. What it
 * found is read here in pieces.
 */
#ifndef DAEMON_ORPHANS_SCAN_H
#define DAEMON_ORPHANS_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/workers.h"

#define ORPHANS_SCAN_PIECE	4096

struct orphans_scan;

/* The names are here, or will never be: error is 0 or a negative errno, with a sentence. */
typedef void (*orphans_scan_fn)(struct orphans_scan *scan, int error, const char *text, void *arg);

LIST_HEAD(orphans_scans, orphans_scan);

struct orphans_scan {
	struct workers_job job;
	orphans_scan_fn done;		/* NULL: nobody waits for it any more */
	void *arg;
	bool is_out;			/* a worker is at it, or will be */
	bool is_cut;			/* there are more names than are told */
	int names_fd;			/* or -1 */
	int error;			/* the names end where they could not be read on: a negative errno; or 0 */
	uint64_t at_bytes;		/* of the names: read so far, but for what is in buf */
	uint64_t given_back_bytes;
	size_t length, at;		/* in buf */
	char buf[ORPHANS_SCAN_PIECE];
	LIST_ENTRY(orphans_scan) entry;
};

/* Has a worker list dir_fd's directory. 0 or a negative errno; done is called in a later turn. */
int orphans_scan_new(struct orphans_scans *scans, struct workers *workers, int dir_fd, orphans_scan_fn done, void *arg,
    struct orphans_scan **ret_scan);
/* One that is out goes when its worker is done. NULL. */
struct orphans_scan *orphans_scan_free(struct orphans_scan *scan);
/* After the workers have ended: those whose workers will not be done. */
void orphans_scans_free(struct orphans_scans *scans);

/* The next name, valid until the next call; NULL: there is none left, or scan->error says why there is none. */
const char *orphans_scan_next(struct orphans_scan *scan);

#endif
