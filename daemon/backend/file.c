/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A file whose contents outlive the machine's restart. Everything that may wait for a disk, opening it included, is a worker's
 * errand: here is what is kept between them. While the file is in use its mark is locked, which lies beside it; of the file
 * itself clients have descriptors, and with them could lock us out.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/kernelcount.h"
#include "daemon/procfd.h"
#include "host/findings.h"

#define PAGE_BYTES	4096
#define LOOKS_MAX	100		/* at the mark, beside others that do */
#define LOOK_BYTES	(16 * MIB)	/* of which the kernel is asked at once what is in memory: a tenth of a millisecond */
#define LOOK_NS		(NS_PER_MS / 10)	/* after which no more is asked */

#ifndef SYS_cachestat
#define SYS_cachestat	451		/* Linux 6.5, on every architecture */
#endif

struct window {
	uint32_t resident;		/* pages */
	uint32_t dirty;			/* of them: not on the disk */
};

struct file {
	char *path;
	struct record_entry entry;	/* its row, until it is closed */
	int path_fd;			/* holds the path, for workers */
	int mark_fd;			/* locked as long as we have the file */
	unsigned flags;			/* JOB_FILE_* */
	unsigned n_looks;		/* that were in vain */
	bool is_closed;			/* its CLOSE errand was given out */
	bool is_prefaulted;
	bool is_left;			/* of an earlier daemon, and only to be closed */
	uint64_t size_bytes;		/* to be provisioned at first */
	uint64_t max_size_bytes;	/* of the file */
	enum definition_on_unclean on_unclean;
	uint64_t n_windows;		/* of LOOK_BYTES each */
	uint64_t next_window;
	uint64_t resident_pages;	/* the sums of */
	uint64_t dirty_pages;
	bool is_dirty_known;		/* the kernel tells */
	struct window *windows;		/* what was found in each; there once the file is */
	LIST_ENTRY(file) entry_of_all;
};

/* All that this process has, or is about to give back: by name, since a path can only be in one place of them. */
static LIST_HEAD(, file) files = LIST_HEAD_INITIALIZER(files);

static struct file *
file_free(struct file *file)
{
	if (!file)
		return NULL;
	close_fd(&file->mark_fd);
	close_fd(&file->path_fd);
	free(file->windows);
	free(file->path);
	free(file);
	return NULL;
}

/* The path as workers get it. */
static int
file_write_path(struct file *file)
{
	size_t length = strlen(file->path);

	file->path_fd = memfd_create("segmentd:path", MFD_CLOEXEC);
	if (file->path_fd < 0)
		return -errno;
	return write(file->path_fd, file->path, length) == (ssize_t)length ? 0 : -ENOSPC;
}

static int
file_new(const char *path, uint64_t max_size_bytes, struct file **ret_file)
{
	struct file *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return -ENOMEM;
	file->path_fd = file->mark_fd = -1;
	file->max_size_bytes = max_size_bytes;
	file->path = strdup(path);
	r = file->path ? file_write_path(file) : -ENOMEM;
	if (r)
		(void)file_free(file);
	else
		*ret_file = file;
	return r;
}

static int
file_fail_begin(const char *path, int r, char *text, size_t text_size)
{
	(void)snprintf(text, text_size, "the daemon cannot begin to open '%.300s': %s", path, strerror(-r));
	return r;
}

static void
file_hand_over(struct file *file, struct backend_object *ret_object)
{
	LIST_INSERT_HEAD(&files, file, entry_of_all);
	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	ret_object->is_file = true;
	ret_object->map_bytes = round_up(file->max_size_bytes, PAGE_BYTES);
	ret_object->own = file;
	ret_object->entry = &file->entry;
}

static bool
file_is_ours(const char *path)
{
	const struct file *file;

	LIST_FOREACH(file, &files, entry_of_all)
		if (streq(file->path, path))
			return true;
	return false;
}

/* What is made on the way to it, and its mark, are taken back by who comes after us. A longer path does without. */
static void
file_name_of(const struct definition *definition, char *name, size_t name_size)
{
	name[0] = '\0';
	if (strlen(definition->path) < name_size)
		(void)strcpy(name, definition->path);
}

static int
file_enter(struct file *file, const struct definition *definition, const struct backend_birth *birth, char *text, size_t text_size)
{
	struct record_row row;
	int r;

	backend_describe(&backend_file, definition, birth, &row);
	row.map_bytes = definition->max_size_bytes;
	if (!row.object[0])
		return 0;
	r = record_replace(birth->record, birth->left, &row, &file->entry);
	if (r)
		(void)snprintf(text, text_size, "'%.300s' cannot be entered in the record in state_dir: %s", file->path, strerror(-r));
	return r;
}

