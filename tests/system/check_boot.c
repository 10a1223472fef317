/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A start in its middle: how far it is, and its end by a removal or a stop while all workers are at a large segment, of every
 * kind of memory. They are stopped there, so that what is told can be compared with what is so, however busy the machine is;
 * what they still do then is measured in pages and in CPU time of their own. With $CHECK_FULL half of a larger one is made
 * first, and they go on with the word: then the clock on the wall says how long it is. A daemon that was through before this
 * process had a CPU to see it by is started anew.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "daemon/worker/cancel.h"
#include "host/findings.h"
#include "host/memory.h"
#include "host/sysv.h"
#include "tests/system/pool.h"
#include "tests/system/suite.h"

#define WORKERS		2
#define CANCEL_MS	100
#define LATE_MAX	10
#define BEFORE_BYTES	(64 * MIB)	/* of the segment that is ready by then: one piece, and the first */
#define BLOCKS_BYTES	(16 * MIB)	/* of a file by one call */
#define HUGE		(2 * MIB)
#define NEW		FINDINGS_MARK_SUFFIX ".new"	/* behind the name of a file while it is being made */

enum memory_kind {
	KIND_BASE,
	KIND_TRANSPARENT,
	KIND_POOL,
	KIND_POSIX,
	KIND_SYSV,
	KIND_FILE,
	KIND_FILE_IN_MEMORY,
	KIND_N
};

/* What a worker may still make after the word: what it is at, and the next, where it had asked just before. */
static const struct kind {
	const char *name;
	const char *keys;		/* %s: a name of this test's own */
	const char *object;		/* what it is called in /proc; likewise */
	uint64_t more_bytes;
} kinds[KIND_N] = {
	[KIND_BASE] = { "base pages", "page_size = \"base\";", "segmentd:large", 2 * CANCEL_BYTES },
	[KIND_TRANSPARENT] = { "transparent pages", "page_size = \"transparent\";", "segmentd:large", 8 * CANCEL_BYTES },
	[KIND_POOL] = { "2 MiB pages", "page_size = \"2MiB\";", "segmentd:large", 2 * CANCEL_BYTES },
	[KIND_POSIX] = { "posix", "page_size = \"base\"; backend = \"posix\"; object = \"/%s\";", "/dev/shm/%s", 2 * CANCEL_BYTES },
	[KIND_SYSV] = { "sysv", "page_size = \"base\"; backend = \"sysv\"; key = 0x%s;", "/SYSV%s", 2 * CANCEL_BYTES },
	/* Blocks come before pages, in larger pieces. */
	[KIND_FILE] = { "file", "backend = \"file\"; path = \"/var/tmp/%s/large\";", "/var/tmp/%s/large" NEW,
	    BLOCKS_BYTES },
	[KIND_FILE_IN_MEMORY] = { "file on a tmpfs", "backend = \"file\"; path = \"/dev/shm/%s/large\";",
	    "/dev/shm/%s/large" NEW, BLOCKS_BYTES },
};

struct start {
	const struct kind *kind;
	char object_name[64];
	struct harness_daemon daemon;
	struct harness_conn conn;
	int object;			/* its memory, by a path that opens nothing */
	int32_t shm_id;			/* or by the kernel's table */
	pid_t pids[16];			/* the workers that are at it */
	uint64_t cpu_ns[16];
	size_t n;
};

#define START_NULL	{ .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .object = -1, .shm_id = -1 }

/* What may be left of a test that failed. */
static struct {
	pid_t pid;
	enum memory_kind kind;
	char name[32];
} made;

static bool
is_file(const struct kind *kind)
{
	return kind == &kinds[KIND_FILE] || kind == &kinds[KIND_FILE_IN_MEMORY];
}

/* Pages of a pool are taken from all others, and of a disk all goes its way: less will do. */
static uint64_t
large_bytes(const struct start *start)
{
	if (is_file(start->kind) || start->kind == &kinds[KIND_POOL])
		return 512 * MIB;
	return harness_is_full() ? 4 * GIB : GIB;
}

