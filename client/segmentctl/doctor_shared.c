/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of what bounds memory that others find by a name: System V's limits, /dev/shm, and who removes objects. */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/audit_brief.h"
#include "host/shm.h"

#define PATIENCE_NS	NS_PER_SEC	/* for looking through all processes, for all objects together */
#define SYSTEM_UID_MAX	999		/* logind's, as it is built */

static bool
is_sysv(const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS);
}

static bool
is_posix(const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_DEV_SHM);
}

static bool
is_of_kernel(const struct definition *definition)
{
	return is_sysv(definition) || is_posix(definition);
}

static void
format_limit(uint64_t bytes, char buf[TEXT_SIZE])
{
	/* The kernel's default is less than all of 64 bits by some pages. */
	if (bytes > UINT64_MAX / 2)
		(void)strcpy(buf, "unlimited");
	else
		text_format_size(bytes, buf);
}

/* Its pages of data that are to be there and are not: of what is not prefaulted none. */
static uint64_t
data_bytes(const struct doctor *doctor, const struct definition *definition)
{
	uint64_t bytes = doctor_missing_bytes(doctor, definition);

	return definition->prefault ? bytes - min_u64(bytes, doctor_control_bytes(definition)) : 0;
}

/* Those that are to be made, and their objects, of which all counts: a limit stands against some. */
struct sysv_misfits {
	struct doctor_set set;
	enum shm_limit limit;		/* the first of them */
	uint64_t needed_bytes;		/* as findings_sysv() takes it */
};

static void
find_sysv_misfits(struct doctor *doctor, const struct doctor_set *set, const struct shm_limits *limits,
    struct sysv_misfits *misfits)
{
	uint64_t all_bytes = doctor_set_bytes(doctor, set, doctor_object_bytes), fitting_bytes = 0, n_fitting = 0;

	*misfits = (struct sysv_misfits) { .limit = SHM_LIMIT_NONE };
	for (size_t i = 0; i < set->n; i++) {
		uint64_t bytes = doctor_object_bytes(doctor, set->list[i]);
		enum shm_limit limit = shm_limits_judge(limits, bytes, fitting_bytes + bytes, n_fitting + 1);

		if (limit == SHM_LIMIT_NONE) {
			fitting_bytes += bytes;
			n_fitting++;
			continue;
		}
		doctor_set_add(doctor, &misfits->set, set->list[i]);
		/* One sentence names one limit: that of a single segment first, since no other helps without. */
		if (misfits->limit == SHM_LIMIT_NONE || (limit == SHM_LIMIT_MAX && misfits->limit != SHM_LIMIT_MAX)) {
			misfits->limit = limit;
			misfits->needed_bytes = bytes;
		} else if (limit == SHM_LIMIT_MAX) {
			misfits->needed_bytes = max_u64(misfits->needed_bytes, bytes);
		}
	}
	if (misfits->limit == SHM_LIMIT_ALL)
		misfits->needed_bytes = all_bytes;
}

static void
judge_keys(struct doctor *doctor, const struct doctor_set *set)
{
	char text[FINDINGS_TEXT_SIZE];
	struct sysv_row *rows;
	size_t n_rows;
	int r = sysv_read_rows(doctor->root, &rows, &n_rows);

	if (r < 0) {
		doctor_unread(doctor, "which keys are taken (/proc/sysvipc/shm)", r);
		return;
	}
	for (size_t i = 0; i < set->n; i++) {
		struct doctor_set one = { .list = &set->list[i], .n = 1 };

		for (size_t j = 0; j < n_rows && set->list[i]->has_key; j++) {
			if (rows[j].key != set->list[i]->key)
				continue;
			findings_sysv_taken(text, sizeof(text), &rows[j], doctor->limits.uid);
			doctor_add_taken(doctor, &one, rows[j].uid, text);
		}
	}
	free(rows);
}

