/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/base.h"
#include "client/segment.h"
#include "tests/sweep/common.h"
#include "tests/sweep/library.h"
#include "tests/sweep/path.h"
#include "tests/sweep/waiting.h"

#define PATIENCE_MS	20000	/* of a machine that is busy; nothing that works waits for it */
#define BAD_MAX		3

enum { SLEEPER_WAITER, SLEEPER_THIRD };

/* When the owner gives the lock back. */
enum when {
	WHEN_DEAD,			/* after the waiter's death */
	WHEN_THERE,			/* before it: the waiter stands where it dies */
	WHEN_ASLEEP,			/* the waiter sleeps, and is woken; the third is behind it */
	WHEN_N
};

static const char *const when_names[WHEN_N] = {
	[WHEN_DEAD] = "the owner unlocks after the death",
	[WHEN_THERE] = "the owner unlocks before the death",
	[WHEN_ASLEEP] = "the waiter was woken",
};

/* The process that has to get it: at a byte it locks, and says so, and unlocks. */
static struct {
	pid_t pid;
	int to_fd, from_fd;
} third;

static struct count count;
static struct path path;		/* of the waiter, to its sleep */

static void
third_main(int from_fd, int to_fd)
{
	struct segment *segment = library_segment(FIELD_FRESH);
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	waiting_is_asleep = &common->is_asleep[SLEEPER_THIRD];
	while (read(from_fd, &byte, 1) == 1)
		if (segment_lock(segment, FIELD_A) || segment_unlock(segment, FIELD_A) || write(to_fd, &byte, 1) != 1)
			break;
	_exit(0);
}

static void
third_start(void)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		common_die("pipe2: %s", strerror(errno));
	third.pid = fork();
	if (third.pid < 0)
		common_die("fork: %s", strerror(errno));
	if (third.pid == 0)
		third_main(to[0], from[1]);
	third.to_fd = to[1];
	third.from_fd = from[0];
	(void)close(to[0]);
	(void)close(from[1]);
}

static void
third_stop(void)
{
	(void)kill(third.pid, SIGKILL);
	(void)waitpid(third.pid, NULL, 0);
	(void)close(third.to_fd);
	(void)close(third.from_fd);
}

static bool
is_asleep(int sleeper, pid_t pid)
{
	return common->is_asleep[sleeper] && step_is_asleep(pid);
}

/* The kernel tells nobody that a process fell asleep. */
static void
third_sleep(void)
{
	if (write(third.to_fd, "l", 1) != 1)
		common_die("the third: %s", strerror(errno));
	while (!is_asleep(SLEEPER_THIRD, third.pid))
		(void)sched_yield();
}

static bool
third_has_had_it(void)
{
	struct pollfd pollfd = { .fd = third.from_fd, .events = POLLIN };
	char byte;

	return poll(&pollfd, 1, PATIENCE_MS) == 1 && read(third.from_fd, &byte, 1) == 1;
}

/* What the daemon does when the waiter's end is seen. */
static void
look_after_the_dead(void)
{
	struct control_place places[FIELD_LOCKS];

	field_places(common->field, CONTROL_ROLLBACK, places);
	if (control_claim(places[FIELD_A].lock, FIELD_WAITER, FIELD_CLAIM) == CONTROL_E_OTHER)
		control_wake(places[FIELD_A].lock, 1);
	else
		(void)control_finish(&places[FIELD_A], FIELD_CLAIM, control_copy);
}

static void
waiter_run(void *arg)
{
	waiting_is_asleep = &common->is_asleep[SLEEPER_WAITER];
	common_run(arg);
}

static void
waiter_start(struct stepped *waiter)
{
	struct field field;

	memcpy(&field, &common_pristine, sizeof(field));
	(void)control_try(&field.locks[FIELD_A], FIELD_LIVE, 0);
	common_prepare(PIECE_LIBRARY_LOCK, CONTROL_ROLLBACK, &field);
	common->is_asleep[SLEEPER_WAITER] = 0;
	common_check(step_start(waiter, waiter_run, NULL), "the waiter");
}

/* Steps it to its sleep. Returns the position from which the next instruction sleeps. */
static uint64_t
waiter_find_sleep(void)
{
	struct stepped waiter = STEPPED_NULL;
	int r;

	waiter_start(&waiter);
	do {
		r = path_add(&path, &waiter);
		if (r != -ENOSYS)
			common_check(r, "the waiter's registers");
		r = step_once_or_sleep(&waiter, &common->is_asleep[SLEEPER_WAITER]);
		common_check(r, "stepping");
	} while (r == 0);
	common_steps += waiter.n_steps;
	step_kill(&waiter);
	if (r != STEP_E_ASLEEP)
		common_die("the waiter does not sleep");
	return waiter.n_steps - 1;
}

