/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Owners that die, one by one, and what those get who wait for their locks: the bytes as on_death says, the news, and the
 * lock in turn. Nobody sleeps on because of a death, whoever died.
 */
#include "config.h"

#include <poll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/system/actor.h"

#define N_WAITERS	6
#define N_ROUNDS	3		/* for one that is quick enough, on a machine that may be busy; all in a full check */
#define AT_ONCE_NS	(300 * NS_PER_MS)	/* less than is left of a waiter's longest sleep */

static const char body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; mlock = false; locks = (\n"
    "\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; },\n"
    "\t{ name = \"keep\"; offset = \"4KiB\"; length = \"4KiB\"; undo = \"1KiB\"; on_death = \"keep\"; },\n"
    "\t{ name = \"zero\"; offset = \"8KiB\"; length = \"4KiB\"; undo = \"1KiB\"; on_death = \"zero\"; },\n"
    "\t{ name = \"poison\"; offset = \"12KiB\"; length = \"4KiB\"; undo = \"1KiB\"; on_death = \"poison\"; } ); } );";

/* The first cell of each lock's bytes. */
#define BOOK	0
#define KEEP	512
#define ZERO	1024
#define POISON	1536

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct actor owner;
	struct actor others[N_WAITERS];
	struct protocol_lock row;
};

/* A daemon, an owner and n others, which are attached. */
static void
scene_begin(struct scene *scene, unsigned n)
{
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, "", body);
	harness_open(&scene->conn, scene->daemon.socket);
	actor_start(&scene->owner, scene->daemon.socket, "desk");
	for (unsigned i = 0; i < n; i++)
		actor_start(&scene->others[i], scene->daemon.socket, "desk");
}

static void
scene_end(struct scene *scene, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		actor_kill(&scene->others[i]);
	harness_await_counts(&scene->conn, "desk", 0, 0);
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
}

/* A finished section leaves `value`, and the owner is in another one. */
static void
own(struct actor *owner, const char *lock, unsigned cell, long value)
{
	actor_must(owner, 0, "lock %s", lock);
	actor_must(owner, 0, "set %s %u %ld", lock, cell, value);
	actor_must(owner, 0, "unlock %s", lock);
	actor_must(owner, 0, "lock %s", lock);
	actor_must(owner, 0, "set %s %u %ld", lock, cell, value + 1);
	actor_must(owner, 0, "set %s %u %ld", lock, cell + 1, value + 1);
}

/* Which of the waiters has got what it waits for; the others have not, as far as one can see. */
static unsigned
await_one(const struct scene *scene, const bool *is_served, unsigned n)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (;;) {
		for (unsigned i = 0; i < n; i++)
			if (!is_served[i] && actor_has_answered(&scene->others[i]))
				return i;
		harness_assert(harness_clock_ns() < deadline_ns, "none of the waiters got the lock");
	}
}

/* All of them in turn, each when the one before has unlocked; only the first is told. */
static void
serve_all(struct scene *scene, unsigned n, long told_first)
{
	bool is_served[N_WAITERS] = { false };

	for (unsigned served = 0; served < n; served++) {
		unsigned i = await_one(scene, is_served, n);
		struct actor *actor = &scene->others[i];

		is_served[i] = true;
		harness_assert(actor_hear(actor) == 0, "waiter %u got an error", i);
		for (unsigned k = 0; k < n; k++)
			harness_assert(is_served[k] || !actor_has_answered(&scene->others[k]), "two have the lock: %u and %u", i, k);
		actor_must(actor, served == 0 ? told_first : 0, "recovered book");
		actor_must(actor, 7, "get book %d", BOOK);
		actor_must(actor, 0, "get book %d", BOOK + 1);
		actor_must(actor, 0, "unlock book");
	}
}

static bool
is_enough(uint64_t best_ns)
{
	return best_ns < AT_ONCE_NS && !harness_is_full();
}

