/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who is told of is who the kernel says has it, or it is said that not all was seen: see auditing.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "tests/faults/asleep.h"
#include "tests/faults/auditing.h"
#include "tests/system/keeper.h"
#include "tests/system/suite.h"

#define ROWS		32
#define IDLE_MS		8000		/* at most, of what has two seconds */

/* Who has it is told, or that not all was seen, and why. A process that is told of is told rightly. */
static int
ask_who_has(struct faults_scene *scene, struct harness_conn *conn, const char *name)
{
	struct protocol_process rows[ROWS];
	struct protocol_told told;
	char text[512] = "";
	bool is_told, has_row = false;
	int n = keeper_who(conn, name, &told, text, sizeof(text), rows, ROWS);

	if (n < 0)
		return n;
	is_told = told.n_unseen || told.n_hidden || told.flags & (PROTOCOL_TOLD_FAILED | PROTOCOL_TOLD_INCOMPLETE);
	for (int i = 0; i < n; i++) {
		harness_assert(rows[i].pid == getpid() && (is_told || injector_is_lasting(&scene->injector) ||
		    (rows[i].uid == getuid() && rows[i].command[0] && rows[i].how)),
		    "pid %d, uid %u, '%s', how %#x has '%s'; failed: %s", rows[i].pid, rows[i].uid, rows[i].command, rows[i].how, name,
		    injector_describe(&scene->injector));
		has_row = true;
	}
	harness_assert(has_row || is_told, "nobody is told to have '%s'; failed: %s", name, injector_describe(&scene->injector));
	harness_assert(text[0] || !(told.n_hidden || told.flags & PROTOCOL_TOLD_FAILED), "it does not say why; failed: %s",
	    injector_describe(&scene->injector));
	/* One that the daemon starts has no right to look at us. */
	return told.flags & PROTOCOL_TOLD_FAILED ? -ECANCELED : is_told && scene->manager.daemon.audit_pid ? -EAGAIN : 0;
}

/* Of one that this process has. */
static int
ask_who_by(struct faults_scene *scene, struct harness_conn *conn, const char *name)
{
	struct harness_segment segment;
	int r = harness_segment_attach(conn, name, SUITE_WRITE, &segment), detached;
	void *bytes = NULL;

	if (r)
		return r;
	/* The harness has but the page beside it. */
	if (segment.attached.flags & PROTOCOL_ATTACHED_SHM)
		bytes = shmat(segment.attached.shm_id, NULL, 0);
	harness_assert(bytes != (void *)-1, "shmat: %s", strerror(errno));
	r = ask_who_has(scene, conn, name);
	if (bytes)
		(void)shmdt(bytes);
	harness_segment_close(&segment);
	detached = harness_detach(conn, &segment.attached);
	return r || detached == -ENOENT ? r : detached;
}

static int
ask_who(struct faults_scene *scene, const char *name)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : ask_who_by(scene, &conn, name);
	harness_close(&conn);
	return r;
}

/* A look has its time, which may be too short on a machine with load. */
static int
ask_who_until_all(struct faults_scene *scene, const char *name)
{
	uint64_t since_ns = harness_clock_ns();
	int r;

	do
		r = ask_who(scene, name);
	while (r == -EAGAIN && injector_awaits(&scene->injector, since_ns, 0));
	return r;
}

int
auditing_who_memfd(struct faults_scene *scene)
{
	return ask_who_until_all(scene, "m");
}

/* It says how many it could not look into, and what that takes. */
int
auditing_who_in_part(struct faults_scene *scene)
{
	int r = ask_who(scene, "m");

	return r == -EAGAIN ? 0 : r;
}

int
auditing_who_posix(struct faults_scene *scene)
{
	return ask_who_until_all(scene, "p");
}

int
auditing_who_sysv(struct faults_scene *scene)
{
	return ask_who_until_all(scene, "y");
}

static bool
is_audit(pid_t pid)
{
	char path[64], name[32] = "";
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && strncmp(name, "segmentd-audit", 14) == 0;
}

/* What answers ends after a while without questions: the next operation is to have a new one at once. */
static void
end_audits_of(pid_t parent)
{
	pid_t pids[16];
	size_t n = harness_children(parent, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++) {
		if (!is_audit(pids[i]))
			continue;
		/* It is not torn from a removal. */
		asleep_await_end(pids[i]);
		(void)kill(pids[i], SIGKILL);
	}
}

void
auditing_end(struct faults_scene *scene)
{
	end_audits_of(scene->manager.daemon.pid);
	if (scene->manager.daemon.audit_pid)
		end_audits_of(scene->manager.daemon.audit_pid);
}

/* False: they have not. */
static bool
await_ends_of(const struct faults_scene *scene, pid_t parent, uint64_t since_ns)
{
	pid_t pids[16];
	size_t n = harness_children(parent, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++) {
		cleanup_close int pidfd = is_audit(pids[i]) ? (int)syscall(SYS_pidfd_open, pids[i], 0) : -1;
		struct pollfd fd = { .fd = pidfd, .events = POLLIN };

		while (pidfd >= 0 && poll(&fd, 1, 10) == 0)
			if (!injector_awaits(&scene->injector, since_ns, IDLE_MS))
				return false;
	}
	return true;
}

void
auditing_prepare_idle(struct faults_scene *scene)
{
	int r = ask_who_by(scene, &scene->watcher, "m");

	harness_assert(r == 0 || r == -EAGAIN, "who has it: %s", strerror(-r));
}

int
auditing_idle(struct faults_scene *scene)
{
	uint64_t since_ns = harness_clock_ns();

	if (!await_ends_of(scene, scene->manager.daemon.pid, since_ns) ||
	    (scene->manager.daemon.audit_pid && !await_ends_of(scene, scene->manager.daemon.audit_pid, since_ns)))
		return -ETIMEDOUT;
	return 0;
}

void
auditing_settle_who(struct faults_scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	int r;

	harness_await_counts(&scene->watcher, "m", 0, 0);
	/* As above. */
	do
		r = ask_who_by(scene, &scene->watcher, "m");
	while (r == -EAGAIN && harness_clock_ns() < deadline_ns);
	harness_assert(r == 0, "who has it is not told afterwards: %s; failed: %s", strerror(-r),
	    injector_describe(&scene->injector));
	auditing_end(scene);
}
