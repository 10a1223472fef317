/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `users`: who is nearest to a limit is first, all together are last; and what a daemon says that is older, newer, or lies. */
#include "config.h"

#include <check.h>
#include <locale.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/lies.h"
#include "tests/segmentctl/run.h"

static struct fake fake;

static void
stop(void)
{
	fake_stop(&fake);
}

static struct protocol_user
make_user(uint64_t cursor, uint32_t uid)
{
	struct protocol_user row = { .cursor = cursor, .uid = uid, .n_charges = PROTOCOL_CHARGED_N };

	for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++)
		row.charges[i] = (struct protocol_charge) { 0, 1000, 2000 };
	return row;
}

/* Of one kind of 1000 or less what it has, and of clients one. */
static struct protocol_user
make_busy(uint64_t cursor, uint32_t uid, unsigned kind, uint64_t used, uint64_t share)
{
	struct protocol_user row = make_user(cursor, uid);

	row.charges[PROTOCOL_CHARGED_CLIENTS].used = 1;
	row.charges[kind].used = used;
	row.charges[kind].share = share;
	return row;
}

static void
answer_users(const struct fake_request *request)
{
	struct protocol_user rows[] = {
		make_busy(2, 70001, PROTOCOL_CHARGED_ATTACHMENTS, 500, 2000),
		/* What the others leave is less than its own limit. */
		make_busy(3, 70002, PROTOCOL_CHARGED_SUBSCRIPTIONS, 300, 310),
		/* It has more than it may by now. */
		make_busy(4, 70003, PROTOCOL_CHARGED_SEGMENTS, 300, 200),
		make_busy(5, 70004, PROTOCOL_CHARGED_DESCRIPTORS, 900, PROTOCOL_UNLIMITED),
		/* It may have none any more. */
		make_busy(6, 70005, PROTOCOL_CHARGED_BYTES, 512 * 1024, 0),
		make_user(UINT64_MAX, 0),
	};

	rows[3].charges[PROTOCOL_CHARGED_DESCRIPTORS].limit = PROTOCOL_UNLIMITED;
	rows[4].charges[PROTOCOL_CHARGED_BYTES].limit = MIB;
	rows[5].flags = PROTOCOL_USER_ALL;
	rows[5].charges[PROTOCOL_CHARGED_CLIENTS] = (struct protocol_charge) { 1000, 1000, PROTOCOL_UNLIMITED };
	if (request->message.header.type != PROTOCOL_USERS || request->message.header.size != sizeof(struct protocol_users))
		fake_refuse(request, -EINVAL, "it asks for something else");
	else if (request->message.users.cursor == 0)
		fake_reply_rows(request, rows, 4, sizeof(rows[0]), 4, true);
	else
		fake_reply_rows(request, rows + 4, 2, sizeof(rows[0]), 2, false);
}

/* The words of a line, one space between two. */
static const char *
words_of(const char *text, unsigned line)
{
	static char words[512];
	size_t n = 0;

	while (line-- && text)
		text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
	ck_assert_ptr_nonnull(text);
	for (; *text && *text != '\n' && n < sizeof(words) - 1; text++)
		if (*text != ' ' || (n && words[n - 1] != ' '))
			words[n++] = *text;
	words[n] = '\0';
	return words;
}

START_TEST(nearest_to_a_limit_are_first)
{
	const struct run *run;

	fake_start(&fake, answer_users);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	/* Of what nobody has there is no column. */
	ck_assert_str_eq(words_of(run->out, 0), "UID USER NEAREST CLIENTS ATTACHMENTS SUBSCRIPTIONS SEGMENTS BYTES DESCRIPTORS");
	ck_assert_str_eq(words_of(run->out, 1), "70005 70005 bytes 999% 1/1000 - - - 512 KiB/0 B -");
	ck_assert_str_eq(words_of(run->out, 2), "70003 70003 segments 150% 1/1000 - - 300/200 - -");
	ck_assert_str_eq(words_of(run->out, 3), "70002 70002 subscriptions 96% 1/1000 - 300/310 - - -");
	ck_assert_str_eq(words_of(run->out, 4), "70001 70001 attachments 50% 1/1000 500/1000 - - - -");
	ck_assert_str_eq(words_of(run->out, 5), "70004 70004 clients 0% 1/1000 - - - - 900");
	ck_assert_str_eq(words_of(run->out, 6), "all - clients 100% 1000/1000 - - - - -");
	ck_assert_str_eq(words_of(run->out, 7), "");
}
END_TEST

