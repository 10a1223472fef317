/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * An object below /dev/shm, which programs that know nothing of us open by its name. It is made exclusively: what is there
 * already is taken over only where the record proves that an earlier daemon made it, and what is not ours is never removed. Until
 * it is ready nobody but our own uid may open it.
 *
 * It is made without a name, entered in the record by its inode, and named by a link, which fails where there is one already. So
 * what is killed on the way leaves nothing, and what has the name is in the record. The link is a worker's errand, since whoever
 * keeps the directory's lock has it wait (daemon/backend/posix_names.c).
 *
 * It cannot be sealed. Who may write it may cut it short, and a touch behind its end is SIGBUS: whatever touches it here and
 * in workers does so guarded, and check() tells of it.
 *
 * Its pages are those of a file system with a size, which is judged before a page is taken: of all objects together what they
 * were promised and have not yet.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/backend/posix.h"
#include "daemon/log.h"
#include "daemon/procfd.h"
#include "host/findings.h"
#include "host/object.h"

#define PAGE_BYTES	4096

/* What is known of an object beside its descriptor. */
struct posix {
	char *path;
	char *segment;			/* whose it is */
	struct record_entry entry;	/* its row, as long as it has its name */
	int fd;				/* the object's, to ask by; -1: its name is given up */
	int dir_fd;			/* until it has its name: the one of all; else -1 */
	struct leaving *leaving;	/* for its end; NULL: that has come */
	uint64_t wanted_bytes;		/* that it is to have in the end */
	struct posix_admission admission;
	bool is_promised;		/* it may not have all of them yet */
	LIST_ENTRY(posix) promised_entry;	/* only then */
	LIST_ENTRY(posix) named_entry;	/* as long as it has its name, or is to have it */
};

static LIST_HEAD(, posix) posix_promised = LIST_HEAD_INITIALIZER(posix_promised);
static LIST_HEAD(, posix) posix_named = LIST_HEAD_INITIALIZER(posix_named);

static void
posix_keep(struct posix *posix)
{
	if (posix->is_promised)
		LIST_REMOVE(posix, promised_entry);
	posix->is_promised = false;
}

static void
posix_leave_dir(struct posix *posix)
{
	if (posix->dir_fd >= 0)
		posix_names_leave_dir();
	posix->dir_fd = -1;
}

static struct posix *
posix_free(struct posix *posix)
{
	if (!posix)
		return NULL;
	posix_keep(posix);
	posix_leave_dir(posix);
	posix_admission_deinit(&posix->admission);
	free(posix->leaving);
	free(posix->path);
	free(posix->segment);
	free(posix);
	return NULL;
}

static void
posix_promise(struct posix *posix, uint64_t wanted_bytes)
{
	posix_keep(posix);
	posix->wanted_bytes = wanted_bytes;
	posix->is_promised = true;
	LIST_INSERT_HEAD(&posix_promised, posix, promised_entry);
}

/* What all objects but this one are still to get. Those that have all are not asked again. */
static uint64_t
posix_promised_bytes(const struct posix *except)
{
	struct posix *posix, *next;
	struct stat status;
	uint64_t bytes = 0;

	for (posix = LIST_FIRST(&posix_promised); posix; posix = next) {
		next = LIST_NEXT(posix, promised_entry);
		if (posix == except || fstat(posix->fd, &status))
			continue;
		if ((uint64_t)status.st_blocks * 512 >= posix->wanted_bytes)
			posix_keep(posix);
		else
			bytes += posix->wanted_bytes - (uint64_t)status.st_blocks * 512;
	}
	return bytes;
}

/* Whether /dev/shm has needed_bytes more, beside what was promised to others. */
static int
posix_judge(const struct posix *except, uint64_t needed_bytes, char *text, size_t text_size)
{
	struct shm_mount mount;
	int r;

	r = shm_mount_read(&mount);
	if (r) {
		findings_shm_unreachable(text, text_size, r);
		return r;
	}
	if (mount.size_bytes != UINT64_MAX)
		mount.free_bytes -= min_u64(mount.free_bytes, posix_promised_bytes(except));
	if (shm_mount_has(&mount, needed_bytes))
		return 0;
	findings_shm(text, text_size, needed_bytes, &mount);
	return !mount.is_tmpfs ? -EOPNOTSUPP : mount.is_read_only ? -EROFS : -ENOSPC;
}

/* The object of ours that has this path, or is to have it; or NULL. */
static const struct posix *
posix_find(const char *path)
{
	const struct posix *posix;

	LIST_FOREACH(posix, &posix_named, named_entry)
		if (streq(posix->path, path))
			return posix;
	return NULL;
}

