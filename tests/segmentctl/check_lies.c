/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A daemon that lies: every reply that is not what it says costs one sentence and status 1, never more. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/lies.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

static void
answer_short_rows(const struct fake_request *request)
{
	char row[sizeof(struct protocol_segment)] = { 1 };

	fake_reply_rows(request, row, 1, 16, 1, false);
}

static void
answer_rows_that_are_not_there(const struct fake_request *request)
{
	struct protocol_segment row;

	fake_fill_segment(&row, 1, "a");
	fake_reply_rows(request, &row, 1, sizeof(row), 1000, false);
}

/* 2^32 rows of 2^30 bytes: a product that overflows 32 bits to what is there. */
static void
answer_overflow(const struct fake_request *request)
{
	uint32_t head[2] = { UINT32_C(1) << 30, UINT32_C(1) << 30 };

	fake_reply(request, head, sizeof(head));
}

static void
answer_endless_name(const struct fake_request *request)
{
	struct protocol_segment row;

	fake_fill_segment(&row, 1, "a");
	memset(row.name, 'a', sizeof(row.name));
	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

static void
answer_same_page(const struct fake_request *request)
{
	struct protocol_segment row;

	fake_fill_segment(&row, 5, "a");
	fake_reply_rows(request, &row, 1, sizeof(row), 1, true);
}

static void
answer_empty_pages(const struct fake_request *request)
{
	fake_reply_rows(request, "", 0, sizeof(struct protocol_segment), 0, true);
}

START_TEST(rows_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ lies_answer_short, "fewer than" },
		{ answer_short_rows, "shorter" },
		{ answer_rows_that_are_not_there, "as many rows" },
		{ answer_overflow, "as many rows" },
		{ answer_endless_name, "no end" },
		{ answer_same_page, "no order" },
		{ answer_empty_pages, "empty page" },
	};

	lies_assert_found_out(lies[_i].handler, "list", NULL, lies[_i].part);
}
END_TEST

