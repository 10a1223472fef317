/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon gets SIGTERM at every system call of what it does with a segment, or while segmentd-audit is at one of a removal. It
 * ends by itself, and from outside nothing is to be found of it by then: no name, no key, no record, no mark beside a file, no
 * process. Who has the memory has it as it was, and the last of them ends it.
 *
 * As of the kills there are several programs of it, which run beside each other: each has some of the phases.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/system/killing.h"

#define N_MAX		140		/* stops of a start after a kill: behind them it only asks again whether somebody has gone */
#define N_QUICK		3		/* of a phase, in the quick check */
#define END_MAX_NS	(15 * NS_PER_SEC * harness_scale())	/* nobody keeps anything from it: far less than it would wait */

static uint64_t longest_ns;

/* Right at its end: by what others would find it nothing is left. */
static void
expect_unnamed(struct killing *killing)
{
	struct world world;

	world_look(&world);
	killing_expect(killing, world.n_objects == 0, "there is %s", world_describe(&world));
	for (size_t i = 0; i < world.n_memories; i++)
		killing_expect(killing, world.memories[i].key == 0, "there is %s", world_describe(&world));
}

/* Who maps a file may go on storing to it, and by the mark that stays the next start knows; else it goes. */
static void
expect_mark(struct killing *killing)
{
	if (killing->kind->by == KILLING_BY_PATH && (killing->is_mapping || !killing->has_guest))
		killing_expect(killing, killing_has_mark(killing) == killing->is_mapping, "the file's mark is %s",
		    killing->is_mapping ? "gone" : "left");
}

/* A file has what was stored, for who comes next. */
static void
expect_file_kept(struct killing *killing)
{
	struct actor newcomer;
	long differs;

	if (killing->kind->by != KILLING_BY_PATH || killing->phase == KILLING_CREATE)
		return;
	killing_launch(killing, true, true);
	actor_start(&newcomer, killing->daemon.socket, "s");
	differs = actor_do(&newcomer, "differs %d", KILLING_SEED);
	killing_expect(killing, differs == 0, "the file's contents differ at byte %ld", differs - 1);
	actor_kill(&newcomer);
	killing_stop(killing);
}

static void
expect_nothing_left(struct killing *killing)
{
	killing_expect(killing, killing->end_ns < END_MAX_NS, "its end took %ju ms", (uintmax_t)(killing->end_ns / NS_PER_MS));
	longest_ns = max_u64(longest_ns, killing->end_ns);
	expect_unnamed(killing);
	killing_expect_guest_whole(killing);
	expect_mark(killing);
	killing_end_guest(killing);
	expect_file_kept(killing);
	killing_await_cleared(killing);
	killing_expect_no_trace(killing);
}

/* One end. False: the phase has no stop of that number, and it ended after it. */
static bool
end_at(const struct killing_kind *kind, enum killing_phase phase, size_t at, bool is_held)
{
	struct killing killing = {
		.kind = kind, .phase = phase, .at = at, .is_orderly = true, .is_held = is_held,
		.daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .events = HARNESS_CONN_NULL,
	};
	bool is_stopped = killing_do(&killing);

	expect_nothing_left(&killing);
	return is_stopped;
}

/*
 * The signal is seen when the loop comes to it: of a system call the end will do. The quick check takes some that are spread over
 * the phase.
 */
static void
run_held(enum killing_phase phase, const struct killing_kind *kind, bool is_held)
{
	size_t n, n_ends = 0, n_done = 0, i_end = 0;
	static struct tracer_stop stops[TRACER_STOPS_MAX];

	(void)end_at(kind, phase, SIZE_MAX, is_held);
	n = min_u64(killing_tracer.n_stops, phase == KILLING_TAKE_OVER || (phase == KILLING_CLEAR && is_held) ? N_MAX : TRACER_STOPS_MAX);
	memcpy(stops, killing_tracer.stops, n * sizeof(*stops));
	for (size_t at = 0; at < n; at++)
		n_ends += stops[at].is_end;
	for (size_t at = 0; at < n; at++) {
		if (!stops[at].is_end)
			continue;
		if (harness_is_full() || i_end * N_QUICK / n_ends != (i_end + 1) * N_QUICK / n_ends) {
			(void)end_at(kind, phase, at, is_held);
			n_done++;
		}
		i_end++;
	}
	printf("%s, '%s'%s: ended at %zu of %zu stops, in %ju ms at most\n", killing_phase_names[phase], kind->name,
	    is_held ? "" : ", which nobody has", n_done, n, (uintmax_t)(longest_ns / NS_PER_MS));
}