static void
remove_made(void)
{
	char command[160];
	int id;

	if (getpid() != made.pid)
		return;
	id = made.kind == KIND_SYSV ? shmget((key_t)strtoul(made.name, NULL, 16), 0, 0) : -1;
	if (id >= 0)
		(void)shmctl(id, IPC_RMID, NULL);
	(void)snprintf(command, sizeof(command), "/%s", made.name);
	if (made.kind == KIND_POSIX)
		(void)shm_unlink(command);
	(void)snprintf(command, sizeof(command), "rm -rf --one-file-system /var/tmp/%s /dev/shm/%s", made.name, made.name);
	if (made.kind == KIND_FILE || made.kind == KIND_FILE_IN_MEMORY)
		(void)!system(command);
}

static void
make_dir(void)
{
	char dir[64];

	if (made.kind != KIND_FILE && made.kind != KIND_FILE_IN_MEMORY)
		return;
	(void)snprintf(dir, sizeof(dir), "%s/%s", made.kind == KIND_FILE ? "/var/tmp" : "/dev/shm", made.name);
	if (mkdir(dir, 0700))
		harness_skip("%s: %s", dir, strerror(errno));
}

/* What a daemon that is gone has left, so that the next makes it again. */
static void
forget(struct start *start)
{
	remove_made();
	make_dir();
	close_fd(&start->object);
	start->shm_id = -1;
	start->n = 0;
}

/* A name, or a key, that nobody else has, and what is to be there for it. */
static void
make_name(enum memory_kind kind)
{
	made.pid = getpid();
	made.kind = kind;
	(void)snprintf(made.name, sizeof(made.name), kind == KIND_SYSV ? "5e%06lx" : "segmentd-check-boot-%ld", (long)getpid());
	ck_assert_int_eq(atexit(remove_made), 0);
	make_dir();
}

static void
put_name(char *buf, size_t size, const char *text)
{
	const char *at = strstr(text, "%s");

	if (at)
		(void)snprintf(buf, size, "%.*s%s%s", (int)(at - text), text, made.name, at + 2);
	else
		(void)snprintf(buf, size, "%s", text);
}

static bool
find_row(const struct start *start, struct sysv_row *row)
{
	uint32_t key = (uint32_t)strtoul(made.name, NULL, 16);
	struct sysv_row *rows;
	bool is_there = false;
	size_t n;

	ck_assert_int_eq(sysv_read_rows("", &rows, &n), 0);
	for (size_t i = 0; i < n; i++)
		/* Its key goes at its removal. */
		if (start->shm_id < 0 ? rows[i].key == key : rows[i].id == start->shm_id) {
			*row = rows[i];
			is_there = true;
		}
	free(rows);
	return is_there;
}

/* What there is of it by the kernel's count. A file that has no name any more is given back with its last descriptor: ours. */
static uint64_t
allocated(const struct start *start)
{
	struct sysv_row row;
	struct stat status;

	if (start->shm_id >= 0)
		return find_row(start, &row) ? row.resident_bytes : 0;
	harness_assert(fstat(start->object, &status) == 0, "fstat: %m");
	return is_file(start->kind) && status.st_nlink == 0 ? 0 : (uint64_t)status.st_blocks * 512;
}

/* Whether a worker maps a range of it: those that populate do, those that give back do not. */
static bool
is_mapped(const struct start *start, pid_t pid)
{
	char path[64], line[512];
	cleanup_fclose FILE *f = NULL;

	if (!suite_is_worker(pid))
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%ld/maps", (long)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, start->object_name))
			return true;
	return false;
}

static size_t
count_mapped(const struct start *start)
{
	size_t n = 0;

	for (size_t i = 0; i < start->n; i++)
		n += is_mapped(start, start->pids[i]);
	return n;
}

