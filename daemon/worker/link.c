/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The directory is sticky: between the look and the removal nobody puts another in its place but root. */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/procfd.h"
#include "daemon/worker/link.h"
#include "host/object.h"
#include "host/record.h"

bool
link_is_name(const struct job *job)
{
	const char *name = job->name;

	return memchr(name, '\0', sizeof(job->name)) && *name && !strchr(name, '/') && !streq(name, ".") && !streq(name, "..");
}

static int
link_fail(struct job_result *result, int r)
{
	(void)snprintf(result->text, sizeof(result->text), "%s", strerror(-r));
	return r;
}

/*
 * 1: it is the one; 0: there is none, or it is another; or a negative errno. Nothing is opened: to who asks meanwhile whether
 * anybody has the object, we would be somebody.
 */
static int
link_look(int dir_fd, const struct job *job)
{
	uint64_t born_ns = 0;
	struct stat status;
	int r = object_stat(dir_fd, job->name, &status);

	if (r == 0)
		r = record_born_ns(dir_fd, job->name, &born_ns);
	if (r)
		return r == -ENOENT ? 0 : r;
	return status.st_dev == job->file.device && status.st_ino == job->file.inode && born_ns == (uint64_t)job->file.changed_ns;
}

int
link_make(int fd, int dir_fd, const struct job *job, struct job_result *result, int *ret_fd)
{
	cleanup_close int named_fd = -1;
	struct stat made, named;
	int r = procfd_link(fd, dir_fd, job->name);

	if (r) {
		(void)snprintf(result->text, sizeof(result->text), "it cannot be given its name %s: %s", job->name, strerror(-r));
		return r;
	}
	/* It is the same, unless root was faster. */
	named_fd = openat(dir_fd, job->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (named_fd >= 0 && fstat(fd, &made) == 0 && fstat(named_fd, &named) == 0 && made.st_dev == named.st_dev &&
	    made.st_ino == named.st_ino)
		*ret_fd = take_fd(&named_fd);
	return 0;
}

int
link_remove(int dir_fd, const struct job *job, struct job_result *result)
{
	int r = link_look(dir_fd, job);

	if (r == 1)
		return unlinkat(dir_fd, job->name, 0) ? link_fail(result, -errno) : 0;
	if (r < 0)
		return link_fail(result, r);
	result->flags |= JOB_NAME_OTHER;
	return 0;
}

int
link_admit(int fd, int list_fd, const struct job *job, struct job_result *result)
{
	unsigned char list[LINK_LIST_SIZE];
	int r;

	if (job->length_bytes > sizeof(list) || job->limit_bytes > 0777)
		return link_fail(result, -EINVAL);
	if (pread(list_fd, list, job->length_bytes, 0) != (ssize_t)job->length_bytes)
		return link_fail(result, -EIO);
	r = object_set_access(fd, list, job->length_bytes, (mode_t)job->limit_bytes);
	return r ? link_fail(result, r) : 0;
}
