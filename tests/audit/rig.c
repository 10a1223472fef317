/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The rig: asks as the daemon and segmentctl do. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/audit/rig.h"

struct rig rig = RIG_NULL;
const char rig_program[] = RIG_AUDIT_PROGRAM;

void
rig_start(void)
{
	harness_assert(setenv("SEGMENTD_AUDIT", rig_program, 1) == 0, "setenv: %s", strerror(errno));
	rig.fd = audit_open(NULL, &rig.pid);
	harness_assert(rig.fd >= 0, "audit_open: %s", strerror(-rig.fd));
}

static int
rig_await(void)
{
	int status;

	close_fd(&rig.fd);
	status = harness_await_state(rig.pid, 0, "segmentd-audit's end");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
rig_stop(void)
{
	int status = rig_await();

	harness_assert(status == 0, "segmentd-audit ended with %d", status);
}

void
rig_kill(void)
{
	harness_assert(kill(rig.pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	(void)rig_await();
}

static int
take_holder(const void *row, void *arg)
{
	harness_assert(rig.n_rows < RIG_ROWS_MAX, "too many rows");
	memcpy(&rig.holders[rig.n_rows++], row, sizeof(rig.holders[0]));
	return 0;
}

static int
take_stray(const void *row, void *arg)
{
	harness_assert(rig.n_rows < RIG_ROWS_MAX, "too many rows");
	memcpy(&rig.strays[rig.n_rows++], row, sizeof(rig.strays[0]));
	return 0;
}

static size_t
rig_ask(enum audit_kind kind, uint32_t flags, const void *rows, size_t n)
{
	struct audit_question question = {
		.version = AUDIT_VERSION,
		.kind = kind,
		.serial = ++rig.serial,
		.flags = flags,
		.n_rows = (uint32_t)n,
	};
	int r;

	rig.n_rows = 0;
	r = audit_ask(rig.fd, &question, rows, kind == AUDIT_WHO ? take_holder : take_stray, NULL, &rig.end);
	harness_assert(r == 0, "audit_ask: %s", strerror(-r));
	harness_assert(rig.end.result == 0, "the question failed: %s: %s", strerror(-rig.end.result), rig.end.text);
	return rig.n_rows;
}

size_t
rig_who(const struct audit_object *objects, size_t n)
{
	return rig_ask(AUDIT_WHO, 0, objects, n);
}

size_t
rig_judge(const struct audit_candidate *candidates, size_t n)
{
	return rig_ask(AUDIT_JUDGE, 0, candidates, n);
}

size_t
rig_list(uint32_t flags)
{
	return rig_ask(AUDIT_LIST, flags, NULL, 0);
}

void
rig_send(enum audit_kind kind, const void *rows, size_t n, size_t row_size)
{
	static char message[AUDIT_MESSAGE_BYTES];
	struct audit_question question = { .version = AUDIT_VERSION, .kind = kind, .serial = ++rig.serial, .n_rows = (uint32_t)n };

	memcpy(message, &question, sizeof(question));
	memcpy(message + sizeof(question), rows, n * row_size);
	harness_assert(send(rig.fd, message, sizeof(question) + n * row_size, MSG_NOSIGNAL) > 0, "send: %s", strerror(errno));
}

void
rig_receive(enum audit_kind kind)
{
	static union {
		struct audit_answer head;
		char bytes[AUDIT_MESSAGE_BYTES];
	} message;

	rig.n_rows = 0;
	do {
		ssize_t n;

		harness_await_readable(rig.fd, "segmentd-audit's answer");
		n = recv(rig.fd, &message, sizeof(message), 0);
		harness_assert(n >= (ssize_t)sizeof(message.head), "no answer: %s", n < 0 ? strerror(errno) : "it has ended");
		for (uint32_t i = 0; i < message.head.n_rows; i++)
			(void)(kind == AUDIT_WHO ? take_holder : take_stray)(
			    message.bytes + sizeof(message.head) + i * message.head.row_size, NULL);
	} while (message.head.flags & AUDIT_MORE);
	rig.end = message.head;
}

static long rig_call;			/* that it is in, or was last */

void
rig_begin_traced(const struct audit_candidate *candidates, size_t n)
{
	int status;

	rig_start();
	rig_call = -1;
	harness_assert(ptrace(PTRACE_SEIZE, rig.pid, NULL, (void *)(intptr_t)PTRACE_O_TRACESYSGOOD) == 0, "ptrace: %s",
	    strerror(errno));
	/* It waits for a question, or is about to, and goes on with that. Asked before it stands, it could have answered by then. */
	harness_assert(ptrace(PTRACE_INTERRUPT, rig.pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
	status = harness_await_state(rig.pid, 0, "segmentd-audit to stop");
	harness_assert(WIFSTOPPED(status), "it did not stop: %#x", (unsigned)status);
	rig_send(AUDIT_JUDGE, candidates, n, sizeof(candidates[0]));
}

void
rig_run_to(long call, bool is_end)
{
	char what[64];
	int sig = 0;

	(void)snprintf(what, sizeof(what), "segmentd-audit to come to system call %ld", call);
	for (;;) {
		struct __ptrace_syscall_info info;
		int status;

		harness_assert(ptrace(PTRACE_SYSCALL, rig.pid, NULL, (void *)(intptr_t)sig) == 0, "ptrace: %s", strerror(errno));
		status = harness_await_state(rig.pid, 0, what);
		harness_assert(WIFSTOPPED(status), "ended before system call %ld", call);
		sig = WSTOPSIG(status);
		if (sig != (SIGTRAP | 0x80))
			continue;
		sig = 0;
		harness_assert(ptrace(PTRACE_GET_SYSCALL_INFO, rig.pid, sizeof(info), &info) > 0, "ptrace: %s", strerror(errno));
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			rig_call = (long)info.entry.nr;
		if (rig_call == call && is_end == (info.op == PTRACE_SYSCALL_INFO_EXIT))
			return;
	}
}

void
rig_let_go(void)
{
	harness_assert(ptrace(PTRACE_DETACH, rig.pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
}

const struct audit_holder *
rig_holder(uint32_t object, pid_t pid)
{
	const struct audit_holder *found = NULL;

	for (size_t i = 0; i < rig.n_rows; i++)
		if (rig.holders[i].object == object && rig.holders[i].pid == pid) {
			harness_assert(!found, "two rows of one process");
			found = &rig.holders[i];
		}
	return found;
}

uint32_t
rig_how(uint32_t object, pid_t pid)
{
	const struct audit_holder *holder = rig_holder(object, pid);

	return holder ? holder->how & (AUDIT_MAPS_READ | AUDIT_MAPS_WRITE | AUDIT_FD_READ | AUDIT_FD_WRITE | AUDIT_FD_PATH) : 0;
}

struct audit_object
rig_object(int fd)
{
	struct stat status;

	harness_assert(fstat(fd, &status) == 0, "fstat: %s", strerror(errno));
	return (struct audit_object) { .device = status.st_dev, .inode = status.st_ino, .shm_id = -1 };
}

struct audit_object
rig_segment(int shm_id)
{
	return (struct audit_object) { .shm_id = shm_id };
}

static char *
path_of(const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "/dev/shm/%s", name);
	return path;
}

struct audit_candidate
rig_candidate(const char *name, uint32_t flags)
{
	struct audit_candidate candidate = { .what = AUDIT_POSIX, .flags = flags, .shm_id = -1 };
	struct stat status;

	harness_assert(lstat(path_of(name), &status) == 0, "lstat '%s': %s", name, strerror(errno));
	candidate.device = status.st_dev;
	candidate.inode = status.st_ino;
	(void)snprintf(candidate.name, sizeof(candidate.name), "%s", name);
	return candidate;
}

struct audit_candidate
rig_sysv_candidate(int shm_id, uint32_t flags)
{
	struct shmid_ds segment;

	harness_assert(shmctl(shm_id, IPC_STAT, &segment) == 0, "shmctl: %s", strerror(errno));
	return (struct audit_candidate) {
		.what = AUDIT_SYSV,
		.flags = flags,
		.shm_id = shm_id,
		.key = (uint32_t)segment.shm_perm.__key,
		.attached_s = segment.shm_atime,
		.detached_s = segment.shm_dtime,
		.changed_s = segment.shm_ctime,
		.creator = (uint32_t)segment.shm_cpid,
	};
}

const struct audit_stray *
rig_judge_one(struct audit_candidate candidate)
{
	size_t n = rig_judge(&candidate, 1);

	harness_assert(n == 1, "%zu rows for one candidate", n);
	return &rig.strays[0];
}

void
rig_enter_private_shm(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC))
		harness_skip("no namespaces of our own: %s", strerror(errno));
	harness_assert(harness_make_private("/dev/shm") == 0, "mount: %s", strerror(errno));
	harness_assert(mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") == 0, "mount: %s", strerror(errno));
}

void
rig_make(const char *name, uid_t uid, mode_t mode)
{
	cleanup_close int fd = open(path_of(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	harness_assert(fd >= 0, "'%s': %s", name, strerror(errno));
	harness_assert(write(fd, "contents", 8) == 8 && fchmod(fd, mode) == 0 && fchown(fd, uid, uid) == 0, "'%s': %s", name,
	    strerror(errno));
}

bool
rig_exists(const char *name)
{
	struct stat status;

	return lstat(path_of(name), &status) == 0;
}

ino_t
rig_inode(const char *name)
{
	struct stat status;

	return lstat(path_of(name), &status) ? 0 : status.st_ino;
}

size_t
rig_count(void)
{
	DIR *dir = opendir("/dev/shm");
	size_t n = 0;

	harness_assert(dir, "/dev/shm: %s", strerror(errno));
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n - 2;
}