/* Only what is needed to send workers: there is no descriptor of the file yet. */
static int
file_create(const struct definition *definition, const struct backend_birth *birth, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	struct file *file;
	int r;

	if (file_is_ours(definition->path)) {
		(void)snprintf(text, text_size, "'%.300s' is being closed: the segment that it held before is on its way out",
		    definition->path);
		return -EBUSY;
	}
	r = file_new(definition->path, definition->max_size_bytes, &file);
	if (r)
		return file_fail_begin(definition->path, r, text, text_size);
	file->is_prefaulted = definition->prefault;
	file->size_bytes = definition->size_bytes;
	file->on_unclean = definition->on_unclean;
	r = file_enter(file, definition, birth, text, text_size);
	if (r) {
		(void)file_free(file);
		return r;
	}
	file_hand_over(file, ret_object);
	return 0;
}

/*
 * Workers will see whether there is anything: it is opened to be closed as it should have been. What was half made goes then, what
 * was stored is written back, and the mark goes where nobody has the file.
 */
static int
file_prove(const struct record_entry *entry, struct backend_object *ret_object, char *text, size_t text_size)
{
	const struct record_row *row = &entry->row;
	struct file *file;
	int r;

	if (row->object[0] != '/')
		return BACKEND_E_OTHER;
	if (file_is_ours(row->object))
		return BACKEND_E_GONE;
	r = file_new(row->object, row->map_bytes, &file);
	if (r)
		return file_fail_begin(row->object, r, text, text_size);
	file->on_unclean = DEFINITION_UNCLEAN_KEEP;
	file->is_left = true;
	file->entry = *entry;
	file_hand_over(file, ret_object);
	return 0;
}

static bool
file_errand(struct backend_object *object, enum backend_stage stage, struct backend_errand *ret_errand)
{
	struct file *file = object->own;

	*ret_errand = (struct backend_errand) {
		.job = { .flags = file->flags, .limit_bytes = file->max_size_bytes },
		.fds = { file->path_fd, file->mark_fd, object->fd },
	};
	switch (stage) {
	case BACKEND_STAGE_OPEN:
		if (object->fd >= 0)
			return false;
		ret_errand->job.kind = file->mark_fd < 0 ? JOB_FILE_LOOK : JOB_FILE_OPEN;
		ret_errand->job.length_bytes = file->size_bytes;
		ret_errand->job.on_unclean = file->on_unclean;
		return true;
	case BACKEND_STAGE_USE:
		ret_errand->job.kind = JOB_FILE_USE;
		return !(file->flags & JOB_FILE_USED);
	case BACKEND_STAGE_SYNC:
		ret_errand->job.kind = JOB_SYNC;
		ret_errand->fds[0] = object->fd;
		return object->fd >= 0;
	default:
		break;
	}
	/* Once: and nothing is to be undone where there is no mark. */
	if (file->is_closed || file->mark_fd < 0)
		return false;
	file->is_closed = true;
	ret_errand->job.kind = JOB_FILE_CLOSE;
	ret_errand->job.flags |= stage == BACKEND_STAGE_CLOSE_ALONE ? JOB_FILE_ALONE : 0;
	if (object->fd < 0)
		ret_errand->fds[2] = file->mark_fd;
	return true;
}

/*
 * Locked by ourselves, so that the kernel names us to others that come. A worker has just found that nobody has it; and this
 * waits for nothing. Somebody else's worker may be finding the same at this moment: then ours looks once more.
 */
static int
file_take_mark(struct file *file, int *fd, char *text, size_t text_size)
{
	if (*fd < 0) {
		findings_nofile(text, text_size);
		return -EMFILE;
	}
	if (flock(*fd, LOCK_EX | LOCK_NB)) {
		int r = -errno;

		if (r == -EWOULDBLOCK && file->n_looks++ < LOOKS_MAX)
			return 0;
		if (r != -EWOULDBLOCK) {
			(void)snprintf(text, text_size, "the mark of '%.300s' cannot be locked: %s", file->path, strerror(-r));
			return r;
		}
		(void)snprintf(text, text_size, "'%.300s' was taken by another segmentd at the same moment; stop that one, and retry",
		    file->path);
		return -EBUSY;
	}
	file->mark_fd = take_fd(fd);
	return 0;
}

