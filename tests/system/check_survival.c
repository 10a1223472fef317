/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that is killed, or hands over, and its successor below a service manager: segments of all backends, who has them and
 * who is connected are as they were, and nobody noticed. And what clients were waiting for when it happened, they get.
 */
#include "config.h"

#include <signal.h>

#include "tests/system/pool.h"
#include "tests/system/suite.h"
#include "tests/system/surviving.h"
#include "tests/system/telling.h"
#include "tests/system/tracer.h"
#include "tests/system/world.h"

#define SEED	11
#define CELL	3
#define SLOW	"segments = ( { name = \"slow\"; size = \"64MiB\"; required = false; mlock = false; } );\n" \
	"templates = ( { name = \"t-\"; max_size = \"64MiB\"; mlock = false; } );"

static const int signals[] = { SIGKILL, SIGUSR2, SIGKILL };

static struct harness_manager manager;
static struct harness_conn conn, idle, pulse;

static void
open_session(struct harness_conn *session)
{
	*session = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(session, manager.daemon.socket);
}

/* Segments */

static void
expect_locked(const char *name, const struct surviving_view *before)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row;

	do {
		harness_assert(harness_clock_ns() < deadline_ns, "%ju bytes are locked, they were %ju, and %ju of %ju resident",
		    (uintmax_t)row.locked_bytes, (uintmax_t)before->row.locked_bytes, (uintmax_t)row.resident_bytes,
		    (uintmax_t)before->row.resident_bytes);
		ck_assert_int_eq(harness_find(&conn, name, &row), 0);
	} while (row.locked_bytes != before->row.locked_bytes || row.resident_bytes != before->row.resident_bytes ||
	    row.differs != before->row.differs);
}

/* The owner is in a section that it opened before, and reads and writes as if nothing had happened. */
static void
go_on_in_section(struct actor *owner, long round)
{
	actor_must(owner, round, "get all %d", CELL);
	actor_must(owner, 0, "set all %d %ld", CELL, round + 1);
	actor_must(owner, 0, "unlock all");
	actor_must(owner, 0, "lock all");
}

static void
run_kind(const struct surviving_kind *kind)
{
	struct actor owner, reader;
	struct surviving_view before, after;
	const char *name = surviving_name(kind);
	long round = 1;

	world_enter();
	surviving_start(&manager, kind, &owner, SEED);
	actor_start_reading(&reader, manager.daemon.socket, name);
	open_session(&pulse);
	open_session(&conn);
	open_session(&idle);
	if (kind->has_locks) {
		actor_must(&owner, 0, "lock all");
		actor_must(&owner, 0, "set all %d %ld", CELL, round);
	}
	surviving_look(&conn, name, &before);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		surviving_restart(&manager, &pulse, signals[i]);
		surviving_expect_quiet(&conn);
		surviving_expect_quiet(&idle);
		surviving_look(&conn, name, &after);
		surviving_expect_same(&before, &after);
		expect_locked(name, &before);
		if (kind->has_locks)
			go_on_in_section(&owner, round++);
		else
			actor_must(&reader, 0, "differs %d", SEED);
		/* It may have been looked at before it was locked again. */
		after.row.locked_bytes = before.row.locked_bytes;
		after.row.resident_bytes = before.row.resident_bytes;
		after.row.differs = before.row.differs;
		before = after;
	}
	/* Nothing has changed but that. */
	if (kind->has_locks) {
		actor_must(&owner, 0, "rollback all");
		actor_must(&owner, round, "get all %d", CELL);
		actor_must(&owner, 0, "fill %d", SEED);
		actor_must(&reader, 0, "differs %d", SEED);
	}
	surviving_expect_quiet(&idle);
	actor_must(&reader, 0, "detach");
	harness_await_counts(&conn, name, 0, 1);
	actor_kill(&owner);
	if (kind->is_template)
		harness_await_gone(&conn, name);
	else
		harness_await_counts(&conn, name, 0, 0);
	actor_kill(&reader);
	harness_close(&conn);
	harness_close(&idle);
	harness_close(&pulse);
	surviving_stop(&manager);
	world_await_empty("after the stop");
}

START_TEST(segments_and_who_has_them_are_as_they_were)
{
	run_kind(&surviving_kinds[_i]);
}
END_TEST

