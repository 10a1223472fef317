/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The lines of a plan of very much: they come in pages, and are given back in pieces, none of which holds up the loop. */
#include "config.h"

#include <check.h>
#include <time.h>

#include "base/base.h"
#include "daemon/reload_lines.h"
#include "tests/suite_run.h"

#define UID	1000
#define N_LINES		60000
#define PIECE_NS	(NS_PER_MS / 2)

/* Of this thread: what others do on the machine does not count. */
static uint64_t
spent_ns(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static void
add_lines(struct reload_lines *lines)
{
	static struct reload_step step = { .action = PROTOCOL_PLAN_ADDED };

	reload_text_clear(&step.text);
	reload_text_add(&step.text, "size \"64KiB\", backend \"memfd\"");
	for (int i = 0; i < N_LINES; i++)
		ck_assert_int_eq(reload_lines_add(lines, PROTOCOL_PLAN_SEGMENT, "desk", &step), 0);
}

START_TEST(many_lines_are_given_back_in_pieces)
{
	struct reload_lines lines, garbage;
	uint64_t longest_ns = 0;
	unsigned n_pieces = 0;
	bool is_all = false;
	const char *rows;
	bool has_more;
	uint32_t n;
	size_t size;

	reload_lines_init(&lines);
	reload_lines_init(&garbage);
	add_lines(&lines);
	reload_lines_move(&lines, &garbage);
	ck_assert(!reload_lines_page(&lines, 0, &rows, &size, &n, &has_more));
	ck_assert(reload_lines_free_some(&lines, UINT64_MAX));
	/* Not even the first piece is all, where there is no time. */
	ck_assert(!reload_lines_free_some(&garbage, 0));
	while (!is_all) {
		uint64_t begun_ns = spent_ns();

		is_all = reload_lines_free_some(&garbage, clock_monotonic_ns() + PIECE_NS);
		longest_ns = max_u64(longest_ns, spent_ns() - begun_ns);
		n_pieces++;
	}
	(void)printf("%d lines given back in %u pieces, the longest of %ju us\n", N_LINES, n_pieces,
	    (uintmax_t)longest_ns / 1000);
	ck_assert_uint_lt(longest_ns, NS_PER_MS);
	reload_lines_deinit(&garbage);
	reload_lines_deinit(&lines);
}
END_TEST

START_TEST(lines_are_charged_as_long_as_they_are_kept)
{
	static struct reload_step step = { .action = PROTOCOL_PLAN_ADDED };
	const struct conf_limits limits = { .clients = 1 };
	struct reload_lines lines, garbage;
	struct accounts accounts;
	uint32_t n = 0;

	accounts_init(&accounts, &limits);
	reload_lines_init(&lines);
	reload_lines_init(&garbage);
	ck_assert_int_eq(accounts_charge_again(&accounts, UID, ACCOUNTS_MEMORY, 0, &lines.charge), 0);
	reload_text_clear(&step.text);
	reload_text_add(&step.text, "size");
	while (reload_lines_add(&lines, PROTOCOL_PLAN_SEGMENT, "desk", &step) == 0)
		n++;
	(void)printf("%u lines may be kept, in %ju bytes\n", n, (uintmax_t)lines.charge.amount);
	ck_assert_uint_eq(lines.n, n);
	ck_assert_uint_gt(lines.charge.amount, 31 * MIB);
	ck_assert_uint_le(lines.charge.amount, 32 * MIB);
	ck_assert_uint_eq(accounts_used(&accounts, UID, ACCOUNTS_MEMORY), lines.charge.amount);
	/* Those of others are others' matter. */
	reload_lines_move(&lines, &garbage);
	ck_assert_uint_eq(accounts_used(&accounts, UID, ACCOUNTS_MEMORY), 0);
	reload_lines_deinit(&garbage);
	reload_lines_deinit(&lines);
	accounts_deinit(&accounts);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lines");
	TCase *tcase = tcase_create("lines");

	tcase_add_test(tcase, many_lines_are_given_back_in_pieces);
	tcase_add_test(tcase, lines_are_charged_as_long_as_they_are_kept);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
