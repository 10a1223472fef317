/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What was read is given back at once: there may be hundreds of thousands of names, and a close that frees the memory of all
 * would take the loop milliseconds.
 */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/orphans_scan.h"

#define NAMES_MAX_BYTES		(64 * MIB)
#define GIVE_BACK_BYTES		(256 * KIB)

static void
scan_end(struct orphans_scan *scan)
{
	LIST_REMOVE(scan, entry);
	close_fd(&scan->job.fd);
	close_fd(&scan->names_fd);
	free(scan);
}

/* Why there are no names. */
static int
scan_error(const struct workers_outcome *outcome, char *text, size_t text_size)
{
	int r = -ECANCELED;

	if (outcome->result && outcome->result->status) {
		(void)snprintf(text, text_size, "%s", outcome->result->text);
		return outcome->result->status < 0 ? outcome->result->status : -EPROTO;
	}
	if (outcome->error)
		r = outcome->error;
	if (outcome->was_stuck)
		(void)snprintf(text, text_size, "it did not come to an end within %u s: somebody keeps the directory's lock",
		    outcome->patience_seconds);
	else
		(void)snprintf(text, text_size, "no worker could do it: %s", strerror(-r));
	return r;
}

static void
scan_on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct orphans_scan *scan = BASE_CONTAINER_OF(job, struct orphans_scan, job);
	char text[JOB_TEXT_SIZE] = "";
	int r = 0;

	scan->is_out = false;
	if (!scan->done) {
		scan_end(scan);
		return;
	}
	if (!outcome->result || outcome->result->status) {
		r = scan_error(outcome, text, sizeof(text));
	} else if (*outcome->fd < 0) {
		r = -EMFILE;
		(void)snprintf(text, sizeof(text), "%s", strerror(EMFILE));
	} else {
		scan->names_fd = take_fd(outcome->fd);
		scan->is_cut = outcome->result->flags & JOB_NAMES_MORE;
	}
	scan->done(scan, r, text, scan->arg);
}

int
orphans_scan_new(struct orphans_scans *scans, struct workers *workers, int dir_fd, orphans_scan_fn done, void *arg,
    struct orphans_scan **ret_scan)
{
	/* One of its own: the directory may be given up before the worker is done. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct orphans_scan *scan;

	if (fd < 0)
		return -errno;
	scan = malloc(sizeof(*scan));
	if (!scan) {
		close_fd(&fd);
		return -ENOMEM;
	}
	scan->job = (struct workers_job) {
		.job = { .kind = JOB_NAMES, .limit_bytes = NAMES_MAX_BYTES },
		.fd = fd,
		.control_fd = -1,
		.third_fd = -1,
		.done = scan_on_done,
	};
	scan->done = done;
	scan->arg = arg;
	scan->is_out = true;
	scan->is_cut = false;
	scan->names_fd = -1;
	scan->error = 0;
	scan->at_bytes = scan->given_back_bytes = 0;
	scan->length = scan->at = 0;
	LIST_INSERT_HEAD(scans, scan, entry);
	workers_submit(workers, &scan->job, false);
	*ret_scan = scan;
	return 0;
}

struct orphans_scan *
orphans_scan_free(struct orphans_scan *scan)
{
	if (!scan)
		return NULL;
	scan->done = NULL;
	if (!scan->is_out || workers_cancel(&scan->job))
		scan_end(scan);
	return NULL;
}

void
orphans_scans_free(struct orphans_scans *scans)
{
	struct orphans_scan *scan;

	while ((scan = LIST_FIRST(scans)))
		scan_end(scan);
}

/* Reads on, behind what is left in buf. False: there is no more. */
static bool
scan_read(struct orphans_scan *scan)
{
	size_t left = scan->length - scan->at;
	ssize_t n;

	memmove(scan->buf, scan->buf + scan->at, left);
	scan->at = 0;
	scan->length = left;
	n = pread(scan->names_fd, scan->buf + left, sizeof(scan->buf) - left, (off_t)scan->at_bytes);
	if (n < 0)
		scan->error = -errno;
	if (n <= 0)
		return false;
	scan->length += (size_t)n;
	scan->at_bytes += (uint64_t)n;
	if (scan->at_bytes - scan->given_back_bytes >= GIVE_BACK_BYTES &&
	    fallocate(scan->names_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)scan->given_back_bytes, GIVE_BACK_BYTES) == 0)
		scan->given_back_bytes += GIVE_BACK_BYTES;
	return true;
}

const char *
orphans_scan_next(struct orphans_scan *scan)
{
	const char *name, *end;

	while (!(end = memchr(scan->buf + scan->at, '\0', scan->length - scan->at)))
		/* A name is much shorter than buf. */
		if (scan->length - scan->at == sizeof(scan->buf) || !scan_read(scan))
			return NULL;
	name = scan->buf + scan->at;
	scan->at = (size_t)(end - scan->buf) + 1;
	return name;
}
