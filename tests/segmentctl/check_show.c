/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `segmentctl show` against a daemon that is honest: a segment with its keys, holders, locks and file. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

#define KEYS		"size\t\"1GiB\"\tset\tlive\nmlock\ttrue\tdefault\tdrained\nbackend\t\"memfd\"\tdefault\tnever\n"

static struct fake fake;

static void
stop_fake(void)
{
	fake_stop(&fake);
}

/* All that a lock can be. */
static void
answer_locks(const struct fake_request *request)
{
	struct protocol_lock rows[] = {
		{ .cursor = 1, .offset_bytes = MIB, .length_bytes = 4097, .log_bytes = 65536, .n_recoveries = 5,
		    .recovered_ns = 1500000000 * NS_PER_SEC, .recovered_pid = 777, .owner = 41, .name = "held" },
		{ .cursor = 2, .length_bytes = 64, .on_death = 3, .flags = PROTOCOL_LOCK_POISONED, .name = "bad\033[31m" },
		{ .cursor = 3, .length_bytes = 64, .on_death = 1, .flags = PROTOCOL_LOCK_DUE, .name = "due" },
		{ .cursor = 4, .length_bytes = 64, .on_death = 2, .name = "unheld" },
		{ .cursor = 5, .at_bytes = 128, .kind = PROTOCOL_LOCK_MUTEX, .on_death = 1, .name = "odd",
		    .reason = PROTOCOL_LOCK_NOT_ROBUST },
		{ .cursor = 6, .kind = PROTOCOL_LOCK_MUTEX, .owner = 4321, .flags = PROTOCOL_LOCK_STUCK,
		    .reason = PROTOCOL_LOCK_NAMESPACES, .name = "stuck" },
		{ .cursor = 7, .kind = PROTOCOL_LOCK_MUTEX, .reason = PROTOCOL_LOCK_UNUSED, .name = "new" },
		{ .cursor = 8, .kind = 77, .on_death = 88, .reason = 99, .flags = 0x80, .owner = 43, .name = "later" },
	};

	if (request->message.locks.generation != 101)
		fake_refuse(request, -ESTALE, "another generation");
	else
		fake_reply_rows(request, rows, BASE_ARRAY_SIZE(rows), sizeof(rows[0]), BASE_ARRAY_SIZE(rows), false);
}

#define SINCE_NS	(1500000000 * NS_PER_SEC)
#define SCREEN		"\033]0;x"

/* Some are hidden; "all" is known of, but for one that is in flight, and of "failed" nothing. */
static void
answer_who(const struct fake_request *request)
{
	static char name[PROTOCOL_NAME_SIZE];
	struct { struct protocol_told told; char text[64]; } answer = {
		.told = { .looked_ns = SINCE_NS + 1, .n_rows = 3, .n_seen = 90, .text_len = sizeof(answer.text) },
	};
	struct protocol_process rows[] = {
		{ .cursor = 1, .started_ns = SINCE_NS, .mapped_bytes = MIB, .pid = 4242, .n_maps = 2, .n_fds = 1,
		    .how = PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_MAP_WRITE | PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_CONTROL,
		    .command = "feed" SCREEN, .cgroup = "/system.slice/feed.service" SCREEN },
		{ .cursor = 2, .pid = 4243, .n_fds = 1, .inner_pid = 17, .command = "peek", .container = "docker:4f2e" SCREEN,
		    .how = PROTOCOL_HAS_FD_PATH | PROTOCOL_HAS_PID_NAMESPACE | PROTOCOL_HAS_STOPPED },
		{ .cursor = 3, .pid = 4244, .n_maps = 1, .how = PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_IPC_NAMESPACE,
		    .command = "late" },
	};

	if (request->message.header.type == PROTOCOL_WHO_ROWS) {
		fake_reply_rows(request, rows, streq(name, "failed") ? 0 : 3, sizeof(rows[0]), streq(name, "failed") ? 0 : 3, false);
		return;
	}
	(void)snprintf(name, sizeof(name), "%s", request->message.show.name);
	memset(answer.text, ' ', sizeof(answer.text) - 1);
	memcpy(answer.text, "rights" SCREEN, strlen("rights" SCREEN));
	if (streq(name, "failed"))
		answer.told = (struct protocol_told) { .flags = PROTOCOL_TOLD_FAILED, .text_len = sizeof(answer.text) };
	else if (streq(name, "all"))
		answer.told.n_unseen = 1;
	else
		answer.told.n_hidden = 5;
	fake_reply(request, (char *)&answer + sizeof(struct protocol_header), sizeof(answer) - sizeof(struct protocol_header));
}

