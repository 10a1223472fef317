/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/sweep/waiting.h"

volatile uint32_t *waiting_is_asleep;

/* What futex_waitv takes. */
struct waiting_futex {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t zero;
};

static uint32_t
waiting_look(uint64_t address)
{
	return *(volatile uint32_t *)(uintptr_t)address;
}

/* Of a word, by SYS_futex; or of several, by the later call. */
static long
waiting_sleep(long number, void *memory, ...)
{
	struct waiting_futex word = { .address = (uintptr_t)memory }, *futexes = &word;
	unsigned n = 1, i = 0;
	va_list args;
	int op;
	long r;

	va_start(args, memory);
	op = va_arg(args, int);
	if (number == SYS_futex) {
		word.value = va_arg(args, uint32_t);
	} else {
		futexes = memory;
		n = (unsigned)op;
	}
	va_end(args);
	if (!waiting_is_asleep) {
		while (i < n && waiting_look(futexes[i].address) == futexes[i].value)
			i++;
		errno = i == n ? ETIMEDOUT : EAGAIN;
		return -1;
	}
	*waiting_is_asleep = 1;
	if (number == SYS_futex)
		r = syscall(number, memory, op, (uint32_t)word.value, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
	else
		r = syscall(number, memory, n, 0, NULL, CLOCK_MONOTONIC);
	*waiting_is_asleep = 0;
	return r;
}

static int
waiting_cpus(pid_t pid, size_t size, cpu_set_t *ret_cpus)
{
	(void)pid;
	(void)size;
	CPU_ZERO(ret_cpus);
	CPU_SET(0, ret_cpus);
	return 0;
}

/* The kernel's own way to tell the time takes more instructions now and then: no two runs would have the same. */
static int
waiting_clock(clockid_t clock, struct timespec *ret_time)
{
	(void)clock;
	ret_time->tv_sec = 1;
	ret_time->tv_nsec = 0;
	return 0;
}

#define clock_gettime			waiting_clock
#define syscall(number, memory, ...)	waiting_sleep(number, (void *)(memory), __VA_ARGS__)
#define sched_getaffinity		waiting_cpus
#include "client/lock_wait.c"
