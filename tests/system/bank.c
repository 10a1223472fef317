/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A bank in a segment: see bank.h. */
#include "config.h"

#include <inttypes.h>
#include <sched.h>
#include <sys/mman.h>

#include "tests/system/bank.h"

#define BALANCE		INT64_C(1000000)	/* of each account at first */
#define SUM		(BANK_ACCOUNTS * BALANCE)
#define PAIRS_MAX	6			/* of a section */
#define CHECK_EVERY	16			/* sections */

/* What the workers know of the segment. */
struct teller {
	struct bank *bank;
	struct bank_seat *seat;
	struct segment_client *client;
	struct segment *segment;
	uint64_t random;
	uint64_t mark;			/* nobody else's */
	int locks[BANK_GROUPS];
};

struct order {
	struct bank *bank;
	unsigned seat;
	bool with_go;
};

const char *
bank_definition(const char *name)
{
	static char text[2048];
	size_t n = (size_t)snprintf(text, sizeof(text),
	    "{ name = \"%s\"; size = \"%uKiB\"; mlock = false; mode = \"0666\"; locks = (", name,
	    (unsigned)(BANK_GROUPS * BANK_GROUP / KIB));

	for (unsigned i = 0; i < BANK_GROUPS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "%s { name = \"group-%u\"; offset = \"%uB\"; length = \"%dB\"; undo = \"16KiB\"; }", i ? "," : "", i,
		    i * BANK_GROUP, BANK_GROUP);
	(void)snprintf(text + n, sizeof(text) - n, " ); }");
	return text;
}

uint64_t
bank_seed(void)
{
	const char *text = getenv("SEGMENTD_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 20261121;
}

uint32_t
bank_draw(uint64_t *random, uint32_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*random >> 33) % below;
}

/* Who is in the section: it is logged like the accounts, and so nobody's again when he dies in it. */
static uint64_t *
marker(const struct segment *segment, unsigned group)
{
	return (void *)((char *)segment_data(segment) + group * BANK_GROUP);
}

static int64_t *
account(const struct segment *segment, unsigned group, unsigned i)
{
	return (void *)((char *)segment_data(segment) + group * BANK_GROUP + (i + 1) * BANK_STRIDE);
}

static int64_t
sum(const struct segment *segment, unsigned group)
{
	int64_t total = 0;

	for (unsigned i = 0; i < BANK_ACCOUNTS; i++)
		total += *account(segment, group, i);
	return total;
}

/* The waiting begins. */
static uint64_t
wait_begin(struct bank_seat *seat)
{
	uint64_t now_ns = clock_monotonic_ns();

	atomic_store_explicit(&seat->since_ns, now_ns, memory_order_relaxed);
	return now_ns;
}

static void
wait_end(struct bank_seat *seat, uint64_t since_ns)
{
	uint64_t spent_ns = clock_monotonic_ns() - since_ns;

	atomic_store_explicit(&seat->since_ns, 0, memory_order_relaxed);
	if (spent_ns > atomic_load_explicit(&seat->longest_ns, memory_order_relaxed))
		atomic_store_explicit(&seat->longest_ns, spent_ns, memory_order_relaxed);
}

/* A seat has one writer. */
static void
add(_Atomic uint64_t *count, uint64_t n)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n, memory_order_relaxed);
}

/* From one account to another: given to the log before it is changed, one way or the other. */
static void
transfer(struct teller *teller, unsigned group, bool is_logged)
{
	int64_t *from = account(teller->segment, group, bank_draw(&teller->random, BANK_ACCOUNTS));
	int64_t *to = account(teller->segment, group, bank_draw(&teller->random, BANK_ACCOUNTS));
	int64_t amount = (int64_t)bank_draw(&teller->random, 1000);
	int64_t left = *from - amount;
	int lock = teller->locks[group], r = 0;

	if (is_logged) {
		*from = left;
	} else if (bank_draw(&teller->random, 2)) {
		r = segment_modify(teller->segment, lock, from, sizeof(*from));
		*from = left;
	} else {
		r = segment_set(teller->segment, lock, from, &left, sizeof(left));
	}
	harness_assert(r == 0, "an account could not be modified: %s", segment_error());
	if (bank_draw(&teller->random, 16) == 0)
		(void)sched_yield();
	if (!is_logged)
		r = segment_modify(teller->segment, lock, to, sizeof(*to));
	harness_assert(r == 0, "an account could not be modified: %s", segment_error());
	*to += amount;
}

static void
expect_sum(const struct teller *teller, unsigned group, const char *when)
{
	int64_t total = sum(teller->segment, group);

	harness_assert(total == SUM, "%s, group %u of '%s' has %" PRIi64 " and not %" PRIi64, when, group,
	    teller->bank->name, total, SUM);
}

