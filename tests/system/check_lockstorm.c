/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A kill storm: clients transfer money between accounts under a lock of each group, and one of them is killed every few
 * milliseconds, wherever it is. Every sum stands at every time, and nobody waits for long.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>

#include "tests/system/bank.h"

#define N_TELLERS	8
#define N_READERS	2
#define PAUSE_MAX_MS	4		/* between two kills */
#define STORM_S		10
#define HALF_S		2		/* each half of a storm whose daemon dies */
#define N_RESERVES	100		/* who take the places of the killed when there is no daemon any more */
#define WAIT_MAX_NS	(5 * NS_PER_SEC)

struct storm {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct bank *bank;
	struct harness_child children[N_TELLERS + N_READERS];	/* readers behind the tellers */
	struct harness_child reserves[N_RESERVES];
	unsigned n_used;		/* of the reserves */
	struct harness_child auditor;
	uint64_t random;
	unsigned n_kills;
};

/* A sanitizer makes everything slower but the kernel. */
static uint64_t
wait_max_ns(void)
{
	return WAIT_MAX_NS * (harness_has_sanitizers() ? 4 : 1);
}

static void
storm_begin(struct storm *storm)
{
	char body[4096];

	*storm = (struct storm) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .random = bank_seed() };
	(void)snprintf(body, sizeof(body), "segments = ( %s );", bank_definition("bank"));
	harness_daemon_start(&storm->daemon, "limits = { clients = 4096; attachments = 65536; bytes = \"1GiB\"; };", body);
	harness_open(&storm->conn, storm->daemon.socket);
	storm->bank = bank_open("bank", storm->daemon.socket);
	harness_await_counts(&storm->conn, "bank", 0, 0);
	harness_usage_read(storm->daemon.pid, &storm->before);
	for (unsigned i = 0; i < N_TELLERS; i++)
		bank_start_teller(storm->bank, i, false, &storm->children[i]);
	for (unsigned i = N_TELLERS; i < N_TELLERS + N_READERS; i++)
		bank_start_reader(storm->bank, i, &storm->children[i]);
	bank_start_auditor(storm->bank, &storm->auditor);
}

/* Until it is time for the next kill. Nobody ends meanwhile, unless something was found to be wrong. */
static void
storm_pause(struct storm *storm, unsigned max_ms)
{
	struct pollfd fds[N_TELLERS + N_READERS];
	int timeout_ms = (int)(1 + bank_draw(&storm->random, max_ms));

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(fds); i++)
		fds[i] = (struct pollfd) { .fd = storm->children[i].pidfd, .events = POLLIN };
	if (poll(fds, BASE_ARRAY_SIZE(fds), timeout_ms) > 0)
		for (unsigned i = 0; i < BASE_ARRAY_SIZE(fds); i++)
			harness_assert(!fds[i].revents, "client %u ended by itself, with %d", i,
			    harness_child_await(&storm->children[i]));
	bank_watch(storm->bank, wait_max_ns());
}

/* Kills a teller, whose place is empty then. */
static unsigned
storm_kill(struct storm *storm)
{
	unsigned i = bank_draw(&storm->random, N_TELLERS);

	harness_child_kill(&storm->children[i]);
	storm->n_kills++;
	return i;
}

/* Everybody goes home, and what is in the accounts is counted. */
static void
storm_close(struct storm *storm)
{
	atomic_store(&storm->bank->is_closed, true);
	for (unsigned i = storm->n_used; i < N_RESERVES && storm->reserves[i].pid; i++)
		harness_say(storm->reserves[i].control, "go");
	for (unsigned i = 0; i < N_TELLERS + N_READERS; i++)
		harness_child_await_success(&storm->children[i]);
	for (unsigned i = storm->n_used; i < N_RESERVES && storm->reserves[i].pid; i++)
		harness_child_await_success(&storm->reserves[i]);
	bank_audit(&storm->auditor);
}

