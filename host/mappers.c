/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A process's maps may be long, and grow while they are read: they are read in pieces, and the clock is asked at each. */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "host/mappers.h"
#include "host/process.h"

#define PIECE_BYTES	16384

/* What others on the machine do meanwhile is not held against the look. */
static uint64_t
thread_ns(void)
{
	struct timespec now;

	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) ? 0 : (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static void
mappers_close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* Whether a line of maps is of the file: "address perms offset major:minor inode path". */
static bool
line_matches(const char *line, dev_t device, ino_t inode)
{
	unsigned long long number;
	unsigned int_major, int_minor;

	return sscanf(line, "%*s %*s %*s %x:%x %llu", &int_major, &int_minor, &number) == 3 &&
	    number == (unsigned long long)inode && makedev(int_major, int_minor) == device;
}

/* Looks at whole lines; what begins a line at the end is left for the next piece. Returns its length, or -1: found. */
static ssize_t
look_at_lines(char *buf, size_t length, dev_t device, ino_t inode)
{
	char *line = buf, *end;

	buf[length] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		if (line_matches(line, device, inode))
			return -1;
		line = end + 1;
	}
	length -= (size_t)(line - buf);
	memmove(buf, line, length);
	return (ssize_t)length;
}

/* Whether the process maps it: 1, 0, or a negative errno: -ETIME, or what hides it. */
static int
process_maps(const char *pid, dev_t device, ino_t inode, uint64_t until_ns)
{
	char path[48], buf[PIECE_BYTES + 1];
	cleanup_close int fd = -1;
	ssize_t n, kept = 0;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + kept, PIECE_BYTES - (size_t)kept)) > 0) {
		kept = look_at_lines(buf, (size_t)(kept + n), device, inode);
		if (kept < 0)
			return 1;
		if (thread_ns() > until_ns)
			return -ETIME;
		/* No line is that long; a path that makes it so comes last in it. */
		if (kept == PIECE_BYTES)
			kept = 0;
	}
	return n < 0 ? -errno : 0;
}

int
mappers_find(dev_t device, ino_t inode, uint64_t limit_ns, struct mappers *ret_mappers)
{
	uint64_t until_ns = thread_ns() + limit_ns;
	__attribute__((cleanup(mappers_close_dir))) DIR *proc = opendir("/proc");
	struct mappers mappers = { .is_complete = true };
	const struct dirent *entry;

	if (!proc)
		return -errno;
	while (mappers.is_complete && (entry = readdir(proc))) {
		int r;

		if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid())
			continue;
		r = process_maps(entry->d_name, device, inode, until_ns);
		if (r == 1 && mappers.n++ < MAPPERS_SHOWN)
			mappers.pids[mappers.n - 1] = atoi(entry->d_name);
		/* One that ended meanwhile hides nothing. */
		if (r == -EACCES || r == -EPERM)
			mappers.n_hidden++;
		if (r == -ETIME || thread_ns() > until_ns)
			mappers.is_complete = false;
	}
	*ret_mappers = mappers;
	return 0;
}

const char *
mappers_describe(char *buf, size_t size, const struct mappers *mappers)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < mappers->n && i < MAPPERS_SHOWN && len < size; i++) {
		char command[32];

		process_command(mappers->pids[i], command, sizeof(command));
		len += (size_t)snprintf(buf + len, size - len, "%s%d (%s)",
		    !i ? "" : i + 1 == mappers->n ? " and " : ", ", (int)mappers->pids[i], command);
	}
	if (mappers->n > MAPPERS_SHOWN && len < size)
		len += (size_t)snprintf(buf + len, size - len, " and %u more", mappers->n - MAPPERS_SHOWN);
	if (len < size)
		len += (size_t)snprintf(buf + len, size - len, "%s", mappers->n > 1 ? " map it" :
		    mappers->n ? " maps it" : "no process is seen to map it");
	if (mappers->n_hidden && len < size)
		len += (size_t)snprintf(buf + len, size - len, " (what %u processes map is not shown to us)",
		    mappers->n_hidden);
	if (!mappers->is_complete && len < size)
		(void)snprintf(buf + len, size - len, " (not all were looked at)");
	return buf;
}
