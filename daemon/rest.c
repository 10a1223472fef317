/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A crash waits in its signal's handler, by calls that may be made there. Before a failure, who asks for our end ends the wait. */
#include "config.h"

#include <signal.h>
#include <time.h>

#include "base/base.h"
#include "daemon/rest.h"
#include "systemd/notify.h"

#define REST_SECONDS	2

static struct timespec rest_end;
static bool rest_is_due;

/* Once: what it raises, or returns to, ends us by the default, with a core as of the crash. */
static void
rest_on_crash(int sig)
{
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &rest_end, NULL) == EINTR)
		;
	(void)raise(sig);
}

void
rest_init(void)
{
	static const int crashes[] = { SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGSYS };
	struct sigaction action = { .sa_handler = rest_on_crash, .sa_flags = (int)SA_RESETHAND }, before;

	(void)clock_gettime(CLOCK_MONOTONIC, &rest_end);
	rest_end.tv_sec += REST_SECONDS;
	rest_is_due = notify_present() && getenv("INVOCATION_ID");
	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; rest_is_due && i < BASE_ARRAY_SIZE(crashes); i++)
		/* A sanitizer has more to say. */
		if (sigaction(crashes[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			(void)sigaction(crashes[i], &action, NULL);
}

void
rest_before_failure(void)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
	uint64_t end_ns = (uint64_t)rest_end.tv_sec * NS_PER_SEC + (uint64_t)rest_end.tv_nsec, now_ns = clock_monotonic_ns();
	struct timespec left;
	sigset_t set;

	if (!rest_is_due || now_ns >= end_ns)
		return;
	notify_status("cannot run, for what the log says; tried again every %d seconds", REST_SECONDS);
	left.tv_sec = (time_t)((end_ns - now_ns) / NS_PER_SEC);
	left.tv_nsec = (long)((end_ns - now_ns) % NS_PER_SEC);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(ends); i++)
		(void)sigaddset(&set, ends[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)sigtimedwait(&set, NULL, &left);
}
