/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Stops at system calls, and those that fail: see tracing.h. */
#include "config.h"

#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "tests/faults/calls.h"
#include "tests/faults/tracing.h"
#include "tests/system/tracer.h"

#define OPTIONS		(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define SYSCALL_STOP	(SIGTRAP | 0x80)
#define TRACED_MAX	64

struct traced {
	pid_t pid;
	enum faults_target target;
	bool is_begun;			/* it is itself by now, and no longer the loader */
	bool is_in_call;
	int error;			/* that the call is to return; 0: its own */
};

/* By what they are called with. */
static const char *const names[FAULTS_TARGET_N] = {
	[FAULTS_DAEMON] = "segmentd",
	[FAULTS_WORKER] = "segmentd-worker",
	[FAULTS_CLIENT] = "",
	[FAULTS_AUDIT] = "segmentd-audit",
};

static struct traced traced[TRACED_MAX];
static struct faults_page *page;
static volatile sig_atomic_t is_asked;		/* the test has said something */
static bool is_leaving;				/* whoever stops is let go */

static struct traced *
find(pid_t pid)
{
	for (size_t i = 0; i < TRACED_MAX; i++)
		if (traced[i].pid == pid)
			return &traced[i];
	return NULL;
}

static struct traced *
add(pid_t pid, enum faults_target target, bool is_begun)
{
	struct traced *one = find(pid);

	if (!one)
		one = find(0);
	harness_assert(one, "more than %d processes", TRACED_MAX);
	*one = (struct traced) { .pid = pid, .target = target, .is_begun = is_begun };
	return one;
}

/* A process that was forked is what its parent is, until it is another program. */
static void
take_exec(struct traced *one)
{
	char path[64], name[32] = "";
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)one->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0) {
		one->target = 0;
		while (one->target < FAULTS_TARGET_N && !streq(name, names[one->target]))
			one->target++;
	}
	one->is_begun = false;
	one->is_in_call = true;		/* the end of execve(2) comes yet */
	one->error = 0;
}

/*
 * The registers by which a call is prevented, and its result set: PTRACE_SET_SYSCALL_INFO would know them, on Linux 6.16 and later.
 */
static void
set_call(pid_t pid, bool is_prevented, int64_t result)
{
#if defined(__x86_64__)
	struct user_regs_struct registers;

	(void)ptrace(PTRACE_GETREGS, pid, NULL, &registers);
	if (is_prevented)
		registers.orig_rax = UINT64_MAX;
	registers.rax = (uint64_t)result;
	(void)ptrace(PTRACE_SETREGS, pid, NULL, &registers);
#elif defined(__aarch64__)
	struct user_regs_struct registers;
	struct iovec set = { .iov_base = &registers, .iov_len = sizeof(registers) };
	int number = -1;
	struct iovec call = { .iov_base = &number, .iov_len = sizeof(number) };

	if (is_prevented) {
		(void)ptrace(PTRACE_SETREGSET, pid, (void *)0x404 /* NT_ARM_SYSTEM_CALL */, &call);
		return;
	}
	(void)ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &set);
	registers.regs[0] = (uint64_t)result;
	(void)ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &set);
#endif
}

/* What a sanitizer has handlers for, as soon as it is loaded; it goes on to ask the kernel by the C library. */
static bool
is_of_fault(uint64_t signal)
{
#ifdef WITH_SANITIZERS
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE;
#else
	(void)signal;
	return false;
#endif
}

/* The loader is not ours: what a program does itself begins with this. */
static bool
is_beginning(const struct traced *one, const struct __ptrace_syscall_info *info)
{
	if (one->target == FAULTS_WORKER)
		return info->entry.nr == SYS_prctl && info->entry.args[0] == PR_SET_NAME;
	return info->entry.nr == SYS_prctl || info->entry.nr == SYS_getsockopt || info->entry.nr == SYS_socket ||
	    (info->entry.nr == SYS_rt_sigaction && !is_of_fault(info->entry.args[0]));
}

