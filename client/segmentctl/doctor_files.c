/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of files that hold segments: what is there already, and room for what is not, on each file system for all
 * files together. Files are looked at and never opened; their marks are read. The caller may see less than the daemon, which
 * is said then.
 */
#include "config.h"

#include <fcntl.h>
#include <libgen.h>
#include <sys/statvfs.h>

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/mark.h"
#include "host/process.h"

/* A file with its directory, below doctor's root. */
struct place {
	char *path;
	char *dir;
	struct stat dir_st;
	struct stat st;			/* of the file, where */
	int error;			/* is 0: else the negative errno of looking at it */
};

static void
place_deinit(struct place *place)
{
	free(place->path);
	free(place->dir);
}
#define cleanup_place	__attribute__((cleanup(place_deinit)))

static bool
is_file(const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_DISK) && definition->path;
}

/* 0, or the negative errno of looking at the directory. */
static int
place_find(const struct doctor *doctor, const struct definition *definition, struct place *place)
{
	*place = (struct place) { 0 };
	if (asprintf(&place->path, "%s%s", doctor->root, definition->path) < 0) {
		place->path = NULL;
		return -ENOMEM;
	}
	place->dir = strdup(place->path);
	if (!place->dir)
		return -ENOMEM;
	place->error = lstat(place->path, &place->st) ? -errno : 0;
	return stat(dirname(place->dir), &place->dir_st) ? -errno : 0;
}

/* Bytes of it that have no blocks yet. */
static uint64_t
file_missing_bytes(const struct doctor *doctor, const struct definition *definition)
{
	cleanup_place struct place place;
	uint64_t has_bytes = 0;

	if (doctor_find_held(doctor, definition))
		return 0;
	if (place_find(doctor, definition, &place) == 0 && place.error == 0)
		has_bytes = (uint64_t)place.st.st_blocks * 512;
	return definition->size_bytes - min_u64(definition->size_bytes, has_bytes);
}

/* A group is not known to have the daemon's user, nor not to. */
static bool
may_write(const struct stat *dir, uint32_t uid)
{
	if (uid == 0 || dir->st_mode & 022)
		return true;
	return dir->st_uid == uid && dir->st_mode & 0200;
}

/* The mark beside a file. */
struct beside {
	bool is_there;
	bool is_read;			/* the caller may; else of mark it is not known what it says */
	struct mark mark;
};

/* Looked at before it is opened, as workers do it. */
static int
beside_read(int look_fd, struct beside *beside)
{
	char self[48];
	cleanup_close int fd = -1;
	int r;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", look_fd);
	fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	r = fd < 0 ? -errno : mark_read(fd, &beside->mark);
	beside->is_read = r == 0;
	return r;
}

/* False: with what is there no segment can be held; text says why. */
static bool
beside_judge(struct doctor *doctor, const struct definition *definition, const struct place *place, struct beside *beside,
    char *text, size_t size)
{
	cleanup_free char *path = NULL;
	cleanup_close int look_fd = -1;
	char command[32];
	struct stat st;
	pid_t pid;
	int r;

	*beside = (struct beside) { .is_there = false };
	if (asprintf(&path, "%s" FINDINGS_MARK_SUFFIX, place->path) < 0) {
		path = NULL;
		doctor->error = -ENOMEM;
		return true;
	}
	look_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (look_fd < 0 || fstat(look_fd, &st))
		return true;
	beside->is_there = true;
	if (findings_file_refused(text, size, definition->path, ": its mark beside it", &st, doctor->limits.uid))
		return false;
	pid = process_lock_holder(doctor->root, &st);
	if (pid && pid != doctor->daemon_pid) {
		process_command(pid, command, sizeof(command));
		findings_file_busy(text, size, definition->path, (int)pid, command);
		return false;
	}
	r = beside_read(look_fd, beside);
	if (r)
		doctor_unread(doctor, path + strlen(doctor->root), r);
	return true;
}

