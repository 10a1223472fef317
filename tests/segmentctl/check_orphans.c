/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `orphans` with a segmentd-audit that says what a test wants: what is shown of it, what is asked of it, and when nothing is. */
#include "config.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/host/auditfake.h"
#include "tests/segmentctl/run.h"

#define RUN(...) run_segmentctl("orphans", __VA_ARGS__, NULL)
#define HOSTILE	"a\n\033[31m;$(touch x)\xff\"\\ b"
#define SHOWN	"a\\012\\033[31m;$(touch x)\\377\"\\ b"
#define N_MANY	1000
#define ROWS_A_MESSAGE	4
#define EVIL_LACK "run as root\n\033[2Jsegmentctl: all is well"

/* Parts of the fake. */

/* What it lists: one of each kind, and what else /dev/shm may have. */
static unsigned
fill(struct audit_stray rows[16])
{
	unsigned n = 0;

	rows[n++] = auditfake_posix("psm_small", AUDIT_UNHELD);
	rows[n++] = auditfake_posix(HOSTILE, AUDIT_UNHELD);
	rows[n] = auditfake_posix("psm_large", AUDIT_UNHELD);
	rows[n].size_bytes = rows[n].resident_bytes = 8 * MIB;
	n++;
	rows[n++] = auditfake_posix("busy", AUDIT_HELD);
	rows[n] = auditfake_posix("secret", AUDIT_UNKNOWN);
	rows[n].proof = AUDIT_BY_NOTHING;
	rows[n].error = -EACCES;
	n++;
	rows[n] = auditfake_posix("pipe", AUDIT_UNFIT);
	rows[n].proof = AUDIT_BY_NOTHING;
	n++;
	rows[n++] = auditfake_posix("vanished", AUDIT_GONE);
	rows[n++] = auditfake_sysv(5, AUDIT_UNHELD);
	rows[n] = auditfake_sysv(6, AUDIT_UNHELD);
	rows[n].key = 0;
	rows[n].attached_s = rows[n].detached_s = 0;
	n++;
	rows[n] = auditfake_sysv(7, AUDIT_HELD);
	rows[n].key = 0xabc;
	rows[n].n_attached = 3;
	return n + 1;
}

static void
answer_list(struct auditfake *fake, const char *lack, unsigned flags)
{
	struct audit_answer answer = auditfake_header(fake, 0);
	struct audit_stray rows[16];

	answer.n_rows = fill(rows);
	answer.n_seen = answer.n_rows;
	answer.flags = flags;
	(void)snprintf(answer.text, sizeof(answer.text), "%s", lack);
	auditfake_send(fake, &answer, rows, answer.n_rows * sizeof(*rows));
}

/* A verdict on each candidate, that of the list again where it was to be judged only. */
static void
answer_judge(struct auditfake *fake, enum audit_verdict verdict, int error)
{
	static struct audit_stray rows[AUDIT_MESSAGE_BYTES / sizeof(struct audit_candidate)];
	const struct audit_candidate *candidates = auditfake_rows(fake);

	for (unsigned i = 0; i < fake->question.n_rows; i++) {
		const struct audit_candidate *c = &candidates[i];

		rows[i] = c->what == AUDIT_POSIX ? auditfake_posix(c->name, verdict) : auditfake_sysv(c->shm_id, verdict);
		rows[i].error = error;
		/* Candidates are what was listed, or it says so. */
		if (!(c->flags & AUDIT_CANDIDATE_REMOVE) || (c->what == AUDIT_POSIX ? c->inode != 1000 || c->device != 5 :
		    c->changed_s != 1699999999 || c->creator != 4242))
			rows[i].verdict = AUDIT_CHANGED;
	}
	for (unsigned i = 0; i < fake->question.n_rows; i += ROWS_A_MESSAGE) {
		bool is_last = i + ROWS_A_MESSAGE >= fake->question.n_rows;

		auditfake_answer(fake, &rows[i], is_last ? fake->question.n_rows - i : ROWS_A_MESSAGE, is_last ? 0 : AUDIT_MORE);
	}
}

static void
play_honest(struct auditfake *fake)
{
	if (fake->question.kind == AUDIT_LIST)
		answer_list(fake, "start segmentd-audit.socket", 0);
	else
		answer_judge(fake, AUDIT_REMOVED, 0);
}

static void
play_racing(struct auditfake *fake)
{
	if (fake->question.kind == AUDIT_LIST)
		answer_list(fake, "", AUDIT_INCOMPLETE);
	else
		answer_judge(fake, AUDIT_CHANGED, 0);
}

