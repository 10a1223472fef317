/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A process that is run instruction by instruction. */
#include "config.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "tests/client/stepper.h"
#include "tests/harness.h"

#define EXIT_NO_TRACE	98

static int
await_stop(pid_t pid)
{
	int status;

	harness_assert(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_TRACE)
		harness_skip("ptrace(PTRACE_TRACEME) is not allowed here");
	harness_assert(WIFSTOPPED(status), "a stepped process ended with status %#x", (unsigned)status);
	return WSTOPSIG(status);
}

pid_t
stepper_start(stepper_fn fn, void *arg)
{
	pid_t pid = harness_fork();

	if (pid == 0) {
		int r;

		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(EXIT_NO_TRACE);
		/* Two marks: where the steps begin, and that fn is over. */
		(void)raise(SIGSTOP);
		r = fn(arg);
		(void)raise(SIGSTOP);
		_exit(r);
	}
	harness_assert(await_stop(pid) == SIGSTOP, "not the mark");
	return pid;
}

bool
stepper_step(pid_t pid)
{
	int signal;

	harness_assert(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
	signal = await_stop(pid);
	harness_assert(signal == SIGTRAP || signal == SIGSTOP, "a stepped process got signal %d", signal);
	return signal == SIGTRAP;
}

bool
stepper_run(pid_t pid, unsigned n)
{
	while (n-- > 0)
		if (!stepper_step(pid))
			return true;
	return false;
}

bool
stepper_before_exchange(pid_t pid, uint32_t *ret_expected)
{
#ifdef __x86_64__
	struct user_regs_struct registers;
	const unsigned char *code;

	harness_assert(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0, "ptrace: %s", strerror(errno));
	/* It was forked: its code is where ours is. LOCK, perhaps a REX prefix, CMPXCHG. */
	code = (const unsigned char *)(uintptr_t)registers.rip;
	if (*code++ != 0xf0)
		return false;
	if ((*code & 0xf0) == 0x40)
		code++;
	if (code[0] != 0x0f || code[1] != 0xb1)
		return false;
	*ret_expected = (uint32_t)registers.rax;
	return true;
#else
	harness_skip("reads the code of x86-64");
#endif
}

int
stepper_finish(pid_t pid)
{
	int status;

	/* On to the mark, unless it stands there; and from there to the end. */
	do {
		harness_assert(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
		harness_assert(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	} while (WIFSTOPPED(status));
	harness_assert(WIFEXITED(status), "a stepped process ended with status %#x", (unsigned)status);
	return WEXITSTATUS(status);
}

void
stepper_kill(pid_t pid)
{
	int status;

	harness_assert(kill(pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	harness_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "a killed process lives on");
}
