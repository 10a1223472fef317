/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness's self-test: what it counts is there, and what should fail a test does. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/harness.h"

#define PAGE	4096

struct object {
	int fd;
	struct stat status;
};

static void
make_object(struct object *object)
{
	object->fd = memfd_create("harness", MFD_CLOEXEC);
	ck_assert_int_ge(object->fd, 0);
	ck_assert_int_eq(ftruncate(object->fd, 16 * PAGE), 0);
	ck_assert_int_eq(fstat(object->fd, &object->status), 0);
}

static int
reopen(const struct object *object, int flags, off_t label)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", object->fd);
	fd = open(path, flags | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(lseek(fd, label, SEEK_SET), label);
	return fd;
}

static void
expect_scan(const struct object *object, size_t readers, size_t writers)
{
	struct harness_scan scan;

	harness_scan(object->status.st_dev, object->status.st_ino, 0, &scan);
	harness_assert(scan.readers == readers && scan.writers == writers,
	    "%zu readers and %zu writers of %zu fds and %zu maps, not %zu and %zu", scan.readers, scan.writers,
	    scan.fds, scan.maps, readers, writers);
}

START_TEST(a_scan_counts_descriptions_once)
{
	struct object object;
	int reader, copy;

	make_object(&object);
	expect_scan(&object, 0, 1);
	reader = reopen(&object, O_RDONLY, PAGE);
	copy = dup(reader);
	expect_scan(&object, 1, 1);
	ck_assert_int_eq(close(reader), 0);
	expect_scan(&object, 1, 1);
	ck_assert_int_eq(close(copy), 0);
	expect_scan(&object, 0, 1);
}
END_TEST

START_TEST(a_scan_sees_mappings_without_a_descriptor)
{
	struct object object;
	void *map;
	int reader;

	make_object(&object);
	reader = reopen(&object, O_RDONLY, PAGE);
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, PAGE);
	ck_assert_ptr_ne(map, MAP_FAILED);
	expect_scan(&object, 1, 1);
	ck_assert_int_eq(close(reader), 0);
	expect_scan(&object, 1, 1);
	ck_assert_int_eq(munmap(map, PAGE), 0);
	expect_scan(&object, 0, 1);
}
END_TEST

static void
hold(int control, void *arg)
{
	harness_say(control, "holding");
	harness_expect(control, "end");
}

START_TEST(a_scan_counts_an_inherited_description_once)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct object object;
	int reader;

	make_object(&object);
	reader = reopen(&object, O_RDONLY, PAGE);
	harness_child_start(&child, hold, NULL);
	harness_expect(child.control, "holding");
	expect_scan(&object, 1, 1);
	ck_assert_int_eq(close(reader), 0);
	expect_scan(&object, 1, 1);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	expect_scan(&object, 0, 1);
}
END_TEST

static void
say_another_word(int control, void *arg)
{
	harness_expect(control, "this");
}

START_TEST(a_wrong_word_fails_the_client)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, say_another_word, NULL);
	harness_say(child.control, "that");
	ck_assert_int_eq(harness_child_await(&child), HARNESS_EXIT_FAILED);
}
END_TEST

START_TEST(a_killed_client_is_seen_as_killed)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, hold, NULL);
	harness_expect(child.control, "holding");
	harness_child_kill(&child);
	ck_assert_int_eq(child.control, -1);
}
END_TEST

START_TEST(usage_counts_what_was_opened)
{
	struct harness_usage before, after;
	struct object object;
	int pair[2];

	harness_usage_read(getpid(), &before);
	make_object(&object);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	harness_usage_read(getpid(), &after);
	ck_assert_uint_eq(after.fds, before.fds + 3);
	ck_assert_uint_eq(after.memfds, before.memfds + 1);
	ck_assert_uint_eq(after.sockets, before.sockets + 2);
}
END_TEST

START_TEST(a_failed_assertion)
{
	harness_assert(1 + 1 == 3, "this failure is expected");
}
END_TEST

START_TEST(a_failed_assertion_at_something)
{
	harness_note("point %d", 6);
	harness_note("point %d", 7);
	harness_assert(false, "this failure is expected, too");
}
END_TEST

START_TEST(a_daemon_that_ends_early)
{
	struct harness_daemon daemon;

	harness_daemon_prepare(&daemon, NULL, NULL);
	daemon.program = "/bin/false";
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
}
END_TEST

/* Runs a test that must fail, and looks at what it says. */
static void
expect_failure(const TTest *test, const char *text)
{
	Suite *suite = suite_create("failing");
	TCase *tcase = tcase_create("failing");
	SRunner *runner = srunner_create(suite);
	TestResult **results;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, test);
	srunner_run_all(runner, CK_SILENT);
	ck_assert_int_eq(srunner_ntests_failed(runner), 1);
	results = srunner_failures(runner);
	harness_assert(strstr(tr_msg(results[0]), text), "it failed with '%s'", tr_msg(results[0]));
	free(results);
	srunner_free(runner);
}

START_TEST(what_should_fail_fails)
{
	expect_failure(a_failed_assertion, "this failure is expected");
	expect_failure(a_failed_assertion_at_something, "this failure is expected, too; at point 7");
	expect_failure(a_daemon_that_ends_early, "ended with 1 before it was ready");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("harness");
	TCase *tcase = tcase_create("harness");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_scan_counts_descriptions_once);
	tcase_add_test(tcase, a_scan_sees_mappings_without_a_descriptor);
	tcase_add_test(tcase, a_scan_counts_an_inherited_description_once);
	tcase_add_test(tcase, a_wrong_word_fails_the_client);
	tcase_add_test(tcase, a_killed_client_is_seen_as_killed);
	tcase_add_test(tcase, usage_counts_what_was_opened);
	tcase_add_test(tcase, what_should_fail_fails);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
