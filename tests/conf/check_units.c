/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sizes, times and modes: what is read, what is refused and with which words, and that what is written reads the same. */
#include "config.h"

#include "conf/units.h"
#include "tests/conf/suite.h"

static const struct {
	const char *text;
	uint64_t value;
} good_sizes[] = {
	{ "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "17B", 17 }, { "1KiB", KIB }, { "1K", KIB },
	{ "512MiB", 512 * MIB }, { "512 MiB", 512 * MIB }, { "3G", 3 * GIB }, { "2TiB", 2 * TIB },
	{ "2T", 2 * TIB }, { "4194304TiB", UNITS_SIZE_MAX }, { "0000001K", KIB },
};

static const struct {
	const char *text, *why;
} bad_sizes[] = {
	{ "", "\"\" is not a size" }, { "MiB", "not a size" }, { "-1", "negative" }, { "-5MiB", "negative" },
	{ "+1", "not a size" }, { " 1", "not a size" }, { "1.5GiB", "fraction" }, { "1,5G", "fraction" },
	{ "5MB", "write \"MiB\"" }, { "5gib", "write \"GiB\"" }, { "5m", "write \"M\"" }, { "5s", "unknown unit" },
	{ "1e3", "unknown unit" }, { "0x10", "unknown unit" }, { "1  K", "unknown unit" }, { "1 ", "unknown unit" },
	{ "9223372036854775808", "too large; expected at most 4194304TiB" },
	{ "18446744073709551616", "too large" }, { "99999999999999999999999999999", "too large" },
	{ "4194305TiB", "too large" }, { "16777216T", "too large" }, { "1\nK", "unknown unit" },
	{ "infinity", "not a size" }, { "nan", "not a size" }, { "1PiB", "expected B, KiB, MiB" },
};

static const struct {
	const char *text, *why;
} bad_times[] = {
	{ "", "not a time" }, { "5", "has no unit; expected ms, s, min or h" }, { "5m", "unknown unit" },
	{ "5sec", "write \"s\"" }, { "1.5s", "fraction" }, { "-1s", "negative" }, { "87601h", "too large" },
	{ "99999999999999999999ms", "too large" }, { "5KiB", "unknown unit" }, { "1d", "unknown unit" },
};

static const struct {
	const char *text, *why;
} bad_modes[] = {
	{ "", "not a mode" }, { "66", "not a mode" }, { "0888", "not a mode" }, { "rw-", "not a mode" },
	{ "-0640", "not a mode" }, { "00640", "not a mode" }, { "4755", "more than permission bits" },
	{ "640 ", "not a mode" }, { "0x1", "not a mode" },
};

START_TEST(sizes_are_read)
{
	char why[UNITS_WHY_SIZE];
	uint64_t bytes = 1;

	ck_assert_int_eq(units_parse_size(good_sizes[_i].text, why, &bytes), 0);
	ck_assert_uint_eq(bytes, good_sizes[_i].value);
}
END_TEST

START_TEST(bad_sizes_are_refused_with_a_reason)
{
	char why[UNITS_WHY_SIZE];
	uint64_t bytes = 77;

	ck_assert_int_eq(units_parse_size(bad_sizes[_i].text, why, &bytes), UNITS_E_INVALID);
	ck_assert_msg(strstr(why, bad_sizes[_i].why), "'%s': %s", bad_sizes[_i].text, why);
	ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(times_are_read)
{
	char why[UNITS_WHY_SIZE];
	uint64_t ms;

	ck_assert_int_eq(units_parse_time("0", why, &ms), 0);
	ck_assert_uint_eq(ms, 0);
	ck_assert_int_eq(units_parse_time("250ms", why, &ms), 0);
	ck_assert_uint_eq(ms, 250);
	ck_assert_int_eq(units_parse_time("5s", why, &ms), 0);
	ck_assert_uint_eq(ms, 5000);
	ck_assert_int_eq(units_parse_time("2min", why, &ms), 0);
	ck_assert_uint_eq(ms, 120000);
	ck_assert_int_eq(units_parse_time("3h", why, &ms), 0);
	ck_assert_uint_eq(ms, 10800000);
}
END_TEST

START_TEST(bad_times_are_refused_with_a_reason)
{
	char why[UNITS_WHY_SIZE];
	uint64_t ms;

	ck_assert_int_eq(units_parse_time(bad_times[_i].text, why, &ms), UNITS_E_INVALID);
	ck_assert_msg(strstr(why, bad_times[_i].why), "'%s': %s", bad_times[_i].text, why);
}
END_TEST

START_TEST(modes_are_read_in_octal)
{
	char why[UNITS_WHY_SIZE];
	uint16_t mode;

	ck_assert_int_eq(units_parse_mode("0640", why, &mode), 0);
	ck_assert_uint_eq(mode, 0640);
	ck_assert_int_eq(units_parse_mode("777", why, &mode), 0);
	ck_assert_uint_eq(mode, 0777);
	ck_assert_int_eq(units_parse_mode("0000", why, &mode), 0);
	ck_assert_uint_eq(mode, 0);
}
END_TEST

START_TEST(bad_modes_are_refused_with_a_reason)
{
	char why[UNITS_WHY_SIZE];
	uint16_t mode;

	ck_assert_int_eq(units_parse_mode(bad_modes[_i].text, why, &mode), UNITS_E_INVALID);
	ck_assert_msg(strstr(why, bad_modes[_i].why), "'%s': %s", bad_modes[_i].text, why);
}
END_TEST

START_TEST(what_is_written_reads_the_same)
{
	char why[UNITS_WHY_SIZE], buf[32];
	uint64_t value = 1, back;

	for (int i = 0; i < 2000; i++) {
		value = (value * 6364136223846793005u + 1442695040888963407u) & (UNITS_SIZE_MAX - 1);
		value >>= i % 50;
		value <<= i % 3 * 10 * (value < TIB);
		ck_assert_int_eq(units_parse_size(units_format_size(buf, sizeof(buf), value), why, &back), 0);
		ck_assert_uint_eq(back, value);
		value %= UNITS_TIME_MAX_MS;
		ck_assert_int_eq(units_parse_time(units_format_time(buf, sizeof(buf), value), why, &back), 0);
		ck_assert_uint_eq(back, value);
	}
	ck_assert_str_eq(units_format_size(buf, sizeof(buf), 512 * MIB), "512MiB");
	ck_assert_str_eq(units_format_size(buf, sizeof(buf), 4097), "4097B");
	ck_assert_str_eq(units_format_time(buf, sizeof(buf), 90000), "90s");
}
END_TEST

START_TEST(quotes_show_no_control_character_and_are_bounded)
{
	char buf[96], small[12], text[5000];

	ck_assert_str_eq(units_quote(buf, sizeof(buf), "a\n\x1b\"b"), "\"a\\x0a\\x1b\\x22b\"");
	memset(text, '\xff', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_uint_lt(strlen(units_quote(buf, sizeof(buf), text)), sizeof(buf));
	ck_assert_uint_lt(strlen(units_quote(small, sizeof(small), text)), sizeof(small));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/units");
	TCase *tc = tcase_create("units");

	tcase_add_loop_test(tc, sizes_are_read, 0, BASE_ARRAY_SIZE(good_sizes));
	tcase_add_loop_test(tc, bad_sizes_are_refused_with_a_reason, 0, BASE_ARRAY_SIZE(bad_sizes));
	tcase_add_test(tc, times_are_read);
	tcase_add_loop_test(tc, bad_times_are_refused_with_a_reason, 0, BASE_ARRAY_SIZE(bad_times));
	tcase_add_test(tc, modes_are_read_in_octal);
	tcase_add_loop_test(tc, bad_modes_are_refused_with_a_reason, 0, BASE_ARRAY_SIZE(bad_modes));
	tcase_add_test(tc, what_is_written_reads_the_same);
	tcase_add_test(tc, quotes_show_no_control_character_and_are_bounded);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