START_TEST(one_of_the_waiters_gets_it_at_once_and_all_in_turn)
{
	uint64_t best_ns = UINT64_MAX;
	bool nobody[N_WAITERS] = { false };

	for (unsigned round = 0; round < N_ROUNDS && !is_enough(best_ns); round++) {
		struct scene scene;
		uint64_t killed_ns;
		pid_t pid;

		scene_begin(&scene, N_WAITERS);
		own(&scene.owner, "book", BOOK, 7);
		for (unsigned i = 1; i < N_WAITERS; i++)
			actor_tell(&scene.others[i], "lock book");
		actor_tell_to_sleep(&scene.others[0], "book", ACTOR_LONGEST);
		pid = scene.owner.pid;
		killed_ns = clock_monotonic_ns();
		actor_kill(&scene.owner);
		(void)await_one(&scene, nobody, N_WAITERS);
		best_ns = min_u64(best_ns, clock_monotonic_ns() - killed_ns);
		/* It is for the daemon to count and to tell, though a waiter was faster. */
		actor_await_recoveries(&scene.conn, "desk", "book", 1, &scene.row);
		harness_assert(scene.row.recovered_pid == pid && scene.row.recovered_ns, "the daemon says that process %d died",
		    scene.row.recovered_pid);
		serve_all(&scene, N_WAITERS, 1);
		scene_end(&scene, N_WAITERS);
	}
	printf("from the owner's death to a waiter's section: %ju us at best\n", (uintmax_t)(best_ns / 1000));
	harness_assert(best_ns < AT_ONCE_NS, "it took %ju ms", (uintmax_t)(best_ns / NS_PER_MS));
}
END_TEST

START_TEST(stopped_waiters_are_in_nobodys_way)
{
	struct scene scene;

	scene_begin(&scene, N_WAITERS);
	own(&scene.owner, "book", BOOK, 7);
	for (unsigned i = 1; i < N_WAITERS; i++) {
		actor_tell(&scene.others[i], "lock book");
		actor_await_sleep(&scene.others[i]);
		actor_stop(&scene.others[i]);
	}
	actor_kill(&scene.owner);
	/* Once with all of them stopped, and once for one that comes later. */
	actor_await_recoveries(&scene.conn, "desk", "book", 1, &scene.row);
	actor_must(&scene.others[0], 0, "lock book");
	actor_must(&scene.others[0], 1, "recovered book");
	actor_must(&scene.others[0], 7, "get book %d", BOOK);
	actor_must(&scene.others[0], 0, "unlock book");
	actor_tell(&scene.others[0], "get book %d", BOOK + 1);
	ck_assert_int_eq(actor_hear(&scene.others[0]), 0);
	actor_tell(&scene.others[0], "lock book");
	for (unsigned i = 1; i < N_WAITERS; i++)
		actor_go_on(&scene.others[i]);
	serve_all(&scene, N_WAITERS, 0);
	scene_end(&scene, N_WAITERS);
}
END_TEST

START_TEST(without_a_daemon_a_waiter_takes_over)
{
	struct scene scene;

	scene_begin(&scene, N_WAITERS);
	own(&scene.owner, "book", BOOK, 7);
	for (unsigned i = 0; i < N_WAITERS; i++)
		actor_tell(&scene.others[i], "lock book");
	harness_daemon_kill(&scene.daemon);
	actor_kill(&scene.owner);
	serve_all(&scene, N_WAITERS, 1);
	for (unsigned i = 0; i < N_WAITERS; i++)
		actor_kill(&scene.others[i]);
	harness_daemon_remove(&scene.daemon);
}
END_TEST

/* Has the kernel stop the actor at every system call; it is in one that begins again for this. */
static void
trace(const struct actor *actor)
{
	int status;

	if (ptrace(PTRACE_SEIZE, actor->pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) != 0)
		harness_skip("ptrace is not allowed here: %s", strerror(errno));
	harness_assert(ptrace(PTRACE_INTERRUPT, actor->pid, NULL, NULL) == 0, "ptrace: %m");
	harness_assert(waitpid(actor->pid, &status, __WALL) == actor->pid && WIFSTOPPED(status), "no stop: %#x",
	    (unsigned)status);
	harness_assert(ptrace(PTRACE_SYSCALL, actor->pid, NULL, NULL) == 0, "ptrace: %m");
}

