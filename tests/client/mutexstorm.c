/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A storm of pthread clients that are killed: what a client does, and who kills it. */
#include "config.h"

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>

#include "tests/client/mutexstorm.h"

#define N_CLIENTS	8
#define STANDSTILL_NS	(10 * NS_PER_SEC)	/* without a transfer: some mutex is stuck */
#define BALANCE		1000

#define KEEP_ORDER()	atomic_signal_fence(memory_order_seq_cst)

static uint32_t
draw(uint64_t *random, uint32_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*random >> 33) % below;
}

bool
mutexstorm_group_zeroes(unsigned group)
{
	return group % 2;
}

static int64_t
expected_sum(unsigned group)
{
	return mutexstorm_group_zeroes(group) ? 0 : (int64_t)BALANCE * MUTEXSTORM_ACCOUNTS;
}

static void
expect_sum(const struct mutexstorm_bank *bank, unsigned group)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < MUTEXSTORM_ACCOUNTS; i++)
		sum += bank->groups[group].balances[i];
	harness_assert(sum == expected_sum(group), "group %u: the sum is %lld instead of %lld", group, (long long)sum,
	    (long long)expected_sum(group));
}

/* A client. */

struct client {
	struct mutexstorm_bank *bank;
	uint64_t random;
	uint64_t self;
};

/* The last owner died in the midst of it: the bytes are as it left them, unless a recovery zeroed them before we came. */
static void
repair(struct client *client, unsigned group)
{
	struct mutexstorm_group *of = &client->bank->groups[group];

	(void)atomic_fetch_add(&client->bank->n_told, 1);
	if (of->undo.is_valid)
		(void)atomic_fetch_add(&client->bank->n_undone, 1);
	if (mutexstorm_group_zeroes(group)) {
		memset(of->balances, 0, sizeof(of->balances));
	} else if (of->undo.is_valid) {
		of->balances[of->undo.from] = of->undo.from_balance;
		of->balances[of->undo.to] = of->undo.to_balance;
	}
	KEEP_ORDER();
	of->undo.is_valid = 0;
	KEEP_ORDER();
}

/* By one of the ways that pthread has. */
static int
take(struct client *client, pthread_mutex_t *mutex)
{
	struct timespec until;

	switch (draw(&client->random, 8)) {
	case 0:
		return pthread_mutex_trylock(mutex);
	case 1:
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 50000;
		if (until.tv_nsec >= (long)NS_PER_SEC) {
			until.tv_nsec -= (long)NS_PER_SEC;
			until.tv_sec++;
		}
		return pthread_mutex_timedlock(mutex, &until);
	default:
		return pthread_mutex_lock(mutex);
	}
}

static void
lock(struct client *client, unsigned group)
{
	struct mutexstorm_group *of = &client->bank->groups[group];
	uint64_t owner;
	int r;

	do
		r = take(client, &of->mutex);
	while (r == EBUSY || r == ETIMEDOUT);
	harness_assert(r == 0 || r == EOWNERDEAD, "locking group %u: %s", group, strerror(r));
	owner = atomic_exchange(&of->owner, client->self);
	harness_assert(r == EOWNERDEAD || owner == 0, "group %u is held by %llu, too", group, (unsigned long long)owner);
	if (r == EOWNERDEAD) {
		repair(client, group);
		harness_assert(pthread_mutex_consistent(&of->mutex) == 0, "consistent");
	}
	expect_sum(client->bank, group);
}

static void
unlock(struct client *client, unsigned group)
{
	struct mutexstorm_group *of = &client->bank->groups[group];
	uint64_t owner = atomic_exchange(&of->owner, 0);

	harness_assert(owner == client->self, "group %u was taken by %llu meanwhile", group, (unsigned long long)owner);
	harness_assert(pthread_mutex_unlock(&of->mutex) == 0, "unlock");
}

static void
transfer(struct client *client, unsigned group)
{
	struct mutexstorm_group *of = &client->bank->groups[group];
	uint32_t from = draw(&client->random, MUTEXSTORM_ACCOUNTS), to = draw(&client->random, MUTEXSTORM_ACCOUNTS);
	int64_t amount = draw(&client->random, 100);

	if (from == to)
		return;
	of->undo.from = from;
	of->undo.to = to;
	of->undo.from_balance = of->balances[from];
	of->undo.to_balance = of->balances[to];
	KEEP_ORDER();
	of->undo.is_valid = 1;
	KEEP_ORDER();
	of->balances[from] -= amount;
	KEEP_ORDER();
	/* Who dies has mostly just been stopped to let others run: let that be here, too. */
	if (draw(&client->random, 64) == 0)
		(void)sched_yield();
	of->balances[to] += amount;
	KEEP_ORDER();
	of->undo.is_valid = 0;
	KEEP_ORDER();
	(void)atomic_fetch_add_explicit(&client->bank->n_transfers, 1, memory_order_relaxed);
}

/* The kernel walks this list from now on, and pthread goes on with its own. */
static void
hide_from_kernel(void)
{
	static struct robust_list_head empty;

	empty.list.next = &empty.list;
	harness_assert(syscall(SYS_set_robust_list, &empty, sizeof(empty)) == 0, "set_robust_list: %s", strerror(errno));
}

static struct mutexstorm *storm;

