/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a segment has besides whose contents outlive the machine: they are written to the disk now and then, and what is to be
 * told of that. Its owner asks it to look whenever somebody came or went.
 */
#ifndef DAEMON_SEGMENT_FILE_H
#define DAEMON_SEGMENT_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct segment;
struct segment_file;

/* How far what is stored to it is on the disk. */
struct segment_file_sight {
	uint64_t synced_ns;		/* since 1970: all that was stored until then is; 0: nothing was written since it is ready */
	uint64_t dirty_bytes;		/* not written yet, by the kernel's count; UINT64_MAX: it does not tell */
	bool is_dirty;			/* somebody could have stored to it since */
};

/* It is about to be ready. note: what is to be told of its contents, or empty. 0 or -ENOMEM; 0 also for who needs none. */
int segment_file_new(struct segment *segment, const char *note);

/* Gives it up; a worker that is at it goes on. */
void segment_file_free(struct segment *segment);

/* Those that a worker was still at, when the workers have been ended. */
void segment_file_drop_all(void);

/* Somebody came or went, or its definition is another one. */
void segment_file_look(struct segment *segment);

/* False: it has no file. */
bool segment_file_sight(const struct segment *segment, struct segment_file_sight *ret_sight);

/* What is to be told of it, as sentences; or NULL. */
const char *segment_file_note(const struct segment *segment);		/* of how it was found */
const char *segment_file_trouble(const struct segment *segment);	/* of what did not reach the disk */

#endif
