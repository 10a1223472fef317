/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon where memory ends: what cannot be had is refused by name before it is touched, what others took meanwhile
 * costs a worker at most, and memory is back at once.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/system/group.h"
#include "tests/system/suite.h"

#define TEMPLATE	"templates = ({ name = \"t-\"; max_size = \"4GiB\"; max_count = 10; mlock = false; });"

static void
expect_failed(struct harness_conn *conn, const char *name, const char *text)
{
	struct protocol_segment row;
	struct harness_reply shown;

	ck_assert_int_eq(harness_find(conn, name, &row), 0);
	ck_assert_int_eq(row.state, PROTOCOL_FAILED);
	ck_assert_int_eq(row.resident_bytes, 0);
	ck_assert_int_eq(harness_show(conn, name, &shown), 0);
	harness_assert(strstr(harness_reason(&shown), text), "'%s' is not in '%s'", text, harness_reason(&shown));
}

static void
await_usage_below(struct harness_conn *conn, const struct group *group, uint64_t bytes)
{
	uint64_t until_ns = harness_clock_ns() + 5 * NS_PER_SEC;
	struct protocol_segment rows[4];

	while (group_usage(group) >= bytes && harness_clock_ns() < until_ns)
		(void)harness_list(conn, rows, BASE_ARRAY_SIZE(rows));
	harness_assert(group_usage(group) < bytes, "%" PRIu64 " bytes are still in use", group_usage(group));
}

START_TEST(ten_tebibytes_are_refused_at_once_and_others_served)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	uint64_t begun_ns = clock_monotonic_ns();

	harness_daemon_start(&daemon, "", "segments = ("
	    "{ name = \"much\"; size = \"10TiB\"; required = false; mlock = false; },"
	    "{ name = \"some\"; size = \"4MiB\"; mlock = false; });");
	printf("ready %" PRIu64 " ms after the daemon was launched\n", (clock_monotonic_ns() - begun_ns) / NS_PER_MS);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "some"), PROTOCOL_READY);
	ck_assert_int_eq(harness_wait(&conn, "much"), PROTOCOL_FAILED);
	expect_failed(&conn, "much", "MemAvailable");
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(segments_are_judged_together)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment rows[4];
	struct group group;
	size_t n_ready = 0;

	group_make(&group, 512 * MIB);
	/* Each alone would fit, two do, three do not. */
	group_start(&daemon, &group, "memory_reserve = \"1MiB\";", "segments = ("
	    "{ name = \"a\"; size = \"192MiB\"; required = false; mlock = false; },"
	    "{ name = \"b\"; size = \"192MiB\"; required = false; mlock = false; },"
	    "{ name = \"c\"; size = \"192MiB\"; required = false; mlock = false; });");
	harness_open(&conn, daemon.socket);
	(void)harness_wait(&conn, "a");
	(void)harness_wait(&conn, "b");
	(void)harness_wait(&conn, "c");
	ck_assert_int_eq(harness_list(&conn, rows, 4), 3);
	for (size_t i = 0; i < 3; i++)
		n_ready += rows[i].state == PROTOCOL_READY;
	ck_assert_int_eq(n_ready, 2);
	expect_failed(&conn, "c", group.dir);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

static void
take_memory(int control, void *arg)
{
	size_t size = 600 * MIB;
	char *memory;

	group_join(arg);
	harness_expect(control, "take");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	harness_assert(memory != MAP_FAILED, "mmap: %m");
	memset(memory, 1, size);
	harness_say(control, "taken");
	harness_expect(control, "end");
}