/* Sanitizers ask the kernel by themselves, from their library or from the program, where the C library asks for all others; they abort. */
static bool
is_of_sanitizer(const struct traced *one, uint64_t at)
{
#ifdef WITH_SANITIZERS
	char path[64], line[512], program[sizeof(line)] = "";
	cleanup_fclose FILE *f = NULL;
	uintmax_t begin, end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)one->pid);
	n = readlink(path, program, sizeof(program) - 1);
	harness_assert(n > 0, "%s: %s", path, strerror(errno));
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)one->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%jx-%jx", &begin, &end) == 2 && begin <= at && at < end)
			return strstr(line, program) || strstr(line, "san.so");
#else
	(void)one;
	(void)at;
#endif
	return false;
}

static void
enter(struct traced *one, const struct __ptrace_syscall_info *info)
{
	struct calls_fault fault;

	one->is_begun = one->is_begun || is_beginning(one, info);
	if (!one->is_begun || !atomic_load(&page->is_armed) || page->kind != FAULTS_CALLS || one->target != page->target ||
	    (page->pid && page->pid != one->pid))
		return;
	fault = calls_judge(info->entry.nr, info->entry.args, page->variant);
	if (!fault.error || is_of_sanitizer(one, info->instruction_pointer) || atomic_fetch_add(&page->n_seen, 1) != page->at)
		return;
	one->error = fault.error;
	(void)snprintf(page->what, sizeof(page->what), "%s(%#jx, %#jx, %#jx) [%ju] with %s, at %#jx", fault.name,
	    (uintmax_t)info->entry.args[0], (uintmax_t)info->entry.args[1], (uintmax_t)info->entry.args[2], (uintmax_t)info->entry.nr,
	    strerrorname_np(fault.error), (uintmax_t)info->instruction_pointer);
	if (!fault.is_done)
		set_call(one->pid, true, -fault.error);
	atomic_fetch_add(&page->n_failed, 1);
}

static void
take_syscall(struct traced *one)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, one->pid, sizeof(info), &info) <= 0)
		return;
	one->is_in_call = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	if (one->is_in_call) {
		enter(one, &info);
	} else if (one->error) {
		set_call(one->pid, false, -one->error);
		one->error = 0;
	}
}

/* It may have stopped already, and be another program by now, or have ended, or have been let go. */
static void
note_child(const struct traced *one, int event)
{
	siginfo_t info;
	unsigned long child;

	if ((event != PTRACE_EVENT_FORK && event != PTRACE_EVENT_VFORK && event != PTRACE_EVENT_CLONE) ||
	    ptrace(PTRACE_GETEVENTMSG, one->pid, NULL, &child) != 0 ||
	    waitid(P_PID, (id_t)child, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0)
		return;
	if (!find((pid_t)child) || find((pid_t)child)->target == FAULTS_TARGET_N)
		(void)add((pid_t)child, one->target, one->is_begun);
}

/* Of a group stop it is told where it is seized; all others are its own. */
static void
take_stop(struct traced *one, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	note_child(one, event);
	if (signal == SYSCALL_STOP) {
		take_syscall(one);
	} else if (event == PTRACE_EVENT_EXEC) {
		take_exec(one);
	} else if (event == PTRACE_EVENT_STOP) {
		if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
			(void)ptrace(PTRACE_LISTEN, one->pid, NULL, NULL);
			return;
		}
	}
	(void)ptrace(PTRACE_SYSCALL, one->pid, NULL, signal == SYSCALL_STOP || event ? 0 : signal);
}

static void
on_word(int signal)
{
	(void)signal;
	is_asked = 1;
}

static bool
has_any(void)
{
	for (size_t i = 0; i < TRACED_MAX; i++)
		if (traced[i].pid)
			return true;
	return false;
}