static void
answer_endless_command(const struct fake_request *request)
{
	struct protocol_client row = { .cursor = 1 };

	memset(row.command, 'a', sizeof(row.command));
	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

static void
answer_endless_cgroup(const struct fake_request *request)
{
	struct protocol_client row = { .cursor = 1 };

	memset(row.cgroup, 'a', sizeof(row.cgroup));
	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

static void
answer_endless_container(const struct fake_request *request)
{
	struct protocol_client row = { .cursor = 1 };

	memset(row.container, 'a', sizeof(row.container));
	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

START_TEST(texts_of_clients_are_checked)
{
	lies_assert_found_out(answer_endless_command, "clients", NULL, "no end");
	lies_assert_found_out(answer_endless_cgroup, "clients", NULL, "no end");
	lies_assert_found_out(answer_endless_container, "clients", NULL, "no end");
}
END_TEST

struct shown_body {
	struct protocol_segment row;
	uint32_t reason_len;
	uint32_t keys_len;
	uint64_t file[3];
	char text[64];
};

static void
reply_shown(const struct fake_request *request, uint32_t reason_len, uint32_t keys_len, const char *text, size_t size)
{
	struct shown_body body = { .reason_len = reason_len, .keys_len = keys_len };

	fake_fill_segment(&body.row, 1, "a");
	memcpy(body.text, text, size);
	fake_reply(request, &body, offsetof(struct shown_body, text) + size);
}

static void
answer_long_reason(const struct fake_request *request)
{
	reply_shown(request, UINT32_MAX, 1, "\0", 2);
}

static void
answer_wrapping_texts(const struct fake_request *request)
{
	reply_shown(request, 1, UINT32_MAX, "\0", 2);
}

static void
answer_reason_without_end(const struct fake_request *request)
{
	reply_shown(request, 4, 1, "abcd", 5);
}

static void
answer_reason_with_two_ends(const struct fake_request *request)
{
	reply_shown(request, 4, 1, "a\0b\0", 5);
}

static void
answer_keys_of_three_columns(const struct fake_request *request)
{
	reply_shown(request, 0, 6, "a\tb\tc", 6);
}

static void
answer_keys_of_five_columns(const struct fake_request *request)
{
	reply_shown(request, 0, 10, "a\tb\tc\td\te", 10);
}

START_TEST(texts_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ lies_answer_short, "fewer than" },
		{ answer_long_reason, "not as long" },
		{ answer_wrapping_texts, "not as long" },
		{ answer_reason_without_end, "not as long" },
		{ answer_reason_with_two_ends, "not as long" },
		{ answer_keys_of_three_columns, "four columns" },
		{ answer_keys_of_five_columns, "four columns" },
	};

	lies_assert_found_out(lies[_i].handler, "show", "a", lies[_i].part);
}
END_TEST

/* An honest segment whose holders are a lie. */
static void
answer_who(const struct fake_request *request, uint32_t text_len, const struct protocol_process *row, uint32_t row_size)
{
	struct protocol_told told = { .looked_ns = 1, .n_rows = 1, .text_len = text_len };

	if (request->message.header.type == PROTOCOL_WHO)
		fake_reply(request, &told.looked_ns, sizeof(told) - sizeof(told.header));
	else if (request->message.header.type == PROTOCOL_WHO_ROWS)
		fake_reply_rows(request, row, 1, row_size, 1, false);
	else
		reply_shown(request, 1, 1, "\0", 2);
}

static void
answer_told_too_short(const struct fake_request *request)
{
	if (request->message.header.type == PROTOCOL_WHO)
		fake_reply(request, "", 1);
	else
		answer_who(request, 0, NULL, 0);
}

static void
answer_told_without_text(const struct fake_request *request)
{
	answer_who(request, 1, NULL, 0);
}

static void
answer_told_without_objects(const struct fake_request *request)
{
	struct protocol_told told = { .looked_ns = 1, .n_objects = UINT32_MAX };

	if (request->message.header.type == PROTOCOL_WHO)
		fake_reply(request, &told.looked_ns, sizeof(told) - sizeof(told.header));
	else
		answer_who(request, 0, NULL, 0);
}

static void
answer_told_without_pids(const struct fake_request *request)
{
	struct protocol_told told = { .looked_ns = 1, .n_pids = 1 };

	if (request->message.header.type == PROTOCOL_WHO)
		fake_reply(request, &told.looked_ns, sizeof(told) - sizeof(told.header));
	else
		answer_who(request, 0, NULL, 0);
}

static void
answer_endless_process(const struct fake_request *request)
{
	struct protocol_process row = { .cursor = 1 };

	memset(row.container, 'a', sizeof(row.container));
	answer_who(request, 0, &row, sizeof(row));
}

static void
answer_short_process(const struct fake_request *request)
{
	struct protocol_process row = { .cursor = 1 };

	answer_who(request, 0, &row, sizeof(row) - 8);
}

static void
answer_process_without_cursor(const struct fake_request *request)
{
	struct protocol_process row = { .pid = 1 };

	answer_who(request, 0, &row, sizeof(row));
}

START_TEST(processes_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ answer_told_too_short, "fewer than" },
		{ answer_told_without_text, "not as long" },
		{ answer_told_without_objects, "not as long" },
		{ answer_told_without_pids, "not as long" },
		{ answer_endless_process, "no end" },
		{ answer_short_process, "shorter" },
		{ answer_process_without_cursor, "no order" },
	};

	lies_assert_found_out(lies[_i].handler, "show", "a", lies[_i].part);
}
END_TEST

/* An honest segment whose locks are a lie. */
static void
answer_lock(const struct fake_request *request, const struct protocol_lock *row, uint32_t row_size)
{
	if (request->message.header.type == PROTOCOL_LOCKS)
		fake_reply_rows(request, row, 1, row_size, 1, false);
	else if (request->message.header.type == PROTOCOL_HOLDERS)
		fake_reply_rows(request, "", 0, sizeof(struct protocol_holder), 0, false);
	else if (request->message.header.type == PROTOCOL_WHO)
		fake_refuse(request, -EOPNOTSUPP, "not known");
	else
		reply_shown(request, 1, 1, "\0", 2);
}

static void
answer_endless_lock(const struct fake_request *request)
{
	struct protocol_lock row = { .cursor = 1 };

	memset(row.name, 'a', sizeof(row.name));
	answer_lock(request, &row, sizeof(row));
}

static void
answer_short_lock(const struct fake_request *request)
{
	struct protocol_lock row = { .cursor = 1 };

	answer_lock(request, &row, sizeof(row) - 8);
}

static void
answer_lock_without_cursor(const struct fake_request *request)
{
	struct protocol_lock row = { .name = "a" };

	answer_lock(request, &row, sizeof(row));
}

START_TEST(locks_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ answer_endless_lock, "no end" },
		{ answer_short_lock, "shorter" },
		{ answer_lock_without_cursor, "no order" },
	};

	lies_assert_found_out(lies[_i].handler, "show", "a", lies[_i].part);
}
END_TEST

