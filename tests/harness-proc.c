/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness: what /proc says of processes, and who holds an object. */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "tests/harness.h"

#define AWAIT_CHILD_MS	500

/* But for those of libraries: the C library loads some for the names of users, where the configuration is read in the daemon itself. */
static size_t
count_maps(pid_t pid)
{
	char path[64], *line = NULL;
	size_t n = 0, size = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0)
		n += !strstr(line, ".so");
	free(line);
	return n;
}

static void
count_fds(pid_t pid, struct harness_usage *usage)
{
	char path[64];
	DIR *dir;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	harness_assert(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		char target[256];
		ssize_t n;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		usage->fds++;
		usage->memfds += strncmp(target, "/memfd:", 7) == 0;
		usage->sockets += strncmp(target, "socket:", 7) == 0;
	}
	(void)closedir(dir);
}

int
harness_make_private(const char *path)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	return mount(NULL, path, NULL, MS_REC | MS_PRIVATE, NULL);
}

size_t
harness_children(pid_t pid, pid_t *pids, size_t max)
{
	char path[64];
	cleanup_fclose FILE *f = NULL;
	size_t n = 0;
	int child;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "re");
	while (f && n < max && fscanf(f, "%d", &child) == 1)
		pids[n++] = child;
	return n;
}

void
harness_usage_read(pid_t pid, struct harness_usage *ret_usage)
{
	pid_t children[256];

	*ret_usage = (struct harness_usage){ 0 };
	count_fds(pid, ret_usage);
	ret_usage->maps = count_maps(pid);
	ret_usage->children = harness_children(pid, children, BASE_ARRAY_SIZE(children));
}

/* Until one of them ends, as a worker does that nobody needs any more; or for the time. */
static void
await_child(pid_t pid, int timeout_ms)
{
	pid_t children[256];
	struct pollfd fds[256];
	size_t n = harness_children(pid, children, BASE_ARRAY_SIZE(children)), n_fds = 0;

	for (size_t i = 0; i < n; i++) {
		int fd = (int)syscall(SYS_pidfd_open, children[i], 0);

		if (fd >= 0)
			fds[n_fds++] = (struct pollfd) { .fd = fd, .events = POLLIN };
	}
	/* Of those that ended already one is gone by now, or is reaped soon. */
	if (n_fds && n_fds == n)
		(void)harness_poll(fds, n_fds, timeout_ms);
	for (size_t i = 0; i < n_fds; i++)
		(void)close(fds[i].fd);
}

void
harness_usage_await(struct harness_conn *conn, pid_t pid, const struct harness_usage *before)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment rows[256];
	struct harness_usage now;

	do {
		(void)harness_list(conn, rows, BASE_ARRAY_SIZE(rows));
		harness_usage_read(pid, &now);
		/* Mappings of the daemon's own heap come and go: an allocator may keep a few. */
		if (now.fds <= before->fds && now.memfds <= before->memfds && now.sockets <= before->sockets &&
		    now.children <= before->children && now.maps <= before->maps + (harness_has_sanitizers() ? 64 : 4))
			return;
		if (now.children > before->children)
			await_child(pid, AWAIT_CHILD_MS);
	} while (harness_clock_ns() < deadline);
	harness_fail("the daemon leaks: fds %zu, were %zu; memfds %zu, were %zu; sockets %zu, were %zu; maps %zu, were %zu; "
	    "children %zu, were %zu", now.fds, before->fds, now.memfds, before->memfds, now.sockets, before->sockets,
	    now.maps, before->maps, now.children, before->children);
}

uint64_t
harness_status_figure(pid_t pid, const char *key)
{
	char path[64], line[256];
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	harness_assert(f, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0)
			return strtoull(line + strlen(key), NULL, 10);
	}
	harness_fail("%s has no %s", path, key);
}

/* One descriptor or mapping of the object that is scanned for. */
struct holding {
	pid_t pid;
	int fd;				/* -1: a mapping */
	bool writer;
	uint64_t label;			/* file position, or offset of the mapping */
};

struct holdings {
	struct holding *rows;
	size_t n;
	size_t size;
};

/* An object that is scanned for, and what of it was found. */
struct found {
	dev_t device;
	ino_t inode;
	struct holdings fds;
	struct holdings maps;
};

struct search {
	struct found *found;
	size_t n;
};

static struct found *
find_object(const struct search *search, dev_t device, ino_t inode)
{
	for (size_t i = 0; i < search->n; i++) {
		if (search->found[i].inode == inode && search->found[i].device == device)
			return &search->found[i];
	}
	return NULL;
}

static void
add_holding(struct holdings *all, const struct holding *row)
{
	if (all->n == all->size) {
		all->size = all->size ? 2 * all->size : 256;
		all->rows = realloc(all->rows, all->size * sizeof(*all->rows));
		harness_assert(all->rows, "out of memory");
	}
	all->rows[all->n++] = *row;
}

