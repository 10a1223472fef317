/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Writing back is a worker's job, one at a time: while a writer is attached every `sync`, and once after the last has gone. The
 * kernel tells a failure once; what then is not on the disk stays so, and is told as long as the segment is there. A worker that
 * was killed at it and does not end waits for a disk that would keep the next one, too: there is none before it has ended.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/segment.h"
#include "daemon/timer.h"

#define TELL_AGAIN_NS	(60 * NS_PER_SEC)
#define SYNC_SECONDS	600		/* of a disk to which much is to be written */
#define LOST_SECONDS	10		/* between two looks whether a worker has ended */

struct segment_file {
	struct segment *segment;	/* NULL: it is gone, and only the worker is waited for */
	struct workers_job job;
	struct event timer;
	bool is_busy;
	bool is_dirty;			/* somebody could store to it since the last time */
	bool is_due;			/* once more, when the worker is done */
	bool has_failed;		/* the last time, and nobody has stored to it since */
	uint64_t lost_job;		/* at which a worker was killed, and may not have ended; or 0 */
	bool has_others;		/* who were there before us: an earlier daemon's clients */
	uint64_t timer_ms;		/* what the timer was set to */
	uint64_t begun_ns;		/* since 1970: when the worker was sent */
	uint64_t synced_ns;		/* of the last one that came back without an error; 0: none did */
	uint64_t told_ns;		/* monotonic: of trouble */
	char *note;
	char *trouble;
	LIST_ENTRY(segment_file) entry;	/* once the segment is gone */
};

static LIST_HEAD(, segment_file) segment_files = LIST_HEAD_INITIALIZER(segment_files);

static void
file_free(struct segment_file *file)
{
	if (event_initialized(&file->timer))
		(void)evtimer_del(&file->timer);
	free(file->note);
	free(file->trouble);
	free(file);
}

/* A disk that fails may fail each time: nobody is told the same more than once a minute. */
static void
file_fail(struct segment_file *file, const char *text)
{
	struct segment *segment = file->segment;
	const struct log_about about = { .segment = segment->definition->name };
	uint64_t now_ns = clock_monotonic_ns();

	if (file->trouble && streq(file->trouble, text) && now_ns - file->told_ns < TELL_AGAIN_NS)
		return;
	file->told_ns = now_ns;
	log_write(MESSAGE_FILE_UNWRITTEN, &about, "segment '%s': %s", segment->definition->name, text);
	free(file->trouble);
	file->trouble = strdup(text);
	events_post(segment->host->events, PROTOCOL_EVENT_UNSYNCED, segment, -1, NULL, 0, 0);
}

static void
file_synced(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct segment_file *file = BASE_CONTAINER_OF(job, struct segment_file, job);

	file->is_busy = false;
	file->has_failed = !outcome->result || outcome->result->status;
	file->is_dirty = file->is_dirty || file->has_failed;
	if (!file->segment) {
		LIST_REMOVE(file, entry);
		file_free(file);
		return;
	}
	file->lost_job = outcome->was_stuck ? job->job.id : 0;
	if (!outcome->result)
		file_fail(file, "its contents could not be written to the disk: the worker did not come to its end; see whether the "
		    "disk answers");
	else if (outcome->result->status)
		file_fail(file, outcome->result->text);
	else
		file->synced_ns = file->begun_ns;
	segment_file_look(file->segment);
}

static void
file_set_timer(struct segment_file *file)
{
	const struct definition *definition = file->segment->definition;
	uint64_t ms = definition->sync_ms;

	/* A reload may have made it another one. */
	if (definition->sync && (!evtimer_pending(&file->timer, NULL) || file->timer_ms != ms))
		timer_add_ns(&file->timer, ms * NS_PER_MS);
	file->timer_ms = ms;
}

static struct workers *
file_workers(const struct segment_file *file)
{
	return file->segment->host->provisioner->releases.io;
}

