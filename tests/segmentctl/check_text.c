/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sizes, escapes, JSON: the parts of segmentctl that need no daemon. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/text.h"
#include "tests/suite_run.h"

static const char *
size_of(uint64_t bytes)
{
	static char buf[TEXT_SIZE];

	text_format_size(bytes, buf);
	return buf;
}

START_TEST(sizes_are_short_and_never_misleading)
{
	ck_assert_str_eq(size_of(0), "0 B");
	ck_assert_str_eq(size_of(1023), "1023 B");
	ck_assert_str_eq(size_of(1024), "1 KiB");
	ck_assert_str_eq(size_of(1536), "1.5 KiB");
	ck_assert_str_eq(size_of(GIB), "1 GiB");
	ck_assert_str_eq(size_of(GIB - 1), "1.0 GiB");
	ck_assert_str_eq(size_of(10 * TIB), "10 TiB");
	ck_assert_str_eq(size_of(UINT64_MAX), "16.0 EiB");
}
END_TEST

START_TEST(percent_is_rounded_down_and_bounded)
{
	ck_assert_uint_eq(text_percent(0, 0), 0);
	ck_assert_uint_eq(text_percent(5, 0), 0);
	ck_assert_uint_eq(text_percent(GIB - 1, GIB), 99);
	ck_assert_uint_eq(text_percent(GIB, GIB), 100);
	ck_assert_uint_eq(text_percent(UINT64_MAX, 1), 100);
}
END_TEST

static void
assert_escaped(const char *in, const char *expected)
{
	char *escaped = text_escape(in);

	ck_assert_str_eq(escaped, expected);
	free(escaped);
}

START_TEST(nothing_that_acts_on_a_terminal_is_left)
{
	assert_escaped("plain", "plain");
	assert_escaped("a\033[31mb", "a\\033[31mb");
	assert_escaped("a\nb\tc\x7f", "a\\012b\\011c\\177");
	assert_escaped("gr\303\274n", "gr\303\274n");
	assert_escaped("\302\233" "31m", "\\302\\23331m");		/* C1: another way to begin a sequence */
	assert_escaped("\342\200\256gpj.exe", "\\342\\200\\256gpj.exe");	/* right to left */
	assert_escaped("\303", "\\303");
	assert_escaped("\300\212", "\\300\\212");			/* an overlong newline */
	assert_escaped("\355\240\200", "\\355\\240\\200");		/* a surrogate */
	assert_escaped("\364\220\200\200", "\\364\\220\\200\\200");
}
END_TEST

START_TEST(times_that_are_lies_are_no_crash)
{
	char buf[TEXT_SIZE];

	text_format_time(1500000000123456789u, true, buf);
	ck_assert_str_eq(buf, "2017-07-14T02:40:00.123456Z");
	text_format_time(UINT64_MAX, true, buf);
	text_format_time(UINT64_MAX, false, buf);
}
END_TEST

START_TEST(json_strings_stay_valid)
{
	struct json json;

	ck_assert_int_eq(json_init(&json), 0);
	json_add_string(&json, "a\"\\", "\"\\\n\t\001\x7f\377\303\274");
	json_add_string(&json, "none", NULL);
	json_open_array(&json, "empty");
	json_close_array(&json);
	json_add_number(&json, "most", UINT64_MAX);
	json_add_bool(&json, "yes", true);
	(void)fflush(json.out);
	ck_assert_str_eq(json.text, "{\n  \"a\\\"\\\\\": \"\\\"\\\\\\n\\t\\u0001\\u007f\\ufffd\303\274\",\n"
	    "  \"none\": null,\n  \"empty\": [],\n  \"most\": 18446744073709551615,\n  \"yes\": true");
	json_deinit(&json);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-text");
	TCase *tcase = tcase_create("text");

	tcase_add_test(tcase, sizes_are_short_and_never_misleading);
	tcase_add_test(tcase, percent_is_rounded_down_and_bounded);
	tcase_add_test(tcase, nothing_that_acts_on_a_terminal_is_left);
	tcase_add_test(tcase, times_that_are_lies_are_no_crash);
	tcase_add_test(tcase, json_strings_stay_valid);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
