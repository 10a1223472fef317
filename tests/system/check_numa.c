/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * On which nodes segments are: asked of the kernel by a client that maps them, page by page, and held against what was asked
 * for and against what the daemon says. It needs a machine with two nodes that have memory.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "host/nodes.h"
#include "tests/system/pool.h"
#include "tests/system/reloading.h"

#define HUGE		(2 * MIB)
#define SIZE		(64 * MIB)
#define PAGE		((uint64_t)4096)
#define LEFT		(192 * MIB)	/* that an eater leaves on a node */

static struct harness_daemon daemon_;
static struct harness_conn conn;
static unsigned nodes[2];		/* two of the machine's */
static char dir[64];

/* The machine's first two nodes, or the test is skipped. */
static void
need_two(void)
{
	char text[NODES_TEXT_SIZE];
	uint64_t there = nodes_there();

	if (__builtin_popcountll(there) < 2)
		harness_skip("two nodes with memory are needed, and this machine has node %s",
		    nodes_format(text, sizeof(text), there));
	nodes[0] = (unsigned)__builtin_ctzll(there);
	nodes[1] = (unsigned)__builtin_ctzll(there & (there - 1));
}

static void
prepare(const char *daemon_keys, const char *body)
{
	harness_daemon_prepare(&daemon_, daemon_keys, body);
}

static void
launch(void)
{
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
}

/* A segment "desk" with these keys. */
static void
start(const char *format, ...) BASE_PRINTF(1, 2);

static void
start(const char *format, ...)
{
	char keys[512], body[768];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(keys, sizeof(keys), format, ap);
	va_end(ap);
	(void)snprintf(body, sizeof(body), "segments = ( { name = \"desk\"; required = false; mlock = false; %s } );", keys);
	prepare("memory_reserve = \"16MiB\"; workers = 2;", body);
	launch();
}

static void
stop(void)
{
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}

/* The node of each page that a client sees there, in steps; by the kernel's word. */
struct placed {
	uint64_t bytes[NODES_MAX];
	int blocks[SIZE / HUGE];	/* of whole huge pages' ranges the node that all of it is on, or -1 */
};

static void
look(struct placed *placed, const unsigned char *data, uint64_t length, uint64_t step)
{
	uint64_t block = max_u64(HUGE, step);
	void *pages[HUGE / PAGE];
	int status[HUGE / PAGE];

	memset(placed, 0, sizeof(*placed));
	for (uint64_t at = 0; at < length; at += block) {
		unsigned long n = 0;

		for (uint64_t i = 0; i < block && at + i < length; i += step) {
			pages[n] = (void *)(uintptr_t)(data + at + i);
			(void)*(volatile const unsigned char *)pages[n++];
		}
		harness_assert(syscall(SYS_move_pages, 0, n, pages, NULL, status, 0) == 0, "move_pages: %s", strerror(errno));
		for (unsigned long i = 0; i < n; i++) {
			harness_assert(status[i] >= 0, "page %lu at %#" PRIx64 ": %s", i, at, strerror(-status[i]));
			placed->bytes[status[i]] += step;
			if (at / HUGE < BASE_ARRAY_SIZE(placed->blocks))
				placed->blocks[at / HUGE] = i == 0 || placed->blocks[at / HUGE] == status[i] ? status[i] : -1;
		}
	}
}

/* Reading maps pages that are there: it makes none, and moves none. */
static unsigned char *
map_desk(uint64_t length)
{
	struct protocol_attached attached;
	void *data;
	int fd;

	ck_assert_int_eq(harness_attach(&conn, "desk", SUITE_READ, &attached, &fd), 0);
	if (attached.flags & PROTOCOL_ATTACHED_SHM)
		data = shmat(attached.shm_id, NULL, SHM_RDONLY);
	else
		data = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	ck_assert_ptr_ne(data, MAP_FAILED);
	(void)close(fd);
	return data;
}