static void
run(enum killing_phase phase, const struct killing_kind *kind)
{
	bool is_left = phase == KILLING_TAKE_OVER || phase == KILLING_CLEAR;
	/* Only workers can close a file that was left: that is another way to go. */
	bool is_quick = kind->is_quick || (is_left && kind->by == KILLING_BY_PATH);

	if ((phase != KILLING_CREATE && kind->is_only_made) || (!harness_is_full() && !is_quick))
		return;
	killing_prepare();
	run_held(phase, kind, true);
	if (is_left)
		run_held(phase, kind, false);
}

START_TEST(ended_while_it_makes_one)
{
	run(KILLING_CREATE, &killing_kinds[_i]);
}
END_TEST

START_TEST(ended_while_it_hands_one_out)
{
	run(KILLING_HAND_OUT, &killing_kinds[_i]);
}
END_TEST

START_TEST(ended_while_one_drains)
{
	run(KILLING_DRAIN, &killing_kinds[_i]);
}
END_TEST

START_TEST(ended_while_it_removes_one)
{
	run(KILLING_REMOVE, &killing_kinds[_i]);
}
END_TEST

START_TEST(ended_while_it_takes_over_what_another_left)
{
	run(KILLING_TAKE_OVER, &killing_kinds[_i]);
}
END_TEST

START_TEST(ended_while_it_clears_what_another_left)
{
	run(KILLING_CLEAR, &killing_kinds[_i]);
}
END_TEST

/* segmentd-audit is at a removal. */

enum ending_how {
	AUDIT_GOES_ON,
	AUDIT_IS_KILLED,		/* as the daemon ends */
	AUDIT_HAS_COMPANY,		/* somebody opens the object, if he finds it */
	ENDING_HOW_N
};

static const char *const how_names[ENDING_HOW_N] = { "goes on", "is killed", "meets somebody who opens it" };

static bool
is_step(const struct tracer_stop *stop)
{
	return stop->is_naming || stop->is_lease || stop->call == SYS_mkdirat || stop->call == SYS_mkdir || stop->call == SYS_rmdir;
}

static void __attribute__((noreturn))
become_audit(int peer)
{
	(void)dup2(peer, STDIN_FILENO);
	(void)syscall(SYS_close_range, 3u, ~0u, 0u);
	(void)execl(harness_audit_program(), "segmentd-audit", (char *)NULL);
	_exit(HARNESS_EXIT_FAILED);
}

/* Who comes first meets one that is traced; the others come when that one is there. */
static pid_t
serve_first(int fd, int turn)
{
	pid_t pid = harness_fork();

	if (pid)
		return pid;
	fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	(void)close(turn);
	tracer_let_trace();
	become_audit(fd);
}

static pid_t
serve_others(int fd, int turn)
{
	pid_t pid = harness_fork();
	char end;

	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGCHLD, SIG_IGN);
	harness_assert(read(turn, &end, sizeof(end)) == 0, "read: %s", strerror(errno));
	for (;;) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (harness_fork() == 0)
			become_audit(peer);
		(void)close(peer);
	}
}

