/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon is killed at every system call of what it does with a segment; then another one starts, and the world is looked at
 * from outside: what the configuration wants is ready, as the same object where somebody could have seen it; what somebody maps
 * is as it was; and of all else nothing is left, named or not.
 *
 * Most of that is waiting. So there are four programs of it, which run beside each other: each has one or two of the phases.
 */
#include "config.h"

#include <poll.h>

#include "client/segment.h"
#include "tests/system/killing.h"

#define N_MAX		140		/* stops of a start after a kill: behind them it only asks again whether somebody has gone */
#define N_QUICK		3		/* kills of a phase that the quick check does */
#define N_LAST		40		/* stops of a start that clears what nobody has: the removal */

static bool
is_by_name(const struct killing *killing)
{
	return killing->kind->by == KILLING_BY_NAME || killing->kind->by == KILLING_BY_KEY || killing->kind->by == KILLING_BY_RECORD;
}

/* What has locks, or was on its way out already, is made when nobody has the old one any more. */
static void
await_segment(struct killing *killing)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct harness_reply shown;
	int r = harness_wait(&killing->conn, "s");

	if (r != PROTOCOL_READY && killing->is_mapping && (killing->kind->has_locks || killing->phase == KILLING_DRAIN)) {
		killing_expect_guest_whole(killing);
		killing_end_guest(killing);
		while (r != PROTOCOL_READY && harness_clock_ns() < deadline_ns)
			r = harness_wait(&killing->conn, "s");
	}
	ck_assert_int_eq(harness_show(&killing->conn, "s", &shown), 0);
	killing_expect(killing, r == PROTOCOL_READY, "the segment is in state %d: %s", r, harness_reason(&shown));
}

/* Who was in the middle of its removal has either finished that, or found somebody who has it, and given its name back. */
static void
await_decision(struct killing *killing)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	const struct world_object *object, *old_object = world_find(&killing->before, "s");
	struct world world;

	if (!killing->is_undecided)
		return;
	for (world_look(&world); world.n_objects > 1; world_look(&world)) {
		killing_expect(killing, harness_clock_ns() < deadline_ns, "there is %s", world_describe(&world));
		(void)poll(NULL, 0, 1);
	}
	object = world_find(&world, "s");
	killing->is_filled = object && old_object && object->inode == old_object->inode;
}

/* What others find it by: what there is, and what there was. */
static void
expect_found(struct killing *killing)
{
	const struct world_object *object, *old_object = world_find(&killing->before, "s");
	const struct world_memory *memory, *old_memory = killing_find_memory(killing, &killing->before);
	bool is_same = killing->is_filled || (killing->is_mapping && !killing->is_removed && killing->phase == KILLING_DRAIN &&
	    killing->kind->by != KILLING_BY_RECORD);
	struct world world;

	world_look(&world);
	object = world_find(&world, "s");
	memory = killing_find_memory(killing, &world);
	killing_expect(killing, world.n_objects == (killing->kind->by == KILLING_BY_NAME) && !object == !world.n_objects,
	    "there is %s", world_describe(&world));
	killing_expect(killing, !memory == (killing->kind->by != KILLING_BY_KEY && killing->kind->by != KILLING_BY_RECORD),
	    "there is %s", world_describe(&world));
	if (is_same && object && old_object)
		killing_expect(killing, object->inode == old_object->inode, "it is inode %ju now, and was %ju",
		    (uintmax_t)object->inode, (uintmax_t)old_object->inode);
	if (is_same && memory && old_memory)
		killing_expect(killing, memory->id == old_memory->id, "it has id %d now, and had %d", memory->id, old_memory->id);
	if (killing->is_removed && killing->is_mapping && object && old_object)
		killing_expect(killing, object->inode != old_object->inode, "its name was gone, and is there again");
}

