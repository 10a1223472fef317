/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>

#include "tests/soak/board.h"
#include "tests/soak/crowd.h"
#include "tests/soak/honest.h"
#include "tests/soak/rogue.h"

#define BEINGS_MAX	96
#define BIRTHS_MAX	3		/* in a turn */
#define BANK_FIRST_READER	200	/* seat */
#define PATIENCE_NS	((harness_has_sanitizers() ? 60 : 20) * NS_PER_SEC)	/* of who waits for a lock, or an answer */

enum kind {
	VISITOR, HEART, LISTENER, NEWCOMER, CLERK, TELLER, READER, CITIZEN, ROGUE, VANDAL, ONLOOKER, STRAY, HOG,
	KIND_N
};

struct being {
	struct harness_child child;
	enum kind kind;
	unsigned seat;
	bool is_killed;
	uint64_t due_ns;		/* it is killed then; 0: it is not */
};

static struct being beings[BEINGS_MAX];
static unsigned n_beings;
static unsigned n_of[KIND_N];

static unsigned
free_seat(enum kind kind)
{
	for (unsigned seat = 0;; seat++) {
		bool is_taken = false;

		for (unsigned i = 0; i < n_beings; i++)
			is_taken |= beings[i].kind == kind && beings[i].seat == seat;
		if (!is_taken)
			return seat;
	}
}

static void
start_visitor(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	honest_start_visitor(being->seat, &being->child);
}

static void
start_heart(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	honest_start_heart(&being->child);
}

static void
start_listener(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	honest_start_listener(&being->child);
}

static void
start_newcomer(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	honest_start_newcomer(&being->child);
}

static void
start_clerk(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	honest_start_clerk(&being->child);
}

static void
start_teller(struct crowd *crowd, struct being *being)
{
	bank_start_teller(crowd->bank, being->seat, true, &being->child);
	harness_say(being->child.control, "go");
}

static void
start_reader(struct crowd *crowd, struct being *being)
{
	bank_start_reader(crowd->bank, BANK_FIRST_READER + being->seat, &being->child);
}

static void
start_citizen(struct crowd *crowd, struct being *being)
{
	citizen_start(crowd->arena, being->seat, &being->child);
}

static void
start_rogue(struct crowd *crowd, struct being *being)
{
	rogue_start(&crowd->random, &being->child);
}

static void
start_vandal(struct crowd *crowd, struct being *being)
{
	vandal_start(crowd->arena, &being->child);
}

static void
start_onlooker(struct crowd *crowd, struct being *being)
{
	onlooker_start(crowd->arena, &being->child);
}

static void
start_stray(struct crowd *crowd, struct being *being)
{
	rogue_start_stray(&crowd->random, &being->child);
}

static void
start_hog(struct crowd *crowd, struct being *being)
{
	(void)crowd;
	rogue_start_hog(&being->child);
}

/* How many there are, how they come, when they are killed, and whether they end when the phase does. */
static const struct {
	const char *name;
	unsigned n;
	void (*start)(struct crowd *crowd, struct being *being);
	uint32_t life_ms;		/* at most; 0: nobody kills it */
	bool is_settled;		/* comes when the crowd gathers, and is not born again */
	bool attaches;			/* and insists on it: not while there are no descriptors */
	bool needs_root;
} kinds[KIND_N] = {
	[VISITOR] = { "visitor", 6, start_visitor, .is_settled = true, .attaches = true },
	[HEART] = { "heart", 1, start_heart, .is_settled = true, .attaches = true },
	[LISTENER] = { "listener", 2, start_listener, .is_settled = true, .attaches = true },
	[NEWCOMER] = { "newcomer", 2, start_newcomer },
	[CLERK] = { "clerk", 1, start_clerk, .is_settled = true },
	[TELLER] = { "teller", 5, start_teller, .life_ms = 1500, .attaches = true },
	[READER] = { "reader", 2, start_reader, .is_settled = true, .attaches = true },
	[CITIZEN] = { "citizen", 2, start_citizen, .is_settled = true, .attaches = true, .needs_root = true },
	[ROGUE] = { "rogue", 8, start_rogue, .life_ms = 2500 },
	[VANDAL] = { "vandal", 1, start_vandal, .life_ms = 3000, .attaches = true, .needs_root = true },
	[ONLOOKER] = { "onlooker", 1, start_onlooker, .life_ms = UINT32_MAX, .is_settled = true, .attaches = true, .needs_root = true },
	[STRAY] = { "stray", 2, start_stray, .life_ms = 3000 },
	[HOG] = { "hog", 2, start_hog, .life_ms = 4000 },
};

