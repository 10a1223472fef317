/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon below a service manager is killed at every system call that changes something: while it starts, while it takes over what
 * another one left, and while it does what it was asked for. Then the manager starts the next one, and the world is looked at from
 * outside: nothing has changed but what was asked for, and that once; who is connected stays so, and is answered; and nothing has
 * become more.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include "tests/system/outliving.h"
#include "tests/system/suite.h"

#define N_QUICK		3		/* kills of a phase that the quick check does */
#define KIND_MEMFD	2		/* of surviving_kinds: each has locks */
#define KIND_POSIX	4
#define KIND_SYSV	6
#define KIND_FILE	10
#define KIND_ALONE	3		/* posix without locks */
#define TEMPLATES	"templates = ( { name = \"t-\"; max_size = \"64KiB\"; lifetime = \"persistent\"; mlock = false; } );"

/* Those that are taken over: what is asked for is no different with others, and a first start has nothing in a box (check_kills). */
static const unsigned kinds[] = { KIND_MEMFD, KIND_POSIX, KIND_SYSV, KIND_FILE };
#define N_STARTED	2		/* of them, all the same */

static struct harness_manager manager;
static unsigned n_kills;

/* Before and after. */

static void
configure(const struct surviving_kind *kind)
{
	char body[2048];

	(void)snprintf(body, sizeof(body), "%s\n" TEMPLATES, surviving_body(kind, manager.daemon.dir));
	harness_daemon_configure(&manager.daemon, NULL, body);
}

static void
open_lasting(struct harness_conn *conn)
{
	harness_open(conn, manager.daemon.socket);
	conn->is_lasting = true;
}

static void
begin_scene(struct outliving *scene)
{
	harness_manager_prepare(&manager, NULL, "");
	configure(scene->kind);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	actor_start(&scene->guest, manager.daemon.socket, "s");
	actor_must(&scene->guest, 0, "fill %d", OUTLIVING_SEED);
	open_lasting(&scene->idle);
	if (scene->is_alone) {
		actor_kill(&scene->guest);
	} else {
		outliving_ask_for_segment(&scene->idle, SUITE_READ);
		ck_assert_int_eq(surviving_hear(&scene->idle, &scene->handed_out), 0);
	}
	open_lasting(&scene->watch);
	open_lasting(&scene->conn);
	surviving_await_tidy(&manager);
	harness_await_counts(&scene->watch, "s", !scene->is_alone, !scene->is_alone);
	surviving_look(&scene->watch, "s", &scene->view);
	world_look(&scene->world);
}

static void
expect_guest_whole(struct outliving *scene)
{
	struct actor newcomer;
	long differs;

	if (scene->is_alone)
		actor_start(&newcomer, manager.daemon.socket, "s");
	differs = actor_do(scene->is_alone ? &newcomer : &scene->guest, "differs %d", OUTLIVING_SEED);
	outliving_expect(scene, differs == 0, "byte %ld of the segment has changed", differs - 1);
	if (scene->is_alone) {
		actor_kill(&newcomer);
		harness_await_counts(&scene->watch, "s", 0, 0);
	}
}

/* A session's end is known when the daemon has come to it. */
static void
await_clients(struct outliving *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	struct protocol_client clients[SURVIVING_ROWS];
	int n;

	while ((n = harness_clients(&scene->watch, clients, SURVIVING_ROWS)) != scene->view.n_clients)
		outliving_expect(scene, harness_clock_ns() < deadline_ns, "%d are connected", n);
}

/* What the configuration was read from is noted where that is old enough to be told apart from what comes later. */
static void
list_names(char *text, size_t size)
{
	static const char noted[] = "configuration.origin ";
	char *at;

	suite_list_state(&manager.daemon, text, size);
	at = strstr(text, noted);
	if (at)
		memmove(at, at + strlen(noted), strlen(at + strlen(noted)) + 1);
}

/* To who looks at it from outside all is as it was. Another connection than before is a client of its own. */
static void
expect_same(struct outliving *scene)
{
	struct surviving_view view;
	char names[sizeof(scene->state_names)];
	struct world world;

	surviving_expect_quiet(&scene->idle);
	expect_guest_whole(scene);
	await_clients(scene);
	harness_await_counts(&scene->watch, "s", scene->view.row.readers, scene->view.row.writers);
	surviving_look(&scene->watch, "s", &view);
	if (scene->phase == &outliving_phases[OUTLIVING_ACCEPT])
		memcpy(scene->view.clients, view.clients, sizeof(view.clients));
	surviving_expect_same(&scene->view, &view);
	if (scene->kind->has_locks && !scene->is_alone) {
		actor_must(&scene->guest, 0, "unlock all");
		actor_must(&scene->guest, 0, "lock all");
		actor_must(&scene->guest, 0, "recovered all");
		actor_must(&scene->guest, 0, "unlock all");
	}
	surviving_await_tidy(&manager);
	outliving_expect(scene, world_await(&scene->world, &world), "there is %s", world_describe(&world));
	scene->n_kills++;
	/* What is there after the first restart is there after all others. */
	if (scene->n_kills == 1) {
		harness_usage_read(manager.daemon.pid, &scene->usage);
		list_names(scene->state_names, sizeof(scene->state_names));
	}
	list_names(names, sizeof(names));
	outliving_expect(scene, streq(names, scene->state_names), "in its state_dir there are %s instead of %s", names,
	    scene->state_names);
	surviving_expect_no_more(&manager, &scene->usage, scene->n_kills);
}