/* Somebody who comes now finds what there was, or zeros. */
static void
expect_contents(struct killing *killing)
{
	bool is_kept = (killing->is_filled && is_by_name(killing)) ||
	    (killing->kind->by == KILLING_BY_PATH && killing->phase != KILLING_CREATE);
	struct actor newcomer;
	long differs;

	actor_start(&newcomer, killing->daemon.socket, "s");
	differs = actor_do(&newcomer, "differs %d", is_kept ? KILLING_SEED : 0);
	/* What was about to be removed is made anew, or taken over as it was. */
	if (differs && !is_kept && !killing->is_removed &&
	    (killing->phase == KILLING_DRAIN || killing->phase == KILLING_REMOVE))
		differs = actor_do(&newcomer, "differs %d", KILLING_SEED);
	killing_expect(killing, differs == 0, "the segment's contents differ at byte %ld", differs - 1);
	if (killing->is_filled && is_by_name(killing))
		killing_expect(killing, actor_do(&newcomer, "generation") == killing->generation, "it has another generation");
	actor_kill(&newcomer);
}

/* To who has been a client before the kill it is the same segment; the library has connected again. */
static void
expect_same_to_guest(struct killing *killing)
{
	long r = actor_do(&killing->guest, "attach s %u", SEGMENT_WRITE);

	killing_expect(killing, r == 0, "the guest cannot attach it again: %ld", r);
	killing_expect(killing, actor_do(&killing->guest, "generation") == killing->generation, "it is another one to the guest");
	killing_expect_guest_whole(killing);
}

static void
expect_wanted(struct killing *killing)
{
	struct protocol_segment row;

	if (killing->kind->is_template)
		return;
	await_segment(killing);
	await_decision(killing);
	expect_found(killing);
	if (killing->is_mapping && killing->is_filled && is_by_name(killing)) {
		ck_assert_int_eq(harness_find(&killing->conn, "s", &row), 0);
		killing_expect(killing, row.others + row.readers + row.writers > 0, "nobody is said to have it");
		expect_same_to_guest(killing);
	}
	expect_contents(killing);
}

/* Nobody wants it: what is held stays until it is not. */
static void
expect_unwanted(struct killing *killing)
{
	const struct world_object *object = world_find(&killing->before, "s");
	const struct world_memory *memory = killing_find_memory(killing, &killing->before);
	struct world world;

	/* What was to be removed at once may be, now. */
	if (!killing->is_mapping || killing->phase == KILLING_REMOVE)
		return;
	world_look(&world);
	if (object)
		killing_expect(killing, world_find_inode(&world, object->inode), "somebody has it, and its name is gone: %s",
		    world_describe(&world));
	if (memory)
		killing_expect(killing, killing_find_memory(killing, &world), "somebody has it, and its key is gone: %s",
		    world_describe(&world));
}

/* One kill. False: the phase has no stop of that number, and the daemon was killed at its end. */
static bool
kill_at(const struct killing_kind *kind, enum killing_phase phase, size_t at, bool is_wanted, bool is_held)
{
	struct killing killing = {
		.kind = kind, .phase = phase, .at = at, .is_wanted = is_wanted, .is_held = is_held,
		.daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .events = HARNESS_CONN_NULL,
	};
	bool is_stopped = killing_do(&killing);

	killing_launch(&killing, is_wanted, false);
	harness_open(&killing.conn, killing.daemon.socket);
	killing_expect_guest_whole(&killing);
	if (is_wanted)
		expect_wanted(&killing);
	else
		expect_unwanted(&killing);
	killing_expect_guest_whole(&killing);
	killing_end_guest(&killing);
	if (!is_wanted)
		killing_await_cleared(&killing);
	killing_stop(&killing);
	world_await_empty(killing_describe(&killing));
	killing_expect_no_trace(&killing);
	return is_stopped;
}

/* Where it can be killed; to learn that it is, at the end. What waits until somebody has gone asks again and again: not of all. */
static size_t
learn_stops(const struct killing_kind *kind, enum killing_phase phase, bool is_held, struct tracer_stop *ret_stops)
{
	size_t n;

	(void)kill_at(kind, phase, SIZE_MAX, true, is_held);
	n = min_u64(killing_tracer.n_stops, phase == KILLING_TAKE_OVER || (phase == KILLING_CLEAR && is_held) ? N_MAX : TRACER_STOPS_MAX);
	memcpy(ret_stops, killing_tracer.stops, n * sizeof(*ret_stops));
	printf("%s, '%s'%s: %zu stops\n", killing_phase_names[phase], kind->name, is_held ? "" : ", which nobody has", n);
	return n;
}