static bool
may_come(const struct crowd *crowd, enum kind kind)
{
	if (kinds[kind].needs_root && !soak_board->has_uids)
		return false;
	if (kinds[kind].attaches && soak_has_trouble(SOAK_TROUBLE_FDS))
		return false;
	return kind == STRAY ? crowd->has_strays : kind == HOG ? crowd->has_hogs : true;
}

static void
bear(struct crowd *crowd, enum kind kind)
{
	struct being *being = &beings[n_beings];

	harness_assert(n_beings < BEINGS_MAX, "more than %d processes", BEINGS_MAX);
	*being = (struct being) { .child = HARNESS_CHILD_NULL, .kind = kind, .seat = free_seat(kind) };
	kinds[kind].start(crowd, being);
	if (kinds[kind].life_ms)
		being->due_ns = clock_monotonic_ns() + (1 + soak_draw(&crowd->random, kinds[kind].life_ms)) * NS_PER_MS;
	n_beings++;
	n_of[kind]++;
	soak_count(SOAK_BORN);
}

void
crowd_gather(struct crowd *crowd)
{
	atomic_store(&soak_board->phase, SOAK_WORK);
	crowd->bank = bank_open("bank", soak_board->socket);
	crowd->bank->seed = soak_board->seed;
	atomic_store(&crowd->arena->is_over, false);
	for (unsigned kind = 0; kind < KIND_N; kind++)
		for (unsigned i = 0; i < kinds[kind].n && may_come(crowd, kind); i++)
			bear(crowd, kind);
	/* What works without having said that it is there: it is, before any trouble begins. */
	for (unsigned i = 0; i < kinds[READER].n; i++)
		while (!atomic_load(&crowd->bank->seats[BANK_FIRST_READER + i].n_reads))
			(void)poll(NULL, 0, 1);
	for (unsigned i = 0; i < kinds[CITIZEN].n && soak_board->has_uids; i++)
		while (!atomic_load(&crowd->arena->seats[i].since_ns) && !atomic_load(&crowd->arena->seats[i].n_sections))
			(void)poll(NULL, 0, 1);
}

/* What is not killed ends with 0. */
static void
bury(unsigned i)
{
	struct being being = beings[i];
	int status = harness_child_await(&being.child);

	beings[i] = beings[--n_beings];
	n_of[being.kind]--;
	harness_assert(status == 0 || (being.is_killed && status == -SIGKILL) || (being.kind == ROGUE && status == -SIGKILL),
	    "%.1f s after the beginning a %s (%u) ended with %d", soak_clock(), kinds[being.kind].name, being.seat, status);
	harness_assert(status != 0 || !kinds[being.kind].is_settled || atomic_load(&soak_board->phase) != SOAK_WORK,
	    "%.1f s after the beginning a %s ended by itself", soak_clock(), kinds[being.kind].name);
}

static void
kill_being(struct being *being)
{
	if (being->is_killed)
		return;
	being->is_killed = true;
	soak_count(SOAK_KILLED);
	(void)kill(being->child.pid, SIGKILL);
}

