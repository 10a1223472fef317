/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The directory that objects are in is everybody's; its sticky bit keeps others from what is ours. So a quarantine is ours if it is
 * a directory that belongs to us and lets nobody else in; in it paths are as we made them. A lock (flock) on it says that its run
 * lives: the kernel drops it whatever that one dies of.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "daemon/audit/quarantine.h"
#include "daemon/audit/stray_posix.h"
#include "host/object.h"

#define TRIES		16
#define PATH_SIZE	(24 + NAME_MAX + 1)	/* INODE/NAME */

static void
close_directory(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static void
format_path(char *buf, size_t size, const char *name, ino_t inode)
{
	(void)snprintf(buf, size, "%ju/%s", (uintmax_t)inode, name);
}

static void
format_number(char *buf, size_t size, ino_t inode)
{
	(void)snprintf(buf, size, "%ju", (uintmax_t)inode);
}

/* Whether what is open is a directory of ours that has this name: 0; -EPERM: it is not; or why that cannot be told. */
static int
check_ours(int dir_fd, const char *name, int fd)
{
	struct stat opened, named;
	int r = fstat(fd, &opened) ? -errno : object_stat(dir_fd, name, &named);

	if (r)
		return r == -ENOENT ? -EPERM : r;
	return S_ISDIR(opened.st_mode) && opened.st_uid == geteuid() && (opened.st_mode & 07777) == 0700 &&
	    named.st_ino == opened.st_ino && named.st_dev == opened.st_dev ? 0 : -EPERM;
}

/* Opens and locks one by its name. -EBUSY: somebody lives there; -EPERM: it is not ours. */
static int
open_quarantine(int dir_fd, const char *name, int *ret_fd)
{
	cleanup_close int fd = -1;
	int opened = object_open(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK), r;

	if (opened < 0)
		return opened;
	fd = opened;
	r = check_ours(dir_fd, name, fd);
	if (r)
		return r;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* Who settles what was left may have taken it for that, and removed it, before the lock was ours. */
	r = check_ours(dir_fd, name, fd);
	if (r)
		return r == -EPERM ? -EBUSY : r;
	*ret_fd = take_fd(&fd);
	return 0;
}

int
quarantine_make(struct quarantine *quarantine, int dir_fd)
{
	int r = -EEXIST;

	if (quarantine->fd >= 0)
		return 0;
	for (int i = 0; i < TRIES && (r == -EEXIST || r == -EBUSY || r == -ENOENT); i++) {
		uint32_t number;

		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EIO;
		(void)snprintf(quarantine->name, sizeof(quarantine->name), STRAY_POSIX_QUARANTINE_PREFIX "%08x", number);
		r = mkdirat(dir_fd, quarantine->name, 0700) ? -errno : 0;
		if (r == 0)
			r = open_quarantine(dir_fd, quarantine->name, &quarantine->fd);
		quarantine->was_busy = quarantine->was_busy || r == -EBUSY;
		/* It is ours, and empty, unless somebody who settles has it. */
		if (r < 0 && r != -EEXIST && r != -EBUSY && r != -ENOENT)
			(void)unlinkat(dir_fd, quarantine->name, AT_REMOVEDIR);
	}
	if (r == 0)
		quarantine->dir_fd = dir_fd;
	return r;
}

bool
quarantine_leave(struct quarantine *quarantine)
{
	bool is_gone;

	if (quarantine->fd < 0)
		return true;
	is_gone = unlinkat(quarantine->dir_fd, quarantine->name, AT_REMOVEDIR) == 0;
	close_fd(&quarantine->fd);
	return is_gone;
}

/* Whether the object in it is the one that is to be removed. */
static bool
is_meant(const struct quarantine *quarantine, const char *path, ino_t inode)
{
	struct stat status;

	return object_stat(quarantine->fd, path, &status) == 0 && status.st_ino == inode &&
	    S_ISREG(status.st_mode);
}

int
quarantine_prepare(struct quarantine *quarantine, ino_t inode)
{
	char number[24];

	format_number(number, sizeof(number), inode);
	return mkdirat(quarantine->fd, number, 0700) ? -errno : 0;
}

void
quarantine_forget(struct quarantine *quarantine, ino_t inode)
{
	char number[24];

	format_number(number, sizeof(number), inode);
	(void)unlinkat(quarantine->fd, number, AT_REMOVEDIR);
}

int
quarantine_take(struct quarantine *quarantine, const char *name, ino_t inode)
{
	char path[PATH_SIZE];
	struct stat status;
	int r;

	format_path(path, sizeof(path), name, inode);
	/*
	 * The kernel cannot be asked to rename only a certain inode. So the look comes as late as can be, and is repeated when the
	 * name can change no more: whatever it was then has its name back within a few microseconds.
	 */
	r = object_stat(quarantine->dir_fd, name, &status);
	if (r < 0)
		return r;
	if (status.st_ino != inode)
		return -ESTALE;
	if (renameat2(quarantine->dir_fd, name, quarantine->fd, path, RENAME_NOREPLACE))
		return -errno;
	if (is_meant(quarantine, path, inode))
		return 0;
	r = quarantine_give_back(quarantine, name, inode);
	return r < 0 ? r : -ESTALE;
}

int
quarantine_give_back(struct quarantine *quarantine, const char *name, ino_t inode)
{
	char path[PATH_SIZE];

	format_path(path, sizeof(path), name, inode);
	if (renameat2(quarantine->fd, path, quarantine->dir_fd, name, RENAME_NOREPLACE))
		return -errno;
	quarantine_forget(quarantine, inode);
	return 0;
}

int
quarantine_remove(struct quarantine *quarantine, const char *name, ino_t inode)
{
	char path[PATH_SIZE];

	format_path(path, sizeof(path), name, inode);
	if (unlinkat(quarantine->fd, path, 0))
		return -errno;
	quarantine_forget(quarantine, inode);
	return 0;
}

/* What was left. */

/* Names may have any byte in them, and this goes to a log or a terminal. */
static void
say(const char *name, const char *what)
{
	char shown[NAME_MAX + 1];
	size_t i;

	for (i = 0; i < NAME_MAX && name[i]; i++)
		shown[i] = name[i] < 0x20 || name[i] > 0x7e ? '?' : name[i];
	shown[i] = '\0';
	(void)fprintf(stderr, "segmentd-audit: '%s', whose removal was not finished, %s\n", shown, what);
}

/* One that was to be removed and has lost its name to another: whether it was removed, since nobody has it. */
static bool
remove_nameless(struct quarantine *quarantine, const char *number, const char *name)
{
	ino_t inode = (ino_t)strtoull(number, NULL, 10);
	struct audit_stray stray;
	char path[PATH_SIZE];
	int fd;
	bool done;

	format_path(path, sizeof(path), name, inode);
	if (!is_meant(quarantine, path, inode))
		return false;
	stray_posix_judge(quarantine->fd, path, &stray, &fd);
	done = fd >= 0 && stray.inode == inode && stray_posix_is_alone(fd) && quarantine_remove(quarantine, name, inode) == 0;
	close_fd(&fd);
	return done;
}

struct settling {
	uint64_t until_ns;
	size_t n_waiting;
	char name[NAME_MAX + 1];	/* of the first of those */
};

/* It is told of all of them at once, and once: whoever keeps thousands waiting has no line for each. */
static void
count_waiting(struct settling *settling, const char *name)
{
	if (!settling->n_waiting++)
		(void)snprintf(settling->name, sizeof(settling->name), "%s", name);
}

static void
say_waiting(const struct settling *settling)
{
	char what[128] = "has to wait: somebody has it, and another has its name";
	static size_t n_told;

	if (settling->n_waiting == n_told)
		return;
	n_told = settling->n_waiting;
	if (settling->n_waiting > 1)
		(void)snprintf(what, sizeof(what), "and %zu others have to wait: somebody has them, and others have their names",
		    settling->n_waiting - 1);
	if (settling->n_waiting)
		say(settling->name, what);
}

static void
settle_entry(struct settling *settling, struct quarantine *quarantine, const char *number, const char *name)
{
	ino_t inode = (ino_t)strtoull(number, NULL, 10);
	int r = quarantine_give_back(quarantine, name, inode);

	if (r == 0)
		say(name, "has its name back");
	else if (r == -EEXIST && remove_nameless(quarantine, number, name))
		say(name, "was removed: nobody has it, and another has its name");
	else if (r != -ENOENT)
		count_waiting(settling, name);
}

/* Each entry of a directory, of which some are gone afterwards: as many times as there is one less. */
static void
settle_number(struct settling *settling, struct quarantine *quarantine, const char *number)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	int fd = openat(quarantine->fd, number, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const struct dirent *entry;

	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
			settle_entry(settling, quarantine, number, entry->d_name);
	(void)unlinkat(quarantine->fd, number, AT_REMOVEDIR);
}

/* What is not ours, or is that of one that lives, concerns us no more. */
static bool
is_others(int r)
{
	return r == -EPERM || r == -EACCES || r == -EBUSY || r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV;
}

/* Whether nothing of it is left. */
static bool
settle_one(struct settling *settling, int dir_fd, const char *name)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	struct quarantine quarantine = { .dir_fd = dir_fd, .fd = -1 };
	const struct dirent *entry;
	int fd, r = open_quarantine(dir_fd, name, &quarantine.fd);

	if (r < 0)
		return is_others(r);
	(void)snprintf(quarantine.name, sizeof(quarantine.name), "%s", name);
	fd = openat(quarantine.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		close_fd(&fd);
	while (dir && (entry = readdir(dir)) && clock_monotonic_ns() < settling->until_ns)
		if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
			settle_number(settling, &quarantine, entry->d_name);
	return quarantine_leave(&quarantine);
}

bool
quarantine_settle(int dir_fd, uint64_t ns)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct settling settling = { .until_ns = clock_monotonic_ns() + ns };
	const struct dirent *entry;
	bool is_all = true;

	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		close_fd(&fd);
		return false;
	}
	while ((errno = 0, entry = readdir(dir))) {
		if (clock_monotonic_ns() >= settling.until_ns)
			break;
		if (stray_posix_is_quarantine(entry->d_name) && strlen(entry->d_name) < sizeof(((struct quarantine *)0)->name))
			is_all = settle_one(&settling, dir_fd, entry->d_name) && is_all;
	}
	is_all = is_all && !entry && !errno;
	say_waiting(&settling);
	return is_all;
}

