/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the kernel tells comes in no order, and may have changed by the time it is read: that is the reader's matter. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/names.h"

static void
dir_close(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}
#define cleanup_dir	__attribute__((cleanup(dir_close)))

static int
fail(struct job_result *result, int r, const char *what)
{
	(void)snprintf(result->text, sizeof(result->text), "%s: %s", what, strerror(-r));
	return r;
}

/* The names as they come, buffered. 0 or a negative errno. */
static int
copy_names(DIR *dir, FILE *out, const struct job *job, struct job_result *result)
{
	const struct dirent *entry;
	uint64_t bytes = 0;

	while ((errno = 0, entry = readdir(dir))) {
		size_t size = strlen(entry->d_name) + 1;

		if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
			continue;
		if (size > job->limit_bytes - bytes) {
			result->flags |= JOB_NAMES_MORE;
			break;
		}
		bytes += size;
		if (fwrite(entry->d_name, size, 1, out) != 1)
			return -EIO;
	}
	if (!entry && errno)
		return -errno;
	return fflush(out) ? -errno : 0;
}

int
names_list(int dir_fd, const struct job *job, struct job_result *result, int *ret_fd)
{
	cleanup_close int own_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *dir = own_fd < 0 ? NULL : fdopendir(own_fd);
	cleanup_fclose FILE *out = NULL;
	cleanup_close int fd = -1;
	int r;

	if (!dir)
		return fail(result, -errno, "the directory cannot be opened");
	(void)take_fd(&own_fd);
	fd = memfd_create("segmentd:names", MFD_CLOEXEC);
	/* 0777 at birth: nobody else opens it through /proc. */
	if (fd < 0 || fchmod(fd, 0600) || !(out = fdopen(dup(fd), "w")))
		return fail(result, -errno, "no memory for names could be had");
	r = copy_names(dir, out, job, result);
	if (r)
		return fail(result, r, "the directory cannot be read");
	*ret_fd = take_fd(&fd);
	return 0;
}