/* Without leases nobody could tell when the last client is gone. */
static int
file_check_leases(const struct file *file, int fd, char *text, size_t text_size)
{
	if (kernelcount_alone(fd) || errno == EAGAIN)
		return 0;
	(void)snprintf(text, text_size, "'%.300s' is on a file system that gives no leases (%s), by which segmentd knows whether "
	    "anybody has it; name a file on a local one, as ext4, xfs, btrfs or tmpfs", file->path, strerror(errno));
	return -EOPNOTSUPP;
}

/* Of a size that the file system had room for, and not before. */
static int
file_make_windows(struct file *file)
{
	uint64_t n = (file->max_size_bytes + LOOK_BYTES - 1) / LOOK_BYTES;

	file->windows = calloc(n, sizeof(*file->windows));
	file->n_windows = file->windows ? n : 0;
	return file->windows ? 0 : -ENOMEM;
}

static int
file_take(struct backend_object *object, const struct job_result *result, int *fd, char *text, size_t text_size)
{
	struct file *file = object->own;
	int r;

	file->flags |= result->flags;
	if (*fd < 0) {
		findings_nofile(text, text_size);
		return -EMFILE;
	}
	r = file_check_leases(file, *fd, text, text_size);
	if (r)
		return r;
	r = procfd_prepare();
	if (r == 0)
		r = file_make_windows(file);
	if (r) {
		(void)snprintf(text, text_size, "'%.300s' was opened, and cannot be taken into the daemon's books: %s", file->path,
		    strerror(-r));
		return r;
	}
	object->fd = take_fd(fd);
	object->has_contents = !(file->flags & JOB_FILE_NEW);
	/* It was in use by who is dead: so it is closed like that. */
	if (file->is_left && object->has_contents)
		file->flags |= JOB_FILE_USED;
	if (file->flags & JOB_FILE_UNCLEAN)
		(void)snprintf(text, text_size, "%s", result->text);
	return 0;
}

/* What is counted later may be less: until then, all is in memory, as the workers saw. */
static void
file_begin_count(struct file *file)
{
	uint64_t left = round_up(file->size_bytes, PAGE_BYTES);

	for (uint64_t i = 0; i < file->n_windows && left; i++) {
		uint64_t here = min_u64(left, LOOK_BYTES);

		file->windows[i].resident = (uint32_t)(here / PAGE_BYTES);
		file->resident_pages += here / PAGE_BYTES;
		left -= here;
	}
}

static int
file_errand_done(struct backend_object *object, const struct job_result *result, int *fd, char *text, size_t text_size)
{
	struct file *file = object->own;

	if (file->mark_fd < 0)
		return file_take_mark(file, fd, text, text_size);
	if (object->fd < 0)
		return file_take(object, result, fd, text, text_size);
	file->flags = (file->flags & ~JOB_FILE_RENAME) | JOB_FILE_USED;
	if (file->is_prefaulted)
		file_begin_count(file);
	return 0;
}

/* COMPAT(linux 6.5): there it is new, and then headers have both. */
struct cache_range {
	uint64_t offset, length;
};

struct cache_stat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;	/* pages */
};

/* How much of it is in memory, where the kernel does not tell more. */
static uint32_t
count_resident(int fd, off_t offset, size_t length)
{
	static unsigned char seen[LOOK_BYTES / PAGE_BYTES];
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	uint32_t n = 0;

	if (map == MAP_FAILED)
		return 0;
	if (mincore(map, length, seen) == 0)
		for (size_t i = 0; i < length / PAGE_BYTES; i++)
			n += seen[i] & 1;
	(void)munmap(map, length);
	return n;
}

static void
file_count_window(const struct backend_object *object, uint64_t index)
{
	struct file *file = object->own;
	struct window *window = &file->windows[index];
	struct cache_range range = {
		.offset = index * LOOK_BYTES, .length = min_u64(LOOK_BYTES, object->map_bytes - index * LOOK_BYTES),
	};
	struct cache_stat stat = { 0 };

	file->resident_pages -= window->resident;
	file->dirty_pages -= window->dirty;
	file->is_dirty_known = syscall(SYS_cachestat, object->fd, &range, &stat, 0) == 0;
	if (!file->is_dirty_known)
		stat.cached = count_resident(object->fd, (off_t)range.offset, range.length);
	window->resident = (uint32_t)stat.cached;
	window->dirty = (uint32_t)(stat.dirty + stat.writeback);
	file->resident_pages += window->resident;
	file->dirty_pages += window->dirty;
}

