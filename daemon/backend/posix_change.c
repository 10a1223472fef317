/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who may open an object is changed under its lock, which whoever writes there by write(2) keeps until that is done: for as long as he
 * likes, if what he writes is in memory that does not come. So the loop does it only where nobody else has the object, which a lease
 * shows, and keeps so until it is done. Else a worker does: one for each, without a limit, since they wait for different people.
 *
 * As with names, what waits is done when the lock is free, whatever becomes of the worker; so no worker is given up, and for one object
 * there is one at a time. What is asked for meanwhile is done after it: the last of it, once. What waits for a daemon that was killed
 * comes before what its successor asks for: the lock is given in turn, and the lease is not given as long as that one waits.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "daemon/log.h"
#include "host/findings.h"

#define LATE_NS		NS_PER_SEC
#define TRIES_MAX	3		/* of one change whose workers are killed */

struct posix_change {
	struct workers_job job;		/* with a description of the object's, and a list in memory, of its own */
	struct posix_access next;	/* what is to be after that */
	bool has_next;
	unsigned n_tries;
	uint64_t begun_ns;
	bool is_told;			/* that it is late */
	struct posix_admission *admission;	/* NULL: the object has gone */
	LIST_ENTRY(posix_change) list_entry;
};

static struct {
	struct workers *workers;	/* NULL: it is done at once */
	LIST_HEAD(, posix_change) list;
} changes = { .list = LIST_HEAD_INITIALIZER(changes.list) };

static void
change_free(struct posix_change *change)
{
	if (change->admission)
		change->admission->change = NULL;
	LIST_REMOVE(change, list_entry);
	close_fd(&change->job.fd);
	close_fd(&change->job.control_fd);
	free(change);
}

static void change_on_done(struct workers_job *job, const struct workers_outcome *outcome);

static int
change_submit(struct posix_change *change, const struct posix_access *access)
{
	struct workers_job *job = &change->job;
	cleanup_close int fd = memfd_create("segmentd:access", MFD_CLOEXEC);

	if (fd < 0 || fchmod(fd, 0600))
		return -errno;
	if (pwrite(fd, access->list, access->size, 0) != (ssize_t)access->size)
		return -ENOMEM;
	close_fd(&job->control_fd);
	job->control_fd = take_fd(&fd);
	job->job = (struct job) { .kind = JOB_ADMIT, .length_bytes = access->size, .limit_bytes = access->mode };
	job->patience_seconds = BACKEND_LOCK_SECONDS;
	job->done = change_on_done;
	change->n_tries = 0;
	workers_submit(changes.workers, job, false);
	return 0;
}

static void
change_fail(struct posix_change *change, int r)
{
	struct posix_admission *admission = change->admission;
	char text[FINDINGS_TEXT_SIZE];

	if (!admission)
		return;
	(void)posix_access_tell(r, admission->path, text, sizeof(text));
	log_write(MESSAGE_SEGMENT_OPEN, &(struct log_about) { .segment = admission->segment, .error = r },
	    "segment '%s': %s; without us it is open to whom it was open before", admission->segment, text);
	free(admission->reason);
	admission->reason = strdup(text);
}

static void
change_on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct posix_change *change = BASE_CONTAINER_OF(job, struct posix_change, job);
	int r = outcome->error ? outcome->error : -ECANCELED;

	if (outcome->result)
		r = outcome->result->status > 0 ? -EPROTO : outcome->result->status;
	if (change->has_next) {
		change->has_next = false;
		r = change_submit(change, &change->next);
		if (r == 0)
			return;
	} else if (!outcome->result && ++change->n_tries < TRIES_MAX) {
		workers_submit(changes.workers, job, true);
		return;
	}
	if (r)
		change_fail(change, r);
	change_free(change);
}