/* What a client sees, which is what the daemon has said. */
static void
look_at_desk(const char *what, struct placed *placed, uint64_t length, uint64_t step)
{
	struct harness_reply shown;
	unsigned char *data = map_desk(length);

	look(placed, data, length, step);
	/* Of System V memory, too: a mapping that ends is detached. */
	ck_assert_int_eq(munmap(data, length), 0);
	printf("%s: node %u: %" PRIu64 " KiB, node %u: %" PRIu64 " KiB\n", what, nodes[0], placed->bytes[nodes[0]] / KIB,
	    nodes[1], placed->bytes[nodes[1]] / KIB);
	ck_assert_int_eq(harness_show(&conn, "desk", &shown), 0);
	for (unsigned i = 0; i < NODES_MAX; i++)
		harness_assert(harness_node_bytes(&shown, i) == placed->bytes[i], "node %u: %" PRIu64 " KiB are said, %" PRIu64
		    " are there", i, harness_node_bytes(&shown, i) / KIB, placed->bytes[i] / KIB);
}

static void
expect_near(uint64_t had, uint64_t wanted, uint64_t slack)
{
	harness_assert(had + slack >= wanted && had <= wanted + slack, "%" PRIu64 " KiB, not %" PRIu64, had / KIB, wanted / KIB);
}

/* Every backend, each with base pages and with huge ones where it can have them. */
static const struct kind {
	const char *name;
	const char *keys;
	bool is_huge;
} kinds[] = {
	{ "memfd, base pages", "backend = \"memfd\"; page_size = \"base\";", false },
	{ "memfd, huge pages", "backend = \"memfd\"; page_size = \"transparent\";", true },
	{ "sysv, base pages", "backend = \"sysv\"; page_size = \"base\";", false },
	{ "sysv, huge pages", "backend = \"sysv\"; page_size = \"transparent\";", true },
	{ "posix, base pages", "backend = \"posix\"; page_size = \"base\"; object = \"/segmentd-check-numa\";", false },
	{ "posix, huge pages", "backend = \"posix\"; page_size = \"transparent\"; object = \"/segmentd-check-numa\";", true },
	{ "file", "backend = \"file\"; page_size = \"base\"; path = \"%s/file\";", false },
};

static const char *
keys_of(const struct kind *kind)
{
	static char keys[256];
	const char *end = strstr(kind->keys, "%s");

	if (!end)
		return kind->keys;
	(void)snprintf(keys, sizeof(keys), "%.*s%s%s", (int)(end - kind->keys), kind->keys, dir, end + 2);
	return keys;
}

static struct protocol_segment
start_kind(const struct kind *kind, const char *numa)
{
	struct protocol_segment row;

	need_two();
	start("size = \"64MiB\"; %s numa = \"%s\";", keys_of(kind), numa);
	(void)harness_wait(&conn, "desk");
	ck_assert_int_eq(harness_find(&conn, "desk", &row), 0);
	if (row.state == PROTOCOL_FAILED) {
		struct harness_reply shown;

		ck_assert_int_eq(harness_show(&conn, "desk", &shown), 0);
		if (kind->is_huge && strstr(harness_reason(&shown), "huge"))
			harness_skip("%s: %s", kind->name, harness_reason(&shown));
	}
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_eq(row.differs, 0);
	ck_assert_uint_eq(row.huge_bytes, kind->is_huge ? SIZE : 0);
	return row;
}

START_TEST(bound_memory_is_on_its_node_and_no_other)
{
	const struct kind *kind = &kinds[_i];
	struct placed placed;
	char numa[16];

	need_two();
	(void)snprintf(numa, sizeof(numa), "bind:%u", nodes[1]);
	(void)start_kind(kind, numa);
	look_at_desk(kind->name, &placed, SIZE, PAGE);
	ck_assert_uint_eq(placed.bytes[nodes[1]], SIZE);
	stop();
	/* And the other one, which none of it was on by chance. */
	(void)snprintf(numa, sizeof(numa), "bind:%u", nodes[0]);
	(void)start_kind(kind, numa);
	look_at_desk(kind->name, &placed, SIZE, PAGE);
	ck_assert_uint_eq(placed.bytes[nodes[0]], SIZE);
	stop();
}
END_TEST

