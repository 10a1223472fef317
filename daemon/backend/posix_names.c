/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Names in /dev/shm are given and taken away by a worker. Anybody can keep the directory's lock, for as long as he likes: by
 * removing a file of his own there that is being written from memory that does not come. What the loop does itself waits for no
 * such lock: it makes objects without a name, and opens, looks at and asks for names only as far as the kernel knows them.
 *
 * There is one worker for all of them, beside all others, and it is never given up: a job that waits for the lock is done when
 * that is free, whatever becomes of its worker. Two at once for one name might be done in the other order, or one after what came
 * between them: so they are done one at a time, in the order in which they were asked for, and the name is free to whoever asks
 * for it after us. Who is killed here leaves nothing that the record does not have: a row is written before the name is asked
 * for, and taken out after it is gone.
 *
 * A daemon that is killed leaves a worker that waits, and that may give a name or take one away when its successor is long at
 * work. So each has a descriptor with a lock on it, that of the daemon that sent it, and ends with that: as long as somebody has
 * the lock, the next daemon begins nothing about names, and believes of none of its record's objects that it is gone, or that it
 * stays. They wait, and nothing else does.
 *
 * Whose name is being taken away is no segment's any more: it is ours (backend_has_object()), and of the record, until it is gone.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "daemon/log.h"
#include "daemon/timer.h"

#define SETTLE_MS	100		/* between two looks whether the workers of an earlier daemon have ended */
#define LATE_S		2		/* without any progress, it is told that names wait */
#define TRIES_MAX	3		/* of one removal whose workers are killed, or not to be had */
#define REST_S		1		/* where none is to be had, until it is tried again */

/* A name on its way out; or, had by whoever has the name, what is to be known of it then. */
struct leaving {
	struct record *record;		/* where its row is */
	size_t index;
	uint64_t device, inode, born_ns;
	struct errand *errand;		/* NULL: it is not begun */
	bool is_told;			/* that it cannot be */
	bool was_named;
	TAILQ_ENTRY(leaving) list_entry;
	char path[];
};

/* Of a worker, with what else it takes. */
struct errand {
	struct workers_job job;
	struct leaving *leaving;
	unsigned n_tries;
	bool was_killed;		/* a worker was, at this */
};

static struct {
	struct workers *workers;	/* NULL: names are taken away at once */
	void (*on_gone)(void *arg);
	void *arg;
	int lock_fd;			/* what shows that a worker is at one; -1: nothing does */
	bool is_unsettled;		/* workers of an earlier daemon are still at some */
	struct event settle_event;
	bool keeps;			/* names stay as they are, with their rows */
	int dir_fd;			/* one for all who are to have a name, or are to lose it */
	unsigned n_dir_users;
	uint64_t since_ns;		/* since when some wait, and none has been done */
	struct event late_event;	/* the next one, as long as some wait */
	struct event rest_event;	/* there was no worker to be had, no descriptor, or no memory */
	bool is_told;			/* that they wait */
	TAILQ_HEAD(, leaving) list;	/* in the order in which they were asked for */
	struct leaving *unbegun;	/* the first of them that is; NULL: none is */
} names = { .lock_fd = -1, .dir_fd = -1, .list = TAILQ_HEAD_INITIALIZER(names.list) };

static void leaving_on_done(struct workers_job *job, const struct workers_outcome *outcome);

static bool
names_wait(void)
{
	return names.is_unsettled || names.n_dir_users > 0 || !TAILQ_EMPTY(&names.list);
}

static void
names_look_later(void)
{
	static const struct timeval later = { .tv_sec = LATE_S };

	if (names.workers && names_wait() && !evtimer_pending(&names.late_event, NULL))
		timer_add(&names.late_event, &later);
}

static void
names_on_late(evutil_socket_t fd, short what, void *arg)
{
	bool is_late = names_wait() && !evtimer_pending(&names.rest_event, NULL) &&
	    clock_monotonic_ns() - names.since_ns >= LATE_S * NS_PER_SEC;

	if (is_late && !names.is_told)
		log_write(MESSAGE_NAMES_WAIT, NULL, "names in " POSIX_DIR " can be neither given nor taken away at the moment: somebody keeps the "
		    "directory's lock, by removing a file there that is being written; POSIX segments that come or go wait for that");
	if (!is_late && names.is_told)
		log_write(MESSAGE_NAMES_GO_ON, NULL, "names in " POSIX_DIR " are given and taken away again");
	names.is_told = is_late;
	names_look_later();
}

