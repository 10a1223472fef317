/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a descriptor is of is asked of the kernel alone (AT_STATX_DONT_SYNC, and only for what it knows anyway): a file may be of a
 * file system whose server is the process that is looked at, which would let us wait for ever.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/audit/descriptors.h"
#include "daemon/audit/objects.h"

struct table {
	int process_fd;
	int dir_fd;
	const char *prefix;
};

/* How it is open, AUDIT_FD_*; 0: not any more, or it cannot be told. */
static uint32_t
read_access(struct objects *objects, const struct table *table, const char *number)
{
	cleanup_close int fd = -1;
	char path[64], text[256], *line;
	unsigned long flags;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%.30sfdinfo/%.20s", table->prefix, number);
	fd = openat(table->process_fd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0) {
		objects_note(objects, errno);
		return 0;
	}
	text[n] = '\0';
	line = strstr(text, "flags:");
	if (!line)
		return 0;
	flags = strtoul(line + strlen("flags:"), NULL, 8);
	if (flags & O_PATH)
		return AUDIT_FD_PATH;
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return AUDIT_FD_READ;
	case O_WRONLY:
		return AUDIT_FD_WRITE;
	default:
		return AUDIT_FD_READ | AUDIT_FD_WRITE;
	}
}

static bool
is_slots(struct objects *objects, const struct objects_slot *slot, uint64_t device, int dir_fd, const char *number)
{
	char name[64];
	ssize_t n;

	if (!objects_is_internal(objects, device))
		return !slot->is_sysv && slot->device == device;
	n = readlinkat(dir_fd, number, name, sizeof(name) - 1);
	if (n < 0)
		objects_note(objects, errno);
	name[n > 0 ? n : 0] = '\0';
	return (slot->is_sysv || slot->device == device) && objects_name_fits(slot, name);
}

static void
look_at(struct objects *objects, const struct table *table, const char *number)
{
	struct objects_slot *slot;
	struct statx status;
	uint64_t device;

	if (statx(table->dir_fd, number, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status)) {
		objects_note(objects, errno);
		return;
	}
	device = makedev(status.stx_dev_major, status.stx_dev_minor);
	for (slot = objects_find(objects, status.stx_ino); slot; slot = objects_next(objects, slot)) {
		struct objects_tally *tally;
		uint32_t how;

		if (!is_slots(objects, slot, device, table->dir_fd, number))
			continue;
		how = read_access(objects, table, number);
		if (!how)
			continue;	/* closed since */
		tally = objects_touch(objects, slot);
		tally->how |= how;
		tally->n_fds++;
	}
}

/* The names of a piece of the directory, as the kernel gives it. 0 or -ETIME. */
static int
look_at_piece(struct objects *objects, const struct table *table, const char *piece, size_t size, uint64_t until_ns)
{
	unsigned n = 0;

	for (size_t at = 0; at < size;) {
		const struct dirent64 *entry = (const struct dirent64 *)(const void *)(piece + at);

		if (isdigit((unsigned char)entry->d_name[0]))
			look_at(objects, table, entry->d_name);
		if (++n % 64 == 0 && clock_monotonic_ns() > until_ns)
			return -ETIME;
		at += entry->d_reclen;
	}
	return 0;
}

/* Not by readdir(3): of most processes what it does beside the one call takes longer than that. */
int
descriptors_look(struct objects *objects, int process_fd, const char *prefix, uint64_t until_ns)
{
	_Alignas(struct dirent64) char piece[8192];
	struct table table = { .process_fd = process_fd, .prefix = prefix };
	cleanup_close int fd = -1;
	ssize_t size;
	char path[48];
	int r = 0;

	(void)snprintf(path, sizeof(path), "%.30sfd", prefix);
	fd = openat(process_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	table.dir_fd = fd;
	while (r == 0 && (size = getdents64(fd, piece, sizeof(piece))) != 0)
		r = size < 0 ? -errno : look_at_piece(objects, &table, piece, (size_t)size, until_ns);
	return r;
}