START_TEST(interleaved_memory_is_on_both_in_equal_shares)
{
	const struct kind *kind = &kinds[_i];
	struct placed placed;
	char numa[32];

	need_two();
	(void)snprintf(numa, sizeof(numa), "interleave:%u,%u", nodes[0], nodes[1]);
	(void)start_kind(kind, numa);
	look_at_desk(kind->name, &placed, SIZE, PAGE);
	expect_near(placed.bytes[nodes[0]], SIZE / 2, kind->is_huge ? 0 : SIZE / 64);
	ck_assert_uint_eq(placed.bytes[nodes[0]] + placed.bytes[nodes[1]], SIZE);
	/* Huge pages: one after the other on the other node. Base pages: no block of a huge page's size is on one node. */
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(placed.blocks) && !strstr(kind->name, "file"); i++)
		ck_assert_int_eq(placed.blocks[i], kind->is_huge ? (int)nodes[i % 2] : -1);
	stop();
}
END_TEST

START_TEST(preferred_node_has_all_of_it_while_it_has_room)
{
	const struct kind *kind = &kinds[_i];
	struct placed placed;
	char numa[32];

	need_two();
	(void)snprintf(numa, sizeof(numa), "preferred:%u", nodes[1]);
	(void)start_kind(kind, numa);
	look_at_desk(kind->name, &placed, SIZE, PAGE);
	ck_assert_uint_eq(placed.bytes[nodes[1]], SIZE);
	stop();
}
END_TEST

static void
run_on(void *arg)
{
	cpu_set_t cpus;

	nodes_cpus((uint64_t)1 << *(const unsigned *)arg, &cpus);
	harness_assert(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "sched_setaffinity: %s", strerror(errno));
}

START_TEST(local_is_the_node_that_the_daemon_runs_on)
{
	struct placed placed;

	need_two();
	prepare("memory_reserve = \"16MiB\";",
	    "segments = ( { name = \"desk\"; size = \"64MiB\"; mlock = false; numa = \"local\"; } );");
	daemon_.before_exec = run_on;
	daemon_.before_exec_arg = &nodes[_i];
	launch();
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, 0);
	look_at_desk("local", &placed, SIZE, PAGE);
	ck_assert_uint_eq(placed.bytes[nodes[_i]], SIZE);
	stop();
}
END_TEST

START_TEST(growth_goes_on_as_it_began)
{
	struct protocol_segment row;
	struct placed placed;
	char body[512];

	need_two();
	(void)snprintf(body, sizeof(body), "segments = ( { name = \"desk\"; size = \"21MiB\"; max_size = \"64MiB\"; mlock = false; "
	    "page_size = \"base\"; numa = \"interleave:%u,%u\"; } );", nodes[0], nodes[1]);
	prepare("memory_reserve = \"16MiB\";", body);
	launch();
	(void)suite_row(&conn, "desk", PROTOCOL_READY);
	(void)snprintf(body, sizeof(body), "segments = ( { name = \"desk\"; size = \"64MiB\"; max_size = \"64MiB\"; mlock = false; "
	    "page_size = \"base\"; numa = \"interleave:%u,%u\"; } );", nodes[0], nodes[1]);
	(void)reloading_hangup(&daemon_, "memory_reserve = \"16MiB\";", body);
	do
		row = suite_row(&conn, "desk", PROTOCOL_READY);
	while (row.resident_bytes < SIZE || row.size_bytes < SIZE);
	look_at_desk("grown", &placed, SIZE, PAGE);
	expect_near(placed.bytes[nodes[0]], SIZE / 2, SIZE / 64);
	stop();
}
END_TEST

/* The pools. */

