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

#define RULES(list)	RELOADING_SEGMENTS(DESK) "orphans = ( " list " );\n"
#define NOWHERE		"{ posix = \"/segmentd-test-of-no-object\"; after = \"1h\"; }"
#define NO_KEY		"{ sysv = { key = 0x5e5e5e5e; mode = \"0611\"; }; action = \"remove\"; }"

/* No object is about: the rules alone. */
START_TEST(rules_of_orphans_are_told_and_count_at_once)
{
	struct suite_scene scene;
	const char *log;

	suite_begin(&scene, NULL, RULES(NOWHERE));
	log = reloading_hangup(&scene.daemon, NULL, RULES(NOWHERE ", " NO_KEY));
	reloading_expect(log, "reload: added orphans: sysv key 0x5e5e5e5e, mode 0611: remove after 30s\n");
	reloading_expect(log, "reload, asked for by SIGHUP: 1 added, 2 kept\n");
	log = reloading_hangup(&scene.daemon, NULL, RULES(NO_KEY ", " NOWHERE));
	reloading_expect(log, "reload: changed orphans: rules come in another order: of those that fit an object the first one counts\n");
	log = reloading_hangup(&scene.daemon, NULL, RULES(NO_KEY ", " NOWHERE));
	reloading_expect(log, "SIGHUP: 3 kept\n");
	log = reloading_hangup(&scene.daemon, NULL, RULES("{ sysv = { key = 0x5e5e5e5e; mode = \"0611\"; }; after = \"2min\"; }"));
	reloading_expect(log, "reload: changed orphans: sysv key 0x5e5e5e5e, mode 0611: remove after 30s -> report after 2min\n");
	reloading_expect(log, "reload: removed orphans: posix \"/segmentd-test-of-no-object\": report after 1h\n");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK) "orphans = ( { posix = \"nothing\"; } );");
	reloading_expect(log, "orphans[0].posix");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "reload: removed orphans: sysv key 0x5e5e5e5e, mode 0611: report after 2min\n");
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

/* Who did it, and what stays of it, is asked for in the night. */
START_TEST(a_removal_by_hand_is_in_the_log)
{
	struct suite_scene scene;
	char expected[128];
	int fd;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	fd = suite_attach(&scene.watcher, "desk", SUITE_READ);
	ck_assert_int_eq(harness_remove(&scene.watcher, "desk", 0), 0);
	(void)snprintf(expected, sizeof(expected), "segment 'desk' is to be removed, asked for by pid %d of uid %u\n",
	    (int)getpid(), getuid());
	harness_daemon_await_log(&scene.daemon, expected);
	harness_daemon_await_log(&scene.daemon, "segment 'desk' is being removed, and stays until 1 attachment ends\n");
	ck_assert_int_eq(harness_remove(&scene.watcher, "desk", PROTOCOL_REMOVE_NOW), 0);
	harness_daemon_await_log(&scene.daemon, "segment 'desk' is to be removed at once, asked for by pid ");
	harness_daemon_await_log(&scene.daemon, "segment 'desk' is gone, but for the memory of 1 attachment\n");
	(void)close(fd);
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
	    "attachments, not mappings: pid %d keeps it\n", (int)child.pid);
	reloading_expect(log, expected);
	harness_say(child.control, "again");
	harness_expect(child.control, "refused");
	harness_await_counts(&scene.watcher, "desk", 1, 0);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	suite_end(&scene);
}
END_TEST

static void
expect_metric(struct harness_conn *conn, const char *line)
{
	struct protocol_header request;
	struct harness_reply reply;

	ck_assert_int_eq(harness_ask(conn, PROTOCOL_METRICS, &request, sizeof(request), &reply), 0);
	reloading_expect(reply.bytes + sizeof(request), line);
}

/* It is said right after the log has it. */
static void
await_status(struct harness_daemon *daemon, const char *begin, bool is_whole)
{
	while (strncmp(daemon->status, begin, strlen(begin)) || (is_whole && daemon->status[strlen(begin)])) {
		harness_await_readable(daemon->notify_fd, begin);
		(void)harness_daemon_hear(daemon);
	}
}

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
	/* The service manager shows it for as long as it is so. */
	await_status(&scene.daemon, "2 segments ready; configuration not reloaded: 2 problems, the first: ", false);
	reloading_expect(scene.daemon.status, scene.daemon.config);
	reloading_expect(scene.daemon.status, "bogus");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &(struct protocol_segment){ 0 }), 0);
	ck_assert_str_eq(data, "mine");
	(void)munmap(data, 4096);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	reloading_expect(log, "reload, asked for by SIGHUP: 2 kept\n");
	await_status(&scene.daemon, "2 segments ready", true);
	expect_metric(&scene.watcher, "\nsegmentd_reloads_total 2\n");
	expect_metric(&scene.watcher, "\nsegmentd_reloads_invalid_total 1\n");
	suite_end(&scene);
}
END_TEST

