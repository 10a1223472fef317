/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's check of the rules of orphans: whether there is somebody who may judge and remove what they are about. The daemon has
 * no right to others' objects itself, and asks segmentd-audit, by its socket or as a child of its own.
 */
#include "config.h"

#include <grp.h>
#include <sys/stat.h>

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"

#define GROUPS_MAX	256

/* What the daemon can do by itself: of System V segments of its own user. */
static size_t
count_others(const struct doctor *doctor)
{
	size_t n = 0;

	for (size_t i = 0; i < doctor->conf->n_orphans; i++) {
		const struct conf_orphan *rule = &doctor->conf->orphans[i];

		n += !rule->is_sysv || !rule->has_user || rule->user != doctor->limits.uid;
	}
	return n;
}

static bool
is_in_group(const char *user, uint32_t gid, uint32_t group)
{
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (gid == group)
		return true;
	if (getgrouplist(user, gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* Whether the socket's permissions let the daemon in: it keeps no right to go past them, root or not. */
static bool
lets_in(const struct doctor *doctor, const struct stat *status)
{
	uint32_t uid = doctor->limits.uid, gid = getegid();
	char user[TEXT_USER_SIZE];

	if (status->st_uid == uid)
		return status->st_mode & 0200;
	if (doctor->service_error == 0)
		(void)service_find_user(&doctor->service, &uid, &gid);
	text_format_user(uid, user);
	if (is_in_group(user, gid, status->st_gid))
		return status->st_mode & 0020;
	return status->st_mode & 0002;
}

static void
tell_alone(struct doctor *doctor, const char *path, const struct stat *status, size_t n_others)
{
	char text[FINDINGS_TEXT_SIZE], user[TEXT_USER_SIZE], group[TEXT_USER_SIZE];

	text_format_user(doctor->limits.uid, user);
	if (status) {
		text_format_group(status->st_gid, group);
		(void)snprintf(text, sizeof(text), "%s does not let '%s' in (mode %04o, group '%s'), so that segmentd starts "
		    "segmentd-audit itself, and has of it no more rights than its own: %zu of %zu rules of orphans may be about "
		    "objects of other users, which it can neither judge nor remove. Remedy: `usermod -a -G %s %s`, and restart "
		    "segmentd", path, user, status->st_mode & 07777, group, n_others, doctor->conf->n_orphans, group, user);
	} else {
		(void)snprintf(text, sizeof(text), "nobody listens at %s, so that segmentd starts segmentd-audit itself, and has of it "
		    "no more rights than its own: %zu of %zu rules of orphans may be about objects of other users than '%s', which it "
		    "can neither judge nor remove. Remedy: `systemctl enable --now segmentd-audit.socket`", path, n_others,
		    doctor->conf->n_orphans, user);
	}
	doctor_add(doctor, DOCTOR_PROBLEM, NULL, "such objects stay", text);
}

void
doctor_check_orphans(struct doctor *doctor)
{
	size_t n = doctor->conf->n_orphans, n_others = count_others(doctor);
	const char *socket = doctor->conf->daemon.audit_socket;
	cleanup_free char *path = NULL;
	struct stat status;
	bool is_there;

	if (!n) {
		doctor_ok(doctor, "there is no rule of orphans");
		return;
	}
	if (asprintf(&path, "%s%s", doctor->root, socket) < 0) {
		path = NULL;
		doctor->error = -ENOMEM;
		return;
	}
	is_there = stat(path, &status) == 0 && S_ISSOCK(status.st_mode);
	if (is_there && lets_in(doctor, &status))
		doctor_ok(doctor, "%zu rule%s of orphans: segmentd-audit listens at %s", n, n == 1 ? "" : "s", socket);
	else if (!n_others)
		doctor_ok(doctor, "%zu rule%s of orphans, about objects of the daemon's own user alone", n, n == 1 ? "" : "s");
	else
		tell_alone(doctor, socket, is_there ? &status : NULL, n_others);
}