/* As many windows as there is time for, in turn: of a large file of small pages, some counts are from the time before. */
static const struct file *
file_count(const struct backend_object *object)
{
	struct file *file = object->own;
	uint64_t until_ns = clock_monotonic_ns() + LOOK_NS;

	for (uint64_t i = 0; i < file->n_windows; i++) {
		file_count_window(object, file->next_window);
		file->next_window = (file->next_window + 1) % file->n_windows;
		if (clock_monotonic_ns() > until_ns)
			break;
	}
	return file;
}

static uint64_t
file_resident_bytes(const struct backend_object *object)
{
	return file_count(object)->resident_pages * PAGE_BYTES;
}

static uint64_t
file_dirty_bytes(const struct backend_object *object)
{
	const struct file *file = file_count(object);

	return file->is_dirty_known ? file->dirty_pages * PAGE_BYTES : UINT64_MAX;
}

static int
file_check(const struct backend_object *object, char *text, size_t text_size)
{
	const struct file *file = object->own;
	char is[32], was[32];
	struct stat st;

	if (fstat(object->fd, &st))
		return 0;
	if ((uint64_t)st.st_size < file->max_size_bytes) {
		(void)snprintf(text, text_size, "a writer has cut '%.300s' to %s of its %s: what was behind is lost, and touching it "
		    "is SIGBUS; have its clients end, remove the segment, bring the file to its size (truncate -s %llu), and create "
		    "it anew", file->path, findings_size(is, sizeof(is), (uint64_t)st.st_size),
		    findings_size(was, sizeof(was), file->max_size_bytes), (unsigned long long)file->max_size_bytes);
		return -EIO;
	}
	if ((uint64_t)st.st_size > file->max_size_bytes)
		(void)snprintf(text, text_size, "a writer has made '%.300s' %s large, of which %s are the segment's; what is "
		    "behind is cut off when the segment ends, or now by `truncate -s %llu`", file->path,
		    findings_size(is, sizeof(is), (uint64_t)st.st_size), findings_size(was, sizeof(was), file->max_size_bytes),
		    (unsigned long long)file->max_size_bytes);
	else if (file->flags & JOB_FILE_USED && st.st_nlink == 0)
		(void)snprintf(text, text_size, "somebody has removed '%.300s': its contents end with the segment; save them "
		    "elsewhere, remove the segment, and create it anew", file->path);
	else
		return 0;
	return BACKEND_E_CHANGED;
}

static void
file_close(struct backend_object *object)
{
	struct file *file = object->own;

	LIST_REMOVE(file, entry_of_all);
	record_remove(&file->entry);
	object->own = file_free(file);
}

static unsigned
file_kept(const struct backend_object *object, int fds[BACKEND_KEPT_MAX])
{
	const struct file *file = object->own;

	fds[0] = object->fd;
	fds[1] = file->mark_fd;
	return 2;
}

/* It was in use without a break: its mark is locked still, by the description that was kept. */
static int
file_revive(struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size)
{
	const struct definition *definition = remains->definition;
	struct file *file;
	int r;

	if (remains->fds[0] < 0 || remains->fds[1] < 0 || file_is_ours(definition->path))
		return BACKEND_E_GONE;
	r = file_new(definition->path, definition->max_size_bytes, &file);
	if (r)
		return file_fail_begin(definition->path, r, text, text_size);
	file->size_bytes = definition->size_bytes;
	file->on_unclean = definition->on_unclean;
	file->is_prefaulted = definition->prefault;
	file->flags = JOB_FILE_USED;
	r = procfd_prepare();
	if (r == 0)
		r = file_make_windows(file);
	if (r) {
		(void)file_free(file);
		return file_fail_begin(definition->path, r, text, text_size);
	}
	if (remains->entry)
		file->entry = *remains->entry;
	file->mark_fd = take_fd(&remains->fds[1]);
	file_hand_over(file, ret_object);
	ret_object->fd = take_fd(&remains->fds[0]);
	ret_object->has_contents = true;
	if (file->is_prefaulted)
		file_begin_count(file);
	return 0;
}

const struct backend backend_file = {
	.name = "file",
	.features = BACKEND_FD | BACKEND_MARKS | BACKEND_DURABLE,
	.create = file_create,
	.name_of = file_name_of,
	.prove = file_prove,
	.revive = file_revive,
	.kept = file_kept,
	.open = backend_open_fd,
	.map = backend_map_fd,
	.resident_bytes = file_resident_bytes,
	.dirty_bytes = file_dirty_bytes,
	.check = file_check,
	.errand = file_errand,
	.errand_done = file_errand_done,
	.close = file_close,
};