static void
signal_workers(const struct start *start, int sig)
{
	for (size_t i = 0; i < start->n; i++)
		harness_assert(kill(start->pids[i], sig) == 0 || errno == ESRCH, "kill: %m");
}

/* CPU time that the workers have had, whoever else wants the CPUs; of one that has ended by now, what it had when last asked. */
static uint64_t
cpu_ns(struct start *start)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < start->n; i++) {
		struct timespec t;
		clockid_t clock;

		if (clock_getcpuclockid(start->pids[i], &clock) == 0 && clock_gettime(clock, &t) == 0)
			start->cpu_ns[i] = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
		ns += start->cpu_ns[i];
	}
	return ns;
}

static void
await_half(const struct start *start)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (allocated(start) < large_bytes(start) / 2)
		harness_assert(harness_clock_ns() < until_ns, "half of it is not made in time");
}

/* Waits until all workers are at it, and stops them there; false: it was through before they were seen. */
static bool
catch_workers(struct start *start)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	do {
		harness_assert(harness_clock_ns() < until_ns, "%zu workers are at it: %s", count_mapped(start),
		    harness_daemon_log(&start->daemon));
		if (strstr(harness_daemon_log(&start->daemon), "'large' ("))
			return false;
		start->n = harness_children(start->daemon.pid, start->pids, BASE_ARRAY_SIZE(start->pids));
	} while (count_mapped(start) < WORKERS);
	/* One that has nothing to do is ended sooner or later. */
	for (size_t i = start->n; i > 0; i--)
		if (!is_mapped(start, start->pids[i - 1]))
			start->pids[i - 1] = start->pids[--start->n];
	signal_workers(start, SIGSTOP);
	return start->n == WORKERS;
}

/* Whoever is at it stands, with half of it made if that is asked for; false: it is through by now. */
static bool
catch(struct start *start)
{
	struct sysv_row row;

	if (!catch_workers(start))
		return false;
	if (start->kind == &kinds[KIND_SYSV]) {
		harness_assert(find_row(start, &row), "no key 0x%s", made.name);
		start->shm_id = row.id;
	} else {
		start->object = suite_object(start->daemon.pid, start->object_name);
		harness_assert(start->object >= 0, "the daemon has no object of that name");
	}
	if (harness_is_full()) {
		signal_workers(start, SIGCONT);
		await_half(start);
		signal_workers(start, SIGSTOP);
	}
	return allocated(start) < large_bytes(start);
}

/* What this kind of memory needs to be had here, or the test is skipped. */
static void
need_room(const struct start *start)
{
	uint64_t free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), huge_bytes;

	if (start->kind == &kinds[KIND_POOL])
		pool_set_free(HUGE, -1, large_bytes(start) / HUGE);
	else if (free_bytes < 2 * large_bytes(start))
		harness_skip("less than %" PRIu64 " MiB of memory are free", 2 * large_bytes(start) / MIB);
	if (start->kind == &kinds[KIND_TRANSPARENT] && memory_huge(&huge_bytes) == MEMORY_HUGE_NONE)
		harness_skip("this machine gives no huge pages for shared memory");
}

static void
prepare(struct start *start, const char *required)
{
	char keys[160], body[512];

	put_name(start->object_name, sizeof(start->object_name), start->kind->object);
	put_name(keys, sizeof(keys), start->kind->keys);
	(void)snprintf(body, sizeof(body), "segments = ({ name = \"before\"; size = \"%" PRIu64 "MiB\"; mlock = false; },\n"
	    "{ name = \"large\"; size = \"%" PRIu64 "MiB\"; %s mlock = false; required = %s; });",
	    BEFORE_BYTES / MIB, large_bytes(start) / MIB, keys, required);
	harness_daemon_prepare(&start->daemon, "workers = 2; memory_reserve = \"16MiB\";", body);
}

