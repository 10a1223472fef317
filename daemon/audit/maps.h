/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A process's mappings of files, one after the other. Nothing here reaches the file systems that the files are of: those may be
 * served by whoever wants us to wait.
 */
#ifndef DAEMON_AUDIT_MAPS_H
#define DAEMON_AUDIT_MAPS_H

#include "base/base.h"

#define MAPS_NAME_SIZE	64		/* enough to tell by which the kernel has named it */
#define MAPS_PIECE	16384

struct maps_mapping {
	uint64_t start;
	uint64_t end;
	uint64_t device;
	uint64_t inode;
	bool is_writable;		/* and what is written is written to the file */
};

struct maps {
	int fd;
	bool is_text;
	uint64_t next;			/* address to ask from */
	bool was_any;			/* the process has memory of its own at all */
	size_t at, filled;		/* text: of the piece in buf */
	bool in_long_line;		/* the rest of a line that was longer than a piece is to be skipped */
	char name[MAPS_NAME_SIZE];	/* text: of the last mapping */
	char buf[MAPS_PIECE + 1];
};

#define MAPS_NULL	{ .fd = -1 }

/*
 * Of a process or thread, by a descriptor of its directory in /proc. 0 or a negative errno; -EACCES: it is not for us to know.
 * may_query false: its text is read even if the kernel could be asked.
 */
int maps_open(struct maps *maps, int process_fd, const char *path, bool may_query);
void maps_close(struct maps *maps);

/*
 * 1: *ret_mapping; 0: there is no more; or a negative errno: -ESRCH, where that is told apart, for one that has no memory (any
 * more): it has ended, is ending, or is the kernel's own.
 */
int maps_next(struct maps *maps, struct maps_mapping *ret_mapping);

/* The beginning of the name of the mapping that came last; "" where it has none by now. */
void maps_name(struct maps *maps, const struct maps_mapping *mapping, char *buf, size_t size);

#endif
