/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of files that hold segments: what is there already, and room for what is not, on each file system for all
 * files together. Files are looked at and never opened. The caller may see less than the daemon, which is said then.
 */
#include "config.h"

#include <libgen.h>
#include <sys/statvfs.h>

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
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

/* What is there, and its mark. False: it cannot hold the segment; text says why. */
static bool
judge_file(const struct doctor *doctor, const struct definition *definition, const struct place *place, char *text, size_t size)
{
	cleanup_free char *mark = NULL;
	char command[32];
	struct stat st;
	pid_t pid;

	if (place->error == 0) {
		if (findings_file_refused(text, size, definition->path, "", &place->st, doctor->limits.uid))
			return false;
		if ((uint64_t)place->st.st_size != definition->max_size_bytes) {
			findings_file_size(text, size, definition->path, (uint64_t)place->st.st_size, definition->max_size_bytes);
			return false;
		}
	}
	if (asprintf(&mark, "%s" FINDINGS_MARK_SUFFIX, place->path) < 0) {
		mark = NULL;
		return true;
	}
	if (lstat(mark, &st))
		return true;
	if (findings_file_refused(text, size, definition->path, ": its mark beside it", &st, doctor->limits.uid))
		return false;
	pid = process_lock_holder(doctor->root, &st);
	if (!pid || pid == doctor->daemon_pid)
		return true;
	process_command(pid, command, sizeof(command));
	findings_file_busy(text, size, definition->path, (int)pid, command);
	return false;
}

/* Of one that is there alone; room is a matter of all. False: there is no use in judging its room. */
static bool
judge_place(struct doctor *doctor, const struct definition *definition)
{
	cleanup_place struct place place;
	struct doctor_set set = DOCTOR_SET_NULL;
	char text[FINDINGS_TEXT_SIZE];
	bool is_good;
	int r;

	if (doctor_find_held(doctor, definition))
		return true;
	r = place_find(doctor, definition, &place);
	doctor_set_add(doctor, &set, definition);
	if (r == -EACCES || place.error == -EACCES) {
		doctor_unread(doctor, definition->path, -EACCES);
		is_good = false;
	} else {
		if (r == 0 && !may_write(&place.dir_st, doctor->limits.uid))
			r = -EACCES;
		is_good = r == 0 && judge_file(doctor, definition, &place, text, sizeof(text));
		if (r < 0)
			findings_file_unreachable(text, sizeof(text), definition->path, doctor->limits.uid, r);
		if (!is_good)
			doctor_add_failure(doctor, &set, text);
	}
	doctor_set_deinit(&set);
	return is_good;
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
	struct doctor_set all, good = DOCTOR_SET_NULL;

	doctor_select(doctor, is_file, &all);
	for (size_t i = 0; i < all.n; i++)
		if (judge_place(doctor, all.list[i]))
			doctor_set_add(doctor, &good, all.list[i]);
	while (good.n && doctor->error == 0)
		judge_file_system(doctor, &good);
	doctor_set_deinit(&good);
	doctor_set_deinit(&all);
}
