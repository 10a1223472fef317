/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a test does to a file of rows, with nothing of the daemon's own code. */
#include "config.h"

#include "tests/daemon/spoil.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static void
put_text(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(write(fd, "notes of somebody\n", 18), 18);
	(void)close(fd);
}

void
spoil_put(const char *path, enum spoil_other other)
{
	switch (other) {
	case SPOIL_LINK:
		ck_assert_int_eq(symlink("/etc/passwd", path), 0);
		break;
	case SPOIL_DIRECTORY:
		ck_assert_int_eq(mkdir(path, 0700), 0);
		break;
	case SPOIL_FIFO:
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		break;
	case SPOIL_TEXT:
	case SPOIL_WRITABLE:
		put_text(path);
		ck_assert_int_eq(chmod(path, other == SPOIL_TEXT ? 0600 : 0622), 0);
		break;
	default:
		break;
	}
}

void
spoil_write(const char *path, size_t at, const void *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert(fd >= 0 && pwrite(fd, bytes, length, (off_t)at) == (ssize_t)length);
	(void)close(fd);
}

void
spoil_read(const char *path, size_t at, void *bytes, size_t length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert(fd >= 0 && pread(fd, bytes, length, (off_t)at) == (ssize_t)length);
	(void)close(fd);
}

unsigned
spoil_end(const char *dir, const char *file)
{
	size_t length = strlen(file);
	DIR *stream = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(stream);
	while ((entry = readdir(stream))) {
		const char *name = entry->d_name;

		if (name[0] == '.')
			continue;
		n += strncmp(name, file, length) == 0 && name[length] == '.';
		ck_assert(unlinkat(dirfd(stream), name, 0) == 0 || unlinkat(dirfd(stream), name, AT_REMOVEDIR) == 0);
	}
	(void)closedir(stream);
	ck_assert_int_eq(rmdir(dir), 0);
	return n;
}