/* Too large is what nobody has made larger in its use. Of a mark that may not be read nothing is said that it may gainsay. */
static bool
judge_size(struct doctor *doctor, const struct definition *definition, const struct place *place, const struct beside *beside,
    char *text, size_t size)
{
	struct doctor_set one = { .list = &definition, .n = 1 };
	uint64_t has_bytes = (uint64_t)place->st.st_size;

	if (has_bytes == definition->max_size_bytes)
		return true;
	if (has_bytes > definition->max_size_bytes && beside->is_there && !beside->is_read)
		return true;
	if (beside->is_read && mark_was_enlarged(&beside->mark, has_bytes, definition->max_size_bytes)) {
		findings_file_enlarged(text, size, definition->path, has_bytes, definition->max_size_bytes);
		doctor_add(doctor, DOCTOR_NOTE, &one, "will be ready with what it had before", text);
		return true;
	}
	findings_file_size(text, size, definition->path, has_bytes, definition->max_size_bytes);
	return false;
}

/* How its last use ended, and what becomes of it. */
static bool
judge_end(struct doctor *doctor, const struct definition *definition, const struct beside *beside, char *text, size_t size)
{
	struct doctor_set one = { .list = &definition, .n = 1 };
	char boot[MARK_BOOT_SIZE];
	int r;

	if (!beside->is_read)
		return true;
	r = mark_read_boot(doctor->root, boot);
	if (r)
		doctor_unread(doctor, "this boot's id (/proc/sys/kernel/random/boot_id), and with it whether files are clean", r);
	if (r || mark_is_clean(&beside->mark, boot))
		return true;
	findings_file_unclean(text, size, definition->path, beside->mark.state, definition->on_unclean);
	if (definition->on_unclean == DEFINITION_UNCLEAN_FAIL)
		return false;
	doctor_add(doctor, DOCTOR_NOTE, &one, definition->on_unclean == DEFINITION_UNCLEAN_ZERO ? "will be ready, and empty" :
	    "will be ready with contents that nobody vouches for", text);
	return true;
}

/* What is there, and its mark. False: it cannot hold the segment; text says why. */
static bool
judge_file(struct doctor *doctor, const struct definition *definition, const struct place *place, char *text, size_t size)
{
	struct beside beside;

	if (place->error == 0 && findings_file_refused(text, size, definition->path, "", &place->st, doctor->limits.uid))
		return false;
	if (!beside_judge(doctor, definition, place, &beside, text, size))
		return false;
	/* What is not there yet has no last use. */
	return place->error || (judge_size(doctor, definition, place, &beside, text, size) &&
	    judge_end(doctor, definition, &beside, text, size));
}

/* Of all files: those that were judged to be good, and those whose directory stands in the way. */
struct verdict {
	struct doctor_set good;
	struct doctor_set unreachable;
};

/* 0: the daemon reaches its directory; or a negative errno. */
static int
judge_directory(const struct doctor *doctor, const struct definition *definition, struct place *place)
{
	int r = place_find(doctor, definition, place);

	return r == 0 && !may_write(&place->dir_st, doctor->limits.uid) ? -EACCES : r;
}

/* What is there; room is a matter of all. */
static void
judge_place(struct doctor *doctor, const struct definition *definition, struct verdict *verdict)
{
	cleanup_place struct place place;
	struct doctor_set one = { .list = &definition, .n = 1 };
	char text[FINDINGS_TEXT_SIZE];
	int r = judge_directory(doctor, definition, &place);

	if (doctor_find_held(doctor, definition))
		doctor_set_add(doctor, &verdict->good, definition);
	else if (place.error == -EACCES)
		doctor_unread(doctor, definition->path, -EACCES);
	else if (r < 0)
		doctor_set_add(doctor, &verdict->unreachable, definition);
	else if (judge_file(doctor, definition, &place, text, sizeof(text)))
		doctor_set_add(doctor, &verdict->good, definition);
	else
		doctor_add_failure(doctor, &one, text);
}

