/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is counted is what there will be besides the descriptors that the box has given us, which become the segments' and connections'
 * own. The limit that is told leaves room for work; less than that is no reason to refuse.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/base.h"
#include "daemon/attachment.h"
#include "daemon/box_pair.h"
#include "daemon/survival.h"
#include "daemon/survival_past.h"
#include "daemon/survival_room.h"
#include "host/file.h"

#define START_FDS	4		/* that a start has open besides, for a moment or for good */
#define CHANGE_FDS	2		/* of a change of who may open an object, which waits for a worker (backend/posix_change.c) */
#define WORK_FDS	96		/* what a daemon does well with besides: its workers, the box's next pair, new clients */

/* is_limited: what did not come has to be reckoned by the rows alone. */
struct room {
	const struct past *past;
	bool is_limited;
};

static bool
room_has(const struct room *room, enum box_kind kind, uint64_t id)
{
	return room->is_limited || past_find_fd(room->past, kind, id);
}

static bool
room_is_restored(const struct room *room, const struct past_segment *segment)
{
	return segment && segment->definition && (segment->row.state == PROTOCOL_READY || segment->row.state == PROTOCOL_DRAINING) &&
	    room_has(room, BOX_SEGMENT_DATA, segment->row.generation);
}

/* Who may open an object by name is said anew, which whoever has it keeps from being done at once. */
static bool
room_is_changed_late(const struct room *room, const struct past_segment *segment)
{
	return backend_has(segment->definition->backend, BACKEND_LINKED) && past_first_attachment(room->past, segment->row.generation);
}

/* What readers get of its control memory; of a file, its path. */
static uint64_t
room_of_segments(const struct room *room)
{
	uint64_t n = 0;

	for (size_t i = 0; i < room->past->n_segments; i++) {
		const struct past_segment *segment = &room->past->segments[i];

		if (room_is_restored(room, segment))
			n += (segment->row.control_bytes != 0) + backend_has(segment->definition->backend, BACKEND_DURABLE) +
			    (room_is_changed_late(room, segment) ? CHANGE_FDS : 0);
	}
	return n;
}

/* Each one's pidfd. */
static uint64_t
room_of_sessions(const struct room *room)
{
	uint64_t n = 0;

	for (size_t i = 0; i < room->past->n_sessions; i++)
		n += room_has(room, BOX_SESSION, room->past->sessions[i].row.id);
	return n;
}

/* The process of one that has no connection, and may hold locks, is watched by a pidfd of its own (attachment_resume). */
static uint64_t
room_of_vigils(const struct room *room)
{
	uint64_t n = 0;

	for (size_t i = 0; i < room->past->n_attachments; i++) {
		const struct ledger_attachment *row = &room->past->attachments[i].row;
		const struct past_segment *segment = past_find_segment(room->past, row->generation);

		if (!(row->access & PROTOCOL_ACCESS_WRITE) || row->flags & LEDGER_ATTACHMENT_OWNER_GONE || !row->process ||
		    !room_is_restored(room, segment) || !segment->definition->n_locks)
			continue;
		n += !row->session || !past_find_session(room->past, row->session) ||
		    (!room->is_limited && !past_find_fd(room->past, BOX_SESSION, row->session));
	}
	return n;
}

/* Connections without a row, most of them hung up long ago, are closed before anything else is done (survival_restore). */
static uint64_t
room_to_close(const struct room *room)
{
	uint64_t n = 0;

	for (size_t i = 0; i < room->past->n_fds; i++)
		n += past_is_unknown_session(room->past, &room->past->fds[i]);
	return n;
}

/* The pair that is filled next: whoever is killed meanwhile leaves it to the next one besides. */
static uint64_t
room_of_box(const struct box *box)
{
	const struct box_pair *pair;
	unsigned n = 0;

	TAILQ_FOREACH(pair, &box->pairs, entry)
		n += !pair->leaves;
	return n < 2 ? BOX_SIDE_N : 0;
}

/* A new one gets the lowest number that is free: ours are below the highest of what was read, or below that. */
static int
room_highest_fd(const struct past *past)
{
	cleanup_close int lowest_free = fcntl(past->n_fds ? past->fds[0].fd : STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	int highest = lowest_free;

	for (size_t i = 0; i < past->n_fds; i++)
		if (past->fds[i].fd > highest)
			highest = past->fds[i].fd;
	return highest;
}

static uint64_t
room_used(int highest)
{
	uint64_t n = 0;

	for (int fd = 0; fd <= highest; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
room_tell(const struct room *room, const struct rlimit *limit, uint64_t enough, char *text, size_t text_size)
{
	char more[96] = "";
	uint64_t most;

	if (file_read_number("", "/proc/sys/fs/nr_open", &most) == 0 && enough > most)
		(void)snprintf(more, sizeof(more), ", and before that fs.nr_open, which is %" PRIu64, most);
	(void)snprintf(text, text_size, "%zu connections and %zu segments of the segmentd before this one cannot all be taken over, since "
	    "this process may have no more than %ju descriptors open: none of them is, and nothing is lost. Remedy: raise LimitNOFILE= of "
	    "the service to %" PRIu64 " or more%s, and restart it; until then everything stays as it is", room->past->n_sessions,
	    room->past->n_segments, (uintmax_t)limit->rlim_cur, enough, more);
}

int
survival_judge_room(const struct survival *survival, char *text, size_t text_size)
{
	const struct room room = { .past = survival->past, .is_limited = survival->box.is_limited };
	uint64_t needed = room_of_segments(&room) + room_of_sessions(&room) + room_of_vigils(&room), used;
	int highest = room_highest_fd(room.past);
	struct rlimit limit;

	/* Also where nothing is needed for what was there: without a descriptor to say so with a daemon is never ready. */
	if (getrlimit(RLIMIT_NOFILE, &limit) || (!room.is_limited && !room.past->n_segments && !room.past->n_sessions))
		return 0;
	needed += START_FDS + room_of_box(&survival->box);
	if (!room.is_limited && (uint64_t)highest + needed < limit.rlim_cur)
		return 0;
	used = room_used(highest) - room_to_close(&room);
	if (!room.is_limited && used + needed <= limit.rlim_cur)
		return 0;
	/* Before the double ones were closed it had as many as it may. */
	if (room.is_limited)
		used = max_u64(used, limit.rlim_cur) + survival->box.n_missing;
	room_tell(&room, &limit, used + needed + WORK_FDS, text, text_size);
	return SURVIVAL_E_FEW;
}
