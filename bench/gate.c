/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The load gate. Our own load is that of this process, of its reaped children, of its live ones, of their reaped ones and
 * of their live ones (the daemon's workers): a sum that no exit and no reaping changes. /proc/stat counts in ticks of
 * 10 ms that sample what runs at that moment, so rounds must be some tenths of a second long to be judged at all.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/gate.h"

static uint64_t
tick_ns(void)
{
	return NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* user, nice, system, irq, softirq and steal: the last is a neighbour of our virtual machine, and disturbs as well. */
static uint64_t
gate_busy_ns(void)
{
	uint64_t user, nice_, system_, idle, iowait, irq, softirq, steal;
	cleanup_fclose FILE *f = fopen("/proc/stat", "re");

	if (!f || fscanf(f, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
	    " %" SCNu64, &user, &nice_, &system_, &idle, &iowait, &irq, &softirq, &steal) != 8)
		bench_fail("/proc/stat cannot be read: no round can be judged");
	return (user + nice_ + system_ + irq + softirq + steal) * tick_ns();
}

static uint64_t
timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * NS_PER_SEC + (uint64_t)t->tv_usec * 1000;
}

static uint64_t
usage_ns(int who)
{
	struct rusage usage;

	if (getrusage(who, &usage) != 0)
		return 0;
	return timeval_ns(&usage.ru_utime) + timeval_ns(&usage.ru_stime);
}

/* What a live process's reaped children took: cutime and cstime, the 16th and 17th field of its stat. */
static uint64_t
reaped_ns(pid_t pid)
{
	uint64_t user = 0, system_ = 0;
	char path[64], line[1024];
	const char *at;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(line, 1, sizeof(line) - 1, f);
	line[n] = '\0';
	at = strrchr(line, ')');	/* the command may hold spaces */
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
	    &user, &system_) != 2)
		return 0;
	return (user + system_) * tick_ns();
}

static uint64_t
live_children_ns(pid_t pid)
{
	uint64_t sum = 0;
	char path[64];
	int child;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	while (fscanf(f, "%d", &child) == 1)
		sum += bench_process_cpu_ns(child, NULL);
	return sum;
}

static uint64_t
gate_own_ns(const struct bench *bench)
{
	uint64_t sum = usage_ns(RUSAGE_SELF) + usage_ns(RUSAGE_CHILDREN);
	unsigned i;

	for (i = 0; i < BENCH_OWN_MAX; i++) {
		if (bench->own[i] > 0)
			sum += bench_process_cpu_ns(bench->own[i], NULL) + reaped_ns(bench->own[i]) +
			    live_children_ns(bench->own[i]);
	}
	return sum;
}

void
gate_read(const struct bench *bench, struct gate *ret_gate)
{
	ret_gate->at_ns = clock_monotonic_ns();
	ret_gate->busy_ns = gate_busy_ns();
	ret_gate->own_ns = gate_own_ns(bench);
}

double
gate_other(const struct gate *before, const struct gate *after)
{
	double capacity = (double)(after->at_ns - before->at_ns) * (double)sysconf(_SC_NPROCESSORS_ONLN);
	double busy = (double)(after->busy_ns - before->busy_ns);
	double own = (double)after->own_ns - (double)before->own_ns;

	if (capacity <= 0 || busy <= own)
		return 0;
	return (busy - own) / capacity;
}
