/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentctl against the real daemon: what it says is what is there, for whoever asks. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/segmentctl/run.h"

#define BODY \
	"segments = ( { name = \"small\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; },\n" \
	"  { name = \"public\"; size = \"4KiB\"; mode = \"0644\"; mlock = false; },\n" \
	"  { name = \"huge\"; size = \"10TiB\"; required = false; mlock = false; } );\n" \
	"templates = ( { name = \"scratch-%U-\"; max_size = \"1MiB\"; lifetime = \"persistent\"; mlock = false; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
start(void)
{
	harness_daemon_start(&daemon_, "", BODY);
}

static void
stop(void)
{
	harness_daemon_stop(&daemon_);
}

#define RUN(...) run_segmentctl("--socket", daemon_.socket, __VA_ARGS__, NULL)

static void
assert_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "'%s' lacks '%s'", text, part);
}

START_TEST(list_and_show_say_what_is_there)
{
	const struct run *run = RUN("list");
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "small");
	assert_has(run->out, "64 KiB");
	run = RUN("--json", "list");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"size\": 65536");
	assert_has(run->out, "\"page_size\": \"4KiB\"");
	run = RUN("--json", "show", "small");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"key\": \"size\"");
	run = RUN("show", "small");
	assert_has(run->out, "\"64KiB\"");
	run = RUN("show", "nothing");
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	run = RUN("--json", "clients");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"attachments\": 0");
}
END_TEST

START_TEST(holders_are_shown_while_they_hold)
{
	struct protocol_attached attached;
	struct harness_conn conn = HARNESS_CONN_NULL;
	const struct run *run;
	char pid[64];
	int fd;

	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "small", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
	run = RUN("--json", "show", "small");
	(void)snprintf(pid, sizeof(pid), "\"pid\": %d", (int)getpid());
	assert_has(run->out, pid);
	assert_has(run->out, "\"access\": \"read\"");
	assert_has(run->out, "\"readers\": 1");
	assert_has(run->out, "\"unsupervised\": false");
	/* Our fd outlives its session: it is held, and nobody supervises it. */
	harness_close(&conn);
	harness_open(&conn, daemon_.socket);
	harness_await_counts(&conn, "small", 1, 0);
	while (!strstr(run->out, "\"unsupervised\": true"))
		run = RUN("--json", "show", "small");
	(void)close(fd);
	harness_await_counts(&conn, "small", 0, 0);
	ck_assert_ptr_nonnull(strstr(RUN("show", "small")->out, "Holders\nnone\n"));
	harness_close(&conn);
}
END_TEST

START_TEST(contents_come_back_as_they_went)
{
	const struct run *run;
	char bytes[65536];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 31 >> 3);
	run_set_input(bytes, sizeof(bytes));
	ck_assert_int_eq(RUN("write", "small")->status, SEGMENTCTL_DONE);
	run = RUN("read", "small");
	ck_assert_uint_eq(run->out_bytes, sizeof(bytes));
	ck_assert_mem_eq(run->out, bytes, sizeof(bytes));
	run = RUN("read", "small", "1K", "16");
	ck_assert_mem_eq(run->out, bytes + 1024, 16);
	run_set_input(bytes, 5);
	run = RUN("write", "small", "65532");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "4 bytes were written");
}
END_TEST

START_TEST(what_is_created_can_be_removed)
{
	const struct run *run;
	char name[64];

	(void)snprintf(name, sizeof(name), "scratch-%u-a", (unsigned)getuid());
	ck_assert_int_eq(RUN("create", name, "64KiB")->status, SEGMENTCTL_DONE);
	ck_assert_int_eq(RUN("wait", name, "small")->status, SEGMENTCTL_DONE);
	run = RUN("create", name, "64KiB");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_int_eq(RUN("remove", name, "--now")->status, SEGMENTCTL_DONE);
	ck_assert_int_eq(RUN("show", name)->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(RUN("remove", name)->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(RUN("create", "elsewhere", "64KiB")->status, SEGMENTCTL_NOT_PERMITTED);
	ck_assert_int_eq(RUN("create", name, "2MiB")->status, SEGMENTCTL_FAILED);
}
END_TEST

START_TEST(waiting_for_a_failed_segment_says_why)
{
	const struct run *run = RUN("wait", "huge", "--timeout", "20s");

	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "'huge' failed: ");
	assert_has(run->err, "Remedy");
}
END_TEST

START_TEST(metrics_end_as_they_must)
{
	const struct run *run = RUN("metrics");

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out + run->out_bytes - 6, "# EOF\n");
}
END_TEST

static void
assert_status(const struct run *run, int status)
{
	harness_assert(run->status == status, "status %d, %d expected: %s", run->status, status, run->err);
}

/* In a process of its own, since rights do not come back. */
static void
ask_as_nobody(int control, void *arg)
{
	const struct run *run;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	run = RUN("list");
	assert_status(run, SEGMENTCTL_DONE);
	harness_assert(strstr(run->out, "public") && !strstr(run->out, "small"), "%s", run->out);
	assert_status(RUN("show", "small"), SEGMENTCTL_NO_SEGMENT);
	assert_status(RUN("read", "small"), SEGMENTCTL_NO_SEGMENT);
	assert_status(RUN("read", "public"), SEGMENTCTL_DONE);
	assert_status(RUN("write", "public"), SEGMENTCTL_NOT_PERMITTED);
	assert_status(RUN("remove", "public"), SEGMENTCTL_NOT_PERMITTED);
	assert_status(RUN("metrics"), SEGMENTCTL_NOT_PERMITTED);
}

START_TEST(others_get_what_they_may_have)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	harness_child_start(&child, ask_as_nobody, NULL);
	harness_child_await_success(&child);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-daemon");
	TCase *tcase = tcase_create("daemon");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, list_and_show_say_what_is_there);
	tcase_add_test(tcase, holders_are_shown_while_they_hold);
	tcase_add_test(tcase, contents_come_back_as_they_went);
	tcase_add_test(tcase, what_is_created_can_be_removed);
	tcase_add_test(tcase, waiting_for_a_failed_segment_says_why);
	tcase_add_test(tcase, metrics_end_as_they_must);
	tcase_add_test(tcase, others_get_what_they_may_have);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
