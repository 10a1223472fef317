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

#define LOOK_MS		100
#define LOOKS_MAX	200	/* of a machine that is busy, or stands still for one of them; nothing that works waits for it */
#define BAD_MAX		3

enum { SLEEPER_WAITER, SLEEPER_THIRD };

/* When the owner gives the lock back. */
enum when {
	WHEN_DEAD,			/* after the waiter's death */
	WHEN_THERE,			/* before it: the waiter stands where it dies */
	WHEN_ASLEEP,			/* the waiter sleeps, and is woken; the third is behind it */
	WHEN_HELD,			/* there is none: the waiter had it, and then the third came */
	WHEN_BEHIND,			/* the same, and the waiter went on */
	WHEN_RUNG,			/* never: it is killed, and the bell wakes the waiter; the third is behind it */
	WHEN_N
};

static const char *const when_names[WHEN_N] = {
	[WHEN_DEAD] = "the owner unlocks after the death",
	[WHEN_THERE] = "the owner unlocks before the death",
	[WHEN_ASLEEP] = "the waiter was woken",
	[WHEN_HELD] = "the waiter had the lock",
	[WHEN_BEHIND] = "the waiter had the lock and went on",
	[WHEN_RUNG] = "the waiter was woken by the owner's death",
};

/* The process that has to get it: at a byte it locks, and says so, and unlocks. */
static struct {
	pid_t pid;
	int to_fd, from_fd;
} third;

static struct count count;

/* What the waiter finds, and its way from there: to its sleep, or to the end where it need not sleep. */
enum found { FOUND_LIVE, FOUND_MORTAL, FOUND_FREE, FOUND_N };

static struct path paths[FOUND_N];
static pid_t owner_pid;
static uint64_t n_rung;			/* where nobody but the kernel told of the waiter's death */

static void
third_main(int from_fd, int to_fd)
{
	struct segment *segment = library_segment(FIELD_FRESH);
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	library_child();
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
	unsigned n = 0;
	char byte;

	while (poll(&pollfd, 1, LOOK_MS) != 1)
		if (++n == LOOKS_MAX)
			return false;
	return read(third.from_fd, &byte, 1) == 1;
}

/* What the daemon does when the ends of the waiter and of its mortal owner are seen. */
static void
look_after_the_dead(void)
{
	struct control_place places[FIELD_LOCKS];

	field_places(common->field, CONTROL_ROLLBACK, places);
	if (control_claim(places[FIELD_A].lock, FIELD_DEAD, FIELD_CLAIM) &&
	    control_claim(places[FIELD_A].lock, FIELD_WAITER, FIELD_CLAIM))
		control_wake(places[FIELD_A].lock, 1);
	else
		(void)control_finish(&places[FIELD_A], FIELD_CLAIM, control_copy);
}

static void
waiter_run(void *arg)
{
	waiting_is_asleep = &common->is_asleep[SLEEPER_WAITER];
	common_run_child(arg);
}

/* An owner that can be killed. */
static void
owner_start(void)
{
	int said[2];
	char byte = 0;

	if (pipe2(said, O_CLOEXEC))
		common_die("pipe2: %s", strerror(errno));
	owner_pid = fork();
	if (owner_pid < 0)
		common_die("fork: %s", strerror(errno));
	if (owner_pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		library_child();
		if (segment_lock(library_segment(FIELD_DEAD), FIELD_A) == 0 && write(said[1], &byte, 1) == 1)
			for (;;)
				(void)pause();
		_exit(1);
	}
	(void)close(said[1]);
	if (read(said[0], &byte, 1) != 1)
		common_die("the owner did not get its lock");
	(void)close(said[0]);
}

static void
owner_kill(void)
{
	if (owner_pid <= 0)
		return;
	(void)kill(owner_pid, SIGKILL);
	(void)waitpid(owner_pid, NULL, 0);
	owner_pid = 0;
}

