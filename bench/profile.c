/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The kernel's own trace of the daemon's system calls while one client attaches again and again, keeping what it was given:
 * nothing is closed, so that all the daemon does is attaching. It takes many segments by turns, since the kernel keeps the
 * marks of one in a list. What passes between a call's end and the next one's beginning is the daemon's own code, the
 * loop's, and the way into the kernel and out. Being traced costs some too: that of a call that does nothing is taken off.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/profile.h"
#include "bench/scale.h"
#include "bench/wire.h"

#define PROFILE_SEGMENTS	1000
#define PROFILE_TIMES		(4 * PROFILE_SEGMENTS)	/* descriptors that are kept open, three times */
#define PROFILE_FDS		(3 * PROFILE_TIMES + PROFILE_SEGMENTS)
#define PROFILE_EMPTY_TIMES	20000
#define PROFILE_CALLS		512	/* numbers of system calls */
#define PROFILE_TRACE		"/sys/kernel/tracing/instances/segmentd-bench"
#define PROFILE_BUFFER_KIB	"16384"	/* of each CPU: four times what is written */

#ifdef SYS_epoll_wait
#define PROFILE_SYS_WAIT	SYS_epoll_wait
#else
#define PROFILE_SYS_WAIT	SYS_epoll_pwait
#endif

struct profile_call {
	int number;
	unsigned long n;
	double us;			/* of all of them */
};

struct profile {
	struct profile_call calls[PROFILE_CALLS];
	double between_us;		/* between one and the next */
};

/* Those that an attachment makes. Others go by number. */
static const char *
profile_call_name(int number, char buffer[16])
{
	switch (number) {
	case SYS_close: return "close";
	case SYS_epoll_ctl: return "epoll_ctl";
	case PROFILE_SYS_WAIT: return "epoll_wait";
	case SYS_fcntl: return "fcntl";
	case SYS_inotify_add_watch: return "inotify_add_watch";
	case SYS_ioctl: return "ioctl";
	case SYS_openat: return "openat";
	case SYS_recvfrom: return "recvfrom";
	case SYS_recvmsg: return "recvmsg";
	case SYS_sendmsg: return "sendmsg";
	default:
		(void)snprintf(buffer, 16, "number %d", number);
		return buffer;
	}
}

static int
trace_write(const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), PROFILE_TRACE "/%s", name);
	cleanup_close int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) >= 0 ? 0 : -errno;
}

/* A trace of our own, so that nobody else's is disturbed; it has to be removed. 0 or a negative errno. */
static int
trace_open(void)
{
	int r;

	if (mkdir(PROFILE_TRACE, 0700) && errno != EEXIST)
		return -errno;
	r = trace_write("buffer_size_kb", PROFILE_BUFFER_KIB);
	if (!r)
		r = trace_write("trace_clock", "mono");
	if (r)
		(void)rmdir(PROFILE_TRACE);
	return r;
}

static void
trace_begin(pid_t pid)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%d", (int)pid);
	if (trace_write("trace", "") || trace_write("set_event_pid", number) ||
	    trace_write("events/raw_syscalls/enable", "1"))
		bench_fail("the kernel's trace is there, but cannot be used: %s", strerror(errno));
}

/* A line: "segmentd-123 [000] ..... 4567.890123: sys_enter: NR 47 (...)". 1: entered; 0: left; -1: another one. */
static int
trace_parse(const char *line, double *ret_us, int *ret_number)
{
	static const char *const kinds[] = { ": sys_exit: NR ", ": sys_enter: NR " };

	for (int kind = 0; kind < 2; kind++) {
		const char *at = strstr(line, kinds[kind]), *time = at;

		if (!at)
			continue;
		while (time > line && time[-1] != ' ')
			time--;
		*ret_us = strtod(time, NULL) * 1e6;
		*ret_number = (int)strtol(at + strlen(kinds[kind]), NULL, 10);
		return *ret_number >= 0 && *ret_number < PROFILE_CALLS ? kind : -1;
	}
	return -1;
}

/* From its first request to its last, whole: the trace begins and ends while it waits for one. */
static void
trace_end(struct profile *ret_profile)
{
	double us, entered_us = -1, left_us = -1;
	char line[512];
	int number;

	(void)trace_write("events/raw_syscalls/enable", "0");
	*ret_profile = (struct profile) { .between_us = 0 };
	cleanup_fclose FILE *f = fopen(PROFILE_TRACE "/trace", "re");
	while (f && fgets(line, sizeof(line), f)) {
		int kind = trace_parse(line, &us, &number);
		struct profile_call *call = &ret_profile->calls[kind < 0 ? 0 : number];

		if (kind == 1) {
			ret_profile->between_us += left_us >= 0 ? us - left_us : 0;
			entered_us = us;
		} else if (kind == 0 && entered_us >= 0) {
			call->number = number;
			call->n++;
			call->us += us - entered_us;
			left_us = us;
		}
	}
}

/* A child that is traced while it makes calls that do nothing. */
static void
empty_run(int fd, void *arg)
{
	(void)arg;
	child_say(fd);
	while (child_hear(fd)) {
		for (unsigned i = 0; i < PROFILE_EMPTY_TIMES; i++)
			(void)syscall(SYS_getppid);
		child_say(fd);
	}
	_exit(EXIT_SUCCESS);
}