static bool
is_same_directory(const struct definition *a, const struct definition *b)
{
	size_t n = (size_t)(strrchr(a->path, '/') - a->path);

	return (size_t)(strrchr(b->path, '/') - b->path) == n && strncmp(a->path, b->path, n) == 0;
}

/* One finding a directory, which is taken out of the set with all that it stands in the way of. */
static void
tell_unreachable(struct doctor *doctor, struct doctor_set *set)
{
	cleanup_place struct place place;
	const struct definition *first = set->list[0];
	struct doctor_set same = DOCTOR_SET_NULL;
	char text[FINDINGS_TEXT_SIZE];
	size_t n_left = 0;

	for (size_t i = 0; i < set->n; i++) {
		if (is_same_directory(first, set->list[i]))
			doctor_set_add(doctor, &same, set->list[i]);
		else
			set->list[n_left++] = set->list[i];
	}
	set->n = n_left;
	findings_file_unreachable(text, sizeof(text), first->path, doctor->limits.uid, judge_directory(doctor, first, &place));
	doctor_add_failure(doctor, &same, text);
	doctor_set_deinit(&same);
}

/* All files of one file system. */
static void
judge_room(struct doctor *doctor, const struct doctor_set *set, const struct statvfs *fs)
{
	uint64_t free_bytes = fs->f_blocks ? (uint64_t)fs->f_bavail * fs->f_frsize : UINT64_MAX;
	uint64_t needed_bytes = doctor_set_bytes(doctor, set, file_missing_bytes);
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], left[TEXT_SIZE];
	struct doctor_set misfits;

	doctor_find_misfits(doctor, set, file_missing_bytes, free_bytes, &misfits);
	text_format_size(needed_bytes, needed);
	text_format_size(free_bytes, left);
	if (misfits.n) {
		findings_disk(text, sizeof(text), misfits.list[0]->path, needed_bytes, free_bytes);
		doctor_add_failure(doctor, &misfits, text);
	} else if (free_bytes == UINT64_MAX) {
		doctor_ok(doctor, "%zu file%s on the file system of '%s', which does not say how full it is", set->n,
		    set->n == 1 ? "" : "s", set->list[0]->path);
	} else {
		doctor_ok(doctor, "%zu file%s on the file system of '%s': %s more are needed, and %s are free", set->n,
		    set->n == 1 ? "" : "s", set->list[0]->path, needed, left);
	}
	doctor_set_deinit(&misfits);
}

/* Takes out of all what is on the file system of the first one. */
static void
judge_file_system(struct doctor *doctor, struct doctor_set *all)
{
	struct doctor_set same = DOCTOR_SET_NULL;
	struct statvfs fs = { 0 };
	size_t n_left = 0;
	dev_t device = 0;

	for (size_t i = 0; i < all->n; i++) {
		cleanup_place struct place place;
		int r = place_find(doctor, all->list[i], &place);

		if (i == 0 && r == 0) {
			device = place.dir_st.st_dev;
			r = statvfs(place.dir, &fs);
		}
		if (r == 0 && place.dir_st.st_dev == device)
			doctor_set_add(doctor, &same, all->list[i]);
		else if (i > 0)
			all->list[n_left++] = all->list[i];
	}
	all->n = n_left;
	if (same.n)
		judge_room(doctor, &same, &fs);
	doctor_set_deinit(&same);
}

void
doctor_check_files(struct doctor *doctor)
{
	struct verdict verdict = { .good = DOCTOR_SET_NULL, .unreachable = DOCTOR_SET_NULL };
	struct doctor_set all;

	doctor_select(doctor, is_file, &all);
	for (size_t i = 0; i < all.n; i++)
		judge_place(doctor, all.list[i], &verdict);
	while (verdict.unreachable.n && doctor->error == 0)
		tell_unreachable(doctor, &verdict.unreachable);
	while (verdict.good.n && doctor->error == 0)
		judge_file_system(doctor, &verdict.good);
	doctor_set_deinit(&verdict.unreachable);
	doctor_set_deinit(&verdict.good);
	doctor_set_deinit(&all);
}
