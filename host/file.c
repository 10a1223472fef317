/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Small text files, read whole or by lines. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "host/file.h"

int
file_read_text(const char *root, const char *path, char *buf, size_t size)
{
	cleanup_free char *full = NULL;
	cleanup_close int fd = -1;
	size_t got = 0;
	ssize_t n;

	if (asprintf(&full, "%s%s", root, path) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	/* Some files of /proc come a line a read. */
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	while (got < size - 1 && (n = read(fd, buf + got, size - 1 - got)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		got += (size_t)n;
	}
	buf[got] = '\0';
	return 0;
}

int
file_read_process(const char *root, pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];

	if (pid)
		(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	else
		(void)snprintf(path, sizeof(path), "/proc/self/%s", name);
	return file_read_text(root, path, buf, size);
}

int
file_open_text(const char *root, const char *path, FILE **ret_file)
{
	cleanup_free char *full = NULL;
	FILE *f;

	if (asprintf(&full, "%s%s", root, path) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	f = fopen(full, "re");
	if (!f)
		return -errno;
	*ret_file = f;
	return 0;
}

int
file_read_number(const char *root, const char *path, uint64_t *ret_value)
{
	char text[64], *end;
	uint64_t value;
	int r = file_read_text(root, path, text, sizeof(text));

	if (r < 0)
		return r;
	if (strncmp(text, "max", 3) == 0) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text)
		return -EPROTO;
	*ret_value = value;
	return 0;
}

int
file_read_choice(const char *root, const char *path, char *ret_word, size_t size)
{
	char text[256], *from, *to;
	int r = file_read_text(root, path, text, sizeof(text));

	if (r < 0)
		return r;
	from = strchr(text, '[');
	to = from ? strchr(from, ']') : NULL;
	if (!to)
		return -EPROTO;
	*to = '\0';
	(void)snprintf(ret_word, size, "%s", from + 1);
	return 0;
}

bool
file_find_number(const char *text, const char *key, uint64_t *ret_value)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0 && (p[len] == ' ' || p[len] == '\t')) {
			*ret_value = strtoull(p + len, NULL, 10);
			return true;
		}
	}
	return false;
}

bool
file_exists(const char *root, const char *path)
{
	cleanup_free char *full = NULL;

	if (asprintf(&full, "%s%s", root, path) < 0) {
		full = NULL;
		return false;
	}
	return access(full, F_OK) == 0;
}
