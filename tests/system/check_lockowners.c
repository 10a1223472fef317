/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Owners that live, whatever it looks like: stopped, disconnected, forked, in another pid namespace. Nobody robs them. And
 * the ways in which an owner can leave a section without dying of a signal: the lock comes back from each of them.
 */
#include "config.h"

#include <signal.h>

#include "tests/harness_locks.h"
#include "tests/system/actor.h"

#define PATIENCE_MS	400		/* six times within it a waiter asks whether the owner is gone */

static const char body[] =
    "segments = ( { name = \"one\"; size = \"64KiB\"; mlock = false; locks = (\n"
    "\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); },\n"
    "\t{ name = \"two\"; size = \"64KiB\"; mlock = false; locks = (\n"
    "\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); } );";

/* One worker: what it was asked for first is done first. */
static const char large_body[] =
    "segments = ( { name = \"large\"; size = \"64KiB\"; mlock = false; locks = (\n"
    "\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"8MiB\"; } ); } );\n"
    "templates = ( { name = \"later-\"; max_size = \"1MiB\"; max_count = 1; mlock = false; } );";

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct actor owner;
	struct actor other;
	struct protocol_lock row;
};

static void
scene_begin(struct scene *scene)
{
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, "", body);
	harness_open(&scene->conn, scene->daemon.socket);
	actor_start(&scene->owner, scene->daemon.socket, "one");
	actor_start(&scene->other, scene->daemon.socket, "one");
}

static void
scene_end(struct scene *scene)
{
	actor_kill(&scene->other);
	harness_await_counts(&scene->conn, "one", 0, 0);
	harness_await_counts(&scene->conn, "two", 0, 0);
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
}

/* Memory stays with who maps it, and so do its locks. */
START_TEST(removal_takes_no_lock_from_its_owner)
{
	struct harness_daemon daemon;
	struct harness_segment segment;
	struct protocol_attached later;
	struct control_place place;
	struct harness_conn conn;
	int fd;

	harness_daemon_start(&daemon, "workers = 1;", large_body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "large"), PROTOCOL_READY);
	harness_segment_open(&conn, "large", &segment);
	place = harness_segment_place(&segment, 0);
	ck_assert(control_try(place.lock, segment.attached.attachment, 0));
	ck_assert_int_eq(control_log(&place, 0, 100), 0);
	ck_assert_int_eq(harness_remove(&conn, "large", PROTOCOL_REMOVE_NOW), 0);
	/* When this one is provisioned, the worker has done what the removal asked for. */
	ck_assert_int_eq(harness_create(&conn, "later-1", 4096, &later, &fd), 0);
	ck_assert_uint_eq(harness_segment_owner(&segment, 0), segment.attached.attachment);
	ck_assert_uint_gt(atomic_load(&place.lock->used_bytes), 0);
	(void)close(fd);
	harness_segment_close(&segment);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

/* The owner has changed one of two cells that have to be equal. */
static void
enter(struct actor *owner)
{
	actor_must(owner, 0, "lock book");
	actor_must(owner, 0, "set book 0 7");
}

/* It does the other one as well, as if nothing had happened: nobody was there. */
static void
finish(struct actor *owner)
{
	actor_must(owner, 0, "recovered book");
	actor_must(owner, 7, "get book 0");
	actor_must(owner, 0, "set book 1 7");
	actor_must(owner, 0, "unlock book");
}

static void
expect_whole(struct actor *actor, long told, long value)
{
	actor_must(actor, 0, "lock book");
	actor_must(actor, told, "recovered book");
	actor_must(actor, value, "get book 0");
	actor_must(actor, value, "get book 1");
	actor_must(actor, 0, "unlock book");
}

/* Another client cannot have it, for as long as it takes. */
static void
expect_not_robbed(struct scene *scene)
{
	actor_must(&scene->other, -EBUSY, "trylock book");
	actor_must(&scene->other, -ETIMEDOUT, "timedlock book %d", PATIENCE_MS);
}

/* The daemon knows the owner's attachment, and no session of it. */
static void
await_unsupervised(struct scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row;

	do {
		harness_assert(harness_clock_ns() < deadline_ns, "the daemon has not noticed the end of a connection");
		harness_assert(harness_find(&scene->conn, "one", &row) == 0, "segment 'one' is lost");
	} while (row.unsupervised != 1);
}

START_TEST(stopped_owner_is_never_robbed)
{
	struct scene scene;

	scene_begin(&scene);
	enter(&scene.owner);
	actor_stop(&scene.owner);
	expect_not_robbed(&scene);
	/* Also by one that waits without end when it goes on. */
	actor_tell_to_sleep(&scene.other, "book", ACTOR_LONGEST);
	actor_go_on(&scene.owner);
	finish(&scene.owner);
	ck_assert_int_eq(actor_hear(&scene.other), 0);
	actor_must(&scene.other, 0, "recovered book");
	actor_must(&scene.other, 7, "get book 1");
	actor_must(&scene.other, 0, "unlock book");
	actor_kill(&scene.owner);
	scene_end(&scene);
}
END_TEST

