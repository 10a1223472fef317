/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#define _GNU_SOURCE	/* REG_EFL */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/sweep/watch.h"

#ifdef __x86_64__
#define TRAP_FLAG	0x100	/* of the flags register: a trap after the next instruction */

static struct {
	unsigned char *memory;
	size_t length;
	void (*seen)(void *);
	void *context;
} watched;

static void
watch_fault(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)watched.memory;

	if (at >= watched.length || mprotect(watched.memory, watched.length, PROT_READ | PROT_WRITE)) {
		(void)signal(signo, SIG_DFL);	/* not ours: it faults again, and says so */
		return;
	}
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void
watch_trap(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	watched.seen(watched.context);
	if (mprotect(watched.memory, watched.length, PROT_READ))
		(void)raise(SIGABRT);
	(void)signo;
}

int
watch_run(void *memory, size_t length, void (*fn)(void *), void *arg, void (*seen)(void *), void *context)
{
	struct sigaction fault = { .sa_sigaction = watch_fault, .sa_flags = SA_SIGINFO }, old_fault;
	struct sigaction trap = { .sa_sigaction = watch_trap, .sa_flags = SA_SIGINFO }, old_trap;

	watched.memory = memory;
	watched.length = length;
	watched.seen = seen;
	watched.context = context;
	if (sigaction(SIGSEGV, &fault, &old_fault) || sigaction(SIGTRAP, &trap, &old_trap) ||
	    mprotect(memory, length, PROT_READ))
		return -errno;
	fn(arg);
	if (mprotect(memory, length, PROT_READ | PROT_WRITE) || sigaction(SIGSEGV, &old_fault, NULL) ||
	    sigaction(SIGTRAP, &old_trap, NULL))
		return -errno;
	return 0;
}
#else
int
watch_run(void *memory, size_t length, void (*fn)(void *), void *arg, void (*seen)(void *), void *context)
{
	return -ENOSYS;
}
#endif
