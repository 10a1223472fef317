/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The bare scans: nothing is parsed that need not be, and nothing but mappings is looked at. */
#include "config.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/scan.h"

/* As the kernel has it since 6.11: Debian 12's headers are older. */
struct query {
	uint64_t size, flags, address;
	uint64_t start, end, mapping_flags, page_size, offset, inode;
	uint32_t device_major, device_minor, name_size, build_id_size;
	uint64_t name, build_id;
};
static_assert(sizeof(struct query) == 104, "query");

#define QUERY		_IOWR('f', 17, struct query)
#define QUERY_FLAGS	(0x10u | 0x20u)		/* this or the next, of files only */

/* Whether the process whose maps these are has it. */
typedef bool (*scan_fn)(int fd, const struct stat *object);

static unsigned
scan(scan_fn has, const struct stat *object)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	unsigned n = 0;

	if (!proc)
		bench_fail("/proc: %s", strerror(errno));
	while ((entry = readdir(proc))) {
		char path[300];
		int fd;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		(void)snprintf(path, sizeof(path), "%s/maps", entry->d_name);
		fd = openat(dirfd(proc), path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n += has(fd, object);
		(void)close(fd);
	}
	(void)closedir(proc);
	return n;
}

static bool
text_has(int fd, const struct stat *object)
{
	static char text[65536];
	char wanted[64];
	ssize_t n;

	/* The kernel ends a read at a line's end. */
	(void)snprintf(wanted, sizeof(wanted), " %02x:%02x %ju ", major(object->st_dev), minor(object->st_dev),
	    (uintmax_t)object->st_ino);
	while ((n = read(fd, text, sizeof(text))) > 0)
		if (memmem(text, (size_t)n, wanted, strlen(wanted)))
			return true;
	return false;
}

static bool
query_has(int fd, const struct stat *object)
{
	struct query query = { .size = sizeof(query), .flags = QUERY_FLAGS };

	for (; ioctl(fd, QUERY, &query) == 0; query.address = query.end) {
		if (query.inode == object->st_ino && makedev(query.device_major, query.device_minor) == object->st_dev)
			return true;
	}
	return false;
}

unsigned
scan_texts(const struct stat *object)
{
	return scan(text_has, object);
}

unsigned
scan_queries(const struct stat *object)
{
	return scan(query_has, object);
}

bool
scan_can_query(void)
{
	struct query query = { .size = sizeof(query), .flags = QUERY_FLAGS };
	cleanup_close int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && ioctl(fd, QUERY, &query) == 0;
}
