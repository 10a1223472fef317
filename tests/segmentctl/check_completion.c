/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The completion, sourced by bash and called as bash calls it: with the real daemon, with a silent one, and with none. */
#include "config.h"

#include <sys/wait.h>

#include "client/segmentctl/event.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/host/auditfake.h"
#include "tests/segmentctl/fake.h"

#define BODY \
	"segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; }, { name = \"bookings\"; size = \"4KiB\"; mlock = false; },\n" \
	"  { name = \"prices\"; size = \"4KiB\"; mlock = false; locks = ( { name = \"ask\"; length = 64; },\n" \
	"    { name = \"bid.1\"; offset = 64; length = 64; }, { name = \"best\"; at = 128; } ); } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
need_bash(void)
{
	if (system("bash -c 'complete' >/dev/null 2>&1") != 0)
		harness_skip("no bash that completes");
}

/* A timeout(1) that waits: how soon an answer comes says nothing where it is not what is looked at. */
static void
be_patient(void)
{
	char path[96], search[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/timeout", daemon_.dir);
	f = fopen(path, "we");
	harness_assert(f && fputs("#!/bin/sh\nshift\nexec \"$@\"\n", f) >= 0 && fclose(f) == 0 && chmod(path, 0755) == 0, "%s: %s",
	    path, strerror(errno));
	(void)snprintf(search, sizeof(search), "%s:%s", daemon_.dir, getenv("PATH"));
	(void)setenv("PATH", search, 1);
}

static void
start(void)
{
	need_bash();
	harness_daemon_start(&daemon_, "", BODY);
	be_patient();
	(void)setenv("SEGMENTD_SOCKET", daemon_.socket, 1);
}

static void
stop(void)
{
	harness_daemon_stop(&daemon_);
}

/*
 * What is offered for the last of these words, each between blanks; what is printed by mistake is there, too. words: as bash
 * parts a line, in shell quotes where need be.
 */
static const char *
complete(const char *words)
{
	static char offered[65536];
	char command[1024];
	size_t length;
	FILE *pipe;

	(void)snprintf(command, sizeof(command), "bash --norc -c 'source %s; COMP_WORDS=(segmentctl %s); "
	    "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _segmentctl %s; printf \"%%s \" \"${COMPREPLY[@]}\"' 2>&1",
	    COMPLETION, words, PROGRAM);
	pipe = popen(command, "re");
	harness_assert(pipe, "popen: %s", strerror(errno));
	offered[0] = ' ';
	length = 1 + fread(offered + 1, 1, sizeof(offered) - 2, pipe);
	offered[length] = '\0';
	ck_assert_int_eq(pclose(pipe), 0);
	return offered;
}

static void
assert_offers(const char *words, const char *word)
{
	const char *offered = complete(words);
	char part[256];

	(void)snprintf(part, sizeof(part), " %s ", word);
	ck_assert_msg(strstr(offered, part) != NULL, "'%s' is offered '%s', not '%s'", words, offered, word);
}

static void
assert_offers_all(const char *words, const char *all)
{
	const char *offered = complete(words);

	ck_assert_msg(streq(offered, all), "'%s' is offered '%s', not '%s'", words, offered, all);
}

#define NOTHING	"  "			/* printf of no word */

START_TEST(all_commands_and_options_are_offered)
{
	char words[128], option[64];

	for (size_t i = 0; i < segmentctl_n_commands; i++) {
		const struct segmentctl_command *command = &segmentctl_commands[i];
		const char *p = command->arguments;

		assert_offers("\"\"", command->name);
		(void)snprintf(words, sizeof(words), "%s --", command->name);
		assert_offers(words, "--json");
		while ((p = strstr(p, "[--"))) {
			p++;
			(void)snprintf(option, sizeof(option), "%.*s", (int)strcspn(p, " ]"), p);
			assert_offers(words, option);
		}
	}
	assert_offers_all("sh", " show ");
	assert_offers_all("--json li", " list ");
	assert_offers_all("--so", " --socket ");
	assert_offers_all("remove --n", " --now ");
	assert_offers_all("show --n", NOTHING);
	assert_offers_all("nonsense b", NOTHING);
}
END_TEST

START_TEST(names_are_asked_from_the_daemon)
{
	char words[256];

	assert_offers_all("show \"\"", " book bookings prices ");
	assert_offers_all("show b", " book bookings ");
	assert_offers_all("remove --now p", " prices ");
	assert_offers_all("wait --timeout 5s book p", " prices ");
	assert_offers_all("events --kinds died p", " prices ");
	assert_offers_all("exec book p", " prices ");
	/* One is enough, or there is none yet. */
	assert_offers_all("show book p", NOTHING);
	assert_offers_all("create b", NOTHING);
	assert_offers_all("list b", NOTHING);
	/* A daemon that is named on the line, in either way. */
	(void)setenv("SEGMENTD_SOCKET", "/nonexistent/socket", 1);
	assert_offers_all("show p", NOTHING);
	(void)snprintf(words, sizeof(words), "--socket %s show p", daemon_.socket);
	assert_offers_all(words, " prices ");
	(void)snprintf(words, sizeof(words), "show --socket = %s p", daemon_.socket);
	assert_offers_all(words, " prices ");
}
END_TEST

START_TEST(locks_are_asked_from_the_daemon)
{
	char words[256];

	assert_offers_all("recover p", " prices ");
	assert_offers_all("recover prices \"\"", " ask bid.1 best ");
	assert_offers_all("recover --keep prices b", " bid.1 best ");
	assert_offers_all("recover prices --keep a", " ask ");
	assert_offers_all("recover prices ask b", NOTHING);
	assert_offers_all("recover book \"\"", NOTHING);
	assert_offers_all("recover none \"\"", NOTHING);
	assert_offers_all("recover \"a b\" \"\"", NOTHING);
	(void)setenv("SEGMENTD_SOCKET", "/nonexistent/socket", 1);
	assert_offers_all("recover prices b", NOTHING);
	(void)snprintf(words, sizeof(words), "--socket %s recover prices a", daemon_.socket);
	assert_offers_all(words, " ask ");
}
END_TEST

START_TEST(what_options_and_exec_take_is_offered)
{
	char all[256], kinds[512] = " ";

	/* In the order of the wire, as segmentctl itself tells them. */
	(void)event_all_kinds(all, sizeof(all));
	for (char *rest = all, *kind; (kind = strsep(&rest, ","));) {
		strcat(kinds, kind);
		strcat(kinds, " ");
	}
	assert_offers_all("events --kinds \"\"", kinds);
	assert_offers_all("events --kinds died,po", " died,poisoned ");
	assert_offers_all("wait book --timeout \"\"", NOTHING);
	assert_offers_all("exec book :", " r ");
	assert_offers_all("exec book : \"\"", " r ");
	assert_offers_all("exec book : r p", " prices ");
	assert_offers("exec book -- ech", "echo");
	assert_offers("exec book -- /de", "/dev");
	assert_offers("exec book -- cat /dev/nul", "/dev/null");
	assert_offers("check /dev/nul", "/dev/null");
	assert_offers("doctor /dev/nul", "/dev/null");
	assert_offers("--socket /dev/nul", "/dev/null");
	assert_offers("--socket = /dev/nul", "/dev/null");
}
END_TEST

/* Names of everybody's choice, and bash expands the words that it is given. */
static void
play_hostile(struct auditfake *audit)
{
	static const char *const names[] = { "psm_1", "$(touch expanded)", "`touch expanded`", "a b", "*", "x\n\"object\": \"forged\"",
		"\xff", "psm-2%+," };
	struct audit_stray rows[BASE_ARRAY_SIZE(names) + 2];
	unsigned n = 0;

	while (n < BASE_ARRAY_SIZE(names)) {
		rows[n] = auditfake_posix(names[n], AUDIT_UNHELD);
		n++;
	}
	rows[n++] = auditfake_sysv(1, AUDIT_UNHELD);
	rows[n++] = auditfake_posix("psm_held", AUDIT_HELD);
	auditfake_answer(audit, rows, n, 0);
}

static const struct auditfake_part parts[] = { { "hostile", play_hostile }, { 0 } };

START_TEST(orphans_with_plain_names_are_offered)
{
	need_bash();
	harness_daemon_prepare(&daemon_, "", "");
	be_patient();
	auditfake_choose("hostile");
	assert_offers_all("orphans /psm", " /psm-2%+, /psm_1 ");
	assert_offers_all("orphans --remove /psm_1 0", " 0x00007a2f ");
	assert_offers_all("orphans \"\"", " /psm-2%+, /psm_1 0x00007a2f ");
	ck_assert_int_eq(access("expanded", F_OK), -1);
	harness_daemon_remove(&daemon_);
}
END_TEST

static struct fake fake;

static void
stop_fake(void)
{
	fake_stop(&fake);
}

static void
answer_never(const struct fake_request *request)
{
}

START_TEST(without_an_answer_nothing_is_offered_soon)
{
	uint64_t began_ns = clock_monotonic_ns();

	need_bash();
	fake_start(&fake, answer_never);
	(void)setenv("SEGMENTD_SOCKET", "/nonexistent/socket", 1);
	assert_offers_all("show \"\"", NOTHING);
	assert_offers_all("sh", " show ");
	(void)setenv("SEGMENTD_SOCKET", fake.socket, 1);
	if (system("command -v timeout >/dev/null") != 0)
		harness_skip("no timeout(1)");
	assert_offers_all("show \"\"", NOTHING);
	ck_assert_uint_lt(clock_monotonic_ns() - began_ns, 20 * NS_PER_SEC);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("segmentctl-completion");
	TCase *tcase = tcase_create("daemon"), *silent = tcase_create("silent");
	TCase *orphans = tcase_create("orphans");

	auditfake_begin(argv, parts);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, all_commands_and_options_are_offered);
	tcase_add_test(tcase, names_are_asked_from_the_daemon);
	tcase_add_test(tcase, locks_are_asked_from_the_daemon);
	tcase_add_test(tcase, what_options_and_exec_take_is_offered);
	suite_add_tcase(suite, tcase);
	tcase_set_timeout(orphans, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(orphans, orphans_with_plain_names_are_offered);
	suite_add_tcase(suite, orphans);
	tcase_set_timeout(silent, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(silent, NULL, stop_fake);
	tcase_add_test(silent, without_an_answer_nothing_is_offered_soon);
	suite_add_tcase(suite, silent);
	return harness_run(suite);
}
