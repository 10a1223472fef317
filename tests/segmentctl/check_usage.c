/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The command line: what is refused, how, and with which status; and `check`, which needs no daemon either. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

static void
assert_usage(const struct run *run, const char *part)
{
	ck_assert_int_eq(run->status, SEGMENTCTL_USAGE);
	ck_assert_msg(strstr(run->err, part) != NULL, "'%s' lacks '%s'", run->err, part);
	ck_assert_int_eq(strncmp(run->err, "segmentctl: ", 12), 0);
}

START_TEST(wrong_command_lines_say_what_is_wrong)
{
	assert_usage(run_segmentctl(NULL, NULL), "a command is missing");
	assert_usage(run_segmentctl("lst", NULL), "no command 'lst'");
	assert_usage(run_segmentctl("list", "x", NULL), "no argument 'x'");
	assert_usage(run_segmentctl("show", NULL), "lacks an argument");
	assert_usage(run_segmentctl("--bogus", "list", NULL), "'--bogus'");
	assert_usage(run_segmentctl("list", "-x", NULL), "'-x'");
	assert_usage(run_segmentctl("--socket", NULL), "needs an argument");
	assert_usage(run_segmentctl("list", "--now", NULL), "no option '--now'");
	assert_usage(run_segmentctl("remove", "a", "--timeout", "1s", NULL), "no option '--timeout'");
	assert_usage(run_segmentctl("remove", "a", "--keep", NULL), "no option '--keep'");
	assert_usage(run_segmentctl("recover", "a", "b", "c", NULL), "no argument 'c'");
	assert_usage(run_segmentctl("recover", NULL), "lacks an argument");
	assert_usage(run_segmentctl("recover", "a", "b/c", NULL), "cannot be a lock's name");
	assert_usage(run_segmentctl("recover", "a", "", NULL), "cannot be a lock's name");
	assert_usage(run_segmentctl("wait", "a", "--timeout", "5", NULL), "--timeout");
	assert_usage(run_segmentctl("wait", "a", "--timeout", "0", NULL), "no time");
	assert_usage(run_segmentctl("create", "a", "0", NULL), "SIZE");
	assert_usage(run_segmentctl("create", "a", "1XB", NULL), "SIZE");
	assert_usage(run_segmentctl("read", "a", "x", NULL), "OFFSET");
	assert_usage(run_segmentctl("read", "a", "0", "x", NULL), "LENGTH");
	assert_usage(run_segmentctl("write", "a", "-1", NULL), "'-1'");
	assert_usage(run_segmentctl("--json", "read", "a", NULL), "--json");
}
END_TEST

START_TEST(names_that_cannot_be_are_wrong_usage)
{
	char name[4097];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_usage(run_segmentctl("show", "a/b", NULL), "cannot be a segment's name");
	assert_usage(run_segmentctl("show", "", NULL), "cannot be");
	assert_usage(run_segmentctl("show", "..", NULL), "cannot be");
	assert_usage(run_segmentctl("remove", "a\033[31m", NULL), "a\\033[31m");
	assert_usage(run_segmentctl("wait", "good", name, NULL), "...");
	assert_usage(run_segmentctl("read", "--", "-a", NULL), "cannot be");
}
END_TEST

START_TEST(errors_are_a_document_with_json)
{
	const struct run *run = run_segmentctl("list", "--json", "a\"\n", NULL);
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_USAGE);
	ck_assert_ptr_nonnull(strstr(run->out, "\"status\": 2"));
	ck_assert_ptr_nonnull(strstr(run->err, "a\"\\012"));
	ck_assert(run_is_json(run->out, &known));
	if (!known)
		puts("skipped: neither python3 nor jq is here to judge JSON");
	run = run_segmentctl("--json", "--bogus", NULL);
	ck_assert(run_is_json(run->out, &known));
	ck_assert_ptr_nonnull(strstr(run->out, "\"error\""));
}
END_TEST

