/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments by name. Not uthash, whose handle of 56 bytes would be an eighth of all that the daemon keeps for a segment: two
 * fields of the segment do, and the order of making is the registry's anyway. Clients choose names, and are not to choose buckets:
 * daemon/hash.h sees to that.
 */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include <stddef.h>
#include <stdint.h>

struct segment;

struct names {
	struct segment **buckets;	/* a power of two of them; chained by names_next */
	size_t n_buckets;
	size_t n;
};

/* 0 or -ENOMEM. */
int names_init(struct names *names);
void names_deinit(struct names *names);

/* By its definition's name, which nobody else has, and which is the same in every definition that takes that one's place. */
void names_add(struct names *names, struct segment *segment);
void names_remove(struct names *names, struct segment *segment);

/* The segment or NULL. */
struct segment *names_find(const struct names *names, const char *name);

#endif