static void
kill_and_relaunch(struct outliving *scene, size_t at)
{
	const struct outliving_phase *phase = scene->phase;
	int status;

	if (phase->prepare)
		phase->prepare(scene);
	harness_manager_hear(&manager);
	harness_manager_lock(&manager);
	scene->n_ready = manager.n_ready;
	scene->n_removed = manager.n_removed;
	harness_manager_unlock(&manager);
	phase->begin(scene);
	(void)tracer_run(&killing_tracer, at, -1, phase->is_over, scene);
	status = harness_manager_end(&manager, SIGKILL);
	outliving_expect(scene, status == -SIGKILL, "it ended with %d", status);
	killing_note(&manager.daemon, outliving_describe(scene));
	n_kills++;
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	phase->settle(scene);
}

static void
kill_at(struct outliving *scene, size_t at)
{
	/* All that was asked for so far is out of the queues, and stored. */
	surviving_await_tidy(&manager);
	if (scene->kind->has_locks && !scene->is_alone)
		actor_must(&scene->guest, 0, "lock all");
	kill_and_relaunch(scene, at);
	expect_same(scene);
}

static void
end_scene(struct outliving *scene)
{
	if (!scene->is_alone)
		actor_kill(&scene->guest);
	surviving_close(&scene->handed_out);
	harness_close(&scene->idle);
	harness_close(&scene->watch);
	harness_close(&scene->conn);
	surviving_stop(&manager);
	world_await_empty(outliving_describe(scene));
	world_await_childless(outliving_describe(scene));
}

/* Each has a state_dir of its own. */
static void
kill_first_start_at(struct outliving *scene, size_t at)
{
	harness_manager_prepare(&manager, NULL, "");
	configure(scene->kind);
	kill_and_relaunch(scene, at);
	surviving_await_tidy(&manager);
	surviving_stop(&manager);
	world_await_empty(outliving_describe(scene));
	world_await_childless(outliving_describe(scene));
}

static void
kill_once(struct outliving *scene, size_t at)
{
	if (scene->phase == &outliving_phases[OUTLIVING_START])
		kill_first_start_at(scene, at);
	else
		kill_at(scene, at);
}

/* What it is after is what others see: a thing that is made, named or written, or a message. */
static bool
changes_something(const struct tracer_stop *stop)
{
	return stop->is_end && (stop->is_naming || stop->is_lease || stop->call == SYS_sendmsg || stop->call == SYS_sendto ||
	    stop->call == SYS_recvmsg || stop->call == SYS_accept4);
}

static bool
is_of_lease(const struct tracer_stop *stop)
{
	return stop->is_lease;
}

static bool
is_of_message(const struct tracer_stop *stop)
{
	return stop->is_end && (stop->call == SYS_sendmsg || stop->call == SYS_sendto);
}

/*
 * Kills at those stops, or at `most` of them, spread over the phase. They are counted among themselves: how often it is woken up in
 * between is no two times the same. How many there are.
 */
static size_t
run(unsigned kind, unsigned phase, bool is_alone, bool (*counts)(const struct tracer_stop *stop), size_t most)
{
	static struct outliving scene;
	size_t n;

	world_enter();
	tracer_prepare(&killing_tracer);
	killing_tracer.counts = counts;
	scene = (struct outliving) { .kind = &surviving_kinds[kind], .phase = &outliving_phases[phase],
	    .manager = &manager, .is_alone = is_alone, .fd = -1 };
	if (phase != OUTLIVING_START)
		begin_scene(&scene);
	/* To learn where it can be killed; and it is, at the end. */
	kill_once(&scene, SIZE_MAX);
	n = killing_tracer.n_stops;
	for (size_t i = 0; i < n; i++)
		if (n <= most || i * most / n != (i + 1) * most / n)
			kill_once(&scene, i);
	if (phase != OUTLIVING_START)
		end_scene(&scene);
	printf("%s, '%s': %zu stops, %u kills\n", outliving_phases[phase].name, scene.kind->name, n, n_kills);
	return n;
}

static void
run_phase(unsigned kind, unsigned phase)
{
	(void)run(kind, phase, false, changes_something, harness_is_full() ? SIZE_MAX : N_QUICK);
}