START_TEST(no_daemon_is_status_3)
{
	static const char *const sockets[] = { "/nonexistent/socket", "/dev/null" };
	const struct run *run;

	run = run_segmentctl("--socket", sockets[0], "list", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_DAEMON);
	ck_assert_ptr_nonnull(strstr(run->err, sockets[0]));
	ck_assert_int_eq(run_segmentctl("--socket", sockets[1], "list", NULL)->status, SEGMENTCTL_NO_DAEMON);
	ck_assert_int_eq(run_segmentctl("--socket", sockets[0], "read", "a", NULL)->status, SEGMENTCTL_NO_DAEMON);
	ck_assert_int_eq(run_segmentctl("--socket", sockets[0], "create", "a", "1MiB", NULL)->status,
	    SEGMENTCTL_NO_DAEMON);
	ck_assert_int_eq(run_segmentctl("--socket", sockets[0], "wait", "a", NULL)->status, SEGMENTCTL_NO_DAEMON);
}
END_TEST

START_TEST(help_names_every_command)
{
	const struct run *run = run_segmentctl("--help", NULL);

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	for (size_t i = 0; i < segmentctl_n_commands; i++)
		ck_assert_ptr_nonnull(strstr(run->out, segmentctl_commands[i].help));
	run = run_segmentctl("wait", "--help", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_ptr_nonnull(strstr(run->out, "--timeout"));
	run = run_segmentctl("--version", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_ptr_nonnull(strstr(run->out, PACKAGE_VERSION));
}
END_TEST

static char path[64];

static const char *
write_file(const char *text)
{
	int fd;

	strcpy(path, "/tmp/segmentctl-check-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	return path;
}

START_TEST(check_sums_up_a_valid_configuration)
{
	const char *file = write_file("segments = ( { name = \"a\"; size = \"1MiB\"; },\n"
	    "  { name = \"b\"; size = \"512KiB\"; } );\n");
	const struct run *run = run_segmentctl("check", file, NULL);
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->err, "");
	ck_assert_ptr_nonnull(strstr(run->out, "valid: 2 segments (1.5 MiB), 0 templates"));
	run = run_segmentctl("check", "--json", file, NULL);
	(void)unlink(file);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert(run_is_json(run->out, &known));
	ck_assert_ptr_nonnull(strstr(run->out, "\"valid\": true"));
	ck_assert_ptr_nonnull(strstr(run->out, "\"bytes\": 1572864"));
}
END_TEST

START_TEST(check_reports_every_problem_with_its_place)
{
	const char *file = write_file("segments = (\n  { name = \"a\"; size = \"nonsense\"; },\n"
	    "  { name = \"b/c\"; size = \"1MiB\"; } );\n");
	const struct run *run = run_segmentctl("check", file, NULL);
	char place[128];
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_str_eq(run->out, "");
	(void)snprintf(place, sizeof(place), "%s:2: ", file);
	ck_assert_ptr_nonnull(strstr(run->err, place));
	(void)snprintf(place, sizeof(place), "%s:3: ", file);
	ck_assert_ptr_nonnull(strstr(run->err, place));
	run = run_segmentctl("--json", "check", file, NULL);
	(void)unlink(file);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(run_is_json(run->out, &known));
	ck_assert_ptr_nonnull(strstr(run->out, "\"valid\": false"));
	ck_assert_ptr_nonnull(strstr(run->out, "\"line\": 2"));
	ck_assert_ptr_nonnull(strstr(run->out, "\"line\": 3"));
}
END_TEST

START_TEST(check_refuses_what_it_cannot_read)
{
	const struct run *run = run_segmentctl("check", "/nonexistent/a\033b", NULL);

	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_ptr_nonnull(strstr(run->err, "/nonexistent/"));
	ck_assert_ptr_null(strchr(run->err, '\033'));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-usage");
	TCase *tcase = tcase_create("usage");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, wrong_command_lines_say_what_is_wrong);
	tcase_add_test(tcase, names_that_cannot_be_are_wrong_usage);
	tcase_add_test(tcase, errors_are_a_document_with_json);
	tcase_add_test(tcase, no_daemon_is_status_3);
	tcase_add_test(tcase, help_names_every_command);
	tcase_add_test(tcase, check_sums_up_a_valid_configuration);
	tcase_add_test(tcase, check_reports_every_problem_with_its_place);
	tcase_add_test(tcase, check_refuses_what_it_cannot_read);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
