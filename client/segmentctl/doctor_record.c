/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's check of what an earlier daemon left, and of what the next start does about it: as the daemon finds it out, by its
 * record, which is read and never written, and by the kernel's word of who has it. Beside a daemon that runs the record is about
 * that one's own objects, and is not read.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "client/segmentctl/doctor.h"

#define DEV_SHM		"/dev/shm"
#define POSIX		"posix"
#define SYSV		"sysv"
#define PATIENCE_NS	NS_PER_SEC	/* for looking through all processes, for all objects together */
#define TOLD_MAX	16		/* of what nobody wants: a line each */

static void
tell(const char *text, void *arg)
{
	struct doctor *doctor = arg;
	char what[FINDINGS_TEXT_SIZE];

	(void)snprintf(what, sizeof(what), "the record of what segmentd left in '%s': %s", doctor->conf->daemon.state_dir, text);
	doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, what);
}

static int
read_record(struct doctor *doctor, struct record_found *found)
{
	cleanup_free char *path = NULL;
	cleanup_close int dir_fd = -1;

	if (asprintf(&path, "%s%s", doctor->root, doctor->conf->daemon.state_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return record_read(doctor->root, dir_fd, doctor->limits.uid, tell, doctor, found);
}

/* What was left, and what is there. */
struct left {
	struct doctor *doctor;
	struct record_found found;
	int error;			/* the record cannot be read: the negative errno */
	struct sysv_row *shm;
	size_t n_shm;
	uint64_t until_ns;		/* that may be looked for holders */
};

/* Of what cannot be read it is said, and what would show it. */
static void
left_init(struct left *left, struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE];

	*left = (struct left) { .doctor = doctor, .until_ns = clock_monotonic_ns() + PATIENCE_NS };
	if (sysv_read_rows(doctor->root, &left->shm, &left->n_shm) < 0)
		left->n_shm = 0;
	if (doctor->conf->daemon.state_dir)
		left->error = read_record(doctor, &left->found);
	if (left->error == -ENOMEM)
		doctor->error = -ENOMEM;
	if (!left->error)
		return;
	(void)snprintf(text, sizeof(text), "what an earlier segmentd left cannot be told: its record '%s/" RECORD_FILE "' cannot be read: %s. "
	    "Remedy: run `segmentctl doctor` as root, or as the user of segmentd", doctor->conf->daemon.state_dir, strerror(-left->error));
	doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
}

static void
left_deinit(struct left *left)
{
	free(left->shm);
	record_found_deinit(&left->found);
}

static bool
is_posix_of(const struct record_row *row, const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_DEV_SHM) && streq(row->backend, POSIX) && streq(row->object, definition->object);
}

static bool
is_sysv_of(const struct record_row *row, const struct definition *definition)
{
	if (!definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) || !streq(row->backend, SYSV))
		return false;
	return definition->has_key ? row->key == definition->key : record_is_private_of(row, definition->name);
}

static bool
is_of(const struct record_row *row, const struct definition *definition)
{
	return is_posix_of(row, definition) || is_sysv_of(row, definition);
}

static bool
is_proved(const struct doctor *doctor, const struct record_row *row, const struct doctor_there *there)
{
	enum record_proof proof = RECORD_IS_OTHER;
	uint64_t born_ns;

	if (there->shm)
		proof = row->ipc_namespace != sysv_namespace() || (row->state != RECORD_INTENT && row->shm_id != there->shm->id) ?
		    RECORD_IS_OTHER : record_prove_sysv(row, there->shm, doctor->limits.uid);
	else if (record_born_ns(AT_FDCWD, there->path, &born_ns) == 0)
		proof = record_prove_file(row, there->st, born_ns, doctor->limits.uid);
	return proof == RECORD_PROVED;
}

/* "posix /a, which segmentd 123 left that was killed". */
static const char *
describe(char *buf, size_t size, const struct record_row *row)
{
	(void)snprintf(buf, size, "%s %s, which segmentd %" PRId32 " left, that was killed,", row->backend, record_object(row),
	    row->maker_pid);
	return buf;
}

/* What somebody has who may have it: in words. */
static const char *
has_it(enum lease lease)
{
	return lease == LEASE_HELD ? "somebody has it" : lease == LEASE_FREE ? "nobody has it" : "whether anybody has it cannot be told";
}