START_TEST(short_recoveries_are_checked)
{
	lies_assert_found_out(lies_answer_short, "recover", "a", "fewer than");
}
END_TEST

static void
reply_waited(const struct fake_request *request, uint32_t state, uint32_t reason_len)
{
	struct { uint64_t progress, total; uint32_t state, reason_len; } body = { 5, 4, state, reason_len };

	fake_reply(request, &body, sizeof(body));
}

static void
answer_pending(const struct fake_request *request)
{
	reply_waited(request, PROTOCOL_PROVISIONING, 0);
}

static void
answer_no_state(const struct fake_request *request)
{
	reply_waited(request, 77, 0);
}

static void
answer_no_text(const struct fake_request *request)
{
	reply_waited(request, PROTOCOL_FAILED, 9);
}

START_TEST(waits_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ lies_answer_short, "fewer than" },
		{ answer_pending, "before there was anything" },
		{ answer_no_state, "no state" },
		{ answer_no_text, "not as long" },
	};

	lies_assert_found_out(lies[_i].handler, "wait", "a", lies[_i].part);
}
END_TEST

START_TEST(a_bar_without_progress_does_not_run_in_circles)
{
	const struct run *run;

	fake_start(&lies_fake, answer_pending);
	run_set_terminal(80);
	run = run_segmentctl("--socket", lies_fake.socket, "wait", "a", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_ptr_nonnull(strstr(run->out, "before there was anything"));
}
END_TEST

static void
answer_metrics_without_end(const struct fake_request *request)
{
	fake_reply(request, "a 1\n", 5);
}

static void
answer_metrics_without_nul(const struct fake_request *request)
{
	fake_reply(request, "# EOF\n", 6);
}

static void
answer_metrics_that_act(const struct fake_request *request)
{
	fake_reply(request, "a\033[2J 1\n# EOF\n", 15);
}

static void
answer_two_ends(const struct fake_request *request)
{
	fake_reply(request, "# EOF\n\0# EOF\n", 14);
}

START_TEST(metrics_are_checked)
{
	static const struct { fake_handler handler; const char *part; } lies[] = {
		{ lies_answer_short, "fewer than" },
		{ answer_metrics_without_end, "# EOF" },
		{ answer_metrics_without_nul, "NUL" },
		{ answer_metrics_that_act, "control character" },
		{ answer_two_ends, "NUL" },
	};

	lies_assert_found_out(lies[_i].handler, "metrics", NULL, lies[_i].part);
}
END_TEST

static void
answer_hang_up(const struct fake_request *request)
{
	_exit(0);
}

START_TEST(a_daemon_that_hangs_up_is_no_daemon)
{
	fake_start(&lies_fake, answer_hang_up);
	ck_assert_int_eq(run_segmentctl("--socket", lies_fake.socket, "list", NULL)->status, SEGMENTCTL_NO_DAEMON);
}
END_TEST

static void
answer_acting_refusal(const struct fake_request *request)
{
	fake_refuse(request, -EACCES, "no\033[2J\nsegmentctl: all is well");
}

START_TEST(refusals_do_not_act_on_the_terminal)
{
	const struct run *run;

	fake_start(&lies_fake, answer_acting_refusal);
	run = run_segmentctl("--socket", lies_fake.socket, "show", "a", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	ck_assert_ptr_null(strchr(run->err, '\033'));
	ck_assert_ptr_eq(strchr(run->err, '\n'), run->err + strlen(run->err) - 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-lies");
	TCase *tcase = tcase_create("lies");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, NULL, lies_stop);
	tcase_add_loop_test(tcase, rows_are_checked, 0, 7);
	tcase_add_test(tcase, texts_of_clients_are_checked);
	tcase_add_loop_test(tcase, texts_are_checked, 0, 7);
	tcase_add_loop_test(tcase, processes_are_checked, 0, 7);
	tcase_add_loop_test(tcase, locks_are_checked, 0, 3);
	tcase_add_test(tcase, short_recoveries_are_checked);
	tcase_add_loop_test(tcase, waits_are_checked, 0, 4);
	tcase_add_test(tcase, a_bar_without_progress_does_not_run_in_circles);
	tcase_add_loop_test(tcase, metrics_are_checked, 0, 5);
	tcase_add_test(tcase, a_daemon_that_hangs_up_is_no_daemon);
	tcase_add_test(tcase, refusals_do_not_act_on_the_terminal);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