void
doctor_check_sysv(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], most[TEXT_SIZE], all[TEXT_SIZE];
	struct shm_limits limits;
	struct doctor_set set;
	struct sysv_misfits misfits;
	int r = shm_limits_read_at(doctor->root, &limits);

	if (r < 0) {
		doctor_unread(doctor, "the limits of System V segments (/proc/sys/kernel/shm*, /proc/sysvipc/shm)", r);
		return;
	}
	doctor_select_new(doctor, is_sysv, &set);
	find_sysv_misfits(doctor, &set, &limits, &misfits);
	format_limit(limits.max_bytes, most);
	format_limit(limits.all_bytes, all);
	if (misfits.set.n) {
		findings_sysv(text, sizeof(text), misfits.limit, misfits.needed_bytes, set.n, &limits);
		doctor_add_failure(doctor, &misfits.set, text);
	} else {
		doctor_ok(doctor, "%zu System V segment%s to be made: kernel.shmmax is %s, kernel.shmall %s, and %llu of kernel.shmmni are free",
		    set.n, set.n == 1 ? "" : "s", most, all,
		    (unsigned long long)(limits.max_count - min_u64(limits.max_count, limits.used_count)));
	}
	judge_keys(doctor, &set);
	doctor_set_deinit(&misfits.set);
	doctor_set_deinit(&set);
}

static void
find_shm_misfits(struct doctor *doctor, const struct doctor_set *set, struct shm_mount *mount, struct doctor_set *ret_misfits)
{
	doctor_select_new(doctor, is_posix, ret_misfits);
	if (ret_misfits->n > mount->n_free_inodes)
		mount->n_free_inodes = 0;
	if (!shm_mount_has(mount, 0))
		return;
	doctor_set_deinit(ret_misfits);
	doctor_find_misfits(doctor, set, data_bytes, mount->free_bytes, ret_misfits);
}

static void
judge_shm(struct doctor *doctor, const struct doctor_set *set, struct shm_mount *mount)
{
	uint64_t needed_bytes = doctor_set_bytes(doctor, set, data_bytes);
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], left[TEXT_SIZE];
	struct doctor_set misfits;

	find_shm_misfits(doctor, set, mount, &misfits);
	text_format_size(needed_bytes, needed);
	format_limit(mount->free_bytes, left);
	if (misfits.n) {
		findings_shm(text, sizeof(text), needed_bytes, mount);
		doctor_add_failure(doctor, &misfits, text);
	} else if (!set->n) {
		doctor_ok(doctor, "no segment is a POSIX object; %s are free in /dev/shm", left);
	} else {
		doctor_ok(doctor, "%zu POSIX object%s: %s more are needed in /dev/shm, and %s are free (%s)", set->n,
		    set->n == 1 ? "" : "s", needed, left, mount->is_mounted ? mount->options : "no file system of its own");
	}
	doctor_set_deinit(&misfits);
}

static int
take_holder(const void *row, void *arg)
{
	audit_brief_add(arg, row);
	return 0;
}

/* As segmentd-audit tells it to the caller. False: it does not. */
static bool
ask_holders(const struct doctor *doctor, const struct stat *st, struct audit_brief *brief, char *buf, size_t size)
{
	const struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_WHO, .serial = 1, .n_rows = 1 };
	const struct audit_object object = { .device = st->st_dev, .inode = st->st_ino, .shm_id = -1 };
	struct audit_answer end;
	pid_t pid;
	int r, fd = audit_open(doctor->conf->daemon.audit_socket, &pid);

	if (fd < 0)
		return false;
	r = audit_ask(fd, &question, &object, take_holder, brief, &end);
	audit_close(fd, pid);
	if (r || end.result)
		return false;
	(void)audit_brief_describe(buf, size, brief, end.text, end.flags & AUDIT_INCOMPLETE);
	return true;
}

void
doctor_describe_holders(const struct doctor *doctor, const struct doctor_there *there, uint64_t until_ns, char *buf, size_t size)
{
	struct audit_brief brief = { .n = 0 };
	char who[FINDINGS_TEXT_SIZE];

	if (*doctor->root || clock_monotonic_ns() >= until_ns || !ask_holders(doctor, there->st, &brief, who, sizeof(who)))
		(void)snprintf(who, sizeof(who), "who has it cannot be told");
	(void)snprintf(buf, size, "%s%s", there->lease == LEASE_HELD && !brief.n ? "somebody has it open or mapped: " : "", who);
}