/* What was found on entering: nobody inside, and no half of anything. */
static void
enter(struct teller *teller, unsigned group)
{
	uint64_t *inside = marker(teller->segment, group);
	bool is_told = segment_recovered(teller->segment, teller->locks[group]);

	harness_assert(*inside == 0, "section of group %u of '%s': %" PRIu64 " is inside as well, or died and was not undone",
	    group, teller->bank->name, *inside);
	if (is_told) {
		add(&teller->seat->n_told, 1);
		expect_sum(teller, group, "after a recovery");
	} else if (atomic_load_explicit(&teller->seat->n_sections, memory_order_relaxed) % CHECK_EVERY == 0) {
		expect_sum(teller, group, "in a section");
	}
	harness_assert(segment_set(teller->segment, teller->locks[group], inside, &teller->mark, sizeof(*inside)) == 0,
	    "%s", segment_error());
}

static void
work(struct teller *teller)
{
	unsigned group = bank_draw(&teller->random, BANK_GROUPS), n = 1 + bank_draw(&teller->random, PAIRS_MAX);
	uint64_t *inside = marker(teller->segment, group);
	bool is_logged = bank_draw(&teller->random, 16) == 0;
	int lock = teller->locks[group], r;

	enter(teller, group);
	if (is_logged)
		harness_assert(segment_modify(teller->segment, lock, inside, BANK_GROUP) == 0, "%s", segment_error());
	for (unsigned i = 0; i < n; i++)
		transfer(teller, group, is_logged);
	harness_assert(*inside == teller->mark, "%" PRIu64 " came into the section of %" PRIu64 " in group %u of '%s'",
	    *inside, teller->mark, group, teller->bank->name);
	if (bank_draw(&teller->random, 16) == 0) {
		r = segment_rollback(teller->segment, lock);
		add(&teller->seat->n_rollbacks, 1);
	} else {
		*inside = 0;
		r = segment_unlock(teller->segment, lock);
		add(&teller->seat->n_transfers, n);
	}
	harness_assert(r == 0, "a section could not be ended: %s", segment_error());
	add(&teller->seat->n_sections, 1);
}

/* Locks some group and works in it. The group is drawn twice from the same number. */
static void
serve(struct teller *teller)
{
	uint64_t random = teller->random, since_ns = wait_begin(teller->seat);
	int r = segment_lock(teller->segment, teller->locks[bank_draw(&random, BANK_GROUPS)]);

	wait_end(teller->seat, since_ns);
	harness_assert(r == 0, "a lock could not be had: %s", segment_error());
	work(teller);
}