START_TEST(limits_act_at_once)
{
	struct suite_scene scene;
	struct harness_conn other;
	const char *log;
	int fd;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	fd = suite_attach(&scene.watcher, "desk", SUITE_READ);
	log = reloading_hangup(&scene.daemon, "limits = { attachments = 1; };", RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "changed daemon: limits.attachments 1024 -> 1\n");
	ck_assert_int_eq(harness_attach(&scene.watcher, "desk", SUITE_READ, NULL, NULL), -EDQUOT);
	log = reloading_hangup(&scene.daemon, "limits = { attachments = 2; }; workers = 2; memory_reserve = \"1MiB\";\n"
	    "socket_mode = \"0600\"", RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "limits.attachments 1 -> 2");
	reloading_expect(log, "socket_mode \"0666\" -> \"0600\"");
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	(void)close(fd);
	suite_dial(&scene, &other, true);
	harness_close(&other);
	log = reloading_hangup(&scene.daemon, "limits = { attachments = 2; }; workers = 2; memory_reserve = \"1MiB\";\n"
	    "socket_mode = \"0600\"", RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "asked for by SIGHUP: 1 kept\n");
	suite_end(&scene);
}
END_TEST

#define SCRATCH(keys)	"templates = ( { name = \"scratch-\"; max_size = \"1MiB\"; lifetime = \"persistent\"; prefault = false; " \
	"mlock = false; " keys " } );\n"

START_TEST(a_templates_count_goes_on)
{
	struct suite_scene scene;
	const char *log;
	int fd;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK) SCRATCH("max_count = 2;"));
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-1", 4096, NULL, &fd), 0);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	reloading_expect(log, "removed template scratch-: nobody creates from it any more; what was created from it stays as it is, "
	    "and counts: 1\n");
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-2", 4096, NULL, NULL), -EPERM);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK) SCRATCH("max_count = 1; mode = \"0640\";"));
	reloading_expect(log, "added template scratch-: ");
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-2", 4096, NULL, NULL), -EDQUOT);
	ck_assert_int_eq(harness_remove(&scene.watcher, "scratch-1", PROTOCOL_REMOVE_NOW), 0);
	(void)close(fd);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-2", 4096, NULL, &fd), 0);
	(void)close(fd);
	ck_assert_int_eq(harness_remove(&scene.watcher, "scratch-2", PROTOCOL_REMOVE_NOW), 0);
	(void)reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	suite_end(&scene);
}
END_TEST

/* What waits for somebody can be had at once by hand, and what was removed comes with another definition. */
START_TEST(what_waits_can_be_hurried)
{
	struct protocol_segment was, is;
	struct suite_scene scene;
	const char *log;
	char *data;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(BOOK));
	data = map_and_sign(&scene.watcher, "book", "mine");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &was), 0);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book", "layout = \"b/2\";")));
	reloading_expect(log, "waits book: layout none -> \"b/2\", until 1 attachment ends: pid ");
	(void)close(suite_attach(&scene.watcher, "book", SUITE_READ));
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(BOOK));
	reloading_expect(log, "kept book: the change that it waited for is taken back\n");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book", "layout = \"b/2\";")));
	reloading_expect(log, "waits book");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book", "max_size = \"1MiB\";")));
	reloading_expect(log, "refused book: max_size ");
	reloading_expect(log, "; the change that it waited for is taken back\n");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book", "layout = \"b/3\";")));
	reloading_expect(log, "waits book");
	ck_assert_int_eq(harness_remove(&scene.watcher, "book", PROTOCOL_REMOVE_NOW), 0);
	suite_ready(&scene.watcher, "book");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &is), 0);
	ck_assert_uint_gt(is.generation, was.generation);
	ck_assert_str_eq(data, "mine");
	(void)munmap(data, 4096);

	/* The way out of what never changes, with somebody attached all the while. */
	data = map_and_sign(&scene.watcher, "book", "mine");
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book",
	    "layout = \"b/3\"; max_size = \"1MiB\"; mode = \"0640\"; ")));
	reloading_expect(log, "refused book: max_size \"64KiB\" -> \"1MiB\", mode \"0600\" -> \"0640\": nothing of this is done, "
	    "since max_size never changes while the segment is there; it stays whole as it runs. To have it made anew, its "
	    "contents go: `segmentctl remove book`, then `segmentctl reload`; or add a segment under another name\n");
	ck_assert_int_eq(harness_find(&scene.watcher, "book", &is), 0);
	ck_assert_uint_eq(is.mode, 0600);
	ck_assert_int_eq(harness_remove(&scene.watcher, "book", 0), 0);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("book", "max_size = \"1MiB\";")));
	reloading_expect(log, "it is being removed, until 1 attachment ends");
	(void)munmap(data, 4096);
	do
		ck_assert_int_eq(harness_find(&scene.watcher, "book", &is), 0);
	while (is.max_size_bytes != MIB);
	suite_ready(&scene.watcher, "book");
	suite_end(&scene);
}
END_TEST