bool
backend_has_object(const char *name)
{
	const struct posix *posix;
	char path[POSIX_PATH_SIZE];

	LIST_FOREACH(posix, &posix_named, named_entry)
		if (streq(posix->path + sizeof(POSIX_DIR), name))
			return true;
	(void)snprintf(path, sizeof(path), "%s/%s", POSIX_DIR, name);
	return posix_names_are_leaving(path);
}

static int
posix_refuse_taken(const char *path, char *text, size_t text_size)
{
	const struct posix *ours = posix_find(path);

	if (!ours) {
		posix_taken_explain(path + strlen(POSIX_DIR), NULL, text, text_size);
		return -EEXIST;
	}
	(void)snprintf(text, text_size, "object %s is still that of segment '%s', which is on its way out: somebody holds it. "
	    "Remedy: retry when that is gone, or `segmentctl remove --now %s` and retry", path + strlen(POSIX_DIR), ours->segment,
	    ours->segment);
	return -EBUSY;
}

static int
posix_enter(struct posix *posix, struct record_row *row, const struct backend_birth *birth, char *text, size_t text_size)
{
	struct stat status;
	int r;

	if (fstat(posix->fd, &status) || record_born_ns(posix->fd, "", &row->born_ns))
		return posix_fail("looking at", posix->path, text, text_size);
	row->state = RECORD_MADE;
	row->device = status.st_dev;
	row->inode = status.st_ino;
	row->map_bytes = (uint64_t)status.st_size;
	r = record_add(birth->record, row, &posix->entry);
	if (r)
		(void)snprintf(text, text_size, "%s cannot be entered in the record in state_dir: %s", posix->path, strerror(-r));
	return r;
}

static void
posix_name_of(const struct definition *definition, char *name, size_t name_size)
{
	(void)snprintf(name, name_size, "%s", definition->object);
}

static struct posix *
posix_new(const char *segment, const char *object)
{
	struct posix *posix = calloc(1, sizeof(*posix));

	if (!posix)
		return NULL;
	posix->fd = posix->dir_fd = -1;
	posix->segment = strdup(segment);
	if (asprintf(&posix->path, "%s%s", POSIX_DIR, object) < 0)
		posix->path = NULL;
	else
		posix->leaving = posix_names_reserve(posix->path);
	posix->admission = (struct posix_admission) { .segment = posix->segment, .path = posix->path };
	return posix->segment && posix->path && posix->leaving ? posix : posix_free(posix);
}

static void
posix_hand_over(struct posix *posix, uint64_t map_bytes, struct backend_object *ret_object)
{
	LIST_INSERT_HEAD(&posix_named, posix, named_entry);
	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	ret_object->fd = posix->fd;
	ret_object->map_bytes = map_bytes;
	ret_object->own = posix;
	ret_object->entry = &posix->entry;
}

/* Whether somebody has the name, as far as can be told without waiting: the worker who gives it finds out. */
static bool
posix_is_taken(const struct posix *posix)
{
	struct stat status;

	if (posix_find(posix->path))
		return true;
	/* What is asked for here is done after what goes. */
	return !posix_names_are_leaving(posix->path) &&
	    object_stat_known(posix->dir_fd, posix->path + sizeof(POSIX_DIR), &status) == 0;
}

/* All of it but its name, for which a worker is sent. */
static int
posix_create(const struct definition *definition, const struct backend_birth *birth, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	uint64_t wanted_bytes = round_up(definition->size_bytes, PAGE_BYTES);
	uint64_t map_bytes = round_up(definition->max_size_bytes, PAGE_BYTES);
	struct posix *posix = posix_new(definition->name, definition->object);
	struct record_row row;
	int r;

	if (!posix) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	posix->dir_fd = posix_names_enter_dir();
	errno = posix->dir_fd < 0 ? -posix->dir_fd : 0;
	r = errno ? posix_fail("opening", POSIX_DIR, text, text_size) : 0;
	/* What has the name may be what takes the room, too: that is told first. */
	if (r == 0 && posix_is_taken(posix))
		r = posix_refuse_taken(posix->path, text, text_size);
	else if (r == 0)
		r = posix_judge(NULL, wanted_bytes, text, text_size);
	if (r == 0)
		r = posix_make(posix->path, map_bytes, posix->dir_fd, &posix->fd, text, text_size);
	backend_describe(&backend_posix, definition, birth, &row);
	if (r == 0)
		r = posix_enter(posix, &row, birth, text, text_size);
	if (r) {
		close_fd(&posix->fd);
		(void)posix_free(posix);
		return r;
	}
	posix_promise(posix, wanted_bytes);
	posix_hand_over(posix, map_bytes, ret_object);
	return 0;
}

