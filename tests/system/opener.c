/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What an opener does is the C library's and the kernel's: nothing of ours is called. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/system/opener.h"

#define WORD_MAX	80
#define BLOCK		4096

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		(void)close(fd);
	return is_done;
}

/* Of an ordinary user: in a user namespace that has no other uid and gid. */
static bool
enter_as_user(void)
{
	char uids[32], gids[32];

	(void)snprintf(uids, sizeof(uids), "%u %u 1", geteuid(), geteuid());
	(void)snprintf(gids, sizeof(gids), "%u %u 1", getegid(), getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/setgroups", "deny") &&
	    write_file("/proc/self/uid_map", uids) && write_file("/proc/self/gid_map", gids);
}

void
opener_enter(const char *options)
{
	bool is_done = geteuid() == 0 ? unshare(CLONE_NEWNS) == 0 : enter_as_user();

	if (!is_done)
		harness_skip("a /dev/shm of the test's own needs a mount namespace: %s", strerror(errno));
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options))
		harness_skip("a tmpfs cannot be mounted on /dev/shm: %s", strerror(errno));
}

void
opener_remount(const char *options)
{
	harness_assert(mount("tmpfs", "/dev/shm", "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV, options) == 0, "remount: %s",
	    strerror(errno));
}

unsigned
opener_count(void)
{
	DIR *dir = opendir("/dev/shm");
	struct dirent *entry;
	unsigned n = 0;

	harness_assert(dir, "/dev/shm: %s", strerror(errno));
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

void
opener_await_count(unsigned n)
{
	while (opener_count() != n)
		(void)sched_yield();
}

void
opener_fill(const char *name)
{
	static const char block[BLOCK] = { 1 };
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	harness_assert(fd >= 0, "%s: %s", name, strerror(errno));
	while (write(fd, block, sizeof(block)) > 0)
		;
	harness_assert(errno == ENOSPC, "writing %s: %s", name, strerror(errno));
	(void)close(fd);
}

/* In the program. */

struct role {
	int fd;
	int prot;
	unsigned char *map;
	size_t length;
};

struct line {
	char verb[16];
	char name[32];			/* or the first number */
	long a, b;
};

static long
result(long r)
{
	return r < 0 ? -errno : r;
}

static long
do_open(struct role *role, const char *name, int flags)
{
	if (role->fd >= 0)
		(void)close(role->fd);
	role->fd = shm_open(name, flags, 0644);
	role->prot = (flags & O_ACCMODE) == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	return role->fd < 0 ? -errno : 0;
}

static long
do_make(struct role *role, const struct line *line)
{
	long r = do_open(role, line->name, O_RDWR | O_CREAT | O_EXCL);

	return r ? r : result(ftruncate(role->fd, line->b));
}

static long
do_read(struct role *role, const struct line *line)
{
	return do_open(role, line->name, O_RDONLY);
}

static long
do_write(struct role *role, const struct line *line)
{
	return do_open(role, line->name, O_RDWR);
}

static long
do_map(struct role *role, const struct line *line)
{
	void *map = mmap(NULL, (size_t)line->a, role->prot, MAP_SHARED, role->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	role->map = map;
	role->length = (size_t)line->a;
	return 0;
}

static long
do_get(struct role *role, const struct line *line)
{
	return ((volatile unsigned char *)role->map)[line->a];
}

static long
do_set(struct role *role, const struct line *line)
{
	((volatile unsigned char *)role->map)[line->a] = (unsigned char)line->b;
	return 0;
}

static long
do_cut(struct role *role, const struct line *line)
{
	return result(ftruncate(role->fd, line->a));
}

static long
do_punch(struct role *role, const struct line *line)
{
	return result(fallocate(role->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, line->a, line->b));
}

static long
do_size(struct role *role, const struct line *line)
{
	struct stat status;

	(void)line;
	return fstat(role->fd, &status) ? -errno : (long)status.st_size;
}

static long
do_close(struct role *role, const struct line *line)
{
	(void)line;
	return result(close(take_fd(&role->fd)));
}

static long
do_unmap(struct role *role, const struct line *line)
{
	(void)line;
	return result(munmap(take_ptr(role->map), role->length));
}

static long
do_unlink(struct role *role, const struct line *line)
{
	(void)role;
	return result(shm_unlink(line->name));
}

static long
do_chmod(struct role *role, const struct line *line)
{
	return result(fchmod(role->fd, (mode_t)line->a));
}

static const struct {
	const char *verb;
	long (*act)(struct role *role, const struct line *line);
} verbs[] = {
	{ "make", do_make }, { "read", do_read }, { "write", do_write }, { "map", do_map }, { "get", do_get },
	{ "set", do_set }, { "cut", do_cut }, { "punch", do_punch }, { "size", do_size }, { "close", do_close },
	{ "unmap", do_unmap }, { "unlink", do_unlink }, { "chmod", do_chmod },
};

static long
act(struct role *role, const char *word)
{
	struct line line = { .a = 0 };

	(void)sscanf(word, "%15s %31s %ld", line.verb, line.name, &line.b);
	line.a = strtol(line.name, NULL, 0);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i].verb, line.verb))
			return verbs[i].act(role, &line);
	harness_fail("an opener was told '%s'", word);
}

static void
become_bare(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { { 0 } };

	harness_assert(syscall(SYS_capset, &header, none) == 0, "capset: %s", strerror(errno));
}

static void
run_opener(int control, void *arg)
{
	const struct opener *opener = arg;
	struct role role = { .fd = -1 };
	char word[WORD_MAX + 1], answer[32];
	ssize_t n;

	if (opener->is_bare)
		become_bare();
	else if (opener->uid != geteuid())
		harness_become(opener->uid, opener->gid, &opener->group, opener->group ? 1 : 0);
	while ((n = recv(control, word, WORD_MAX, 0)) > 0) {
		word[n] = 0;
		(void)snprintf(answer, sizeof(answer), "%ld", act(&role, word));
		harness_say(control, answer);
	}
}

/* The test's side. */

void
opener_start(struct opener *opener, uid_t uid, gid_t gid, gid_t group)
{
	(void)fflush(NULL);
	*opener = (struct opener) { .child = HARNESS_CHILD_NULL, .uid = uid, .gid = gid, .group = group };
	harness_child_start(&opener->child, run_opener, opener);
}

void
opener_start_bare(struct opener *opener)
{
	(void)fflush(NULL);
	*opener = (struct opener) { .child = HARNESS_CHILD_NULL, .is_bare = true };
	harness_child_start(&opener->child, run_opener, opener);
}

long
opener_do(struct opener *opener, const char *format, ...)
{
	char word[WORD_MAX + 1];
	va_list ap;
	ssize_t n;

	va_start(ap, format);
	(void)vsnprintf(word, sizeof(word), format, ap);
	va_end(ap);
	harness_say(opener->child.control, word);
	harness_await_readable(opener->child.control, word);
	n = recv(opener->child.control, word, WORD_MAX, 0);
	harness_assert(n > 0, "an opener ended");
	word[n] = 0;
	return strtol(word, NULL, 10);
}

void
opener_kill(struct opener *opener)
{
	harness_child_kill(&opener->child);
}
