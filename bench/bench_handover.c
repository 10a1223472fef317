/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * D3: an owner dies by SIGKILL, and who is blocked at its lock gets it, with the data declared consistent. Timed from before
 * the signal is sent until then. Who dies is bound to one CPU and who waits to the other; the daemon runs where it likes.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/robust.h"

#define DEATHS		100			/* of each side in one round */
#define LOCK_SEGMENT	"locks"
#define LOCK_DEFINITION	",\n  { name = \"" LOCK_SEGMENT "\"; size = \"64KiB\"; " \
	"locks = ( { name = \"one\"; offset = 0; length = \"8KiB\"; undo = \"16KiB\"; } ); }"
#define LOCK_CHANGE	64		/* bytes that the dead owner has changed */
#define LOCK_SLEEPS_NS	(NS_PER_MS / 2)	/* until who waits has stopped looking and sleeps, and the owner is by itself */

/* In memory that all share. */
struct handover {
	pthread_mutex_t mutex;
	_Atomic uint64_t at_ns;		/* when the waiter had it */
};

struct lock_death {
	struct bench *bench;
	struct daemon daemon;
	struct handover *shared;
	struct child bare_waiter;
	struct child segment_waiter;
};

static void
bare_waiter(int fd, void *arg)
{
	struct handover *shared = ((struct lock_death *)arg)->shared;
	int r;

	child_say(fd);
	while (child_hear(fd)) {
		child_say(fd);
		r = pthread_mutex_lock(&shared->mutex);
		if (r == EOWNERDEAD)
			(void)pthread_mutex_consistent(&shared->mutex);
		atomic_store(&shared->at_ns, clock_monotonic_ns());
		if (r != EOWNERDEAD)
			child_fail("a robust mutex did not tell of its owner's death: %s", strerror(r));
		(void)pthread_mutex_unlock(&shared->mutex);
		child_say(fd);
	}
	_exit(EXIT_SUCCESS);
}

/*
 * It is in its section for a while before it dies. So what ran last on its CPU is the owner itself on both sides, and not the
 * daemon that it has just been served by: to bring it back there takes 5 us more then, which are none of its lock's.
 */
static void
owner_rest(int fd)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = (long)LOCK_SLEEPS_NS }, NULL);
	child_rest(fd);
}

static void
bare_owner(int fd, void *arg)
{
	(void)pthread_mutex_lock(&((struct lock_death *)arg)->shared->mutex);
	owner_rest(fd);
}

static bool
is_restored(const struct segment *segment)
{
	static const unsigned char zero[LOCK_CHANGE];

	return memcmp(segment_data(segment), zero, sizeof(zero)) == 0;
}

static void
segment_waiter(int fd, void *arg)
{
	const struct lock_death *self = arg;
	struct segment *segment;
	bool is_told;
	int r;

	child_attach(self->daemon.socket, LOCK_SEGMENT, 0, &segment);
	child_say(fd);
	while (child_hear(fd)) {
		child_say(fd);
		r = segment_lock(segment, 0);
		is_told = r == 0 && segment_recovered(segment, 0);
		atomic_store(&self->shared->at_ns, clock_monotonic_ns());
		if (!is_told || !is_restored(segment))
			child_fail("a lock was not handed over with its bytes restored: %s (%s)", strerror(-r), segment_error());
		(void)segment_unlock(segment, 0);
		child_say(fd);
	}
	_exit(EXIT_SUCCESS);
}

static void
segment_owner(int fd, void *arg)
{
	const struct lock_death *self = arg;
	struct segment *segment;
	int r;

	child_attach(self->daemon.socket, LOCK_SEGMENT, 0, &segment);
	r = segment_lock(segment, 0);
	if (r == 0)
		r = segment_modify(segment, 0, segment_data(segment), LOCK_CHANGE);
	if (r < 0)
		child_fail("an owner got no lock: %s (%s)", strerror(-r), segment_error());
	memset(segment_data(segment), 'n', LOCK_CHANGE);
	owner_rest(fd);
}

static void
handover_round(struct lock_death *self, child_fn owner, const struct child *waiter, struct bench_round *round)
{
	struct child victim;
	uint64_t start_ns;

	for (unsigned i = 0; i < DEATHS; i++) {
		child_start(self->bench, self->bench->server_cpu, -1, owner, self, &victim);
		child_await(&victim);
		child_tell(waiter);
		child_await(waiter);
		(void)nanosleep(&(struct timespec){ .tv_nsec = (long)LOCK_SLEEPS_NS }, NULL);
		start_ns = clock_monotonic_ns();
		(void)kill(victim.pid, SIGKILL);
		child_await(waiter);
		samples_add(&round->samples, atomic_load(&self->shared->at_ns) - start_ns);
		child_end(&victim);
	}
}

static void
bare_handover_run(void *arg, struct bench_round *round)
{
	struct lock_death *self = arg;

	handover_round(self, bare_owner, &self->bare_waiter, round);
}

static void
segment_handover_run(void *arg, struct bench_round *round)
{
	struct lock_death *self = arg;

	handover_round(self, segment_owner, &self->segment_waiter, round);
}

static void
waiter_start(struct lock_death *self, child_fn run, struct child *waiter)
{
	child_start(self->bench, self->bench->client_cpu, -1, run, self, waiter);
	bench_own(self->bench, waiter->pid);
	child_await(waiter);
}

static void
waiter_stop(const struct lock_death *self, struct child *waiter)
{
	bench_disown(self->bench, waiter->pid);
	child_end(waiter);
}

void
handover_blocked(struct bench *bench, const struct bench_goal *goal)
{
	struct daemon_config config = { .segments = LOCK_DEFINITION };
	struct lock_death self = { .bench = bench };
	const struct bench_side sides[] = {
		{ "robust mutex: EOWNERDEAD, made consistent", bare_handover_run, &self },
		{ "segment_lock, 64 bytes restored", segment_handover_run, &self },
	};

	self.shared = robust_shared_new(sizeof(*self.shared));
	robust_init(&self.shared->mutex);
	daemon_init(&self.daemon, &config);
	daemon_start(bench, &self.daemon);
	bench_pin(bench, 0, bench->client_cpu);
	waiter_start(&self, bare_waiter, &self.bare_waiter);
	waiter_start(&self, segment_waiter, &self.segment_waiter);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	waiter_stop(&self, &self.bare_waiter);
	waiter_stop(&self, &self.segment_waiter);
	daemon_stop(bench, &self.daemon);
	daemon_deinit(&self.daemon);
	robust_shared_free(self.shared, sizeof(*self.shared));
	bench_pin(bench, 0, -1);
}