static int
posix_prove(const struct record_entry *entry, struct backend_object *ret_object, char *text, size_t text_size)
{
	const struct record_row *row = &entry->row;
	struct posix *posix;
	int r;

	if (!posix_is_object(row->object))
		return BACKEND_E_OTHER;
	posix = posix_new(row->segment, row->object);
	if (!posix) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	r = procfd_prepare();
	if (r)
		(void)snprintf(text, text_size, "opening /proc/self/fd failed: %s", strerror(-r));
	else
		r = posix_find_proved(row, posix->path, &posix->fd, text, text_size);
	if (r) {
		(void)posix_free(posix);
		return r;
	}
	posix->entry = *entry;
	posix_hand_over(posix, row->map_bytes, ret_object);
	ret_object->has_contents = true;
	return 0;
}

static bool
posix_inquire(const struct definition *definition, struct audit_object *ret_object)
{
	return posix_taken_inquire(definition->object, ret_object);
}

static void
posix_inquired(const struct definition *definition, const char *found, char *text, size_t text_size)
{
	posix_taken_explain(definition->object, found, text, text_size);
}

static bool
posix_errand(struct backend_object *object, enum backend_stage stage, struct backend_errand *ret_errand)
{
	const struct posix *posix = object->own;

	if (stage != BACKEND_STAGE_OPEN || posix->dir_fd < 0)
		return false;
	*ret_errand = (struct backend_errand) {
		.job = { .kind = JOB_LINK },
		.is_name = true,
		.fds = { object->fd, posix->dir_fd, posix_names_lock(posix->dir_fd) },
	};
	/* As long as a definition's object and a row's may be. */
	(void)snprintf(ret_errand->job.name, sizeof(ret_errand->job.name), "%s", posix->path + sizeof(POSIX_DIR));
	return true;
}

/* It may have been given up meanwhile: then it is asked already that its name goes again. */
static int
posix_errand_done(struct backend_object *object, const struct job_result *result, int *fd, char *text, size_t text_size)
{
	struct posix *posix = object->own;

	posix_names_get_on();
	posix_leave_dir(posix);
	if (*fd < 0)
		return 0;
	(void)close(object->fd);
	object->fd = take_fd(fd);
	if (posix->fd >= 0)
		posix->fd = object->fd;
	return 0;
}

static int
posix_room(const struct backend_object *object, uint64_t wanted_bytes, char *text, size_t text_size)
{
	struct posix *posix = object->own;
	uint64_t has_bytes = backend_blocks(object);
	int r = 0;

	if (wanted_bytes > has_bytes)
		r = posix_judge(posix, wanted_bytes - has_bytes, text, text_size);
	if (!r)
		posix_promise(posix, wanted_bytes);
	return r;
}

static int
posix_admit(const struct backend_object *object, const struct definition *definition, char *text, size_t text_size)
{
	struct posix *posix = object->own;
	/* Before others come, and before what is in it goes: a killed daemon's successor takes over only what is whole. */
	int r = record_set_state(&posix->entry, definition ? RECORD_READY : RECORD_MADE);

	if (r == 0)
		return posix_admission_change(&posix->admission, object->fd, definition, text, text_size);
	(void)snprintf(text, text_size, "%s cannot be entered in the record in state_dir: %s", posix->path, strerror(-r));
	free(posix->admission.reason);
	posix->admission.reason = strdup(text);
	return r;
}

static bool
posix_is_admitted(const struct backend_object *object)
{
	const struct posix *posix = object->own;

	return !posix->admission.reason;
}

/* The bytes that were given back of those it had. */
static uint64_t
posix_punched_bytes(struct posix *posix, const struct stat *status)
{
	uint64_t has_bytes = (uint64_t)status->st_blocks * 512;

	if (has_bytes >= posix->wanted_bytes)
		posix_keep(posix);
	/* It has not had all of them yet. */
	return posix->is_promised ? 0 : posix->wanted_bytes - min_u64(has_bytes, posix->wanted_bytes);
}

static int
posix_check(const struct backend_object *object, char *text, size_t text_size)
{
	struct posix *posix = object->own;
	char is[32], was[32], punched[32];
	uint64_t punched_bytes;
	struct stat status;

	if (fstat(object->fd, &status))
		return 0;
	punched_bytes = posix_punched_bytes(posix, &status);
	(void)findings_size(is, sizeof(is), (uint64_t)status.st_size);
	(void)findings_size(was, sizeof(was), object->map_bytes);
	(void)findings_size(punched, sizeof(punched), punched_bytes);
	if ((uint64_t)status.st_size < object->map_bytes) {
		(void)snprintf(text, text_size, "a writer has cut %s to %s of its %s: what was behind is lost, and touching it is "
		    "SIGBUS. Have its clients end, remove the segment and reload", posix->path, is, was);
		return -EIO;
	}
	if ((uint64_t)status.st_size > object->map_bytes)
		(void)snprintf(text, text_size, "a writer has made %s %s large, of which %s are the segment's; `truncate -s %llu "
		    "%s` gives the rest back", posix->path, is, was, (unsigned long long)object->map_bytes, posix->path);
	else if (punched_bytes)
		(void)snprintf(text, text_size, "a writer has given %s of %s back: they are made anew, zeroed, by whoever touches "
		    "them, and where %s has no room for them a touch is SIGBUS", punched, posix->path, POSIX_DIR);
	else if (status.st_nlink == 0)
		(void)snprintf(text, text_size, "somebody has removed %s: who has it keeps it, and programs do not find it any "
		    "more", posix->path);
	else if (posix->admission.reason)
		(void)snprintf(text, text_size, "%s", posix->admission.reason);
	else if (posix_admission_is_late(&posix->admission))
		(void)snprintf(text, text_size, "who may open %s by name is not as it should be yet: somebody has been writing into it since "
		    "then, and the kernel waits for that; `segmentctl show %s` tells who has it", posix->path, posix->segment);
	else
		return 0;
	return BACKEND_E_CHANGED;
}