static void
tell_wanted(const struct left *left, const struct record_row *row, const struct definition *definition,
    const struct doctor_there *there)
{
	struct doctor *doctor = left->doctor;
	struct doctor_set one = { .list = &definition, .n = 1 };
	bool has_locks = doctor_control_bytes(definition) > 0;
	char what[640], text[3 * FINDINGS_TEXT_SIZE], held_text[FINDINGS_TEXT_SIZE], free_text[FINDINGS_TEXT_SIZE];
	char who[FINDINGS_TEXT_SIZE + 64] = "";
	const char *if_held = record_misfit(row, definition, has_locks, true, held_text, sizeof(held_text));
	const char *if_free = record_misfit(row, definition, has_locks, false, free_text, sizeof(free_text));

	(void)describe(what, sizeof(what), row);
	if ((there->lease == LEASE_HELD || !if_free) && (there->lease == LEASE_FREE || !if_held)) {
		(void)snprintf(text, sizeof(text), "%s will be taken over by the next start, with what is in it; %s", what,
		    has_it(there->lease));
		doctor_add(doctor, DOCTOR_NOTE, &one, "will be ready with what is in it", text);
	} else if (there->lease == LEASE_FREE) {
		(void)snprintf(text, sizeof(text), "%s will be removed by the next start, and made anew: %s; nobody has it", what, if_free);
		doctor_add(doctor, DOCTOR_NOTE, &one, "will be ready, without what is in it now", text);
	} else if (there->lease == LEASE_HELD && record_is_private(row)) {
		(void)snprintf(text, sizeof(text), "%s will be left to who has it by the next start, and another one made: it cannot be taken "
		    "over (%s)", what, if_held);
		doctor_add(doctor, DOCTOR_NOTE, &one, "will be ready, without what is in it now", text);
	} else if (there->lease == LEASE_HELD) {
		if (there->st)
			doctor_describe_holders(doctor, there, left->until_ns, who, sizeof(who));
		(void)snprintf(text, sizeof(text), "%s will be kept by the next start: it cannot be taken over (%s), nor removed while somebody "
		    "has it%s%s. Remedy: end the programs that have it: then it is removed, and the segment made anew", what, if_held,
		    *who ? ": " : "", who);
		doctor_add_failure(doctor, &one, text);
	} else {
		(void)snprintf(text, sizeof(text), "%s %s: if somebody has, the next start %s%s; if nobody, it %s%s", what, has_it(there->lease),
		    if_held ? "keeps it, and the segment fails: " : "takes it over", if_held ? if_held : "",
		    if_free ? "removes it and makes it anew: " : "takes it over", if_free ? if_free : "");
		doctor_add(doctor, DOCTOR_NOTE, &one, "may fail", text);
	}
}

/* Whose it is cannot be known without the record: it may be what the next start takes over. */
static void
tell_unknown(struct doctor *doctor, const struct definition *definition)
{
	struct doctor_set one = { .list = &definition, .n = 1 };
	char text[FINDINGS_TEXT_SIZE], key[32];

	(void)snprintf(key, sizeof(key), "key 0x%08x", (unsigned)definition->key);
	(void)snprintf(text, sizeof(text), "%s is taken by what belongs to segmentd's own user: what its record proves to be left by an "
	    "earlier segmentd the next start takes over, removes or keeps, and with anything else the segment fails",
	    definition->object ? definition->object : key);
	doctor_add(doctor, DOCTOR_NOTE, &one, "the record would tell, which cannot be read", text);
}

/* What stands in the place of one that is to be made. It was told: whoever checks for room or names counts it as being there. */
static void
judge_wanted(const struct left *left, const struct definition *definition, const struct doctor_there *there)
{
	struct doctor *doctor = left->doctor;
	const struct sysv_row *shm = there->shm;
	bool is_told = false;

	for (size_t i = 0; i < left->found.n_rows && !is_told; i++) {
		const struct record_row *row = &left->found.rows[i];

		is_told = is_of(row, definition) && is_proved(doctor, row, there);
		if (is_told)
			tell_wanted(left, row, definition, there);
	}
	if (!is_told && left->error && (shm ? shm->creator_uid : there->st->st_uid) == doctor->limits.uid) {
		tell_unknown(doctor, definition);
		is_told = true;
	}
	if (is_told && shm)
		doctor_hold(doctor, definition->name, definition->backend, shm->resident_bytes, shm->mode & SYSV_LOCKED ? shm->resident_bytes : 0);
	else if (is_told)
		doctor_hold(doctor, definition->name, definition->backend, (uint64_t)there->st->st_blocks * 512, 0);
}

static enum lease
lease_of(const struct sysv_row *shm)
{
	return shm->n_attached ? LEASE_HELD : LEASE_FREE;
}

/* By its key, which only the record tells. */
static void
find_wanted_private(const struct left *left, const struct definition *definition)
{
	for (size_t i = 0; i < left->found.n_rows; i++)
		for (size_t j = 0; is_sysv_of(&left->found.rows[i], definition) && j < left->n_shm; j++)
			if (left->shm[j].key == left->found.rows[i].key) {
				struct doctor_there there = { .shm = &left->shm[j], .lease = lease_of(&left->shm[j]) };

				judge_wanted(left, definition, &there);
				return;
			}
}

