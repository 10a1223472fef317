/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * alarm(2) would do, but that it goes on while the machine stands still, and who is to say that it did is the one that hangs. So a
 * thread counts, which stands still when all does (base/allotment.h). It does nothing else, and no signal is for it: a removal
 * blocks SIGTERM for the other one.
 */
#include "config.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "base/allotment.h"
#include "daemon/audit/watchdog.h"
#include "host/audit.h"

#define TIME_NS		(AUDIT_SECONDS * NS_PER_SEC)
#define STEPS		10
#define STACK_BYTES	(PTHREAD_STACK_MIN + 64 * KIB)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;		/* by the monotonic clock */
static uint64_t n_begun;		/* the mutex is for these two */
static bool is_under_way;
static bool is_there;			/* the thread */

/* One that began, until it ends. */
static void
watch_one(uint64_t number)
{
	struct allotment time;
	uint64_t left_ns;

	allotment_begin(&time, TIME_NS, TIME_NS / STEPS);
	while (is_under_way && n_begun == number) {
		struct timespec until;

		left_ns = allotment_look(&time);
		if (!left_ns) {
			(void)kill(getpid(), SIGALRM);
			return;
		}
		left_ns += time.looked_ns;
		until = (struct timespec) { .tv_sec = (time_t)(left_ns / NS_PER_SEC), .tv_nsec = (long)(left_ns % NS_PER_SEC) };
		(void)pthread_cond_timedwait(&changed, &mutex, &until);
	}
}

static void *
watch(void *arg)
{
	uint64_t number = 0;

	(void)pthread_mutex_lock(&mutex);
	for (;;) {
		while (!is_under_way || n_begun == number)
			(void)pthread_cond_wait(&changed, &mutex);
		number = n_begun;
		watch_one(number);
	}
	return NULL;
}

static bool
start_thread(void)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	if (pthread_condattr_init(&monotonic))
		return false;
	r = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(&changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (r || pthread_attr_init(&attr))
		return false;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, (size_t)STACK_BYTES);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, &attr, watch, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return r == 0;
}

static void
set(bool begins)
{
	(void)pthread_mutex_lock(&mutex);
	n_begun += begins;
	is_under_way = begins;
	(void)pthread_cond_signal(&changed);
	(void)pthread_mutex_unlock(&mutex);
}

void
watchdog_begin(void)
{
	if (!is_there)
		is_there = start_thread();
	if (is_there)
		set(true);
	else
		(void)alarm(AUDIT_SECONDS);	/* no thread is to be had, and a standstill counts */
}

void
watchdog_end(void)
{
	if (is_there)
		set(false);
	(void)alarm(0);
}