/* Lets it run to where it begins a futex call, or (is_exit) where the one that it slept in was left. */
static int64_t
trace_to_futex(const struct actor *actor, bool is_exit)
{
	struct __ptrace_syscall_info info;
	bool is_futex = is_exit;
	int status;

	for (;;) {
		harness_assert(waitpid(actor->pid, &status, __WALL) == actor->pid, "waitpid: %s", strerror(errno));
		harness_assert(WIFSTOPPED(status), "a traced actor ended with %#x", (unsigned)status);
		harness_assert(ptrace(PTRACE_GET_SYSCALL_INFO, actor->pid, (void *)sizeof(info), &info) > 0, "ptrace: %m");
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			/* A wake, or a sleep of one or the other kind. */
			is_futex = info.entry.nr == SYS_futex || info.entry.nr == ACTOR_FUTEX_WAITV ||
			    info.entry.nr == SYS_restart_syscall;
		if (is_futex && info.op == (is_exit ? PTRACE_SYSCALL_INFO_EXIT : PTRACE_SYSCALL_INFO_ENTRY))
			return is_exit ? info.exit.rval : 0;
		harness_assert(ptrace(PTRACE_SYSCALL, actor->pid, NULL, NULL) == 0, "ptrace: %m");
	}
}

/* The time that one of two that sleep needs to get a free lock whose wake-up has died. */
static uint64_t
wake_again(const struct actor *actor, struct actor *dying)
{
	uint64_t killed_ns = clock_monotonic_ns();

	actor_kill(dying);
	harness_await_readable(actor->child.control, "the lock");
	return clock_monotonic_ns() - killed_ns;
}

/* Waits until the actor has fallen asleep again: it is the last then of those that sleep. */
static void
await_turn(const struct actor *actor)
{
	static const char key[] = "voluntary_ctxt_switches:";
	uint64_t n = harness_status_figure(actor->pid, key);

	while (harness_status_figure(actor->pid, key) == n && !actor_has_answered(actor))
		(void)poll(NULL, 0, 1);
	actor_await_state(actor, 'S');
}

/* The first of two sleepers is woken, and killed before it is back from the kernel. False: the other one was woken. */
static bool
kill_the_woken(struct scene *scene, uint64_t *best_ns)
{
	struct actor *woken = &scene->others[0], *other = &scene->others[1];

	actor_must(&scene->owner, 0, "lock book");
	/* The one falls asleep for the last time of these while the other does so for 320 ms: in the midst of that. */
	actor_tell_to_sleep(other, "book", ACTOR_LONGEST - 2);
	actor_tell_to_sleep(woken, "book", ACTOR_LONGEST - 1);
	trace(woken);
	/* Into the kernel again, where it sleeps for what was left. */
	(void)trace_to_futex(woken, false);
	harness_assert(ptrace(PTRACE_SYSCALL, woken->pid, NULL, NULL) == 0, "ptrace: %m");
	actor_await_state(woken, 'S');
	await_turn(other);
	actor_must(&scene->owner, 0, "unlock book");
	if (trace_to_futex(woken, true) != 0)
		return false;
	harness_assert(!actor_has_answered(other), "two were woken");
	*best_ns = min_u64(*best_ns, wake_again(other, woken));
	ck_assert_int_eq(actor_hear(other), 0);
	actor_must(other, 0, "recovered book");
	return true;
}

START_TEST(another_is_woken_when_the_woken_one_dies)
{
	uint64_t best_ns = UINT64_MAX;
	unsigned n_done = 0;

	/* Which of the two falls asleep last is chance, though not much of it. */
	for (unsigned round = 0; round < 5 * N_ROUNDS && n_done < N_ROUNDS && !is_enough(best_ns); round++) {
		struct scene scene;

		scene_begin(&scene, 2);
		if (kill_the_woken(&scene, &best_ns)) {
			n_done++;
			actor_kill(&scene.owner);
			actor_kill(&scene.others[1]);
		} else {
			actor_kill(&scene.others[0]);
			actor_kill(&scene.others[1]);
			actor_kill(&scene.owner);
		}
		scene_end(&scene, 0);
	}
	printf("from the woken one's death to another's section: %ju us at best\n", (uintmax_t)(best_ns / 1000));
	harness_assert(n_done == N_ROUNDS || is_enough(best_ns), "the one to be woken was woken %u times only", n_done);
	harness_assert(best_ns < AT_ONCE_NS, "it took %ju ms", (uintmax_t)(best_ns / NS_PER_MS));
}
END_TEST

