/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Locks that somebody else has: another process, which dies in its section, or another thread of the same one. See library.h. */
#include "config.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/faults/library.h"

#define HELD_MS		8

#ifndef SYS_futex_waitv
#define SYS_futex_waitv	449
#endif

/* It dies in a section, whose bytes are perhaps half changed, while somebody waits for its end. */
static void
die_holding(int control, void *arg)
{
	struct segment_client *client;
	struct segment *segment;

	(void)arg;
	if (segment_connect(&client, NULL) || segment_attach(client, "m", NULL, SEGMENT_WRITE, &segment) || segment_lock(segment, 0) ||
	    segment_modify(segment, 0, segment_data(segment), sizeof(long)))
		_exit(HARNESS_EXIT_FAILED);
	harness_say(control, "held");
	(void)poll(NULL, 0, HELD_MS);
	(void)kill(getpid(), SIGKILL);
}

static void
await_holder(struct harness_child *child)
{
	unsigned armed = library_pause();

	*child = (struct harness_child) HARNESS_CHILD_NULL;
	harness_child_start(child, die_holding, NULL);
	harness_expect(child->control, "held");
	library_resume(armed);
}

static void
reap_holder(struct harness_child *child)
{
	unsigned armed = library_pause();

	harness_child_kill(child);
	library_resume(armed);
}

static int
wait_for_dead(struct segment *segment)
{
	struct harness_child child;
	int r;

	await_holder(&child);
	r = library_must_say(segment_lock(segment, 0));
	if (r == 0)
		r = library_must_say(segment_unlock(segment, 0));
	reap_holder(&child);
	return r;
}

int
library_run_wait(void)
{
	return library_attach("m", SEGMENT_WRITE | SEGMENT_POPULATE, wait_for_dead);
}

/* A kernel before Linux 5.16, or a sandbox, has no call for the word and the bell at once. */
bool
library_refuse_waitv(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* What it reads is whole: the section's end, which is its recovery, is waited for. */
static int
read_of_dead(struct segment *segment)
{
	const volatile long *cell = segment_data(segment);
	struct harness_child child;
	uint32_t begun;

	await_holder(&child);
	do {
		begun = segment_read_begin(segment, 0);
		harness_assert(!(begun & 1), "it is not readable: %s", segment_error());
		(void)*cell;
	} while (segment_read_retry(segment, 0, begun));
	reap_holder(&child);
	return 0;
}

int
library_run_read(void)
{
	return library_attach("m", SEGMENT_READ, read_of_dead);
}

struct holder {
	struct segment *segment;
	int r;				/* of its section's begin */
	pthread_barrier_t held, detached;
};

static void *
hold(void *arg)
{
	struct holder *holder = arg;
	long *cell = segment_data(holder->segment), value = -1;

	/* Where the attachment could not be marked it is refused. */
	holder->r = library_must_say(segment_lock(holder->segment, 0));
	if (holder->r == 0)
		holder->r = library_must_say(segment_set(holder->segment, 0, cell, &value, sizeof(value)));
	(void)pthread_barrier_wait(&holder->held);
	(void)pthread_barrier_wait(&holder->detached);
	return NULL;
}

/* The detach takes the lock from the thread that is in its section; that thread looks at it no more. */
static int
detach_in_section(struct segment *segment)
{
	struct holder holder = { .segment = segment };
	unsigned armed = library_pause();
	pthread_t thread;
	int r;

	(void)pthread_barrier_init(&holder.held, NULL, 2);
	(void)pthread_barrier_init(&holder.detached, NULL, 2);
	r = pthread_create(&thread, NULL, hold, &holder);
	harness_assert(r == 0, "a thread: %s", strerror(r));
	(void)pthread_barrier_wait(&holder.held);
	library_resume(armed);
	r = library_must_say(segment_detach(segment));
	armed = library_pause();
	(void)pthread_barrier_wait(&holder.detached);
	(void)pthread_join(thread, NULL);
	library_resume(armed);
	return r ? r : holder.r;
}

static int
expect_rolled_back(struct segment *segment)
{
	harness_assert(*(long *)segment_data(segment) >= 0, "what the thread stored is there, without its section's end");
	return library_use(segment);
}

int
library_run_thread(void)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r = library_must_say(segment_connect(&client, NULL));

	if (r)
		return r;
	r = library_must_say(segment_attach(client, "m", NULL, SEGMENT_WRITE, &segment));
	r = r ? r : detach_in_section(segment);
	segment_disconnect(client);
	return r ? r : library_attach("m", SEGMENT_WRITE, expect_rolled_back);
}
