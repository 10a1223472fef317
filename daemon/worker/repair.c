/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The lock's place comes from the daemon; what stands in the memory is believed no more here than there. The descriptor of
 * the data is the daemon's own description, which carries the claim's mark: who waits for the lock sees the claim alive
 * for as long as this works on it, even if the daemon dies meanwhile.
 */
#include "config.h"

#include "base/base.h"
#include "client/mutex.h"
#include "daemon/guard.h"
#include "daemon/worker/object.h"
#include "daemon/worker/repair.h"
#include "host/findings.h"

static const struct job_object by_fd = { .kind = JOB_OBJECT_FD };

/* Maps all of it, of which needed_bytes have to be there. */
static int
map(int fd, const struct job_object *object, uint64_t needed_bytes, struct object_map *ret_map)
{
	uint64_t size;
	int r = object_size(fd, object, &size);

	if (r)
		return r;
	if (size == 0 || size < needed_bytes)
		return -EPROTO;
	return object_map(fd, object, 0, size, (size_t)sysconf(_SC_PAGESIZE), ret_map);
}

/* Whether memory is there for what may have to be allocated. 0, JOB_E_MEMORY or a negative errno. */
static int
check_memory(const void *address, uint64_t length_bytes, const struct job *job, struct memory *memory,
    struct job_result *result)
{
	struct memory_headroom headroom;
	int r;

	if (guard_is_resident(address, length_bytes))
		return 0;
	r = memory_headroom_for(memory, job->reserve_bytes, length_bytes, &headroom);
	if (r || headroom.bytes >= length_bytes)
		return r;
	findings_memory(result->text, sizeof(result->text), length_bytes, &headroom);
	return JOB_E_MEMORY;
}

/* The same for what a repair will touch. */
static int
check_repair(const struct control_place *place, const struct job *job, struct memory *memory, struct job_result *result)
{
	uint64_t from = place->offset_bytes, to = place->offset_bytes + place->length_bytes;
	int r = 0;

	if (place->on_death == CONTROL_ROLLBACK)
		r = control_extent(place, guard_copy, &from, &to);
	/* A log that is none is found out by the repair. */
	if (r || place->on_death == CONTROL_KEEP)
		return 0;
	return check_memory(place->data + from, to - from, job, memory, result);
}

int
repair_lock(int data_fd, int control_fd, const struct job *job, struct memory *memory, struct job_result *result)
{
	cleanup_object_map struct object_map data = OBJECT_MAP_NULL, control = OBJECT_MAP_NULL;
	uint64_t record_bytes = (uint64_t)job->lock.index * CONTROL_RECORD_BYTES;
	struct control_place place;
	int r;

	r = map(data_fd, &job->object, job->offset_bytes + job->length_bytes, &data);
	if (r == 0)
		r = map(control_fd, &by_fd, max_u64(record_bytes + CONTROL_RECORD_BYTES,
		    job->lock.log_offset_bytes + job->lock.log_bytes), &control);
	if (r == 0)
		r = guard_init();
	if (r) {
		(void)snprintf(result->text, sizeof(result->text), "the segment's memory cannot be mapped: %s",
		    strerror(-r));
		return r;
	}
	place = (struct control_place) {
		.lock = (struct control_lock *)(void *)((unsigned char *)control.start + record_bytes),
		.log = (unsigned char *)control.start + job->lock.log_offset_bytes,
		.data = (unsigned char *)data.start,
		.offset_bytes = job->offset_bytes,
		.length_bytes = job->length_bytes,
		.log_bytes = job->lock.log_bytes,
		.on_death = (enum control_on_death)job->lock.on_death,
	};
	r = check_repair(&place, job, memory, result);
	if (r)
		return r;
	r = control_repair(&place, guard_copy);
	if (r < 0)
		(void)snprintf(result->text, sizeof(result->text), "memory of the segment was taken away: %s", strerror(-r));
	return r == CONTROL_E_POISONED ? JOB_E_POISONED : r;
}

struct mutex_repair {
	struct mutex_death death;
	int r;
};

static void
repair_mutex_call(void *arg)
{
	struct mutex_repair *repair = arg;

	repair->r = mutex_recover(&repair->death);
}

int
repair_mutex(int data_fd, const struct job *job, struct memory *memory, struct job_result *result)
{
	cleanup_object_map struct object_map data = OBJECT_MAP_NULL;
	struct mutex_repair repair;
	int r;

	r = map(data_fd, &job->object, max_u64(job->offset_bytes + job->length_bytes, job->lock.at_bytes + MUTEX_BYTES), &data);
	if (r == 0)
		r = guard_init();
	if (r) {
		(void)snprintf(result->text, sizeof(result->text), "the segment's memory cannot be mapped: %s",
		    strerror(-r));
		return r;
	}
	repair.death = (struct mutex_death) {
		.mutex = (unsigned char *)data.start + job->lock.at_bytes,
		.thread = job->lock.thread,
		.on_death = job->length_bytes ? CONTROL_ZERO : CONTROL_KEEP,
		.range = (unsigned char *)data.start + job->offset_bytes,
		.range_bytes = job->length_bytes,
		.copy = guard_copy,
	};
	r = check_memory(repair.death.range, repair.death.range_bytes, job, memory, result);
	if (r)
		return r;
	/* Its word is touched directly, and may be cut off meanwhile. */
	r = guard_call(repair_mutex_call, &repair);
	if (r == 0)
		r = repair.r;
	if (r < 0)
		(void)snprintf(result->text, sizeof(result->text), "memory of the segment was taken away: %s", strerror(-r));
	return r == MUTEX_E_BUSY ? -EAGAIN : (r < 0 ? r : 0);
}