START_TEST(killed_while_it_starts)
{
	run_phase(kinds[_i], OUTLIVING_START);
}
END_TEST

START_TEST(killed_while_it_takes_over)
{
	run_phase(kinds[_i], OUTLIVING_RESTART);
}
END_TEST

START_TEST(killed_while_it_does_what_it_is_asked_for)
{
	run_phase(KIND_MEMFD, (unsigned)_i);
}
END_TEST

/* Killed between the answer and taking the request out of the queue, it has the next one look at that request once more. */
START_TEST(what_was_handed_out_is_not_handed_out_again)
{
	size_t n = run(KIND_MEMFD, _i ? OUTLIVING_CREATE : OUTLIVING_ATTACH, false, is_of_message, SIZE_MAX);

	harness_assert(n > 0, "it has sent nothing");
}
END_TEST

static bool
is_of_renaming(const struct tracer_stop *stop)
{
	return stop->is_end && (stop->call == SYS_rename || stop->call == SYS_renameat || stop->call == SYS_renameat2);
}

static bool
is_heard(const void *arg)
{
	const struct outliving *scene = arg;
	struct pollfd fd = { .fd = scene->conn.fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

static struct stat
look_at_ledger(void)
{
	struct stat status;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/ledger", manager.daemon.state);
	harness_assert(stat(path, &status) == 0, "stat %s: %s", path, strerror(errno));
	return status;
}

/* Whether the ledger is not what it was: then all is restored, and no request was looked at yet. */
static bool
is_committed(const void *arg)
{
	const struct stat *before = arg;

	return look_at_ledger().st_ino != before->st_ino;
}

static bool
is_never_over(void *arg BASE_UNUSED)
{
	return false;
}

/* From one stop of that kind to the next, until that is so: there it stands still. */
static void
stop_when(bool (*counts)(const struct tracer_stop *stop), bool (*is_there)(const void *arg), const void *arg)
{
	killing_tracer.counts = counts;
	for (size_t at = 0; !is_there(arg); at++)
		(void)tracer_run(&killing_tracer, at, -1, is_never_over, NULL);
}

/*
 * Killed between the answer and taking the request out of the queue; the next one likewise, when it knows by who has the attachment
 * that it was answered; and then the client gives that back, so that the one after it could know it by nothing.
 */
START_TEST(what_was_answered_two_kills_ago_is_not_answered_again)
{
	static struct outliving scene;
	struct harness_reply reply;
	struct stat ledger;

	world_enter();
	tracer_prepare(&killing_tracer);
	scene = (struct outliving) { .kind = &surviving_kinds[KIND_ALONE], .phase = &outliving_phases[OUTLIVING_ATTACH],
	    .manager = &manager, .fd = -1 };
	begin_scene(&scene);
	scene.phase->begin(&scene);
	stop_when(is_of_message, is_heard, &scene);
	ledger = look_at_ledger();
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	outliving_phases[OUTLIVING_RESTART].begin(&scene);
	stop_when(is_of_renaming, is_committed, &ledger);
	ck_assert_int_eq(surviving_hear(&scene.conn, &reply), 0);
	ck_assert_uint_gt(reply.n_fds, 0);
	surviving_close(&reply);
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	/* The next answer is to the next request. */
	scene.conn.is_lasting = false;
	ck_assert_int_ge(harness_list(&scene.conn, (struct protocol_segment[8]) { 0 }, 8), 1);
	expect_same(&scene);
	end_scene(&scene);
}
END_TEST

/* A lease on what the box keeps is the box's: nobody could open it any more. */
START_TEST(a_lease_does_not_outlive_who_took_it)
{
	size_t n = run(KIND_ALONE, OUTLIVING_LIST, true, is_of_lease, SIZE_MAX);

	harness_assert(n > 0, "it has taken no lease");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalkills");
	TCase *tcase = tcase_create("kills");
	int n_kinds = harness_is_full() ? (int)BASE_ARRAY_SIZE(kinds) : 1;

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, killed_while_it_starts, 0, n_kinds < N_STARTED ? n_kinds : N_STARTED);
	tcase_add_loop_test(tcase, killed_while_it_takes_over, 0, n_kinds);
	tcase_add_loop_test(tcase, killed_while_it_does_what_it_is_asked_for, OUTLIVING_ACCEPT, OUTLIVING_LIST);
	tcase_add_loop_test(tcase, what_was_handed_out_is_not_handed_out_again, 0, 2);
	tcase_add_test(tcase, what_was_answered_two_kills_ago_is_not_answered_again);
	tcase_add_test(tcase, a_lease_does_not_outlive_who_took_it);
	suite_add_tcase(suite, tcase);
	if (!harness_is_full())
		printf("LEFT OUT: most stops, and most kinds of segments; CHECK_FULL=1 has them all\n");
	return harness_run(suite);
}