/* Is let go from where it stands, unless a call that failed has still to return that. */
static bool
let_go(struct traced *one, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);

	if (signal == SYSCALL_STOP && one->error)
		take_syscall(one);
	if (one->error)
		return false;
	note_child(one, event);
	(void)ptrace(PTRACE_DETACH, one->pid, NULL, signal == SYSCALL_STOP || event ? 0 : signal);
	one->pid = 0;
	return true;
}

/* The next one that has stopped, or ended; -1: there is none, or the test has said something. */
static int
reap_one(void)
{
	struct traced *one;
	int status;
	pid_t pid = waitpid(-1, &status, __WALL);

	if (pid < 0) {
		if (errno == ECHILD)
			(void)memset(traced, 0, sizeof(traced));
		return -1;
	}
	one = find(pid);
	if (!WIFSTOPPED(status)) {
		if (one)
			one->pid = 0;
		return 0;
	}
	/* It may stop before its parent tells of it. */
	if (!one)
		one = add(pid, FAULTS_TARGET_N, false);
	if (!is_leaving || !let_go(one, status))
		take_stop(one, status);
	return 0;
}

/* All together: one that waits for a child of its own, as vfork(2) does, stops only when that one has gone on. */
static void
let_all_go(void)
{
	is_leaving = true;
	for (size_t i = 0; i < TRACED_MAX; i++)
		if (traced[i].pid)
			(void)ptrace(PTRACE_INTERRUPT, traced[i].pid, NULL, NULL);
	while (has_any())
		(void)reap_one();
	is_leaving = false;
}

static void
obey(int control)
{
	char word[32];
	ssize_t n = recv(control, word, sizeof(word) - 1, MSG_DONTWAIT);

	is_asked = 0;
	if (n <= 0)
		return;
	word[n] = '\0';
	if (streq(word, "let go")) {
		let_all_go();
	} else {
		pid_t pid = atoi(word);

		harness_assert(ptrace(PTRACE_SEIZE, pid, NULL, OPTIONS) == 0, "ptrace: %s", strerror(errno));
		/* A client is no other program, but the test's own. */
		(void)add(pid, page->pid == pid ? FAULTS_CLIENT : FAULTS_TARGET_N, page->pid == pid);
		harness_assert(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
		(void)kill(pid, SIGCONT);
	}
	harness_say(control, "done");
}

static void
serve(int control, void *arg)
{
	struct sigaction action = { .sa_handler = on_word };

	page = arg;
	(void)sigaction(SIGUSR1, &action, NULL);
	harness_say(control, "ready");
	for (;;) {
		struct pollfd fd = { .fd = control, .events = POLLIN };

		if (is_asked || poll(&fd, 1, has_any() ? 0 : -1) > 0)
			obey(control);
		if (has_any())
			(void)reap_one();
	}
}

void
tracing_start(struct harness_child *tracer, struct faults_page *shared)
{
#if !defined(__x86_64__) && !defined(__aarch64__)
	harness_skip("it is not known here how a system call is prevented");
#endif
	tracer_skip_unless_permitted();
	harness_child_start(tracer, serve, shared);
	harness_expect(tracer->control, "ready");
}

/* It may be on its way to wait for those that it traces: it is told until it has heard. */
static void
tell(struct harness_child *tracer, const char *word)
{
	struct pollfd fd = { .fd = tracer->control, .events = POLLIN };
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	harness_say(tracer->control, word);
	do {
		harness_assert(harness_clock_ns() < deadline_ns, "the tracer does not hear");
		(void)kill(tracer->pid, SIGUSR1);
	} while (poll(&fd, 1, 1) == 0);
	harness_expect(tracer->control, "done");
}

void
tracing_take(struct harness_child *tracer, pid_t pid)
{
	char word[32];
	int status;

	harness_assert(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "it did not stop, but ended with %#x",
	    (unsigned)status);
	(void)snprintf(word, sizeof(word), "%d", (int)pid);
	tell(tracer, word);
}

void
tracing_let_go(struct harness_child *tracer)
{
	tell(tracer, "let go");
}
