/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Stops at system calls: see tracer.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/system/suite.h"
#include "tests/system/tracer.h"

#define OPTIONS		(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)
#define OPTIONS_FAMILY	(PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define SYSCALL_STOP	(SIGTRAP | 0x80)
#define ASK_MS		1

/* They ask, or change what ends with the process and what nobody else sees of it. */
static const long silent_calls[] = {
	SYS_read, SYS_pread64, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek, SYS_getrandom, SYS_clock_gettime, SYS_clock_nanosleep,
	SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_brk, SYS_mprotect,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl,
	SYS_epoll_create1, SYS_poll, SYS_ppoll, SYS_futex, SYS_getdents64, SYS_readlink, SYS_readlinkat, SYS_access, SYS_faccessat,
	SYS_faccessat2, SYS_sched_getaffinity, SYS_prlimit64, SYS_statfs, SYS_fstatfs, SYS_capget, SYS_getgroups, SYS_uname,
	SYS_sysinfo, SYS_getsockopt, SYS_getsockname, SYS_getpeername, SYS_mincore, SYS_get_mempolicy, SYS_set_robust_list, SYS_rseq,
	SYS_set_tid_address, SYS_arch_prctl, SYS_kcmp, SYS_getcpu, SYS_gettimeofday, SYS_times, SYS_getrusage, SYS_eventfd2,
	SYS_timerfd_create, SYS_timerfd_settime, SYS_restart_syscall, SYS_pidfd_open, SYS_inotify_init1,
};

/* They make, name, unname, cut or record. Of open(2) only where it may make something. */
static const long naming_calls[] = {
	SYS_linkat, SYS_link, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_ftruncate, SYS_shmget,
	SYS_shmctl, SYS_shmat, SYS_shmdt, SYS_pwrite64, SYS_fallocate, SYS_memfd_create, SYS_fsetxattr, SYS_fchmod,
};

static bool
is_among(const long *calls, size_t n, uint64_t call)
{
	for (size_t i = 0; i < n; i++)
		if ((uint64_t)calls[i] == call)
			return true;
	return false;
}

static bool
is_naming(uint64_t call, const uint64_t *args)
{
	if (call == SYS_openat)
		return args[2] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY));
	return is_among(naming_calls, BASE_ARRAY_SIZE(naming_calls), call);
}

void
tracer_let_trace(void)
{
	sigset_t none;

	/* The test's own mask is not for it. */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

/* In the daemon's process, before it is one. */
static void
let_trace(void *arg)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (arg)
		tracer_let_trace();
}

void
tracer_skip_unless_permitted(void)
{
	pid_t pid = harness_fork();
	int status;

	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? errno : 0);
	harness_assert(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		harness_skip("ptrace is not permitted here: %s", strerror(WIFEXITED(status) ? WEXITSTATUS(status) : EPERM));
}

void
tracer_prepare(struct tracer *tracer)
{
	sigset_t child;

	tracer_skip_unless_permitted();
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	harness_assert(sigprocmask(SIG_BLOCK, &child, NULL) == 0, "sigprocmask: %s", strerror(errno));
	tracer->signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	harness_assert(tracer->signals >= 0, "signalfd: %s", strerror(errno));
	tracer->pid = 0;
}

static void
begin(struct tracer *tracer, const struct harness_daemon *daemon, long begins_with)
{
	tracer->pid = daemon->pid;
	tracer->call = 0;
	tracer->is_in_call = tracer->is_running = false;
	tracer->is_begun = begins_with < 0;
	tracer->begins_with = begins_with;
	tracer->n_stops = 0;
}

void
tracer_arm(struct harness_daemon *daemon)
{
	daemon->before_exec = let_trace;
	daemon->before_exec_arg = daemon;
}

void
tracer_take(struct tracer *tracer, struct harness_daemon *daemon, long begins_with)
{
	int status;

	daemon->before_exec_arg = NULL;
	harness_assert(waitpid(daemon->pid, &status, __WALL) == daemon->pid && WIFSTOPPED(status),
	    "the daemon did not stop at its exec, but ended with %#x", (unsigned)status);
	harness_assert(ptrace(PTRACE_SETOPTIONS, daemon->pid, NULL, OPTIONS) == 0, "ptrace: %s", strerror(errno));
	begin(tracer, daemon, begins_with);
}

void
tracer_launch(struct tracer *tracer, struct harness_daemon *daemon, long begins_with)
{
	tracer_arm(daemon);
	harness_daemon_launch(daemon);
	tracer_take(tracer, daemon, begins_with);
}

