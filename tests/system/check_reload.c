/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reloads by SIGHUP: what is added, removed, changed and kept, and that nobody who is attached is disturbed. The service
 * manager hears of each, and the log has a line for each step.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "tests/system/reloading.h"

#define DESK	RELOADING_SEGMENT("desk", "")
#define BOOK	RELOADING_SEGMENT("book", "")

/* Maps a segment for writing, and leaves a word in it. */
static char *
map_and_sign(struct harness_conn *conn, const char *name, const char *word)
{
	int fd = suite_attach(conn, name, SUITE_WRITE);
	char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	harness_assert(data != MAP_FAILED, "mmap: %s", strerror(errno));
	(void)close(fd);
	(void)snprintf(data, 4096, "%s", word);
	return data;
}

START_TEST(what_is_added_is_provisioned)
{
	struct suite_scene scene;
	const char *log;
	char *data;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	data = map_and_sign(&scene.watcher, "desk", "mine");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	reloading_expect(log, "reload: added book: size \"64KiB\", backend \"memfd\"");
	reloading_expect(log, "reload, asked for by SIGHUP: 1 added, 1 kept\n");
	suite_ready(&scene.watcher, "book");
	(void)close(suite_attach(&scene.watcher, "book", SUITE_WRITE));
	ck_assert_str_eq(data, "mine");
	(void)munmap(data, 4096);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "reload: removed book: nobody holds it, its contents go");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &(struct protocol_segment){ 0 }), -ENOENT);
	suite_end(&scene);
}
END_TEST

START_TEST(what_is_removed_waits_for_who_holds_it)
{
	struct suite_scene scene;
	char expected[96];
	const char *log;
	char *data;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	data = map_and_sign(&scene.watcher, "book", "mine");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	(void)snprintf(expected, sizeof(expected), "removed book: nobody attaches it any more; it stays until 1 attachment ends: "
	    "pid %d\n", (int)getpid());
	reloading_expect(log, expected);
	ck_assert_int_eq(harness_attach(&scene.watcher, "book", SUITE_READ, NULL, NULL), -ESHUTDOWN);
	ck_assert_str_eq(data, "mine");

	/* Taken back: who attaches now meets the same bytes. */
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	reloading_expect(log, "kept book: its removal is taken back");
	(void)close(suite_attach(&scene.watcher, "book", SUITE_READ));
	ck_assert_str_eq(data, "mine");

	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "removed book: nobody attaches it");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "removed book: it is being removed already, and stays until");
	(void)munmap(data, 4096);
	harness_await_gone(&scene.watcher, "book");
	suite_end(&scene);
}
END_TEST

START_TEST(live_keys_act_at_once)
{
	struct suite_scene scene;
	struct harness_reply shown;
	const char *log;
	char *data;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mode = \"0666\";")));
	data = map_and_sign(&scene.watcher, "desk", "mine");
	log = reloading_hangup(&scene.daemon, NULL,
	    RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mode = \"0640\"; required = false; scrub = true;")));
	reloading_expect(log, "changed desk: mode \"0666\" -> \"0640\", required true -> false, scrub false -> true");
	reloading_expect(log, "; access that is taken away ends new attachments, not mappings: nobody who is attached loses any\n");
	ck_assert_int_eq(harness_show(&scene.watcher, "desk", &shown), 0);
	ck_assert_uint_eq(shown.shown.segment.mode, 0640);
	ck_assert_str_eq(data, "mine");
	/* It is found by its name still, and what is live acts: this is its last attachment. */
	(void)munmap(data, 4096);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	suite_ready(&scene.watcher, "desk");
	data = map_and_sign(&scene.watcher, "desk", "");
	(void)munmap(data, 4096);
	suite_end(&scene);
}
END_TEST

static void
attach_as_nobody(int control, void *arg)
{
	struct harness_conn conn;
	int fd;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, arg);
	fd = suite_attach(&conn, "desk", SUITE_READ);
	harness_say(control, "attached");
	harness_expect(control, "again");
	harness_assert(harness_attach(&conn, "desk", SUITE_READ, NULL, NULL) == -ENOENT, "it was attached again");
	harness_assert(fcntl(fd, F_GETFD) >= 0, "fd: %s", strerror(errno));
	harness_say(control, "refused");
	harness_expect(control, "end");
	(void)close(fd);
	harness_close(&conn);
}

START_TEST(access_taken_away_ends_new_attachments_alone)
{
	struct harness_child child;
	struct suite_scene scene;
	char expected[160];
	const char *log;

	harness_need_root();
	suite_begin(&scene, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mode = \"0644\";")));
	harness_child_start(&child, attach_as_nobody, scene.daemon.socket);
	harness_expect(child.control, "attached");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mode = \"0600\";")));
	(void)snprintf(expected, sizeof(expected), "changed desk: mode \"0644\" -> \"0600\"; access that is taken away ends new "
	    "attachments, not mappings: pid %d keep theirs\n", (int)child.pid);
	reloading_expect(log, expected);
	harness_say(child.control, "again");
	harness_expect(child.control, "refused");
	harness_await_counts(&scene.watcher, "desk", 1, 0);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

START_TEST(what_is_not_valid_changes_nothing)
{
	struct suite_scene scene;
	const char *log;
	char *data;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	data = map_and_sign(&scene.watcher, "desk", "mine");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("new", "bogus = 1;") ", "
	    RELOADING_SEGMENT("other", "mode = \"9\";")));
	reloading_expect(log, "bogus");
	reloading_expect(log, "mode");
	reloading_expect(log, "reload, asked for by SIGHUP: 2 problems in the configuration: nothing is changed\n");
	reloading_expect_not(log, "added");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &(struct protocol_segment){ 0 }), 0);
	ck_assert_str_eq(data, "mine");
	(void)munmap(data, 4096);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	reloading_expect(log, "reload, asked for by SIGHUP: 2 kept\n");
	suite_end(&scene);
}
END_TEST

static Suite *
suite_reload(void)
{
	Suite *suite = suite_create("reload");
	TCase *steps = tcase_create("steps");

	tcase_set_timeout(steps, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(steps, what_is_added_is_provisioned);
	tcase_add_test(steps, what_is_removed_waits_for_who_holds_it);
	tcase_add_test(steps, live_keys_act_at_once);
	tcase_add_test(steps, access_taken_away_ends_new_attachments_alone);
	tcase_add_test(steps, what_is_not_valid_changes_nothing);
	suite_add_tcase(suite, steps);
	return suite;
}

int
main(void)
{
	return harness_run(suite_reload());
}