START_TEST(pool_is_that_of_the_node)
{
	const char *backend = _i ? "sysv" : "memfd";
	struct placed placed;
	char expected[160];

	need_two();
	pool_set_free(HUGE, (int)nodes[0], 8);
	pool_set_free(HUGE, (int)nodes[1], 4);
	start("size = \"10MiB\"; page_size = \"2MiB\"; backend = \"%s\"; numa = \"bind:%u\";", backend, nodes[1]);
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "10 MiB of 2 MiB pages are needed on node 1, but its part of the pool has 8 MiB");
	(void)snprintf(expected, sizeof(expected), "`echo %" PRIu64 " > /sys/devices/system/node/node%u/hugepages/"
	    "hugepages-2048kB/nr_hugepages`", pool_pages(HUGE, nodes[1]) + 1, nodes[1]);
	suite_expect_reason(&conn, "desk", expected);
	ck_assert_uint_eq(pool_free(HUGE), 12);
	stop();
	start("size = \"8MiB\"; page_size = \"2MiB\"; backend = \"%s\"; numa = \"bind:%u\";", backend, nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, 0);
	look_at_desk("pool, bound", &placed, 8 * MIB, HUGE);
	ck_assert_uint_eq(placed.bytes[nodes[1]], 8 * MIB);
	stop();
	start("size = \"8MiB\"; page_size = \"2MiB\"; backend = \"%s\"; numa = \"interleave:%u,%u\";", backend, nodes[0], nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, 0);
	look_at_desk("pool, interleaved", &placed, 8 * MIB, HUGE);
	ck_assert_uint_eq(placed.bytes[nodes[0]], 4 * MIB);
	ck_assert_uint_eq(placed.bytes[nodes[1]], 4 * MIB);
	stop();
	/* What the node's pool does not have comes from the other one, and is said. */
	start("size = \"12MiB\"; page_size = \"2MiB\"; backend = \"%s\"; numa = \"preferred:%u\";", backend, nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, PROTOCOL_DIFFERS_NODES);
	suite_expect_reason(&conn, "desk", "4 MiB on node 0, 8 MiB on node 1");
	look_at_desk("pool, preferred", &placed, 12 * MIB, HUGE);
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 12);
}
END_TEST

/* One page a node: where each is, whether that is refused which is not there, and that all come back. */
START_TEST(pages_of_1gib_are_where_they_are_asked_for)
{
	const char *backend = _i ? "sysv" : "memfd";
	struct placed placed;

	need_two();
	pool_set_free(GIB, (int)nodes[0], 1);
	pool_set_free(GIB, (int)nodes[1], 1);
	for (unsigned i = 0; i < 2; i++) {
		start("size = \"1GiB\"; page_size = \"1GiB\"; backend = \"%s\"; numa = \"bind:%u\";", backend, nodes[i]);
		ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, 0);
		look_at_desk("1 GiB, bound", &placed, GIB, GIB);
		ck_assert_uint_eq(placed.bytes[nodes[i]], GIB);
		stop();
	}
	start("size = \"2GiB\"; page_size = \"1GiB\"; backend = \"%s\"; numa = \"bind:%u\";", backend, nodes[1]);
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "2 GiB of 1 GiB pages are needed on node 1, but its part of the pool has 1 GiB");
	stop();
	start("size = \"2GiB\"; page_size = \"1GiB\"; backend = \"%s\"; numa = \"interleave:%u,%u\";", backend, nodes[0], nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, 0);
	look_at_desk("1 GiB, interleaved", &placed, 2 * GIB, GIB);
	ck_assert_uint_eq(placed.bytes[nodes[0]], GIB);
	ck_assert_uint_eq(placed.bytes[nodes[1]], GIB);
	stop();
	start("size = \"2GiB\"; page_size = \"1GiB\"; backend = \"%s\"; numa = \"preferred:%u\";", backend, nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, PROTOCOL_DIFFERS_NODES);
	suite_expect_reason(&conn, "desk", "1 GiB on node 0, 1 GiB on node 1");
	look_at_desk("1 GiB, preferred", &placed, 2 * GIB, GIB);
	stop();
	ck_assert_uint_eq(pool_free(GIB), 2);
}
END_TEST

/* A node that is too small. */

static uint64_t
vmstat(const char *key)
{
	cleanup_fclose FILE *f = fopen("/proc/vmstat", "re");
	char name[64];
	uint64_t value;

	ck_assert_ptr_nonnull(f);
	while (fscanf(f, "%63s %" SCNu64, name, &value) == 2)
		if (streq(name, key))
			return value;
	ck_abort_msg("no %s in /proc/vmstat", key);
}

static uint64_t
room_on(unsigned node)
{
	uint64_t bytes;

	ck_assert_int_eq(nodes_room((uint64_t)1 << node, &bytes), 0);
	return bytes;
}