static void
file_sync(struct segment_file *file, bool has_writers)
{
	static const struct timeval later = { .tv_sec = LOST_SECONDS };
	struct segment *segment = file->segment;
	struct holding *holding = &segment->holding;
	struct backend_errand errand;

	if (file->lost_job && workers_has_lost(file_workers(file), file->lost_job)) {
		timer_add(&file->timer, &later);
		return;
	}
	file->is_due = false;
	if (!holding->backend->errand(&holding->object, BACKEND_STAGE_SYNC, &errand))
		return;
	file->job = (struct workers_job) {
		.job = errand.job,
		.fd = errand.fds[0],
		.control_fd = errand.fds[1],
		.third_fd = errand.fds[2],
		.uid = segment->definition->creator,
		.patience_seconds = SYNC_SECONDS,
		.done = file_synced,
	};
	file->is_busy = true;
	file->begun_ns = clock_realtime_ns();
	/* Who is attached may go on storing, and leave before this is done: that is for the next time. */
	file->is_dirty = has_writers;
	workers_submit(file_workers(file), &file->job, false);
}

static void
file_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct segment_file *file = arg;

	file->is_due = true;
	segment_file_look(file->segment);
}

int
segment_file_new(struct segment *segment, const char *note)
{
	const struct holding *holding = &segment->holding;
	struct segment_file *file;

	if (!(holding->backend->features & BACKEND_DURABLE))
		return 0;
	segment_file_free(segment);
	file = calloc(1, sizeof(*file));
	if (!file || evtimer_assign(&file->timer, segment->host->base, file_on_timer, file)) {
		free(file);
		return -ENOMEM;
	}
	file->segment = segment;
	file->note = *note ? strdup(note) : NULL;
	/* Its initial contents, if nothing else. */
	file->is_dirty = !holding->object.has_contents;
	segment->file = file;
	if (!holding_is_alone(&segment->holding)) {
		file->has_others = true;
		(void)segment_watch(segment);
	}
	segment_file_look(segment);
	return 0;
}

void
segment_file_free(struct segment *segment)
{
	struct segment_file *file = take_ptr(segment->file);

	if (!file)
		return;
	if (file->is_busy && !workers_cancel(&file->job)) {
		(void)evtimer_del(&file->timer);
		file->segment = NULL;
		LIST_INSERT_HEAD(&segment_files, file, entry);
		return;
	}
	file_free(file);
}

void
segment_file_drop_all(void)
{
	struct segment_file *file;

	while ((file = LIST_FIRST(&segment_files))) {
		LIST_REMOVE(file, entry);
		file_free(file);
	}
}

void
segment_file_look(struct segment *segment)
{
	struct segment_file *file = segment->file;
	bool has_writers;

	if (!file)
		return;
	if (file->has_others && !segment_n_attached(segment) && holding_is_alone(&segment->holding)) {
		file->has_others = false;
		file->is_dirty = true;
	}
	has_writers = segment->n_writers || file->has_others;
	file->is_dirty = file->is_dirty || has_writers;
	/* What failed is tried again by the clock, and not at once: a disk may fail each time. */
	file->has_failed = file->has_failed && !has_writers;
	if (has_writers || file->has_failed)
		file_set_timer(file);
	else
		(void)evtimer_del(&file->timer);
	if (!segment->definition->sync)
		(void)evtimer_del(&file->timer);
	if (!file->is_busy && file->is_dirty && (file->is_due || !(has_writers || file->has_failed)))
		file_sync(file, has_writers);
}

const char *
segment_file_note(const struct segment *segment)
{
	return segment->file ? segment->file->note : NULL;
}

const char *
segment_file_trouble(const struct segment *segment)
{
	return segment->file ? segment->file->trouble : NULL;
}

bool
segment_file_sight(const struct segment *segment, struct segment_file_sight *ret_sight)
{
	const struct segment_file *file = segment->file;

	if (!file)
		return false;
	*ret_sight = (struct segment_file_sight) {
		.synced_ns = file->synced_ns,
		.dirty_bytes = segment->holding.backend->dirty_bytes(&segment->holding.object),
		.is_dirty = file->is_dirty || file->is_busy,
	};
	return true;
}
