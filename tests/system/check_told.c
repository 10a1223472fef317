/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What administrators are told of what users do: in the log, which nobody who may merely create and remove can fill, and by
 * metrics, which count each refusal once, where it is answered.
 */
#include "config.h"

#include <inttypes.h>

#include "tests/system/suite.h"

#define N_ROUNDS	300
#define BURST		20		/* of daemon/manager_tell.c, in 5 seconds */
#define BURST_NS	(5 * NS_PER_SEC)

static const char wide_limits[] = "limits = { bytes = \"1024TiB\"; };";

static const char body[] =
    "segments = ( { name = \"desk\"; size = \"4KiB\"; prefault = false; mlock = false; } );\n"
    "templates = (\n"
    "\t{ name = \"small-\"; max_size = \"4KiB\"; max_count = 100; prefault = false; mlock = false; },\n"
    "\t{ name = \"vast-\"; max_size = \"16TiB\"; max_count = 100; },\n"
    "\t{ name = \"huge-\"; max_size = \"2MiB\"; max_count = 100; page_size = \"2MiB\"; placement = \"prefer\"; } );";

static unsigned
count_in_log(const struct harness_daemon *daemon, const char *text)
{
	unsigned n = 0;

	for (const char *at = harness_daemon_log(daemon); (at = strstr(at, text)); at += strlen(text))
		n++;
	return n;
}

/* So many lines at most as the limit has let through by now. */
static void
expect_few(const struct harness_daemon *daemon, const char *text, uint64_t since_ns)
{
	unsigned n = count_in_log(daemon, text);
	uint64_t most = BURST * ((clock_monotonic_ns() - since_ns) / BURST_NS + 1);

	harness_assert(n >= 1 && n <= most && n < N_ROUNDS, "%u lines '%s', where %" PRIu64 " are the most", n, text, most);
}

START_TEST(who_creates_and_removes_fills_no_log)
{
	struct protocol_attached attached;
	struct suite_scene scene;
	int fd = -1;

	suite_begin(&scene, NULL, body);
	for (int round = 0; round < N_ROUNDS; round++) {
		ck_assert_int_eq(harness_create(&scene.watcher, "small-a", 4096, &attached, &fd), 0);
		ck_assert_int_eq(harness_remove(&scene.watcher, "small-a", 0), 0);
		close_fd(&fd);
		ck_assert_int_eq(harness_detach(&scene.watcher, &attached), 0);
		harness_await_gone(&scene.watcher, "small-a");
	}
	ck_assert_ptr_null(strstr(harness_daemon_log(&scene.daemon), "small-a"));
	/* Of what an administrator declared all is told. */
	fd = suite_attach(&scene.watcher, "desk", SUITE_READ);
	ck_assert_int_eq(harness_remove(&scene.watcher, "desk", 0), 0);
	harness_daemon_await_log(&scene.daemon, "segment 'desk' is being removed, and stays until 1 attachment ends\n");
	close_fd(&fd);
	suite_end(&scene);
}
END_TEST

START_TEST(failures_of_what_is_created_are_told_with_whose_they_are)
{
	uint64_t since_ns = clock_monotonic_ns();
	struct suite_scene scene;
	char text[96];
	int r;

	suite_begin(&scene, wide_limits, body);
	for (int round = 0; round < N_ROUNDS; round++) {
		r = harness_create(&scene.watcher, "vast-a", 10 * TIB, NULL, NULL);
		harness_assert(r == -ENOMEM || r == -ENOSPC || r == -EIO, "created: %s", strerror(-r));
	}
	(void)snprintf(text, sizeof(text), ", created by uid %u, could not be provisioned: ", (unsigned)geteuid());
	expect_few(&scene.daemon, text, since_ns);
	suite_end(&scene);
}
END_TEST

START_TEST(what_is_created_and_not_as_asked_is_told_seldom)
{
	uint64_t since_ns = clock_monotonic_ns();
	struct protocol_attached attached;
	struct suite_scene scene;
	int fd = -1;

	suite_begin(&scene, wide_limits, body);
	for (int round = 0; round < N_ROUNDS; round++) {
		ck_assert_int_eq(harness_create(&scene.watcher, "huge-a", 2 * MIB, &attached, &fd), 0);
		if (round == 0 && !strstr(harness_daemon_log(&scene.daemon), "segment 'huge-a'")) {
			(void)fprintf(stderr, "SKIP: this host has huge pages\n");
			close_fd(&fd);
			suite_end(&scene);
			return;
		}
		ck_assert_int_eq(harness_remove(&scene.watcher, "huge-a", PROTOCOL_REMOVE_NOW), 0);
		close_fd(&fd);
		ck_assert_int_eq(harness_detach(&scene.watcher, &attached), 0);
	}
	expect_few(&scene.daemon, "is ready, but not as asked: ", since_ns);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("told");
	TCase *tcase = tcase_create("told");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_creates_and_removes_fills_no_log);
	tcase_add_test(tcase, failures_of_what_is_created_are_told_with_whose_they_are);
	tcase_add_test(tcase, what_is_created_and_not_as_asked_is_told_seldom);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
