/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What outlives the daemon: a file in state_dir with a row for each object that has a name or a key, written before the name is
 * there and taken out after it is gone. A daemon that was killed leaves what it had made; the next one knows by the rows what is
 * its own, and proves each against the kernel. What no row proves is somebody else's.
 *
 * A row is written by one call and has a sum of its own. What is damaged, or of a newer segmentd, is told and kept aside; it
 * proves nothing.
 */
#ifndef DAEMON_RECORD_H
#define DAEMON_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/record.h"

struct record {
	int dir_fd;
	int fd;				/* -1: there is none */
	bool *taken;			/* which rows are in use */
	size_t n_allocated;
	size_t n_rows;			/* of them the file has so many */
	size_t n_taken;
	size_t first_free;		/* none before it is free */
};

#define RECORD_NULL	{ .dir_fd = -1, .fd = -1 }

/* A row of an object: embedded in what is known of the object. */
struct record_entry {
	struct record *record;		/* NULL: there is no row */
	size_t index;
	struct record_row row;		/* as it was written */
};

/* A row of an earlier daemon's. 0, or a negative errno that ends it. */
typedef int (*record_take_fn)(const struct record_entry *entry, void *arg);

/*
 * Reads what there is, gives each row to take(), and begins a record of this daemon's that has the same rows: a new file, which
 * takes the old one's place. Nobody else may have the directory: its lock is the caller's. 0, or a negative errno with a sentence,
 * and there is no record.
 */
int record_open(struct record *record, const char *state_dir, record_take_fn take, record_tell_fn tell, void *arg, char *text,
    size_t text_size);

/* Without rows the file is removed: nothing is left that it would be needed for. */
void record_close(struct record *record);

/* Enters a row, whose sum is filled in. record NULL: there is none, and *ret_entry is empty. 0 or a negative errno. */
int record_add(struct record *record, const struct record_row *row, struct record_entry *ret_entry);

/*
 * The same in the place of `old`, which is empty then, in one write: the object is in the record at any time. An old one that is
 * empty, or NULL, has no place. On an error it stays.
 */
int record_replace(struct record *record, struct record_entry *old, const struct record_row *row, struct record_entry *ret_entry);

/* Writes entry->row again. 0, or a negative errno: the file has what it had. Nothing for an empty entry. */
int record_write(struct record_entry *entry);

/* The same with another state, if it has that not yet. */
int record_set_state(struct record_entry *entry, enum record_state state);

/* Its object is gone. Accepts an empty entry. */
void record_remove(struct record_entry *entry);

#endif
