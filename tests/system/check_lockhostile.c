/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Hostile holders of segments with locks. One that writes control memory ruins what it could write anyway, and nothing
 * else: not the daemon, not another segment, not the memory of those who lock there. One that only reads ruins nothing.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>

#include "tests/harness_locks.h"
#include "tests/system/actor.h"
#include "tests/system/bank.h"
#include "tests/system/vandal.h"

#define MEND_TRIES	5
#define STORM_S		6
#define N_VANDALS	2
#define N_CITIZENS	3	/* behind one that is never killed */
#define N_TELLERS	2
#define N_CHILDREN	(N_VANDALS + 2 + N_CITIZENS + N_TELLERS)
#define PAUSE_MS	4
#define WAIT_MAX_NS	(10 * NS_PER_SEC)
#define VISIT_MAX_NS	(3 * NS_PER_SEC)	/* of a busy machine; half of the visits: */
#define VISIT_HALF_NS	(100 * NS_PER_MS)
#define VISITS_MAX	65536
#define LOG_MAX_BYTES	(64 * KIB)
#define RSS_MAX_KIB	(16 * 1024)	/* more than before */

static const char limits[] = "limits = { clients = 4096; attachments = 65536; bytes = \"1GiB\"; };";

struct storm {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	uint64_t rss_kib;
	struct vandal_scene *scene;
	struct bank *bank;
	struct harness_child children[N_CHILDREN];
	struct harness_child auditor;
	uint64_t random;
	unsigned n_kills;
	uint64_t visits_ns[VISITS_MAX];
	unsigned n_visits;
};

/* In the order of the children. */
enum { CITIZEN = N_VANDALS, VICTIMS = N_VANDALS + 1, TELLERS = VICTIMS + N_CITIZENS, READER = TELLERS + N_TELLERS };

/* One of those that are killed from time to time, at its place. */
static void
start(struct storm *storm, unsigned i)
{
	if (i < N_VANDALS)
		vandal_start(storm->scene, &storm->children[i]);
	else if (i < TELLERS)
		citizen_start(storm->scene, i - CITIZEN, &storm->children[i]);
	else
		bank_start_teller(storm->bank, i - TELLERS, false, &storm->children[i]);
}

static void
storm_begin(struct storm *storm)
{
	char body[8192];

	*storm = (struct storm) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .random = bank_seed() };
	(void)snprintf(body, sizeof(body), "segments = ( %s, %s );", vandal_definition, bank_definition("bank"));
	harness_daemon_start(&storm->daemon, limits, body);
	harness_open(&storm->conn, storm->daemon.socket);
	storm->scene = vandal_scene_new(storm->daemon.socket);
	storm->bank = bank_open("bank", storm->daemon.socket);
	harness_await_counts(&storm->conn, "bank", 0, 0);
	harness_usage_read(storm->daemon.pid, &storm->before);
	storm->rss_kib = harness_status_figure(storm->daemon.pid, "VmRSS:");
	/* The vandals last: the others have marks then. */
	for (unsigned i = READER; i-- > 0;)
		start(storm, i);
	bank_start_reader(storm->bank, N_TELLERS, &storm->children[READER]);
	bank_start_auditor(storm->bank, &storm->auditor);
}

/* Somebody else attaches another segment, and is served as always. */
static void
visit(struct storm *storm)
{
	uint64_t begun_ns = harness_clock_ns();
	struct harness_segment segment;
	struct harness_conn conn;
	int r;

	harness_open(&conn, storm->daemon.socket);
	r = harness_segment_attach(&conn, "bank", PROTOCOL_ACCESS_READ, &segment);
	harness_assert(r == 0, "a visitor was refused: %s", strerror(-r));
	harness_segment_close(&segment);
	harness_close(&conn);
	if (storm->n_visits < VISITS_MAX)
		storm->visits_ns[storm->n_visits++] = harness_clock_ns() - begun_ns;
}

