/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Names and files are everybody's: what is no regular file is never opened (a fifo would make us its reader, a device would be
 * told), a symbolic link is never followed, and nothing waits: somebody's lease on the file would hold a plain open for as long as
 * they like, and what they have mounted on its name any look at it. Between the look and the open another file may have got the name: the open one is the one that is judged.
 */
#include "config.h"

#include <fcntl.h>

#include "daemon/audit/stray_posix.h"
#include "host/object.h"

int
stray_posix_open_directory(int *ret_fd)
{
	int fd = open(STRAY_POSIX_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

bool
stray_posix_is_quarantine(const char *name)
{
	return strncmp(name, STRAY_POSIX_QUARANTINE_PREFIX, strlen(STRAY_POSIX_QUARANTINE_PREFIX)) == 0;
}

static void
describe(const struct stat *status, struct audit_stray *stray)
{
	stray->device = status->st_dev;
	stray->inode = status->st_ino;
	stray->size_bytes = status->st_size > 0 ? (uint64_t)status->st_size : 0;
	stray->resident_bytes = status->st_blocks > 0 ? (uint64_t)status->st_blocks * 512 : 0;
	stray->uid = status->st_uid;
	stray->gid = status->st_gid;
	stray->mode = status->st_mode;
	stray->attached_s = status->st_atim.tv_sec;
	stray->detached_s = status->st_mtim.tv_sec;
	stray->changed_s = status->st_ctim.tv_sec;
}

static void
decide(struct audit_stray *stray, enum audit_verdict verdict, enum audit_proof proof, int error)
{
	stray->verdict = verdict;
	stray->proof = proof;
	stray->error = error;
}

int
stray_posix_lease(int fd)
{
	return fcntl(fd, F_SETLEASE, F_WRLCK) ? -errno : 0;
}

/* Setting it again counts anew; and one that is to be broken is told as what it is to become. */
bool
stray_posix_is_alone(int fd)
{
	return stray_posix_lease(fd) == 0 && fcntl(fd, F_GETLEASE) == F_WRLCK;
}

void
stray_posix_release(int fd)
{
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

/* Describes it, and decides that it is none, or that this cannot be told. */
static bool
is_object(int dir_fd, const struct stat *status, struct audit_stray *stray)
{
	struct stat dir;

	describe(status, stray);
	if (fstat(dir_fd, &dir)) {
		decide(stray, AUDIT_UNKNOWN, AUDIT_BY_NOTHING, -errno);
		return false;
	}
	decide(stray, AUDIT_UNFIT, AUDIT_BY_NOTHING, 0);
	return S_ISREG(status->st_mode) && status->st_nlink == 1 && dir.st_dev == status->st_dev;
}

static void
decide_unopened(struct audit_stray *stray, int error)
{
	switch (error) {
	case EWOULDBLOCK:
		/* Who has a lease has it open. */
		decide(stray, AUDIT_HELD, AUDIT_BY_OPEN, 0);
		break;
	case ENOENT:
		decide(stray, AUDIT_GONE, AUDIT_BY_NOTHING, 0);
		break;
	case ELOOP:
	case EXDEV:
		decide(stray, AUDIT_UNFIT, AUDIT_BY_NOTHING, 0);
		break;
	default:
		decide(stray, AUDIT_UNKNOWN, AUDIT_BY_NOTHING, -error);
	}
}

void
stray_posix_judge(int dir_fd, const char *name, struct audit_stray *ret_stray, int *ret_fd)
{
	cleanup_close int fd = -1;
	struct stat status;
	int r, opened;

	*ret_stray = (struct audit_stray) { .what = AUDIT_POSIX, .shm_id = -1 };
	(void)snprintf(ret_stray->name, sizeof(ret_stray->name), "%s", name);
	if (ret_fd)
		*ret_fd = -1;
	r = object_stat(dir_fd, name, &status);
	if (r < 0) {
		decide_unopened(ret_stray, -r);
		return;
	}
	if (!is_object(dir_fd, &status, ret_stray))
		return;
	opened = object_open(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	if (opened < 0) {
		decide_unopened(ret_stray, -opened);
		return;
	}
	fd = opened;
	if (fstat(fd, &status)) {
		decide(ret_stray, AUDIT_UNKNOWN, AUDIT_BY_NOTHING, -errno);
		return;
	}
	if (!is_object(dir_fd, &status, ret_stray))
		return;
	r = stray_posix_lease(fd);
	if (r == -EAGAIN || r == -EBUSY)
		decide(ret_stray, AUDIT_HELD, AUDIT_BY_LEASE, 0);
	else if (r < 0)
		decide(ret_stray, AUDIT_UNKNOWN, AUDIT_BY_NOTHING, r);
	else
		decide(ret_stray, AUDIT_UNHELD, AUDIT_BY_LEASE, 0);
	if (r < 0)
		return;
	if (ret_fd)
		*ret_fd = take_fd(&fd);
	else
		stray_posix_release(fd);
}