/* A daemon that is in the middle of it, with all of its workers. */
static void
begin(struct start *start, enum memory_kind kind, const char *required)
{
	unsigned n_late = 0;

	start->kind = &kinds[kind];
	need_room(start);
	make_name(kind);
	prepare(start, required);
	harness_daemon_launch(&start->daemon);
	while (!catch(start)) {
		harness_assert(++n_late < LATE_MAX, "%u daemons were through before they were seen at it", n_late);
		signal_workers(start, SIGCONT);
		harness_daemon_stop(&start->daemon);
		forget(start);
		prepare(start, required);
		harness_daemon_launch(&start->daemon);
	}
	harness_open(&start->conn, start->daemon.socket);
}

static void
end(struct start *start)
{
	close_fd(&start->object);
	harness_close(&start->conn);
}

static void
let_run(const struct start *start)
{
	if (harness_is_full())
		signal_workers(start, SIGCONT);
}

/* Others may want the CPUs as well: the clock is told, and judged by nobody. */
static void
tell_time(const struct start *start, const char *what, uint64_t since_ns)
{
	printf("%s, %s: cancelled in %" PRIu64 " us by the clock\n", start->kind->name, what,
	    (clock_monotonic_ns() - since_ns) / 1000);
}

START_TEST(a_removal_cancels_while_all_workers_are_at_it)
{
	struct start start = START_NULL;
	struct protocol_segment row;
	uint64_t begun_ns, before, most = 0, used_ns;

	begin(&start, (enum memory_kind)_i, "false");
	begun_ns = clock_monotonic_ns();
	let_run(&start);
	ck_assert_int_eq(harness_remove(&start.conn, "large", PROTOCOL_REMOVE_NOW), 0);
	before = allocated(&start);
	ck_assert_int_eq(harness_find(&start.conn, "large", &row), -ENOENT);
	used_ns = cpu_ns(&start);
	signal_workers(&start, SIGCONT);
	while (count_mapped(&start)) {
		most = max_u64(most, allocated(&start));
		(void)cpu_ns(&start);
	}
	used_ns = cpu_ns(&start) - used_ns;
	tell_time(&start, "removal", begun_ns);
	printf("%s, removal: with %" PRIu64 " MiB there, %" PRIu64 " at the most, and %" PRIu64 " us of CPU time of all workers since\n",
	    start.kind->name, before / MIB, most / MIB, used_ns / 1000);
	harness_assert(before < large_bytes(&start), "it was there before it could be cancelled");
	harness_assert(most <= before + WORKERS * start.kind->more_bytes, "%" PRIu64 " MiB were there at the removal, and then "
	    "%" PRIu64, before / MIB, most / MIB);
	if (!harness_has_sanitizers())
		harness_assert(used_ns < CANCEL_MS * NS_PER_MS, "%" PRIu64 " us of CPU time", used_ns / 1000);
	/* Nobody has it: all of it goes back. */
	while (allocated(&start))
		(void)harness_find(&start.conn, "large", &row);
	printf("%s, removal: all given back after %" PRIu64 " us\n", start.kind->name, (clock_monotonic_ns() - begun_ns) / 1000);
	end(&start);
	harness_daemon_stop(&start.daemon);
}
END_TEST

