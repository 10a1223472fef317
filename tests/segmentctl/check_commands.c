/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Commands against a daemon that is honest, and what they print of it; check_show.c has show. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

#define N_PAGED		250

static struct fake fake;

static void
stop_fake(void)
{
	fake_stop(&fake);
}

/* Rows after the cursor, ten a page, and wider than this client knows. */
static void
answer_pages(const struct fake_request *request)
{
	struct { struct protocol_segment row; uint64_t later; } rows[10];
	uint64_t cursor = request->message.list.cursor;
	size_t n = 0;

	for (; n < BASE_ARRAY_SIZE(rows) && cursor < N_PAGED; n++) {
		char name[32];

		cursor++;
		(void)snprintf(name, sizeof(name), "segment-%u", (unsigned)cursor);
		fake_fill_segment(&rows[n].row, cursor, name);
		rows[n].later = UINT64_MAX;
	}
	fake_reply_rows(request, rows, n, sizeof(rows[0]), n, cursor < N_PAGED);
}

START_TEST(list_follows_all_pages)
{
	const struct run *run;
	size_t n = 0;

	fake_start(&fake, answer_pages);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	for (const char *p = run->out; *p; p++)
		n += *p == '\n';
	ck_assert_uint_eq(n, N_PAGED + 1);
	assert_has(run->out, "segment-250 ");
	assert_has(run->out, "3 (2/1)");
	run = run_segmentctl("--socket", fake.socket, "--json", "list", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"name\": \"segment-250\"");
	assert_has(run->out, "\"size\": 1073741824");
	assert_has(run->out, "\"page_size\": \"2MiB\"");
}
END_TEST

static void
answer_states(const struct fake_request *request)
{
	struct protocol_segment rows[3];

	fake_fill_segment(&rows[0], 1, "being-made");
	rows[0].state = PROTOCOL_PROVISIONING;
	rows[0].progress_bytes = GIB / 2 - 1;
	rows[0].resident_bytes = 0;
	fake_fill_segment(&rows[1], 2, "name\033[31m\nforged");
	rows[1].huge_bytes = GIB / 2;
	rows[1].flags = PROTOCOL_SEGMENT_POISONED;
	fake_fill_segment(&rows[2], 3, "of-another-time");
	rows[2].state = 200;
	rows[2].backend = 201;
	rows[2].numa = 202;
	rows[2].lifetime = 203;
	rows[2].page_size_asked = 204;
	rows[2].huge_bytes = 0;
	fake_reply_rows(request, rows, 3, sizeof(rows[0]), 3, false);
}

START_TEST(list_shows_states_and_escapes_names)
{
	const struct run *run;

	fake_start(&fake, answer_states);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	assert_has(run->out, "provisioning 49%");
	assert_has(run->out, "name\\033[31m\\012forged");
	assert_lacks(run->out, "\033");
	assert_has(run->out, "mixed");
	assert_has(run->out, "ready (poisoned)");
	assert_has(run->out, "unknown");
	run = run_segmentctl("--socket", fake.socket, "--json", "list", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"page_size\": null");
	assert_has(run->out, "\"page_size\": \"mixed\"");
	assert_has(run->out, "\"state\": \"unknown\"");
	assert_has(run->out, "\"state\": \"ready\"");
	assert_has(run->out, "\"poisoned\": true");
}
END_TEST

START_TEST(a_terminal_gets_colour_and_its_width)
{
	const struct run *run;

	(void)unsetenv("NO_COLOR");
	(void)setenv("TERM", "xterm", 1);
	fake_start(&fake, answer_states);
	run_set_terminal(120);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	assert_has(run->out, "RECOVERIES");
	assert_has(run->out, "\033[3");
	run_set_terminal(60);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	assert_lacks(run->out, "NUMA");
	assert_has(run->out, "STATE");
	assert_has(run->out, "SIZE");
	(void)setenv("NO_COLOR", "1", 1);
	run_set_terminal(120);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	assert_lacks(run->out, "\033");
	assert_has(run->out, "RECOVERIES");
}
END_TEST

static void
answer_empty(const struct fake_request *request)
{
	fake_reply_rows(request, "", 0, 0, 0, false);
}