/* Those that have ended, once one has. */
static void
await_ends(int timeout_ms)
{
	struct pollfd fds[BEINGS_MAX];
	unsigned n = n_beings;

	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd) { .fd = beings[i].child.pidfd, .events = POLLIN };
	if (poll(fds, n, timeout_ms) <= 0)
		return;
	for (unsigned i = n; i-- > 0;)
		if (fds[i].revents)
			bury(i);
}

void
crowd_tend(struct crowd *crowd, int timeout_ms)
{
	uint64_t now_ns;
	unsigned n_births = 0;

	await_ends(timeout_ms);
	now_ns = clock_monotonic_ns();
	for (unsigned i = 0; i < n_beings; i++)
		if (beings[i].due_ns && beings[i].due_ns <= now_ns)
			kill_being(&beings[i]);
	for (unsigned kind = 0; kind < KIND_N; kind++)
		while (!kinds[kind].is_settled && n_of[kind] < kinds[kind].n && n_births < BIRTHS_MAX && may_come(crowd, kind)) {
			bear(crowd, kind);
			n_births++;
		}
	for (unsigned i = 0; i < n_beings && !crowd->has_hogs; i++)
		if (beings[i].kind == HOG)
			kill_being(&beings[i]);
}

static void
watch_times(const struct soak_times *times, const char *what)
{
	uint64_t since_ns = atomic_load(&times->since_ns), passed_ns = since_ns ? harness_passed_ns(since_ns) : 0;

	harness_assert(passed_ns < PATIENCE_NS, "%.1f s after the beginning %s takes %" PRIu64 " ms so far", soak_clock(), what,
	    passed_ns / NS_PER_MS);
}

void
crowd_watch(const struct crowd *crowd)
{
	bank_watch(crowd->bank, PATIENCE_NS);
	vandal_watch(crowd->arena, PATIENCE_NS);
	watch_times(&soak_board->beats, "a heartbeat");
	watch_times(&soak_board->attaches, "an attach");
}

static void
await_none_but(enum kind kept)
{
	uint64_t deadline_ns = harness_clock_ns() + 2 * PATIENCE_NS;

	for (;;) {
		const struct being *other = NULL;

		for (unsigned i = 0; i < n_beings; i++)
			if (beings[i].kind != kept)
				other = &beings[i];
		if (!other)
			return;
		harness_assert(harness_clock_ns() < deadline_ns, "a %s (%u, pid %d) does not end", kinds[other->kind].name, other->seat,
		    (int)other->child.pid);
		await_ends(100);
	}
}

static void
await_still(void)
{
	uint64_t deadline_ns = harness_clock_ns() + 2 * PATIENCE_NS;

	for (unsigned seat = 0; seat < kinds[VISITOR].n; seat++)
		while (!atomic_load(&soak_board->seats[seat].is_still)) {
			harness_assert(harness_clock_ns() < deadline_ns, "visitor %u does not stand still", seat);
			await_ends(1);
		}
}

void
crowd_still(struct crowd *crowd)
{
	/* First those in whose way others could be. */
	for (unsigned i = 0; i < n_beings; i++)
		if (kinds[beings[i].kind].life_ms && beings[i].kind != TELLER)
			kill_being(&beings[i]);
	atomic_store(&crowd->arena->is_over, true);
	atomic_store(&crowd->bank->is_closed, true);
	atomic_store(&soak_board->phase, SOAK_STILL);
	await_none_but(VISITOR);
	await_still();
}

void
crowd_disperse(struct crowd *crowd)
{
	struct harness_child auditor = HARNESS_CHILD_NULL;

	atomic_store(&soak_board->phase, SOAK_LEAVE);
	await_none_but(KIND_N);
	bank_start_auditor(crowd->bank, &auditor);
	bank_audit(&auditor);
	bank_free(crowd->bank);
	crowd->bank = NULL;
	honest_expect_ledger();
}

unsigned
crowd_n_visitors(void)
{
	return kinds[VISITOR].n;
}
