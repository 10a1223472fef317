/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One daemon after the other on one state directory, each killed somewhere in its start or when it is ready, and each with
 * another configuration of the same segment: another backend, or none. Guests have what they had, from whichever daemon; and
 * when one is let live, and nobody wants anything any more, nothing is left.
 */
#include "config.h"

#include <signal.h>

#include "client/segment.h"
#include "tests/system/killing.h"

#define N_KILLS		400
#define N_QUICK		24
#define N_GUESTS	4
#define N_KINDS		9		/* that are no templates */
#define LAST_STOP	240		/* beyond which it has long been ready */

struct storm {
	struct killing killing;
	struct actor guests[N_GUESTS];
	long seeds[N_GUESTS];		/* 0: there is no guest */
	unsigned n_stopped, n_ready, n_failed, n_guests;
	uint32_t random;
};

static uint32_t
draw(struct storm *storm, uint32_t n)
{
	storm->random = storm->random * 1664525 + 1013904223;
	return (storm->random >> 8) % n;
}

static void
expect_guests_whole(struct storm *storm)
{
	for (unsigned i = 0; i < N_GUESTS; i++) {
		long differs = storm->seeds[i] ? actor_do(&storm->guests[i], "differs %ld", storm->seeds[i]) : 0;

		killing_expect(&storm->killing, differs == 0, "what guest %u maps has changed at byte %ld", i, differs - 1);
	}
}

/* Another guest, if there is a segment; it has what others have, so that all of them have stored the same. */
static void
invite(struct storm *storm, unsigned i)
{
	long seed = 1 + (long)draw(storm, 200);

	actor_start_idle(&storm->guests[i], storm->killing.daemon.socket);
	if (actor_do(&storm->guests[i], "attach s %u", SEGMENT_WRITE | SEGMENT_NOWAIT) != 0) {
		actor_kill(&storm->guests[i]);
		return;
	}
	for (unsigned other = 0; other < N_GUESTS; other++)
		if (storm->seeds[other] && actor_do(&storm->guests[i], "differs %ld", storm->seeds[other]) == 0)
			seed = storm->seeds[other];
	actor_must(&storm->guests[i], 0, "fill %ld", seed);
	storm->seeds[i] = seed;
	storm->n_guests++;
}

static void
come_and_go(struct storm *storm)
{
	unsigned i = draw(storm, N_GUESTS);

	if (!storm->seeds[i]) {
		invite(storm, i);
		return;
	}
	actor_kill(&storm->guests[i]);
	storm->seeds[i] = 0;
}

static void
kill_one(struct storm *storm)
{
	struct killing *killing = &storm->killing;
	bool is_wanted = draw(storm, 4) != 0;

	killing->kind = &killing_kinds[draw(storm, N_KINDS)];
	killing->at = draw(storm, LAST_STOP);
	killing->is_wanted = is_wanted;
	if (killing_start(killing, is_wanted)) {
		storm->n_stopped++;
	} else {
		storm->n_ready += is_wanted && !strstr(killing->daemon.status, "failed");
		storm->n_failed += strstr(killing->daemon.status, "failed") != NULL;
		/* It is not stopped at any call from here on. */
		tracer_let_go(&killing_tracer, 0);
		come_and_go(storm);
	}
	harness_daemon_kill(&killing->daemon);
	killing_note(&killing->daemon, killing_describe(killing));
	expect_guests_whole(storm);
}

START_TEST(killed_again_and_again)
{
	static struct storm storm;
	struct killing *killing = &storm.killing;
	unsigned n = harness_is_full() ? N_KILLS * harness_scale() : N_QUICK;
	const char *seed = getenv("SEGMENTD_TEST_SEED");

	if (n < N_KILLS)
		printf("LEFT OUT: %u kills instead of %d; CHECK_FULL=1 has them all\n", n, N_KILLS);
	storm.random = seed ? (uint32_t)strtoul(seed, NULL, 0) : harness_is_full() ? (uint32_t)clock_realtime_ns() : 1;
	printf("SEGMENTD_TEST_SEED=%u\n", storm.random);
	world_enter();
	tracer_prepare(&killing_tracer);
	*killing = (struct killing) { .kind = &killing_kinds[0], .daemon = HARNESS_DAEMON_NULL };
	harness_daemon_prepare(&killing->daemon, NULL, "");
	for (unsigned i = 0; i < n; i++)
		kill_one(&storm);
	killing->is_wanted = false;
	killing_launch(killing, false, false);
	for (unsigned i = 0; i < N_GUESTS; i++) {
		expect_guests_whole(&storm);
		if (storm.seeds[i])
			actor_kill(&storm.guests[i]);
		storm.seeds[i] = 0;
	}
	world_await_empty("after all");
	ck_assert_int_eq(kill(killing->daemon.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&killing->daemon), 0);
	world_await_childless("after all");
	harness_daemon_remove(&killing->daemon);
	printf("%u kills: %u at their stop, %u when ready, %u when it had failed; %u guests\n", n, storm.n_stopped, storm.n_ready,
	    storm.n_failed, storm.n_guests);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("killstorm");
	TCase *tcase = tcase_create("killstorm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, killed_again_and_again);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