static void
waiter_start(struct stepped *waiter, enum found found)
{
	struct field field;

	memcpy(&field, &common_pristine, sizeof(field));
	if (found == FOUND_LIVE)
		(void)control_try(&field.locks[FIELD_A], FIELD_LIVE, 0);
	common_prepare(PIECE_LIBRARY_LOCK, CONTROL_ROLLBACK, &field);
	common->is_asleep[SLEEPER_WAITER] = 0;
	if (found == FOUND_MORTAL)
		owner_start();
	common_check(step_start(waiter, waiter_run, NULL), "the waiter");
}

/* Steps it to its sleep. Returns the position from which the next instruction sleeps. */
static uint64_t
waiter_find_sleep(enum found found)
{
	struct stepped waiter = STEPPED_NULL;
	int r;

	waiter_start(&waiter, found);
	do {
		r = path_add(&paths[found], &waiter);
		if (r != -ENOSYS)
			common_check(r, "the waiter's registers");
		r = step_once_or_sleep(&waiter, &common->is_asleep[SLEEPER_WAITER]);
		common_check(r, "stepping");
	} while (r == 0);
	common_steps += waiter.n_steps;
	step_kill(&waiter);
	owner_kill();
	if (r != STEP_E_ASLEEP)
		common_die("the waiter does not sleep");
	return waiter.n_steps - 1;
}

/* Brings it to where it stood after n instructions; past n_asleep, into its sleep. */
static void
waiter_go(struct stepped *waiter, enum found found, uint64_t n, uint64_t n_asleep)
{
	int r;

	waiter_start(waiter, found);
	r = path_go(&paths[found], waiter, n < n_asleep ? n : n_asleep);
	if (r == 0 && n > n_asleep && step_once_or_sleep(waiter, &common->is_asleep[SLEEPER_WAITER]) != STEP_E_ASLEEP)
		common_die("the waiter does not sleep after %llu instructions", (unsigned long long)n_asleep);
	common_check(r, "stepping");
}

/* Goes on by n instructions. False: it was at its end before. */
static bool
waiter_step(struct stepped *waiter, uint64_t n)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		r = step_once(waiter);
		common_check(r, "stepping");
	}
	return r == 0;
}

