/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A container of a test's own: see jail.h. */
#include "config.h"

#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/system/jail.h"

static bool
write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

int
jail_enter_user_namespace(void)
{
	char uids[32], gids[32];

	(void)snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	(void)snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER) || !write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", uids) ||
	    !write_text("/proc/self/gid_map", gids))
		return -errno;
	return 0;
}

static int
unshare_all(const struct jail *jail)
{
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | (jail->keeps_ipc ? 0 : CLONE_NEWIPC);
	int r = 0;

	if (jail->uid && jail->uid != geteuid())
		harness_become(jail->uid, jail->uid, NULL, 0);
	if (jail->has_user_namespace)
		r = jail_enter_user_namespace();
	return r == 0 && unshare(flags) ? -errno : r;
}

const char *
jail_why_not(const struct jail *jail)
{
	pid_t pid;
	int status;

	if (geteuid() != 0 && (!jail->has_user_namespace || (jail->uid && jail->uid != geteuid())))
		return "a container of another user, or without a user namespace, needs root";
	pid = harness_fork();
	if (pid == 0)
		_exit(unshare_all(jail) ? 1 : harness_make_private("/") ? 2 : 0);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 1)
		return "namespaces cannot be had here";
	return WEXITSTATUS(status) ? "the root directory is no mount point here, as in a chroot" : NULL;
}

void
jail_unshare(const struct jail *jail)
{
	int r = unshare_all(jail);

	harness_assert(r == 0, "namespaces: %s", strerror(-r));
}

/* On the directory that the daemon's socket is in, since that is there. */
void
jail_enter(const struct jail *jail, const char *socket)
{
	char path[256], source[64];
	char *root = dirname(strncpy(path, socket, sizeof(path) - 1));
	cleanup_close int fd = open(socket, O_PATH | O_CLOEXEC);
	cleanup_close int target = -1;

	path[sizeof(path) - 1] = '\0';
	harness_assert(fd >= 0, "%s: %s", socket, strerror(errno));
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	harness_assert(harness_make_private("/") == 0, "private mounts: %s", strerror(errno));
	harness_assert(mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0 && chdir(root) == 0, "tmpfs: %s",
	    strerror(errno));
	target = open(JAIL_SOCKET + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	harness_assert(target >= 0 && mount(source, JAIL_SOCKET + 1, NULL, MS_BIND, NULL) == 0, "binding the socket: %s",
	    strerror(errno));
	if (jail->has_proc)
		harness_assert(mkdir("proc", 0555) == 0 && mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0,
		    "proc: %s", strerror(errno));
	harness_assert(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0, "pivot_root: %s",
	    strerror(errno));
	harness_assert(access("/dev", F_OK) < 0 && access("/tmp", F_OK) < 0 && (jail->has_proc || access("/proc", F_OK) < 0),
	    "something of the host is left");
}
