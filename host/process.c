/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the host says of a process. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/base.h"
#include "host/container.h"
#include "host/file.h"
#include "host/process.h"

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC	0x50494446	/* COMPAT(linux 6.9): older headers do not name it */
#endif

#define CGROUP_TEXT_MAX	8192		/* a dozen hierarchies of version 1, with the paths of containers */

/* What there is of /proc/PID/NAME, at most size - 1 bytes, as a string. Its length, or -1. */
static ssize_t
read_file(pid_t pid, const char *name, char *buf, size_t size)
{
	cleanup_close int fd = -1;
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, size - 1) : -1;
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

/*
 * A process names itself as it likes. The name goes to terminals, logs and JSON, so that whatever is not printable ASCII
 * becomes a question mark: escape sequences, and pieces of characters that the kernel cut at 15 bytes.
 */
void
process_command(pid_t pid, char *buf, size_t size)
{
	ssize_t n = -1;

	if (size == 0)
		return;
	if (pid > 0)
		n = read_file(pid, "comm", buf, size);
	if (n < 0)
		n = 0;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	for (char *p = buf; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}

void
process_cgroup(pid_t pid, char *cgroup, size_t cgroup_size, char *container, size_t container_size)
{
	char text[CGROUP_TEXT_MAX];

	cgroup[0] = container[0] = '\0';
	if (pid <= 0 || read_file(pid, "cgroup", text, sizeof(text)) < 0)
		return;
	container_cgroup(text, cgroup, cgroup_size);
	(void)container_find(text, container, container_size);
}

/*
 * Its state's letter, or 0: it has none, or /proc hides it. Of one thread: for a process as such the kernel adds up what all its
 * threads have used, which takes 2 ms where it has twenty thousand.
 */
static char
read_state(pid_t tid)
{
	char stat[512], name[32];
	const char *p;

	(void)snprintf(name, sizeof(name), "task/%ld/stat", (long)tid);
	if (read_file(tid, name, stat, sizeof(stat)) < 0)
		return 0;
	/* "ID (COMMAND) STATE ...": a command may hold parentheses and spaces, at most 64 bytes of them. */
	p = strrchr(stat, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}

/*
 * Whether there is one, kill() knows: /proc may hide other users' processes, and what is hidden lives. For kill() a thread's
 * id is as good as a process's.
 */
enum process_thread
process_tid_state(pid_t tid)
{
	char state;

	if (tid <= 0 || (kill(tid, 0) < 0 && errno == ESRCH))
		return PROCESS_THREAD_GONE;
	state = read_state(tid);
	return state == 'Z' || state == 'X' ? PROCESS_THREAD_ENDED : PROCESS_THREAD_LIVES;
}

bool
process_is_runnable(pid_t pid)
{
	return read_state(pid) == 'R';
}

bool
process_is_in_kernel(pid_t pid)
{
	return read_state(pid) == 'D';
}

bool
process_cpus_are_short(void)
{
	cleanup_close int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	char text[128];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long n_runnable;

	if (n <= 0)
		return false;
	text[n] = '\0';
	/* Three averages, and then how many there are at this instant, of all. */
	return sscanf(text, "%*f %*f %*f %ld/", &n_runnable) == 1 && n_runnable - 1 >= sysconf(_SC_NPROCESSORS_ONLN);
}

uint64_t
process_cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	/* It needs no /proc, and counts what is no whole tick yet. */
	if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Whether /proc counts as we do: it may be the one of another pid namespace. */
static bool
proc_is_ours(void)
{
	char link[32];
	ssize_t n = readlink("/proc/self", link, sizeof(link) - 1);

	if (n <= 0)
		return false;
	link[n] = '\0';
	return strtol(link, NULL, 10) == (long)getpid();
}

/* "NSpid:" is followed by its id in our pid namespace, and in each further one down to its own. */
int
process_pid_namespace(pid_t pid)
{
	char status[4096], *p, *end;

	errno = 0;
	if (pid <= 0 || !proc_is_ours() || read_file(pid, "status", status, sizeof(status)) < 0)
		return error_is_passing(errno) ? -errno : PROCESS_NAMESPACE_UNKNOWN;
	p = strstr(status, "\nNSpid:");
	if (!p)
		return PROCESS_NAMESPACE_UNKNOWN;
	p += strlen("\nNSpid:");
	if (strtol(p, &end, 10) != (long)pid)
		return PROCESS_NAMESPACE_UNKNOWN;
	if (*end == '\n')
		return PROCESS_NAMESPACE_OURS;
	return *end == '\t' ? PROCESS_NAMESPACE_NESTED : PROCESS_NAMESPACE_UNKNOWN;
}

uint64_t
process_own_pid_namespace(void)
{
	struct stat status;

	return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

/* COMPAT(linux 6.9): before, all pidfds are of one inode, which tells nothing. */
uint64_t
process_number(int pidfd)
{
	struct statfs fs;
	struct stat status;

	if (pidfd < 0 || fstatfs(pidfd, &fs) || fs.f_type != PID_FS_MAGIC || fstat(pidfd, &status))
		return 0;
	return status.st_ino;
}

int
process_open(pid_t pid, uint64_t number)
{
	cleanup_close int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd end = { .fd = pidfd, .events = POLLIN };

	return number && process_number(pidfd) == number && poll(&end, 1, 0) == 0 ? take_fd(&pidfd) : -1;
}

bool
process_lives(pid_t pid, uint64_t number)
{
	cleanup_close int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd end = { .fd = pidfd, .events = POLLIN };
	uint64_t own_number;

	if (pidfd < 0)
		return pid > 0 && errno != ESRCH && errno != EINVAL;
	own_number = process_number(pidfd);
	return (own_number == number || !own_number) && poll(&end, 1, 0) <= 0;
}

pid_t
process_lock_holder(const char *root, const struct stat *st)
{
	cleanup_fclose FILE *locks = NULL;
	char line[256];

	(void)file_open_text(root, "/proc/locks", &locks);
	while (locks && fgets(line, sizeof(line), locks)) {
		unsigned long inode;
		int pid;

		if (sscanf(line, "%*u: FLOCK %*s %*s %d %*x:%*x:%lu", &pid, &inode) == 2 && inode == st->st_ino && pid > 0)
			return pid;
	}
	return 0;
}
