/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The manual page and the table of commands say the same: neither has a command, or arguments, that the other has not. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/suite_run.h"

#define ITEM	".It Cm "

static FILE *
open_manual(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	FILE *manual;

	(void)snprintf(path, sizeof(path), "%s/doc/segmentctl.1", srcdir ? srcdir : ".");
	manual = fopen(path, "re");
	ck_assert_msg(manual != NULL, "%s cannot be read", path);
	return manual;
}

/* An item's line without its macros: "wait NAME ... Op Fl -timeout Ar T" is "wait NAME... [--timeout T]". */
static void
strip_macros(const char *line, char *ret_plain, size_t size)
{
	char copy[256], *rest = copy;
	size_t n_open = 0, length;
	const char *word;
	bool glue = true;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	copy[strcspn(copy, "\n")] = '\0';
	*ret_plain = '\0';
	while ((word = strsep(&rest, " "))) {
		if (streq(word, "Ar") || streq(word, "Cm"))
			continue;
		length = strlen(ret_plain);
		if (streq(word, "Ns")) {
			glue = true;
			continue;
		}
		if (streq(word, "Op") || streq(word, "Oo")) {
			(void)snprintf(ret_plain + length, size - length, "%s[", glue ? "" : " ");
			n_open += streq(word, "Op");
			glue = true;
		} else if (streq(word, "Oc")) {
			(void)snprintf(ret_plain + length, size - length, "]");
			glue = false;
		} else if (streq(word, "Fl")) {
			(void)snprintf(ret_plain + length, size - length, "%s-", glue ? "" : " ");
			glue = true;
		} else {
			glue = glue || streq(word, "...");
			(void)snprintf(ret_plain + length, size - length, "%s%s", glue ? "" : " ", word);
			glue = false;
		}
	}
	for (length = strlen(ret_plain); n_open > 0; n_open--)
		(void)snprintf(ret_plain + length, size - length, "%s", "]"), length++;
}

START_TEST(every_command_is_in_the_manual_as_it_is)
{
	FILE *manual = open_manual();
	char line[256], plain[256], expected[256];
	size_t n = 0;

	while (fgets(line, sizeof(line), manual)) {
		const struct segmentctl_command *command = &segmentctl_commands[n];

		if (strncmp(line, ITEM, strlen(ITEM)) != 0)
			continue;
		ck_assert_msg(n < segmentctl_n_commands, "the manual has one command more: %s", line);
		strip_macros(line + strlen(ITEM), plain, sizeof(plain));
		(void)snprintf(expected, sizeof(expected), "%s%s%s", command->name, *command->arguments ? " " : "",
		    command->arguments);
		ck_assert_str_eq(plain, expected);
		n++;
	}
	(void)fclose(manual);
	ck_assert_uint_eq(n, segmentctl_n_commands);
}
END_TEST

START_TEST(every_exit_status_is_in_the_manual)
{
	FILE *manual = open_manual();
	bool found[SEGMENTCTL_NO_COMMAND + 1] = { false };
	char line[256];
	unsigned status;

	for (status = SEGMENTCTL_NOT_PERMITTED + 1; status < SEGMENTCTL_NOT_EXECUTABLE; status++)
		found[status] = true;		/* which is none of ours */

	while (fgets(line, sizeof(line), manual))
		if (sscanf(line, ".It %u", &status) == 1 && status < BASE_ARRAY_SIZE(found))
			found[status] = true;
	(void)fclose(manual);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(found); i++)
		ck_assert_msg(found[i], "exit status %zu is not in the manual", i);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-manual");
	TCase *tcase = tcase_create("manual");

	tcase_add_test(tcase, every_command_is_in_the_manual_as_it_is);
	tcase_add_test(tcase, every_exit_status_is_in_the_manual);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
