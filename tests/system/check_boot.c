/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A start in its middle: how far it is, and its end by a removal or a stop while all workers are at a large segment of base
 * pages. They are stopped there, so that what is told can be compared with what is so, however busy the machine is; what they
 * still do then is measured in pages and in CPU time of their own. With $CHECK_FULL half of 4 GiB is made first, and nobody is
 * stopped before the word: then the clock on the wall says how long it is.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include "daemon/worker/cancel.h"
#include "host/findings.h"
#include "tests/system/suite.h"

#define WORKERS		2
#define CANCEL_MS	100
#define OBJECT		"segmentd:large"
#define BEFORE_BYTES	(64 * MIB)	/* of the segment that is ready by then: one piece, and the first */

struct start {
	struct harness_daemon daemon;
	struct harness_conn conn;
	int object;			/* its memory, by a path that opens nothing */
	pid_t pids[16];			/* the workers */
	size_t n;
};

#define START_NULL	{ .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .object = -1 }

static uint64_t
large_bytes(void)
{
	return harness_is_full() ? 4 * GIB : 2 * GIB;
}

/* A memfd that a process has under a name. -1: it has none. */
static int
object_of(pid_t pid, const char *name)
{
	char path[64], target[256];

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, name))
			return open(path, O_PATH | O_CLOEXEC);
	}
	return -1;
}

static uint64_t
allocated(const struct start *start)
{
	struct stat status;

	harness_assert(fstat(start->object, &status) == 0, "fstat: %m");
	return (uint64_t)status.st_blocks * 512;
}

/* Whether a process maps a range of it: workers that populate do, those that give back do not. */
static bool
is_mapped(pid_t pid)
{
	char path[64], line[512];
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%ld/maps", (long)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, OBJECT))
			return true;
	return false;
}

static size_t
count_mapped(const struct start *start)
{
	size_t n = 0;

	for (size_t i = 0; i < start->n; i++)
		n += is_mapped(start->pids[i]);
	return n;
}

static void
signal_workers(const struct start *start, int sig)
{
	for (size_t i = 0; i < start->n; i++)
		harness_assert(kill(start->pids[i], sig) == 0, "kill: %m");
}

/* CPU time that the workers have had, whoever else wants the CPUs. */
static uint64_t
cpu_ns(const struct start *start)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < start->n; i++) {
		struct timespec t;
		clockid_t clock;

		harness_assert(clock_getcpuclockid(start->pids[i], &clock) == 0, "no CPU clock of a worker");
		harness_assert(clock_gettime(clock, &t) == 0, "clock_gettime: %m");
		ns += (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
	}
	return ns;
}

static void
await_half(const struct start *start)
{
	uint64_t until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (allocated(start) < large_bytes() / 2)
		harness_assert(clock_monotonic_ns() < until_ns, "half of it is not made in time");
}

/* A daemon that is in the middle of it, with all of its workers. */
static void
begin(struct start *start, const char *required)
{
	uint64_t free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	char body[256];

	if (free_bytes < 2 * large_bytes())
		harness_skip("less than %" PRIu64 " MiB of memory are free", 2 * large_bytes() / MIB);
	(void)snprintf(body, sizeof(body), "segments = ({ name = \"before\"; size = \"%" PRIu64 "MiB\"; mlock = false; },\n"
	    "{ name = \"large\"; size = \"%" PRIu64 "MiB\"; page_size = \"base\"; mlock = false; required = %s; });",
	    BEFORE_BYTES / MIB, large_bytes() / MIB, required);
	harness_daemon_prepare(&start->daemon, "workers = 2;", body);
	harness_daemon_launch(&start->daemon);
	do {
		harness_assert(clock_monotonic_ns() < until_ns, "%zu workers are at it", count_mapped(start));
		start->n = harness_children(start->daemon.pid, start->pids, BASE_ARRAY_SIZE(start->pids));
	} while (count_mapped(start) < WORKERS);
	ck_assert_uint_eq(start->n, WORKERS);
	start->object = object_of(start->daemon.pid, OBJECT);
	harness_assert(start->object >= 0, "the daemon has no object of that name");
	if (harness_is_full())
		await_half(start);
	else
		signal_workers(start, SIGSTOP);
	harness_open(&start->conn, start->daemon.socket);
}

static void
end(struct start *start)
{
	close_fd(&start->object);
	harness_close(&start->conn);
}

/* Others may want the CPUs as well: the clock is told, and judged by nobody. */
static void
tell_time(const char *what, uint64_t since_ns)
{
	printf("%s: cancelled in %" PRIu64 " us by the clock\n", what, (clock_monotonic_ns() - since_ns) / 1000);
}

