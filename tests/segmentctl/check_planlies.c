/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A daemon that lies about the lines of a plan, each of which says its own size. And one that was started anew meanwhile. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/lies.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

/* A plan of two lines, honest but for them: as many bytes of rows as are given, and what the head says of them. */
static void
answer_lines(const struct fake_request *request, const void *rows, size_t size, uint32_t n_said, bool more)
{
	struct protocol_planned planned = { .n_lines = 2, .counts = { [PROTOCOL_PLAN_ADDED] = 2 } };
	union {
		uint32_t head[2];
		char bytes[8192];
	} body = { .head = { n_said, 0 } };

	if (request->message.header.type == PROTOCOL_PLAN) {
		fake_reply(request, &planned.n_lines, sizeof(planned) - offsetof(struct protocol_planned, n_lines));
		return;
	}
	memcpy(body.bytes + sizeof(body.head), rows, size);
	if (more)
		fake_reply_more(request, &body, sizeof(body.head) + size);
	else
		fake_reply(request, &body, sizeof(body.head) + size);
}

#define LINE_TEXT	"size \"1GiB\""

/* A line as it should be. */
struct told_line {
	struct protocol_plan_line line;
	char text[16];
};

static struct told_line
told_line(uint64_t cursor)
{
	struct told_line told = {
		.line = {
			.cursor = cursor,
			.size = sizeof(told),
			.text_len = sizeof(LINE_TEXT),
			.action = PROTOCOL_PLAN_ADDED,
			.name = "desk",
		},
		.text = LINE_TEXT,
	};

	return told;
}

/* The next cursor each time, and always more. */
static void
answer_endless_lines(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	if (request->message.header.type == PROTOCOL_PLAN_LINES)
		told.line.cursor += request->message.plan_lines.cursor;
	answer_lines(request, &told, sizeof(told), 1, true);
}

static void
answer_empty_lines(const struct fake_request *request)
{
	answer_lines(request, "", 0, 0, true);
}

/* 2, then 1. */
static void
answer_lines_backwards(const struct fake_request *request)
{
	struct told_line told = told_line(2);

	if (request->message.header.type == PROTOCOL_PLAN_LINES && request->message.plan_lines.cursor)
		told.line.cursor = 1;
	answer_lines(request, &told, sizeof(told), 1, true);
}

static void
answer_line_backwards_in_its_page(const struct fake_request *request)
{
	struct told_line told[2] = { told_line(UINT64_MAX), told_line(1) };

	answer_lines(request, told, sizeof(told), 2, false);
}

static void
answer_line_beyond(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.size += 8;
	answer_lines(request, &told, sizeof(told), 1, false);
}

