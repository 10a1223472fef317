/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A file that holds a segment, and its mark beside it. Neither is opened before it was looked at, since opening alone can do
 * things: a device acts, a fifo waits. A file that was not there is made under another name, and gets its own only when all
 * is in it: so what is found under that name is always whole.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/base.h"
#include "conf/definition.h"
#include "daemon/procfd.h"
#include "daemon/worker/file.h"
#include "daemon/worker/mark.h"
#include "daemon/worker/walk.h"
#include "host/findings.h"
#include "host/process.h"

#define MARK_TRIES	100
#define LEASE_MS	1000
#define NEW_SUFFIX	FINDINGS_MARK_SUFFIX ".new"

/* Where it is. */
struct place {
	struct job_result *result;
	int dir_fd;
	char path[PATH_MAX];
	const char *name;		/* in path */
	char mark_name[NAME_MAX + 1];
	char new_name[NAME_MAX + 1];	/* while it is being made */
};

static void
place_deinit(struct place *place)
{
	close_fd(&place->dir_fd);
}
#define cleanup_place	__attribute__((cleanup(place_deinit)))

/* A sentence that begins with the path, which may be too long for it. */
static int BASE_PRINTF(3, 4)
place_fail(const struct place *place, int r, const char *format, ...)
{
	struct job_result *result = place->result;
	int n = snprintf(result->text, sizeof(result->text), "'%.300s' ", place->path);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(result->text + n, sizeof(result->text) - (size_t)n, format, args);
	va_end(args);
	return r;
}

static int
place_open(struct place *place, int path_fd, struct job_result *result)
{
	ssize_t n = pread(path_fd, place->path, sizeof(place->path) - 1, 0);
	uid_t uid = 0;
	char *slash;
	int r;

	place->result = result;
	place->dir_fd = -1;
	place->path[n > 0 ? n : 0] = '\0';
	slash = strrchr(place->path, '/');
	if (!slash || strlen(slash + 1) > NAME_MAX - strlen(NEW_SUFFIX)) {
		(void)snprintf(result->text, sizeof(result->text), "not a job: the path of a file is expected");
		return -EPROTO;
	}
	place->name = slash + 1;
	(void)snprintf(place->mark_name, sizeof(place->mark_name), "%s" FINDINGS_MARK_SUFFIX, place->name);
	(void)snprintf(place->new_name, sizeof(place->new_name), "%s" NEW_SUFFIX, place->name);
	*slash = '\0';
	r = walk_open(place->path, &place->dir_fd, &uid);
	*slash = '/';
	if (r == -ELOOP)
		return place_fail(place, r, "is reached by way of a symbolic link that uid %u can lead anywhere. Remedy: a path without "
		    "the link, or one that root makes where nobody else can", (unsigned)uid);
	if (r) {
		findings_file_unreachable(result->text, sizeof(result->text), place->path, geteuid(), r);
		return r;
	}
	return 0;
}

/*
 * Looks at a name without opening what is there: a regular file, the daemon's own, under this name only, and nobody else's
 * to write or read. *ret_fd: a descriptor of it that can be opened; -1: there is nothing.
 */
