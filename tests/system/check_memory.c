/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon where memory ends: what cannot be had is refused by name before it is touched, what others took meanwhile
 * costs a worker at most, and memory is back at once.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host/cgroup.h"
#include "tests/harness.h"

#define EATEN_LIMIT	(640 * MIB)
#define EATEN_LARGE	(400 * MIB)
#define TEMPLATE	"templates = ({ name = \"t-\"; max_size = \"4GiB\"; max_count = 10; mlock = false; });"

/* A memory cgroup of ours; dir is empty where there can be none. */
struct group {
	char dir[512];
	enum cgroup_version version;
	char why_not[700];
};

static int
group_write(const struct group *group, const char *name, const char *value)
{
	char path[600];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int
group_limit(const struct group *group, uint64_t bytes)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, bytes);
	return group_write(group, group->version == CGROUP_V2 ? "memory.max" : "memory.limit_in_bytes", text);
}

static int
group_make_below(const char *parent, enum cgroup_version version, void *arg)
{
	struct group *group = arg;
	int r;

	group->version = version;
	(void)snprintf(group->dir, sizeof(group->dir), "%.400s/segmentd-test-%ld", parent, (long)getpid());
	if (mkdir(group->dir, 0755) == 0) {
		r = group_limit(group, TIB);
		if (r == 0)
			return 1;
		(void)rmdir(group->dir);
	} else {
		r = -errno;
	}
	(void)snprintf(group->why_not, sizeof(group->why_not), "%s: %s", group->dir, strerror(-r));
	return 0;
}

/* A cgroup with a limit, or the test is skipped. */
static void
group_make(struct group *group, uint64_t limit_bytes)
{
	*group = (struct group) { .why_not = "no memory cgroup is mounted" };
	if (cgroup_walk("", 0, "memory", group_make_below, group) != 1)
		harness_skip("no memory cgroup can be made here: %s", group->why_not);
	ck_assert_int_eq(group_limit(group, limit_bytes), 0);
}

static uint64_t
group_usage(const struct group *group)
{
	char path[600], text[32] = "";
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir,
	    group->version == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	return strtoull(text, NULL, 10);
}

static void
group_add(const struct group *group, pid_t pid)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", (long)pid);
	harness_assert(group_write(group, "cgroup.procs", text) == 0, "joining %s: %m", group->dir);
}

static void
group_join(void *arg)
{
	group_add(arg, getpid());
}

static void
start_in(struct harness_daemon *daemon, const struct group *group, const char *daemon_keys, const char *body)
{
	harness_daemon_prepare(daemon, daemon_keys, body);
	daemon->before_exec = group_join;
	daemon->before_exec_arg = (void *)(uintptr_t)group;
	harness_daemon_launch(daemon);
	harness_daemon_await_ready(daemon);
}

static void
expect_failed(struct harness_conn *conn, const char *name, const char *text)
{
	struct protocol_segment row;
	struct harness_reply shown;

	ck_assert_int_eq(harness_find(conn, name, &row), 0);
	ck_assert_int_eq(row.state, PROTOCOL_FAILED);
	ck_assert_int_eq(row.resident_bytes, 0);
	ck_assert_int_eq(harness_show(conn, name, &shown), 0);
	harness_assert(strstr(harness_reason(&shown), text), "'%s' is not in '%s'", text, harness_reason(&shown));
}

static void
await_usage_below(struct harness_conn *conn, const struct group *group, uint64_t bytes)
{
	uint64_t until_ns = clock_monotonic_ns() + 5 * NS_PER_SEC;
	struct protocol_segment rows[4];

	while (group_usage(group) >= bytes && clock_monotonic_ns() < until_ns)
		(void)harness_list(conn, rows, BASE_ARRAY_SIZE(rows));
	harness_assert(group_usage(group) < bytes, "%" PRIu64 " bytes are still in use", group_usage(group));
}

/* A CREATE whose reply is read later. */
static void
send_create(struct harness_conn *conn, const char *name, uint64_t size)
{
	struct protocol_create create = { .size_bytes = size };

	harness_fill(conn, &create.header, PROTOCOL_CREATE, sizeof(create));
	(void)snprintf(create.name, sizeof(create.name), "%s", name);
	ck_assert_int_eq(harness_send(conn->fd, &create, sizeof(create), NULL, 0), sizeof(create));
}

