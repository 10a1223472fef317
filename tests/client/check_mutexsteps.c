/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The recovery of an application's mutex, killed after each of its instructions, and begun again from every state that
 * this can leave; met by a client at each of them; and with every compare-and-swap of it made to fail.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "client/mutex.h"
#include "tests/client/locker.h"
#include "tests/client/stepper.h"

#define MARGIN		32		/* of the range, before the mutex and behind it */
#define DEAD		UINT32_C(0x3ffff0)	/* below the kernel's highest id, and no process of this test */
#define PATTERN		0x5a
#define STATES_MAX	512
#define DAILY_STRIDE	5
#define N_MET		3		/* scenarios in which a client comes: the others are their ends */

/* The range is all of it: the mutex lies inside. */
struct state {
	unsigned char before[MARGIN];
	pthread_mutex_t mutex;
	unsigned char after[MARGIN];
};

static struct state *shared;

struct scenario {
	const char *name;
	uint32_t word;
	enum control_on_death on_death;
};

static const struct scenario scenarios[] = {
	{ "keep, stuck", DEAD, CONTROL_KEEP },
	{ "zero, stuck", DEAD | MUTEX_WAITERS, CONTROL_ZERO },
	{ "zero, marked", MUTEX_OWNER_DIED | MUTEX_WAITERS, CONTROL_ZERO },
	{ "zero, claimed", MUTEX_ID_CLAIM, CONTROL_ZERO },
	{ "keep, marked", MUTEX_OWNER_DIED, CONTROL_KEEP },
	{ "keep, claimed", MUTEX_ID_CLAIM | MUTEX_WAITERS, CONTROL_KEEP },
};

static void
set_word(uint32_t word)
{
	atomic_store((_Atomic uint32_t *)(void *)&shared->mutex, word);
}

static void
fill(unsigned char value)
{
	memset(shared->before, value, MARGIN);
	memset(shared->after, value, MARGIN);
}

static bool
filled_with(unsigned char value)
{
	for (size_t i = 0; i < MARGIN; i++)
		if (shared->before[i] != value || shared->after[i] != value)
			return false;
	return true;
}

static void
prepare(const struct scenario *scenario)
{
	locker_make(&shared->mutex);
	fill(PATTERN);
	set_word(scenario->word);
}

static int
recover(void *arg)
{
	const struct scenario *scenario = arg;
	struct mutex_death death = { &shared->mutex, DEAD, scenario->on_death, shared, sizeof(*shared), control_copy };

	return mutex_recover(&death);
}

static pid_t
start_recovery(const struct scenario *scenario)
{
	return stepper_start(recover, (void *)scenario);
}