static void
attach(struct teller *teller, struct bank *bank, unsigned seat, unsigned flags)
{
	char name[32];

	*teller = (struct teller) {
		.bank = bank,
		.seat = &bank->seats[seat],
		.mark = (uint64_t)getpid(),
		.random = bank->seed ^ ((uint64_t)getpid() << 20),
	};
	harness_assert(segment_connect(&teller->client, bank->socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(teller->client, bank->name, NULL, flags, &teller->segment) == 0, "%s",
	    segment_error());
	for (unsigned i = 0; i < BANK_GROUPS; i++) {
		(void)snprintf(name, sizeof(name), "group-%u", i);
		teller->locks[i] = segment_find_lock(teller->segment, name);
		harness_assert(teller->locks[i] >= 0, "%s", segment_error());
	}
}

static void
leave(struct teller *teller)
{
	harness_assert(segment_detach(teller->segment) == 0, "%s", segment_error());
	segment_disconnect(teller->client);
}

static void
run_teller(int control, void *arg)
{
	const struct order *order = arg;
	struct teller teller;

	attach(&teller, order->bank, order->seat, SEGMENT_WRITE);
	if (order->with_go) {
		harness_say(control, "here");
		harness_expect(control, "go");
	}
	while (!atomic_load_explicit(&order->bank->is_closed, memory_order_relaxed))
		serve(&teller);
	leave(&teller);
}

/* A copy of a group as it was at one time. */
static void
read_group(struct teller *teller, unsigned group)
{
	int64_t balances[BANK_ACCOUNTS], total = 0;
	uint64_t since_ns = wait_begin(teller->seat);
	uint32_t begun;

	do {
		begun = segment_read_begin(teller->segment, teller->locks[group]);
		for (unsigned i = 0; i < BANK_ACCOUNTS; i++)
			balances[i] = *(const volatile int64_t *)account(teller->segment, group, i);
	} while (segment_read_retry(teller->segment, teller->locks[group], begun));
	wait_end(teller->seat, since_ns);
	for (unsigned i = 0; i < BANK_ACCOUNTS; i++)
		total += balances[i];
	harness_assert(total == SUM, "a reader saw %" PRIi64 " and not %" PRIi64 " in group %u of '%s'", total, SUM, group,
	    teller->bank->name);
	add(&teller->seat->n_reads, 1);
}

static void
run_reader(int control, void *arg)
{
	const struct order *order = arg;
	struct teller teller;

	(void)control;
	attach(&teller, order->bank, order->seat, SEGMENT_READ);
	while (!atomic_load_explicit(&order->bank->is_closed, memory_order_relaxed))
		read_group(&teller, bank_draw(&teller.random, BANK_GROUPS));
	leave(&teller);
}

static void
run_founder(int control, void *arg)
{
	const struct order *order = arg;
	struct teller teller;

	(void)control;
	attach(&teller, order->bank, order->seat, SEGMENT_WRITE);
	for (unsigned group = 0; group < BANK_GROUPS; group++) {
		harness_assert(segment_lock(teller.segment, teller.locks[group]) == 0, "%s", segment_error());
		for (unsigned i = 0; i < BANK_ACCOUNTS; i++)
			*account(teller.segment, group, i) = BALANCE;
		harness_assert(segment_unlock(teller.segment, teller.locks[group]) == 0, "%s", segment_error());
	}
	leave(&teller);
}

static void
run_auditor(int control, void *arg)
{
	const struct order *order = arg;
	struct teller teller;

	attach(&teller, order->bank, order->seat, SEGMENT_WRITE);
	harness_say(control, "here");
	harness_expect(control, "audit");
	for (unsigned group = 0; group < BANK_GROUPS; group++) {
		harness_assert(segment_lock(teller.segment, teller.locks[group]) == 0, "%s", segment_error());
		enter(&teller, group);
		expect_sum(&teller, group, "at the end");
		harness_assert(segment_rollback(teller.segment, teller.locks[group]) == 0, "%s", segment_error());
	}
	leave(&teller);
}

struct bank *
bank_open(const char *name, const char *socket)
{
	struct bank *bank = mmap(NULL, sizeof(*bank), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct harness_child founder = HARNESS_CHILD_NULL;
	struct order order = { .bank = bank };

	harness_assert(bank != MAP_FAILED, "mmap: %m");
	(void)snprintf(bank->name, sizeof(bank->name), "%s", name);
	bank->socket = socket;
	bank->seed = bank_seed();
	harness_child_start(&founder, run_founder, &order);
	harness_child_await_success(&founder);
	return bank;
}

void
bank_free(struct bank *bank)
{
	(void)munmap(bank, sizeof(*bank));
}

static void
take_seat(struct bank *bank, unsigned seat)
{
	harness_assert(seat < BANK_SEATS, "the bank has no seat %u", seat);
	if (seat >= bank->n_seats)
		bank->n_seats = seat + 1;
	atomic_store(&bank->seats[seat].since_ns, 0);
}

void
bank_start_teller(struct bank *bank, unsigned seat, bool with_go, struct harness_child *ret_child)
{
	struct order order = { .bank = bank, .seat = seat, .with_go = with_go };

	take_seat(bank, seat);
	harness_child_start(ret_child, run_teller, &order);
	if (with_go)
		harness_expect(ret_child->control, "here");
}

void
bank_start_reader(struct bank *bank, unsigned seat, struct harness_child *ret_child)
{
	struct order order = { .bank = bank, .seat = seat };

	take_seat(bank, seat);
	harness_child_start(ret_child, run_reader, &order);
}

void
bank_start_auditor(struct bank *bank, struct harness_child *ret_child)
{
	struct order order = { .bank = bank, .seat = BANK_SEATS - 1 };

	harness_child_start(ret_child, run_auditor, &order);
	harness_expect(ret_child->control, "here");
}

void
bank_audit(struct harness_child *auditor)
{
	harness_say(auditor->control, "audit");
	harness_child_await_success(auditor);
}

void
bank_watch(const struct bank *bank, uint64_t limit_ns)
{
	for (unsigned i = 0; i < bank->n_seats; i++) {
		uint64_t since_ns = atomic_load_explicit(&bank->seats[i].since_ns, memory_order_relaxed);
		uint64_t passed_ns = since_ns ? harness_passed_ns(since_ns) : 0;

		harness_assert(passed_ns < limit_ns, "who sits at %u of '%s' waits for %" PRIu64 " ms", i, bank->name,
		    passed_ns / NS_PER_MS);
	}
}

void
bank_count(const struct bank *bank, struct bank_figures *ret_figures)
{
	struct bank_figures figures = { 0 };

	for (unsigned i = 0; i < bank->n_seats; i++) {
		const struct bank_seat *seat = &bank->seats[i];

		figures.longest_ns = max_u64(figures.longest_ns, atomic_load(&seat->longest_ns));
		figures.n_transfers += atomic_load(&seat->n_transfers);
		figures.n_sections += atomic_load(&seat->n_sections);
		figures.n_rollbacks += atomic_load(&seat->n_rollbacks);
		figures.n_told += atomic_load(&seat->n_told);
		figures.n_reads += atomic_load(&seat->n_reads);
	}
	*ret_figures = figures;
}