/* The quick check's: where something is made, named or recorded, spread over the phase. */
static void
kill_at_some(const struct killing_kind *kind, enum killing_phase phase, bool is_held, const struct tracer_stop *stops, size_t n)
{
	size_t n_naming = 0, i_naming = 0;

	for (size_t i = 0; i < n; i++)
		n_naming += stops[i].is_naming;
	for (size_t i = 0; i < n; i++) {
		if (!stops[i].is_naming)
			continue;
		if (i_naming * N_QUICK / n_naming != (i_naming + 1) * N_QUICK / n_naming)
			(void)kill_at(kind, phase, i, i / 2 % 2, is_held);
		i_naming++;
	}
}

/*
 * All. From the end of one system call to the beginning of the next the kernel does nothing, and so the ends alone would do; what
 * makes and names something is stopped at its beginning, too, and its end is seen by both kinds of next ones. Where somebody may
 * have it still or not, every other two are of either; all of a removal are of nobody.
 */
static void
kill_at_all(const struct killing_kind *kind, enum killing_phase phase, bool is_held, const struct tracer_stop *stops, size_t n)
{
	bool has_all = harness_scale() > 1, has_held = phase == KILLING_TAKE_OVER || phase == KILLING_CLEAR;

	for (size_t at = 0; at < n; at++) {
		bool is_wanted = at / 2 % 2, is_removal = !is_held && stops[at].is_naming && at + N_LAST >= n;

		if (!has_all && ((!stops[at].is_naming && !stops[at].is_end) || (has_held && at / 4 % 2 != is_held && !is_removal)))
			continue;
		(void)kill_at(kind, phase, at, is_wanted, is_held);
		if (has_all || (stops[at].is_naming && stops[at].is_end))
			(void)kill_at(kind, phase, at, !is_wanted, is_held);
	}
}

static void
run_held(enum killing_phase phase, const struct killing_kind *kind, bool is_held)
{
	static struct tracer_stop stops[TRACER_STOPS_MAX];
	size_t n = learn_stops(kind, phase, is_held, stops);

	if (harness_is_full())
		kill_at_all(kind, phase, is_held, stops, n);
	else
		kill_at_some(kind, phase, is_held, stops, n);
}

static void
run(enum killing_phase phase, const struct killing_kind *kind)
{
	if ((phase != KILLING_CREATE && kind->is_only_made) || (!harness_is_full() && !kind->is_quick))
		return;
	killing_prepare();
	run_held(phase, kind, true);
	if (phase == KILLING_TAKE_OVER || phase == KILLING_CLEAR)
		run_held(phase, kind, false);
}

START_TEST(killed_while_it_makes_one)
{
	run(KILLING_CREATE, &killing_kinds[_i]);
}
END_TEST

START_TEST(killed_while_it_hands_one_out)
{
	run(KILLING_HAND_OUT, &killing_kinds[_i]);
}
END_TEST

START_TEST(killed_while_one_drains)
{
	run(KILLING_DRAIN, &killing_kinds[_i]);
}
END_TEST

START_TEST(killed_while_it_removes_one)
{
	run(KILLING_REMOVE, &killing_kinds[_i]);
}
END_TEST

START_TEST(killed_while_it_takes_over_what_another_left)
{
	run(KILLING_TAKE_OVER, &killing_kinds[_i]);
}
END_TEST

START_TEST(killed_while_it_clears_what_another_left)
{
	run(KILLING_CLEAR, &killing_kinds[_i]);
}
END_TEST

int
main(void)
{
	const TTest *const tests[KILLING_PHASE_N] = {
		killed_while_it_makes_one, killed_while_it_hands_one_out, killed_while_one_drains, killed_while_it_removes_one,
		killed_while_it_takes_over_what_another_left, killed_while_it_clears_what_another_left,
	};
	Suite *suite = suite_create("kills");

	for (size_t i = KILLS_PART; i < KILLS_PART + KILLS_N; i++) {
		TCase *tcase = tcase_create(killing_phase_names[i]);

		tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
		tcase_add_loop_test(tcase, tests[i], 0, KILLING_N);
		suite_add_tcase(suite, tcase);
	}
	if (!harness_is_full())
		printf("LEFT OUT: most stops, and most kinds of segments; CHECK_FULL=1 has them all\n");
	return harness_run(suite);
}