static int
names_open_dir(void)
{
	if (names.dir_fd < 0)
		names.dir_fd = open(POSIX_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (names.dir_fd < 0)
		return -errno;
	if (!names_wait())
		names.since_ns = clock_monotonic_ns();
	names.n_dir_users++;
	names_look_later();
	return names.dir_fd;
}

void
posix_names_leave_dir(void)
{
	if (--names.n_dir_users == 0)
		close_fd(&names.dir_fd);
}

void
posix_names_get_on(void)
{
	names.since_ns = clock_monotonic_ns();
}

static void
leaving_free(struct leaving *leaving)
{
	TAILQ_REMOVE(&names.list, leaving, list_entry);
	if (leaving->errand)
		posix_names_leave_dir();
	free(leaving->errand);
	free(leaving);
}

void
posix_tell_replaced(const char *path)
{
	log_write(MESSAGE_REPLACED, &(struct log_about) { 0 }, "%s is not the object that was made there any more, and was left "
	    "alone: somebody removed or replaced it", path);
}

/* Its row stays: the next start tries again. */
void
posix_tell_not_removed(const char *path, int r)
{
	log_write(MESSAGE_NOT_REMOVED, &(struct log_about) { .error = r }, "%s cannot be removed: %s; remove it by hand", path,
	    strerror(-r));
}

static void
leaving_tell_rest(struct leaving *leaving, int r, const char *why)
{
	static const struct timeval rest = { .tv_sec = REST_S };

	if (!leaving->is_told)
		log_write(MESSAGE_NOT_REMOVED, &(struct log_about) { .error = r }, "%s cannot be removed yet, since %s; it is tried again every "
		    "second", leaving->path, why);
	leaving->is_told = true;
	timer_add(&names.rest_event, &rest);
}

/* Who fills the host with processes leaves no names behind; and what was asked for after it is not done before it. */
static void
leaving_rest(struct leaving *leaving, int r)
{
	workers_set_max(names.workers, 0);
	workers_submit(names.workers, &leaving->errand->job, true);
	leaving_tell_rest(leaving, r, "no worker process can be started");
}

/* 0 or a negative errno. */
static int
leaving_begin(struct leaving *leaving)
{
	int dir_fd = names_open_dir();
	struct errand *errand;

	if (dir_fd < 0)
		return dir_fd;
	errand = calloc(1, sizeof(*errand));
	if (!errand) {
		posix_names_leave_dir();
		return -ENOMEM;
	}
	leaving->errand = errand;
	errand->leaving = leaving;
	errand->job = (struct workers_job) {
		.job = {
			.kind = JOB_UNLINK,
			.file = { .device = leaving->device, .inode = leaving->inode, .changed_ns = (int64_t)leaving->born_ns },
		},
		.fd = dir_fd,
		.control_fd = posix_names_lock(dir_fd),
		.third_fd = -1,
		.patience_seconds = BACKEND_LOCK_SECONDS,
		.done = leaving_on_done,
	};
	/* As long as a definition's object and a row's may be. */
	(void)snprintf(errand->job.job.name, sizeof(errand->job.job.name), "%s", leaving->path + sizeof(POSIX_DIR));
	workers_submit(names.workers, &errand->job, false);
	return 0;
}

static void
names_begin_waiting(void)
{
	struct leaving *leaving;

	while ((leaving = names.unbegun)) {
		int r = leaving_begin(leaving);

		if (r && error_is_passing(-r)) {
			leaving_tell_rest(leaving, r, r == -ENOMEM ? "there is no memory" : POSIX_DIR " cannot be opened");
			return;
		}
		names.unbegun = TAILQ_NEXT(leaving, list_entry);
		if (r) {
			posix_tell_not_removed(leaving->path, r);
			leaving_free(leaving);
		}
	}
}

int
posix_names_enter_dir(void)
{
	int dir_fd = names_open_dir();

	/* What was asked for before goes before. */
	if (dir_fd >= 0)
		names_begin_waiting();
	return dir_fd;
}

static void
names_on_rest(evutil_socket_t fd, short what, void *arg)
{
	posix_names_get_on();
	if (!names.is_unsettled)
		workers_set_max(names.workers, 1);
	names_begin_waiting();
	if (names.on_gone)
		names.on_gone(names.arg);
}

static void
leaving_forget_row(const struct leaving *leaving)
{
	struct record_entry entry = { .record = leaving->record, .index = leaving->index };

	record_remove(&entry);
}

static void
leaving_on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct errand *errand = BASE_CONTAINER_OF(job, struct errand, job);
	struct leaving *leaving = errand->leaving;
	int r = outcome->error ? outcome->error : -ECANCELED;

	posix_names_get_on();
	/* It is dead, and does nothing any more. */
	errand->was_killed |= !outcome->result && !outcome->error;
	if (!outcome->result && ++errand->n_tries < TRIES_MAX) {
		workers_submit(names.workers, job, true);
		return;
	}
	if (!outcome->result && error_is_passing(-outcome->error)) {
		leaving_rest(leaving, r);
		return;
	}
	if (outcome->result)
		r = outcome->result->status > 0 ? -EPROTO : outcome->result->status;
	if (r)
		posix_tell_not_removed(leaving->path, r);
	/* A worker that was killed while it waited has done it all the same. */
	else if (outcome->result->flags & JOB_NAME_OTHER && leaving->was_named && !errand->was_killed)
		posix_tell_replaced(leaving->path);
	if (r == 0)
		leaving_forget_row(leaving);
	leaving_free(leaving);
	if (names.on_gone)
		names.on_gone(names.arg);
}