static void
posix_reset(const struct backend_object *object)
{
	struct posix *posix = object->own;
	struct stat status;

	posix_promise(posix, posix->wanted_bytes);
	/*
	 * Where it fails, the new pages do, too, and check() says why. What it was made too large, the worker gives back. Who has come
	 * by its name in the last moment may be writing, which this would wait for: with the lease there is nobody.
	 */
	if (fstat(object->fd, &status) || (uint64_t)status.st_size >= object->map_bytes || fcntl(object->fd, F_SETLEASE, F_WRLCK))
		return;
	(void)!ftruncate(object->fd, (off_t)object->map_bytes);
	(void)fcntl(object->fd, F_SETLEASE, F_UNLCK);
}

/* 1: the name leads to our object; 0: to none, or to another one; or a negative errno: that cannot be told. */
static int
posix_is_named(const struct posix *posix, int fd)
{
	struct stat named, ours;
	int r = object_stat(AT_FDCWD, posix->path, &named);

	if (r)
		return r == -ENOENT ? 0 : r;
	if (fstat(fd, &ours))
		return -errno;
	return named.st_dev == ours.st_dev && named.st_ino == ours.st_ino;
}

/*
 * By the same inode: root may have put another in its place, which is not ours to remove. The directory is sticky, so nobody
 * else can, and nobody comes between the look and the removal.
 */
static void
posix_unname(struct backend_object *object)
{
	struct posix *posix = object->own;
	int r;

	if (posix->fd < 0)
		return;
	posix_keep(posix);
	LIST_REMOVE(posix, named_entry);
	posix->fd = -1;
	if (posix_names_leave(&posix->leaving, &posix->entry, posix->dir_fd < 0))
		return;
	r = posix_is_named(posix, object->fd);
	if (r == 0 && posix->dir_fd < 0)
		posix_tell_replaced(posix->path);
	else if (r == 1 && unlink(posix->path))
		r = -errno;
	if (r >= 0)
		record_remove(&posix->entry);
	else
		posix_tell_not_removed(posix->path, r);
}

static void
posix_leave(struct backend_object *object)
{
	struct posix *posix = object->own;

	if (posix->fd >= 0)
		LIST_REMOVE(posix, named_entry);
	posix_admission_drop_next(&posix->admission);
	(void)posix_free(posix);
	close_fd(&object->fd);
	*object = (struct backend_object) BACKEND_OBJECT_NULL;
}

static void
posix_close(struct backend_object *object)
{
	object->own = posix_free(object->own);
}

/* By its name and row; its descriptor of before is what our claims of locks are marked on. */
static int
posix_revive(struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size)
{
	struct posix *posix;
	int r = BACKEND_E_GONE;

	if (remains->fds[0] >= 0 && remains->entry)
		r = posix_prove(remains->entry, ret_object, text, text_size);
	if (r)
		return r;
	posix = ret_object->own;
	(void)backend_take_kept(remains, ret_object);
	posix->fd = ret_object->fd;
	return 0;
}

const struct backend backend_posix = {
	.name = "posix",
	.features = BACKEND_FD | BACKEND_MARKS | BACKEND_NAMED | BACKEND_HUGE | BACKEND_MOUNT | BACKEND_LINKED,
	.create = posix_create,
	.name_of = posix_name_of,
	.prove = posix_prove,
	.revive = posix_revive,
	.kept = backend_kept_fd,
	.inquire = posix_inquire,
	.inquired = posix_inquired,
	.room = posix_room,
	.admit = posix_admit,
	.is_admitted = posix_is_admitted,
	.check = posix_check,
	.reset = posix_reset,
	.open = backend_open_fd,
	.map = backend_map_fd,
	.resident_bytes = backend_blocks,
	.unname = posix_unname,
	.errand = posix_errand,
	.errand_done = posix_errand_done,
	.leave = posix_leave,
	.close = posix_close,
};