/* One processor for all: a step is a switch to the stepped process and back. */
static void
share_processor(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void
set_up(void)
{
	locker_need_plain_pthread();
	share_processor();
	shared = locker_memory(sizeof(*shared));
	/* Symbols are looked up before the steps are counted, whatever way this was linked. */
	prepare(&scenarios[1]);
	ck_assert_int_eq(recover((void *)&scenarios[1]), MUTEX_E_RECOVERED);
	/* No process may have the dead one's id. */
	ck_assert_msg(kill((pid_t)DEAD, 0) != 0 && errno == ESRCH, "process %u exists", (unsigned)DEAD);
}

/* What the recovery promised, as a pthread client finds it: this process is one. */
static void
expect_recovered(const struct scenario *scenario, unsigned n)
{
	int r = pthread_mutex_trylock(&shared->mutex);

	ck_assert_msg(r == EOWNERDEAD, "%s, killed at %u: the next locker gets %d, the word is %#x", scenario->name, n, r,
	    mutex_word(&shared->mutex));
	ck_assert_msg(filled_with(scenario->on_death == CONTROL_ZERO ? 0 : PATTERN), "%s, killed at %u: wrong bytes",
	    scenario->name, n);
	ck_assert_int_eq(pthread_mutex_consistent(&shared->mutex), 0);
	ck_assert_int_eq(pthread_mutex_unlock(&shared->mutex), 0);
	ck_assert_uint_eq(mutex_word(&shared->mutex) & ~MUTEX_WAITERS, 0);
	ck_assert_int_eq(pthread_mutex_trylock(&shared->mutex), 0);
}

struct states {
	struct state rows[STATES_MAX];
	size_t n;
};

static void
add_state(struct states *states, const struct state *state)
{
	for (size_t i = 0; i < states->n; i++)
		if (memcmp(&states->rows[i], state, sizeof(*state)) == 0)
			return;
	ck_assert_uint_lt(states->n, STATES_MAX);
	states->rows[states->n++] = *state;
}

/*
 * From one state, after each instruction: what a kill there would leave (memory is all that a recovery leaves) is mended by
 * one more recovery, and is one more state to begin from.
 */
static unsigned
sweep(const struct scenario *scenario, struct states *states, size_t from)
{
	struct state left;
	unsigned n = 0;
	pid_t pid;

	memcpy(shared, &states->rows[from], sizeof(*shared));
	pid = start_recovery(scenario);
	do {
		int r;

		memcpy(&left, shared, sizeof(left));
		add_state(states, &left);
		r = recover((void *)scenario);
		ck_assert_msg(r == MUTEX_E_RECOVERED || r == MUTEX_E_MARKED, "%s, cut off at %u: then %d", scenario->name, n, r);
		expect_recovered(scenario, n);
		ck_assert_int_eq(pthread_mutex_unlock(&shared->mutex), 0);
		memcpy(shared, &left, sizeof(left));
		n++;
	} while (stepper_step(pid));
	stepper_kill(pid);
	return n;
}

START_TEST(recovery_cut_off_at_every_instruction_is_mended_by_the_next)
{
	static struct states states;
	unsigned n_positions = 0, n_states = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(scenarios); i++) {
		prepare(&scenarios[i]);
		states.n = 0;
		add_state(&states, shared);
		/* Until no new state comes up: then it holds for recoveries of killed recoveries, however many. */
		for (size_t from = 0; from < states.n; from++)
			n_positions += sweep(&scenarios[i], &states, from);
		n_states += (unsigned)states.n;
	}
	printf("a recovery cut off at all of %u positions, from all of %u states: each mended by the next\n", n_positions,
	    n_states);
	ck_assert_uint_gt(n_states, BASE_ARRAY_SIZE(scenarios));
}
END_TEST

/* Its own instructions are what is to be swept, and their number goes into the time by its square. */
static void
need_plain_code(void)
{
	if (harness_has_sanitizers())
		harness_skip("built with sanitizers, whose instructions would be most of those swept");
}

/* Where not all the time is for this, as many from one instruction to the next that is swept. */
static unsigned
stride(void)
{
	if (harness_is_full())
		return 1;
	printf("LEFT OUT: all but one in %d instructions; CHECK_FULL=1 sweeps each\n", DAILY_STRIDE);
	return DAILY_STRIDE;
}

/* While a recovery stands between two instructions a client comes, and the recovery goes on. */
START_TEST(client_that_gets_it_in_between_is_not_disturbed)
{
	unsigned n_positions = 0, n_had = 0, every;

	need_plain_code();
	every = stride();
	for (size_t i = 0; i < N_MET; i++) {
		const struct scenario *scenario = &scenarios[i];
		bool is_through = false;

		for (unsigned n = 0; !is_through; n += every, n_positions++) {
			uint32_t word;
			pid_t pid;
			int r;

			prepare(scenario);
			pid = start_recovery(scenario);
			is_through = stepper_run(pid, n);
			r = pthread_mutex_trylock(&shared->mutex);
			ck_assert_msg(r == EBUSY || r == EOWNERDEAD, "%s, at %u: a client gets %d", scenario->name, n, r);
			if (r == EBUSY) {
				(void)stepper_finish(pid);
				expect_recovered(scenario, n);
				continue;
			}
			n_had++;
			/* It was marked from the beginning, or it has to be done. */
			if (scenario->word & MUTEX_OWNER_DIED)
				ck_assert(filled_with(PATTERN) || filled_with(0));
			else
				ck_assert(filled_with(scenario->on_death == CONTROL_ZERO ? 0 : PATTERN));
			fill(0x33);
			word = mutex_word(&shared->mutex);
			(void)stepper_finish(pid);
			ck_assert_msg(filled_with(0x33) && mutex_word(&shared->mutex) == word,
			    "%s, at %u: robbed of it, the word is %#x", scenario->name, n, mutex_word(&shared->mutex));
		}
	}
	printf("a recovery met by a client at %u positions, %u times had by it\n", n_positions, n_had);
	ck_assert_uint_gt(n_had, 0);
}
END_TEST