START_TEST(stopped_owner_is_not_robbed_without_a_daemon)
{
	struct scene scene;

	scene_begin(&scene);
	enter(&scene.owner);
	actor_stop(&scene.owner);
	harness_daemon_kill(&scene.daemon);
	expect_not_robbed(&scene);
	actor_go_on(&scene.owner);
	finish(&scene.owner);
	expect_whole(&scene.other, 0, 7);
	enter(&scene.owner);
	actor_stop(&scene.owner);
	actor_kill(&scene.owner);
	expect_whole(&scene.other, 1, 7);
	actor_kill(&scene.other);
	harness_daemon_remove(&scene.daemon);
}
END_TEST

static const char *const goodbyes[] = { "disconnect", "shutdown" };

START_TEST(closing_the_connection_robs_nobody)
{
	struct scene scene;

	scene_begin(&scene);
	enter(&scene.owner);
	actor_must(&scene.owner, 0, "%s", goodbyes[_i]);
	await_unsupervised(&scene);
	expect_not_robbed(&scene);
	finish(&scene.owner);
	expect_whole(&scene.other, 0, 7);
	/* Its locks are looked after all the same. */
	actor_must(&scene.owner, 0, "lock book");
	actor_must(&scene.owner, 0, "set book 0 8");
	actor_kill(&scene.owner);
	actor_await_recoveries(&scene.conn, "one", "book", 1, &scene.row);
	expect_whole(&scene.other, 1, 7);
	scene_end(&scene);
}
END_TEST

/* The memory lives on in a child that will never unlock anything: the process's death is what counts. */
START_TEST(child_with_the_memory_does_not_keep_the_lock)
{
	struct scene scene;
	bool is_disconnected = _i < (int)BASE_ARRAY_SIZE(goodbyes);
	pid_t child, owner;

	scene_begin(&scene);
	enter(&scene.owner);
	child = (pid_t)actor_do(&scene.owner, "fork");
	harness_assert(child > 0, "fork: %d", child);
	if (is_disconnected) {
		actor_must(&scene.owner, 0, "%s", goodbyes[_i]);
		if (_i == 1)
			await_unsupervised(&scene);
	}
	expect_not_robbed(&scene);
	actor_tell_to_sleep(&scene.other, "book", ACTOR_LONGEST);
	owner = scene.owner.pid;
	actor_kill(&scene.owner);
	ck_assert_int_eq(actor_hear(&scene.other), 0);
	actor_must(&scene.other, 1, "recovered book");
	actor_must(&scene.other, 0, "get book 0");
	actor_must(&scene.other, 0, "unlock book");
	actor_await_recoveries(&scene.conn, "one", "book", 1, &scene.row);
	ck_assert_int_eq(scene.row.recovered_pid, owner);
	harness_assert(kill(child, 0) == 0, "the child is gone: what was shown?");
	harness_await_counts(&scene.conn, "one", 0, 2);
	harness_assert(kill(child, SIGKILL) == 0, "kill: %s", strerror(errno));
	scene_end(&scene);
}
END_TEST

START_TEST(forked_child_has_none_of_the_locks)
{
	struct scene scene;

	scene_begin(&scene);
	actor_must(&scene.owner, -ECHILD, "forked book");
	enter(&scene.owner);
	actor_must(&scene.owner, -ECHILD, "forked book");
	expect_not_robbed(&scene);
	finish(&scene.owner);
	expect_whole(&scene.other, 0, 7);
	actor_kill(&scene.owner);
	scene_end(&scene);
}
END_TEST

/* Each leaves the owner's section in its own way; the process ends with it or not. */
static const struct {
	const char *order;
	bool is_answered;
	bool ends;
} leavings[] = {
	{ "exec", false, false },
	{ "exit", false, true },
	{ "detach", true, false },
};

START_TEST(lock_comes_back_from_who_leaves_in_a_section)
{
	struct scene scene;

	scene_begin(&scene);
	enter(&scene.owner);
	actor_tell_to_sleep(&scene.other, "book", ACTOR_LONGEST);
	actor_tell(&scene.owner, "%s", leavings[_i].order);
	if (leavings[_i].is_answered)
		ck_assert_int_eq(actor_hear(&scene.owner), 0);
	if (leavings[_i].ends)
		actor_await_exit(&scene.owner);
	ck_assert_int_eq(actor_hear(&scene.other), 0);
	actor_must(&scene.other, 1, "recovered book");
	actor_must(&scene.other, 0, "get book 0");
	actor_must(&scene.other, 0, "unlock book");
	if (!leavings[_i].ends)
		actor_kill(&scene.owner);
	scene_end(&scene);
}
END_TEST

