/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness's self-test: what it counts is there, and what should fail a test does. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/harness.h"

#define PAGE	4096
#define WAIT_MS		1500
#define INTO_WAIT_MS	300
#define STOPPED_MS	1700
#define STEP_MS		1000			/* what the harness's clock counts of a standstill */

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

static void
begin_signals(void (*handler)(int signal), int ms, int then_ms)
{
	const struct itimerval timer = {
		.it_value = { .tv_usec = ms * 1000 }, .it_interval = { .tv_usec = then_ms * 1000 },
	};

	harness_assert(sigaction(SIGALRM, &(struct sigaction) { .sa_handler = handler }, NULL) == 0, "sigaction: %s", strerror(errno));
	harness_assert(setitimer(ITIMER_REAL, &timer, NULL) == 0, "setitimer: %s", strerror(errno));
}

static void
ignore_signal(int signal)
{
	(void)signal;
}

static void
interrupted_wait(int control, void *arg)
{
	uint64_t begun_ns = clock_monotonic_ns(), clock_ns = harness_clock_ns();

	begin_signals(ignore_signal, 50, 50);
	harness_assert(harness_poll(NULL, 0, INTO_WAIT_MS) == 0, "poll: %s", strerror(errno));
	harness_assert(clock_monotonic_ns() - begun_ns >= INTO_WAIT_MS * NS_PER_MS &&
	    harness_clock_ns() - clock_ns >= INTO_WAIT_MS * NS_PER_MS, "a signal ended the wait");
	harness_assert(harness_poll(&(struct pollfd) { .fd = -1 }, 1, 0) == 0, "poll: %s", strerror(errno));
	/* Sooner or later: this process might be kept waiting itself. */
	for (begun_ns = clock_monotonic_ns(); harness_passed_ns(begun_ns) < NS_PER_MS;)
		;
	ck_assert_uint_eq(harness_passed_ns(clock_monotonic_ns() + NS_PER_SEC), 0);
}

START_TEST(a_wait_ends_after_its_time_and_not_by_a_signal)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct pollfd end;

	harness_child_start(&child, interrupted_wait, NULL);
	/* The same as what others wait with, which ends as soon as something comes. */
	end = (struct pollfd) { .fd = child.pidfd, .events = POLLIN };
	ck_assert_int_eq(harness_poll(&end, 1, -1), 1);
	ck_assert_int_eq(end.revents, POLLIN);
	ck_assert_int_eq(harness_poll(&end, 1, 0), 1);
	harness_child_await_success(&child);
}
END_TEST

static void
stop_oneself(int signal)
{
	(void)signal;
	(void)raise(SIGSTOP);
}

static void
stopped_wait(int control, void *arg)
{
	uint64_t begun_ns = clock_monotonic_ns(), clock_ns = harness_clock_ns(), passed_ns, counted_ns;

	begin_signals(stop_oneself, INTO_WAIT_MS, 0);
	harness_assert(harness_poll(NULL, 0, WAIT_MS) == 0, "poll: %s", strerror(errno));
	passed_ns = clock_monotonic_ns() - begun_ns;
	counted_ns = harness_clock_ns() - clock_ns;
	harness_assert(counted_ns >= WAIT_MS * NS_PER_MS, "the wait of %d ms ended after %ju", WAIT_MS, (uintmax_t)(counted_ns / NS_PER_MS));
	harness_assert(passed_ns >= counted_ns + (STOPPED_MS - STEP_MS) * NS_PER_MS, "of %ju ms %ju are counted, and %d it stood still",
	    (uintmax_t)(passed_ns / NS_PER_MS), (uintmax_t)(counted_ns / NS_PER_MS), STOPPED_MS);
	counted_ns = harness_passed_ns(begun_ns);
	passed_ns = clock_monotonic_ns() - begun_ns;
	harness_assert(counted_ns + STOPPED_MS * NS_PER_MS <= passed_ns, "of %ju ms %ju are since it stood still",
	    (uintmax_t)(passed_ns / NS_PER_MS), (uintmax_t)(counted_ns / NS_PER_MS));
}

START_TEST(of_a_standstill_a_step_is_counted)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, stopped_wait, NULL);
	ck_assert(WIFSTOPPED(harness_await_state(child.pid, WUNTRACED, "a client process to stop")));
	(void)poll(NULL, 0, STOPPED_MS);	/* the standstill itself */
	ck_assert_int_eq(kill(child.pid, SIGCONT), 0);
	harness_child_await_success(&child);
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
	tcase_add_test(tcase, a_wait_ends_after_its_time_and_not_by_a_signal);
	tcase_add_test(tcase, of_a_standstill_a_step_is_counted);
	tcase_add_test(tcase, what_should_fail_fails);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
