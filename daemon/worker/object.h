/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segment's data as a worker reaches it: by the descriptor that came with the job, or, of System V memory, by the id in
 * the job; the descriptor is then what stands in for it.
 */
#ifndef DAEMON_WORKER_OBJECT_H
#define DAEMON_WORKER_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/worker/job.h"

/* A range of it in this process. */
struct object_map {
	char *start;			/* NULL: not mapped */
	size_t length;
	void *area;			/* with what was reserved around it */
	size_t area_bytes;
};

#define OBJECT_MAP_NULL	{ .start = NULL }

/* Its size in bytes. 0 or a negative errno. */
int object_size(int fd, const struct job_object *object, uint64_t *ret_bytes);

/*
 * Maps [offset, offset + length) for reading and writing, so that the object's multiples of alignment are at multiples of it:
 * huge pages can map it then. alignment is a power of two, and offset one of whole pages. 0 or a negative errno.
 */
int object_map(int fd, const struct job_object *object, uint64_t offset_bytes, size_t length_bytes, size_t alignment_bytes,
    struct object_map *ret_map);

/* Accepts one that is not mapped. */
void object_unmap(struct object_map *map);
#define cleanup_object_map	__attribute__((cleanup(object_unmap)))

/* Gives the pages of a range back. 0 or a negative errno. */
int object_punch(int fd, const struct job_object *object, uint64_t offset_bytes, uint64_t length_bytes);

#endif
