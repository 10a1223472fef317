/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Read through the process's directory, which is that process's even when its pid has become another's. Not its command line: that
 * is in its memory, and who reads it may wait for as long as the process likes.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "daemon/audit/holder.h"
#include "daemon/audit/objects.h"
#include "host/container.h"

#define START_FIELD	22		/* of stat, from 1: clock ticks from the host's start to its own */
#define CGROUP2		"/sys/fs/cgroup"
#define CGROUP2_HYBRID	"/sys/fs/cgroup/unified"
#define CGROUP1_FREEZER	"/sys/fs/cgroup/freezer"

/* The beginning of a file, as a string. False: it cannot be read. */
static bool
read_at(int dir_fd, const char *name, char *buf, size_t size)
{
	cleanup_close int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	errno = 0;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return len > 0;
}

/* What could not be read just now. */
static void
note(struct holder_self *self)
{
	self->is_incomplete = self->is_incomplete || error_is_passing(errno);
}

static uint64_t
namespace_of(struct holder_self *self, int process_fd, const char *path)
{
	struct stat status;

	if (fstatat(process_fd, path, &status, 0) == 0)
		return status.st_ino;
	note(self);
	return 0;
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (int64_t)t.tv_sec * (int64_t)NS_PER_SEC + t.tv_nsec;
}

void
holder_self_init(struct holder_self *self)
{
	memset(self, 0, sizeof(*self));
	self->pid_namespace = namespace_of(self, AT_FDCWD, "/proc/self/ns/pid");
	self->ipc_namespace = namespace_of(self, AT_FDCWD, "/proc/self/ns/ipc");
	self->boot_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

/* It may have newlines in it, and whatever else the process has put there. */
static void
describe_command(const char *command, size_t length, struct audit_holder *holder)
{
	length = min_u64(length, sizeof(holder->command) - 1);
	for (size_t i = 0; i < length; i++)
		holder->command[i] = command[i] < 0x20 || command[i] > 0x7e ? '?' : command[i];
	holder->command[length] = '\0';
}

/* rest: from behind the command on. */
static void
describe_start(const struct holder_self *self, const char *rest, struct audit_holder *holder)
{
	static long per_second;
	const char *p = rest;
	uint64_t ticks;
	int64_t started_ns;

	if (!per_second)
		per_second = sysconf(_SC_CLK_TCK);
	for (int field = 2; p && field < START_FIELD; field++)
		p = strchr(p + 1, ' ');
	if (!p || per_second <= 0)
		return;
	ticks = strtoull(p + 1, NULL, 10);
	started_ns = self->boot_ns + (int64_t)(ticks / (uint64_t)per_second * NS_PER_SEC +
	    ticks % (uint64_t)per_second * NS_PER_SEC / (uint64_t)per_second);
	if (ticks && started_ns > 0)
		holder->started_ns = (uint64_t)started_ns;
}

/* "PID (COMMAND) STATE ...": a command may have parentheses, and the rest has none. */
static void
describe_stat(struct holder_self *self, int process_fd, struct audit_holder *holder)
{
	char text[1024];
	const char *begin, *end;

	if (!read_at(process_fd, "stat", text, sizeof(text))) {
		note(self);
		return;
	}
	begin = strchr(text, '(');
	end = strrchr(text, ')');
	if (!begin || !end || end < begin)
		return;
	describe_command(begin + 1, (size_t)(end - begin) - 1, holder);
	describe_start(self, end, holder);
}

/* The name comes first and has its newlines escaped. The groups may be many: what stands behind them is not read then. */
static void
describe_status(struct holder_self *self, int process_fd, struct audit_holder *holder)
{
	char text[8192], *p, *end;
	struct stat status;

	/* The directory belongs to root where the process keeps others from looking into it. */
	if (fstat(process_fd, &status) == 0)
		holder->uid = status.st_uid;
	if (!read_at(process_fd, "status", text, sizeof(text))) {
		note(self);
		return;
	}
	p = strstr(text, "\nState:\t");
	if (p && (p[8] == 'T' || p[8] == 't'))
		holder->how |= AUDIT_STOPPED;
	p = strstr(text, "\nUid:\t");
	p = p ? strchr(p + 6, '\t') : NULL;
	if (p)
		holder->uid = (uint32_t)strtoul(p, NULL, 10);
	p = strstr(text, "\nNSpid:");
	for (p = p ? p + 7 : NULL; p && *p == '\t'; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid > 0 && pid <= INT32_MAX)
			holder->inner_pid = (int32_t)pid;
	}
}