/* Two workers that exist and stand still. */
static size_t
stop_workers(struct harness_conn *conn, struct harness_daemon *daemon, uint64_t bytes, pid_t *pids, size_t max)
{
	struct protocol_attached attached;
	size_t n;
	int fd = -1;

	ck_assert_int_eq(harness_create(conn, "t-warm", bytes, &attached, &fd), 0);
	close_fd(&fd);
	n = harness_children(daemon->pid, pids, max);
	ck_assert_int_gt(n, 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
	return n;
}

START_TEST(ten_tebibytes_are_refused_at_once_and_others_served)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	uint64_t begun_ns = clock_monotonic_ns();

	harness_daemon_start(&daemon, "", "segments = ("
	    "{ name = \"much\"; size = \"10TiB\"; required = false; mlock = false; },"
	    "{ name = \"some\"; size = \"4MiB\"; mlock = false; });");
	printf("ready %" PRIu64 " ms after the daemon was launched\n", (clock_monotonic_ns() - begun_ns) / NS_PER_MS);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "some"), PROTOCOL_READY);
	ck_assert_int_eq(harness_wait(&conn, "much"), PROTOCOL_FAILED);
	expect_failed(&conn, "much", "MemAvailable");
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(segments_are_judged_together)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment rows[4];
	struct group group;
	size_t n_ready = 0;

	group_make(&group, 512 * MIB);
	/* Each alone would fit, two do, three do not. */
	start_in(&daemon, &group, "memory_reserve = \"1MiB\";", "segments = ("
	    "{ name = \"a\"; size = \"192MiB\"; required = false; mlock = false; },"
	    "{ name = \"b\"; size = \"192MiB\"; required = false; mlock = false; },"
	    "{ name = \"c\"; size = \"192MiB\"; required = false; mlock = false; });");
	harness_open(&conn, daemon.socket);
	(void)harness_wait(&conn, "a");
	(void)harness_wait(&conn, "b");
	(void)harness_wait(&conn, "c");
	ck_assert_int_eq(harness_list(&conn, rows, 4), 3);
	for (size_t i = 0; i < 3; i++)
		n_ready += rows[i].state == PROTOCOL_READY;
	ck_assert_int_eq(n_ready, 2);
	expect_failed(&conn, "c", group.dir);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

static void
take_memory(int control, void *arg)
{
	size_t size = 600 * MIB;
	char *memory;

	group_join(arg);
	harness_expect(control, "take");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	harness_assert(memory != MAP_FAILED, "mmap: %m");
	memset(memory, 1, size);
	harness_say(control, "taken");
	harness_expect(control, "end");
}

START_TEST(memory_that_others_took_meanwhile_costs_nobody_else)
{
	struct harness_daemon daemon;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_child other = HARNESS_CHILD_NULL;
	struct harness_reply reply;
	struct group group;
	pid_t pids[16];
	size_t n;

	group_make(&group, GIB);
	start_in(&daemon, &group, "memory_reserve = \"1MiB\"; limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };",
	    TEMPLATE "segments = ({ name = \"kept\"; size = \"16MiB\"; mlock = false; });");
	harness_open(&conn, daemon.socket);
	harness_child_start(&other, take_memory, &group);
	n = stop_workers(&conn, &daemon, 256 * MIB, pids, 16);
	harness_await_gone(&conn, "t-warm");

	/* It is judged to fit, and then it does not any more. */
	send_create(&conn, "t-large", 700 * MIB);
	harness_say(other.control, "take");
	harness_expect(other.control, "taken");
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), group.dir), "'%s' names no cgroup",
	    reply.bytes + sizeof(reply.header));

	/* Everybody else is as before, and the memory is back. */
	await_usage_below(&conn, &group, 700 * MIB);
	ck_assert_int_eq(harness_wait(&conn, "kept"), PROTOCOL_READY);
	harness_say(other.control, "end");
	harness_child_await_success(&other);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

/* How many processes the kernel killed in it for want of memory. */
static uint64_t
group_kills(const struct group *group)
{
	char path[600], line[128];
	cleanup_fclose FILE *f = NULL;
	unsigned long long n = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", group->dir,
	    group->version == CGROUP_V2 ? "memory.events" : "memory.oom_control");
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			return n;
	ck_abort_msg("%s does not count kills", path);
}

/*
 * Takes half of what the cgroup has left, and then a quarter, each time it is told to: three times as fast as the workers, as far
 * as they leave room for it. The last that two of them may take at once they leave, and 8 MiB.
 */
static void
eat_memory(int control, void *arg)
{
	const struct group *group = arg;

	group_join(arg);
	for (unsigned n = 0;; n++) {
		uint64_t left, part;
		char *memory;

		harness_expect(control, "eat");
		left = EATEN_LIMIT - group_usage(group);
		part = n == 0 ? 2 : left < 64 * MIB ? 8 : 4;
		memory = mmap(NULL, left / part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		harness_assert(memory != MAP_FAILED, "mmap: %m");
		harness_say(control, "eaten");
	}
}

static void
signal_all(const pid_t *pids, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], sig), 0);
}

/* One bite, in whatever the workers are at: they know nothing of it. */
static void
bite(struct harness_child *eater, const pid_t *pids, size_t n)
{
	signal_all(pids, n, SIGSTOP);
	harness_say(eater->control, "eat");
	harness_expect(eater->control, "eaten");
	signal_all(pids, n, SIGCONT);
}