static void
answer_show(const struct fake_request *request)
{
	static const char reason[] = "a reason\033";
	struct { struct protocol_segment row; uint32_t lengths[2]; uint64_t file[3]; char text[512]; } body = { 0 };
	struct protocol_holder holders[2] = {
		{ .cursor = 1, .session = 9, .since_ns = SINCE_NS, .attachment = 41, .pid = 4242, .flags = PROTOCOL_HOLDER_LIVES,
		    .access = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, .command = "feed" SCREEN },
		{ .cursor = 2, .attachment = 42, .uid = 4000000000, .access = PROTOCOL_ACCESS_READ,
		    .flags = PROTOCOL_HOLDER_UNSUPERVISED, .cgroup = "/unseen", .container = "lxc:unseen" },
	};

	if (request->message.header.type == PROTOCOL_HOLDERS) {
		fake_reply_rows(request, holders, 2, sizeof(holders[0]), 2, false);
		return;
	}
	if (request->message.header.type == PROTOCOL_WHO || request->message.header.type == PROTOCOL_WHO_ROWS) {
		answer_who(request);
		return;
	}
	if (request->message.header.type == PROTOCOL_LOCKS) {
		answer_locks(request);
		return;
	}
	fake_fill_segment(&body.row, 1, request->message.show.name);
	body.lengths[0] = sizeof(reason);
	body.lengths[1] = sizeof(KEYS);
	memcpy(body.text, reason, sizeof(reason));
	memcpy(body.text + sizeof(reason), KEYS, sizeof(KEYS));
	fake_reply(request, &body, offsetof(__typeof__(body), text) + sizeof(reason) + sizeof(KEYS));
}

static void
answer_show_file(const struct fake_request *request)
{
	struct {
		struct protocol_segment row;
		uint32_t lengths[2];
		uint64_t synced_ns, dirty_bytes;
		uint32_t flags, zero;
		char text[512];
	} body = {
		.lengths = { 1, sizeof(KEYS) }, .synced_ns = 1500000000 * NS_PER_SEC, .dirty_bytes = 3 * MIB,
		.flags = PROTOCOL_SHOWN_FILE | PROTOCOL_SHOWN_DIRTY,
	};

	if (request->message.header.type != PROTOCOL_SHOW) {
		answer_show(request);
		return;
	}
	fake_fill_segment(&body.row, 1, request->message.show.name);
	/* As a kernel that does not count what is dirty; and of one that was not written back yet. */
	if (streq(body.row.name, "uncounted"))
		body.dirty_bytes = UINT64_MAX;
	if (streq(body.row.name, "new")) {
		body.synced_ns = 0;
		body.dirty_bytes = 0;
		body.flags = PROTOCOL_SHOWN_FILE;
	}
	memcpy(body.text + 1, KEYS, sizeof(KEYS));
	fake_reply(request, &body, offsetof(__typeof__(body), text) + 1 + sizeof(KEYS));
}

START_TEST(show_says_how_far_a_file_is_on_the_disk)
{
	const struct run *run;

	fake_start(&fake, answer_show_file);
	run = run_segmentctl("--socket", fake.socket, "show", "some", NULL);
	assert_has(run->out, "  written back 2017-07-1");
	assert_has(run->out, "  not on disk  3 MiB\n");
	run = run_segmentctl("--socket", fake.socket, "show", "uncounted", NULL);
	assert_has(run->out, "  not on disk  what was stored since\n");
	run = run_segmentctl("--socket", fake.socket, "show", "new", NULL);
	assert_has(run->out, "  written back not since it is ready\n");
	assert_has(run->out, "  not on disk  0 B\n");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "some", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"synced\": \"2017-07-14T02:40:00.000000Z\"");
	assert_has(run->out, "\"dirty\": true");
	assert_has(run->out, "\"dirty_bytes\": 3145728");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "new", NULL);
	assert_has(run->out, "\"synced\": null");
	assert_has(run->out, "\"dirty\": false");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "uncounted", NULL);
	assert_has(run->out, "\"dirty_bytes\": null");
}
END_TEST