START_TEST(a_segment_of_a_pool_is_as_it_was)
{
	pool_set_free(2 << 20, -1, 2);
	run_kind(&surviving_kinds[SURVIVING_KINDS - 1]);
	ck_assert_uint_eq(pool_free(2 << 20), 2);
}
END_TEST

START_TEST(one_that_drains_goes_when_its_last_holder_has_gone)
{
	const char *name = surviving_name(&surviving_kinds[_i]);
	struct surviving_view before, after;
	struct harness_conn events;
	struct actor owner;

	/* Of each backend one. */
	if (!harness_is_full() && _i % 3)
		return;
	world_enter();
	surviving_start(&manager, &surviving_kinds[_i], &owner, SEED);
	open_session(&pulse);
	open_session(&conn);
	open_session(&events);
	ck_assert_int_eq(telling_subscribe(&events, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	ck_assert_int_eq(harness_remove(&conn, name, 0), 0);
	telling_expect(&events, PROTOCOL_EVENT_DRAINING, name, 0);
	surviving_look(&conn, name, &before);
	ck_assert_uint_eq(before.row.state, PROTOCOL_DRAINING);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		surviving_restart(&manager, &pulse, signals[i]);
		surviving_look(&conn, name, &after);
		surviving_expect_same(&before, &after);
		actor_must(&owner, 0, "differs %d", SEED);
		ck_assert_int_eq(harness_attach(&conn, name, SUITE_READ, NULL, NULL), -ESHUTDOWN);
	}
	surviving_expect_quiet(&events);
	actor_must(&owner, 0, "detach");
	telling_expect(&events, PROTOCOL_EVENT_DETACHED, name, owner.pid);
	telling_expect(&events, PROTOCOL_EVENT_REMOVED, name, 0);
	actor_kill(&owner);
	harness_close(&events);
	harness_close(&conn);
	harness_close(&pulse);
	surviving_stop(&manager);
	world_await_empty("after the stop");
}
END_TEST

START_TEST(one_that_lingers_goes_when_its_time_is_up)
{
	struct harness_conn events;
	struct protocol_segment row;
	struct protocol_attached attached;
	int fd;

	harness_manager_start(&manager, NULL, "templates = ( { name = \"t-\"; max_size = \"64KiB\"; mlock = false; "
	    "lifetime = \"attached\"; linger = \"100ms\"; } );");
	open_session(&pulse);
	open_session(&conn);
	open_session(&events);
	ck_assert_int_eq(harness_create(&conn, "t-1", 4096, &attached, &fd), 0);
	ck_assert_int_eq(telling_subscribe(&events, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	ck_assert_int_eq(pwrite(fd, "\x07", 1, 5), 1);
	close_fd(&fd);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		surviving_restart(&manager, &pulse, signals[i]);
		surviving_expect_quiet(&conn);
	}
	/* It may have been, already; but it does go, and says so. */
	harness_await_gone(&conn, "t-1");
	ck_assert_int_eq(harness_find(&conn, "t-1", &row), -ENOENT);
	harness_close(&events);
	harness_close(&conn);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

START_TEST(subscribers_are_told_what_happens_next)
{
	struct harness_conn all, own;
	int fd;

	harness_manager_start(&manager, NULL, telling_body);
	open_session(&pulse);
	open_session(&conn);
	open_session(&all);
	open_session(&own);
	ck_assert_int_eq(telling_subscribe(&all, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	ck_assert_int_eq(telling_subscribe(&own, PROTOCOL_SUBSCRIBE_ON, conn.session), 0);
	fd = suite_attach(&conn, "desk", SUITE_WRITE);
	telling_expect(&all, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		int other;

		surviving_restart(&manager, &pulse, signals[i]);
		surviving_expect_quiet(&all);
		surviving_expect_quiet(&own);
		open_session(&idle);
		/* What its session is not attached to is none of one's own subscriber's business. */
		other = suite_attach(&idle, "side", SUITE_READ);
		telling_expect(&all, PROTOCOL_EVENT_ATTACHED, "side", getpid());
		close_fd(&other);
		telling_expect(&all, PROTOCOL_EVENT_DETACHED, "side", getpid());
		other = suite_attach(&idle, "desk", SUITE_READ);
		telling_expect(&all, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
		telling_expect(&own, PROTOCOL_EVENT_ATTACHED, "desk", getpid());
		close_fd(&other);
		telling_expect(&all, PROTOCOL_EVENT_DETACHED, "desk", getpid());
		telling_expect(&own, PROTOCOL_EVENT_DETACHED, "desk", getpid());
		harness_close(&idle);
	}
	close_fd(&fd);
	/* Its session's end is its own. */
	harness_close(&conn);
	harness_await_readable(own.fd, "the end of the session that it names");
	harness_expect_hangup(own.fd);
	harness_close(&own);
	harness_close(&all);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

/* Requests */

static pid_t worker;

/* A daemon that provisions "slow", and whose worker stands still. */
static void
start_slow(void)
{
	tracer_skip_unless_permitted();
	harness_manager_prepare(&manager, "workers = 1;", SLOW);
	tracer_arm(&manager.daemon);
	harness_manager_launch(&manager);
	worker = tracer_hold_worker(&manager.daemon);
	harness_manager_await_ready(&manager);
	open_session(&pulse);
	open_session(&conn);
}

static void
restart_slow(int signal)
{
	surviving_restart(&manager, &pulse, signal);
	/* One that the daemon has not ended goes by itself when it looks. */
	(void)kill(worker, SIGCONT);
}

/* What is asked for is not answered yet. */
static void
expect_unanswered(struct harness_conn *session)
{
	suite_serves(&manager.daemon);
	surviving_expect_quiet(session);
}

START_TEST(a_client_that_waits_is_answered_by_the_next)
{
	struct protocol_wait request = { .progress_bytes = PROTOCOL_WAIT_STATE, .name = "slow" };
	struct harness_reply reply;

	start_slow();
	surviving_send(&conn, PROTOCOL_WAIT, &request.header, sizeof(request));
	expect_unanswered(&conn);
	restart_slow(signals[_i]);
	ck_assert_int_eq(surviving_hear(&conn, &reply), 0);
	ck_assert_uint_eq(reply.waited.state, PROTOCOL_READY);
	surviving_expect_quiet(&conn);
	harness_close(&conn);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

/* It has been told that it is to wait. */
static void
await_refusal(const struct actor *actor)
{
	struct protocol_client clients[4];

	for (;;) {
		int n = harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients));

		for (int i = 0; i < n; i++)
			if (clients[i].pid == actor->pid && clients[i].requests >= 2)
				return;
		ck_assert_int_ge(n, 1);
	}
}

START_TEST(a_client_that_attaches_what_is_being_made_gets_it)
{
	struct protocol_segment row;
	struct actor actor;

	start_slow();
	actor_start_idle(&actor, manager.daemon.socket);
	actor_tell(&actor, "attach slow %u", 2);
	await_refusal(&actor);
	restart_slow(signals[_i]);
	ck_assert_int_eq(actor_hear(&actor), 0);
	ck_assert_int_eq(harness_find(&conn, "slow", &row), 0);
	ck_assert_uint_eq(row.writers, 1);
	actor_must(&actor, 0, "detach");
	actor_kill(&actor);
	harness_close(&conn);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

START_TEST(what_is_being_created_is_created_once)
{
	struct protocol_attached attached;
	struct harness_reply reply;
	struct protocol_segment row;

	start_slow();
	suite_send_create(&conn, "t-1", 32 << 20);
	expect_unanswered(&conn);
	restart_slow(signals[_i]);
	ck_assert_int_eq(surviving_hear(&conn, &reply), 0);
	attached = reply.attached;
	ck_assert_uint_eq(reply.n_fds, 1);
	ck_assert_uint_eq(attached.map_bytes, 32 << 20);
	ck_assert_int_eq(harness_find(&conn, "t-1", &row), 0);
	ck_assert_uint_eq(row.generation, attached.generation);
	ck_assert_uint_eq(row.writers, 1);
	close_fd(&reply.fds[0]);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	harness_await_gone(&conn, "t-1");
	harness_close(&conn);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

START_TEST(a_reply_that_nobody_has_read_is_there)
{
	struct protocol_attach request = { .access = SUITE_WRITE, .name = "desk" };
	struct protocol_holder holders[4];
	struct protocol_attached attached;
	struct harness_reply reply;

	harness_manager_start(&manager, NULL, telling_body);
	open_session(&pulse);
	open_session(&conn);
	open_session(&idle);
	surviving_send(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request));
	harness_await_readable(conn.fd, "the reply");
	harness_await_counts(&idle, "desk", 0, 1);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		surviving_restart(&manager, &pulse, signals[i]);
		ck_assert_int_eq(harness_holders(&idle, "desk", holders, 4), 1);
	}
	/* The next one that brings descriptors waits for it. */
	surviving_send(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request));
	ck_assert_int_eq(harness_receive(conn.fd, &reply) > 0, true);
	ck_assert_int_eq(reply.header.status, 0);
	ck_assert_uint_eq(reply.header.serial, conn.serial - 1);
	ck_assert_uint_eq(reply.attached.attachment, holders[0].attachment);
	attached = reply.attached;
	ck_assert_int_eq(pwrite(reply.fds[0], "\x07", 1, 5), 1);
	close_fd(&reply.fds[0]);
	ck_assert_int_eq(surviving_hear(&conn, &reply), 0);
	ck_assert_uint_ne(reply.attached.attachment, attached.attachment);
	close_fd(&reply.fds[0]);
	harness_await_counts(&idle, "desk", 0, 0);
	surviving_expect_quiet(&conn);
	harness_close(&conn);
	harness_close(&idle);
	harness_close(&pulse);
	surviving_stop(&manager);
}
END_TEST

START_TEST(requests_that_were_not_looked_at_are_answered_in_order)
{
	struct protocol_show request = { .name = "desk" };
	struct harness_reply reply;
	struct harness_conn late = HARNESS_CONN_NULL;

	harness_manager_start(&manager, NULL, telling_body);
	open_session(&conn);
	suite_serves(&manager.daemon);
	ck_assert_int_eq(kill(manager.daemon.pid, SIGSTOP), 0);
	for (int i = 0; i < 3; i++)
		surviving_send(&conn, PROTOCOL_SHOW, &request.header, sizeof(request));
	late.fd = harness_dial(manager.daemon.socket);
	ck_assert_int_ge(late.fd, 0);
	harness_manager_restart(&manager, SIGKILL);
	for (unsigned i = 3; i-- > 0;) {
		ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, 0);
		ck_assert_uint_eq(reply.header.serial, conn.serial - i);
	}
	surviving_expect_quiet(&conn);
	harness_close(&late);
	harness_close(&conn);
	surviving_stop(&manager);
}
END_TEST

int
main(void)
{
	const int n = BASE_ARRAY_SIZE(signals) - 1;
	Suite *suite = suite_create("survival");
	TCase *segments = tcase_create("segments"), *events = tcase_create("events"), *requests = tcase_create("requests"),
	    *pools = tcase_create("pools");

	tcase_set_timeout(segments, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(segments, segments_and_who_has_them_are_as_they_were, 0, SURVIVING_KINDS - 1);
	tcase_add_loop_test(segments, one_that_drains_goes_when_its_last_holder_has_gone, 0, SURVIVING_KINDS - 1);
	tcase_add_test(segments, one_that_lingers_goes_when_its_time_is_up);
	suite_add_tcase(suite, segments);
	tcase_set_timeout(events, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(events, subscribers_are_told_what_happens_next);
	suite_add_tcase(suite, events);
	tcase_set_timeout(requests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(requests, a_client_that_waits_is_answered_by_the_next, 0, n);
	tcase_add_loop_test(requests, a_client_that_attaches_what_is_being_made_gets_it, 0, n);
	tcase_add_loop_test(requests, what_is_being_created_is_created_once, 0, n);
	tcase_add_test(requests, a_reply_that_nobody_has_read_is_there);
	tcase_add_test(requests, requests_that_were_not_looked_at_are_answered_in_order);
	suite_add_tcase(suite, requests);
	tcase_set_timeout(pools, HARNESS_TEST_TIMEOUT_S);
	tcase_add_unchecked_fixture(pools, pool_borrow, pool_give_back);
	tcase_add_test(pools, a_segment_of_a_pool_is_as_it_was);
	suite_add_tcase(suite, pools);
	if (!harness_is_full())
		printf("LEFT OUT: draining of segments with locks and without; CHECK_FULL=1 has all kinds\n");
	return harness_run(suite);
}
