/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Tables, on terminals of some widths and on none: what gives way, and what never does. */
#include "config.h"

#include <check.h>
#include <locale.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "client/segmentctl/text.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

#define LONG_NAME	"reference-data-of-all-the-exchanges-that-there-are.2026-11-21"
#define COMMAND		"a-command-of-31-bytes-and-no-1"

static struct fake fake;

static void
start(void)
{
	(void)setenv("NO_COLOR", "1", 1);
	(void)setenv("TERM", "xterm", 1);
	(void)setenv("LC_ALL", "C.UTF-8", 1);
	ck_assert_ptr_nonnull(setlocale(LC_ALL, ""));
}

static void
stop(void)
{
	fake_stop(&fake);
}

/* No line is wider than columns. */
static void
assert_fits(const char *text, size_t columns)
{
	char line[1024];

	for (; *text; text += strcspn(text, "\n") + 1) {
		(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\r\n"), text);
		ck_assert_msg(text_width(line) <= columns, "%zu columns, %zu are there: '%s'", text_width(line), columns, line);
	}
}

static void
answer_list(const struct fake_request *request)
{
	struct protocol_segment rows[3];

	fake_fill_segment(&rows[0], 1, "book");
	fake_fill_segment(&rows[1], 2, LONG_NAME);
	rows[1].size_bytes = 1023 * MIB + 1;
	fake_fill_segment(&rows[2], 3, "made");
	rows[2].state = PROTOCOL_PROVISIONING;
	fake_reply_rows(request, rows, 3, sizeof(rows[0]), 3, false);
}

static const char *
list(unsigned columns)
{
	const struct run *run;

	run_set_terminal(columns);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	if (columns)
		assert_fits(run->out, columns);
	return run->out;
}

START_TEST(columns_give_way_to_names)
{
	static const char *const wide[] = { "MODE", "OWNER", "NUMA", "BACKEND", "RECOVERIES", "LOCKED", "PAGES", "RESIDENT",
	    "ATTACHED" };
	size_t n_before = BASE_ARRAY_SIZE(wide), n;

	fake_start(&fake, answer_list);
	assert_has(list(200), LONG_NAME);
	for (unsigned columns = 200; columns >= 40; columns -= 5) {
		const char *out = list(columns);

		assert_has(out, "STATE");
		assert_has(out, "SIZE");
		assert_has(out, "book ");
		assert_has(out, "1023.0 MiB");
		assert_has(out, "provisioning 100%");
		assert_has(out, columns >= 160 ? LONG_NAME : "refere");
		/* Always the least important one next, and none comes back. */
		for (n = 0; n < BASE_ARRAY_SIZE(wide) && !strstr(out, wide[n]); n++)
			;
		n = BASE_ARRAY_SIZE(wide) - n;
		ck_assert_uint_le(n, n_before);
		for (size_t i = BASE_ARRAY_SIZE(wide) - n; i < BASE_ARRAY_SIZE(wide); i++)
			assert_has(out, wide[i]);
		n_before = n;
	}
	ck_assert_uint_eq(n_before, 0);
}
END_TEST

START_TEST(what_is_cut_shows_it)
{
	fake_start(&fake, answer_list);
	assert_has(list(60), "reference-data");
	assert_has(list(60), "\342\200\246 ");
	assert_lacks(list(60), LONG_NAME);
	(void)setenv("LC_ALL", "C", 1);
	ck_assert_ptr_nonnull(setlocale(LC_ALL, "C"));
	assert_has(list(60), "~ ");
	assert_lacks(list(60), "\342");
}
END_TEST

START_TEST(nothing_is_cut_where_there_is_no_terminal)
{
	fake_start(&fake, answer_list);
	(void)setenv("COLUMNS", "20", 1);
	assert_has(list(0), LONG_NAME "  ready");
	assert_has(list(0), "OWNER");
	assert_has(list(0), "MODE");
	assert_has(list(0), "0640");
}
END_TEST

START_TEST(json_has_exact_bytes)
{
	const struct run *run;

	fake_start(&fake, answer_list);
	run = run_segmentctl("--socket", fake.socket, "--json", "list", NULL);
	assert_has(run->out, "\"size\": 1072693249");
	assert_has(run->out, LONG_NAME);
	assert_lacks(run->out, "GiB");
}
END_TEST

START_TEST(colour_is_for_terminals_that_want_it)
{
	fake_start(&fake, answer_list);
	(void)unsetenv("NO_COLOR");
	assert_lacks(list(0), "\033");
	run_set_terminal(120);
	assert_has(run_segmentctl("--socket", fake.socket, "list", NULL)->out, "\033[32mready");
	(void)setenv("TERM", "dumb", 1);
	assert_lacks(list(120), "\033");
	(void)setenv("TERM", "xterm", 1);
	(void)setenv("NO_COLOR", "1", 1);
	assert_lacks(list(120), "\033");
	(void)setenv("NO_COLOR", "", 1);
	run_set_terminal(120);
	assert_has(run_segmentctl("--socket", fake.socket, "list", NULL)->out, "33mprovisioning");
}
END_TEST

static void
answer_nothing(const struct fake_request *request)
{
	fake_reply_rows(request, "", 0, 0, 0, false);
}

START_TEST(a_heading_alone_fits_too)
{
	fake_start(&fake, answer_nothing);
	ck_assert_str_eq(list(40), "NAME  STATE  SIZE  RESIDENT  ATTACHED\r\n");
	assert_has(list(0), "MODE\n");
}
END_TEST

static void
answer_clients(const struct fake_request *request)
{
	struct protocol_client row = { .cursor = 123456, .since_ns = NS_PER_SEC, .requests = UINT64_MAX, .pid = 4194303,
	    .uid = UINT32_MAX, .attachments = 70000, .command = COMMAND };

	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

START_TEST(clients_fit)
{
	const struct run *run;

	fake_start(&fake, answer_clients);
	for (unsigned columns = 40; columns <= 120; columns += 10) {
		run_set_terminal(columns);
		run = run_segmentctl("--socket", fake.socket, "clients", NULL);
		ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
		assert_fits(run->out, columns);
		assert_has(run->out, "4194303");
		assert_has(run->out, columns == 120 ? "18446744073709551615" : "a-com");
		assert_has(run->out, columns >= 60 ? COMMAND : "a-com");
	}
}
END_TEST

/* A segment with locks and holders, of long names each. */
static void
answer_show(const struct fake_request *request)
{
	static const char keys[] = "size\t\"1GiB\"\tset\tlive\nallow\t( { user = \"audit\"; access = \"r\"; }, { group = "
	    "\"traders-of-the-night\"; access = \"rw\"; } )\tset\tlive\n";
	struct { struct protocol_segment row; uint32_t lengths[2]; uint64_t file[3]; char text[512]; } body = { .lengths = { 0, sizeof(keys) } };
	struct protocol_holder holder = { .cursor = 1, .session = 9, .attachment = 41, .pid = 4242, .access = 3,
	    .command = COMMAND, .flags = PROTOCOL_HOLDER_LIVES };
	struct protocol_told told = { .looked_ns = 1, .n_rows = 1, .n_seen = 1 };
	struct protocol_process process = { .cursor = 1, .pid = 4242, .n_maps = 1, .how = PROTOCOL_HAS_MAP_READ,
	    .command = COMMAND, .cgroup = "/" COMMAND "/" LONG_NAME };
	struct protocol_lock locks[2] = {
		{ .cursor = 1, .offset_bytes = MIB, .length_bytes = 4097, .log_bytes = 65536, .name = LONG_NAME },
		{ .cursor = 2, .kind = PROTOCOL_LOCK_MUTEX, .reason = PROTOCOL_LOCK_UNUSED, .name = "queue" },
	};

	if (request->message.header.type == PROTOCOL_WHO) {
		fake_reply(request, &told.looked_ns, sizeof(told) - sizeof(told.header));
	} else if (request->message.header.type == PROTOCOL_WHO_ROWS) {
		fake_reply_rows(request, &process, 1, sizeof(process), 1, false);
	} else if (request->message.header.type == PROTOCOL_HOLDERS) {
		fake_reply_rows(request, &holder, 1, sizeof(holder), 1, false);
	} else if (request->message.header.type == PROTOCOL_LOCKS) {
		fake_reply_rows(request, locks, 2, sizeof(locks[0]), 2, false);
	} else {
		fake_fill_segment(&body.row, 1, request->message.show.name);
		memcpy(body.text, keys, sizeof(keys));
		fake_reply(request, &body, offsetof(__typeof__(body), text) + sizeof(keys));
	}
}

START_TEST(show_fits)
{
	const struct run *run;

	fake_start(&fake, answer_show);
	for (unsigned columns = 40; columns <= 160; columns += 10) {
		run_set_terminal(columns);
		run = run_segmentctl("--socket", fake.socket, "show", "book", NULL);
		ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
		/* What says how it is stands in sentences, which a terminal may break. */
		assert_fits(strstr(run->out, "Asked and had"), columns);
		assert_has(run->out, "1 GiB resident");
		assert_has(run->out, "unused");
		/* Nothing to note of its holder: no column for it. */
		assert_lacks(strstr(run->out, "Holders"), "NOTE");
	}
	run_set_terminal(240);
	assert_has(run_segmentctl("--socket", fake.socket, "show", "book", NULL)->out, "NOTE");
	run = run_segmentctl("--socket", fake.socket, "show", "book", NULL);
	assert_has(run->out, "\"traders-of-the-night\"; access = \"rw\"; } )");
	assert_has(run->out, LONG_NAME);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-tables");
	TCase *tcase = tcase_create("tables");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, columns_give_way_to_names);
	tcase_add_test(tcase, what_is_cut_shows_it);
	tcase_add_test(tcase, nothing_is_cut_where_there_is_no_terminal);
	tcase_add_test(tcase, json_has_exact_bytes);
	tcase_add_test(tcase, colour_is_for_terminals_that_want_it);
	tcase_add_test(tcase, a_heading_alone_fits_too);
	tcase_add_test(tcase, clients_fit);
	tcase_add_test(tcase, show_fits);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