static void
play_powerless(struct auditfake *fake)
{
	if (fake->question.kind == AUDIT_LIST)
		answer_list(fake, EVIL_LACK, 0);
	else
		answer_judge(fake, AUDIT_KEPT, -EPERM);
}

/* Its grave: a second question finds the list empty. */
static void
play_empty(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);

	answer.n_seen = 4;
	auditfake_send(fake, &answer, NULL, 0);
}

static void
play_many(struct auditfake *fake)
{
	struct audit_stray rows[100];

	if (fake->question.kind != AUDIT_LIST) {
		answer_judge(fake, AUDIT_REMOVED, 0);
		return;
	}
	for (unsigned i = 0; i < N_MANY; i += 100) {
		for (unsigned j = 0; j < 100; j++) {
			char name[32];

			(void)snprintf(name, sizeof(name), "many-%04u", i + j);
			rows[j] = auditfake_posix(name, AUDIT_UNHELD);
		}
		auditfake_answer(fake, rows, 100, i + 100 < N_MANY ? AUDIT_MORE : 0);
	}
}

static void
play_failing(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);

	if (fake->question.kind != AUDIT_LIST) {
		_exit(0);
	}
	answer.result = -EPERM;
	(void)strcpy(answer.text, "your user is not in the group segmentd");
	auditfake_send(fake, &answer, NULL, 0);
}

static void
play_dying(struct auditfake *fake)
{
	if (fake->question.kind != AUDIT_LIST)
		_exit(0);
	answer_list(fake, "", 0);
}

/* Ends over a removal, and the next one has settled what it left. */
static void
play_recovering(struct auditfake *fake)
{
	if (fake->question.n_rows)
		play_dying(fake);
	else if (fake->question.kind == AUDIT_JUDGE)
		auditfake_answer(fake, NULL, 0, 0);
	else
		answer_list(fake, "", 0);
}

/* One object waits in quarantine, and another has its name. */
static void
play_keeping(struct auditfake *fake)
{
	struct audit_stray rows[] = { auditfake_posix("twice", AUDIT_KEPT), auditfake_posix("twice", AUDIT_HELD) };

	rows[0].error = -EEXIST;
	auditfake_answer(fake, rows, BASE_ARRAY_SIZE(rows), AUDIT_UNSETTLED);
}

static void
play_lying(struct auditfake *fake)
{
	struct audit_stray row = auditfake_posix("x", AUDIT_UNHELD);

	(void)strcpy(row.name, "../etc/passwd");
	auditfake_answer(fake, &row, 1, 0);
}

/* Answers, and then does not hear the hang-up. */
static void
play_deaf(struct auditfake *fake)
{
	play_empty(fake);
	for (;;)
		(void)pause();
}

static const struct auditfake_part parts[] = {
	{ "honest", play_honest },
	{ "racing", play_racing },
	{ "powerless", play_powerless },
	{ "empty", play_empty },
	{ "many", play_many },
	{ "failing", play_failing },
	{ "dying", play_dying },
	{ "recovering", play_recovering },
	{ "keeping", play_keeping },
	{ "lying", play_lying },
	{ "deaf", play_deaf },
	{ 0 }
};

/* Listing. */

/* In the place of systemd: answers who comes to the socket. */
static void
serve_socket(int control, void *arg)
{
	struct auditfake *fake = calloc(1, sizeof(*fake));
	ssize_t n;

	fake->fd = accept4(*(int *)arg, NULL, NULL, SOCK_CLOEXEC);
	harness_assert(fake->fd >= 0, "accept4: %s", strerror(errno));
	while ((n = recv(fake->fd, fake->bytes, sizeof(fake->bytes), 0)) > 0) {
		fake->size = (size_t)n;
		play_honest(fake);
	}
	free(fake);
}

START_TEST(socket_may_be_named_by_the_environment)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct harness_child child = HARNESS_CHILD_NULL;
	char dir[] = "/tmp/segmentctl-audit-XXXXXX";
	cleanup_close int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const struct run *run;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	harness_child_start(&child, serve_socket, &listener);
	(void)unsetenv("SEGMENTD_AUDIT");
	(void)setenv("SEGMENTD_AUDIT_SOCKET", address.sun_path, 1);
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "/psm_small");
	harness_child_await_success(&child);
	(void)unlink(address.sun_path);
	(void)rmdir(dir);
}
END_TEST

