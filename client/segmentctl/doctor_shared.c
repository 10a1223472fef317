/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of what bounds backends other than memfd: System V's limits, /dev/shm, disks, and who removes objects. */
#include "config.h"

#include <libgen.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/shm.h"

#define SYSTEM_UID_MAX	999		/* logind's, as it is built */

static bool
is_sysv(const struct definition *definition)
{
	return definition->backend == DEFINITION_SYSV;
}

static bool
is_posix(const struct definition *definition)
{
	return definition->backend == DEFINITION_POSIX;
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

/* The object is made at max_size, and all of it counts. Segments that a limit stands against; *ret_limit: the first one. */
static void
find_sysv_misfits(struct doctor *doctor, const struct doctor_set *set, const struct shm_limits *limits,
    struct doctor_set *ret_misfits, enum shm_limit *ret_limit, uint64_t *ret_needed_bytes)
{
	uint64_t all_bytes = 0, fitting_bytes = 0, n_fitting = 0;

	*ret_misfits = (struct doctor_set) DOCTOR_SET_NULL;
	*ret_limit = SHM_LIMIT_NONE;
	for (size_t i = 0; i < set->n; i++) {
		uint64_t bytes = set->list[i]->max_size_bytes;
		enum shm_limit limit = shm_limits_judge(limits, bytes, fitting_bytes + bytes, n_fitting + 1);

		all_bytes += bytes;
		if (limit == SHM_LIMIT_NONE) {
			fitting_bytes += bytes;
			n_fitting++;
			continue;
		}
		doctor_set_add(doctor, ret_misfits, set->list[i]);
		/* One sentence names one limit: that of a single segment first, since no other helps without. */
		if (*ret_limit == SHM_LIMIT_NONE || (limit == SHM_LIMIT_MAX && *ret_limit != SHM_LIMIT_MAX)) {
			*ret_limit = limit;
			*ret_needed_bytes = bytes;
		} else if (limit == SHM_LIMIT_MAX) {
			*ret_needed_bytes = max_u64(*ret_needed_bytes, bytes);
		}
	}
	if (*ret_limit == SHM_LIMIT_ALL)
		*ret_needed_bytes = all_bytes;
}

void
doctor_check_sysv(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], most[TEXT_SIZE], all[TEXT_SIZE];
	struct shm_limits limits;
	struct doctor_set set, misfits;
	enum shm_limit limit;
	uint64_t needed_bytes = 0;
	int r = shm_limits_read_at(doctor->root, &limits);

	if (r < 0) {
		doctor_unread(doctor, "the limits of System V segments (/proc/sys/kernel/shm*, /proc/sysvipc/shm)", r);
		return;
	}
	doctor_select(doctor, is_sysv, &set);
	find_sysv_misfits(doctor, &set, &limits, &misfits, &limit, &needed_bytes);
	format_limit(limits.max_bytes, most);
	format_limit(limits.all_bytes, all);
	if (misfits.n) {
		findings_sysv(text, sizeof(text), limit, needed_bytes, set.n, &limits);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "%zu System V segment%s: kernel.shmmax is %s, kernel.shmall %s, and %llu of kernel.shmmni are free",
		    set.n, set.n == 1 ? "" : "s", most, all,
		    (unsigned long long)(limits.max_count - min_u64(limits.max_count, limits.used_count)));
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&set);
}

static void
judge_shm(struct doctor *doctor, const struct doctor_set *set, const struct shm_mount *mount)
{
	uint64_t left_bytes = mount->is_read_only || !mount->n_free_inodes ? 0 : mount->free_bytes;
	uint64_t left_inodes = mount->n_free_inodes;
	char text[FINDINGS_TEXT_SIZE], left[TEXT_SIZE];
	struct doctor_set misfits = DOCTOR_SET_NULL;

	for (size_t i = 0; i < set->n; i++) {
		if (set->list[i]->size_bytes > left_bytes || !left_inodes) {
			doctor_set_add(doctor, &misfits, set->list[i]);
			continue;
		}
		left_bytes -= set->list[i]->size_bytes;
		left_inodes--;
	}
	format_limit(mount->free_bytes, left);
	if (misfits.n) {
		findings_shm(text, sizeof(text), doctor_set_bytes(set), mount);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "%zu POSIX object%s: /dev/shm has %s free (%s)", set->n, set->n == 1 ? "" : "s", left,
		    mount->is_mounted ? mount->options : "no file system of its own");
	}
	doctor_set_deinit(&misfits);
}