/* Brings it to where it stood after n instructions; past n_asleep, into its sleep. */
static void
waiter_go(struct stepped *waiter, uint64_t n, uint64_t n_asleep)
{
	int r;

	waiter_start(waiter);
	r = path_go(&path, waiter, n < n_asleep ? n : n_asleep);
	if (r == 0 && n > n_asleep && step_once_or_sleep(waiter, &common->is_asleep[SLEEPER_WAITER]) != STEP_E_ASLEEP)
		common_die("the waiter does not sleep after %llu instructions", (unsigned long long)n_asleep);
	common_check(r, "stepping");
}

/* The third gets the lock, and leaves it as it should be. */
static void
judge_third(enum when when, uint64_t position)
{
	const struct control_lock *lock = &common->field->locks[FIELD_A];
	struct field left;

	memcpy(&left, common->field, sizeof(left));
	count.positions++;
	if (!third_has_had_it()) {
		common_bad(&count, &left, "the third sleeps on", "%s, the waiter killed at position %llu", when_names[when],
		    (unsigned long long)position);
		control_wake(&common->field->locks[FIELD_A], INT32_MAX);
		if (!third_has_had_it())
			common_die("the third cannot be woken");
	}
	if (lock->state || lock->used_bytes || (lock->sequence & 1))
		common_bad(&count, common->field, "the lock is not as it should be in the end", "%s, the waiter killed at position "
		    "%llu", when_names[when], (unsigned long long)position);
}

/* Kills the waiter after n instructions, or in its sleep. */
static void
kill_before_wake(enum when when, uint64_t n, uint64_t n_asleep)
{
	struct stepped waiter = STEPPED_NULL;

	waiter_go(&waiter, n, n_asleep);
	third_sleep();
	if (when == WHEN_THERE)
		control_unlock(&common->field->locks[FIELD_A]);
	common_steps += waiter.n_steps;
	step_kill(&waiter);
	look_after_the_dead();
	if (when == WHEN_DEAD)
		control_unlock(&common->field->locks[FIELD_A]);
	judge_third(when, n);
}

/*
 * Wakes the waiter by the owner's unlocking, and kills it after n instructions more. False: it was at its end. Without
 * is_seen nobody looks after the death; false: the third is awake all the same.
 */
static bool
kill_after_sleep(uint64_t n, uint64_t n_asleep, bool is_seen)
{
	struct stepped waiter = STEPPED_NULL;
	bool is_there = true;

	waiter_go(&waiter, n_asleep + 1, n_asleep);
	third_sleep();
	control_unlock(&common->field->locks[FIELD_A]);
	common_check(step_wait(&waiter), "the wake");
	for (uint64_t i = 0; is_there && i < n; i++) {
		int r = step_once(&waiter);

		common_check(r, "stepping");
		is_there = r == 0;
	}
	common_steps += waiter.n_steps;
	step_kill(&waiter);
	if (!is_seen)
		return is_asleep(SLEEPER_THIRD, third.pid);
	look_after_the_dead();
	judge_third(WHEN_ASLEEP, n_asleep + n);
	return is_there;
}

uint64_t
third_sweep(uint64_t *ret_positions)
{
	double began = common_now();
	uint64_t n_asleep;
	bool is_found;

	third_start();
	n_asleep = waiter_find_sleep();
	for (enum when when = WHEN_DEAD; when <= WHEN_THERE; when++)
		for (uint64_t n = 0; count.bad < BAD_MAX && n <= n_asleep + 1; n++)
			kill_before_wake(when, n, n_asleep);
	for (uint64_t n = 0; count.bad < BAD_MAX && kill_after_sleep(n, n_asleep, true); n++)
		;
	(void)printf("libsegment's waiter killed at %llu positions before and after its sleep: a third process gets the lock, "
	    "%llu bad, %.2f s\n", (unsigned long long)count.positions, (unsigned long long)count.bad, common_now() - began);
	/* The wake was the dead one's: if nobody looks after it, the third cannot have been woken. */
	is_found = kill_after_sleep(1, n_asleep, false);
	(void)printf("a death of a woken waiter that nobody looks after: %s\n",
	    is_found ? "the third sleeps on, as it has to" : "BAD: the third is awake");
	third_stop();
	path_deinit(&path);
	*ret_positions = count.positions;
	return count.bad + !is_found;
}
