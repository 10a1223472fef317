/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How an object comes to be, without a name, and how one is known again: by device and inode, and by when it was born, since the
 * number of an inode that is gone may be given to another. Nothing is opened before it was looked at.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "daemon/procfd.h"
#include "host/object.h"

#define LOOKS_MAX	64		/* less than 0.1 ms; who mounts and unmounts all the time spoils some of them, and now and then five in a row */

int
posix_fail(const char *step, const char *path, char *text, size_t text_size)
{
	int r = -errno;

	(void)snprintf(text, text_size, "%s %s failed: %s", step, path, strerror(-r));
	return r;
}

int
posix_make(const char *path, uint64_t map_bytes, int dir_fd, int *ret_fd, char *text, size_t text_size)
{
	cleanup_close int fd = openat(dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0)
		return posix_fail("making", path, text, text_size);
	if (ftruncate(fd, (off_t)map_bytes))
		r = posix_fail("sizing", path, text, text_size);
	/* What a umask took away is given back, and what a default list of the directory gave is taken. */
	if (!r)
		r = posix_access_set(fd, path, NULL, text, text_size);
	if (!r) {
		r = procfd_prepare();
		if (r)
			(void)snprintf(text, text_size, "opening /proc/self/fd failed: %s", strerror(-r));
	}
	if (!r)
		*ret_fd = take_fd(&fd);
	return r;
}

bool
posix_is_object(const char *object)
{
	return object[0] == '/' && object[1] && !strchr(object + 1, '/') && !streq(object, "/.") && !streq(object, "/..");
}

/*
 * While mounts or names change, of whomever, the kernel may not say so, a few times: and what is gone is taken out of the record.
 * -EAGAIN: there is nothing that it knows.
 */
static int
posix_open_known(const char *path, int flags)
{
	cleanup_close int dir_fd = open(POSIX_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = dir_fd < 0 ? -errno : -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < LOOKS_MAX; i++)
		r = object_open_known(dir_fd, path + sizeof(POSIX_DIR), flags | O_NOFOLLOW | O_CLOEXEC);
	return r;
}

int
posix_look(const char *path, struct stat *ret_status)
{
	cleanup_close int fd = posix_open_known(path, O_PATH);

	if (fd == -EAGAIN)
		return -ENOENT;
	return fd < 0 ? fd : object_stat(fd, "", ret_status);
}

int
posix_find_proved(const struct record_row *row, const char *path, int *ret_fd, char *text, size_t text_size)
{
	cleanup_close int fd = -1;
	struct stat status;
	uint64_t born_ns;

	errno = -posix_look(path, &status);
	if (errno)
		return errno == ENOENT ? BACKEND_E_GONE : posix_fail("looking at", path, text, text_size);
	if (!S_ISREG(status.st_mode) || status.st_dev != row->device || status.st_ino != row->inode)
		return BACKEND_E_OTHER;
	/* -EAGAIN: somebody has a lease on it. */
	fd = posix_open_known(path, O_RDWR | O_NONBLOCK | O_NOCTTY);
	errno = fd < 0 ? -fd : 0;
	if (fd < 0)
		return errno == ENOENT ? BACKEND_E_GONE : posix_fail("opening", path, text, text_size);
	/* With the time of its birth no later object of the same number is taken for it. */
	if (fstat(fd, &status) || record_born_ns(fd, "", &born_ns))
		return posix_fail("looking at", path, text, text_size);
	if (record_prove_file(row, &status, born_ns, geteuid()) != RECORD_PROVED)
		return BACKEND_E_OTHER;
	*ret_fd = take_fd(&fd);
	return 0;
}
