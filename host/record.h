/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The record of what outlives a daemon (daemon/record.h), as it is read: by the next daemon, and by who wants to know what that
 * will do. How it is laid out, what of it is believed, whether a row is about an object that is there, and whether a definition
 * can have that. Writes nothing, and changes nothing that it is about.
 */
#ifndef HOST_RECORD_H
#define HOST_RECORD_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "conf/definition.h"

struct sysv_row;

#define RECORD_FILE		"record"	/* in state_dir */
#define RECORD_MAGIC		"segmtrec"
#define RECORD_ROWS_MAX		((size_t)1 << 20)	/* half a GiB: more than any host has objects */
#define RECORD_VERSION		1
#define RECORD_ROW_BYTES	512
#define RECORD_BOOT_SIZE	40
#define RECORD_BACKEND_SIZE	16
#define RECORD_SEGMENT_SIZE	136
#define RECORD_OBJECT_SIZE	256
#define RECORD_PRIVATE		"private"	/* an object that nobody finds: by itself, or with a space and its segment's name */

enum record_state {
	RECORD_FREE,			/* no row */
	RECORD_INTENT,			/* it is about to be made: it may be there or not */
	RECORD_MADE,			/* it is there, or was, and closed: its pages are not whole yet, or it is on its way out */
	RECORD_READY,			/* its contents are whole, and others may have it */
	RECORD_LEAVING,			/* its name is being taken away, whoever has it */
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

/* A sentence about what could not be read, or was left aside. */
typedef void (*record_tell_fn)(const char *text, void *arg);

/* What was read. */
struct record_found {
	char boot[RECORD_BOOT_SIZE];	/* this one */
	struct record_row *rows;	/* that are sound, and of this boot */
	size_t n_rows;
	bool is_spoilt;			/* not all of it was understood: it is not to be written over */
};

/*
 * Reads the record in a directory, which has to be this user's alone to write. root: of the boot's id, "" but for tests. 0, also
 * where there is none, and the caller frees with record_found_deinit(); or a negative errno.
 */
int record_read(const char *root, int dir_fd, uid_t uid, record_tell_fn tell, void *arg, struct record_found *ret_found);
void record_found_deinit(struct record_found *found);

/* Whether it is in no name's or key's place: another one can be made beside it. */
bool record_is_private(const struct record_row *row);
/* And the declared segment's that has this name. */
bool record_is_private_of(const struct record_row *row, const char *segment);
/* For a sentence: by what others find it; or that they do not. */
const char *record_object(const struct record_row *row);

/* What a row or a header has to have as its sum. */
uint64_t record_sum(const void *row);

/* When a file was made, since 1970; 0: its file system does not say. As statx(2) with AT_EMPTY_PATH. 0 or a negative errno. */
int record_born_ns(int dir_fd, const char *path, uint64_t *ret_born_ns);

enum record_proof {
	RECORD_PROVED,			/* it is what the row is about */
	RECORD_IS_GONE,			/* its name is, and it ends with its last holder */
	RECORD_IS_OTHER,
};

/* Of a file, or a System V segment, and the daemon's user. */
enum record_proof record_prove_file(const struct record_row *row, const struct stat *status, uint64_t born_ns, uid_t uid);
enum record_proof record_prove_sysv(const struct record_row *row, const struct sysv_row *shm, uid_t uid);

/*
 * Why the definition cannot have the row's object as it is, a clause; or NULL. has_locks: it has locks of ours. is_held: somebody
 * has the object.
 */
const char *record_misfit(const struct record_row *row, const struct definition *definition, bool has_locks, bool is_held,
    char *text, size_t text_size);

#endif