/* Leaves a node no more than that: the rest goes to its pool, which takes it without touching it. */
static void
leave(unsigned node, uint64_t bytes)
{
	uint64_t room = room_on(node);

	for (int i = 0; i < 5 && room > bytes; i++) {
		pool_enlarge(HUGE, node, (room - bytes + HUGE - 1) / HUGE);
		room = room_on(node);
	}
	if (room > bytes + bytes / 2)
		harness_skip("node %u has %" PRIu64 " MiB left, and cannot be brought to have less", node, room / MIB);
}

START_TEST(node_that_is_too_small_is_named_before_anybody_is_killed)
{
	uint64_t killed, room;
	const char *keys;

	need_two();
	leave(nodes[1], LEFT);
	killed = vmstat("oom_kill");
	room = room_on(nodes[1]);
	keys = keys_of(&kinds[2 * _i]);
	start("size = \"%" PRIu64 "MiB\"; %s numa = \"bind:%u\";", room / MIB + 64, keys, nodes[1]);
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "of memory are needed on node 1, but");
	suite_expect_reason(&conn, "desk", "are left there");
	stop();
	ck_assert_uint_eq(vmstat("oom_kill"), killed);
	/* As much as the machine has, but not there: with prefer it is had, and said. */
	start("size = \"%" PRIu64 "MiB\"; %s numa = \"bind:%u\"; placement = \"prefer\";", room / MIB + 64, keys, nodes[1]);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).flags & PROTOCOL_SEGMENT_DEGRADED, PROTOCOL_SEGMENT_DEGRADED);
	ck_assert_uint_ne(suite_row(&conn, "desk", PROTOCOL_READY).differs & PROTOCOL_DIFFERS_NODES, 0);
	suite_expect_reason(&conn, "desk", "of memory are needed on node 1, but");
	stop();
	ck_assert_uint_eq(vmstat("oom_kill"), killed);
}
END_TEST

/* There was room when it was judged; then another program took it. */
START_TEST(node_that_fills_up_meanwhile_costs_nobody_his_life)
{
	uint64_t killed;
	char body[512];
	pid_t worker;

	need_two();
	leave(nodes[1], 2 * LEFT);
	killed = vmstat("oom_kill");
	(void)snprintf(body, sizeof(body), "templates = ( { name = \"t-\"; max_size = \"2GiB\"; mlock = false; mode = \"0666\"; "
	    "page_size = \"base\"; numa = \"bind:%u\"; } );", nodes[1]);
	prepare("memory_reserve = \"16MiB\"; workers = 1;", body);
	launch();
	/* A first one, so that there is a worker. */
	{
		struct protocol_attached attached;
		int fd;

		ck_assert_int_eq(harness_create(&conn, "t-small", MIB, &attached, &fd), 0);
		(void)close(fd);
	}
	worker = suite_worker(&daemon_);
	ck_assert_int_eq(kill(worker, SIGSTOP), 0);
	{
		struct protocol_create request = { 0 };

		(void)snprintf(request.name, sizeof(request.name), "t-large");
		request.size_bytes = room_on(nodes[1]) - 16 * MIB;
		harness_fill(&conn, &request.header, PROTOCOL_CREATE, sizeof(request));
		ck_assert_int_gt(harness_send(conn.fd, &request, sizeof(request), NULL, 0), 0);
	}
	leave(nodes[1], LEFT);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	{
		struct harness_reply reply;

		harness_await_readable(conn.fd, "the answer");
		ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
		ck_assert_int_eq(reply.header.status, -EIO);
		harness_assert(strstr(reply.bytes + sizeof(reply.header), "on node 1"), "'%s'", reply.bytes + sizeof(reply.header));
	}
	ck_assert_uint_eq(vmstat("oom_kill"), killed);
	stop();
}
END_TEST

