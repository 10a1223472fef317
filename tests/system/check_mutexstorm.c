/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The storm of pthread clients with the real daemon: it makes the mutexes, and frees what the kernel did not get to when
 * clients are killed. They know nothing but pthread and where the memory is.
 */
#include "config.h"

#include <inttypes.h>

#include "client/segment.h"
#include "tests/client/locker.h"
#include "tests/client/mutexstorm.h"

#define STORM_S	10		/* times the scale */

static struct harness_daemon daemon_of_all = HARNESS_DAEMON_NULL;

/* One entry of `locks` for each group. */
static const char *
definition_text(void)
{
	static char text[2048];
	size_t len = (size_t)snprintf(text, sizeof(text), "segments = ( { name = \"bank\"; size = \"64KiB\"; mode = \"0666\"; "
	    "placement = \"prefer\"; locks = (");

	for (unsigned i = 0; i < MUTEXSTORM_GROUPS; i++) {
		size_t at = offsetof(struct mutexstorm_bank, groups) + i * sizeof(struct mutexstorm_group);
		size_t from = at + offsetof(struct mutexstorm_group, undo), to = at + sizeof(struct mutexstorm_group);

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s{ name = \"group%u\"; at = \"%zu\"; init = true; ",
		    i ? ", " : " ", i, at);
		if (mutexstorm_group_zeroes(i))
			len += (size_t)snprintf(text + len, sizeof(text) - len,
			    "on_death = \"zero\"; offset = \"%zu\"; length = \"%zu\"; }", from, to - from);
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "on_death = \"keep\"; }");
	}
	(void)snprintf(text + len, sizeof(text) - len, " ); } );");
	return text;
}

/* Attached in the calling process for as long as that lives. */
static struct mutexstorm_bank *
open_bank(void *arg)
{
	/* Kept in sight: they are given back by the process's end, and lost to nobody. */
	static struct segment_client *client;
	static struct segment *segment;

	(void)arg;
	harness_assert(segment_connect(&client, daemon_of_all.socket) == 0 &&
	    segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment) == 0, "attaching: %s", segment_error());
	return segment_data(segment);
}

/* Of all groups, by the daemon's books. */
static uint64_t
count_recoveries(void)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;

	harness_open(&conn, daemon_of_all.socket);
	ck_assert_int_eq(harness_find(&conn, "bank", &row), 0);
	harness_close(&conn);
	return row.recoveries;
}

START_TEST(every_sum_stands_with_the_daemon)
{
	struct mutexstorm storm = { .open = open_bank, .seconds = harness_storm_seconds(STORM_S) };
	const char *seed = getenv("SEGMENTD_TEST_SEED");
	uint64_t n_recoveries;

	locker_need_plain_pthread();
	storm.seed = seed ? strtoull(seed, NULL, 0) : 20261121;
	harness_daemon_start(&daemon_of_all, NULL, definition_text());
	storm.bank = open_bank(NULL);
	mutexstorm_prepare(storm.bank, false);
	mutexstorm_run(&storm);
	n_recoveries = count_recoveries();
	printf("seed %" PRIu64 ", %u s: %" PRIu64 " transfers, %u clients killed, %" PRIu64 " recoveries by the daemon, %" PRIu64
	    " lockers told, %" PRIu64 " of them amid a transfer; every sum stands\n", storm.seed, storm.seconds,
	    atomic_load(&storm.bank->n_transfers), storm.n_kills, n_recoveries, atomic_load(&storm.bank->n_told),
	    atomic_load(&storm.bank->n_undone));
	(void)fflush(stdout);
	ck_assert_uint_gt(atomic_load(&storm.bank->n_transfers), 0);
	ck_assert_uint_gt(atomic_load(&storm.bank->n_told), 0);
	ck_assert_uint_gt(n_recoveries, 0);
	harness_daemon_stop(&daemon_of_all);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("mutexstorm");
	TCase *tcase = tcase_create("mutexstorm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, every_sum_stands_with_the_daemon);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
