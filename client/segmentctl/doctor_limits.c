/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of what a process may have: locked memory, descriptors, watches. Where there is a unit its limits count,
 * since it is what runs the daemon; else those of this process, whose children have the same.
 */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/kernel.h"

#define DAEMON_FDS	32		/* the daemon's own: the loop, the socket, workers, files of /proc */
#define RESERVED_FDS	64		/* that segments leave to clients */
#define CLIENT_FDS	2		/* its connection and its process */

static bool
is_locked(const struct definition *definition)
{
	return definition->mlock && doctor_is_of_memory(definition);
}

static bool
is_any(const struct definition *definition)
{
	return true;
}

/* Whose limits count. */
static bool
has_unit(const struct doctor *doctor)
{
	return doctor->service_error == 0;
}

static const char *
who_counts(const struct doctor *doctor)
{
	return has_unit(doctor) ? SERVICE_UNIT : "this process";
}

/* Says once why the unit's limits are not judged. False: nor can this process's. */
static bool
can_judge(struct doctor *doctor)
{
	if (doctor->service_error < 0 && doctor->service_error != -ENOENT)
		doctor_unread(doctor, "the limits of " SERVICE_UNIT, doctor->service_error);
	if (has_unit(doctor) || doctor->limits_error == 0)
		return true;
	doctor_unread(doctor, "the limits of this process (/proc/self/limits)", doctor->limits_error);
	return false;
}

static void
judge_memlock(struct doctor *doctor, uint64_t limit_bytes)
{
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], limit[TEXT_SIZE] = "any amount";
	struct doctor_set all, misfits;

	doctor_select(doctor, is_locked, &all);
	doctor_find_misfits(doctor, &all, limit_bytes, &misfits);
	text_format_size(doctor_set_bytes(&all), needed);
	if (limit_bytes != LIMITS_UNLIMITED)
		text_format_size(limit_bytes, limit);
	if (misfits.n) {
		findings_memlock_of(text, sizeof(text), who_counts(doctor), limit_bytes, doctor_set_bytes(&all), limit_bytes);
		doctor_add_placement(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "%s are to be locked, and %s may lock %s", needed, who_counts(doctor), limit);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

void
doctor_check_memlock(struct doctor *doctor)
{
	if (!can_judge(doctor))
		return;
	if (!has_unit(doctor))
		judge_memlock(doctor, doctor->limits.memlock_bytes);
	else if (doctor->service.has_ipc_lock)
		judge_memlock(doctor, LIMITS_UNLIMITED);
	else
		judge_memlock(doctor, doctor->service.memlock_bytes);
}

/* What the daemon holds open for a segment as long as it is there. */
static uint64_t
segment_fds(const struct definition *definition)
{
	bool has_control = definition_control_bytes(definition, 1, 1) > 0;

	return 1 + (has_control ? 2 : 0) + (definition->backend == DEFINITION_FILE ? 1 : 0);
}

void
doctor_check_nofile(struct doctor *doctor)
{
	uint64_t limit, reserved, needed = DAEMON_FDS, with_clients;
	struct doctor_set all, misfits = DOCTOR_SET_NULL;
	char text[FINDINGS_TEXT_SIZE];

	if (!can_judge(doctor))
		return;
	limit = has_unit(doctor) ? doctor->service.nofile : doctor->limits.nofile;
	reserved = min_u64(RESERVED_FDS, limit / 4);
	doctor_select(doctor, is_any, &all);
	for (size_t i = 0; i < all.n; i++) {
		needed += segment_fds(all.list[i]);
		if (needed + reserved > limit)
			doctor_set_add(doctor, &misfits, all.list[i]);
	}
	needed += reserved;
	with_clients = needed + CLIENT_FDS * (uint64_t)doctor->conf->daemon.limits.clients;
	if (misfits.n) {
		findings_nofile_of(text, sizeof(text), who_counts(doctor), limit, needed);
		doctor_add_failure(doctor, &misfits, text);
	} else if (with_clients > limit) {
		findings_nofile_of(text, sizeof(text), who_counts(doctor), limit, with_clients);
		doctor_add(doctor, DOCTOR_NOTE, NULL, "segments fit, but one user's connections (daemon.limits.clients) may take what "
		    "is left", text);
	} else {
		doctor_ok(doctor, "%llu descriptors are needed with one user's clients, and %s may have %llu",
		    (unsigned long long)with_clients, who_counts(doctor), (unsigned long long)limit);
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