START_TEST(what_nobody_holds_is_listed_the_largest_first)
{
	const struct run *run;

	auditfake_choose("honest");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "OBJECT");
	assert_has(run->out, "/psm_small");
	assert_has(run->out, "/" SHOWN);
	assert_has(run->out, "0x00007a2f");
	assert_has(run->out, "id:6");
	assert_has(run->out, "write lease granted");
	assert_has(run->out, "nattch 0");
	assert_has(run->out, "4242");
	ck_assert(strstr(run->out, "/psm_large") < strstr(run->out, "/psm_small"));
	/* 8 + 1 + 1 MiB, and twice 4 KiB. */
	assert_has(run->out, "5 orphans, 10.0 MiB\n");
	assert_lacks(run->out, "busy");
	assert_lacks(run->out, "secret");
	assert_lacks(run->out, "pipe");
	assert_lacks(run->out, "vanished");
	ck_assert_str_eq(run->err, "segmentctl: start segmentd-audit.socket\n");
}
END_TEST

START_TEST(all_has_what_is_held_too)
{
	const struct run *run;

	auditfake_choose("honest");
	run = RUN("--all");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "busy");
	assert_has(run->out, "write lease refused");
	assert_has(run->out, "nattch 3");
	assert_has(run->out, "unfit");
	assert_has(run->out, "Permission denied");
	assert_lacks(run->out, "vanished");
	assert_has(run->out, "5 orphans, 10.0 MiB\n");
}
END_TEST

START_TEST(document_has_everything)
{
	const struct run *run;

	auditfake_choose("honest");
	run = RUN("--json");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->err, "");
	assert_json(run->out);
	assert_has(run->out, "\"object\": \"/psm_large\"");
	assert_has(run->out, "\"object\": \"id:6\"");
	assert_has(run->out, "\"key\": 31279");
	assert_has(run->out, "\"proof\": \"lease\"");
	assert_has(run->out, "\"last_detached\": \"2023-11-14T22:15:00.000000Z\"");
	assert_has(run->out, "\"last_detached\": null");
	assert_has(run->out, "\"orphans\": 5");
	assert_has(run->out, "\"wasted\": 10493952");
	assert_has(run->out, "\"not_judged\": 1");
	assert_has(run->out, "\"lacking\": \"start segmentd-audit.socket\"");
	assert_has(run->out, "\"complete\": true");
	assert_lacks(run->out, "\"result\"");
	auditfake_choose("racing");
	run = RUN("--json", "--all");
	assert_json(run->out);
	assert_has(run->out, "\"complete\": false");
	assert_has(run->out, "\"verdict\": \"held\"");
}
END_TEST

START_TEST(what_is_lacking_is_said_and_escaped)
{
	const struct run *run;

	auditfake_choose("powerless");
	run = run_segmentctl("orphans", NULL);
	assert_has(run->err, "segmentctl: run as root\\012\\033[2Jsegmentctl: all is well\n");
	auditfake_choose("racing");
	run = run_segmentctl("orphans", NULL);
	assert_has(run->err, "1 object could not be judged\n");
	assert_has(run->err, "there may be more");
	auditfake_choose("empty");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "no orphan: 4 objects were looked at\n");
	ck_assert_str_eq(run->err, "");
}
END_TEST

START_TEST(objects_are_named_in_every_way)
{
	static const struct {
		const char *argument;
		const char *shown;
	} rows[] = {
		{ "/psm_small", "/psm_small" }, { "psm_small", "/psm_small" }, { "0x7a2f", "0x00007a2f" }, { "0x00007A2F", "0x00007a2f" },
		{ "id:6", "id:6" }, { "id:5", "0x00007a2f" }, { HOSTILE, "/" SHOWN }, { "/" SHOWN, "/" SHOWN },
	};

	auditfake_choose("honest");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		const struct run *run = RUN(rows[i].argument);

		ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
		assert_has(run->out, rows[i].shown);
		assert_has(run->out, "1 orphan, ");
		ck_assert_str_eq(run->err, "");
	}
	/* Also what is held, or could not be judged; and several at once. */
	assert_has(RUN("busy")->out, "held");
	assert_has(RUN("/secret")->err, "start segmentd-audit.socket");
	assert_has(RUN("psm_small", "id:6", "psm_small")->out, "2 orphans, ");
}
END_TEST

START_TEST(names_that_cannot_be_are_wrong_usage)
{
	static const char *const arguments[] = { "", "/", "a/b", ".", "..", "/..", "0x", "0xg", "0x123456789", "0x0", "0x-1", "0x 1",
		"id:", "id:-1", "id:x", "id:4294967295", "id:+1" };
	char name[AUDIT_NAME_SIZE + 2];

	auditfake_choose("honest");
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(RUN(name)->status, SEGMENTCTL_USAGE);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(arguments); i++)
		ck_assert_msg(RUN(arguments[i])->status == SEGMENTCTL_USAGE, "'%s' is taken", arguments[i]);
	name[AUDIT_NAME_SIZE - 1] = '\0';
	ck_assert_int_eq(RUN(name)->status, SEGMENTCTL_NO_SEGMENT);
}
END_TEST

