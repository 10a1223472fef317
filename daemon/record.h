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

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_FILE		"record"	/* in state_dir */
#define RECORD_VERSION		1
#define RECORD_ROW_BYTES	512
#define RECORD_BOOT_SIZE	40
#define RECORD_BACKEND_SIZE	16
#define RECORD_SEGMENT_SIZE	136
#define RECORD_OBJECT_SIZE	256

enum record_state {
	RECORD_FREE,			/* no row */
	RECORD_INTENT,			/* it is about to be made: it may be there or not */
	RECORD_MADE,			/* it is there, or was, and closed: its pages are not whole yet, or it is on its way out */
	RECORD_READY,			/* its contents are whole, and others may have it */
	RECORD_STATE_N
};

/* Of fixed widths, without holes. Numbers and words are never given another meaning. */
struct record_row {
	uint64_t sum;			/* of what follows */
	uint32_t state;			/* enum record_state */
	int32_t maker_pid;		/* the daemon that made it */
	uint64_t generation;		/* its segment's */
	uint64_t made_ns;		/* since 1970: it was not there before */
	uint64_t device, inode;		/* of a file; else 0 */
	uint64_t born_ns;		/* since 1970, by its file system; 0: that does not say */
	uint64_t map_bytes;		/* its size */
	uint64_t page_bytes;		/* of a hugetlb pool; else 0 */
	uint64_t ipc_namespace;		/* in which shm_id is; else 0 */
	int32_t shm_id;			/* -1: none, or not known yet */
	uint32_t key;
	uint64_t zero[2];
	char backend[RECORD_BACKEND_SIZE];	/* its name in the table; these end with a NUL, and are filled up with it */
	char segment[RECORD_SEGMENT_SIZE];
	char object[RECORD_OBJECT_SIZE];	/* as others find it */
};
static_assert(sizeof(struct record_row) == RECORD_ROW_BYTES, "record_row");

/* The file's first row. */
struct record_header {
	uint64_t sum;
	char magic[8];
	uint32_t version;
	uint32_t row_bytes;
	int32_t pid;			/* who wrote it */
	uint32_t zero;
	char boot[RECORD_BOOT_SIZE];	/* the kernel's boot_id: what other boots had is gone */
	char rest[RECORD_ROW_BYTES - 72];
};
static_assert(sizeof(struct record_header) == RECORD_ROW_BYTES, "record_header");

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

/* A sentence about what could not be read, or was left aside. */
typedef void (*record_tell_fn)(const char *text, void *arg);
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

/* What a row or a header has to have as its sum. */
uint64_t record_sum(const void *row);

#endif