/* Locks whenever it is told to, and says how that went. */
static void
serve_locks(int control, void *arg)
{
	for (;;) {
		int r;

		harness_expect(control, "lock");
		r = pthread_mutex_lock(&shared->mutex);
		if (r == EOWNERDEAD) {
			harness_assert(pthread_mutex_consistent(&shared->mutex) == 0, "consistent");
			harness_assert(pthread_mutex_unlock(&shared->mutex) == 0, "unlock");
		}
		harness_say(control, r == EOWNERDEAD ? "died" : "other");
	}
}

/* Of which nobody else will wake it. */
START_TEST(sleeper_gets_it_whichever_instruction_the_recovery_is_killed_at)
{
	struct harness_child sleeper = HARNESS_CHILD_NULL;
	unsigned n_positions = 0, every;

	need_plain_code();
	every = stride();
	harness_child_start(&sleeper, serve_locks, NULL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(scenarios); i++) {
		const struct scenario *scenario = &scenarios[i];
		bool is_through = false;

		for (unsigned n = 0; !is_through; n += every, n_positions++) {
			pid_t pid;

			prepare(scenario);
			set_word(DEAD);
			harness_say(sleeper.control, "lock");
			locker_await_bits(&shared->mutex, MUTEX_WAITERS);
			locker_await_state(sleeper.pid, 'S');
			set_word(scenario->word | MUTEX_WAITERS);
			pid = start_recovery(scenario);
			is_through = stepper_run(pid, n);
			stepper_kill(pid);
			(void)recover((void *)scenario);
			harness_expect(sleeper.control, "died");
			ck_assert(filled_with(scenario->on_death == CONTROL_ZERO ? 0 : PATTERN));
		}
	}
	printf("a recovery killed at %u positions: a sleeper gets it each time\n", n_positions);
	harness_child_kill(&sleeper);
}
END_TEST

/* The recovery, with the word changed right before each compare-and-swap from when on it names `from`. */
static int
recover_under_changes(const struct scenario *scenario, uint32_t from)
{
	unsigned n_steps = 0;
	pid_t pid;

	prepare(scenario);
	pid = start_recovery(scenario);
	do {
		uint32_t expected;

		if (stepper_before_exchange(pid, &expected) && (expected & MUTEX_ID_MASK) == from)
			set_word(expected ^ MUTEX_WAITERS);
		ck_assert_uint_lt(++n_steps, 1000000);
	} while (stepper_step(pid));
	return stepper_finish(pid);
}

/* The recovery gives up, says so, and can be called again. */
START_TEST(word_changed_under_every_try_is_said)
{
	static const struct {
		uint32_t from;
		enum control_on_death on_death;
	} rows[] = {
		{ DEAD, CONTROL_KEEP },
		{ DEAD, CONTROL_ZERO },
		{ MUTEX_ID_CLAIM, CONTROL_ZERO },
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		struct scenario scenario = { "busy", DEAD, rows[i].on_death };

		ck_assert_int_eq(recover_under_changes(&scenario, rows[i].from), MUTEX_E_BUSY);
		ck_assert_uint_eq(mutex_word(&shared->mutex) & MUTEX_ID_MASK, rows[i].from);
		ck_assert_int_eq(recover(&scenario), MUTEX_E_RECOVERED);
		expect_recovered(&scenario, 0);
	}
}
END_TEST

/* A peer that takes the claim away in the midst of it harms its own segment's contents; the word is left as it is. */
START_TEST(claim_taken_away_is_not_forced)
{
	struct scenario scenario = { "robbed", DEAD, CONTROL_ZERO };
	pid_t pid;

	prepare(&scenario);
	pid = start_recovery(&scenario);
	while ((mutex_word(&shared->mutex) & MUTEX_ID_MASK) != MUTEX_ID_CLAIM)
		ck_assert(stepper_step(pid));
	set_word((uint32_t)getpid());
	ck_assert_int_eq(stepper_finish(pid), 0);
	ck_assert_uint_eq(mutex_word(&shared->mutex), (uint32_t)getpid());
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mutexsteps");
	TCase *tcase = tcase_create("mutexsteps");

	tcase_add_checked_fixture(tcase, set_up, NULL);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, recovery_cut_off_at_every_instruction_is_mended_by_the_next);
	tcase_add_test(tcase, client_that_gets_it_in_between_is_not_disturbed);
	tcase_add_test(tcase, sleeper_gets_it_whichever_instruction_the_recovery_is_killed_at);
	tcase_add_test(tcase, word_changed_under_every_try_is_said);
	tcase_add_test(tcase, claim_taken_away_is_not_forced);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
