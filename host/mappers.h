/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who maps a file, as far as /proc shows it to us. Reads only, for as long as it may: the answer says what it left out. */
#ifndef HOST_MAPPERS_H
#define HOST_MAPPERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAPPERS_SHOWN	4

struct mappers {
	pid_t pids[MAPPERS_SHOWN];	/* the first of them */
	unsigned n;			/* all that were found */
	unsigned n_hidden;		/* processes whose mappings are not shown to us */
	bool is_complete;		/* false: the time was up */
};

/* Looks through all processes but our own, for limit_ns of this thread's CPU time. 0, or the negative errno of reading /proc. */
int mappers_find(dev_t device, ino_t inode, uint64_t limit_ns, struct mappers *ret_mappers);

/* In words: "12 (feed) and 13 (cat) map it", "no process is seen to map it". Returns buf. */
const char *mappers_describe(char *buf, size_t size, const struct mappers *mappers);

#endif