START_TEST(the_reserve_holds_while_another_eats_the_memory)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL, creator = HARNESS_CONN_NULL;
	struct harness_child eater = HARNESS_CHILD_NULL;
	struct pollfd answer = { .events = POLLIN };
	struct protocol_segment row;
	struct harness_reply reply;
	struct group group;
	uint64_t until_ns, used;
	unsigned n_bites = 0;
	bool is_there;
	pid_t pids[16];
	size_t n;

	group_make(&group, EATEN_LIMIT);
	start_in(&daemon, &group, "workers = 2; limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };", TEMPLATE);
	harness_open(&conn, daemon.socket);
	harness_open(&creator, daemon.socket);
	n = stop_workers(&conn, &daemon, 128 * MIB, pids, 16);
	harness_await_gone(&conn, "t-warm");
	harness_child_start(&eater, eat_memory, &group);
	/* It is judged to fit. From the first bite on it does not, and the rest is taken while the workers are at it. */
	send_create(&creator, "t-large", EATEN_LARGE);
	answer.fd = creator.fd;
	until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	while (harness_find(&conn, "t-large", &row))
		harness_assert(poll(&answer, 1, 0) == 0, "it is refused before there is anything to refuse it for");
	do {
		bite(&eater, pids, n);
		n_bites++;
		used = group_usage(&group);
		do
			harness_assert(clock_monotonic_ns() < until_ns, "it comes to no end after %u bites", n_bites);
		while ((is_there = harness_find(&conn, "t-large", &row) == 0) && row.state == PROTOCOL_PROVISIONING &&
		    group_usage(&group) < used + 16 * MIB);
	} while (is_there && row.state == PROTOCOL_PROVISIONING);
	ck_assert_int_gt(harness_receive(creator.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), group.dir), "'%s' names no cgroup",
	    reply.bytes + sizeof(reply.header));
	/* The kernel had nobody to kill, and what was made is given back to the eater. */
	if (!harness_has_sanitizers())		/* by which the eater takes an eighth more than it eats */
		ck_assert_uint_eq(group_kills(&group), 0);
	printf("refused after %u bites, and nobody was killed\n", n_bites);
	bite(&eater, pids, n);
	harness_child_kill(&eater);
	harness_close(&creator);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

START_TEST(a_worker_killed_for_memory_is_all_that_is_lost)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_reply reply;
	struct group group;
	pid_t pids[16];
	size_t n;

	group_make(&group, 128 * MIB);
	harness_daemon_start(&daemon, "limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };",
	    TEMPLATE "segments = ({ name = \"kept\"; size = \"16MiB\"; mlock = false; });");
	harness_open(&conn, daemon.socket);
	n = stop_workers(&conn, &daemon, 256 * MIB, pids, 16);

	/* A limit that the workers cannot know of: they had looked where they are before they were moved. */
	for (size_t i = 0; i < n; i++)
		group_add(&group, pids[i]);
	send_create(&conn, "t-large", GIB);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), "killed"), "'%s' does not say what happened",
	    reply.bytes + sizeof(reply.header));

	await_usage_below(&conn, &group, 16 * MIB);
	ck_assert_int_eq(harness_wait(&conn, "kept"), PROTOCOL_READY);
	ck_assert_int_eq(harness_find(&conn, "t-large", &(struct protocol_segment) { 0 }), -ENOENT);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

START_TEST(what_a_reload_gives_back_is_there_for_what_it_adds)
{
	static const char one[] = "segments = ({ name = \"one\"; size = \"320MiB\"; mlock = false; });";
	static const char other[] = "segments = ({ name = \"other\"; size = \"320MiB\"; mlock = false; });";
	static const char larger[] = "segments = ({ name = \"other\"; size = \"384MiB\"; max_size = \"384MiB\"; layout = \"l\"; "
	    "mlock = false; });";
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;
	struct group group;

	group_make(&group, 512 * MIB);
	start_in(&daemon, &group, "memory_reserve = \"1MiB\";", one);
	harness_open(&conn, daemon.socket);
	/* The one's pages are in workers' hands still when the other is judged: together they do not fit. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", other);
	ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "other"), PROTOCOL_READY);
	ck_assert_int_eq(harness_find(&conn, "one", &row), -ENOENT);
	/* Likewise a successor; a max_size never changes, so it is removed and added. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", "");
	ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
	harness_daemon_await_ready(&daemon);
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";", larger);
	ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "other"), PROTOCOL_READY);
	/* What will never fit fails when all is back. */
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";",
	    "segments = ({ name = \"other\"; size = \"1GiB\"; required = false; mlock = false; });");
	ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
	harness_daemon_await_ready(&daemon);
	harness_daemon_configure(&daemon, "memory_reserve = \"1MiB\";",
	    "segments = ({ name = \"huge\"; size = \"1GiB\"; required = false; mlock = false; });");
	ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
	harness_daemon_await_ready(&daemon);
	ck_assert_int_eq(harness_wait(&conn, "huge"), PROTOCOL_FAILED);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tcase = tcase_create("memory");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, ten_tebibytes_are_refused_at_once_and_others_served);
	tcase_add_test(tcase, segments_are_judged_together);
	tcase_add_test(tcase, memory_that_others_took_meanwhile_costs_nobody_else);
	tcase_add_test(tcase, the_reserve_holds_while_another_eats_the_memory);
	tcase_add_test(tcase, a_worker_killed_for_memory_is_all_that_is_lost);
	tcase_add_test(tcase, what_a_reload_gives_back_is_there_for_what_it_adds);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