static void
find_wanted(const struct left *left, const struct definition *definition)
{
	cleanup_free char *path = NULL;
	struct doctor *doctor = left->doctor;
	struct doctor_there there = { 0 };
	struct stat st;

	if (definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) && !definition->has_key)
		find_wanted_private(left, definition);
	for (size_t i = 0; definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) && definition->has_key && i < left->n_shm; i++)
		if (left->shm[i].key == definition->key) {
			there = (struct doctor_there) { .shm = &left->shm[i], .lease = lease_of(&left->shm[i]) };
			judge_wanted(left, definition, &there);
			return;
		}
	if (!definition_takes(definition, DEFINITION_TAKES_DEV_SHM))
		return;
	if (asprintf(&path, "%s" DEV_SHM "%s", doctor->root, definition->object) < 0) {
		path = NULL;
		doctor->error = -ENOMEM;
		return;
	}
	if (lstat(path, &st))
		return;
	there = (struct doctor_there) { .path = path, .st = &st,
		.lease = st.st_uid == doctor->limits.uid ? lease_ask(path, &st) : LEASE_UNKNOWN };
	judge_wanted(left, definition, &there);
}

/* What no segment wants. */

/* False: it is not there, or another one. */
static bool
find_posix(const struct doctor *doctor, const struct record_row *row, enum lease *ret_lease)
{
	cleanup_free char *path = NULL;
	struct doctor_there there = { 0 };
	struct stat st;

	if (row->object[0] != '/' || strchr(row->object + 1, '/') || asprintf(&path, "%s" DEV_SHM "%s", doctor->root, row->object) < 0) {
		path = NULL;
		return false;
	}
	if (lstat(path, &st))
		return false;
	there = (struct doctor_there) { .path = path, .st = &st };
	if (!is_proved(doctor, row, &there))
		return false;
	*ret_lease = lease_ask(path, &st);
	return true;
}

static bool
find_sysv(const struct left *left, const struct record_row *row, enum lease *ret_lease)
{
	for (size_t i = 0; i < left->n_shm; i++) {
		struct doctor_there there = { .shm = &left->shm[i] };

		if (left->shm[i].key == row->key && is_proved(left->doctor, row, &there)) {
			*ret_lease = lease_of(&left->shm[i]);
			return true;
		}
	}
	return false;
}

static bool
is_wanted(const struct doctor *doctor, const struct record_row *row)
{
	for (size_t i = 0; i < doctor->conf->n_segments; i++)
		if (is_of(row, doctor->conf->segments[i]))
			return true;
	return false;
}

static void
tell_unwanted(struct doctor *doctor, const struct record_row *row, enum lease lease)
{
	char what[640], text[2 * FINDINGS_TEXT_SIZE];

	(void)describe(what, sizeof(what), row);
	if (lease == LEASE_HELD)
		(void)snprintf(text, sizeof(text), "%s will be kept by the next start, because somebody has it, and removed when they are gone: "
		    "the configuration has it no more", what);
	else
		(void)snprintf(text, sizeof(text), "%s will be removed by the next start%s: the configuration has it no more; %s", what,
		    lease == LEASE_FREE ? "" : ", unless somebody has it", has_it(lease));
	doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
}

static void
judge_unwanted(const struct left *left)
{
	struct doctor *doctor = left->doctor;
	size_t n = 0;

	for (size_t i = 0; i < left->found.n_rows; i++) {
		const struct record_row *row = &left->found.rows[i];
		enum lease lease;

		if (is_wanted(doctor, row) || !(streq(row->backend, POSIX) ? find_posix(doctor, row, &lease) :
		    streq(row->backend, SYSV) && find_sysv(left, row, &lease)))
			continue;
		if (n++ < TOLD_MAX)
			tell_unwanted(doctor, row, lease);
	}
	if (n > TOLD_MAX)
		doctor_ok(doctor, "%zu objects more that an earlier segmentd left are of no segment either", n - TOLD_MAX);
}

void
doctor_check_record(struct doctor *doctor)
{
	size_t n_rows = doctor->n_rows;
	struct left left;

	if (doctor->has_daemon) {
		doctor_ok(doctor, "segmentd runs, and has found what one before it left");
		return;
	}
	left_init(&left, doctor);
	for (size_t i = 0; i < doctor->conf->n_segments; i++)
		find_wanted(&left, doctor->conf->segments[i]);
	doctor_sort_held(doctor);
	judge_unwanted(&left);
	left_deinit(&left);
	if (doctor->n_rows == n_rows)
		doctor_ok(doctor, "no earlier segmentd has left anything that can be told");
}
