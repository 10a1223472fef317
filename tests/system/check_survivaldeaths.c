/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients that die while there is no daemon, or later without ever having called its successor: their locks are recovered, their
 * attachments end, counts are right, and who wants to know is told. And what a daemon that is killed again and again uses itself.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>

#include "tests/system/group.h"
#include "tests/system/suite.h"
#include "tests/system/surviving.h"
#include "tests/system/telling.h"
#include "tests/system/world.h"

#define SEED		11
#define CELL		3
#define N_RESTARTS	(harness_is_full() ? 50 : 8)
#define LARGE_BYTES	(UINT64_C(64) << 20)

static struct harness_manager manager;
static struct harness_conn conn, events;
static struct actor owner, other;

static void
open_session(struct harness_conn *session)
{
	*session = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(session, manager.daemon.socket);
}

static void
subscribe(struct harness_conn *session)
{
	open_session(session);
	ck_assert_int_eq(telling_subscribe(session, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	suite_serves(&manager.daemon);
}

/* The owner is in a section, and has changed what it is to find as it was. */
static void
begin(const struct surviving_kind *kind)
{
	surviving_start(&manager, kind, &owner, SEED);
	actor_start(&other, manager.daemon.socket, surviving_name(kind));
	actor_must(&owner, 0, "lock all");
	actor_must(&owner, 0, "set all %d 77", CELL);
	open_session(&conn);
	suite_serves(&manager.daemon);
}

static void
end(void)
{
	actor_kill(&other);
	harness_close(&events);
	harness_close(&conn);
	surviving_stop(&manager);
	world_await_empty("after the stop");
}

/* All that was answered has been taken from the queues: it is not answered twice. */
static void
down(void)
{
	suite_serves(&manager.daemon);
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
}

static void
up(void)
{
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
}

/* Events about the owner come in whatever order they are true in. */
static void
expect_told(const char *name, pid_t pid)
{
	bool is_dead = false, is_detached = false, is_recovered = false;
	struct protocol_event event;

	while (!is_dead || !is_detached || !is_recovered) {
		telling_next(&events, &event);
		harness_assert(streq(event.segment, name) && event.pid == pid && event.lost == 0, "event %u of '%s', pid %d, and not "
		    "%d", event.kind, event.segment, event.pid, (int)pid);
		is_dead |= event.kind == PROTOCOL_EVENT_DIED;
		is_detached |= event.kind == PROTOCOL_EVENT_DETACHED;
		is_recovered |= event.kind == PROTOCOL_EVENT_RECOVERED;
	}
}

static void
expect_recovered(const char *name)
{
	struct protocol_holder holders[4];
	struct protocol_lock row;

	actor_await_recoveries(&conn, name, "all", 1, &row);
	harness_assert(row.recovered_pid == owner.pid, "it was recovered from pid %d, not %d", row.recovered_pid, (int)owner.pid);
	actor_must(&other, 0, "lock all");
	actor_must(&other, 1, "recovered all");
	actor_must(&other, 0, "unlock all");
	/* What it had changed is undone. */
	actor_must(&other, 0, "differs %d", SEED);
	harness_await_counts(&conn, name, 0, 1);
	ck_assert_int_eq(harness_holders(&conn, name, holders, 4), 1);
	ck_assert_int_eq(holders[0].pid, other.pid);
}

static void
die_meanwhile(const struct surviving_kind *kind, bool is_after)
{
	const char *name = surviving_name(kind);

	if (!kind->has_locks || kind->is_huge)
		return;
	world_enter();
	begin(kind);
	subscribe(&events);
	down();
	if (!is_after)
		actor_kill(&owner);
	up();
	if (is_after)
		actor_kill(&owner);
	expect_told(name, owner.pid);
	expect_recovered(name);
	/* The next one finds it done. */
	down();
	up();
	actor_must(&other, 0, "lock all");
	actor_must(&other, 0, "recovered all");
	actor_must(&other, 0, "unlock all");
	surviving_expect_quiet(&events);
	harness_await_counts(&conn, name, 0, 1);
	end();
}

START_TEST(who_died_while_there_was_no_daemon)
{
	die_meanwhile(&surviving_kinds[_i], false);
}
END_TEST

START_TEST(who_dies_later_without_having_called)
{
	die_meanwhile(&surviving_kinds[_i], true);
}
END_TEST

START_TEST(who_waits_for_a_lock_gets_it_from_the_dead)
{
	world_enter();
	begin(&surviving_kinds[2]);
	actor_tell(&other, "lock all");
	actor_await_sleep(&other);
	down();
	actor_kill(&owner);
	up();
	ck_assert_int_eq(actor_hear(&other), 0);
	actor_must(&other, 1, "recovered all");
	actor_must(&other, 0, "unlock all");
	actor_must(&other, 0, "differs %d", SEED);
	harness_await_counts(&conn, "s", 0, 1);
	end();
}
END_TEST

static uint32_t
unsupervised(const char *name)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&conn, name, &row), 0);
	return row.unsupervised;
}

static void
await_unsupervised(const char *name, uint32_t n)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (unsupervised(name) != n)
		harness_assert(harness_clock_ns() < deadline_ns, "%u are unsupervised, not %u", unsupervised(name), n);
}

