/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Files of the configuration, whole and bounded. Only regular files are read: a FIFO or a terminal could block who reads it
 * for ever, and a device need not end.
 */
#include "config.h"

#include "conf/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "conf/load.h"

static const char *
kind_of(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISSOCK(mode))
		return "a socket";
	return "a device";
}

/* Refuses what is no file of ours; true: why says what it is. */
static bool
refuse_kind(const struct stat *st, char *why)
{
	bool is_null = S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);

	if (!S_ISREG(st->st_mode) && !is_null) {
		(void)snprintf(why, FILE_WHY_SIZE, "is %s; expected a regular file",
		    kind_of(st->st_mode));
		return true;
	}
	if (st->st_size > (off_t)CONF_FILE_MAX_BYTES) {
		(void)snprintf(why, FILE_WHY_SIZE,
		    "has %lld bytes; a configuration file has at most %u", (long long)st->st_size,
		    CONF_FILE_MAX_BYTES);
		return true;
	}
	return false;
}

/* Reads to the end; a file that grows meanwhile is held to the bound as well. */
static int
read_all(int fd, char *bytes, size_t room, char *why, size_t *ret_length)
{
	size_t length = 0;

	for (;;) {
		ssize_t n = read(fd, bytes + length, room - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			(void)snprintf(why, FILE_WHY_SIZE, "cannot be read: %s", strerror(errno));
			return FILE_E_REFUSED;
		}
		length += (size_t)n;
		if (n == 0)
			break;
		if (length == room) {
			(void)snprintf(why, FILE_WHY_SIZE, "grew while it was read; try again");
			return FILE_E_REFUSED;
		}
	}
	*ret_length = length;
	return 0;
}

int
file_read(const char *path, struct origin *origin, char *why, char **ret_bytes, size_t *ret_length)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	cleanup_free char *bytes = NULL;
	struct stat st;
	size_t room;
	int r;

	if (fd < 0 && errno == ENOMEM)
		return -ENOMEM;
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = errno == ENOENT ? FILE_E_GONE : FILE_E_REFUSED;
		(void)snprintf(why, FILE_WHY_SIZE, "cannot be read: %s", strerror(errno));
		return r;
	}
	origin_note(origin, path, &st);
	if (refuse_kind(&st, why))
		return FILE_E_REFUSED;
	room = (size_t)st.st_size + 1;
	bytes = malloc(room);
	if (!bytes)
		return -ENOMEM;
	r = read_all(fd, bytes, room, why, ret_length);
	if (r == 0)
		*ret_bytes = take_ptr(bytes);
	return r;
}

static int
is_conf(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && streq(entry->d_name + len - 5, ".conf");
}

/* scandir's order by bytes, whatever the locale is: the same on every host. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The entries' paths in a list of their own; frees the entries. */
static int
paths_of(const char *dir, struct dirent **entries, size_t n, char ***ret_paths)
{
	char **paths = calloc(n + 1, sizeof(*paths));
	bool done = paths != NULL;

	for (size_t i = 0; i < n; i++) {
		if (done && asprintf(&paths[i], "%s/%s", dir, entries[i]->d_name) < 0) {
			paths[i] = NULL;
			done = false;
		}
		free(entries[i]);
	}
	free(entries);
	if (done) {
		*ret_paths = paths;
		return 0;
	}
	for (size_t i = 0; paths && i < n; i++)
		free(paths[i]);
	free(paths);
	return -ENOMEM;
}

int
file_list(const char *dir, struct origin *origin, char *why, char ***ret_paths, size_t *ret_n)
{
	struct dirent **entries;
	int n, r;

	/* Before it is read: what comes or goes meanwhile has changed it since. */
	origin_note_path(origin, dir);
	n = scandir(dir, &entries, is_conf, by_name);
	if (n < 0 && errno == ENOMEM)
		return -ENOMEM;
	if (n < 0 && errno == ENOENT) {
		*ret_paths = NULL;
		*ret_n = 0;
		return 0;
	}
	if (n < 0) {
		(void)snprintf(why, FILE_WHY_SIZE, "cannot be read: %s", strerror(errno));
		return FILE_E_REFUSED;
	}
	r = paths_of(dir, entries, (size_t)n, ret_paths);
	if (r == 0)
		*ret_n = (size_t)n;
	return r;
}

char *
file_beside(const char *beside, const char *path)
{
	const char *slash = strrchr(beside, '/');
	char *joined;

	if (path[0] == '/' || !slash)
		return strdup(path);
	if (asprintf(&joined, "%.*s/%s", (int)(slash - beside), beside, path) < 0)
		return NULL;
	return joined;
}
