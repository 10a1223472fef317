/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Blocks of a range of a file, had before its pages are: a full disk is an error here, and nowhere else. */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/file.h"
#include "host/findings.h"

#define COPY_BYTES	(256 * KIB)

bool
file_is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static int
reserve_fail(int fd, int r, uint64_t offset, uint64_t length, struct job_result *result)
{
	char needed[32], path[PATH_MAX] = "", link[48];
	struct statvfs fs;
	uint64_t free_bytes = 0;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0 || fstatvfs(fd, &fs))
		(void)snprintf(path, sizeof(path), "a file");
	else
		free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	(void)findings_size(needed, sizeof(needed), length);
	if (r == -EDQUOT)
		(void)snprintf(result->text, sizeof(result->text), "uid %u is at its disk quota: %s at offset %llu of '%.300s' are "
		    "needed, and are not to be had. Remedy: raise the quota (`quota -u %u` shows it), or make room", (unsigned)geteuid(),
		    needed, (unsigned long long)offset, path, (unsigned)geteuid());
	else if (r == -ENOSPC)
		findings_disk(result->text, sizeof(result->text), path, length, free_bytes);
	else
		(void)snprintf(result->text, sizeof(result->text),
		    "blocks for %s at offset %llu of the file cannot be reserved: %s", needed, (unsigned long long)offset,
		    strerror(-r));
	return r;
}

/* What is there, once more: where it was a hole it has blocks then. What others store meanwhile is lost. */
static int
rewrite(int fd, uint64_t offset, uint64_t end)
{
	cleanup_free char *bytes = malloc(COPY_BYTES);
	struct stat st;

	if (!bytes)
		return -ENOMEM;
	if (fstat(fd, &st))
		return -errno;
	end = min_u64(end, (uint64_t)st.st_size);
	while (offset < end) {
		ssize_t n;

		if (cancel_asked())
			return -ECANCELED;
		n = pread(fd, bytes, min_u64(COPY_BYTES, end - offset), (off_t)offset);
		if (n > 0)
			n = pwrite(fd, bytes, (size_t)n, (off_t)offset);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		offset += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

/*
 * Others may store where the file has its blocks: to a growth's neighbour, and clients of an earlier daemon to all of it. So only
 * holes are written to, unless the file system knows nothing of them.
 */
static int
fill_holes(int fd, uint64_t offset, uint64_t end)
{
	struct stat st;
	off_t hole, data;
	int r = 0;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
		return 0;
	if (lseek(fd, 0, SEEK_HOLE) >= st.st_size)
		return rewrite(fd, offset, end);
	end = min_u64(end, (uint64_t)st.st_size);
	for (; r == 0 && offset < end; offset = (uint64_t)data) {
		hole = lseek(fd, (off_t)offset, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		data = lseek(fd, hole, SEEK_DATA);
		if (data < 0)
			data = (off_t)end;
		if ((uint64_t)hole < end)
			r = rewrite(fd, (uint64_t)hole, min_u64((uint64_t)data, end));
	}
	return r;
}

int
file_reserve(int fd, uint64_t offset_bytes, uint64_t length_bytes, struct job_result *result)
{
	int r;

	do
		r = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset_bytes, (off_t)length_bytes) ? -errno : 0;
	while (r == -EINTR);
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		r = fill_holes(fd, offset_bytes, offset_bytes + length_bytes);
	return r && r != -ECANCELED ? reserve_fail(fd, r, offset_bytes, length_bytes, result) : r;
}