static bool
read_fdinfo(pid_t pid, int fd, struct holding *row)
{
	char path[64], line[128];
	cleanup_fclose FILE *f = NULL;
	unsigned long long position = 0;
	unsigned flags = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "pos: %llu", &position) != 1 && sscanf(line, "flags: %o", &flags) == 1)
			break;
	}
	*row = (struct holding){
		.pid = pid, .fd = fd, .label = position, .writer = (flags & O_ACCMODE) != O_RDONLY,
	};
	return true;
}

static void
scan_fds(pid_t pid, const struct search *search)
{
	char path[64];
	DIR *dir;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return;			/* it ended meanwhile */
	while ((entry = readdir(dir)) != NULL) {
		struct found *found;
		struct stat status;
		struct holding row;

		if (!isdigit((unsigned char)entry->d_name[0]) || fstatat(dirfd(dir), entry->d_name, &status, 0) != 0)
			continue;
		found = find_object(search, status.st_dev, status.st_ino);
		if (found && read_fdinfo(pid, atoi(entry->d_name), &row))
			add_holding(&found->fds, &row);
	}
	(void)closedir(dir);
}

static void
scan_maps(pid_t pid, const struct search *search)
{
	char path[64], line[512];
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long long offset, number;
		unsigned device_major, device_minor;
		struct found *found;
		char mode[8];

		if (sscanf(line, "%*x-%*x %7s %llx %x:%x %llu", mode, &offset, &device_major, &device_minor,
		    &number) != 5)
			continue;
		found = find_object(search, makedev(device_major, device_minor), number);
		if (found)
			add_holding(&found->maps, &(struct holding){
			    .pid = pid, .fd = -1, .label = offset, .writer = mode[1] == 'w' });
	}
}

/* kcmp orders descriptions, as the kernel likes it. */
static int
compare_descriptions(const void *a, const void *b)
{
	const struct holding *x = a, *y = b;
	long r = syscall(SYS_kcmp, x->pid, y->pid, KCMP_FILE, x->fd, y->fd);

	harness_assert(r >= 0 && r <= 2, "kcmp: %s", r < 0 ? strerror(errno) : "no order");
	return r == 0 ? 0 : r == 1 ? -1 : 1;
}

static void
count_one(struct harness_scan *scan, const struct holding *row)
{
	if (row->writer)
		scan->writers++;
	else
		scan->readers++;
}

/* Mappings of descriptions that no descriptor stands for. */
static void
count_mapped_only(const struct holdings *fds, const struct holdings *maps, struct harness_scan *scan)
{
	for (size_t i = 0; i < maps->n; i++) {
		bool known = false;

		for (size_t j = 0; j < fds->n && !known; j++)
			known = fds->rows[j].label == maps->rows[i].label;
		for (size_t j = 0; j < i && !known; j++)
			known = maps->rows[j].label == maps->rows[i].label;
		if (!known)
			count_one(scan, &maps->rows[i]);
	}
}

static bool
is_excepted(pid_t pid, pid_t except, const pid_t *children, size_t n_children)
{
	if (pid == except)
		return true;
	for (size_t i = 0; i < n_children; i++) {
		if (children[i] == pid)
			return true;
	}
	return false;
}

static void
count_found(struct found *found, struct harness_scan *ret_scan)
{
	struct holdings *fds = &found->fds;

	*ret_scan = (struct harness_scan){ .fds = fds->n, .maps = found->maps.n };
	if (fds->n > 0)
		qsort(fds->rows, fds->n, sizeof(*fds->rows), compare_descriptions);
	for (size_t i = 0; i < fds->n; i++) {
		if (i == 0 || compare_descriptions(&fds->rows[i - 1], &fds->rows[i]) != 0)
			count_one(ret_scan, &fds->rows[i]);
	}
	count_mapped_only(fds, &found->maps, ret_scan);
	free(fds->rows);
	free(found->maps.rows);
}

void
harness_scan_all(const struct stat *objects, size_t n, pid_t except, struct harness_scan *ret_scans)
{
	struct search search = { .found = calloc(n, sizeof(*search.found)), .n = n };
	pid_t children[256];
	size_t n_children = except > 0 ? harness_children(except, children, BASE_ARRAY_SIZE(children)) : 0;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	harness_assert(proc && search.found, "/proc: %s", strerror(errno));
	for (size_t i = 0; i < n; i++) {
		search.found[i].device = objects[i].st_dev;
		search.found[i].inode = objects[i].st_ino;
	}
	while ((entry = readdir(proc)) != NULL) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		if (pid == 0 || getpgid(pid) != getpgrp() || is_excepted(pid, except, children, n_children))
			continue;
		scan_fds(pid, &search);
		scan_maps(pid, &search);
	}
	(void)closedir(proc);
	for (size_t i = 0; i < n; i++)
		count_found(&search.found[i], &ret_scans[i]);
	free(search.found);
}

void
harness_scan(dev_t device, ino_t inode, pid_t except, struct harness_scan *ret_scan)
{
	struct stat object = { .st_dev = device, .st_ino = inode };

	harness_scan_all(&object, 1, except, ret_scan);
}