START_TEST(what_is_not_there_is_status_4_and_nothing_is_done)
{
	const struct run *run;

	auditfake_choose("honest");
	run = RUN("--remove", "--yes", "psm_small", "nowhere");
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	assert_has(run->err, "there is no object 'nowhere' in /dev/shm");
	ck_assert_str_eq(run->out, "");
	ck_assert_int_eq(RUN("id:77")->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(RUN("vanished")->status, SEGMENTCTL_NO_SEGMENT);
	run = RUN("--json", "0x1");
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	assert_json(run->out);
}
END_TEST

/* Removing. */

START_TEST(removal_needs_somebody_who_answers)
{
	auditfake_choose("honest");
	ck_assert_int_eq(RUN("--yes")->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(RUN("--remove")->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(RUN("--remove", "--json")->status, SEGMENTCTL_USAGE);
	/* Nor is a pipe that says yes one. */
	run_set_input("y\n", 2);
	ck_assert_int_eq(RUN("--remove")->status, SEGMENTCTL_USAGE);
	run_set_terminal(200);
	ck_assert_int_eq(RUN("--remove")->status, SEGMENTCTL_USAGE);
}
END_TEST

START_TEST(terminal_is_asked)
{
	static const struct {
		const char *typed;
		int status;
	} rows[] = {
		{ "y\n", SEGMENTCTL_DONE }, { "YES\n", SEGMENTCTL_DONE }, { "n\n", SEGMENTCTL_FAILED }, { "\n", SEGMENTCTL_FAILED },
		{ "\004", SEGMENTCTL_FAILED }, { "yesterday I would have\n", SEGMENTCTL_FAILED },
	};

	auditfake_choose("honest");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		const struct run *run;

		run_set_terminal(200);
		run_set_typed(rows[i].typed);
		run = RUN("--remove");
		ck_assert_msg(run->status == rows[i].status, "'%s': status %d: %s", rows[i].typed, run->status, run->out);
		assert_has(run->out, "/psm_small");
		assert_has(run->out, "Remove these 5 objects (10.0 MiB)? Their contents are lost. [y/N] ");
		(rows[i].status == SEGMENTCTL_DONE ? assert_has : assert_lacks)(run->out, "removed  /psm_small: 1 MiB given back");
	}
}
END_TEST

START_TEST(names_are_whole_on_a_narrow_terminal)
{
	const struct run *run;

	auditfake_choose("honest");
	run_set_terminal(20);
	run = run_segmentctl("orphans", NULL);
	assert_has(run->out, "/" SHOWN);
	assert_has(run->out, "0x00007a2f");
}
END_TEST

START_TEST(removals_are_told_one_by_one)
{
	const struct run *run;

	auditfake_choose("honest");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "removed  /psm_large: 8 MiB given back\n");
	assert_has(run->out, "removed  /" SHOWN ": 1 MiB given back\n");
	assert_has(run->out, "removed  0x00007a2f: 4 KiB given back\n");
	assert_has(run->out, "removed  id:6: 4 KiB given back\n");
	assert_has(run->out, "5 of 5 removed, 10.0 MiB given back\n");
	assert_lacks(run->out, "busy");
	run = RUN("--remove", "--yes", "id:6");
	assert_has(run->out, "1 of 1 removed");
	assert_lacks(run->out, "psm");
	run = RUN("--remove", "--yes", "--json");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_json(run->out);
	assert_has(run->out, "\"result\": \"removed\"");
	assert_has(run->out, "\"removed\": 5");
	assert_has(run->out, "\"given_back\": 10493952");
	ck_assert_int_eq(strncmp(run->out, "{", 1), 0);
}
END_TEST

START_TEST(what_stayed_is_told_with_its_reason_and_status)
{
	const struct run *run;

	auditfake_choose("racing");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->out, "changed  /psm_large: it was in use meanwhile, or is another one by now\n");
	assert_has(run->out, "0 of 5 removed, 0 B given back\n");
	auditfake_choose("powerless");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	assert_has(run->out, "kept     /psm_large: Operation not permitted\n");
	run = RUN("--remove", "--yes", "--json");
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	assert_json(run->out);
	assert_has(run->out, "\"result_error\": \"Operation not permitted\"");
}
END_TEST