START_TEST(a_waiter_is_woken_when_who_was_about_to_wake_it_dies)
{
	uint64_t best_ns = UINT64_MAX;

	for (unsigned round = 0; round < N_ROUNDS && !is_enough(best_ns); round++) {
		struct scene scene;

		scene_begin(&scene, 1);
		actor_must(&scene.owner, 0, "lock book");
		actor_tell_to_sleep(&scene.others[0], "book", ACTOR_LONGEST);
		trace(&scene.owner);
		actor_tell(&scene.owner, "unlock book");
		/* It is free, and nobody knows. */
		(void)trace_to_futex(&scene.owner, false);
		actor_look(&scene.conn, "desk", "book", &scene.row);
		ck_assert_uint_eq(scene.row.owner, 0);
		best_ns = min_u64(best_ns, wake_again(&scene.others[0], &scene.owner));
		ck_assert_int_eq(actor_hear(&scene.others[0]), 0);
		actor_must(&scene.others[0], 0, "recovered book");
		scene_end(&scene, 1);
	}
	printf("from the death of who had to wake to a waiter's section: %ju us at best\n", (uintmax_t)(best_ns / 1000));
	harness_assert(best_ns < AT_ONCE_NS, "it took %ju ms", (uintmax_t)(best_ns / NS_PER_MS));
}
END_TEST

/*
 * Nobody but the kernel, and nothing but its wake: that which the sleeper is woken by is the second of the two that it sleeps
 * for. What ends a slice would be -ETIMEDOUT.
 */
START_TEST(kernel_wakes_a_waiter_of_the_dead)
{
	unsigned n_rung = 0;

	if (syscall(ACTOR_FUTEX_WAITV, NULL, 0, 0, NULL, 0) < 0 && errno == ENOSYS)
		harness_skip("the kernel has no futex_waitv (Linux 5.16): who sleeps hears no bell");
	for (unsigned round = 0; round < N_ROUNDS && (!n_rung || harness_is_full()); round++) {
		struct scene scene;
		int64_t r;

		scene_begin(&scene, 1);
		own(&scene.owner, "book", BOOK, 7);
		actor_tell_to_sleep(&scene.others[0], "book", ACTOR_LONGEST);
		harness_daemon_kill(&scene.daemon);
		trace(&scene.others[0]);
		(void)trace_to_futex(&scene.others[0], false);
		harness_assert(ptrace(PTRACE_SYSCALL, scene.others[0].pid, NULL, NULL) == 0, "ptrace: %m");
		actor_await_state(&scene.others[0], 'S');
		actor_kill(&scene.owner);
		r = trace_to_futex(&scene.others[0], true);
		harness_assert(r == 1 || r == -ETIMEDOUT, "the sleep ended with %d", (int)r);
		n_rung += r == 1;
		harness_assert(ptrace(PTRACE_DETACH, scene.others[0].pid, NULL, NULL) == 0, "ptrace: %m");
		ck_assert_int_eq(actor_hear(&scene.others[0]), 0);
		actor_must(&scene.others[0], 1, "recovered book");
		actor_must(&scene.others[0], 7, "get book %d", BOOK);
		actor_must(&scene.others[0], 0, "unlock book");
		actor_kill(&scene.others[0]);
		harness_close(&scene.conn);
		harness_daemon_remove(&scene.daemon);
	}
	/* A slice may end at that very moment. */
	harness_assert(n_rung > 0, "the bell was never heard");
}
END_TEST

START_TEST(bytes_are_as_on_death_says)
{
	struct scene scene;
	struct actor *other = &scene.others[0];

	scene_begin(&scene, 1);
	own(&scene.owner, "book", BOOK, 7);
	own(&scene.owner, "keep", KEEP, 17);
	own(&scene.owner, "zero", ZERO, 27);
	actor_kill(&scene.owner);
	actor_must(other, 0, "lock book");
	actor_must(other, 7, "get book %d", BOOK);
	actor_must(other, 0, "get book %d", BOOK + 1);
	actor_must(other, 0, "lock keep");
	actor_must(other, 18, "get keep %d", KEEP);
	actor_must(other, 18, "get keep %d", KEEP + 1);
	actor_must(other, 0, "lock zero");
	actor_must(other, 0, "get zero %d", ZERO);
	actor_must(other, 0, "get zero %d", ZERO + 1);
	actor_must(other, 1, "recovered book");
	actor_must(other, 1, "recovered keep");
	actor_must(other, 1, "recovered zero");
	actor_must(other, 0, "unlock book");
	actor_must(other, 0, "unlock keep");
	actor_must(other, 0, "unlock zero");
	actor_must(other, 1, "reading keep");
	scene_end(&scene, 1);
}
END_TEST