START_TEST(nothing_is_a_heading_and_an_empty_array)
{
	const struct run *run;

	fake_start(&fake, answer_empty);
	run = run_segmentctl("--socket", fake.socket, "list", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "NAME");
	run = run_segmentctl("--socket", fake.socket, "--json", "clients", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"clients\": []");
}
END_TEST

static void
answer_clients(const struct fake_request *request)
{
	struct protocol_client rows[1] = { { .cursor = 7, .since_ns = NS_PER_SEC, .requests = 12, .pid = 99,
	    .attachments = 3, .command = "tail\nforged", .cgroup = "/machine.slice/x\033", .container = "podman:0123" } };

	fake_reply_rows(request, rows, 1, sizeof(rows[0]), 1, false);
}

static void
answer_recover(const struct fake_request *request)
{
	const struct protocol_recover *recover = &request->message.recover;
	struct { uint32_t n_locks, zero; } body = { *recover->lock ? 1 : 12, 0 };
	struct protocol_lock rows[] = {
		{ .cursor = 1, .length_bytes = 64, .flags = PROTOCOL_LOCK_DUE, .name = "slow" },
		{ .cursor = 2, .length_bytes = 64, .name = "kept" },
	};

	if (request->message.header.type == PROTOCOL_LOCKS)
		fake_reply_rows(request, rows, 2, sizeof(rows[0]), 2, false);
	else if (streq(recover->name, "none"))
		fake_refuse(request, -ENOENT, "there is no segment 'none'");
	else if (streq(recover->name, "foreign"))
		fake_refuse(request, -EACCES, "the locks of 'foreign' are recovered by others");
	else if (streq(recover->lock, "odd"))
		fake_refuse(request, -ESRCH, "there is no lock 'odd'");
	else if (streq(recover->lock, "well"))
		fake_refuse(request, -EALREADY, "lock 'well' is not poisoned");
	else if (streq(recover->lock, "kept") != (recover->flags == PROTOCOL_RECOVER_KEEP))
		fake_refuse(request, -EINVAL, "the wrong flags");
	else
		fake_reply(request, &body, sizeof(body));
}