static bool
path_says(const char *dir, const char *cgroup, const char *file, const char *what)
{
	cleanup_free char *path = NULL;
	char text[256];

	if (asprintf(&path, "%s%s/%s", dir, cgroup, file) < 0) {
		path = NULL;
		return false;
	}
	return read_at(AT_FDCWD, path, text, sizeof(text)) && strstr(text, what);
}

static bool
is_cgroup2(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The path of the hierarchy whose line begins so, or has so; as a string in text, whose line it ends. */
static char *
cgroup_line(char *text, const char *what)
{
	char *line = strstr(text, what);

	if (!line)
		return NULL;
	line += strlen(what);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/* Frozen tasks look like others that sleep. Where no hierarchy is mounted in its usual place it is not known. */
static bool
is_frozen(const char *text)
{
	cleanup_free char *copy = strdup(text), *other = strdup(text);
	const char *mount = is_cgroup2(CGROUP2) ? CGROUP2 : CGROUP2_HYBRID;
	const char *path = copy ? cgroup_line(copy, "0::") : NULL;

	if (path && path_says(mount, path, "cgroup.events", "frozen 1"))
		return true;
	path = other ? cgroup_line(other, ":freezer:") : NULL;
	return path && path_says(CGROUP1_FREEZER, path, "freezer.state", "FROZEN");
}

/* Ends the text's lines. */
static void
cgroup_make(char *text, size_t length, struct holder_cgroup *ret_cgroup)
{
	*ret_cgroup = (struct holder_cgroup) { 0 };
	if (length < sizeof(ret_cgroup->text))
		memcpy(ret_cgroup->text, text, length);
	container_cgroup(text, ret_cgroup->cgroup, sizeof(ret_cgroup->cgroup));
	ret_cgroup->is_frozen = is_frozen(text);
	(void)container_find(text, ret_cgroup->container, sizeof(ret_cgroup->container));
}

/* What the text came to when it was met, in this question, or comes to now. */
static const struct holder_cgroup *
cgroup_of(struct holder_self *self, char *text)
{
	struct holder_cgroup *cgroup;

	for (size_t i = 0; i < min_u64(self->n_cgroups, HOLDER_CGROUPS); i++)
		if (streq(self->cgroups[i].text, text))
			return &self->cgroups[i];
	cgroup = &self->cgroups[self->n_cgroups++ % HOLDER_CGROUPS];
	cgroup_make(text, strlen(text), cgroup);
	return cgroup;
}

static void
describe_cgroup(struct holder_self *self, int process_fd, struct audit_holder *holder)
{
	static char text[32768];
	const struct holder_cgroup *cgroup;

	if (!read_at(process_fd, "cgroup", text, sizeof(text))) {
		note(self);
		return;
	}
	cgroup = cgroup_of(self, text);
	memcpy(holder->cgroup, cgroup->cgroup, sizeof(holder->cgroup));
	memcpy(holder->container, cgroup->container, sizeof(holder->container));
	if (cgroup->is_frozen)
		holder->how |= AUDIT_STOPPED;
}

void
holder_describe(struct holder_self *self, int process_fd, struct audit_holder *holder)
{
	uint64_t inode;

	describe_stat(self, process_fd, holder);
	describe_status(self, process_fd, holder);
	describe_cgroup(self, process_fd, holder);
	inode = namespace_of(self, process_fd, "ns/pid");
	if (inode && self->pid_namespace && inode != self->pid_namespace)
		holder->how |= AUDIT_IN_PID_NAMESPACE;
	errno = 0;
	inode = namespace_of(self, process_fd, "ns/ipc");
	/* One that has ended since has none any more, nor anything else: nobody can say whether what it had was of ours. */
	if (self->ipc_namespace && (inode ? inode != self->ipc_namespace : errno == ENOENT || errno == ESRCH))
		holder->how |= AUDIT_IN_IPC_NAMESPACE;
}