static void
ask_to_recover(struct scene *scene, uint32_t flags, int status)
{
	struct protocol_recover request = { .flags = flags, .name = "desk", .lock = "poison" };
	struct harness_reply reply;
	int r = harness_ask(&scene->conn, PROTOCOL_RECOVER, &request.header, sizeof(request), &reply);

	harness_assert(r == status, "RECOVER: %d (%s), not %d", r, strerror(-r), status);
}

START_TEST(poison_is_everybodys_until_it_is_recovered_by_hand)
{
	static const uint32_t flags[] = { 0, PROTOCOL_RECOVER_KEEP };

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(flags); i++) {
		struct scene scene;
		bool keeps = flags[i] & PROTOCOL_RECOVER_KEEP;

		scene_begin(&scene, 3);
		own(&scene.owner, "poison", POISON, 7);
		ask_to_recover(&scene, flags[i], -EALREADY);
		actor_tell_to_sleep(&scene.others[0], "poison", ACTOR_LONGEST);
		actor_tell_to_sleep(&scene.others[1], "poison", ACTOR_LONGEST);
		actor_kill(&scene.owner);
		ck_assert_int_eq(actor_hear(&scene.others[0]), -ENOTRECOVERABLE);
		ck_assert_int_eq(actor_hear(&scene.others[1]), -ENOTRECOVERABLE);
		actor_must(&scene.others[2], -ENOTRECOVERABLE, "lock poison");
		actor_must(&scene.others[2], -ENOTRECOVERABLE, "trylock poison");
		actor_must(&scene.others[2], 0, "reading poison");
		actor_must(&scene.others[2], 8, "get poison %d", POISON);
		actor_look(&scene.conn, "desk", "poison", &scene.row);
		ck_assert_uint_eq(scene.row.flags & PROTOCOL_LOCK_POISONED, PROTOCOL_LOCK_POISONED);

		ask_to_recover(&scene, flags[i], 0);
		actor_must(&scene.others[2], 0, "lock poison");
		actor_must(&scene.others[2], 1, "recovered poison");
		actor_must(&scene.others[2], keeps ? 8 : 7, "get poison %d", POISON);
		actor_must(&scene.others[2], keeps ? 8 : 0, "get poison %d", POISON + 1);
		actor_must(&scene.others[2], 0, "unlock poison");
		actor_must(&scene.others[1], 1, "reading poison");
		scene_end(&scene, 3);
	}
}
END_TEST

/* Told, and unlocking without having asked, are two things; dying with the news is a third. */
START_TEST(everybody_is_told_until_one_that_was_told_unlocks)
{
	struct scene scene;
	struct actor *other = scene.others;

	scene_begin(&scene, 4);
	own(&scene.owner, "book", BOOK, 7);
	actor_kill(&scene.owner);
	actor_must(&other[0], 0, "lock book");
	actor_must(&other[0], 1, "recovered book");
	actor_kill(&other[0]);
	actor_must(&other[1], 0, "lock book");
	actor_must(&other[1], 0, "unlock book");
	actor_must(&other[2], 0, "lock book");
	actor_must(&other[2], 1, "recovered book");
	actor_must(&other[2], 0, "rollback book");
	actor_must(&other[1], 0, "lock book");
	actor_must(&other[1], 1, "recovered book");
	actor_must(&other[1], 0, "unlock book");
	actor_must(&other[3], 0, "lock book");
	actor_must(&other[3], 0, "recovered book");
	actor_must(&other[3], 0, "unlock book");
	actor_look(&scene.conn, "desk", "book", &scene.row);
	ck_assert_uint_eq(scene.row.n_recoveries, 2);
	actor_start(&other[0], scene.daemon.socket, "desk");
	scene_end(&scene, 4);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockdeaths");
	TCase *tcase = tcase_create("lockdeaths");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, one_of_the_waiters_gets_it_at_once_and_all_in_turn);
	tcase_add_test(tcase, stopped_waiters_are_in_nobodys_way);
	tcase_add_test(tcase, without_a_daemon_a_waiter_takes_over);
	tcase_add_test(tcase, another_is_woken_when_the_woken_one_dies);
	tcase_add_test(tcase, a_waiter_is_woken_when_who_was_about_to_wake_it_dies);
	tcase_add_test(tcase, kernel_wakes_a_waiter_of_the_dead);
	tcase_add_test(tcase, bytes_are_as_on_death_says);
	tcase_add_test(tcase, poison_is_everybodys_until_it_is_recovered_by_hand);
	tcase_add_test(tcase, everybody_is_told_until_one_that_was_told_unlocks);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