/* Nobody ends by himself. */
static void
pause_and_look(struct storm *storm)
{
	struct pollfd fds[N_CHILDREN + 1] = { { .fd = storm->daemon.pidfd, .events = POLLIN } };

	for (unsigned i = 0; i < N_CHILDREN; i++)
		fds[i + 1] = (struct pollfd) { .fd = storm->children[i].pidfd, .events = POLLIN };
	if (poll(fds, BASE_ARRAY_SIZE(fds), (int)(1 + bank_draw(&storm->random, PAUSE_MS))) > 0) {
		harness_assert(!fds[0].revents, "the daemon ended with %d", harness_daemon_await_exit(&storm->daemon));
		for (unsigned i = 0; i < N_CHILDREN; i++)
			harness_assert(!fds[i + 1].revents, "client %u ended by itself, with %d", i,
			    harness_child_await(&storm->children[i]));
	}
	vandal_watch(storm->scene, WAIT_MAX_NS);
	bank_watch(storm->bank, WAIT_MAX_NS);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
judge_daemon(struct storm *storm)
{
	uint64_t rss_kib = harness_status_figure(storm->daemon.pid, "VmRSS:"), half_ns, longest_ns;
	size_t log_bytes = strlen(harness_daemon_log(&storm->daemon));

	qsort(storm->visits_ns, storm->n_visits, sizeof(storm->visits_ns[0]), compare);
	half_ns = storm->visits_ns[storm->n_visits / 2];
	longest_ns = storm->visits_ns[storm->n_visits - 1];
	printf("%u visits to another segment took %" PRIu64 " us at the median, %" PRIu64 " us at most; the daemon has %" PRIi64
	    " KiB more, and has logged %zu bytes\n", storm->n_visits, half_ns / 1000, longest_ns / 1000,
	    (int64_t)(rss_kib - storm->rss_kib), log_bytes);
	harness_assert(half_ns < VISIT_HALF_NS && longest_ns < VISIT_MAX_NS, "others are served too late");
	harness_assert(log_bytes < LOG_MAX_BYTES * harness_scale(), "the log grows as it likes");
	harness_assert(harness_has_sanitizers() || rss_kib < storm->rss_kib + RSS_MAX_KIB, "the daemon grows");
}

static void
print_storm(const struct storm *storm)
{
	uint64_t n_sections = 0, n_refused = 0, longest_ns = 0;
	struct bank_figures figures;

	for (unsigned i = 0; i < VANDAL_SEATS; i++) {
		const struct vandal_seat *seat = &storm->scene->seats[i];

		n_sections += atomic_load(&seat->n_sections);
		n_refused += atomic_load(&seat->n_refused);
		longest_ns = max_u64(longest_ns, atomic_load(&seat->longest_ns));
	}
	bank_count(storm->bank, &figures);
	printf("seed %" PRIu64 ": %" PRIu64 " strokes of %d vandals; %" PRIu64 " sections beside them, %" PRIu64 " calls refused, "
	    "the longest took %" PRIu64 " ms; %u kills; in another segment %" PRIu64 " transfers and %" PRIu64 " reads, every sum "
	    "stood\n", storm->scene->seed, atomic_load(&storm->scene->n_strokes), N_VANDALS, n_sections, n_refused,
	    longest_ns / NS_PER_MS, storm->n_kills, figures.n_transfers, figures.n_reads);
	harness_assert(n_sections && figures.n_transfers && figures.n_reads, "nobody did anything");
}

/* Nobody is there any more: what was ruined can be put in order, and is as good as new. */
static void
expect_mended(struct storm *storm)
{
	static const char *const locks[] = { "book", "keep", "zero", "wide", "vast" };
	struct actor actor;

	actor_start(&actor, storm->daemon.socket, "arena");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(locks); i++) {
		long answer = -ENOTRECOVERABLE;

		/* A worker may still be at what the last of them left, and poison it after this. */
		for (unsigned n = 0; n < MEND_TRIES && answer == -ENOTRECOVERABLE; n++) {
			int r = harness_recover(&storm->conn, "arena", "", PROTOCOL_RECOVER_KEEP);

			harness_assert(r >= 0 || r == -EALREADY, "recover: %s", strerror(-r));
			answer = actor_do(&actor, "timedlock %s 10000", locks[i]);
		}
		harness_assert(answer == 0, "lock '%s' is not mended: %ld", locks[i], answer);
		actor_must(&actor, 0, "unlock %s", locks[i]);
	}
	actor_kill(&actor);
}

START_TEST(vandal_of_control_memory_ruins_nothing_else)
{
	struct storm *storm = calloc(1, sizeof(*storm));
	uint64_t end_ns = clock_monotonic_ns() + harness_storm_seconds(STORM_S) * NS_PER_SEC;
	struct harness_child onlooker = HARNESS_CHILD_NULL;

	harness_need_root();
	ck_assert_ptr_nonnull(storm);
	storm_begin(storm);
	onlooker_start(storm->scene, &onlooker);
	while (clock_monotonic_ns() < end_ns) {
		unsigned i = VICTIMS + bank_draw(&storm->random, N_CITIZENS + N_TELLERS);

		pause_and_look(storm);
		visit(storm);
		harness_child_kill(&storm->children[i]);
		storm->n_kills++;
		start(storm, i);
	}
	/* While the vandals go on, the citizens can go home. */
	atomic_store(&storm->scene->is_over, true);
	atomic_store(&storm->bank->is_closed, true);
	for (unsigned i = CITIZEN; i < N_CHILDREN; i++)
		harness_child_await_success(&storm->children[i]);
	bank_audit(&storm->auditor);
	harness_child_kill(&onlooker);
	for (unsigned i = 0; i < N_VANDALS; i++)
		harness_child_kill(&storm->children[i]);
	harness_await_counts(&storm->conn, "arena", 0, 0);
	print_storm(storm);
	judge_daemon(storm);
	expect_mended(storm);
	harness_usage_await(&storm->conn, storm->daemon.pid, &storm->before);
	harness_close(&storm->conn);
	harness_daemon_stop(&storm->daemon);
	bank_free(storm->bank);
	free(storm);
}
END_TEST