/* Where there are no others the daemon is told so, and has none of its own. */
static pid_t
serve_audits(struct harness_daemon *daemon, bool has_others)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), turn[2];
	pid_t pid;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->audit);
	harness_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0, "%s: %s",
	    daemon->audit, strerror(errno));
	harness_assert(pipe2(turn, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	pid = serve_first(fd, turn[1]);
	(void)close(turn[1]);
	if (has_others)
		daemon->audit_pid = serve_others(fd, turn[0]);
	(void)close(turn[0]);
	(void)close(fd);
	return pid;
}

static void
serve_no_more(struct harness_daemon *daemon)
{
	if (daemon->audit_pid) {
		(void)kill(daemon->audit_pid, SIGKILL);
		(void)waitpid(daemon->audit_pid, NULL, 0);
	}
	daemon->audit_pid = 0;
	(void)unlink(daemon->audit);
}

/* Who meets a lease does not wait for it. */
static void *
come_by(int *ret_fd)
{
	void *data = MAP_FAILED;

	*ret_fd = open("/dev/shm/s", O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd >= 0)
		data = mmap(NULL, KILLING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	return data;
}

/* False: it has no stop of that number. */
static bool
end_at_audit(const struct killing_kind *kind, size_t at, enum ending_how how)
{
	struct killing killing = {
		.kind = kind, .phase = KILLING_CLEAR, .at = at, .is_orderly = true,
		.daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .events = HARNESS_CONN_NULL,
	};
	struct harness_daemon audit = HARNESS_DAEMON_NULL;
	static char before[KILLING_SIZE];
	void *data = MAP_FAILED;
	bool is_stopped;
	int fd = -1;

	harness_daemon_prepare(&killing.daemon, NULL, "");
	killing_leave_behind(&killing);
	audit.pid = serve_audits(&killing.daemon, true);
	killing_launch_only(&killing, false);
	tracer_take(&killing_tracer, &audit, -1);
	killing_tracer.counts = is_step;
	is_stopped = tracer_run(&killing_tracer, at, -1, killing_is_cleared, &killing);
	killing_tracer.counts = NULL;
	if (how == AUDIT_HAS_COMPANY && is_stopped)
		data = come_by(&fd);
	if (data != MAP_FAILED)
		memcpy(before, data, sizeof(before));
	killing_ask_end(&killing);
	tracer_let_go(&killing_tracer, how == AUDIT_IS_KILLED ? SIGKILL : 0);
	killing_await_end(&killing);
	serve_no_more(&killing.daemon);
	expect_unnamed(&killing);
	if (data != MAP_FAILED) {
		killing_expect(&killing, memcmp(before, data, sizeof(before)) == 0, "what somebody opened has changed");
		(void)munmap(data, KILLING_SIZE);
	}
	close_fd(&fd);
	expect_nothing_left(&killing);
	return is_stopped;
}

START_TEST(ended_while_segmentd_audit_removes_one)
{
	const struct killing_kind *kind = &killing_kinds[0];
	enum ending_how how = (enum ending_how)_i;
	size_t n, n_done = 0;

	killing_prepare();
	(void)end_at_audit(kind, SIZE_MAX, how);
	n = killing_tracer.n_stops;
	for (size_t at = 0; at < n; at++) {
		if (!harness_is_full() && at * N_QUICK / n == (at + 1) * N_QUICK / n)
			continue;
		(void)end_at_audit(kind, at, how);
		n_done++;
	}
	printf("segmentd-audit, which %s: ended at %zu of %zu stops, in %ju ms at most\n", how_names[how], n_done, n,
	    (uintmax_t)(longest_ns / NS_PER_MS));
}
END_TEST

/* What others left behind: it is removed, or it has its name. */
START_TEST(ended_while_an_orphan_is_removed)
{
	static const char rules[] = "orphans = ( { posix = \"/left*\"; after = \"100ms\"; action = \"remove\"; } );";
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	cleanup_close int fd = -1;
	struct world world;

	world_enter();
	harness_daemon_start(&daemon, NULL, rules);
	fd = open("/dev/shm/left", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close_fd(&fd);
	/* By then its name is gone, or is about to go, and it is decided some 10 ms later. */
	for (world_look(&world); world.n_objects != 1 || world_find(&world, "left"); world_look(&world))
		harness_assert(harness_clock_ns() < deadline_ns, "nobody removes it: %s", world_describe(&world));
	ck_assert_int_eq(kill(daemon.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon), 0);
	world_look(&world);
	harness_assert(world.n_objects == 0 || (world.n_objects == 1 && world_find(&world, "left")), "there is %s", world_describe(&world));
	(void)unlink("/dev/shm/left");
	world_await_empty("after its end");
	world_await_childless("after its end");
	harness_daemon_remove(&daemon);
}
END_TEST

int
main(void)
{
	const TTest *const tests[KILLING_PHASE_N] = {
		ended_while_it_makes_one, ended_while_it_hands_one_out, ended_while_one_drains, ended_while_it_removes_one,
		ended_while_it_takes_over_what_another_left, ended_while_it_clears_what_another_left,
	};
	Suite *suite = suite_create("stops");
	TCase *tcase;

	for (size_t i = STOPS_PART; i < STOPS_PART + STOPS_N; i++) {
		tcase = tcase_create(killing_phase_names[i]);
		tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
		tcase_add_loop_test(tcase, tests[i], 0, KILLING_N);
		suite_add_tcase(suite, tcase);
	}
	if (STOPS_PART + STOPS_N == KILLING_PHASE_N) {
		tcase = tcase_create("audit");
		tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
		tcase_add_loop_test(tcase, ended_while_segmentd_audit_removes_one, 0, ENDING_HOW_N);
		tcase_add_test(tcase, ended_while_an_orphan_is_removed);
		suite_add_tcase(suite, tcase);
	}
	if (!harness_is_full())
		printf("LEFT OUT: most stops, and most kinds of segments; CHECK_FULL=1 has them all\n");
	return harness_run(suite);
}