void
doctor_check_shm(struct doctor *doctor)
{
	struct shm_mount mount;
	struct doctor_set set;
	int r = shm_mount_read_at(doctor->root, &mount);

	if (r < 0) {
		doctor_unread(doctor, "/dev/shm", r);
		return;
	}
	doctor_select(doctor, is_posix, &set);
	judge_shm(doctor, &set, &mount);
	doctor_set_deinit(&set);
}

/* Blocks that the file lacks: it may be there already. */
static int
read_disk(const struct doctor *doctor, const struct definition *definition, uint64_t *ret_lacks, uint64_t *ret_free)
{
	cleanup_free char *path = NULL, *dir = NULL;
	struct statvfs fs;
	struct stat st;
	uint64_t has = 0;

	if (asprintf(&path, "%s%s", doctor->root, definition->path) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	dir = strdup(path);
	if (!dir)
		return -ENOMEM;
	if (statvfs(dirname(dir), &fs) < 0)
		return -errno;
	if (stat(path, &st) == 0)
		has = (uint64_t)st.st_blocks * 512;
	*ret_lacks = definition->max_size_bytes - min_u64(definition->max_size_bytes, has);
	*ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

/* Each by itself: files of one file system are not summed. */
static void
judge_disk(struct doctor *doctor, const struct definition *definition)
{
	struct doctor_set set = DOCTOR_SET_NULL;
	uint64_t lacks, left;
	char text[FINDINGS_TEXT_SIZE], size[TEXT_SIZE];
	int r = read_disk(doctor, definition, &lacks, &left);

	doctor_set_add(doctor, &set, definition);
	if (r < 0) {
		(void)snprintf(text, sizeof(text), "the folder of '%s' cannot be had: %s. Remedy: `mkdir -p` of it, as the daemon's "
		    "user, or another path", definition->path, strerror(-r));
		doctor_add_failure(doctor, &set, text);
	} else if (lacks > left) {
		findings_disk(text, sizeof(text), definition->path, lacks, left);
		doctor_add_failure(doctor, &set, text);
	} else {
		text_format_size(left, size);
		doctor_ok(doctor, "'%s' fits: its file system has %s free", definition->path, size);
	}
	doctor_set_deinit(&set);
}

void
doctor_check_disk(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->conf->n_segments; i++)
		if (doctor->conf->segments[i]->backend == DEFINITION_FILE && doctor->conf->segments[i]->path)
			judge_disk(doctor, doctor->conf->segments[i]);
}

/* The unit's user, by name or by number, else ours. False: there is none of that name. */
static bool
find_user(const struct doctor *doctor, char *name, size_t size, uid_t *ret_uid)
{
	const char *word = doctor->service.user;
	const struct passwd *user;
	unsigned long number;
	char *end;

	if (doctor->service_error == 0 && *word) {
		(void)snprintf(name, size, "%s", word);
		user = getpwnam(word);
		number = strtoul(word, &end, 10);
		*ret_uid = user ? user->pw_uid : (uid_t)number;
		return user || *end == '\0';
	}
	*ret_uid = doctor->service_error == 0 ? 0 : getuid();
	user = getpwuid(*ret_uid);
	(void)snprintf(name, size, "%s", user ? user->pw_name : "this user");
	return true;
}

void
doctor_check_remove_ipc(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], where[256], name[64];
	struct doctor_set set;
	bool removes;
	uid_t uid;
	int r = service_remove_ipc(doctor->root, &removes, where, sizeof(where));

	if (r == -ENOENT) {
		doctor_ok(doctor, "there is no logind, which removes objects of users who log out");
		return;
	}
	if (r < 0) {
		doctor_unread(doctor, "logind.conf", r);
		return;
	}
	if (!find_user(doctor, name, sizeof(name), &uid)) {
		(void)snprintf(text, sizeof(text), "the user '%s' of " SERVICE_UNIT " does not exist, or has no entry", name);
		doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
		return;
	}
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