static int
place_look(const struct place *place, const char *name, int *ret_fd, struct stat *ret_st)
{
	cleanup_close int fd = openat(place->dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	const char *part = name == place->name ? "" : ": its mark beside it";
	int r;

	if (fd < 0 && errno == ENOENT) {
		*ret_fd = -1;
		return 0;
	}
	if (fd < 0 || fstat(fd, ret_st))
		return place_fail(place, -errno, "cannot be looked at by the daemon's uid %u%s: %s", (unsigned)geteuid(), part,
		    strerror(errno));
	r = findings_file_refused(place->result->text, sizeof(place->result->text), place->path, part, ret_st, geteuid());
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

/*
 * A mark that says "free", whole from the first: a worker may be killed here, and what is cut short would be taken for no
 * clean end. It gets its name when all is in it, where the file system knows files without one.
 */
static int
place_make_mark(const struct place *place, int *ret_fd)
{
	cleanup_close int fd = openat(place->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	bool is_nameless = fd >= 0;
	struct mark mark;
	int r;

	if (fd < 0)
		fd = openat(place->dir_fd, place->mark_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : mark_now(&mark, MARK_FREE, 0);
	if (r == 0)
		r = mark_write(fd, &mark);
	if (r == 0 && is_nameless)
		r = procfd_link(fd, place->dir_fd, place->mark_name);
	if (r && fd >= 0 && !is_nameless)
		(void)unlinkat(place->dir_fd, place->mark_name, 0);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

/* The mark that is there. *ret_fd: -1: there is none. */
static int
place_find_mark(const struct place *place, int *ret_fd)
{
	cleanup_close int look_fd = -1;
	struct stat st;
	int r = place_look(place, place->mark_name, &look_fd, &st);

	*ret_fd = -1;
	if (r || look_fd < 0)
		return r;
	r = procfd_reopen(look_fd, O_RDWR, ret_fd);
	return r ? place_fail(place, r, "its mark '%s' cannot be opened: %s", place->mark_name, strerror(-r)) : 0;
}

/* The mark, as it is found or made; others may make theirs at the same moment, and take it away again. */
static int
place_open_mark(const struct place *place, int *ret_fd)
{
	int r = 0;

	for (unsigned i = 0; i < MARK_TRIES; i++) {
		r = place_find_mark(place, ret_fd);
		if (r || *ret_fd >= 0)
			return r;
		r = place_make_mark(place, ret_fd);
		if (r != -EEXIST)
			break;
	}
	/* As doctor says it, who only looks at the directory. */
	if (r == -EACCES)
		findings_file_unreachable(place->result->text, sizeof(place->result->text), place->path, geteuid(), r);
	else if (r == -EROFS)
		return place_fail(place, r, "gets no mark '%s' beside it: %s. Remedy: ReadWritePaths= with its directory in a drop-in of "
		    "the daemon's unit (`systemctl edit segmentd`), if the file system is read-only for that alone; then restart it",
		    place->mark_name, strerror(-r));
	else if (r)
		return place_fail(place, r, "gets no mark '%s' beside it: %s. Remedy: let the daemon's uid %u write the directory, or "
		    "make room there; then retry", place->mark_name, strerror(-r), (unsigned)geteuid());
	return r;
}

static int
place_refuse_locked(const struct place *place, pid_t pid)
{
	char command[32] = "";

	if (pid == getppid())
		return place_fail(place, -EBUSY, "is in use by this segmentd already: by another path to the same file, or it is "
		    "still written back for a segment that is gone. Remedy: name another file; or retry once it is written");
	if (pid)
		process_command(pid, command, sizeof(command));
	findings_file_busy(place->result->text, sizeof(place->result->text), place->path, pid, command);
	return -EBUSY;
}

int
file_look(int path_fd, struct job_result *result, int *ret_fd)
{
	cleanup_place struct place place;
	cleanup_close int look_fd = -1, mark_fd = -1;
	struct stat st;
	pid_t pid;
	int r = place_open(&place, path_fd, result);

	/* First the file: beside what is refused no mark is made. */
	if (r == 0)
		r = place_look(&place, place.name, &look_fd, &st);
	if (r == 0)
		r = place_open_mark(&place, &mark_fd);
	if (r)
		return r;
	/* The daemon locks it for good: then the kernel names the daemon. Here it is only tried. */
	r = mark_await_free(mark_fd, &pid);
	if (r == -EBUSY)
		return place_refuse_locked(&place, pid);
	if (r)
		return r == -ECANCELED ? r :
		    place_fail(&place, r, "is on a file system that keeps no locks: %s", strerror(-r));
	*ret_fd = take_fd(&mark_fd);
	return 0;
}

/* Whether there is room for what of the first size_bytes has no blocks yet. */
static int
place_check_room(const struct place *place, uint64_t size_bytes, uint64_t blocks_bytes)
{
	struct statvfs fs;
	uint64_t needed_bytes = size_bytes > blocks_bytes ? size_bytes - blocks_bytes : 0, free_bytes;

	/* A file system without blocks does not say how full it is. */
	if (fstatvfs(place->dir_fd, &fs) || !fs.f_blocks)
		return 0;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (needed_bytes <= free_bytes)
		return 0;
	findings_disk(place->result->text, sizeof(place->result->text), place->path, needed_bytes, free_bytes);
	return -ENOSPC;
}

static int
place_make(const struct place *place, const struct job *job, int *ret_fd)
{
	cleanup_close int fd = -1;
	int r = place_check_room(place, job->length_bytes, 0);

	if (r)
		return r;
	/* What an earlier one, that did not come to its end, has left. */
	(void)unlinkat(place->dir_fd, place->new_name, 0);
	fd = openat(place->dir_fd, place->new_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return place_fail(place, -errno, "is not there, and cannot be made by the daemon's uid %u: %s", (unsigned)geteuid(),
		    strerror(errno));
	if (ftruncate(fd, (off_t)job->limit_bytes)) {
		r = place_fail(place, -errno, "cannot be made %" PRIu64 " bytes large: %s", job->limit_bytes, strerror(errno));
		(void)unlinkat(place->dir_fd, place->new_name, 0);
		return r;
	}
	place->result->flags |= JOB_FILE_NEW | JOB_FILE_RENAME;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int
place_zero(const struct place *place, int fd, uint64_t size_bytes)
{
	/* Never shorter, where that can be helped: an earlier daemon's clients may still map it. */
	int r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size_bytes);

	if (r && (errno != EOPNOTSUPP || ftruncate(fd, 0) || ftruncate(fd, (off_t)size_bytes)))
		return place_fail(place, -errno, "cannot be zeroed: %s", strerror(errno));
	place->result->flags |= JOB_FILE_NEW;
	return 0;
}

/* How its last use ended, and what is to become of it. */
static int
place_judge(const struct place *place, const struct mark *mark, int fd, const struct job *job)
{
	char boot[MARK_BOOT_SIZE];
	int r = mark_read_boot("", boot);

	if (r)
		return place_fail(place, r, "its mark '%s' cannot be judged: this boot's id is not told: %s", place->mark_name,
		    strerror(-r));
	if (mark_is_clean(mark, boot))
		return 0;
	if (job->on_unclean == DEFINITION_UNCLEAN_ZERO)
		r = place_zero(place, fd, job->limit_bytes);
	if (r)
		return r;
	findings_file_unclean(place->result->text, sizeof(place->result->text), place->path, mark->state,
	    (enum definition_on_unclean)job->on_unclean);
	if (job->on_unclean == DEFINITION_UNCLEAN_FAIL)
		return -EUCLEAN;
	place->result->flags |= JOB_FILE_UNCLEAN;
	return 0;
}

/* Whether who was to zero it came no further than place_zero()'s cutting it short. */
static bool
place_was_cut(const struct mark *mark, const struct stat *st, const struct job *job)
{
	char boot[MARK_BOOT_SIZE];

	return !st->st_size && job->on_unclean == DEFINITION_UNCLEAN_ZERO && mark->state != MARK_INVALID &&
	    mark->size_bytes == job->limit_bytes && mark_read_boot("", boot) == 0 && !mark_is_clean(mark, boot);
}

/* A daemon that was killed while it asked by a lease whether anybody has it, or one that does so now, has that for a moment. */
static int
place_reopen(int look_fd, int *ret_fd)
{
	int r = procfd_reopen(look_fd, O_RDWR | O_NONBLOCK, ret_fd);

	for (unsigned i = 0; r == -EAGAIN && i < LEASE_MS; i++) {
		(void)poll(NULL, 0, 1);
		r = procfd_reopen(look_fd, O_RDWR | O_NONBLOCK, ret_fd);
	}
	return r;
}

static int
place_take(const struct place *place, const struct stat *st, int look_fd, int mark_fd, const struct job *job, int *ret_fd)
{
	cleanup_close int fd = -1;
	bool was_enlarged, was_cut;
	struct mark mark;
	int r = mark_read(mark_fd, &mark);

	if (r)
		return place_fail(place, r, "its mark '%s' cannot be read: %s", place->mark_name, strerror(-r));
	was_enlarged = mark_was_enlarged(&mark, (uint64_t)st->st_size, job->limit_bytes);
	was_cut = place_was_cut(&mark, st, job);
	if ((uint64_t)st->st_size != job->limit_bytes && !was_enlarged && !was_cut) {
		findings_file_size(place->result->text, sizeof(place->result->text), place->path, (uint64_t)st->st_size,
		    job->limit_bytes);
		return -EFBIG;
	}
	r = place_reopen(look_fd, &fd);
	if (r)
		return place_fail(place, r, "cannot be opened by the daemon's uid %u: %s", (unsigned)geteuid(), strerror(-r));
	if ((was_enlarged || was_cut) && ftruncate(fd, (off_t)job->limit_bytes))
		return place_fail(place, -errno, "was %s, and cannot be made of its size again: %s", was_cut ? "cut to be zeroed" :
		    "made larger by a writer", strerror(errno));
	r = place_judge(place, &mark, fd, job);
	if (r == 0)
		r = place_check_room(place, job->length_bytes,
		    place->result->flags & JOB_FILE_NEW ? 0 : (uint64_t)st->st_blocks * 512);
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

/* Whether the mark that the daemon has locked is still the one that others find. */
static bool
place_has_mark(const struct place *place, int mark_fd)
{
	struct stat st, mark_st;

	return fstat(mark_fd, &mark_st) == 0 &&
	    fstatat(place->dir_fd, place->mark_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == mark_st.st_dev && st.st_ino == mark_st.st_ino;
}

int
file_open(int path_fd, int mark_fd, const struct job *job, struct job_result *result, int *ret_fd)
{
	cleanup_place struct place place;
	cleanup_close int look_fd = -1;
	struct stat st;
	int r = place_open(&place, path_fd, result);

	if (r)
		return r;
	if (!place_has_mark(&place, mark_fd))
		return place_fail(&place, -EBUSY, "was closed by another segmentd at the same moment; retry");
	r = place_look(&place, place.name, &look_fd, &st);
	if (r)
		return r;
	if (look_fd < 0)
		return place_make(&place, job, ret_fd);
	return place_take(&place, &st, look_fd, mark_fd, job, ret_fd);
}

/* Gives it its name, which nobody has taken meanwhile. */
static int
place_rename(const struct place *place)
{
	int r = renameat2(place->dir_fd, place->new_name, place->dir_fd, place->name, RENAME_NOREPLACE) ? -errno : 0;

	/* Some file systems do not know how. */
	if (r == -EINVAL) {
		r = linkat(place->dir_fd, place->new_name, place->dir_fd, place->name, 0) ? -errno : 0;
		if (r == 0)
			(void)unlinkat(place->dir_fd, place->new_name, 0);
	}
	return r;
}

int
file_use(int path_fd, int mark_fd, int fd, const struct job *job, struct job_result *result)
{
	cleanup_place struct place place;
	struct mark mark;
	int r = place_open(&place, path_fd, result);

	if (r)
		return r;
	/* What gets its name now is whole, also when the machine goes down next. */
	if (job->flags & JOB_FILE_NEW && fsync(fd))
		return place_fail(&place, -errno, "does not get its first contents: %s", strerror(errno));
	r = mark_now(&mark, MARK_USED, job->limit_bytes);
	if (r == 0)
		r = mark_write(mark_fd, &mark);
	if (r)
		return place_fail(&place, r, "its mark '%s' cannot be written: %s", place.mark_name, strerror(-r));
	if (job->flags & JOB_FILE_RENAME)
		r = place_rename(&place);
	if (r)
		return place_fail(&place, r, "was made, but does not get its name: %s%s", strerror(-r),
		    r == -EEXIST ? "; somebody else made one meanwhile: retry" : "");
	if (fsync(place.dir_fd))
		return place_fail(&place, -errno, "its directory cannot be written: %s", strerror(errno));
	return 0;
}

static int
sync_contents(int fd, int mark_fd, struct job_result *result)
{
	struct flock one_at_a_time = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct mark mark;
	struct stat st;
	int r;

	/*
	 * The kernel tells an error to one caller alone. So who closes the file waits for who is at this already, and sees by the
	 * mark what became of it. A process's lock, which ends with the worker's descriptor; the daemon's own is a description's.
	 */
	(void)fcntl(mark_fd, F_SETLKW, &one_at_a_time);

	do
		r = fdatasync(fd) ? -errno : 0;
	while (r == -EINTR);
	if (r == 0)
		return 0;
	(void)snprintf(result->text, sizeof(result->text), "its contents could not be written to the disk: %s; they are whole in "
	    "memory as long as the segment is there: save them elsewhere, and see to the disk", strerror(-r));
	/* The kernel says it once, and takes the pages for written then: the next start is to know it, too. */
	if (fstat(fd, &st) == 0 && mark_now(&mark, MARK_SPOILED, (uint64_t)st.st_size) == 0)
		(void)mark_write(mark_fd, &mark);
	return r;
}

/*
 * The mark's description has the daemon's lock as long as anybody has a descriptor of it, and who closes the file does not wait
 * for ours to be gone, but for the lock by which one syncs at a time. So this has another description.
 */
int
file_sync(int fd, int *mark_fd, struct job_result *result)
{
	cleanup_close int own_fd = -1;

	if (procfd_reopen(*mark_fd, O_RDWR, &own_fd))
		return sync_contents(fd, *mark_fd, result);
	close_fd(mark_fd);
	return sync_contents(fd, own_fd, result);
}

/* Takes back what JOB_FILE_LOOK and JOB_FILE_OPEN have made. */
static void
place_undo(const struct place *place, int mark_fd, const struct job *job)
{
	struct mark mark;

	if (job->flags & JOB_FILE_RENAME)
		(void)unlinkat(place->dir_fd, place->new_name, 0);
	/* A mark of what is not there, as who was killed just before it got its name leaves it, says nothing of anything. */
	if (mark_read(mark_fd, &mark) == 0 && place_has_mark(place, mark_fd) &&
	    (mark.state == MARK_FREE || (mark.state == MARK_USED && job->flags & JOB_FILE_RENAME)))
		(void)unlinkat(place->dir_fd, place->mark_name, 0);
}

static int
file_finish(int path_fd, int mark_fd, int fd, const struct job *job, struct job_result *result)
{
	cleanup_place struct place place;
	struct mark mark;
	struct stat st;
	int r = place_open(&place, path_fd, result);

	if (r)
		return fd >= 0 && job->flags & JOB_FILE_USED && sync_contents(fd, mark_fd, result) ? -EIO : r;
	if (!(job->flags & JOB_FILE_USED)) {
		place_undo(&place, mark_fd, job);
		return 0;
	}
	/* Nobody is there who made it larger, if somebody did; where this fails, the next start says so. */
	if (fd >= 0 && job->flags & JOB_FILE_ALONE && fstat(fd, &st) == 0 && mark_read(mark_fd, &mark) == 0 &&
	    mark_was_enlarged(&mark, (uint64_t)st.st_size, job->limit_bytes))
		(void)!ftruncate(fd, (off_t)job->limit_bytes);
	if (fd >= 0)
		r = sync_contents(fd, mark_fd, result);
	if (r || mark_read(mark_fd, &mark))
		return r ? place_fail(&place, r, "is not all on the disk: %s; its mark '%s' stays, by which the next start knows",
		    strerror(-r), place.mark_name) : 0;
	if (mark.state == MARK_SPOILED)
		return place_fail(&place, -EIO, "is not all on the disk, for an error before: its mark '%s' stays, by which the next "
		    "start knows", place.mark_name);
	/* Who still maps it may go on storing to it: the mark stays. */
	if (!(job->flags & JOB_FILE_ALONE) || mark.state == MARK_INVALID || !place_has_mark(&place, mark_fd))
		return 0;
	if (unlinkat(place.dir_fd, place.mark_name, 0) || fsync(place.dir_fd))
		return place_fail(&place, -errno, "keeps its mark '%s', which cannot be removed: %s", place.mark_name,
		    strerror(errno));
	return 0;
}

/*
 * What the service manager keeps for the next daemon has a descriptor of the mark until it is renewed, and with it the lock: where the
 * mark stays, whoever wanted the file meanwhile, also this daemon, would find it in use.
 */
int
file_close(int path_fd, int mark_fd, int fd, const struct job *job, struct job_result *result)
{
	int r = file_finish(path_fd, mark_fd, fd, job, result);

	(void)flock(mark_fd, LOCK_UN);
	return r;
}
