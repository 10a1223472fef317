/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The kernel is asked for the next mapping of a file (PROCMAP_QUERY), which is quicker than its text by more the more other
 * mappings there are. COMPAT(linux 6.11): before that /proc/PID/maps is read, in pieces, since a process may have made it as long
 * as it likes; the paths in it are the process's choice, too, but come last in a line and without newlines.
 */
#include "config.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "daemon/audit/maps.h"

/* As the kernel has it: its own header is newer than some that this is built with. */
struct query {
	uint64_t size;
	uint64_t flags;
	uint64_t address;
	uint64_t start;
	uint64_t end;
	uint64_t mapping_flags;
	uint64_t page_size;
	uint64_t offset;
	uint64_t inode;
	uint32_t device_major;
	uint32_t device_minor;
	uint32_t name_size;
	uint32_t build_id_size;
	uint64_t name;
	uint64_t build_id;
};
static_assert(sizeof(struct query) == 104, "query");

#define QUERY			_IOWR('f', 17, struct query)
#define QUERY_WRITABLE		0x02u
#define QUERY_SHARED		0x08u
#define QUERY_OR_NEXT		0x10u
#define QUERY_FILE_BACKED	0x20u

int
maps_open(struct maps *maps, int process_fd, const char *path, bool may_query)
{
	maps->fd = openat(process_fd, path, O_RDONLY | O_CLOEXEC);
	maps->is_text = !may_query;
	maps->next = 0;
	maps->was_any = false;
	maps->at = maps->filled = 0;
	maps->in_long_line = false;
	maps->name[0] = '\0';
	return maps->fd < 0 ? -errno : 0;
}

void
maps_close(struct maps *maps)
{
	close_fd(&maps->fd);
}

/* By asking. */

static int
query_next(struct maps *maps, struct maps_mapping *ret_mapping)
{
	struct query query = { .size = sizeof(query), .flags = QUERY_OR_NEXT | QUERY_FILE_BACKED, .address = maps->next };

	if (ioctl(maps->fd, QUERY, &query) < 0)
		return errno == ENOENT ? 0 : -errno;
	/* It comes forward at each step, or it would never end. */
	if (query.end <= maps->next)
		return 0;
	maps->next = query.end;
	*ret_mapping = (struct maps_mapping) {
		.start = query.start,
		.end = query.end,
		.device = makedev(query.device_major, query.device_minor),
		.inode = query.inode,
		.is_writable = (query.mapping_flags & QUERY_WRITABLE) && (query.mapping_flags & QUERY_SHARED),
	};
	return 1;
}

/* A name that does not fit is an error, not a beginning: so there is room for any. */
static void
query_name(struct maps *maps, const struct maps_mapping *mapping, char *buf, size_t size)
{
	char *name = maps->buf;
	struct query query = {
		.size = sizeof(query),
		.address = mapping->start,
		.name = (uint64_t)(uintptr_t)name,
		.name_size = MAPS_PIECE / 2,
	};

	if (ioctl(maps->fd, QUERY, &query) < 0 || query.inode != mapping->inode)
		name[0] = '\0';
	name[MAPS_PIECE] = '\0';
	(void)snprintf(buf, size, "%.*s", (int)size - 1, name);
}

/* By reading. */

/* A number and the character behind it: moves *p beyond both. */
static bool
take_number(char **p, int base, char behind, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(*p, &end, base);
	if (end == *p || *end != behind || errno)
		return false;
	*p = end + 1;
	return true;
}

/* "START-END PERMISSIONS OFFSET MAJOR:MINOR INODE   NAME", the name perhaps missing. */
static bool
parse_line(char *line, struct maps_mapping *ret_mapping, char *name, size_t name_size)
{
	struct maps_mapping mapping;
	uint64_t offset, device_major, device_minor;
	char *p = line, *permissions;

	if (!take_number(&p, 16, '-', &mapping.start) || !take_number(&p, 16, ' ', &mapping.end))
		return false;
	permissions = p;
	if (strlen(p) < 5 || p[4] != ' ')
		return false;
	p += 5;
	if (!take_number(&p, 16, ' ', &offset) || !take_number(&p, 16, ':', &device_major) ||
	    !take_number(&p, 16, ' ', &device_minor))
		return false;
	mapping.inode = strtoull(p, &p, 10);
	p += strspn(p, " ");
	mapping.device = makedev((unsigned)device_major, (unsigned)device_minor);
	mapping.is_writable = permissions[1] == 'w' && permissions[3] == 's';
	(void)snprintf(name, name_size, "%.*s", (int)name_size - 1, p);
	*ret_mapping = mapping;
	return true;
}

/*
 * The next whole line, or as much of a longer one as a piece holds, which ends in its name; NULL and *ret_error: the end, or an
 * error.
 */
static char *
next_line(struct maps *maps, int *ret_error)
{
	for (;;) {
		char *line = maps->buf + maps->at, *end;
		ssize_t n;

		maps->buf[maps->filled] = '\0';
		end = memchr(line, '\n', maps->filled - maps->at);
		if (!end && maps->at == 0 && maps->filled == MAPS_PIECE)
			end = maps->buf + MAPS_PIECE;
		if (end) {
			bool is_rest = maps->in_long_line;

			maps->in_long_line = end == maps->buf + MAPS_PIECE;
			maps->at = maps->in_long_line ? MAPS_PIECE : (size_t)(end - maps->buf) + 1;
			*end = '\0';
			if (is_rest)
				continue;
			return line;
		}
		memmove(maps->buf, line, maps->filled - maps->at);
		maps->filled -= maps->at;
		maps->at = 0;
		n = read(maps->fd, maps->buf + maps->filled, MAPS_PIECE - maps->filled);
		if (n <= 0) {
			*ret_error = n < 0 ? -errno : 0;
			return NULL;
		}
		maps->filled += (size_t)n;
	}
}

static int
text_next(struct maps *maps, struct maps_mapping *ret_mapping)
{
	char *line;
	int r = 0;

	while ((line = next_line(maps, &r))) {
		maps->was_any = true;
		if (parse_line(line, ret_mapping, maps->name, sizeof(maps->name)) && ret_mapping->inode)
			return 1;
	}
	/* What runs maps something; what does not has no file at all, and an empty text. */
	return r < 0 ? r : maps->was_any ? 0 : -ESRCH;
}

int
maps_next(struct maps *maps, struct maps_mapping *ret_mapping)
{
	int r;

	if (maps->is_text)
		return text_next(maps, ret_mapping);
	r = query_next(maps, ret_mapping);
	if (r != -ENOTTY && r != -EINVAL)
		return r;
	maps->is_text = true;
	return text_next(maps, ret_mapping);
}

void
maps_name(struct maps *maps, const struct maps_mapping *mapping, char *buf, size_t size)
{
	if (maps->is_text)
		(void)snprintf(buf, size, "%.*s", (int)size - 1, maps->name);
	else
		query_name(maps, mapping, buf, size);
}