/* It inherited what its parent had, which has died; with the parent's lock, or without one. */
static void
leave_a_child(const struct surviving_kind *kind, bool is_before)
{
	struct protocol_event event;
	pid_t child;

	world_enter();
	begin(kind);
	actor_must(&owner, 0, "rollback all");
	child = (pid_t)actor_do(&owner, "fork");
	if (is_before) {
		actor_kill(&owner);
		await_unsupervised("s", 1);
	}
	down();
	if (!is_before)
		actor_kill(&owner);
	up();
	await_unsupervised("s", 1);
	harness_await_counts(&conn, "s", 0, 2);
	down();
	up();
	ck_assert_uint_eq(unsupervised("s"), 1);
	subscribe(&events);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	telling_next(&events, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_DETACHED && event.pid == owner.pid, "event %u of pid %d", event.kind, event.pid);
	harness_await_counts(&conn, "s", 0, 1);
	ck_assert_uint_eq(unsupervised("s"), 0);
	actor_must(&other, 0, "differs %d", SEED);
	end();
}

START_TEST(a_forked_child_keeps_what_its_parent_had_before)
{
	leave_a_child(&surviving_kinds[2], true);
}
END_TEST

START_TEST(a_forked_child_keeps_what_its_parent_had_meanwhile)
{
	leave_a_child(&surviving_kinds[2], false);
}
END_TEST

START_TEST(who_hung_up_and_maps_on_is_recovered_from)
{
	const struct surviving_kind *kind = &surviving_kinds[2];

	world_enter();
	begin(kind);
	actor_must(&owner, 0, "shutdown");
	await_unsupervised("s", 1);
	down();
	up();
	ck_assert_uint_eq(unsupervised("s"), 1);
	actor_must(&owner, 77, "get all %d", CELL);
	actor_kill(&owner);
	expect_recovered("s");
	end();
}
END_TEST

/* What it uses */

START_TEST(nothing_is_left_by_many_restarts)
{
	struct harness_usage before;
	struct harness_conn pulse;

	world_enter();
	surviving_start(&manager, &surviving_kinds[6], &owner, SEED);
	actor_start(&other, manager.daemon.socket, "s");
	open_session(&conn);
	open_session(&pulse);
	for (unsigned round = 1; round <= (unsigned)N_RESTARTS; round++) {
		surviving_restart(&manager, &pulse, round % 2 ? SIGKILL : SIGUSR2);
		surviving_await_tidy(&manager);
		if (round == 1)
			harness_usage_read(manager.daemon.pid, &before);
		surviving_expect_no_more(&manager, &before, round);
	}
	surviving_expect_quiet(&conn);
	harness_await_counts(&conn, "s", 0, 2);
	actor_must(&owner, 0, "differs %d", SEED);
	actor_kill(&owner);
	harness_close(&pulse);
	events = (struct harness_conn) HARNESS_CONN_NULL;
	end();
}
END_TEST

/* The kernel gives pages back to a group in batches. */
static void
await_usage_below(const struct group *group, uint64_t bytes, const char *when)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;

	while (group_usage(group) >= bytes) {
		harness_assert(harness_clock_ns() < deadline_ns, "%s %ju bytes are in use, and not less than %ju", when,
		    (uintmax_t)group_usage(group), (uintmax_t)bytes);
		(void)poll(NULL, 0, 5);		/* memory that goes gives no event */
	}
}

/* A reference in the box would keep it, also of one that an earlier daemon has put there. */
START_TEST(memory_of_what_was_removed_goes)
{
	struct harness_conn pulse;
	struct group group;
	uint64_t before;
	int fd;

	group_make(&group, 4 * LARGE_BYTES);
	harness_manager_prepare(&manager, NULL, "templates = ( { name = \"t-\"; max_size = \"64MiB\"; mlock = false; } );");
	manager.daemon.before_exec = group_join;
	manager.daemon.before_exec_arg = &group;
	up();
	open_session(&conn);
	open_session(&pulse);
	before = group_usage(&group);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(harness_create(&conn, "t-1", LARGE_BYTES, NULL, &fd), 0);
		harness_assert(group_usage(&group) >= before + LARGE_BYTES / 2, "the segment has no memory");
		if (i & 1)
			surviving_restart(&manager, &pulse, SIGKILL);
		ck_assert_int_eq(harness_remove(&conn, "t-1", i & 2 ? PROTOCOL_REMOVE_NOW : 0), 0);
		suite_serves(&manager.daemon);
		harness_assert(group_usage(&group) >= before + LARGE_BYTES / 2, "it is gone under its holder");
		close_fd(&fd);
		await_usage_below(&group, before + LARGE_BYTES / 2, i & 1 ? "removed after a restart," : "removed,");
		harness_await_gone(&conn, "t-1");
	}
	harness_close(&pulse);
	harness_close(&conn);
	surviving_stop(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivaldeaths");
	TCase *deaths = tcase_create("deaths"), *usage = tcase_create("usage");

	tcase_set_timeout(deaths, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(deaths, who_died_while_there_was_no_daemon, 0, SURVIVING_KINDS);
	tcase_add_loop_test(deaths, who_dies_later_without_having_called, 0, SURVIVING_KINDS);
	tcase_add_test(deaths, who_waits_for_a_lock_gets_it_from_the_dead);
	tcase_add_test(deaths, a_forked_child_keeps_what_its_parent_had_before);
	tcase_add_test(deaths, a_forked_child_keeps_what_its_parent_had_meanwhile);
	tcase_add_test(deaths, who_hung_up_and_maps_on_is_recovered_from);
	suite_add_tcase(suite, deaths);
	tcase_set_timeout(usage, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(usage, nothing_is_left_by_many_restarts);
	tcase_add_test(usage, memory_of_what_was_removed_goes);
	suite_add_tcase(suite, usage);
	if (!harness_is_full())
		printf("LEFT OUT: most of 50 restarts; CHECK_FULL=1 has them\n");
	return harness_run(suite);
}