START_TEST(show_has_all_of_one)
{
	const struct run *run;

	fake_start(&fake, answer_show);
	run = run_segmentctl("--socket", fake.socket, "show", "order-book", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "order-book\n");
	assert_has(run->out, "a reason\\033\n");
	assert_has(run->out, "1 GiB locked");
	assert_has(run->out, "drained");
	assert_has(run->out, "4242");
	assert_has(run->out, "feed\\033]0;x");
	assert_has(run->out, "unsupervised");
	assert_has(run->out, "4000000000");
	assert_lacks(run->out, "\033");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "order-book", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"command\": \"feed\\u001b]0;x\"");
	assert_has(run->out, "\"unsupervised\": true");
	assert_has(run->out, "\"value\": \"\\\"1GiB\\\"\"");
	assert_has(run->out, "\"since\": \"2017-07-14T02:40:00.000000Z\"");
}
END_TEST

/* A row of the table whose line has this. */
static const char *
row_with(const char *out, const char *part)
{
	static char line[1024];
	const char *found = strstr(out, "Holders"), *begin;

	found = found ? strstr(found, part) : NULL;
	ck_assert_msg(found != NULL, "'%s' lacks a row with '%s'", out, part);
	for (begin = found; begin > out && begin[-1] != '\n'; begin--)
		;
	(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(begin, "\n"), begin);
	return line;
}

START_TEST(show_names_who_has_it)
{
	const struct run *run;

	fake_start(&fake, answer_show);
	run = run_segmentctl("--socket", fake.socket, "show", "some", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(row_with(run->out, "4242"), "41 ");
	assert_has(row_with(run->out, "4242"), "map rw x2, fd r");
	assert_has(row_with(run->out, "4242"), "/system.slice/feed.service\\033]0;x");
	assert_lacks(row_with(run->out, "4242"), "unsupervised");
	assert_has(row_with(run->out, "4243"), "path");
	assert_has(row_with(run->out, "4243"), "docker:4f2e\\033]0;x");
	assert_has(row_with(run->out, "4243"), "no attachment of its own; stopped; pid 17 in its namespace");
	assert_has(row_with(run->out, "4244"), "another IPC namespace");
	/* What cannot be seen proves nothing of an attachment. */
	assert_lacks(row_with(run->out, "4000000000"), "passed on");
	assert_has(run->out, "\nothers may have it, names unknown: rights\\033]0;x");
	assert_lacks(run->out, "\033");
	run = run_segmentctl("--socket", fake.socket, "show", "all", NULL);
	assert_has(row_with(run->out, "4000000000"), "its process has ended: passed on, or in flight");
	assert_has(row_with(run->out, "1 by the kernel's word"), "in flight between processes");
	assert_lacks(run->out, "names unknown");
	run = run_segmentctl("--socket", fake.socket, "show", "failed", NULL);
	assert_has(run->out, "\nnames unknown: rights");
	assert_has(row_with(run->out, "4242"), "41 ");
	assert_lacks(run->out, "4243");
}
END_TEST

/* By a daemon that has taken the place of the one that was asked. */
static void
answer_show_anew(const struct fake_request *request)
{
	static unsigned n_rows;

	if (request->message.header.type == PROTOCOL_WHO_ROWS && n_rows++ < 2)
		fake_refuse(request, -ENODATA, "nothing was asked");
	else
		answer_show(request);
}

START_TEST(show_asks_again_who_has_it)
{
	const struct run *run;

	fake_start(&fake, answer_show_anew);
	run = run_segmentctl("--socket", fake.socket, "show", "order-book", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "feed.service");
	ck_assert_str_eq(run->err, "");
}
END_TEST

START_TEST(show_names_who_has_it_in_json)
{
	const struct run *run;

	fake_start(&fake, answer_show);
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "some", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"attachment\": null");
	assert_has(run->out, "\"map_access\": \"rw\"");
	assert_has(run->out, "\"mapped_bytes\": 1048576");
	assert_has(run->out, "\"fd_path_only\": true");
	assert_has(run->out, "\"inner_pid\": 17");
	assert_has(run->out, "\"other_ipc_namespace\": true");
	/* Of who was not seen to have it, by the attachment. */
	assert_has(run->out, "\"cgroup\": \"/unseen\"");
	assert_has(run->out, "\"container\": \"lxc:unseen\"");
	assert_has(run->out, "\"container\": \"docker:4f2e\\u001b]0;x\"");
	assert_has(run->out, "\"hidden\": 5");
	assert_has(run->out, "\"complete\": false");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "all", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"unseen\": 1");
	assert_has(run->out, "\"complete\": true");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "failed", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"failed\": true");
	assert_has(run->out, "\"time\": null");
}
END_TEST