START_TEST(recover_ends_with_what_the_daemon_says)
{
	const struct run *run;

	fake_start(&fake, answer_recover);
	run = run_segmentctl("--socket", fake.socket, "recover", "a", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "11 locks of 'a' recovered, bytes rolled back\n");
	assert_has(run->out, "1 lock of 'a' in recovery still, in the background: `segmentctl show a` says");
	run = run_segmentctl("--socket", fake.socket, "recover", "a", "slow", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_lacks(run->out, "bytes");
	run = run_segmentctl("--socket", fake.socket, "recover", "--keep", "a", "kept", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "1 lock of 'a' recovered, bytes kept as they are\n");
	run = run_segmentctl("--socket", fake.socket, "recover", "none", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	run = run_segmentctl("--socket", fake.socket, "recover", "foreign", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	run = run_segmentctl("--socket", fake.socket, "recover", "a", "odd", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "no lock 'odd'");
	run = run_segmentctl("--socket", fake.socket, "recover", "a", "well", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	run = run_segmentctl("--socket", fake.socket, "--json", "recover", "a", "kept", "--keep", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"recovered\": 1");
	assert_has(run->out, "\"lock\": \"kept\"");
	assert_has(run->out, "\"keep\": true");
	run = run_segmentctl("--socket", fake.socket, "--json", "recover", "a", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"lock\": null");
	assert_has(run->out, "\"recovered\": 12");
	assert_has(run->out, "\"recovering\": 1");
}
END_TEST

START_TEST(clients_are_rows)
{
	const struct run *run;

	fake_start(&fake, answer_clients);
	run = run_segmentctl("--socket", fake.socket, "clients", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "tail\\012forged");
	assert_has(run->out, "/machine.slice/x\\033");
	assert_has(run->out, "podman:0123");
	run = run_segmentctl("clients", "--json", "--socket", fake.socket, NULL);
	assert_json(run->out);
	assert_has(run->out, "\"requests\": 12");
	assert_has(run->out, "\"container\": \"podman:0123\"");
}
END_TEST

/* "slow" makes a quarter of progress an answer, "never" is silent, the others end at once. */
static void
answer_wait(const struct fake_request *request)
{
	static const char reason[] = "available memory: 1 GiB, 10 GiB wanted";
	struct { uint64_t progress, total; uint32_t state, length; char text[64]; } body = { .total = 4 * GIB };
	const struct protocol_wait *wait = &request->message.wait;
	size_t size = offsetof(__typeof__(body), text);

	body.state = PROTOCOL_READY;
	if (streq(wait->name, "never"))
		return;
	if (streq(wait->name, "none")) {
		fake_refuse(request, -ENOENT, "there is no segment 'none'");
		return;
	}
	if (streq(wait->name, "failed")) {
		body.state = PROTOCOL_FAILED;
		body.length = sizeof(reason);
		memcpy(body.text, reason, sizeof(reason));
		size += sizeof(reason);
	} else if (streq(wait->name, "draining")) {
		body.state = PROTOCOL_DRAINING;
	} else if (wait->progress_bytes != PROTOCOL_WAIT_STATE && wait->progress_bytes < 4 * GIB) {
		body.progress = wait->progress_bytes + GIB;
		body.state = body.progress < body.total ? PROTOCOL_PROVISIONING : PROTOCOL_READY;
	}
	fake_reply(request, &body, size);
}

START_TEST(wait_ends_with_the_state)
{
	const struct run *run;
	bool known;

	fake_start(&fake, answer_wait);
	run = run_segmentctl("--socket", fake.socket, "wait", "a", "b", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->err, "");
	ck_assert_str_eq(run->out, "");
	run = run_segmentctl("--socket", fake.socket, "wait", "a", "failed", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "'failed' failed: available memory");
	run = run_segmentctl("--socket", fake.socket, "wait", "draining", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	run = run_segmentctl("--socket", fake.socket, "wait", "none", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	run = run_segmentctl("--socket", fake.socket, "--json", "wait", "a", "b", NULL);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"state\": \"ready\"");
}
END_TEST

START_TEST(wait_draws_a_bar_on_a_terminal)
{
	const struct run *run;

	fake_start(&fake, answer_wait);
	run_set_terminal(80);
	run = run_segmentctl("--socket", fake.socket, "wait", "slow", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, " 25% 1 GiB of 4 GiB");
	assert_has(run->out, "100% 4 GiB of 4 GiB");
	run_set_terminal(12);
	run = run_segmentctl("--socket", fake.socket, "wait", "slow", NULL);
	assert_has(run->out, " 25%");
}
END_TEST

START_TEST(wait_gives_up_in_time)
{
	const struct run *run;
	uint64_t began_ns = clock_monotonic_ns();

	fake_start(&fake, answer_wait);
	run = run_segmentctl("--socket", fake.socket, "--json", "wait", "a", "never", "--timeout", "50ms", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_uint_ge(clock_monotonic_ns() - began_ns, 50 * NS_PER_MS);
	assert_has(run->err, "'never' is not ready after 50ms");
	assert_json(run->out);
	assert_has(run->out, "\"error\"");
}
END_TEST

/* "held" and "now" have two holders; "a" has gone when it is asked for them. */
static void
answer_remove(const struct fake_request *request)
{
	const struct protocol_remove *remove = &request->message.remove;
	struct protocol_holder holders[2] = {
		{ .cursor = 1, .session = 9, .since_ns = NS_PER_SEC, .attachment = 41, .pid = 4242, .access = 3, .command = "feed" },
		{ .cursor = 2, .attachment = 42, .access = PROTOCOL_ACCESS_READ, .flags = PROTOCOL_HOLDER_UNSUPERVISED },
	};

	if (request->message.header.type == PROTOCOL_HOLDERS && (streq(request->message.holders.name, "held") ||
	    streq(request->message.holders.name, "now")))
		fake_reply_rows(request, holders, 2, sizeof(holders[0]), 2, false);
	else if (request->message.header.type == PROTOCOL_HOLDERS)
		fake_refuse(request, -ENOENT, "there is no such segment");
	else if (streq(remove->name, "none"))
		fake_refuse(request, -ENOENT, "there is no segment 'none'");
	else if (streq(remove->name, "foreign"))
		fake_refuse(request, -EPERM, "only its creator and administrators may remove 'foreign'");
	else if (streq(remove->name, "now") != (remove->flags == PROTOCOL_REMOVE_NOW))
		fake_refuse(request, -EINVAL, "the wrong flags");
	else
		fake_reply(request, "", 0);
}

START_TEST(remove_says_now_when_asked)
{
	const struct run *run;

	fake_start(&fake, answer_remove);
	run = run_segmentctl("--socket", fake.socket, "remove", "a", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "");
	ck_assert_str_eq(run->err, "");
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "remove", "now", "--now", NULL)->status,
	    SEGMENTCTL_DONE);
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "remove", "foreign", NULL)->status,
	    SEGMENTCTL_NOT_PERMITTED);
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "remove", "none", NULL)->status,
	    SEGMENTCTL_NO_SEGMENT);
	run = run_segmentctl("--socket", fake.socket, "--json", "remove", "a", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"holders\": []");
	assert_has(run->out, "\"gone\": true");
}
END_TEST