static void
storm_print(struct storm *storm, const struct bank_figures *figures, const char *recoveries)
{
	printf("seed %" PRIu64 ": %" PRIu64 " transfers in %" PRIu64 " sections, %" PRIu64 " of them rolled back; %u kills, "
	    "%s; %" PRIu64 " sections were told; %" PRIu64 " reads; the longest wait took %" PRIu64 " ms; every sum stood\n",
	    storm->bank->seed, figures->n_transfers, figures->n_sections, figures->n_rollbacks, storm->n_kills, recoveries,
	    figures->n_told, figures->n_reads, figures->longest_ns / NS_PER_MS);
	harness_assert(figures->n_transfers && figures->n_reads && figures->n_told, "the storm was none");
}

START_TEST(sums_stand_while_clients_are_killed)
{
	struct storm storm;
	struct bank_figures figures;
	struct protocol_segment row;
	uint64_t end_ns = clock_monotonic_ns() + harness_storm_seconds(STORM_S) * NS_PER_SEC;
	char recoveries[96];
	unsigned i;

	storm_begin(&storm);
	while (clock_monotonic_ns() < end_ns) {
		storm_pause(&storm, PAUSE_MAX_MS);
		i = storm_kill(&storm);
		bank_start_teller(storm.bank, i, false, &storm.children[i]);
	}
	storm_close(&storm);
	harness_await_counts(&storm.conn, "bank", 0, 0);
	harness_usage_await(&storm.conn, storm.daemon.pid, &storm.before);
	ck_assert_int_eq(harness_find(&storm.conn, "bank", &row), 0);
	(void)snprintf(recoveries, sizeof(recoveries), "%" PRIu64 " recoveries by the daemon", row.recoveries);
	bank_count(storm.bank, &figures);
	storm_print(&storm, &figures, recoveries);
	harness_assert(row.recoveries, "nobody was killed in a section");
	bank_free(storm.bank);
	harness_close(&storm.conn);
	harness_daemon_stop(&storm.daemon);
}
END_TEST

START_TEST(sums_stand_also_when_the_daemon_was_killed)
{
	struct storm storm;
	struct bank_figures before, figures;
	uint64_t half_ns = HALF_S * harness_scale() * NS_PER_SEC, end_ns;
	char recoveries[96];
	unsigned i;

	storm_begin(&storm);
	for (i = 0; i < N_RESERVES; i++)
		bank_start_teller(storm.bank, N_TELLERS + N_READERS + i, true, &storm.reserves[i]);
	for (end_ns = clock_monotonic_ns() + half_ns; clock_monotonic_ns() < end_ns;) {
		storm_pause(&storm, PAUSE_MAX_MS);
		i = storm_kill(&storm);
		/* Attached, before it could be too late for that. */
		bank_start_teller(storm.bank, i, true, &storm.children[i]);
		harness_say(storm.children[i].control, "go");
	}
	/* In the midst of it: what it had claimed is the waiters' business as well. */
	harness_daemon_kill(&storm.daemon);
	bank_count(storm.bank, &before);
	end_ns = clock_monotonic_ns() + half_ns;
	while (clock_monotonic_ns() < end_ns && storm.n_used < N_RESERVES) {
		storm_pause(&storm, (unsigned)(2 * half_ns / NS_PER_MS / N_RESERVES));
		i = storm_kill(&storm);
		storm.children[i] = storm.reserves[storm.n_used++];
		harness_say(storm.children[i].control, "go");
	}
	storm_close(&storm);
	bank_count(storm.bank, &figures);
	(void)snprintf(recoveries, sizeof(recoveries), "%u of them without a daemon, told %" PRIu64 " times of these",
	    storm.n_used, figures.n_told - before.n_told);
	storm_print(&storm, &figures, recoveries);
	harness_assert(figures.n_told > before.n_told, "nobody was killed in a section");
	bank_free(storm.bank);
	harness_daemon_remove(&storm.daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockstorm");
	TCase *tcase = tcase_create("lockstorm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, sums_stand_while_clients_are_killed);
	tcase_add_test(tcase, sums_stand_also_when_the_daemon_was_killed);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