START_TEST(json_has_each_kind)
{
	const struct run *run;
	const char *first, *second, *all;

	fake_start(&fake, answer_users);
	run = run_segmentctl("--socket", fake.socket, "--json", "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_json(run->out);
	first = strstr(run->out, "\"uid\": 70005");
	second = strstr(run->out, "\"uid\": 70003");
	all = strstr(run->out, "\"all\": {");
	ck_assert(first && second && all && first < second && second < all);
	assert_has(run->out, "\"nearest\": \"subscriptions\",\n      \"percent\": 96,");
	assert_has(run->out, "\"subscriptions\": {\n          \"used\": 300,\n          \"limit\": 1000,\n          \"share\": 310\n");
	assert_has(run->out, "\"descriptors\": {\n          \"used\": 900,\n          \"limit\": null,\n          \"share\": null\n");
	assert_has(all, "\"clients\": {\n        \"used\": 1000,\n        \"limit\": 1000\n");
	assert_lacks(all, "share");
	/* Also those of which nobody has any. */
	assert_has(all, "\"ends\": {");
}
END_TEST

static void
answer_one(const struct fake_request *request)
{
	struct protocol_user row = make_busy(2, 70001, PROTOCOL_CHARGED_ATTACHMENTS, 850, PROTOCOL_UNLIMITED);

	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

/* As who does not administer is answered. */
START_TEST(one_row_has_none_of_all_beside_it)
{
	const struct run *run;

	fake_start(&fake, answer_one);
	run = run_segmentctl("--socket", fake.socket, "--json", "users", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"uid\": 70001");
	assert_lacks(run->out, "\"all\": {");
	(void)setenv("TERM", "xterm", 1);
	(void)unsetenv("NO_COLOR");
	run_set_terminal(120);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	assert_has(run->out, "33mattachments 85%");
}
END_TEST

START_TEST(columns_give_way_to_who_it_is)
{
	const struct run *run;

	(void)setenv("NO_COLOR", "1", 1);
	(void)setenv("TERM", "xterm", 1);
	fake_start(&fake, answer_users);
	run_set_terminal(40);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "70002");
	assert_has(run->out, "subscriptions 96%");
	assert_lacks(run->out, "DESCRIPTORS");
}
END_TEST

static void
answer_none(const struct fake_request *request)
{
	fake_reply_rows(request, "", 0, sizeof(struct protocol_user), 0, false);
}

static void
refuse_as_older(const struct fake_request *request)
{
	fake_refuse(request, -EOPNOTSUPP, "request type 24 is not known to this daemon (segmentd 0.0.9)");
}

static void
answer_as_newer(const struct fake_request *request)
{
	struct { struct protocol_user row; uint64_t more[2]; } rows[2] = {
		{ .row = make_busy(1, 70001, PROTOCOL_CHARGES_MAX - 1, 1000, 1000) }, { .row = make_user(2, 70002) },
	};

	rows[0].row.n_charges = rows[1].row.n_charges = PROTOCOL_CHARGES_MAX;
	fake_reply_rows(request, rows, 2, sizeof(rows[0]), 2, false);
}

START_TEST(other_daemons_are_understood)
{
	const struct run *run;

	fake_start(&fake, answer_none);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(words_of(run->out, 0), "UID USER NEAREST");
	run = run_segmentctl("--socket", fake.socket, "--json", "users", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"users\": []");
	fake_stop(&fake);
	fake_start(&fake, refuse_as_older);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "is not known to this daemon (segmentd 0.0.9)");
	fake_stop(&fake);
	/* What is more there is not told, and does no harm. */
	fake_start(&fake, answer_as_newer);
	run = run_segmentctl("--socket", fake.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(words_of(run->out, 1), "70001 70001 clients 0% 1/1000");
	ck_assert_str_eq(words_of(run->out, 2), "70002 70002 - -");
}
END_TEST

static void
answer_too_many_kinds(const struct fake_request *request)
{
	struct protocol_user row = make_user(1, 70001);

	row.n_charges = PROTOCOL_CHARGES_MAX + 1;
	fake_reply_rows(request, &row, 1, sizeof(row), 1, false);
}

static void
answer_short(const struct fake_request *request)
{
	struct protocol_user row = make_user(1, 70001);

	fake_reply_rows(request, &row, 1, sizeof(row) - sizeof(row.charges[0]), 1, false);
}

static void
answer_in_no_order(const struct fake_request *request)
{
	struct protocol_user rows[] = { make_user(2, 70001), make_user(1, 70002) };

	fake_reply_rows(request, rows, 2, sizeof(rows[0]), 2, false);
}

START_TEST(a_liar_is_found_out)
{
	lies_assert_found_out(answer_too_many_kinds, "users", NULL, "more kinds than a row has room for");
	lies_assert_found_out(answer_short, "users", NULL, "shorter than they may be");
	lies_assert_found_out(answer_in_no_order, "users", NULL, "no order");
	lies_assert_found_out(lies_answer_short, "users", NULL, "fewer than");
}
END_TEST

/* The real daemon. */

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
start_daemon(void)
{
	harness_daemon_start(&daemon_, "limits = { attachments = 5; };",
	    "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );");
}

static void
stop_daemon(void)
{
	harness_daemon_stop(&daemon_);
}

/* Holds four attachments of five. */
static void
hold(int control, void *arg)
{
	struct protocol_attached attached;
	struct harness_conn conn;
	int fd;

	harness_become(71234, 71234, NULL, 0);
	harness_open(&conn, arg);
	for (unsigned i = 0; i < 4; i++)
		harness_assert(harness_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &attached, &fd) == 0, "attach");
	harness_say(control, "held");
	harness_expect(control, "end");
}