START_TEST(a_size_is_raised_and_that_is_taken_back)
{
	struct protocol_segment row;
	struct suite_scene scene;
	const char *log;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "max_size = \"1MiB\";")));
	log = reloading_hangup(&scene.daemon, NULL, "segments = ( { name = \"desk\"; size = \"128KiB\"; max_size = \"1MiB\"; "
	    "prefault = false; mlock = false; } );\n");
	reloading_expect(log, "grown desk: size \"64KiB\" -> \"128KiB\", in place\n");
	ck_assert_int_eq(harness_find(&scene.watcher, "desk", &row), 0);
	ck_assert_uint_eq(row.size_bytes, 128 * KIB);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "max_size = \"1MiB\";")));
	reloading_expect(log, "refused desk: size \"128KiB\" -> \"64KiB\": nothing of this is done, since size is never lowered while "
	    "the segment is there; it stays whole as it runs. ");
	/* As the line says: nobody holds it, so it is made anew at once. */
	ck_assert_int_eq(harness_remove(&scene.watcher, "desk", 0), 0);
	log = reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "max_size = \"1MiB\";")));
	reloading_expect(log, "added desk: size \"64KiB\"");
	suite_ready(&scene.watcher, "desk");
	ck_assert_int_eq(harness_find(&scene.watcher, "desk", &row), 0);
	ck_assert_uint_eq(row.size_bytes, 64 * KIB);
	suite_end(&scene);
}
END_TEST

START_TEST(a_reload_is_an_event)
{
	union suite_request request = { .header = { 0 } };
	struct harness_conn subscriber;
	struct harness_reply reply;
	struct protocol_event event;
	struct suite_scene scene;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	suite_dial(&scene, &subscriber, true);
	request.subscribe.flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL;
	ck_assert_int_eq(harness_ask(&subscriber, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request.subscribe), &reply), 0);
	(void)reloading_hangup(&scene.daemon, NULL, "bogus = 1;");
	(void)reloading_hangup(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	ck_assert_int_eq(harness_receive(subscriber.fd, &reply), sizeof(event));
	memcpy(&event, reply.bytes, sizeof(event));
	ck_assert_uint_eq(event.kind, PROTOCOL_EVENT_RELOAD);
	ck_assert_int_eq(event.pid, 0);
	ck_assert_uint_eq(event.uid, PROTOCOL_NOBODY);
	ck_assert_str_eq(event.segment, "");
	harness_close(&subscriber);
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
	tcase_add_test(steps, rules_of_orphans_are_told_and_count_at_once);
	tcase_add_test(steps, live_keys_act_at_once);
	tcase_add_test(steps, a_removal_by_hand_is_in_the_log);
	tcase_add_test(steps, access_taken_away_ends_new_attachments_alone);
	tcase_add_test(steps, what_is_not_valid_changes_nothing);
	tcase_add_test(steps, limits_act_at_once);
	tcase_add_test(steps, a_templates_count_goes_on);
	tcase_add_test(steps, what_waits_can_be_hurried);
	tcase_add_test(steps, a_size_is_raised_and_that_is_taken_back);
	tcase_add_test(steps, a_reload_is_an_event);
	suite_add_tcase(suite, steps);
	return suite;
}

int
main(void)
{
	return harness_run(suite_reload());
}