START_TEST(workers_run_on_the_nodes)
{
	struct protocol_segment row;
	char path[64], line[256], expected[32];
	cpu_set_t cpus;
	pid_t worker;
	FILE *f;

	need_two();
	nodes_cpus((uint64_t)1 << nodes[1], &cpus);
	if (CPU_COUNT(&cpus) != 1)
		harness_skip("node %u has %d CPUs, and this test knows one", nodes[1], CPU_COUNT(&cpus));
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus))
			(void)snprintf(expected, sizeof(expected), "Cpus_allowed_list:\t%d\n", i);
	prepare("memory_reserve = \"16MiB\"; workers = 1;", "segments = ( );");
	(void)snprintf(line, sizeof(line), "segments = ( { name = \"desk\"; size = \"700MiB\"; mlock = false; required = false; "
	    "page_size = \"base\"; numa = \"bind:%u\"; } );", nodes[1]);
	harness_daemon_configure(&daemon_, "memory_reserve = \"16MiB\"; workers = 1;", line);
	launch();
	worker = suite_worker(&daemon_);
	do
		ck_assert_int_eq(harness_find(&conn, "desk", &row), 0);
	while (row.state == PROTOCOL_PROVISIONING && row.resident_bytes == 0);
	(void)kill(worker, SIGSTOP);
	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)worker);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "Cpus_allowed_list:", 18) == 0)
			break;
	(void)fclose(f);
	(void)kill(worker, SIGCONT);
	ck_assert_int_eq(harness_find(&conn, "desk", &row), 0);
	if (row.state != PROTOCOL_PROVISIONING)
		harness_skip("the segment was ready before its worker could be looked at");
	ck_assert_str_eq(line, expected);
	/* What is not made yet is not waited for: an emulated machine takes its time. */
	stop();
}
END_TEST

/* For every machine, with any number of nodes. */
START_TEST(node_that_is_not_there_is_named_with_those_that_are)
{
	char text[NODES_TEXT_SIZE], expected[NODES_TEXT_SIZE + 64];

	if (nodes_there() >> 63)
		harness_skip("this machine has node 63");
	(void)snprintf(expected, sizeof(expected), "the nodes with memory that it may use are %s",
	    nodes_format(text, sizeof(text), nodes_there()));
	start("size = \"64KiB\"; numa = \"bind:63\";");
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "numa names node 63, which is not there");
	suite_expect_reason(&conn, "desk", expected);
	stop();
	start("size = \"64KiB\"; numa = \"bind:63\"; placement = \"prefer\";");
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).differs, PROTOCOL_DIFFERS_NODES);
	suite_expect_reason(&conn, "desk", "numa names node 63, which is not there");
	stop();
}
END_TEST

static void
borrow(void)
{
	pool_borrow();
	(void)snprintf(dir, sizeof(dir), "/var/tmp/segmentd-numa-XXXXXX");
	if (!mkdtemp(dir))
		dir[0] = '\0';
}

static void
give_back(void)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (dir[0] && system(command))
		printf("%s stays\n", dir);
	pool_give_back();
}

static TCase *
add_case(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_unchecked_fixture(tcase, borrow, give_back);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	suite_add_tcase(suite, tcase);
	return tcase;
}

int
main(void)
{
	Suite *suite = suite_create("numa");
	TCase *tcase = add_case(suite, "places");

	tcase_add_loop_test(tcase, bound_memory_is_on_its_node_and_no_other, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_loop_test(tcase, interleaved_memory_is_on_both_in_equal_shares, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_loop_test(tcase, preferred_node_has_all_of_it_while_it_has_room, 0, BASE_ARRAY_SIZE(kinds));
	tcase_add_loop_test(tcase, local_is_the_node_that_the_daemon_runs_on, 0, 2);
	tcase_add_test(tcase, growth_goes_on_as_it_began);
	tcase_add_test(tcase, workers_run_on_the_nodes);
	tcase = add_case(suite, "pools");
	tcase_add_loop_test(tcase, pool_is_that_of_the_node, 0, 2);
	tcase = add_case(suite, "large");
	tcase_add_loop_test(tcase, pages_of_1gib_are_where_they_are_asked_for, 0, 2);
	tcase = add_case(suite, "small");
	tcase_add_loop_test(tcase, node_that_is_too_small_is_named_before_anybody_is_killed, 0, 2);
	tcase_add_test(tcase, node_that_fills_up_meanwhile_costs_nobody_his_life);
	tcase = add_case(suite, "any");
	tcase_add_test(tcase, node_that_is_not_there_is_named_with_those_that_are);
	return harness_run(suite);
}