START_TEST(what_is_held_is_told)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct run *run;

	harness_need_root();
	harness_child_start(&child, hold, daemon_.socket);
	harness_expect(child.control, "held");
	run = run_segmentctl("--socket", daemon_.socket, "users", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(words_of(run->out, 1), "71234 71234 attachments 80% 1/4096 4/5 2/");
	assert_has(words_of(run->out, 2), "0 root clients 0% 1/4096 - 2/");
	assert_has(words_of(run->out, 3), "all - ");
	assert_has(words_of(run->out, 3), " 2/65536 4/262144 4/");
	run = run_segmentctl("--socket", daemon_.socket, "--json", "users", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"uid\": 71234");
	harness_child_kill(&child);
	do
		run = run_segmentctl("--socket", daemon_.socket, "users", NULL);
	while (strstr(run->out, "71234"));
	assert_has(words_of(run->out, 1), "0 root clients 0% 1/4096 2/");
	assert_has(words_of(run->out, 2), "all - ");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-users");
	TCase *tcase = tcase_create("fake"), *lies = tcase_create("lies"), *real = tcase_create("real");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, NULL, stop);
	tcase_add_test(tcase, nearest_to_a_limit_are_first);
	tcase_add_test(tcase, json_has_each_kind);
	tcase_add_test(tcase, one_row_has_none_of_all_beside_it);
	tcase_add_test(tcase, columns_give_way_to_who_it_is);
	tcase_add_test(tcase, other_daemons_are_understood);
	suite_add_tcase(suite, tcase);
	tcase_set_timeout(lies, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(lies, NULL, lies_stop);
	tcase_add_test(lies, a_liar_is_found_out);
	suite_add_tcase(suite, lies);
	tcase_set_timeout(real, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(real, start_daemon, stop_daemon);
	tcase_add_test(real, what_is_held_is_told);
	suite_add_tcase(suite, real);
	return harness_run(suite);
}
