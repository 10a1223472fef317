/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#define _GNU_SOURCE	/* sched_getcpu */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sweep/step.h"

#define E_EXIT_FORBIDDEN	33	/* of the child */

static cpu_set_t step_cpus;	/* before it was pinned */

static int
step_result(struct stepped *child, int status)
{
	if (WIFSTOPPED(status))
		return WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status) == SIGSTOP ? STEP_E_END : -EPROTO;
	child->pid = -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == E_EXIT_FORBIDDEN ? STEP_E_FORBIDDEN : -ECHILD;
}

int
step_wait(struct stepped *child)
{
	int status;

	while (waitpid(child->pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return step_result(child, status);
}

static int
step_go(struct stepped *child, enum __ptrace_request request)
{
	if (ptrace(request, child->pid, NULL, NULL))
		return -errno;
	return step_wait(child);
}

int
step_start(struct stepped *child, void (*fn)(void *), void *arg)
{
	pid_t pid = fork();
	int r;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(E_EXIT_FORBIDDEN);
		for (;;) {
			(void)raise(SIGSTOP);
			fn(arg);
			(void)raise(SIGSTOP);
		}
	}
	child->pid = pid;
	child->n_steps = 0;
	r = step_wait(child);
	return r == STEP_E_END ? 0 : r;
}

int
step_once(struct stepped *child)
{
	child->n_steps++;
	return step_go(child, PTRACE_SINGLESTEP);
}

bool
step_is_asleep(pid_t pid)
{
	char path[40], text[256];
	const char *end;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] == 'S';
}

int
step_once_or_sleep(struct stepped *child, const volatile uint32_t *is_about_to_sleep)
{
	int status;

	if (!*is_about_to_sleep)
		return step_once(child);
	child->n_steps++;
	if (ptrace(PTRACE_SINGLESTEP, child->pid, NULL, NULL))
		return -errno;
	/* Stopped it is in another state. */
	for (;;) {
		pid_t pid = waitpid(child->pid, &status, WNOHANG | __WALL);

		if (pid)
			return pid < 0 ? -errno : step_result(child, status);
		if (step_is_asleep(child->pid))
			return STEP_E_ASLEEP;
		(void)sched_yield();
	}
}

int
step_peek(const struct stepped *child, uintptr_t address, uintptr_t *ret_value)
{
	errno = 0;
	*ret_value = (uintptr_t)ptrace(PTRACE_PEEKDATA, child->pid, address, NULL);
	return -errno;
}

#ifdef __x86_64__
#define TRAP_INSTRUCTION	0xcc
#define RIP_OFFSET		offsetof(struct user, regs.rip)

int
step_where(const struct stepped *child, uintptr_t *ret_address)
{
	errno = 0;
	*ret_address = (uintptr_t)ptrace(PTRACE_PEEKUSER, child->pid, RIP_OFFSET, NULL);
	return -errno;
}

/* Runs on to before the instruction; where it stands there, it stays. */
static int
step_run_once(struct stepped *child, uintptr_t address)
{
	uintptr_t at = 0;
	long text;
	int r;

	errno = 0;
	text = ptrace(PTRACE_PEEKTEXT, child->pid, address, NULL);
	if (errno || ptrace(PTRACE_POKETEXT, child->pid, address, (text & ~0xffL) | TRAP_INSTRUCTION))
		return -errno;
	r = step_go(child, PTRACE_CONT);
	if (r == 0)
		r = step_where(child, &at);
	if (r)
		return r;
	if (at != address + 1)
		return -EPROTO;
	/* Back to before the trap, and the instruction as it was. */
	if (ptrace(PTRACE_POKETEXT, child->pid, address, text) || ptrace(PTRACE_POKEUSER, child->pid, RIP_OFFSET, address))
		return -errno;
	return 0;
}

int
step_run_to(struct stepped *child, uintptr_t address, uint64_t n_before)
{
	int r = step_run_once(child, address);

	for (; r == 0 && n_before; n_before--) {
		r = step_once(child);
		if (r == 0)
			r = step_run_once(child, address);
	}
	return r;
}
#else
int
step_where(const struct stepped *child, uintptr_t *ret_address)
{
	return -ENOSYS;
}

int
step_run_to(struct stepped *child, uintptr_t address, uint64_t n_before)
{
	return -ENOSYS;
}
#endif

void
step_pin(const struct stepped *child)
{
	cpu_set_t cpu;
	int n = sched_getcpu();

	CPU_ZERO(&step_cpus);
	if (n < 0 || n >= CPU_SETSIZE || sched_getaffinity(0, sizeof(step_cpus), &step_cpus))
		return;
	CPU_ZERO(&cpu);
	CPU_SET(n, &cpu);
	(void)sched_setaffinity(0, sizeof(cpu), &cpu);
	if (child->pid >= 0)
		(void)sched_setaffinity(child->pid, sizeof(cpu), &cpu);
}

void
step_unpin(void)
{
	if (CPU_COUNT(&step_cpus))
		(void)sched_setaffinity(0, sizeof(step_cpus), &step_cpus);
}

int
step_again(struct stepped *child)
{
	int r = step_go(child, PTRACE_CONT);

	return r == STEP_E_END ? 0 : r == 0 ? -EPROTO : r;
}

void
step_kill(struct stepped *child)
{
	if (child->pid < 0)
		return;
	(void)kill(child->pid, SIGKILL);
	(void)waitpid(child->pid, NULL, __WALL);
	child->pid = -1;
}