static struct posix_change *
change_new(struct posix_admission *admission, int fd)
{
	struct posix_change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->begun_ns = clock_monotonic_ns();
	change->job.control_fd = change->job.third_fd = -1;
	change->job.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	LIST_INSERT_HEAD(&changes.list, change, list_entry);
	if (change->job.fd < 0) {
		change_free(change);
		return NULL;
	}
	change->admission = admission;
	admission->change = change;
	return change;
}

static bool
change_is_late(const struct posix_change *change)
{
	return clock_monotonic_ns() - change->begun_ns > LATE_NS;
}

/* As long as we have the lease nobody else gets to open it, and so to write. */
static int
change_at_once(int fd, const char *path, const struct posix_access *access, char *text, size_t text_size)
{
	int r;

	if (changes.workers && fcntl(fd, F_SETLEASE, F_WRLCK))
		return -EAGAIN;
	r = posix_access_store(fd, path, access, text, text_size);
	if (changes.workers)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return r;
}

/* If no worker has it. Accepts NULL. The change that goes on, or NULL. */
static struct posix_change *
change_withdraw(struct posix_change *change)
{
	if (!change || !workers_cancel(&change->job))
		return change;
	change_free(change);
	return NULL;
}

/* 0: a worker is to do it; or a negative errno with a sentence. */
static int
change_begin(struct posix_admission *admission, int fd, const struct posix_access *access, char *text, size_t text_size)
{
	struct posix_change *change = change_new(admission, fd);
	int r = change ? change_submit(change, access) : -ENOMEM;

	if (r && change)
		change_free(change);
	return posix_access_tell(r, admission->path, text, text_size);
}

int
posix_admission_change(struct posix_admission *admission, int fd, const struct definition *definition, char *text, size_t text_size)
{
	struct posix_access access;
	int r = posix_access_make(fd, admission->path, definition, &access, text, text_size);

	if (r == 0)
		admission->change = change_withdraw(admission->change);
	if (r == 0 && admission->change) {
		admission->change->next = access;
		admission->change->has_next = true;
	} else if (r == 0) {
		r = change_at_once(fd, admission->path, &access, text, text_size);
		if (r == -EAGAIN)
			r = change_begin(admission, fd, &access, text, text_size);
	}
	free(admission->reason);
	admission->reason = r ? strdup(text) : NULL;
	return r;
}

bool
posix_admission_is_late(const struct posix_admission *admission)
{
	return admission->change && change_is_late(admission->change);
}

void
posix_admission_drop_next(struct posix_admission *admission)
{
	if (admission->change)
		admission->change->has_next = false;
}

void
posix_admission_deinit(struct posix_admission *admission)
{
	struct posix_change *change = change_withdraw(take_ptr(admission->change));

	free(take_ptr(admission->reason));
	if (change)
		change->admission = NULL;
}

/* Once. Of an object that has gone there is nothing to tell. */
static void
change_tell_late(struct posix_change *change)
{
	const struct posix_admission *admission = change->admission;

	if (admission && !change->is_told)
		log_write(MESSAGE_SEGMENT_OPEN, &(struct log_about) { .segment = admission->segment }, "segment '%s': who may open %s by name is "
		    "changed as soon as the kernel can: somebody has been writing into it for longer than %u ms, and it is open to whom it was "
		    "open before; `segmentctl show %s` tells who has it", admission->segment, admission->path, (unsigned)(LATE_NS / NS_PER_MS),
		    admission->segment);
	change->is_told = true;
}

bool
backend_access_changes(void)
{
	struct posix_change *change;
	bool changes_soon = false;

	LIST_FOREACH(change, &changes.list, list_entry) {
		if (change_is_late(change))
			change_tell_late(change);
		else
			changes_soon = true;
	}
	return changes_soon;
}

void
backend_access_begin(struct workers *workers)
{
	changes.workers = workers;
}

void
backend_access_end(void)
{
	struct posix_change *change, *next;

	for (change = LIST_FIRST(&changes.list); change; change = next) {
		next = LIST_NEXT(change, list_entry);
		change_free(change);
	}
	changes.workers = NULL;
}