START_TEST(lock_comes_back_from_a_thread_that_ends)
{
	struct scene scene;

	scene_begin(&scene);
	actor_tell(&scene.other, "get book 0");
	ck_assert_int_eq(actor_hear(&scene.other), 0);
	actor_must(&scene.owner, 0, "thread book 0 7");
	expect_whole(&scene.other, 1, 0);
	actor_must(&scene.owner, 0, "thread book 0 7");
	expect_whole(&scene.owner, 1, 0);
	/* The process lives, and it was its own library that put things right. */
	actor_look(&scene.conn, "one", "book", &scene.row);
	ck_assert_uint_eq(scene.row.n_recoveries, 0);
	actor_kill(&scene.owner);
	scene_end(&scene);
}
END_TEST

START_TEST(equal_ids_in_two_segments_do_not_mix)
{
	struct scene scene;
	struct actor namesake, waiter;
	uint32_t id;

	scene_begin(&scene);
	actor_start(&namesake, scene.daemon.socket, "two");
	actor_start(&waiter, scene.daemon.socket, "two");
	enter(&scene.owner);
	enter(&namesake);
	actor_look(&scene.conn, "one", "book", &scene.row);
	id = scene.row.owner;
	actor_look(&scene.conn, "two", "book", &scene.row);
	harness_assert(id && id == scene.row.owner, "ids %u and %u: the test shows nothing", id, scene.row.owner);
	actor_tell_to_sleep(&waiter, "book", ACTOR_LONGEST);
	actor_kill(&scene.owner);
	expect_whole(&scene.other, 1, 0);
	actor_look(&scene.conn, "two", "book", &scene.row);
	ck_assert_uint_eq(scene.row.owner, id);
	ck_assert_uint_eq(scene.row.n_recoveries, 0);
	harness_assert(!actor_has_answered(&waiter), "the other segment's owner was robbed");
	finish(&namesake);
	ck_assert_int_eq(actor_hear(&waiter), 0);
	actor_must(&waiter, 0, "recovered book");
	actor_kill(&namesake);
	actor_kill(&waiter);
	scene_end(&scene);
}
END_TEST

/* Two first processes of their namespaces: equal pids, equal thread ids. */
START_TEST(owners_in_other_pid_namespaces_are_told_apart)
{
	struct scene scene;
	struct actor first, second;

	harness_need_root();
	scene_begin(&scene);
	actor_start_in_namespace(&first, scene.daemon.socket, "one");
	actor_start_in_namespace(&second, scene.daemon.socket, "one");
	enter(&first);
	actor_stop(&first);
	expect_not_robbed(&scene);
	/* The namesake waits and dies, and then another one: that concerns nobody. */
	actor_tell_to_sleep(&second, "book", ACTOR_LONGEST);
	actor_kill(&second);
	expect_not_robbed(&scene);
	actor_start_in_namespace(&second, scene.daemon.socket, "one");
	actor_must(&second, -ETIMEDOUT, "timedlock book 50");
	actor_go_on(&first);
	finish(&first);
	expect_whole(&second, 0, 7);
	enter(&first);
	/* Nor one that it forked itself, in the section. */
	actor_must(&first, 0, "namesake");
	expect_not_robbed(&scene);
	actor_tell_to_sleep(&second, "book", ACTOR_LONGEST);
	actor_kill(&first);
	ck_assert_int_eq(actor_hear(&second), 0);
	actor_must(&second, 1, "recovered book");
	actor_must(&second, 7, "get book 0");
	actor_must(&second, 0, "unlock book");
	actor_kill(&second);
	actor_kill(&scene.owner);
	scene_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockowners");
	TCase *tcase = tcase_create("lockowners");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, removal_takes_no_lock_from_its_owner);
	tcase_add_test(tcase, stopped_owner_is_never_robbed);
	tcase_add_test(tcase, stopped_owner_is_not_robbed_without_a_daemon);
	tcase_add_loop_test(tcase, closing_the_connection_robs_nobody, 0, BASE_ARRAY_SIZE(goodbyes));
	/* And once with the connection open. */
	tcase_add_loop_test(tcase, child_with_the_memory_does_not_keep_the_lock, 0, BASE_ARRAY_SIZE(goodbyes) + 1);
	tcase_add_test(tcase, forked_child_has_none_of_the_locks);
	tcase_add_loop_test(tcase, lock_comes_back_from_who_leaves_in_a_section, 0, BASE_ARRAY_SIZE(leavings));
	tcase_add_test(tcase, lock_comes_back_from_a_thread_that_ends);
	tcase_add_test(tcase, equal_ids_in_two_segments_do_not_mix);
	tcase_add_test(tcase, owners_in_other_pid_namespaces_are_told_apart);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
