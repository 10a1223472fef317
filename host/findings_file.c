/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about files that hold segments, and the file systems that they are on. */
#include "config.h"

#include "base/base.h"
#include "host/findings.h"

#define SIZE_TEXT	32
#define PATH_TEXT	"'%.300s'"

const char *
findings_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link";
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a fifo";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "no file";
	}
}

void
findings_file_unreachable(char *buf, size_t size, const char *path, uint32_t uid, int error)
{
	const char *slash = strrchr(path, '/');
	int len = slash && slash != path ? (int)min_u64((uint64_t)(slash - path), 300) : 1;

	if (error == -ENOENT)
		(void)snprintf(buf, size, PATH_TEXT " cannot be reached: there is no directory '%.*s'. Remedy: `install -d -o %u -m 0700 "
		    "%.*s`, or another path", path, len, path, (unsigned)uid, len, path);
	else
		(void)snprintf(buf, size, PATH_TEXT " cannot be reached by the daemon's uid %u: its directory: %s. Remedy: a path in a "
		    "directory of its own, as `install -d -o %u -m 0700 %.*s/segmentd` makes one", path, (unsigned)uid,
		    strerror(-error), (unsigned)uid, len, path);
}

int
findings_file_refused(char *buf, size_t size, const char *path, const char *part, const struct stat *st, uint32_t uid)
{
	if (!S_ISREG(st->st_mode)) {
		(void)snprintf(buf, size, PATH_TEXT "%s is %s; a regular file is expected, or none. Remedy: name one, or remove what is "
		    "there", path, part, findings_kind(st->st_mode));
		return -EINVAL;
	}
	if (st->st_uid != uid) {
		(void)snprintf(buf, size, PATH_TEXT "%s belongs to uid %u; one of the daemon's own uid, %u, is expected. Remedy: `chown "
		    "%u %.300s%s`, or another path", path, part, (unsigned)st->st_uid, (unsigned)uid, (unsigned)uid, path,
		    *part ? FINDINGS_MARK_SUFFIX : "");
		return -EPERM;
	}
	if (st->st_nlink > 1) {
		(void)snprintf(buf, size, PATH_TEXT "%s has %lu hard links; a file of one name is expected. Remedy: remove the others: "
		    "`find -L / -xdev -samefile %.300s` finds them", path, part, (unsigned long)st->st_nlink, path);
		return -EMLINK;
	}
	if (st->st_mode & 077) {
		(void)snprintf(buf, size, PATH_TEXT "%s has mode %04o, and is open to others than its owner; clients reach it through "
		    "segmentd alone. Remedy: `chmod 0600 %.300s%s`", path, part, (unsigned)st->st_mode & 07777, path,
		    *part ? FINDINGS_MARK_SUFFIX : "");
		return -EPERM;
	}
	return 0;
}

void
findings_file_size(char *buf, size_t size, const char *path, uint64_t has_bytes, uint64_t max_bytes)
{
	(void)snprintf(buf, size, PATH_TEXT " has %llu bytes, and max_size is %llu. Remedy: set max_size to what it has, or bring the "
	    "file to that size: `truncate -s %llu %.300s`", path, (unsigned long long)has_bytes, (unsigned long long)max_bytes,
	    (unsigned long long)max_bytes, path);
}

void
findings_file_enlarged(char *buf, size_t size, const char *path, uint64_t has_bytes, uint64_t max_bytes)
{
	(void)snprintf(buf, size, PATH_TEXT " has %llu bytes, and max_size is %llu: a writer has made it larger while it was in use, as "
	    "its mark '%.300s" FINDINGS_MARK_SUFFIX "' says; what is behind max_size is cut off when it is used again", path,
	    (unsigned long long)has_bytes, (unsigned long long)max_bytes, path);
}

void
findings_file_unclean(char *buf, size_t size, const char *path, enum mark_state state, enum definition_on_unclean on_unclean)
{
	static const char *const whys[MARK_STATE_N] = {
		[MARK_FREE] = "says that nobody uses it",
		[MARK_USED] = "says that it was in use when the machine went down, and no stop of segmentd was before that",
		[MARK_SPOILED] = "says that not all that was stored reached the disk, for an error of the disk",
		[MARK_INVALID] = "is none that segmentd writes: nobody knows how its last use ended",
	};
	int n = snprintf(buf, size, PATH_TEXT " is not clean: its mark '%.300s" FINDINGS_MARK_SUFFIX "' %s", path, path, whys[state]);

	if (n < 0 || (size_t)n >= size)
		return;
	switch (on_unclean) {
	case DEFINITION_UNCLEAN_FAIL:
		(void)snprintf(buf + n, size - (size_t)n, FINDINGS_REMEDY "look its contents over, then `rm %.300s"
		    FINDINGS_MARK_SUFFIX "`, and retry; or set on_unclean to keep or zero, and reload", path);
		break;
	case DEFINITION_UNCLEAN_ZERO:
		(void)snprintf(buf + n, size - (size_t)n, "; its contents are zeroed (on_unclean = \"zero\")");
		break;
	default:
		(void)snprintf(buf + n, size - (size_t)n, "; its contents are kept (on_unclean = \"keep\"): look them over");
		break;
	}
}

void
findings_file_busy(char *buf, size_t size, const char *path, int pid, const char *command)
{
	char who[64] = "another process";

	if (pid)
		(void)snprintf(who, sizeof(who), "pid %d%s%.32s%s", pid, *command ? " (" : "", command, *command ? ")" : "");
	(void)snprintf(buf, size, PATH_TEXT " is in use by %s, which has its mark '%.300s" FINDINGS_MARK_SUFFIX "' locked. Remedy: stop "
	    "that one, or name another file", path, who, path);
}

void
findings_disk(char *buf, size_t size, const char *path, uint64_t needed_bytes, uint64_t free_bytes)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT];

	(void)snprintf(buf, size, "%s more are needed on the file system of " PATH_TEXT ", where %s are free. Remedy: make room there "
	    "(`df -h` shows it), a smaller segment, or another path", findings_size(needed, sizeof(needed), needed_bytes), path,
	    findings_size(left, sizeof(left), free_bytes));
}
