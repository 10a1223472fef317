/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The mark beside a file that holds a segment: "in use", since which boot of the machine. It is there as long as the file's
 * contents may be ahead of the disk; what is found at a start tells how the last use ended. Locked by the daemon that uses
 * the file, for as long as it does: clients never get a descriptor of it, so that none of them can hold it. Here is what one
 * says and what follows from it; the daemon's workers write it.
 */
#ifndef HOST_MARK_H
#define HOST_MARK_H

#include <stdbool.h>
#include <stdint.h>

#define MARK_BYTES	256		/* all of it: one write, one block */
#define MARK_BOOT_SIZE	40

enum mark_state {
	MARK_FREE,			/* somebody has locked it; the file is not in use yet */
	MARK_USED,
	MARK_SPOILED,			/* in use, and what was written did not all reach the disk */
	MARK_INVALID,			/* no mark of ours: cut short, or something else */
	MARK_STATE_N
};

struct mark {
	enum mark_state state;
	char boot[MARK_BOOT_SIZE];	/* the kernel's boot id */
	uint64_t generation;		/* microseconds since 1970, when the use began */
	uint64_t size_bytes;		/* of the file */
	int32_t pid;			/* of the daemon, in its namespace */
};

/* Reads it. 0, also where it is none: state says so. Or a negative errno. */
int mark_read(int fd, struct mark *ret_mark);

/* Its bytes, of which it is whole. */
void mark_format(const struct mark *mark, char bytes[MARK_BYTES + 1]);

/* The id of this boot, below another root ("" but for tests). 0 or a negative errno. */
int mark_read_boot(const char *root, char boot[MARK_BOOT_SIZE]);

/* Whether its file's contents are those that were stored last; asked in this boot. */
bool mark_is_clean(const struct mark *mark, const char *boot);

/*
 * Whether a file is larger than its segment since a writer has made it so while it was used: it had its size then, as the mark
 * says. The daemon cuts it back; else one writer could keep the segment from every start to come.
 */
bool mark_was_enlarged(const struct mark *mark, uint64_t has_bytes, uint64_t max_bytes);

#endif