START_TEST(show_says_how_each_lock_is)
{
	const struct run *run;

	fake_start(&fake, answer_show);
	run = run_segmentctl("--socket", fake.socket, "show", "order-book", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run_line_of(run->out, "held "), "lock");
	assert_has(run_line_of(run->out, "held "), "1MiB+4097B");
	assert_has(run_line_of(run->out, "held "), "64KiB");
	assert_has(run_line_of(run->out, "held "), "rollback");
	assert_has(run_line_of(run->out, "held "), "held by attachment 41 (pid 4242)");
	assert_has(run_line_of(run->out, "held "), "2017-07-1");
	assert_has(run_line_of(run->out, "held "), "(pid 777)");
	assert_has(run_line_of(run->out, "bad\\033[31m "), "poisoned");
	assert_has(run_line_of(run->out, "due "), "recovering");
	assert_has(run_line_of(run->out, "unheld "), "free");
	assert_has(run_line_of(run->out, "odd "), "mutex at 128B");
	assert_has(run_line_of(run->out, "odd "), "not robust");
	assert_has(run_line_of(run->out, "odd "), "unknown");
	assert_has(run_line_of(run->out, "odd: "), "pthread_mutexattr_setrobust()");
	assert_has(run_line_of(run->out, "stuck: "), "without at");
	assert_has(run_line_of(run->out, "stuck "), "stuck, its thread 4321 seems gone");
	assert_has(run_line_of(run->out, "stuck "), "another pid namespace");
	assert_has(run_line_of(run->out, "new "), "unused");
	assert_has(run_line_of(run->out, "later "), "unknown");
	assert_has(run->out, "1 poisoned: nobody gets it until `segmentctl recover order-book`");
	assert_lacks(run->out, "\033");
	run = run_segmentctl("--socket", fake.socket, "--json", "show", "order-book", NULL);
	assert_json(run->out);
	assert_has(run->out, "\"length\": 4097");
	assert_has(run->out, "\"state\": \"poisoned\"");
	assert_has(run->out, "\"owner_thread\": 4321");
	assert_has(run->out, "\"owner_pid\": 4242");
	assert_has(run->out, "\"recovered\": \"2017-07-14T02:40:00.000000Z\"");
	assert_has(run->out, "\"recovered\": null");
	assert_has(run->out, "\"at\": 128");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-show");
	TCase *tcase = tcase_create("show");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, NULL, stop_fake);
	tcase_add_test(tcase, show_has_all_of_one);
	tcase_add_test(tcase, show_names_who_has_it);
	tcase_add_test(tcase, show_asks_again_who_has_it);
	tcase_add_test(tcase, show_names_who_has_it_in_json);
	tcase_add_test(tcase, show_says_how_far_a_file_is_on_the_disk);
	tcase_add_test(tcase, show_says_how_each_lock_is);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