/* Now and then holding two at once, always in the same order. */
static void
run_client(int control, void *arg)
{
	uint64_t number = (uint64_t)(uintptr_t)arg;
	struct client client = { .random = storm->seed + number * 7919, .self = (uint64_t)getpid() };

	client.bank = storm->open(storm->arg);
	if (number % 2)
		hide_from_kernel();
	while (!atomic_load_explicit(&client.bank->is_over, memory_order_relaxed)) {
		unsigned group = draw(&client.random, MUTEXSTORM_GROUPS);
		unsigned other = draw(&client.random, 8) == 0 ? group + 1 : MUTEXSTORM_GROUPS;

		lock(&client, group);
		transfer(&client, group);
		if (other < MUTEXSTORM_GROUPS) {
			lock(&client, other);
			transfer(&client, other);
			unlock(&client, other);
		}
		transfer(&client, group);
		unlock(&client, group);
		if (draw(&client.random, 64) == 0)
			(void)sched_yield();
	}
}

/* The test's side. */

void
mutexstorm_prepare(struct mutexstorm_bank *bank, bool make_mutexes)
{
	pthread_mutexattr_t attributes;

	harness_assert(pthread_mutexattr_init(&attributes) == 0 &&
	    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
	    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0, "attributes");
	for (unsigned i = 0; i < MUTEXSTORM_GROUPS; i++) {
		if (make_mutexes)
			harness_assert(pthread_mutex_init(&bank->groups[i].mutex, &attributes) == 0, "pthread_mutex_init");
		for (unsigned k = 0; k < MUTEXSTORM_ACCOUNTS; k++)
			bank->groups[i].balances[k] = mutexstorm_group_zeroes(i) ? 0 : BALANCE;
	}
}

struct world {
	struct harness_child clients[N_CLIENTS];
	uint64_t random;
	uintptr_t n_started;
	uint64_t n_transfers;		/* when there was progress the last time */
	uint64_t progress_ns;
};

static void
start_client(struct world *world, unsigned i)
{
	world->clients[i] = (struct harness_child)HARNESS_CHILD_NULL;
	harness_child_start(&world->clients[i], run_client, (void *)++world->n_started);
}

/* Until it is time for the next death. None may come by itself: a client that ends has found something wrong. */
static void
let_run(struct world *world)
{
	struct pollfd ends[N_CLIENTS];
	struct timespec pause = { .tv_nsec = (long)draw(&world->random, 4 * (uint32_t)NS_PER_MS) };

	for (unsigned i = 0; i < N_CLIENTS; i++)
		ends[i] = (struct pollfd) { .fd = world->clients[i].pidfd, .events = POLLIN };
	if (ppoll(ends, N_CLIENTS, &pause, NULL) <= 0)
		return;
	for (unsigned i = 0; i < N_CLIENTS; i++)
		if (ends[i].revents)
			harness_assert(false, "client %u ended by itself, with %d", i, harness_child_await(&world->clients[i]));
}

/* Anybody, or, every other time, who was just seen inside. */
static unsigned
choose(struct world *world)
{
	uint32_t group = draw(&world->random, 2 * MUTEXSTORM_GROUPS);

	for (unsigned i = 0; group < MUTEXSTORM_GROUPS && i < N_CLIENTS; i++)
		if (atomic_load(&storm->bank->groups[group].owner) == (uint64_t)world->clients[i].pid)
			return i;
	return draw(&world->random, N_CLIENTS);
}

static void
expect_progress(struct world *world)
{
	uint64_t n = atomic_load(&storm->bank->n_transfers);

	if (n != world->n_transfers) {
		world->n_transfers = n;
		world->progress_ns = harness_clock_ns();
		return;
	}
	harness_assert(harness_clock_ns() - world->progress_ns < STANDSTILL_NS,
	    "nobody gets on: the words are %#x %#x %#x %#x", (unsigned)storm->bank->groups[0].mutex.__data.__lock,
	    (unsigned)storm->bank->groups[1].mutex.__data.__lock, (unsigned)storm->bank->groups[2].mutex.__data.__lock,
	    (unsigned)storm->bank->groups[3].mutex.__data.__lock);
}

static void
end_all(struct world *world)
{
	atomic_store(&storm->bank->is_over, 1);
	for (unsigned i = 0; i < N_CLIENTS; i++)
		harness_child_await_success(&world->clients[i]);
	for (unsigned i = 0; i < MUTEXSTORM_GROUPS; i++) {
		struct client auditor = { .bank = storm->bank };
		int r = pthread_mutex_trylock(&storm->bank->groups[i].mutex);

		harness_assert(r == 0 || r == EOWNERDEAD, "at the end, group %u: %s", i, strerror(r));
		/* One of the last to be killed had it, and nobody has taken it since. */
		if (r == EOWNERDEAD) {
			repair(&auditor, i);
			(void)pthread_mutex_consistent(&storm->bank->groups[i].mutex);
		}
		expect_sum(storm->bank, i);
		harness_assert(!storm->bank->groups[i].undo.is_valid, "at the end, group %u: a transfer is under way", i);
		(void)pthread_mutex_unlock(&storm->bank->groups[i].mutex);
	}
}

void
mutexstorm_run(struct mutexstorm *arg)
{
	uint64_t until_ns = clock_monotonic_ns() + arg->seconds * NS_PER_SEC;
	struct world world = { .random = arg->seed, .progress_ns = harness_clock_ns() };

	storm = arg;
	for (unsigned i = 0; i < N_CLIENTS; i++)
		start_client(&world, i);
	while (clock_monotonic_ns() < until_ns) {
		unsigned i;
		pid_t pid;

		let_run(&world);
		i = choose(&world);
		pid = world.clients[i].pid;
		harness_child_kill(&world.clients[i]);
		storm->n_kills++;
		if (storm->died)
			storm->died(pid, storm->arg);
		start_client(&world, i);
		expect_progress(&world);
	}
	end_all(&world);
}