/* A mark is a lock of the kernel's on data; these are on the same bytes, and others' whom it does not know. */
static void
run_hinderer(int control, void *arg)
{
	const char *socket = arg;
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE, .l_len = (off_t)1 << 30,
	};
	struct harness_segment segment;
	struct harness_conn conn;
	int r;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, socket);
	r = harness_segment_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &segment);
	harness_assert(r == 0, "attach: %s", strerror(-r));
	harness_assert(fcntl(segment.data_fd, F_OFD_SETLK, &lock) == 0, "F_OFD_SETLK: %s", strerror(errno));
	lock.l_type = F_WRLCK;
	harness_assert(fcntl(segment.data_fd, F_OFD_SETLK, &lock) != 0, "a reader has a write lock");
	harness_say(control, "here");
	harness_expect(control, "end");
}

START_TEST(reader_that_locks_the_marks_hinders_no_recovery)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_child hinderer = HARNESS_CHILD_NULL;
	struct actor owners[2], other;
	struct protocol_lock row;

	harness_need_root();
	harness_daemon_start(&daemon, "", "segments = ( { name = \"desk\"; size = \"64KiB\"; mlock = false; mode = \"0644\";\n"
	    "locks = ( { name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); } );");
	harness_open(&conn, daemon.socket);
	/* Attached before, and after. */
	actor_start(&owners[0], daemon.socket, "desk");
	harness_child_start(&hinderer, run_hinderer, daemon.socket);
	harness_expect(hinderer.control, "here");
	actor_start(&owners[1], daemon.socket, "desk");
	actor_start(&other, daemon.socket, "desk");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(owners); i++) {
		pid_t pid = owners[i].pid;

		actor_must(&owners[i], 0, "lock book");
		actor_must(&owners[i], 0, "set book 0 7");
		actor_must(&other, -ETIMEDOUT, "timedlock book 20");
		actor_tell_to_sleep(&other, "book", ACTOR_LONGEST);
		actor_kill(&owners[i]);
		ck_assert_int_eq(actor_hear(&other), 0);
		actor_must(&other, 1, "recovered book");
		actor_must(&other, 0, "get book 0");
		actor_must(&other, 0, "unlock book");
		actor_await_recoveries(&conn, "desk", "book", i + 1, &row);
		ck_assert_int_eq(row.recovered_pid, pid);
	}
	harness_say(hinderer.control, "end");
	harness_child_await_success(&hinderer);
	actor_kill(&other);
	harness_await_counts(&conn, "desk", 0, 0);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
run_reader(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;
	int r;

	(void)control;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_assert(segment_connect(&client, socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "desk", NULL, SEGMENT_WRITE, &segment) == -EACCES, "attached for writing");
	harness_assert(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment) == 0, "%s", segment_error());
	r = segment_find_lock(segment, "book");
	harness_assert(r == 0, "%s", segment_error());
	harness_assert(segment_lock(segment, 0) == -EACCES && segment_trylock(segment, 0) == -EACCES &&
	    segment_set(segment, 0, segment_data(segment), "", 1) == -EACCES && segment_unlock(segment, 0) == -EACCES &&
	    segment_rollback(segment, 0) == -EACCES && !segment_recovered(segment, 0), "a reader was let in");
	harness_assert(!segment_read_retry(segment, 0, segment_read_begin(segment, 0)), "a reader could not read");
	harness_assert(segment_detach(segment) == 0, "%s", segment_error());
	segment_disconnect(client);
}

START_TEST(reader_gets_no_lock)
{
	struct harness_daemon daemon;
	struct harness_child reader = HARNESS_CHILD_NULL;

	harness_need_root();
	harness_daemon_start(&daemon, "", "segments = ( { name = \"desk\"; size = \"64KiB\"; mlock = false; mode = \"0644\";\n"
	    "locks = ( { name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"1KiB\"; } ); } );");
	harness_child_start(&reader, run_reader, daemon.socket);
	harness_child_await_success(&reader);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lockhostile");
	TCase *tcase = tcase_create("lockhostile");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, vandal_of_control_memory_ruins_nothing_else);
	tcase_add_test(tcase, reader_that_locks_the_marks_hinders_no_recovery);
	tcase_add_test(tcase, reader_gets_no_lock);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