static void
judge_objects(struct doctor *doctor, const struct doctor_set *set)
{
	uint64_t until_ns = clock_monotonic_ns() + PATIENCE_NS;
	char text[2 * FINDINGS_TEXT_SIZE], who[FINDINGS_TEXT_SIZE + 64];
	struct stat st;

	for (size_t i = 0; i < set->n; i++) {
		cleanup_free char *path = NULL;
		struct doctor_set one = { .list = &set->list[i], .n = 1 };
		struct doctor_there there;
		bool is_held;

		if (asprintf(&path, "%s/dev/shm%s", doctor->root, set->list[i]->object) < 0) {
			path = NULL;
			doctor->error = -ENOMEM;
			return;
		}
		if (doctor_find_held(doctor, set->list[i]) || lstat(path, &st))
			continue;
		/* Of the daemon's own uid a lease says whether anybody has it, also where no process is to be seen. */
		there = (struct doctor_there) { .path = path, .st = &st,
			.lease = st.st_uid == doctor->limits.uid ? lease_ask(path, &st) : LEASE_UNKNOWN };
		is_held = there.lease != LEASE_FREE;
		if (is_held)
			doctor_describe_holders(doctor, &there, until_ns, who, sizeof(who));
		findings_posix_taken(text, sizeof(text), set->list[i]->object, &st, doctor->limits.uid, is_held ? who : NULL);
		doctor_add_taken(doctor, &one, st.st_uid, text);
	}
}

void
doctor_check_shm(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE];
	struct shm_mount mount;
	struct doctor_set set;
	int r = shm_mount_read_at(doctor->root, &mount);

	doctor_select(doctor, is_posix, &set);
	if (r < 0 && set.n) {
		findings_shm_unreachable(text, sizeof(text), r);
		doctor_add_failure(doctor, &set, text);
	} else if (r < 0) {
		doctor_unread(doctor, "/dev/shm", r);
	} else {
		judge_shm(doctor, &set, &mount);
		judge_objects(doctor, &set);
	}
	doctor_set_deinit(&set);
}

void
doctor_check_remove_ipc(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], where[256], name[TEXT_USER_SIZE];
	uint32_t uid = doctor->limits.uid, gid;
	struct doctor_set set;
	bool removes;
	int r = service_remove_ipc(doctor->root, &removes, where, sizeof(where));

	if (r == -ENOENT) {
		doctor_ok(doctor, "there is no logind, which removes objects of users who log out");
		return;
	}
	if (r < 0) {
		doctor_unread(doctor, "logind.conf", r);
		return;
	}
	if (doctor->service_error == 0 && !doctor->daemon_pid && !service_find_user(&doctor->service, &uid, &gid)) {
		(void)snprintf(text, sizeof(text), "the user '%s' of " SERVICE_UNIT " does not exist. Remedy: `useradd --system %s`",
		    doctor->service.user, doctor->service.user);
		doctor_add(doctor, DOCTOR_PROBLEM, NULL, "the unit does not start", text);
		return;
	}
	text_format_user(uid, name);
	if (!removes || uid <= SYSTEM_UID_MAX) {
		doctor_ok(doctor, removes ? "logind leaves objects of system users, as '%s' is" :
		    "logind removes no objects of users who log out (RemoveIPC=no)%.0s", name);
		return;
	}
	findings_remove_ipc(text, sizeof(text), name, where);
	doctor_select(doctor, is_of_kernel, &set);
	if (set.n)
		doctor_add(doctor, DOCTOR_PROBLEM, &set, "will be gone then, under whoever uses them", text);
	else
		doctor_add(doctor, DOCTOR_NOTE, NULL, "no segment is of such an object; memory of memfds stays", text);
	doctor_set_deinit(&set);
}