/* As long as there is room for, to 8 bytes, once it is added to where it begins. */
static void
answer_line_that_wraps(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.size = UINT32_MAX - 7;
	told.line.text_len = UINT32_MAX - 7 - (uint32_t)sizeof(told.line);
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_line_of_no_length(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.size = 0;
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_line_of_odd_length(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.size -= 1;
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_text_beyond_its_line(const struct fake_request *request)
{
	struct told_line told[2] = { told_line(1), told_line(2) };

	told[0].line.text_len = sizeof(told[0].text) + 1;
	answer_lines(request, told, sizeof(told), 2, false);
}

static void
answer_line_without_text(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.text_len = 0;
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_endless_line_text(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	memset(told.text, 'a', sizeof(told.text));
	told.line.text_len = sizeof(told.text);
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_endless_line_name(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	memset(told.line.name, 'a', sizeof(told.line.name));
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_too_many_pids(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.n_pids = UINT8_MAX;
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_pid_without_number(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	told.line.n_pids = 1;
	told.line.pids[0] = -1;
	answer_lines(request, &told, sizeof(told), 1, false);
}

static void
answer_half_a_line(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	answer_lines(request, &told, sizeof(told.line) - 8, 1, false);
}

static void
answer_lines_that_are_not_there(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	answer_lines(request, &told, sizeof(told), UINT32_MAX, false);
}

static void
answer_bytes_behind_lines(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	answer_lines(request, &told, sizeof(told), 0, false);
}

static void
answer_fewer_lines(const struct fake_request *request)
{
	struct told_line told = told_line(1);

	answer_lines(request, &told, sizeof(told), 1, false);
}

/* Lines are printed as they come, since there may be a hundred thousand. */
START_TEST(lines_of_plans_are_checked)
{
	static const char good[] = "added     desk: " LINE_TEXT "\n";
	static const struct { fake_handler handler; const char *part; unsigned n_good; } lies[] = {
		{ lies_answer_short, "fewer than" },
		{ answer_endless_lines, "more lines than it says", 3 },
		{ answer_empty_lines, "empty page" },
		{ answer_lines_backwards, "no order", 1 },
		{ answer_line_backwards_in_its_page, "no order", 1 },
		{ answer_line_beyond, "not as long as it says" },
		{ answer_line_that_wraps, "not as long as it says" },
		{ answer_line_of_no_length, "not as long as it says" },
		{ answer_line_of_odd_length, "not as long as it says" },
		{ answer_text_beyond_its_line, "not as long as it says" },
		{ answer_line_without_text, "not as long as it says" },
		{ answer_endless_line_text, "no end" },
		{ answer_endless_line_name, "no end" },
		{ answer_too_many_pids, "more processes" },
		{ answer_pid_without_number, "no number" },
		{ answer_half_a_line, "shorter" },
		{ answer_lines_that_are_not_there, "shorter", 1 },
		{ answer_bytes_behind_lines, "more lines than it says" },
		{ answer_fewer_lines, "fewer lines than it says", 1 },
	};

	char out[4 * sizeof(good)] = "";

	for (unsigned i = 0; i < lies[_i].n_good; i++)
		(void)strcat(out, good);
	lies_assert_found_out_after(lies[_i].handler, "plan", NULL, lies[_i].part, out);
}
END_TEST

/* It has forgotten what the one before had planned, and plans anew. */
static void
answer_as_another(const struct fake_request *request)
{
	static unsigned n_plans;
	struct told_line told[2] = { told_line(1), told_line(2) };

	n_plans += request->message.header.type == PROTOCOL_PLAN;
	if (request->message.header.type == PROTOCOL_PLAN_LINES && n_plans < 3)
		fake_refuse(request, -ENODATA, "this connection has asked for no plan yet");
	else
		answer_lines(request, told, sizeof(told), 2, false);
}

static void
answer_always_anew(const struct fake_request *request)
{
	if (request->message.header.type == PROTOCOL_PLAN_LINES)
		fake_refuse(request, -ENODATA, "this connection has asked for no plan yet");
	else
		answer_lines(request, "", 0, 0, false);
}

START_TEST(another_daemon_is_asked_again)
{
	const struct run *run;

	fake_start(&lies_fake, answer_as_another);
	run = run_segmentctl("--socket", lies_fake.socket, "plan", NULL);
	ck_assert_msg(run->status == 0, "%d: %s", run->status, run->err);
	ck_assert_str_eq(run->out, "added     desk: " LINE_TEXT "\nadded     desk: " LINE_TEXT "\n2 added\n");
	fake_stop(&lies_fake);
	/* But not without end, and what changes something is not asked for again. */
	fake_start(&lies_fake, answer_always_anew);
	run = run_segmentctl("--socket", lies_fake.socket, "plan", NULL);
	ck_assert_int_eq(run->status, 1);
	fake_stop(&lies_fake);
	fake_start(&lies_fake, answer_as_another);
	run = run_segmentctl("--socket", lies_fake.socket, "reload", NULL);
	ck_assert_int_eq(run->status, 1);
	ck_assert_ptr_nonnull(strstr(run->err, "has asked for no plan yet"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-planlies");
	TCase *tcase = tcase_create("planlies");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, NULL, lies_stop);
	tcase_add_loop_test(tcase, lines_of_plans_are_checked, 0, 19);
	tcase_add_test(tcase, another_daemon_is_asked_again);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
