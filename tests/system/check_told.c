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
#define N_REFUSED	10
#define BURST		20		/* of daemon/manager_tell.c, in 5 seconds */
#define BURST_NS	(5 * NS_PER_SEC)

static const char wide_limits[] = "limits = { bytes = \"1024TiB\"; };";

static const char body[] =
    "segments = ( { name = \"desk\"; size = \"4KiB\"; prefault = false; mlock = false; } );\n"
    "templates = (\n"
    "\t{ name = \"small-\"; max_size = \"4KiB\"; max_count = 100; prefault = false; mlock = false; },\n"
    "\t{ name = \"few-\"; max_size = \"4KiB\"; max_count = 1; lifetime = \"persistent\"; prefault = false; mlock = false; },\n"
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

static void
expect_refused(const struct suite_scene *scene, const char *kind, uint64_t n)
{
	char name[96];
	uint64_t figure;

	(void)snprintf(name, sizeof(name), "segmentd_charges_refused_total{kind=\"%s\"}", kind);
	figure = suite_figure(&scene->daemon, name);
	harness_assert(figure == n, "%s: %" PRIu64 ", and not %" PRIu64, name, figure, n);
}

/* However often it was looked at before it was answered. */
START_TEST(refusals_are_counted_as_they_are_answered_and_told_once)
{
	struct harness_conn conns[3], late = HARNESS_CONN_NULL;
	struct suite_scene scene;
	int fds[2];

	suite_begin(&scene, "limits = { clients = 4; attachments = 2; };", body);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_open(&conns[i], scene.daemon.socket);
	for (int i = 0; i < N_REFUSED; i++) {
		suite_dial(&scene, &late, false);
		suite_farewell(late.fd, -EDQUOT, "limits.clients", "one client too many");
		harness_close(&late);
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_close(&conns[i]);
	expect_refused(&scene, "clients", N_REFUSED);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
		fds[i] = suite_attach(&scene.watcher, "desk", SUITE_READ);
	for (int i = 0; i < N_REFUSED; i++)
		ck_assert_int_eq(harness_attach(&scene.watcher, "desk", SUITE_READ, NULL, NULL), -EDQUOT);
	expect_refused(&scene, "attachments", N_REFUSED);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
	ck_assert_uint_eq(count_in_log(&scene.daemon, " has reached limits.clients (4 connections for each uid; it has 4): "), 1);
	ck_assert_uint_eq(count_in_log(&scene.daemon, " has reached limits.attachments (2 attachments for each uid; it has 2): "), 1);
	suite_end(&scene);
}
END_TEST

START_TEST(templates_that_are_used_up_are_counted_and_told)
{
	struct suite_scene scene;

	suite_begin(&scene, NULL, body);
	ck_assert_int_eq(harness_create(&scene.watcher, "few-a", 4096, NULL, NULL), 0);
	for (int i = 0; i < N_REFUSED; i++)
		ck_assert_int_eq(harness_create(&scene.watcher, "few-b", 4096, NULL, NULL), -EDQUOT);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_templates_refused_total"), N_REFUSED);
	ck_assert_uint_eq(count_in_log(&scene.daemon, " wants one more of template 'few-', of which there are the 1 that"), 5);
	ck_assert_int_eq(harness_remove(&scene.watcher, "few-a", PROTOCOL_REMOVE_NOW), 0);
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
	tcase_add_test(tcase, refusals_are_counted_as_they_are_answered_and_told_once);
	tcase_add_test(tcase, templates_that_are_used_up_are_counted_and_told);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