/* What waits. */

struct listing {
	int dir_fd;			/* of the objects' directory */
	int fd;				/* of the quarantine */
	bool is_ours;
	const char *number;		/* of the directory in it */
	int (*take)(const struct audit_stray *stray, void *arg);
	void *arg;
};

static int
list_entry(const struct listing *listing, const char *name)
{
	struct audit_stray stray;
	struct stat named;
	char path[PATH_SIZE];

	format_path(path, sizeof(path), name, (ino_t)strtoull(listing->number, NULL, 10));
	stray_posix_judge(listing->fd, path, &stray, NULL);
	if (!S_ISREG(stray.mode))
		return 0;
	(void)snprintf(stray.name, sizeof(stray.name), "%s", name);
	stray.verdict = AUDIT_KEPT;
	stray.error = !listing->is_ours ? -EACCES : object_stat(listing->dir_fd, name, &named) == 0 ? -EEXIST : -EAGAIN;
	return listing->take(&stray, listing->arg);
}

static int
list_number(const struct listing *listing)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	int fd = openat(listing->fd, listing->number, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	const struct dirent *entry;

	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		close_fd(&fd);
	/* Anybody may have made it, with as much in it that is nothing as the file system has room for. */
	while (dir && r == 0 && (entry = readdir(dir))) {
		r = listing->take(NULL, listing->arg);
		if (r == 0 && !streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
			r = list_entry(listing, entry->d_name);
	}
	return r;
}

/* Opens one whose run has ended, whose-ever it is. */
static int
open_ended(int dir_fd, const char *name, bool *ret_is_ours)
{
	cleanup_close int fd = -1;
	int opened = object_open(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;

	if (opened < 0)
		return opened;
	fd = opened;
	if (fstat(fd, &status))
		return -errno;
	if ((status.st_mode & 07777) != 0700)
		return -EPERM;
	if (flock(fd, LOCK_SH | LOCK_NB))
		return -errno;
	(void)flock(fd, LOCK_UN);
	*ret_is_ours = status.st_uid == geteuid();
	return take_fd(&fd);
}

int
quarantine_list(int dir_fd, const char *name, int (*take)(const struct audit_stray *stray, void *arg), void *arg)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	struct listing listing = { .dir_fd = dir_fd, .take = take, .arg = arg };
	cleanup_close int fd = open_ended(dir_fd, name, &listing.is_ours);
	int own_fd = fd >= 0 ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, r = 0;
	const struct dirent *entry;

	dir = own_fd >= 0 ? fdopendir(own_fd) : NULL;
	if (!dir)
		close_fd(&own_fd);
	listing.fd = fd;
	while (dir && r == 0 && (entry = readdir(dir))) {
		listing.number = entry->d_name;
		r = take(NULL, arg);
		if (r == 0 && strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
			r = list_number(&listing);
	}
	return r;
}
