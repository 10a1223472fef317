/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of what a process may have: locked memory, descriptors, watches. Whose limits count: doctor_daemon.c. */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/kernel.h"
#include "host/sysv.h"

#define DAEMON_FDS	32		/* the daemon's own: the loop, the socket, workers, files of /proc */
#define CLIENT_FDS	2		/* its connection and its process */

static bool
is_locked(const struct definition *definition)
{
	return definition->mlock;
}

static bool
is_shm_locked(const struct definition *definition)
{
	return definition->mlock && definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) && doctor_is_of_memory(definition);
}

static bool
is_any(const struct definition *definition)
{
	return true;
}

/* Whether there is anything to judge by. */
static bool
has_limits(struct doctor *doctor)
{
	if (doctor->limits_error < 0)
		doctor_unread(doctor, "the limits of this process (/proc/self/limits)", doctor->limits_error);
	return doctor->limits_error == 0;
}

static bool
is_held_locked(const struct doctor *doctor, const struct definition *definition)
{
	const struct doctor_held *held = doctor_find_held(doctor, definition);

	return held && held->locked_bytes >= definition->size_bytes;
}

/* By mlock: of System V memory, and of what is of a pool and never swapped, control memory alone. */
static uint64_t
mlock_bytes(const struct doctor *doctor, const struct definition *definition)
{
	if (is_held_locked(doctor, definition))
		return 0;
	if (definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) || !doctor_is_of_memory(definition))
		return doctor_control_bytes(definition);
	return doctor_unlocked_bytes(doctor, definition);
}

/* By SHM_LOCK, which locks the whole object. */
static uint64_t
shm_lock_bytes(const struct doctor *doctor, const struct definition *definition)
{
	return is_held_locked(doctor, definition) ? 0 : doctor_object_bytes(doctor, definition);
}

static void
judge_memlock(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], limit[TEXT_SIZE] = "any amount", left[TEXT_SIZE + 16] = "";
	uint64_t limit_bytes = doctor->limits.memlock_bytes, left_bytes, needed_bytes;
	struct doctor_set all, misfits;

	left_bytes = limit_bytes == LIMITS_UNLIMITED ? limit_bytes : limit_bytes - min_u64(limit_bytes, doctor->limits.locked_bytes);
	doctor_select(doctor, is_locked, &all);
	doctor_find_misfits(doctor, &all, mlock_bytes, left_bytes, &misfits);
	needed_bytes = doctor_set_bytes(doctor, &all, mlock_bytes);
	text_format_size(needed_bytes, needed);
	if (limit_bytes != LIMITS_UNLIMITED)
		text_format_size(limit_bytes, limit);
	if (left_bytes != limit_bytes) {
		(void)stpcpy(left, ", of it now ");
		text_format_size(left_bytes, left + strlen(left));
	}
	if (misfits.n) {
		findings_memlock_of(text, sizeof(text), doctor->whose, limit_bytes, needed_bytes, left_bytes);
		doctor_add_placement(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "%s are to be locked, and %s may lock %s%s", needed, doctor->whose, limit, left);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

/* What the uid has locked like that already. */
static int
read_shm_locked(const struct doctor *doctor, uint64_t *ret_bytes)
{
	struct sysv_row *rows;
	uint64_t bytes = 0;
	size_t n;
	int r = sysv_read_rows(doctor->root, &rows, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (rows[i].mode & SYSV_LOCKED && rows[i].uid == doctor->limits.uid)
			bytes += rows[i].size_bytes;
	free(rows);
	*ret_bytes = bytes;
	return 0;
}

/* A limit of its own by the same name: what a user has locked by SHM_LOCK counts apart from what processes have. */
static void
judge_shm_lock(struct doctor *doctor)
{
	uint64_t limit_bytes = doctor->limits.memlock_bytes, locked_bytes;
	char text[FINDINGS_TEXT_SIZE];
	struct doctor_set all, misfits = DOCTOR_SET_NULL;
	int r = 0;

	doctor_select(doctor, is_shm_locked, &all);
	if (all.n && limit_bytes != LIMITS_UNLIMITED) {
		r = read_shm_locked(doctor, &locked_bytes);
		if (r == 0)
			doctor_find_misfits(doctor, &all, shm_lock_bytes, limit_bytes - min_u64(limit_bytes, locked_bytes), &misfits);
	}
	if (r < 0)
		doctor_unread(doctor, "what of System V memory is locked (/proc/sysvipc/shm)", r);
	if (misfits.n) {
		findings_sysv_unlocked(text, sizeof(text), doctor->limits.uid, limit_bytes,
		    doctor_set_bytes(doctor, &all, shm_lock_bytes));
		doctor_add_placement(doctor, &misfits, text);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

void
doctor_check_memlock(struct doctor *doctor)
{
	if (!has_limits(doctor))
		return;
	judge_memlock(doctor);
	judge_shm_lock(doctor);
}

/* What the daemon holds open for a segment as long as it is there: of a file its path and its mark as well. */
static uint64_t
segment_fds(const struct definition *definition)
{
	return 1 + (doctor_control_bytes(definition) ? 2 : 0) + (definition_takes(definition, DEFINITION_TAKES_DISK) ? 2 : 0);
}

void
doctor_check_nofile(struct doctor *doctor)
{
	uint64_t limit = doctor->limits.nofile, reserved = limits_client_fds(limit), needed = DAEMON_FDS, with_clients;
	struct doctor_set all, misfits = DOCTOR_SET_NULL;
	char text[FINDINGS_TEXT_SIZE];

	if (!has_limits(doctor))
		return;
	doctor_select(doctor, is_any, &all);
	for (size_t i = 0; i < all.n; i++) {
		needed += segment_fds(all.list[i]);
		if (needed + reserved > limit)
			doctor_set_add(doctor, &misfits, all.list[i]);
	}
	needed += reserved;
	with_clients = needed + CLIENT_FDS * (uint64_t)doctor->conf->daemon.limits.clients;
	if (misfits.n) {
		findings_nofile_of(text, sizeof(text), doctor->whose, limit, needed);
		doctor_add_failure(doctor, &misfits, text);
	} else if (with_clients > limit) {
		findings_nofile_of(text, sizeof(text), doctor->whose, limit, with_clients);
		doctor_add(doctor, DOCTOR_NOTE, NULL, "segments fit, but one user's connections (daemon.limits.clients) may take what "
		    "is left", text);
	} else {
		doctor_ok(doctor, "%llu descriptors are needed with one user's clients, and %s may have %llu",
		    (unsigned long long)with_clients, doctor->whose, (unsigned long long)limit);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

void
doctor_check_inotify(struct doctor *doctor)
{
	struct kernel_inotify inotify;
	uint64_t needed = doctor->conf->n_segments;
	char text[FINDINGS_TEXT_SIZE];
	int r = kernel_read_inotify(doctor->root, &inotify);

	if (r < 0) {
		doctor_unread(doctor, "what inotify may use (/proc/sys/fs/inotify)", r);
		return;
	}
	for (size_t i = 0; i < doctor->conf->n_templates; i++)
		needed += doctor->conf->templates[i]->max_count;
	findings_inotify(text, sizeof(text), needed, &inotify);
	if (!inotify.instances)
		doctor_add(doctor, DOCTOR_REQUIRED, NULL, "the daemon does not start", text);
	else if (needed > inotify.watches)
		doctor_add(doctor, DOCTOR_PROBLEM, NULL, "attaching one more than that fails, or its end is seen late", text);
	else
		doctor_ok(doctor, "%llu segments may be attached at once, and a user may have %llu watches",
		    (unsigned long long)needed, (unsigned long long)inotify.watches);
}
