/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The example client/examples/ledger, built as a user's program is, with the real daemon and the definition of its head. */
#include "config.h"

#include <signal.h>
#include <sys/wait.h>

#include "tests/harness.h"

/* The lines of the example's first comment that are configuration. */
static void
read_definition(char *body, size_t size)
{
	cleanup_fclose FILE *f = fopen(LEDGER_SOURCE, "re");
	bool inside = false;
	char line[512];

	harness_assert(f, "%s", LEDGER_SOURCE);
	*body = '\0';
	while (fgets(line, sizeof(line), f) && !streq(line, " */\n")) {
		char *text = strchr(line, '*');

		inside = inside || strstr(line, "segments = (");
		if (inside && text && strncat(body, text + 1, size - strlen(body) - 1) && strstr(text, "} );\n") &&
		    !strstr(text, "locks"))
			return;
	}
	harness_fail("no definition in %s", LEDGER_SOURCE);
}

/* Runs the program, whose output must hold the text; its exit status, or minus its signal. */
static int
ledger(const char *arguments, const char *want)
{
	char command[512], output[4096];
	size_t n;
	FILE *f;
	int status;

	/* libtool's script is a shell, which would say with a status of its own that the program was killed. */
	(void)snprintf(command, sizeof(command), "exec '%s' %s 2>&1", LEDGER_PROGRAM, arguments);
	f = popen(command, "re");
	harness_assert(f, "popen");
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	status = pclose(f);
	harness_assert(strstr(output, want), "'%s' printed '%s', not '%s'", arguments, output, want);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

START_TEST(ledger_never_loses_a_cent)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	char body[4096];

	read_definition(body, sizeof(body));
	harness_daemon_start(&daemon, "", body);
	ck_assert_int_eq(setenv("SEGMENTD_SOCKET", daemon.socket, 1), 0);
	ck_assert_int_eq(ledger("bank", "0 transfers, sum 0\n"), 0);
	ck_assert_int_eq(ledger("bank 0 1 100", "account 0: -100\naccount 1: 100\n1 transfers, sum 0\n"), 0);
	ck_assert_int_eq(ledger("bank 1 2 101", "account 1 has not got 101\naccount 0: -100\naccount 1: 100\n1 transfers"), 1);
	ck_assert_int_eq(ledger("bank 1 2 30 die", "account 1 has 30 less"), -SIGKILL);
	ck_assert_int_eq(ledger("bank", "account 0: -100\naccount 1: 100\n1 transfers, sum 0\n"), 0);
	ck_assert_int_eq(ledger("bank 1 2 30", "recovered: "), 0);
	ck_assert_int_eq(ledger("bank 2 1 5", "account 1: 75\naccount 2: 25\n3 transfers, sum 0\n"), 0);
	ck_assert_int_eq(ledger("bank 1", "usage: "), 2);
	ck_assert_int_eq(ledger("bank 1 16 5", "'16' is not a number"), 2);
	ck_assert_int_eq(ledger("nosuch", "nosuch"), 1);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ledger");
	TCase *tcase = tcase_create("ledger");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, ledger_never_loses_a_cent);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
