/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Everything at once, for as long as asked: clients of many users come, work, misbehave and die, while the daemon is killed, handed
 * over, reloaded, and has too little of this and that. Only a promise that is broken fails it, whatever the order of things: the
 * honest ones are refused nothing but as documented, their sums stand, counts are the kernel's, memory is never taken from who maps
 * it, and when all have gone the daemon has what it had before.
 *
 *	SOAK_MINUTES	how long; without it, some seconds
 *	SOAK_SEED	what is drawn from; without it, the clock. Processes' own order is the scheduler's
 *	SOAK_LOGS	a directory that the daemon's log is copied to when something is broken
 *
 * The last third is without restarts: one daemon's use of memory is followed.
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>

#include "tests/soak/board.h"
#include "tests/soak/honest.h"
#include "tests/soak/quiet.h"
#include "tests/soak/stalls.h"
#include "tests/system/surviving.h"
#include "tests/system/world.h"

#define TURN_MS		5
#define QUIET_S		20		/* of a long soak, from one quiet point to the next */
#define DAEMON_S	300		/* and from one daemon that is stopped to the next */

static struct operator operator;
static struct crowd crowd;
static struct quiet quiet;

static uint64_t
seconds_asked(void)
{
	const char *text = getenv("SOAK_MINUTES");
	double minutes = text ? strtod(text, NULL) : 0;

	return minutes > 0 ? (uint64_t)(minutes * 60) : harness_is_full() ? 30 : 8;
}

static bool
is_long(void)
{
	return seconds_asked() > 60;
}

static void
save_log(const char *dir)
{
	char path[512], bytes[65536];
	cleanup_fclose FILE *from = fopen(operator.manager.daemon.log, "re");
	cleanup_fclose FILE *to = NULL;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/soak-%" PRIu64 ".log", dir, soak_board->seed);
	to = fopen(path, "we");
	while (from && to && (n = fread(bytes, 1, sizeof(bytes), from)) > 0)
		(void)fwrite(bytes, 1, n, to);
	(void)printf("the daemon's log is in %s\n", path);
}

/* In the test's process, before it fails. */
static void
tell(const char *text)
{
	const char *dir = getenv("SOAK_LOGS");

	if (!soak_board)
		return;
	(void)printf("VIOLATION %.1f s after the beginning: %s\n", soak_clock(), text);
	(void)printf("the daemon is %d: %s\n", (int)operator.manager.daemon.pid,
	    operator.manager.daemon.pid > 0 && kill(operator.manager.daemon.pid, 0) == 0 ? "there" : "gone");
	if (dir)
		save_log(dir);
	soak_board_print();
	quiet_print(&quiet);
}

static void
begin(bool has_own_world)
{
	operator_prepare(&operator, has_own_world, soak_board->seed + atomic_load(&soak_board->figures[SOAK_STOPS]));
	operator_start(&operator);
	honest_fill();
	quiet_begin(&quiet, &operator);
	if (!crowd.arena)
		crowd.arena = vandal_scene_new(soak_board->socket);
	crowd.has_strays = has_own_world;
}

static void
work_until(uint64_t until_ns)
{
	uint64_t watched_ns = 0;

	while (clock_monotonic_ns() < until_ns) {
		crowd_tend(&crowd, TURN_MS);
		operator_work(&operator, &crowd);
		stalls_look(operator.manager.daemon.pid);
		if (clock_monotonic_ns() - watched_ns < 200 * NS_PER_MS)
			continue;
		watched_ns = clock_monotonic_ns();
		crowd_watch(&crowd);
		operator_watch(&operator);
	}
}

static void
end(void)
{
	operator_stop(&operator);
	if (operator.has_own_world)
		world_await_empty("after the stop");
}

/* A daemon's life with quiet points, and those who follow it. */
static void
live(uint64_t until_ns)
{
	uint64_t pause_ns = (is_long() ? QUIET_S * NS_PER_SEC : seconds_asked() * NS_PER_SEC / 4);

	while (clock_monotonic_ns() < until_ns) {
		crowd_gather(&crowd);
		work_until(min_u64(clock_monotonic_ns() + pause_ns, until_ns));
		quiet_look(&quiet, &operator, &crowd);
		if (is_long())
			(void)printf("%8.1f s: %" PRIu64 " misdeeds, %" PRIu64 " sections, %" PRIu64 " restarts, %" PRIu64 " heartbeats, the "
			    "longest %.1f ms; fds %zu, RSS %" PRIu64 " KiB\n", soak_clock(), soak_board->figures[SOAK_MISDEEDS],
			    soak_board->figures[SOAK_SECTIONS], soak_board->figures[SOAK_KILLS] + soak_board->figures[SOAK_HANDOVERS],
			    soak_board->figures[SOAK_HEARTBEATS], (double)soak_board->beats.longest_ns / 1e6,
			    quiet.points[quiet.n - 1].fds, quiet.points[quiet.n - 1].rss_kib);
		(void)fflush(stdout);
	}
}

START_TEST(everything_at_once)
{
	const char *seed = getenv("SOAK_SEED");
	bool has_own_world = geteuid() == 0;
	uint64_t begun_ns = clock_monotonic_ns(), end_ns = begun_ns + seconds_asked() * NS_PER_SEC;

	if (has_own_world)
		world_enter();
	soak_board_make(seed ? strtoull(seed, NULL, 0) : is_long() ? clock_realtime_ns() : 1);
	(void)printf("SOAK_SEED=%" PRIu64 ", %" PRIu64 " seconds\n", soak_board->seed, seconds_asked());
	(void)fflush(NULL);
	harness_on_failure(tell);
	crowd.random = soak_board->seed;
	/* Restarts, and a stop now and then. */
	do {
		begin(has_own_world);
		live(min_u64(clock_monotonic_ns() + DAEMON_S * NS_PER_SEC, begun_ns + (end_ns - begun_ns) * 2 / 3));
		if (clock_monotonic_ns() < begun_ns + (end_ns - begun_ns) * 2 / 3)
			end();
	} while (clock_monotonic_ns() < begun_ns + (end_ns - begun_ns) * 2 / 3);
	operator.is_calm = true;
	live(end_ns);
	end();
	soak_board_print();
	stalls_print();
	quiet_print(&quiet);
	(void)printf("%14.1f  s: the longest that the watchdog waited, of %d s\n", (double)operator.longest_watchdog_ns / 1e9, 20);
	quiet_expect_level(&quiet);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("soak");
	TCase *tcase = tcase_create("soak");

	/* Whatever is waited for in vain has been told by then. */
	tcase_set_timeout(tcase, 300 + (double)seconds_asked() * 2);
	tcase_add_test(tcase, everything_at_once);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
