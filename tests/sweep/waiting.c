/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/sweep/waiting.h"

volatile uint32_t *waiting_is_asleep;

static long
waiting_sleep(long number, uint32_t *word, int op, uint32_t value, const void *until, void *unused, uint32_t bits)
{
	long r;

	(void)until;
	(void)unused;
	if (!waiting_is_asleep) {
		errno = *(volatile uint32_t *)word == value ? ETIMEDOUT : EAGAIN;
		return -1;
	}
	*waiting_is_asleep = 1;
	r = syscall(number, word, op, value, NULL, NULL, bits);
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
#define syscall(number, word, ...)	waiting_sleep(number, (uint32_t *)(void *)(word), __VA_ARGS__)
#define sched_getaffinity		waiting_cpus
#include "client/lock_wait.c"
