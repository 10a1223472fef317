/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * membarrier(2) is no answer: a kernel that can be preempted anywhere, or could be if it were told so when it starts, waits there
 * for nobody but who reads by RCU. To be moved to a CPU (sched_setaffinity(2) returns there) takes that CPU's scheduler.
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/audit/cpus.h"
#include "host/file.h"

#define CPUS_MAX	8192		/* the most that a kernel can be built for */

struct message {
	uint32_t number;		/* of the question; there may be answers to those that nobody waited for any more */
	bool is_all;			/* of its answer */
};

static uint32_t n_asked;
static int helper_fd = -1;
static pid_t helper_pid;
static bool is_given_up;

/* CPUs that the scheduler leaves to what is bound to them: it may run there for ever, above everything else. */
static bool
any_is_isolated(void)
{
	char text[256];

	return file_read_text("", "/sys/devices/system/cpu/isolated", text, sizeof(text)) == 0 && text[strspn(text, " \n")];
}

static bool
run_on_all(void)
{
	static unsigned long allowed[CPUS_MAX / (8 * sizeof(unsigned long))];
	static unsigned long one[BASE_ARRAY_SIZE(allowed)];
	cpu_set_t *allowed_set = (cpu_set_t *)(void *)allowed, *one_set = (cpu_set_t *)(void *)one;
	long n_online = sysconf(_SC_NPROCESSORS_ONLN);

	/* All that we may be let onto: what started us may have been bound to some. */
	memset(allowed, 0xff, sizeof(allowed));
	(void)sched_setaffinity(0, sizeof(allowed), allowed_set);
	memset(allowed, 0, sizeof(allowed));
	if (any_is_isolated() || sched_getaffinity(0, sizeof(allowed), allowed_set) ||
	    CPU_COUNT_S(sizeof(allowed), allowed_set) < n_online)
		return false;
	for (size_t cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (!CPU_ISSET_S(cpu, sizeof(allowed), allowed_set))
			continue;
		memset(one, 0, sizeof(one));
		CPU_SET_S(cpu, sizeof(one), one_set);
		/* One that is gone by now (EINVAL) runs nothing. */
		if (sched_setaffinity(0, sizeof(one), one_set) && errno != EINVAL)
			return false;
	}
	(void)sched_setaffinity(0, sizeof(allowed), allowed_set);
	return true;
}

static void __attribute__((noreturn))
help(int fd, pid_t parent)
{
	struct message message;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)prctl(PR_SET_NAME, "audit-cpus", 0, 0, 0);
	/* It has nothing of ours: neither the connection, nor an object. */
	if (getppid() != parent || dup2(fd, STDIN_FILENO) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, STDIN_FILENO + 1, ~0u, 0u);
	while (recv(STDIN_FILENO, &message, sizeof(message), 0) == sizeof(message)) {
		message.is_all = run_on_all();
		if (send(STDIN_FILENO, &message, sizeof(message), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

int
cpus_begin(void)
{
	pid_t parent = getpid();
	int ends[2];

	if (helper_fd >= 0)
		return helper_fd;
	if (is_given_up)
		return -ETIME;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	helper_pid = fork();
	if (helper_pid == 0)
		help(ends[1], parent);
	(void)close(ends[1]);
	helper_fd = ends[0];
	if (helper_pid < 0)
		cpus_give_up();
	return helper_pid < 0 ? -EAGAIN : helper_fd;
}

int
cpus_ask(void)
{
	struct message message = { .number = ++n_asked };

	return send(helper_fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int
cpus_answer(void)
{
	struct message message;
	ssize_t n = recv(helper_fd, &message, sizeof(message), MSG_DONTWAIT);

	if (n == sizeof(message))
		return message.number == n_asked ? message.is_all : -EAGAIN;
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	cpus_give_up();			/* it has ended */
	return 0;
}

/* It dies when it runs the next time, whenever that is: nobody waits for that. */
void
cpus_give_up(void)
{
	is_given_up = true;
	if (helper_pid > 0) {
		(void)kill(helper_pid, SIGKILL);
		(void)waitpid(helper_pid, NULL, WNOHANG);
	}
	helper_pid = 0;
	close_fd(&helper_fd);
}