int
posix_names_lock(int dir_fd)
{
	return names.lock_fd < 0 ? dir_fd : names.lock_fd;
}

struct leaving *
posix_names_reserve(const char *path)
{
	size_t size = strlen(path) + 1;
	struct leaving *leaving = calloc(1, sizeof(*leaving) + size);

	if (leaving)
		memcpy(leaving->path, path, size);
	return leaving;
}

bool
posix_names_leave(struct leaving **reserved, struct record_entry *entry, bool was_named)
{
	struct leaving *leaving;

	if (names.keeps) {
		entry->record = NULL;
		return true;
	}
	if (!names.workers)
		return false;
	/* Where that cannot be written, who is killed now leaves one that is taken over, or removed once nobody has it. */
	(void)record_set_state(entry, RECORD_LEAVING);
	leaving = take_ptr(*reserved);
	leaving->was_named = was_named;
	leaving->device = entry->row.device;
	leaving->inode = entry->row.inode;
	leaving->born_ns = entry->row.born_ns;
	leaving->index = entry->index;
	leaving->record = take_ptr(entry->record);
	if (!names_wait())
		names.since_ns = clock_monotonic_ns();
	TAILQ_INSERT_TAIL(&names.list, leaving, list_entry);
	if (!names.unbegun)
		names.unbegun = leaving;
	names_begin_waiting();
	names_look_later();
	return true;
}

bool
posix_names_are_leaving(const char *path)
{
	const struct leaving *leaving;

	TAILQ_FOREACH(leaving, &names.list, list_entry)
		if (streq(leaving->path, path))
			return true;
	return false;
}

/* Of the description: who was sent it has it as well. Where the file system knows no locks there is nothing to wait for. */
static bool
names_settle(void)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	names.is_unsettled = names.lock_fd >= 0 && fcntl(names.lock_fd, F_OFD_SETLK, &all) && (errno == EAGAIN || errno == EACCES);
	return !names.is_unsettled;
}

static void
names_on_settle(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval later = { .tv_usec = SETTLE_MS * 1000 };

	if (!names_settle()) {
		timer_add(&names.settle_event, &later);
		return;
	}
	workers_set_max(names.workers, 1);
	if (names.on_gone)
		names.on_gone(names.arg);
}

void
backend_names_begin(struct workers *workers, int lock_fd, void (*on_gone)(void *arg), void *arg)
{
	names.workers = workers;
	names.lock_fd = lock_fd;
	names.on_gone = on_gone;
	names.arg = arg;
	names.keeps = false;
	(void)evtimer_assign(&names.late_event, workers->base, names_on_late, NULL);
	(void)evtimer_assign(&names.rest_event, workers->base, names_on_rest, NULL);
	if (names_settle())
		return;
	names.since_ns = clock_monotonic_ns();
	names_look_later();
	/* What is asked for is kept in their queue. */
	workers_set_max(workers, 0);
	(void)evtimer_assign(&names.settle_event, workers->base, names_on_settle, NULL);
	names_on_settle(-1, 0, NULL);
}

bool
backend_names_are_settled(void)
{
	return !names.is_unsettled;
}

bool
backend_names_wait(void)
{
	return names_wait();
}

bool
backend_names_leave(void)
{
	return !TAILQ_EMPTY(&names.list);
}

void
backend_names_end(void)
{
	struct leaving *leaving;

	/* Who has the lock still would have us wait for it, too. */
	names.keeps = names_wait();
	names.unbegun = NULL;
	while ((leaving = TAILQ_FIRST(&names.list)))
		leaving_free(leaving);
	if (event_initialized(&names.settle_event))
		(void)event_del(&names.settle_event);
	if (event_initialized(&names.late_event))
		(void)event_del(&names.late_event);
	if (event_initialized(&names.rest_event))
		(void)event_del(&names.rest_event);
	close_fd(&names.lock_fd);
	names.is_unsettled = false;
	names.workers = NULL;
	names.on_gone = NULL;
}
