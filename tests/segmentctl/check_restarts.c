/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Commands that are under way while the daemon is killed: under a manager, which keeps what it had, and without one, where the
 * next daemon begins anew. What `events` makes of the latter is check_follow.c's.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/harness_manager.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/follower.h"
#include "tests/segmentctl/run.h"

#define N_RESTARTS	3

static struct {
	struct harness_manager manager;
	struct harness_daemon alone;
	struct harness_daemon *daemon;	/* of the two */
	struct harness_conn conn;
	struct fake fake;
} scene;

static const char body[] =
	"segments = ( { name = \"board\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; } );\n"
	"templates = ( { name = \"x-\"; max_size = \"64KiB\"; page_size = \"base\"; lifetime = \"persistent\"; mlock = false; } );\n";

static const char slow_body[] =
	"segments = ( { name = \"slow\"; size = \"64MiB\"; page_size = \"base\"; required = false; mlock = false; } );\n";

#define RUN(...) run_segmentctl("--socket", scene.daemon->socket, __VA_ARGS__, NULL)
#define START(child, ...) follower_run(child, scene.daemon->socket, (const char *const []){ __VA_ARGS__, NULL })

static void
begin(bool is_managed, const char *what)
{
	scene.daemon = is_managed ? &scene.manager.daemon : &scene.alone;
	scene.conn = (struct harness_conn) HARNESS_CONN_NULL;
	if (is_managed)
		harness_manager_start(&scene.manager, "workers = 1;", what);
	else
		harness_daemon_start(&scene.alone, "workers = 1;", what);
	harness_open(&scene.conn, scene.daemon->socket);
}

static void
restart(int signal)
{
	harness_close(&scene.conn);
	if (scene.daemon == &scene.manager.daemon) {
		harness_manager_restart(&scene.manager, signal);
	} else {
		harness_daemon_kill(scene.daemon);
		harness_daemon_launch(scene.daemon);
		harness_daemon_await_ready(scene.daemon);
	}
	harness_open(&scene.conn, scene.daemon->socket);
}

static void
end(void)
{
	harness_close(&scene.conn);
	if (scene.daemon == &scene.manager.daemon)
		harness_manager_stop(&scene.manager);
	else
		harness_daemon_stop(scene.daemon);
}

static void
await_echo(const struct harness_child *child)
{
	harness_say(child->control, "hello");
	harness_expect(child->control, "hello");
}

/* What the child prints, until it has ended with 0. */
static const char *
output_of(struct harness_child *child)
{
	static char text[65536];
	size_t length = 0;
	ssize_t n;

	do {
		harness_await_readable(child->control, "its output, or its end");
		n = read(child->control, text + length, sizeof(text) - 1 - length);
		length += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	text[length] = '\0';
	harness_child_await_success(child);
	return text;
}

/* The program's process has the session: it is the holder to the next daemon, too, and its end is heard of. */
START_TEST(a_program_goes_on_as_the_holder)
{
	static const int signals[N_RESTARTS] = { SIGKILL, SIGUSR2, SIGKILL };
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_holder holders[4];

	begin(true, body);
	START(&child, "exec", "board", "--", "cat");
	await_echo(&child);
	for (int i = 0; i < N_RESTARTS; i++) {
		restart(signals[i]);
		await_echo(&child);
		ck_assert_int_eq(harness_holders(&scene.conn, "board", holders, BASE_ARRAY_SIZE(holders)), 1);
		ck_assert_int_eq(holders[0].pid, child.pid);
		ck_assert_uint_eq(holders[0].flags, PROTOCOL_HOLDER_LIVES);
		ck_assert_str_eq(holders[0].command, "cat");
	}
	harness_child_kill(&child);
	harness_await_counts(&scene.conn, "board", 0, 0);
	end();
}
END_TEST

/* Without a manager the session ends with the daemon, and the program has the memory all the same, which the kernel tells. */
START_TEST(a_program_keeps_its_memory_without_a_manager)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_segment before, after;
	char text[256];

	(void)snprintf(text, sizeof(text), "segments = ( { name = \"board\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; "
	    "backend = \"posix\"; object = \"/segmentd-restarts-%ld\"; } );\n", (long)getpid());
	begin(false, text);
	START(&child, "exec", "board", "--", "cat");
	await_echo(&child);
	ck_assert_int_eq(harness_find(&scene.conn, "board", &before), 0);
	for (int i = 0; i < N_RESTARTS; i++) {
		restart(SIGKILL);
		await_echo(&child);
		ck_assert_int_eq(harness_find(&scene.conn, "board", &after), 0);
		ck_assert_uint_eq(after.generation, before.generation);
		ck_assert_uint_eq(after.others, 1);
	}
	harness_child_kill(&child);
	do
		ck_assert_int_eq(harness_find(&scene.conn, "board", &after), 0);
	while (after.others);
	end();
}
END_TEST