START_TEST(a_stop_cancels_while_all_workers_are_at_it)
{
	struct start start = START_NULL;
	struct pollfd ends[WORKERS];
	uint64_t begun_ns;

	begin(&start, (enum memory_kind)_i, "true");
	for (size_t i = 0; i < WORKERS; i++) {
		ends[i] = (struct pollfd) { .fd = (int)syscall(SYS_pidfd_open, start.pids[i], 0), .events = POLLIN };
		harness_assert(ends[i].fd >= 0, "pidfd_open: %m");
	}
	begun_ns = clock_monotonic_ns();
	let_run(&start);
	ck_assert_int_eq(kill(start.daemon.pid, SIGTERM), 0);
	/* They do not have to be able to hear of it; but a worker at a file is left the time that its disk needs. */
	if (is_file(start.kind)) {
		harness_daemon_await_log(&start.daemon, "stopping on signal");
		signal_workers(&start, SIGCONT);
	}
	for (size_t i = 0; i < WORKERS; i++)
		harness_assert(harness_poll(&ends[i], 1, HARNESS_TIMEOUT_MS) == 1, "a worker does not end");
	tell_time(&start, "stop", begun_ns);
	harness_assert(allocated(&start) < large_bytes(&start), "it was there before it could be cancelled");
	ck_assert_int_eq(harness_daemon_await_exit(&start.daemon), 0);
	printf("%s, stop: exit after %" PRIu64 " us\n", start.kind->name, (clock_monotonic_ns() - begun_ns) / 1000);
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
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS / 4;
	char done[32], total[32], line[128];

	for (;;) {
		struct pollfd pollfd = { .fd = start->daemon.notify_fd, .events = POLLIN };

		ck_assert_int_eq(harness_find(&start->conn, "large", row), 0);
		ck_assert_int_eq(row->state, PROTOCOL_PROVISIONING);
		ck_assert_uint_eq(row->total_bytes, large_bytes(start));
		/* Of what is in work nothing is counted. */
		ck_assert_uint_le(row->progress_bytes, allocated(start));
		/* What is ready has not left the sum. */
		(void)snprintf(line, sizeof(line), "1 of 2 segments ready, %s of %s provisioned",
		    findings_size(done, sizeof(done), BEFORE_BYTES + row->progress_bytes),
		    findings_size(total, sizeof(total), BEFORE_BYTES + row->total_bytes));
		ck_assert(!harness_daemon_hear(&start->daemon));
		if (streq(start->daemon.status, line))
			break;
		harness_assert(harness_clock_ns() < until_ns, "'%s' is said, not '%s'", start->daemon.status, line);
		(void)poll(&pollfd, 1, 100);
	}
	printf("STATUS=%s\n", line);
}

/* What gets on asks the service manager for time, and what hangs does not, however often it says how far it is. */
static void
expect_extended(struct start *start, unsigned n_before)
{
	unsigned n_extended = start->daemon.n_extended, until = start->daemon.n_status + 3;

	ck_assert_uint_gt(n_extended, n_before);
	while (start->daemon.n_status < until) {
		struct pollfd pollfd = { .fd = start->daemon.notify_fd, .events = POLLIN };

		harness_assert(harness_poll(&pollfd, 1, HARNESS_TIMEOUT_MS) == 1, "nothing is said any more");
		(void)harness_daemon_hear(&start->daemon);
	}
	ck_assert_uint_eq(start->daemon.n_extended, n_extended);
}

START_TEST(how_far_it_is_is_told_in_bytes)
{
	struct protocol_wait wait = { .progress_bytes = 0 };
	struct start start = START_NULL;
	struct protocol_segment row;
	struct harness_reply reply;
	unsigned n_extended;

	if (harness_is_full())
		return;
	begin(&start, KIND_BASE, "true");
	expect_status(&start, &row);
	expect_extended(&start, 0);
	n_extended = start.daemon.n_extended;
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
	ck_assert_uint_eq(reply.waited.total_bytes, large_bytes(&start));
	expect_status(&start, &row);
	ck_assert_uint_ge(row.progress_bytes, reply.waited.progress_bytes);
	expect_extended(&start, n_extended);
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
	tcase_add_unchecked_fixture(tcase, pool_borrow, pool_give_back);
	tcase_add_loop_test(tcase, a_removal_cancels_while_all_workers_are_at_it, 0, KIND_N);
	tcase_add_loop_test(tcase, a_stop_cancels_while_all_workers_are_at_it, 0, KIND_N);
	tcase_add_test(tcase, how_far_it_is_is_told_in_bytes);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