START_TEST(memory_that_others_took_meanwhile_costs_nobody_else)
{
	struct harness_daemon daemon;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_child other = HARNESS_CHILD_NULL;
	struct harness_reply reply;
	struct group group;
	pid_t pids[16];
	size_t n;

	group_make(&group, GIB);
	group_start(&daemon, &group, "memory_reserve = \"1MiB\"; limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };",
	    TEMPLATE "segments = ({ name = \"kept\"; size = \"16MiB\"; mlock = false; });");
	harness_open(&conn, daemon.socket);
	harness_child_start(&other, take_memory, &group);
	n = suite_workers_stop(&conn, &daemon, 256 * MIB, pids, 16);
	harness_await_gone(&conn, "t-warm");

	/* It is judged to fit, and then it does not any more. */
	suite_send_create(&conn, "t-large", 700 * MIB);
	harness_say(other.control, "take");
	harness_expect(other.control, "taken");
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), group.dir), "'%s' names no cgroup",
	    reply.bytes + sizeof(reply.header));

	/* Everybody else is as before, and the memory is back. */
	await_usage_below(&conn, &group, 700 * MIB);
	ck_assert_int_eq(harness_wait(&conn, "kept"), PROTOCOL_READY);
	harness_say(other.control, "end");
	harness_child_await_success(&other);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

START_TEST(a_worker_killed_for_memory_is_all_that_is_lost)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_reply reply;
	struct group group;
	pid_t pids[16];
	size_t n;

	group_make(&group, 128 * MIB);
	harness_daemon_start(&daemon, "limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };",
	    TEMPLATE "segments = ({ name = \"kept\"; size = \"16MiB\"; mlock = false; });");
	harness_open(&conn, daemon.socket);
	n = suite_workers_stop(&conn, &daemon, 256 * MIB, pids, 16);

	/* A limit that the workers cannot know of: they had looked where they are before they were moved. */
	for (size_t i = 0; i < n; i++)
		group_add(&group, pids[i]);
	suite_send_create(&conn, "t-large", GIB);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), "killed"), "'%s' does not say what happened",
	    reply.bytes + sizeof(reply.header));

	await_usage_below(&conn, &group, 16 * MIB);
	ck_assert_int_eq(harness_wait(&conn, "kept"), PROTOCOL_READY);
	ck_assert_int_eq(harness_find(&conn, "t-large", &(struct protocol_segment) { 0 }), -ENOENT);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

START_TEST(what_a_reload_gives_back_is_there_for_what_it_adds)
{
	static const char one[] = "segments = ({ name = \"one\"; size = \"320MiB\"; mlock = false; });";
	static const char other[] = "segments = ({ name = \"other\"; size = \"320MiB\"; mlock = false; });";
	static const char larger[] = "segments = ({ name = \"other\"; size = \"384MiB\"; max_size = \"384MiB\"; layout = \"l\"; "
	    "mlock = false; });";
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;
	struct group group;

	group_make(&group, 512 * MIB);
	group_start(&daemon, &group, "memory_reserve = \"1MiB\";", one);
	harness_open(&conn, daemon.socket);
	/* The one's pages are in workers' hands still when the other is judged: together they do not fit. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", other);
	harness_daemon_hangup(&daemon);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "other"), PROTOCOL_READY);
	ck_assert_int_eq(harness_find(&conn, "one", &row), -ENOENT);
	/* Likewise a successor; a max_size never changes, so it is removed and added. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", "");
	harness_daemon_hangup(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", larger);
	harness_daemon_hangup(&daemon);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "other"), PROTOCOL_READY);
	/* What will never fit fails when all is back. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";",
	    "segments = ({ name = \"other\"; size = \"1GiB\"; required = false; mlock = false; });");
	harness_daemon_hangup(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";",
	    "segments = ({ name = \"huge\"; size = \"1GiB\"; required = false; mlock = false; });");
	harness_daemon_hangup(&daemon);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "huge"), PROTOCOL_FAILED);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tcase = tcase_create("memory");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, ten_tebibytes_are_refused_at_once_and_others_served);
	tcase_add_test(tcase, segments_are_judged_together);
	tcase_add_test(tcase, memory_that_others_took_meanwhile_costs_nobody_else);
	tcase_add_test(tcase, a_worker_killed_for_memory_is_all_that_is_lost);
	tcase_add_test(tcase, what_a_reload_gives_back_is_there_for_what_it_adds);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