/* Kills it. Returns whether its death rings for the lock: then nobody else has to tell of it. */
static bool
waiter_kill(struct stepped *waiter)
{
	struct field left;
	uintptr_t pending;
	bool is_rung;

	common_check(step_peek(waiter, library_pending_address(), &pending), "the waiter's memory");
	memcpy(&left, common->field, sizeof(left));
	is_rung = library_ring(&left, pending, (uint32_t)waiter->pid);
	common_steps += waiter->n_steps;
	step_kill(waiter);
	return is_rung;
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

	waiter_go(&waiter, FOUND_LIVE, n, n_asleep);
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
 * Wakes the waiter by the owner's unlocking, or by its death, and kills it after n instructions more. False: it was at its
 * end. Without is_seen nobody looks after the death; false: the third is awake all the same.
 */
static bool
kill_after_sleep(enum when when, uint64_t n, uint64_t n_asleep, bool is_seen)
{
	struct stepped waiter = STEPPED_NULL;
	bool is_there, is_rung;

	waiter_go(&waiter, when == WHEN_RUNG ? FOUND_MORTAL : FOUND_LIVE, n_asleep + 1, n_asleep);
	third_sleep();
	if (when == WHEN_RUNG)
		owner_kill();
	else
		control_unlock(&common->field->locks[FIELD_A]);
	common_check(step_wait(&waiter), "the wake");
	is_there = waiter_step(&waiter, n);
	is_rung = waiter_kill(&waiter);
	if (!is_seen)
		return is_asleep(SLEEPER_THIRD, third.pid);
	/* Behind an owner with no bell the third sleeps for the word alone. */
	if (when == WHEN_RUNG && is_rung)
		n_rung++;
	else
		look_after_the_dead();
	judge_third(when, n_asleep + n);
	return is_there;
}

/*
 * The waiter got the lock without sleep, after n_held instructions, and is killed after n more; the third sleeps behind it, from
 * there on or from the first of them. False: it did not have the lock any more, or was at its end.
 */
static bool
kill_in_section(enum when when, uint64_t n, uint64_t n_held)
{
	struct stepped waiter = STEPPED_NULL;
	bool is_there;

	waiter_start(&waiter, FOUND_FREE);
	common_check(path_go(&paths[FOUND_FREE], &waiter, n_held), "stepping");
	if (when == WHEN_BEHIND)
		third_sleep();
	is_there = waiter_step(&waiter, n);
	if (when == WHEN_HELD) {
		is_there = is_there && control_id(atomic_load(&common->field->locks[FIELD_A].state)) == FIELD_WAITER;
		if (is_there)
			third_sleep();
	}
	if (when == WHEN_HELD && !is_there)
		step_kill(&waiter);
	else if (waiter_kill(&waiter))
		n_rung++;
	else
		look_after_the_dead();
	if (when == WHEN_BEHIND || is_there)
		judge_third(when, n_held + n);
	return is_there;
}

/* The position at which it has the lock, where that is free. */
static uint64_t
waiter_find_held(void)
{
	struct stepped waiter = STEPPED_NULL;

	waiter_start(&waiter, FOUND_FREE);
	while (control_id(atomic_load(&common->field->locks[FIELD_A].state)) != FIELD_WAITER) {
		int r = path_add(&paths[FOUND_FREE], &waiter);

		if (r != -ENOSYS)
			common_check(r, "the waiter's registers");
		if (!waiter_step(&waiter, 1))
			common_die("the waiter does not get the lock");
	}
	common_check(path_add(&paths[FOUND_FREE], &waiter) == -ENOMEM ? -ENOMEM : 0, "the waiter's path");
	common_steps += waiter.n_steps;
	step_kill(&waiter);
	return waiter.n_steps;
}

/* Of those that the bell wakes: nobody looks after the death where the kernel tells of it. */
static void
sweep_bells(void)
{
	uint64_t n_held = waiter_find_held(), n_asleep = waiter_find_sleep(FOUND_MORTAL), before = count.positions;
	double began = common_now();

	for (enum when when = WHEN_HELD; when <= WHEN_BEHIND; when++)
		for (uint64_t n = 0; count.bad < BAD_MAX && kill_in_section(when, n, n_held); n++)
			;
	for (uint64_t n = 0; count.bad < BAD_MAX && kill_after_sleep(WHEN_RUNG, n, n_asleep, true); n++)
		;
	(void)printf("libsegment's waiter killed at %llu positions while it has the lock or is woken by a bell: a third process gets "
	    "the lock, at %llu of them since the kernel rings, %.2f s\n", (unsigned long long)(count.positions - before),
	    (unsigned long long)n_rung, common_now() - began);
	if (!n_rung)
		common_bad(&count, common->field, "no death rings", "the waiter's bell");
}

uint64_t
third_sweep(uint64_t *ret_positions)
{
	double began = common_now();
	uint64_t n_asleep;
	bool is_found;

	third_start();
	n_asleep = waiter_find_sleep(FOUND_LIVE);
	for (enum when when = WHEN_DEAD; when <= WHEN_THERE; when++)
		for (uint64_t n = 0; count.bad < BAD_MAX && n <= n_asleep + 1; n++)
			kill_before_wake(when, n, n_asleep);
	for (uint64_t n = 0; count.bad < BAD_MAX && kill_after_sleep(WHEN_ASLEEP, n, n_asleep, true); n++)
		;
	(void)printf("libsegment's waiter killed at %llu positions before and after its sleep: a third process gets the lock, "
	    "%llu bad, %.2f s\n", (unsigned long long)count.positions, (unsigned long long)count.bad, common_now() - began);
	sweep_bells();
	/* The wake was the dead one's: if nobody looks after it, the third cannot have been woken. */
	is_found = kill_after_sleep(WHEN_ASLEEP, 1, n_asleep, false);
	(void)printf("a death of a woken waiter that nobody looks after: %s\n",
	    is_found ? "the third sleeps on, as it has to" : "BAD: the third is awake");
	third_stop();
	for (int i = 0; i < FOUND_N; i++)
		path_deinit(&paths[i]);
	*ret_positions = count.positions;
	return count.bad + !is_found;
}