START_TEST(events_miss_nothing_under_a_manager)
{
	static const int signals[N_RESTARTS] = { SIGKILL, SIGUSR2, SIGKILL };
	struct protocol_attached attached;
	struct follower follower;
	char pid[32];
	int fd;

	(void)snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	begin(true, body);
	follower_start(&follower, scene.daemon->socket, (const char *const []){ NULL });
	for (int i = 0; i < N_RESTARTS; i++) {
		restart(signals[i]);
		ck_assert_int_eq(harness_attach(&scene.conn, "board", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
		(void)close(fd);
		ck_assert_int_eq(harness_detach(&scene.conn, &attached), 0);
		(void)follower_expect(&follower, "  attached   board  ", pid, "20");
		(void)follower_expect(&follower, "  detached   board  ", pid, "20");
	}
	follower_stop(&follower, SIGINT);
	end();
}
END_TEST

/* Its workers die with the daemon: the next one provisions the segment from the beginning. */
START_TEST(waiting_goes_on)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_client clients[8];
	struct protocol_segment row;
	pid_t pids[8];
	size_t n;

	begin(_i, slow_body);
	do {
		n = harness_children(scene.daemon->pid, pids, BASE_ARRAY_SIZE(pids));
		ck_assert_int_eq(harness_find(&scene.conn, "slow", &row), 0);
	} while (n == 0 && row.state != PROTOCOL_READY);
	for (size_t i = 0; i < n; i++)
		(void)kill(pids[i], SIGSTOP);
	ck_assert_int_eq(harness_find(&scene.conn, "slow", &row), 0);
	if (row.state == PROTOCOL_READY)
		harness_skip("the segment was ready before its worker could be stopped");
	START(&child, "wait", "--timeout", "1min", "slow");
	/* Both connections have asked for something: the second one to wait. */
	while (harness_clients(&scene.conn, clients, BASE_ARRAY_SIZE(clients)) < 2 || !clients[0].requests || !clients[1].requests)
		;
	restart(SIGKILL);
	ck_assert_str_eq(output_of(&child), "");
	ck_assert_int_eq(harness_find(&scene.conn, "slow", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_READY);
	end();
}
END_TEST

/* Its connection waits for the next daemon. */
START_TEST(a_list_that_is_asked_for_meanwhile_is_a_list)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	begin(true, body);
	harness_close(&scene.conn);
	ck_assert_int_eq(harness_manager_end(&scene.manager, SIGKILL), -SIGKILL);
	START(&child, "list");
	harness_manager_launch(&scene.manager);
	harness_manager_await_ready(&scene.manager);
	assert_has(output_of(&child), "board");
	end();
}
END_TEST

static void
create(const char *name)
{
	const struct run *run = RUN("create", name, "4KiB");

	harness_assert(run->status == 0, "create %s: %s", name, run->err);
}

/* Who is in the middle of a list goes on behind the row that came last: none is missed, and none comes twice. */
START_TEST(rows_keep_their_places_under_a_manager)
{
	static const char *const names[] = { "board", "x-b", "x-c" };
	struct protocol_segment before[BASE_ARRAY_SIZE(names)], row;
	uint64_t last = 0;

	begin(true, body);
	create("x-a");
	create("x-b");
	create("x-c");
	ck_assert_int_eq(RUN("remove", "x-a", "--now")->status, 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		ck_assert_int_eq(harness_find(&scene.conn, names[i], &before[i]), 0);
	for (int i = 0; i < N_RESTARTS; i++) {
		restart(SIGKILL);
		for (size_t j = 0; j < BASE_ARRAY_SIZE(names); j++) {
			ck_assert_int_eq(harness_find(&scene.conn, names[j], &row), 0);
			ck_assert_uint_eq(row.cursor, before[j].cursor);
			ck_assert_uint_eq(row.generation, before[j].generation);
			last = row.cursor;
		}
	}
	create("x-d");
	ck_assert_int_eq(harness_find(&scene.conn, "x-d", &row), 0);
	ck_assert_uint_gt(row.cursor, last);
	end();
}
END_TEST

static unsigned *n_connections;		/* shared with the fake's children, of which each has one */

/* The first dies in the middle of its list; the second one has other segments, and numbers them in its own way. */
static void
answer_list(const struct fake_request *request)
{
	static bool is_counted;
	struct protocol_segment rows[2];
	uint64_t cursor = request->message.list.cursor;

	if (!is_counted)
		++*n_connections;
	is_counted = true;
	if (*n_connections == 1 && cursor)
		_exit(0);
	if (*n_connections == 1) {
		fake_fill_segment(&rows[0], 1, "gone");
		fake_fill_segment(&rows[1], 2, "stays");
	} else if (cursor == 0) {
		fake_fill_segment(&rows[0], 1, "stays");
		fake_fill_segment(&rows[1], 2, "new");
	} else {
		fake_fill_segment(&rows[0], 3, "last");
	}
	fake_reply_rows(request, rows, cursor ? 1 : 2, sizeof(rows[0]), cursor ? 1 : 2, cursor == 0);
}

static unsigned
count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

START_TEST(a_list_of_another_daemon_is_begun_again)
{
	const struct run *run;

	n_connections = mmap(NULL, sizeof(*n_connections), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(n_connections, MAP_FAILED);
	fake_start(&scene.fake, answer_list);
	run = run_segmentctl("--socket", scene.fake.socket, "list", NULL);
	fake_stop(&scene.fake);
	ck_assert_int_eq(run->status, 0);
	ck_assert_uint_eq(*n_connections, 2);
	ck_assert_uint_eq(count(run->out, "gone"), 0);
	ck_assert_uint_eq(count(run->out, "stays"), 1);
	ck_assert_uint_eq(count(run->out, "new"), 1);
	ck_assert_uint_eq(count(run->out, "last"), 1);
}
END_TEST

/* One that dies of each request is not asked for ever. */
static void
die(const struct fake_request *request)
{
	(void)request;
	_exit(0);
}

START_TEST(a_daemon_that_dies_of_it_is_given_up)
{
	static const char *const commands[] = { "list", "wait" };
	const struct run *run;

	fake_start(&scene.fake, die);
	run = run_segmentctl("--socket", scene.fake.socket, commands[_i], _i ? "desk" : NULL, NULL);
	fake_stop(&scene.fake);
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_DAEMON);
	assert_has(run->err, "the connection to segmentd was lost");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-restarts");
	TCase *tcase = tcase_create("restarts");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_program_goes_on_as_the_holder);
	tcase_add_test(tcase, a_program_keeps_its_memory_without_a_manager);
	tcase_add_test(tcase, events_miss_nothing_under_a_manager);
	tcase_add_loop_test(tcase, waiting_goes_on, 0, 2);
	tcase_add_test(tcase, a_list_that_is_asked_for_meanwhile_is_a_list);
	tcase_add_test(tcase, rows_keep_their_places_under_a_manager);
	tcase_add_test(tcase, a_list_of_another_daemon_is_begun_again);
	tcase_add_loop_test(tcase, a_daemon_that_dies_of_it_is_given_up, 0, 2);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
