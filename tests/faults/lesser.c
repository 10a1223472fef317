/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Another segmentd-audit answers for a while, or another asks, or there is more to be told apart: see lesser.h. */
#include "config.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/faults/auditing.h"
#include "tests/faults/lesser.h"
#include "tests/faults/strays.h"

#define QUERY_NUMBER		17		/* PROCMAP_QUERY's */
#define QUERY_BYTES		104
#define TWINS_MAX		4096		/* files of another file system, until one has the inode's number */
#define TWIN_BYTES		4096
#define GROUP			50		/* the socket's: nobody has to be in it */

/* A server with less, in the place of the one that all operations have. */

static pid_t server_pid;
static char away[128];

static void
replace_server(struct faults_scene *scene, void (*before)(void *arg))
{
	struct harness_daemon *daemon = &scene->manager.daemon;

	auditing_end(scene);
	if (scene->target != FAULTS_AUDIT)
		return;
	server_pid = daemon->audit_pid;
	(void)snprintf(away, sizeof(away), "%s-away", daemon->audit);
	harness_assert(rename(daemon->audit, away) == 0, "%s: %s", away, strerror(errno));
	daemon->before_audit = before;
	daemon->before_audit_arg = &scene->injector;
	harness_daemon_serve_audit(daemon);
	injector_take(&scene->injector, daemon->audit_pid);
}

static void
restore_server(struct faults_scene *scene)
{
	struct harness_daemon *daemon = &scene->manager.daemon;

	if (scene->target != FAULTS_AUDIT)
		return;
	auditing_end(scene);
	injector_end_audit(daemon);
	harness_assert(rename(away, daemon->audit) == 0, "%s: %s", away, strerror(errno));
	daemon->audit_pid = server_pid;
}

/* A kernel before Linux 6.11 has the text of /proc/PID/maps alone. */
static void
refuse_queries(void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, _IOC(_IOC_READ | _IOC_WRITE, 'f', QUERY_NUMBER, QUERY_BYTES), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	harness_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
	    "a filter of system calls: %s", strerror(errno));
	injector_prepare(arg);
}

void
lesser_prepare_text(struct faults_scene *scene)
{
	replace_server(scene, refuse_queries);
}

void
lesser_settle_who(struct faults_scene *scene)
{
	restore_server(scene);
	auditing_settle_who(scene);
}

/* Root without capabilities: what it starts has none either. */
static void
drop_rights(void *arg)
{
	for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	injector_prepare(arg);
}

void
lesser_prepare_rightless(struct faults_scene *scene)
{
	replace_server(scene, drop_rights);
}

/* A file of another file system with the same inode number, which is mapped: only what the kernel says of the mapping tells them apart. */

static void *twin = MAP_FAILED;
static char twin_dir[96];

static ino_t
inode_of(const char *path)
{
	struct stat status;

	harness_assert(stat(path, &status) == 0, "%s: %s", path, strerror(errno));
	return status.st_ino;
}

static void
map_twin(ino_t inode)
{
	char path[128];

	for (unsigned i = 0; i < TWINS_MAX; i++) {
		cleanup_close int fd = -1;

		(void)snprintf(path, sizeof(path), "%s/%u", twin_dir, i);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
		if (inode_of(path) != inode)
			continue;
		harness_assert(ftruncate(fd, TWIN_BYTES) == 0, "%s: %s", path, strerror(errno));
		twin = mmap(NULL, TWIN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		harness_assert(twin != MAP_FAILED, "mmap: %s", strerror(errno));
		return;
	}
}

void
lesser_prepare_twin(struct faults_scene *scene)
{
	auditing_end(scene);
	(void)snprintf(twin_dir, sizeof(twin_dir), "%s/twins", scene->manager.daemon.dir);
	harness_assert(mkdir(twin_dir, 0700) == 0, "%s: %s", twin_dir, strerror(errno));
	/* Who is not root has the one file alone. */
	if (mount("none", twin_dir, "tmpfs", 0, NULL) == 0)
		map_twin(inode_of("/dev/shm/p"));
}

void
lesser_settle_twin(struct faults_scene *scene)
{
	if (twin != MAP_FAILED)
		(void)munmap(twin, TWIN_BYTES);
	twin = MAP_FAILED;
	(void)umount2(twin_dir, MNT_DETACH);
	harness_assert(rmdir(twin_dir) == 0, "%s: %s", twin_dir, strerror(errno));
	auditing_settle_who(scene);
}

/* Somebody who is not root, and has the right by the socket's group. */

void
lesser_prepare_group(struct faults_scene *scene)
{
	const char *socket = scene->manager.daemon.audit;

	strays_prepare_both(scene);
	if (geteuid() == 0)
		harness_assert(chown(socket, 0, GROUP) == 0 && chmod(socket, 0660) == 0, "%s: %s", socket, strerror(errno));
}

static void
list_as_nobody(int control, void *arg)
{
	const gid_t group = GROUP;

	(void)control;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, &group, 1);
	_exit(-strays_list(arg));
}

int
lesser_list_of_group(struct faults_scene *scene)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	if (geteuid() != 0)
		return strays_list(scene);
	harness_child_start(&child, list_as_nobody, scene);
	return -harness_child_await(&child);
}

void
lesser_settle_group(struct faults_scene *scene)
{
	const char *socket = scene->manager.daemon.audit;

	if (geteuid() == 0)
		harness_assert(chown(socket, 0, 0) == 0 && chmod(socket, 0666) == 0, "%s: %s", socket, strerror(errno));
	strays_settle_both(scene);
}
