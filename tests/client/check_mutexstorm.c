/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The storm of pthread clients, with a process that stands for the daemon: it is told who died, and recovers what the dead
 * may have held. It is killed in that now and then itself, and the next one is told again.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "client/mutex.h"
#include "tests/client/locker.h"
#include "tests/client/mutexstorm.h"

#define N_PERIODS	8		/* of those recoverers that are killed at once, one in so many */

static struct mutexstorm_bank *bank;

/* What a recoverer did for one death. */
struct done {
	unsigned n_marked;
	unsigned n_recovered;
	unsigned n_busy;
};

static struct {
	struct harness_child child;
	struct done done;		/* of all */
	unsigned n_deaths;
	unsigned n_killed;
} recoverer;

static void
recover_group(unsigned group, uint32_t thread, struct done *done)
{
	struct mutexstorm_group *of = &bank->groups[group];
	struct mutex_death death = {
		.mutex = &of->mutex,
		.thread = thread,
		.on_death = mutexstorm_group_zeroes(group) ? CONTROL_ZERO : CONTROL_KEEP,
		.range = &of->undo,
		.range_bytes = sizeof(*of) - offsetof(struct mutexstorm_group, undo),
		.copy = control_copy,
	};
	int r;

	do {
		r = mutex_recover(&death);
		done->n_busy += r == MUTEX_E_BUSY;
	} while (r == MUTEX_E_BUSY);
	harness_assert(r >= 0 && r != MUTEX_E_REFUSED, "recovering group %u: %d", group, r);
	done->n_marked += r == MUTEX_E_MARKED;
	done->n_recovered += r == MUTEX_E_RECOVERED;
}

static void
run_recoverer(int control, void *arg)
{
	for (;;) {
		struct done done = { 0 };
		pid_t pid;

		if (recv(control, &pid, sizeof(pid), 0) != sizeof(pid))
			return;
		for (unsigned i = 0; i < MUTEXSTORM_GROUPS; i++)
			recover_group(i, (uint32_t)pid, &done);
		harness_assert(send(control, &done, sizeof(done), MSG_NOSIGNAL) == sizeof(done), "send: %s", strerror(errno));
	}
}

static void
start_recoverer(void)
{
	recoverer.child = (struct harness_child)HARNESS_CHILD_NULL;
	harness_child_start(&recoverer.child, run_recoverer, NULL);
}

static void
tell_recoverer(pid_t pid)
{
	harness_assert(send(recoverer.child.control, &pid, sizeof(pid), MSG_NOSIGNAL) == sizeof(pid), "send: %s",
	    strerror(errno));
}

static void
client_died(pid_t pid, void *arg)
{
	struct done done;

	tell_recoverer(pid);
	if (++recoverer.n_deaths % N_PERIODS == 0) {
		harness_child_kill(&recoverer.child);
		recoverer.n_killed++;
		start_recoverer();
		tell_recoverer(pid);
	}
	harness_await_readable(recoverer.child.control, "a recovery");
	harness_assert(recv(recoverer.child.control, &done, sizeof(done), 0) == sizeof(done), "the recoverer ended");
	recoverer.done.n_marked += done.n_marked;
	recoverer.done.n_recovered += done.n_recovered;
	recoverer.done.n_busy += done.n_busy;
}

static struct mutexstorm_bank *
open_bank(void *arg)
{
	return bank;
}

START_TEST(every_sum_stands_whoever_is_killed)
{
	struct mutexstorm storm = { .open = open_bank, .died = client_died, .seconds = 2 * harness_scale() };
	const char *seed = getenv("SEGMENTD_TEST_SEED");

	locker_need_plain_pthread();
	storm.seed = seed ? strtoull(seed, NULL, 0) : 20261121;
	bank = storm.bank = locker_memory(sizeof(*bank));
	mutexstorm_prepare(bank, true);
	start_recoverer();
	mutexstorm_run(&storm);
	harness_child_kill(&recoverer.child);
	printf("seed %" PRIu64 ", %u s: %" PRIu64 " transfers, %u clients and %u recoverers killed, %u recoveries (beside %u times "
	    "marked by the kernel, busy %u times), %" PRIu64 " lockers told, %" PRIu64 " of them amid a transfer; every sum "
	    "stands\n", storm.seed, storm.seconds, atomic_load(&bank->n_transfers), storm.n_kills, recoverer.n_killed,
	    recoverer.done.n_recovered, recoverer.done.n_marked, recoverer.done.n_busy, atomic_load(&bank->n_told),
	    atomic_load(&bank->n_undone));
	(void)fflush(stdout);
	ck_assert_uint_gt(atomic_load(&bank->n_transfers), 0);
	ck_assert_uint_gt(atomic_load(&bank->n_told), 0);
	ck_assert_uint_gt(recoverer.done.n_recovered, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mutexstorm");
	TCase *tcase = tcase_create("mutexstorm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, every_sum_stands_whoever_is_killed);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