START_TEST(what_is_held_is_never_asked_for)
{
	const struct run *run;

	auditfake_choose("honest");
	run = RUN("--remove", "--yes", "busy", "psm_small");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->out, "held     /busy: somebody has it now\n");
	assert_has(run->out, "removed  /psm_small");
	assert_has(run->out, "1 of 1 removed");
	run = RUN("--remove", "--yes", "busy");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	run = RUN("--remove", "--yes", "secret");
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	assert_has(run->out, "unknown  /secret: not judged: Permission denied\n");
	run = RUN("--remove", "--yes", "--all");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_lacks(run->out, "held     /busy:");
	/* Where there is nothing to be removed nobody is asked either. */
	auditfake_choose("empty");
	run_set_terminal(80);
	run_set_typed("");
	run = RUN("--remove");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_lacks(run->out, "[y/N]");
}
END_TEST

START_TEST(many_are_removed_in_several_questions)
{
	const struct run *run;
	unsigned n = 0;

	auditfake_choose("many");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	for (const char *p = run->out; (p = strstr(p, "removed  /many-")); p++)
		n++;
	ck_assert_uint_eq(n, N_MANY);
	assert_has(run->out, "1000 of 1000 removed");
}
END_TEST

START_TEST(what_waits_in_quarantine_is_listed_and_not_removed)
{
	const struct run *run;

	auditfake_choose("keeping");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "in quarantine: another has its name");
	assert_has(run->out, "no orphan: ");
	assert_lacks(run->out, "held");
	assert_has(run->err, "1 object waits in quarantine (/dev/shm/.segmentd-quarantine-*/ID/)");
	run = RUN("--json");
	assert_has(run->out, "\"verdict\": \"kept\"");
	assert_has(run->out, "\"quarantined\": 1");
	run = RUN("--remove", "--yes", "/twice");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->out, "kept     /twice: it waits in quarantine");
	assert_has(run->out, "held     /twice: somebody has it now");
}
END_TEST

/* Failures. */

START_TEST(auditor_that_fails_lies_or_is_not_there_is_told)
{
	const struct run *run;
	uint64_t began_ns;

	auditfake_choose("failing");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	assert_has(run->err, "your user is not in the group segmentd");
	auditfake_choose("lying");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_str_eq(run->out, "");
	assert_has(run->err, "answered what it must not");
	auditfake_choose("dying");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "ended before it had answered");
	assert_has(run->err, "what it was removing may wait without its name in /dev/shm/.segmentd-quarantine-*");
	auditfake_choose("recovering");
	run = RUN("--remove", "--yes");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "ended before it had answered");
	assert_lacks(run->err, "may wait");
	auditfake_choose("of nobody");
	ck_assert_int_eq(run_segmentctl("orphans", NULL)->status, SEGMENTCTL_FAILED);
	(void)setenv("SEGMENTD_AUDIT", "/nonexistent/audit", 1);
	run = RUN("--json");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "segmentd-audit cannot be started");
	assert_json(run->out);
	auditfake_choose("deaf");
	began_ns = clock_monotonic_ns();
	ck_assert_int_eq(run_segmentctl("orphans", NULL)->status, SEGMENTCTL_DONE);
	ck_assert_uint_lt(clock_monotonic_ns() - began_ns, 20 * NS_PER_SEC);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("segmentctl-orphans");
	TCase *tcase = tcase_create("orphans");

	auditfake_begin(argv, parts);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	(void)setenv("TZ", "UTC", 1);
	tcase_add_test(tcase, socket_may_be_named_by_the_environment);
	tcase_add_test(tcase, what_nobody_holds_is_listed_the_largest_first);
	tcase_add_test(tcase, all_has_what_is_held_too);
	tcase_add_test(tcase, document_has_everything);
	tcase_add_test(tcase, what_is_lacking_is_said_and_escaped);
	tcase_add_test(tcase, objects_are_named_in_every_way);
	tcase_add_test(tcase, names_that_cannot_be_are_wrong_usage);
	tcase_add_test(tcase, what_is_not_there_is_status_4_and_nothing_is_done);
	tcase_add_test(tcase, removal_needs_somebody_who_answers);
	tcase_add_test(tcase, terminal_is_asked);
	tcase_add_test(tcase, names_are_whole_on_a_narrow_terminal);
	tcase_add_test(tcase, removals_are_told_one_by_one);
	tcase_add_test(tcase, what_stayed_is_told_with_its_reason_and_status);
	tcase_add_test(tcase, what_is_held_is_never_asked_for);
	tcase_add_test(tcase, many_are_removed_in_several_questions);
	tcase_add_test(tcase, what_waits_in_quarantine_is_listed_and_not_removed);
	tcase_add_test(tcase, auditor_that_fails_lies_or_is_not_there_is_told);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