void
tracer_seize(struct tracer *tracer, struct harness_daemon *daemon)
{
	int status;

	harness_assert(ptrace(PTRACE_SEIZE, daemon->pid, NULL, OPTIONS) == 0 &&
	    ptrace(PTRACE_INTERRUPT, daemon->pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
	harness_assert(waitpid(daemon->pid, &status, __WALL) == daemon->pid && WIFSTOPPED(status),
	    "the daemon did not stop, but ended with %#x", (unsigned)status);
	begin(tracer, daemon, -1);
}

/* Whether it may be in there until others do something. */
static bool
may_wait(const struct tracer *tracer)
{
	return tracer->is_in_call && (tracer->call == SYS_epoll_wait || tracer->call == SYS_epoll_pwait ||
	    tracer->call == SYS_poll || tracer->call == SYS_ppoll || tracer->call == SYS_clock_nanosleep ||
	    tracer->call == SYS_recvfrom);
}

/* Waits for its next stop: true, and its status. False: it is over. */
static bool
await_stop(struct tracer *tracer, int fd, bool (*is_over)(void *arg), void *arg, int *ret_status)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (;;) {
		struct pollfd fds[2] = { { .fd = tracer->signals, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
		struct signalfd_siginfo info;
		pid_t pid;

		while (read(tracer->signals, &info, sizeof(info)) > 0)
			;
		pid = waitpid(tracer->pid, ret_status, __WALL | (may_wait(tracer) ? WNOHANG : 0));
		harness_assert(pid >= 0, "waitpid: %s", strerror(errno));
		if (pid == tracer->pid)
			return true;
		harness_assert(harness_clock_ns() < deadline_ns, "the daemon does nothing, and it is not over");
		(void)harness_poll(fds, 2, fd < 0 ? ASK_MS : HARNESS_TIMEOUT_MS);
		if ((fd < 0 || fds[1].revents) && is_over(arg))
			return false;
	}
}

/* What is opened for reading or writing is closed with the process. */
static bool
is_silent(const struct tracer *tracer)
{
	if (tracer->call == SYS_openat)
		return !tracer->is_in_naming;
	return is_among(silent_calls, BASE_ARRAY_SIZE(silent_calls), tracer->call);
}

/* A stop at a system call: what it is, and whether it counts. */
static void
take_stop(struct tracer *tracer)
{
	struct __ptrace_syscall_info info;
	struct tracer_stop stop;

	harness_assert(ptrace(PTRACE_GET_SYSCALL_INFO, tracer->pid, sizeof(info), &info) > 0, "ptrace: %s", strerror(errno));
	tracer->is_in_call = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	if (tracer->is_in_call) {
		tracer->call = info.entry.nr;
		tracer->is_in_naming = is_naming(info.entry.nr, info.entry.args);
		tracer->is_in_lease = info.entry.nr == SYS_fcntl && info.entry.args[1] == F_SETLEASE;
	}
	if (!tracer->is_begun && tracer->is_in_call && (uint64_t)tracer->begins_with == tracer->call)
		tracer->is_begun = true;
	if (!tracer->is_begun || is_silent(tracer))
		return;
	stop = (struct tracer_stop) {
		.call = (uint16_t)tracer->call, .is_end = !tracer->is_in_call, .is_naming = tracer->is_in_naming,
		.is_lease = tracer->is_in_lease,
	};
	if (tracer->counts && !tracer->counts(&stop))
		return;
	harness_assert(tracer->n_stops < TRACER_STOPS_MAX, "more than %d stops", TRACER_STOPS_MAX);
	tracer->stops[tracer->n_stops++] = stop;
}

bool
tracer_run(struct tracer *tracer, size_t at, int fd, bool (*is_over)(void *arg), void *arg)
{
	int signal = 0, status = 0;

	for (;;) {
		if (tracer->n_stops && tracer->n_stops - 1 == at)
			return true;
		/* It runs since it was last said to be over. */
		if (!tracer->is_running)
			harness_assert(ptrace(PTRACE_SYSCALL, tracer->pid, NULL, signal) == 0, "ptrace: %s", strerror(errno));
		tracer->is_running = true;
		if (!await_stop(tracer, fd, is_over, arg, &status))
			return false;
		tracer->is_running = false;
		harness_assert(WIFSTOPPED(status), "the daemon ended by itself, with %#x, %s", (unsigned)status,
		    tracer->n_stops ? tracer_describe(&tracer->stops[tracer->n_stops - 1]) : "before anything counted");
		signal = 0;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			take_stop(tracer);
		else if (status >> 16 == 0)
			signal = WSTOPSIG(status);
	}
}

void
tracer_let_go(struct tracer *tracer, int signal)
{
	int status;

	/*
	 * It is stopped by a signal that it never gets, but that one in its place; its system calls until then do not count. A thread that
	 * is not traced would get the signal, and all of them stay stopped.
	 */
	harness_assert(syscall(SYS_tgkill, tracer->pid, tracer->pid, SIGSTOP) == 0, "tgkill: %s", strerror(errno));
	for (;;) {
		if (!tracer->is_running)
			(void)ptrace(PTRACE_CONT, tracer->pid, NULL, NULL);
		harness_assert(waitpid(tracer->pid, &status, __WALL) == tracer->pid && WIFSTOPPED(status), "the daemon ended with %#x",
		    (unsigned)status);
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		tracer->is_running = false;
	}
	harness_assert(ptrace(PTRACE_DETACH, tracer->pid, NULL, signal) == 0, "ptrace: %s", strerror(errno));
	tracer->is_running = false;
}

/* The next stop of the daemon, or of a child that it has made. */
static pid_t
await_family(int *ret_status)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pid;

	while ((pid = waitpid(-1, ret_status, __WALL | WNOHANG)) == 0) {
		harness_assert(harness_clock_ns() < deadline_ns, "the daemon starts no worker");
		(void)poll(NULL, 0, ASK_MS);
	}
	harness_assert(pid > 0 && WIFSTOPPED(*ret_status), "%d ended with %#x, and there was no worker", (int)pid,
	    (unsigned)*ret_status);
	return pid;
}

pid_t
tracer_hold_worker(struct harness_daemon *daemon)
{
	struct tracer tracer = { .pid = daemon->pid, .is_running = true };
	pid_t pid = daemon->pid;
	int status, signal = 0;

	daemon->before_exec_arg = NULL;
	harness_assert(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status), "the daemon did not stop at its exec, but ended "
	    "with %#x", (unsigned)status);
	harness_assert(ptrace(PTRACE_SETOPTIONS, pid, NULL, OPTIONS_FAMILY) == 0, "ptrace: %s", strerror(errno));
	do {
		harness_assert(ptrace(PTRACE_CONT, pid, NULL, signal) == 0, "ptrace: %s", strerror(errno));
		pid = await_family(&status);
		/* A child begins with a stop of ours. */
		signal = status >> 16 || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
	} while (pid == daemon->pid || status >> 16 != PTRACE_EVENT_EXEC);
	harness_assert(suite_is_worker(pid), "the daemon's first child is no worker");
	harness_assert(kill(pid, SIGSTOP) == 0 && ptrace(PTRACE_DETACH, pid, NULL, 0) == 0, "ptrace: %s", strerror(errno));
	tracer_let_go(&tracer, 0);
	return pid;
}

const char *
tracer_describe(const struct tracer_stop *stop)
{
	static const struct {
		long call;
		const char *name;
	} names[] = {
		{ SYS_linkat, "linkat" }, { SYS_unlink, "unlink" }, { SYS_unlinkat, "unlinkat" }, { SYS_rename, "rename" },
		{ SYS_renameat2, "renameat2" }, { SYS_ftruncate, "ftruncate" }, { SYS_shmget, "shmget" }, { SYS_shmctl, "shmctl" },
		{ SYS_shmat, "shmat" }, { SYS_shmdt, "shmdt" }, { SYS_write, "write" }, { SYS_pwrite64, "pwrite64" },
		{ SYS_openat, "openat" }, { SYS_close, "close" }, { SYS_fcntl, "fcntl" }, { SYS_flock, "flock" },
		{ SYS_memfd_create, "memfd_create" }, { SYS_fsetxattr, "fsetxattr" }, { SYS_fchmod, "fchmod" },
		{ SYS_sendmsg, "sendmsg" }, { SYS_sendto, "sendto" }, { SYS_mmap, "mmap" }, { SYS_munmap, "munmap" },
		{ SYS_mlock, "mlock" }, { SYS_fallocate, "fallocate" }, { SYS_madvise, "madvise" }, { SYS_recvmsg, "recvmsg" },
	};
	static char text[48];
	const char *name = NULL;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		if (names[i].call == stop->call)
			name = names[i].name;
	if (name)
		(void)snprintf(text, sizeof(text), "%s %s", stop->is_end ? "after" : "before", name);
	else
		(void)snprintf(text, sizeof(text), "%s system call %u", stop->is_end ? "after" : "before", stop->call);
	return text;
}