START_TEST(remove_shows_who_holds_it)
{
	const struct run *run;

	fake_start(&fake, answer_remove);
	run = run_segmentctl("--socket", fake.socket, "remove", "held", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "'held' takes no more attachments, and goes when these are over:\n");
	assert_has(run_line_of(run->out, "        41"), "4242");
	assert_has(run_line_of(run->out, "        41"), "feed");
	assert_has(run_line_of(run->out, "        42"), "unsupervised");
	assert_has(run->out, "\nWith --now ");
	run = run_segmentctl("--socket", fake.socket, "--json", "remove", "held", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"pid\": 4242");
	assert_has(run->out, "\"gone\": false");
	/* With --now as well, though nobody can be asked about it afterwards. */
	run = run_segmentctl("--socket", fake.socket, "remove", "--now", "now", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "'now' is gone; its memory stays as long as these have it:\n");
	assert_has(run_line_of(run->out, "        41"), "4242");
	ck_assert_ptr_null(strstr(run->out, "With --now"));
	run = run_segmentctl("--socket", fake.socket, "--json", "remove", "--now", "now", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"pid\": 4242");
	assert_has(run->out, "\"unsupervised\": true");
	assert_has(run->out, "\"gone\": true");
	/* What is refused has no holders to tell of. */
	run = run_segmentctl("--socket", fake.socket, "--json", "remove", "--now", "held", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_ptr_null(strstr(run->out, "4242"));
}
END_TEST

static void
answer_metrics(const struct fake_request *request)
{
	static const char text[] = "# TYPE segmentd_segments gauge\nsegmentd_segments 3\n# EOF\n";

	fake_reply(request, text, sizeof(text));
}

START_TEST(metrics_are_printed_as_they_are)
{
	const struct run *run;

	fake_start(&fake, answer_metrics);
	run = run_segmentctl("--socket", fake.socket, "metrics", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "# TYPE segmentd_segments gauge\nsegmentd_segments 3\n# EOF\n");
	assert_json(run_segmentctl("--socket", fake.socket, "--json", "metrics", NULL)->out);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-commands");
	TCase *tcase = tcase_create("commands");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, NULL, stop_fake);
	tcase_add_test(tcase, list_follows_all_pages);
	tcase_add_test(tcase, list_shows_states_and_escapes_names);
	tcase_add_test(tcase, a_terminal_gets_colour_and_its_width);
	tcase_add_test(tcase, nothing_is_a_heading_and_an_empty_array);
	tcase_add_test(tcase, recover_ends_with_what_the_daemon_says);
	tcase_add_test(tcase, clients_are_rows);
	tcase_add_test(tcase, wait_ends_with_the_state);
	tcase_add_test(tcase, wait_draws_a_bar_on_a_terminal);
	tcase_add_test(tcase, wait_gives_up_in_time);
	tcase_add_test(tcase, remove_says_now_when_asked);
	tcase_add_test(tcase, remove_shows_who_holds_it);
	tcase_add_test(tcase, metrics_are_printed_as_they_are);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