START_TEST(a_removal_cancels_while_all_workers_are_at_it)
{
	struct start start = START_NULL;
	struct protocol_segment row;
	uint64_t begun_ns, before, most = 0, used_ns;

	begin(&start, "false");
	begun_ns = clock_monotonic_ns();
	ck_assert_int_eq(harness_remove(&start.conn, "large", PROTOCOL_REMOVE_NOW), 0);
	before = allocated(&start);
	ck_assert_int_eq(harness_find(&start.conn, "large", &row), -ENOENT);
	used_ns = cpu_ns(&start);
	signal_workers(&start, SIGCONT);
	while (count_mapped(&start))
		most = max_u64(most, allocated(&start));
	used_ns = cpu_ns(&start) - used_ns;
	tell_time("removal", begun_ns);
	printf("removal: with %" PRIu64 " MiB there, and %" PRIu64 " us of CPU time of all workers since\n", before / MIB,
	    used_ns / 1000);
	harness_assert(before < large_bytes(), "it was there before it could be cancelled");
	harness_assert(most <= before + WORKERS * 2 * CANCEL_BYTES, "%" PRIu64 " MiB were there at the removal, and then "
	    "%" PRIu64, before / MIB, most / MIB);
	if (!harness_has_sanitizers())
		harness_assert(used_ns < CANCEL_MS * NS_PER_MS, "%" PRIu64 " us of CPU time", used_ns / 1000);
	/* Nobody has it: all of it goes back. */
	while (allocated(&start))
		(void)harness_find(&start.conn, "large", &row);
	printf("removal: all given back after %" PRIu64 " us\n", (clock_monotonic_ns() - begun_ns) / 1000);
	end(&start);
	harness_daemon_stop(&start.daemon);
}
END_TEST

START_TEST(a_stop_cancels_while_all_workers_are_at_it)
{
	struct start start = START_NULL;
	struct pollfd ends[WORKERS];
	uint64_t begun_ns;

	begin(&start, "true");
	for (size_t i = 0; i < WORKERS; i++) {
		ends[i] = (struct pollfd) { .fd = (int)syscall(SYS_pidfd_open, start.pids[i], 0), .events = POLLIN };
		harness_assert(ends[i].fd >= 0, "pidfd_open: %m");
	}
	begun_ns = clock_monotonic_ns();
	ck_assert_int_eq(kill(start.daemon.pid, SIGTERM), 0);
	/* They do not have to be able to hear of it. */
	for (size_t i = 0; i < WORKERS; i++)
		harness_assert(poll(&ends[i], 1, HARNESS_TIMEOUT_MS) == 1, "a worker does not end");
	tell_time("stop", begun_ns);
	harness_assert(allocated(&start) < large_bytes(), "it was there before it could be cancelled");
	ck_assert_int_eq(harness_daemon_await_exit(&start.daemon), 0);
	printf("stop: exit after %" PRIu64 " us\n", (clock_monotonic_ns() - begun_ns) / 1000);
	for (size_t i = 0; i < WORKERS; i++)
		close_fd(&ends[i].fd);
	end(&start);
	harness_daemon_remove(&start.daemon);
}
END_TEST

/* What LIST says is, sooner or later, what the line of status says: nothing more is done. */
static void
expect_status(struct start *start, struct protocol_segment *row)
{
	uint64_t until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS / 4;
	char done[32], total[32], line[128];

	for (;;) {
		struct pollfd pollfd = { .fd = start->daemon.notify_fd, .events = POLLIN };

		ck_assert_int_eq(harness_find(&start->conn, "large", row), 0);
		ck_assert_int_eq(row->state, PROTOCOL_PROVISIONING);
		ck_assert_uint_eq(row->total_bytes, large_bytes());
		/* Of what is in work nothing is counted. */
		ck_assert_uint_le(row->progress_bytes, allocated(start));
		/* What is ready has not left the sum. */
		(void)snprintf(line, sizeof(line), "1 of 2 segments ready, %s of %s provisioned",
		    findings_size(done, sizeof(done), BEFORE_BYTES + row->progress_bytes),
		    findings_size(total, sizeof(total), BEFORE_BYTES + row->total_bytes));
		ck_assert(!harness_daemon_hear(&start->daemon));
		if (streq(start->daemon.status, line))
			break;
		harness_assert(clock_monotonic_ns() < until_ns, "'%s' is said, not '%s'", start->daemon.status, line);
		(void)poll(&pollfd, 1, 100);
	}
	printf("STATUS=%s\n", line);
}

START_TEST(how_far_it_is_is_told_in_bytes)
{
	struct protocol_wait wait = { .progress_bytes = 0 };
	struct start start = START_NULL;
	struct protocol_segment row;
	struct harness_reply reply;

	if (harness_is_full())
		return;
	begin(&start, "true");
	expect_status(&start, &row);
	/* Who waits hears of the next piece. */
	wait.progress_bytes = row.progress_bytes;
	(void)snprintf(wait.name, sizeof(wait.name), "large");
	harness_fill(&start.conn, &wait.header, PROTOCOL_WAIT, sizeof(wait));
	ck_assert_int_eq(harness_send(start.conn.fd, &wait, sizeof(wait), NULL, 0), sizeof(wait));
	signal_workers(&start, SIGCONT);
	ck_assert_int_gt(harness_receive(start.conn.fd, &reply), 0);
	signal_workers(&start, SIGSTOP);
	ck_assert_int_eq(reply.waited.header.status, 0);
	ck_assert_uint_gt(reply.waited.progress_bytes, row.progress_bytes);
	ck_assert_uint_eq(reply.waited.total_bytes, large_bytes());
	expect_status(&start, &row);
	ck_assert_uint_ge(row.progress_bytes, reply.waited.progress_bytes);
	end(&start);
	harness_daemon_stop(&start.daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("boot");
	TCase *tcase = tcase_create("boot");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_removal_cancels_while_all_workers_are_at_it);
	tcase_add_test(tcase, a_stop_cancels_while_all_workers_are_at_it);
	tcase_add_test(tcase, how_far_it_is_is_told_in_bytes);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
