/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A file is copied in pieces, each a job of its own, maybe of another worker: so each says which file it was, and the next
 * ones hold theirs against it. What was changed, replaced or cut off meanwhile is no contents for a segment.
 *
 * The path is an administrator's, what it leads to may be anybody's. Opening alone can do things (a device acts, a fifo waits
 * for a writer): so it is looked at first, without opening it, and only a regular file is opened, by what was looked at.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/procfd.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/contents.h"
#include "daemon/worker/object.h"
#include "daemon/worker/verify.h"
#include "host/findings.h"

#define STEP_BYTES	(16 * MIB)	/* between two questions for memory */
#define SLACK_BYTES	(8 * MIB)
#define PATH_BYTES	4096

struct contents {
	const struct job *job;
	struct job_result *result;
	char path[PATH_BYTES];
	int fd;				/* the file */
	struct object_map map;		/* the job's range of data */
};

static void
contents_deinit(struct contents *contents)
{
	close_fd(&contents->fd);
	object_unmap(&contents->map);
}
#define cleanup_contents	__attribute__((cleanup(contents_deinit)))

/* A sentence that begins with the path, which may be too long for it. */
static int BASE_PRINTF(3, 4)
contents_fail(struct contents *contents, int r, const char *format, ...)
{
	struct job_result *result = contents->result;
	int n = snprintf(result->text, sizeof(result->text), "init: '%.300s' ", contents->path);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(result->text + n, sizeof(result->text) - (size_t)n, format, args);
	va_end(args);
	return r;
}

static int
contents_read_path(struct contents *contents, int path_fd)
{
	ssize_t n;

	do
		n = pread(path_fd, contents->path, sizeof(contents->path) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return 0;
	(void)snprintf(contents->result->text, sizeof(contents->result->text), "not a job: a path is expected");
	return n < 0 ? -errno : -EPROTO;
}

static int
contents_open(struct contents *contents)
{
	cleanup_close int look_fd = open(contents->path, O_PATH | O_CLOEXEC);
	struct stat st;
	int r;

	if (look_fd < 0 || fstat(look_fd, &st))
		return contents_fail(contents, -errno, "cannot be reached by the daemon's uid %u: %s; see to it that it is there, "
		    "or remove init, and retry", (unsigned)geteuid(), strerror(errno));
	if (!S_ISREG(st.st_mode))
		return contents_fail(contents, -EINVAL, "is %s; a regular file is expected: name one, and retry",
		    findings_kind(st.st_mode));
	r = procfd_reopen(look_fd, O_RDONLY | O_NONBLOCK | O_NOCTTY, &contents->fd);
	if (r)
		return contents_fail(contents, r, "cannot be read by the daemon's uid %u: %s; let it read the file, or remove "
		    "init, and retry", (unsigned)geteuid(), strerror(-r));
	return 0;
}

/* What the file is now: it must be what it was when the first piece of it was copied. */
static int
contents_identify(struct contents *contents, const struct job_file *expected, struct job_file *ret_file)
{
	struct stat st;

	if (fstat(contents->fd, &st))
		return contents_fail(contents, -errno, "cannot be looked at: %s", strerror(errno));
	*ret_file = (struct job_file) {
		.device = st.st_dev, .inode = st.st_ino, .size_bytes = (uint64_t)st.st_size,
		.changed_ns = (int64_t)st.st_mtim.tv_sec * (int64_t)NS_PER_SEC + st.st_mtim.tv_nsec,
	};
	if (!expected->inode)
		return 0;
	if (ret_file->device != expected->device || ret_file->inode != expected->inode)
		return contents_fail(contents, -ESTALE, "was replaced by another file while it was copied; retry");
	if (ret_file->size_bytes != expected->size_bytes)
		return contents_fail(contents, -ESTALE, "had %" PRIu64 " bytes, and has %" PRIu64 ", while it was copied; put a "
		    "whole file in its place by renaming it, and retry", expected->size_bytes, ret_file->size_bytes);
	if (ret_file->changed_ns != expected->changed_ns)
		return contents_fail(contents, -ESTALE, "was written to while it was copied; put a whole file in its place by "
		    "renaming it, and retry");
	return 0;
}

static int
contents_map(struct contents *contents, int data_fd, size_t length)
{
	const struct job *job = contents->job;
	int r = object_map(data_fd, &job->object, job->offset_bytes, length, (size_t)sysconf(_SC_PAGESIZE), &contents->map);

	if (r)
		return contents_fail(contents, r, "has no place to go: mapping the segment failed: %s", strerror(-r));
	return 0;
}

/* Whether memory is there for [at, at + length) of the map, where it is not had already. */
static int
contents_check_memory(struct contents *contents, struct memory *memory, size_t at, size_t length)
{
	const struct job *job = contents->job;
	struct memory_headroom headroom;
	uint64_t resident;
	int r = verify_resident(contents->map.start + at, length, &resident);

	if (r == 0 && resident >= length)
		return 0;
	r = memory_headroom_for(memory, job->reserve_bytes, 2 * length + SLACK_BYTES, &headroom);
	if (r)
		return contents_fail(contents, r, "is not copied: it cannot be told what memory is available: %s", strerror(-r));
	if (headroom.bytes >= 2 * length + SLACK_BYTES)
		return 0;
	findings_memory(contents->result->text, sizeof(contents->result->text), length, &headroom);
	return JOB_E_MEMORY;
}

static int
contents_copy_step(struct contents *contents, size_t at, size_t length)
{
	while (length) {
		ssize_t n = pread(contents->fd, contents->map.start + at, length, (off_t)(contents->job->offset_bytes + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return contents_fail(contents, -errno, "cannot be read at offset %" PRIu64 ": %s",
			    contents->job->offset_bytes + at, strerror(errno));
		if (n == 0)
			return contents_fail(contents, -ESTALE, "became shorter while it was copied; put a whole file in its place "
			    "by renaming it, and retry");
		at += (size_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int
contents_copy_range(struct contents *contents, struct memory *memory)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < contents->map.length; at += STEP_BYTES) {
		size_t length = min_u64(STEP_BYTES, contents->map.length - at);

		r = cancel_asked() ? -ECANCELED : contents_check_memory(contents, memory, at, length);
		if (r == 0)
			r = contents_copy_step(contents, at, length);
	}
	return r;
}

int
contents_copy(int data_fd, int path_fd, const struct job *job, struct memory *memory, struct job_result *result)
{
	cleanup_contents struct contents contents = { .job = job, .result = result, .fd = -1 };
	struct job_file file, after;
	int r;

	r = contents_read_path(&contents, path_fd);
	if (r == 0)
		r = contents_open(&contents);
	if (r == 0)
		r = contents_identify(&contents, &job->file, &file);
	if (r)
		return r;
	if (file.size_bytes > job->limit_bytes)
		return contents_fail(&contents, -EFBIG, "has %" PRIu64 " bytes, and size is %" PRIu64 "; raise size, or name a "
		    "smaller file, and retry", file.size_bytes, job->limit_bytes);
	result->file = file;
	if (job->offset_bytes >= file.size_bytes)
		return 0;
	r = contents_map(&contents, data_fd, min_u64(job->length_bytes, file.size_bytes - job->offset_bytes));
	if (r == 0)
		r = contents_copy_range(&contents, memory);
	if (r == 0)
		r = contents_identify(&contents, &file, &after);
	return r;
}