/* Microseconds that a call which does nothing takes in the trace, and the way from one to the next. */
static void
profile_empty(struct bench *bench, double *ret_us, double *ret_between_us)
{
	struct profile profile;
	struct child child;

	child_start(bench, bench->server_cpu, -1, empty_run, NULL, &child);
	child_await(&child);
	trace_begin(child.pid);
	child_tell(&child);
	child_await(&child);
	trace_end(&profile);
	child_end(&child);
	if (profile.calls[SYS_getppid].n != PROFILE_EMPTY_TIMES)
		bench_fail("the trace has %lu of %d calls", profile.calls[SYS_getppid].n, PROFILE_EMPTY_TIMES);
	*ret_us = profile.calls[SYS_getppid].us / PROFILE_EMPTY_TIMES;
	*ret_between_us = profile.between_us / PROFILE_EMPTY_TIMES;
}

/* Attaches, and keeps what it is given. */
static void
attach_times(int fd, uint64_t *serial, unsigned n)
{
	struct protocol_attach attach;
	char name[SCALE_NAME_SIZE];

	for (unsigned i = 0; i < n; i++) {
		scale_name(name, i % PROFILE_SEGMENTS);
		wire_attach_init(&attach, name);
		wire_send(fd, &attach.header, ++*serial);
		(void)wire_attached(fd);
	}
}

static double
rest(double us, double less_us)
{
	return us > less_us ? us - less_us : 0;
}

static int
by_time(const void *a, const void *b)
{
	const struct profile_call *x = a, *y = b;

	return (x->us < y->us) - (x->us > y->us);
}

/* Less what being traced costs; and epoll_wait sleeps until the client asks again, which is nobody's work. */
static double
profile_correct(struct profile *profile, double empty_us, double empty_between_us)
{
	double sum = 0, n = 0;

	for (unsigned i = 0; i < PROFILE_CALLS; i++) {
		struct profile_call *call = &profile->calls[i];

		n += (double)call->n;
		call->us = call->number == PROFILE_SYS_WAIT ? 0 : rest(call->us, empty_us * (double)call->n);
		sum += call->us;
	}
	profile->between_us = rest(profile->between_us, empty_between_us * n);
	return sum + profile->between_us;
}

static void
profile_row(const char *name, double n, double us, double sum)
{
	(void)printf("  %-20s %10.3f %10.2f %10.2f %6.1f %%\n", name, n / PROFILE_TIMES, n > 0 ? us / n : 0,
	    us / PROFILE_TIMES, sum > 0 ? us / sum * 100 : 0);
}

static void
profile_print(struct profile *profile, double cpu_us, double empty_us, double empty_between_us)
{
	double sum = profile_correct(profile, empty_us, empty_between_us);
	char number[16];

	qsort(profile->calls, PROFILE_CALLS, sizeof(profile->calls[0]), by_time);
	(void)printf("%d attachments of %d segments by one client, one after the other\n\n"
	    "  %-20s %10s %10s %10s %8s\n", PROFILE_TIMES, PROFILE_SEGMENTS, "system call", "an attach", "us each",
	    "us", "share");
	for (unsigned i = 0; i < PROFILE_CALLS; i++) {
		const struct profile_call *call = &profile->calls[i];

		/* Fewer are of something else that came meanwhile. */
		if (call->n >= PROFILE_TIMES / 100)
			profile_row(profile_call_name(call->number, number), (double)call->n, call->us, sum);
	}
	profile_row("between the calls", PROFILE_TIMES, profile->between_us, sum);
	profile_row("all", PROFILE_TIMES, sum, sum);
	(void)printf("\nTaken off is what a call that does nothing takes when traced: %.2f us, and %.2f us to the next.\n"
	    "epoll_wait's share is not known: it sleeps until the next request.\n"
	    "CPU time of the daemon for an attachment that is not traced: %.2f us.\n", empty_us, empty_between_us, cpu_us);
}

static void
profile_daemon(const struct daemon *daemon, double empty_us, double empty_between_us)
{
	int fd = wire_connect(daemon->socket);
	struct profile profile;
	uint64_t serial = 1, before_ns;
	double cpu_us;

	wire_hello(fd);
	wire_welcome(fd);
	/* The first attachment of a segment has the kernel watch it. */
	attach_times(fd, &serial, PROFILE_SEGMENTS);
	before_ns = bench_process_cpu_ns(daemon->pid, NULL);
	attach_times(fd, &serial, PROFILE_TIMES);
	cpu_us = (double)(bench_process_cpu_ns(daemon->pid, NULL) - before_ns) / PROFILE_TIMES / 1000.0;
	child_settle();
	trace_begin(daemon->pid);
	attach_times(fd, &serial, PROFILE_TIMES);
	child_settle();
	trace_end(&profile);
	(void)close(fd);
	profile_print(&profile, cpu_us, empty_us, empty_between_us);
}

void
profile_attach(struct bench *bench)
{
	double empty_us, empty_between_us;
	struct daemon daemon;
	int r;

	if (scale_largest(0) < PROFILE_FDS) {
		(void)printf("skipped: this process may not have %d descriptors (ulimit -n)\n", PROFILE_FDS);
		return;
	}
	r = trace_open();
	if (r) {
		(void)printf("skipped: no trace can be had of the kernel at /sys/kernel/tracing (%s); it takes root, and\n"
		    "mount -t tracefs none /sys/kernel/tracing where it is not mounted\n", strerror(-r));
		return;
	}
	profile_empty(bench, &empty_us, &empty_between_us);
	scale_init(&daemon, PROFILE_SEGMENTS + 1);
	daemon_start(bench, &daemon);
	bench_pin(bench, daemon.pid, bench->server_cpu);
	bench_pin(bench, 0, bench->client_cpu);
	profile_daemon(&daemon, empty_us, empty_between_us);
	bench_pin(bench, 0, -1);
	daemon_stop(bench, &daemon);
	daemon_deinit(&daemon);
	(void)rmdir(PROFILE_TRACE);
}
