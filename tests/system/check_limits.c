/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a uid may make the daemon hold, and what the daemon does when the kernel gives it no more descriptors. Each limit has
 * an errno and a sentence of its own, no uid is refused for another's, and what was given back can be had at once.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/system/apart.h"
#include "tests/system/suite.h"

#define N_CLIENTS	4
#define N_ATTACHMENTS	3
#define N_SPARE		3		/* descriptors that are left to the daemon */
#define N_ASKERS	24		/* clients, more than it has descriptors for */

#define PLAIN	"prefault = false; mlock = false; lifetime = \"persistent\";"

static const char open_body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = (\n"
    "\t{ name = \"small-\"; max_size = \"8KiB\"; max_count = 2; " PLAIN " },\n"
    "\t{ name = \"big-%U-\"; max_size = \"1GiB\"; max_count = 100; " PLAIN " } );";

static void
expect_create(struct harness_conn *conn, const char *name, uint64_t size, int status, const char *text)
{
	union suite_request request = { .create = { .size_bytes = size } };

	(void)snprintf(request.create.name, sizeof(request.create.name), "%s", name);
	suite_refused(conn, PROTOCOL_CREATE, &request, sizeof(request.create), status, text);
}

static void
expect_attach(struct harness_conn *conn, const char *name, int status, const char *text)
{
	union suite_request request = { .attach = { .access = SUITE_READ } };

	(void)snprintf(request.attach.name, sizeof(request.attach.name), "%s", name);
	suite_refused(conn, PROTOCOL_ATTACH, &request, sizeof(request.attach), status, text);
}

static void
create(struct harness_conn *conn, const char *name, uint64_t size)
{
	int r = harness_create(conn, name, size, NULL, NULL);

	harness_assert(r == 0, "create '%s': %s", name, strerror(-r));
}

/* What another uid does while this one is at its limit. */
struct errand {
	const struct suite_scene *scene;
	void (*run)(struct harness_conn *conn);
};

static void
run_errand(int control, void *arg)
{
	const struct errand *errand = arg;
	struct harness_conn conn;

	(void)control;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, errand->scene->daemon.socket);
	errand->run(&conn);
	harness_close(&conn);
}

static void
as_nobody(const struct suite_scene *scene, void (*run)(struct harness_conn *conn))
{
	struct errand errand = { .scene = scene, .run = run };
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, run_errand, &errand);
	harness_child_await_success(&child);
}

static void
list_as_nobody(struct harness_conn *conn)
{
	struct protocol_segment rows[8];

	harness_assert(harness_list(conn, rows, BASE_ARRAY_SIZE(rows)) == 1, "rows");
}

START_TEST(clients_of_a_uid_are_limited)
{
	struct harness_conn conns[N_CLIENTS], late = HARNESS_CONN_NULL;
	union suite_request request;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, "limits = { clients = 4; };", open_body);
	harness_close(&scene.watcher);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < N_CLIENTS; i++)
			harness_open(&conns[i], scene.daemon.socket);
		for (int i = 0; i < 10; i++) {
			suite_dial(&scene, &late, false);
			/* Honest clients say hello at once; the answer is not lost for that. */
			if (i % 2)
				(void)harness_send(late.fd, request.bytes, suite_fill_hello(&request, 1), NULL, 0);
			suite_farewell(late.fd, -EDQUOT, "limits.clients", "one client too many");
			harness_close(&late);
		}
		as_nobody(&scene, list_as_nobody);
		for (size_t i = 0; i < N_CLIENTS; i++)
			harness_close(&conns[i]);
	}
	harness_open(&scene.watcher, scene.daemon.socket);
	suite_end(&scene);
}
END_TEST

static void
attach_as_nobody(struct harness_conn *conn)
{
	int fds[N_ATTACHMENTS];

	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		fds[i] = suite_attach(conn, "desk", SUITE_READ);
	expect_attach(conn, "desk", -EDQUOT, "uid 65534 has 3 attachments");
	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		(void)close(fds[i]);
}

START_TEST(attachments_of_a_uid_are_limited)
{
	struct suite_scene scene;
	struct harness_conn other;
	int fds[N_ATTACHMENTS];

	harness_need_root();
	suite_begin(&scene, "limits = { attachments = 3; };", open_body);
	harness_open(&other, scene.daemon.socket);
	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		fds[i] = suite_attach(&scene.watcher, "desk", SUITE_READ);
	/* Of the uid, through whatever session. */
	expect_attach(&scene.watcher, "desk", -EDQUOT, "limits.attachments");
	expect_attach(&other, "desk", -EDQUOT, "limits.attachments");
	as_nobody(&scene, attach_as_nobody);
	for (int round = 0; round < 100; round++) {
		/* The very next request may have it. */
		(void)close(fds[round % N_ATTACHMENTS]);
		fds[round % N_ATTACHMENTS] = suite_attach(&scene.watcher, "desk", SUITE_READ);
		expect_attach(&scene.watcher, "desk", -EDQUOT, "limits.attachments");
	}
	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		(void)close(fds[i]);
	harness_close(&other);
	harness_await_counts(&scene.watcher, "desk", 0, 0);
	suite_end(&scene);
}
END_TEST

/* What only a mapping holds counts, too: the limit is on memory that is held, not on descriptors. */
START_TEST(a_mapping_alone_counts_as_attachment)
{
	struct suite_scene scene;
	void *map;
	int fd;

	suite_begin(&scene, "limits = { attachments = 1; };", open_body);
	fd = suite_attach(&scene.watcher, "desk", SUITE_READ);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	(void)close(fd);
	expect_attach(&scene.watcher, "desk", -EDQUOT, "limits.attachments");
	ck_assert_int_eq(munmap(map, 4096), 0);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	suite_end(&scene);
}
END_TEST

static void
create_as_nobody(struct harness_conn *conn)
{
	create(conn, "big-65534-a", 48 * KIB);
	expect_create(conn, "big-65534-b", 48 * KIB, -EDQUOT, "limits.bytes");
	expect_create(conn, "big-0-x", 4096, -EPERM, "no template");
	ck_assert_int_eq(harness_remove(conn, "big-65534-a", PROTOCOL_REMOVE_NOW), 0);
}

START_TEST(bytes_of_a_uid_are_limited)
{
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, "limits = { bytes = \"64KiB\"; };", open_body);
	create(&scene.watcher, "big-0-a", 32 * KIB);
	create(&scene.watcher, "big-0-b", 32 * KIB);
	expect_create(&scene.watcher, "big-0-c", 1, -EDQUOT, "limits.bytes");
	expect_create(&scene.watcher, "big-0-c", GIB, -EDQUOT, "limits.bytes");
	as_nobody(&scene, create_as_nobody);
	for (int round = 0; round < 50; round++) {
		ck_assert_int_eq(harness_remove(&scene.watcher, "big-0-b", PROTOCOL_REMOVE_NOW), 0);
		create(&scene.watcher, "big-0-b", 32 * KIB);
		expect_create(&scene.watcher, "big-0-c", 1, -EDQUOT, "limits.bytes");
	}
	ck_assert_int_eq(harness_remove(&scene.watcher, "big-0-a", 0), 0);
	ck_assert_int_eq(harness_remove(&scene.watcher, "big-0-b", 0), 0);
	suite_end(&scene);
}
END_TEST

static const char held_body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"held-\"; max_size = \"1MiB\"; max_count = 100; " PLAIN "\n"
    "\tlocks = ( { name = \"l\"; offset = \"0\"; length = \"4KiB\"; undo = \"16KiB\"; } ); } );";

/* Creates it, and keeps of its memory the data or the control memory, as a descriptor. */
static int
create_keeping(struct harness_conn *conn, const char *name, uint64_t size, unsigned which)
{
	struct protocol_attach attach = { .access = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE };
	struct protocol_create request = { .size_bytes = size };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_CREATE, &request.header, sizeof(request), &reply);
	if (r == -EAGAIN) {
		suite_ready(conn, name);
		(void)snprintf(attach.name, sizeof(attach.name), "%s", name);
		r = harness_ask(conn, PROTOCOL_ATTACH, &attach.header, sizeof(attach), &reply);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(reply.n_fds, 2);
	close_fd(&reply.fds[!which]);
	return reply.fds[which];
}

/* Whether the daemon maps something by this name. */
static bool
maps(const struct harness_daemon *daemon, const char *name)
{
	cleanup_fclose FILE *f = NULL;
	char path[64], line[512];

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)daemon->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, name))
			return true;
	return false;
}

static uint64_t
bytes_of_root(struct harness_conn *conn)
{
	struct protocol_user rows[4];
	int n = harness_users(conn, rows, BASE_ARRAY_SIZE(rows));

	for (int i = 0; i < n; i++)
		if (rows[i].uid == 0)
			return rows[i].charges[PROTOCOL_CHARGED_BYTES].used;
	return 0;
}

/* Else one could have as much as the host has: made, removed at once, and kept, again and again. */
START_TEST(what_is_removed_counts_until_nobody_has_it)
{
	struct suite_scene scene;
	int fd;

	harness_need_root();
	suite_begin(&scene, "limits = { bytes = \"160KiB\"; };", held_body);
	fd = create_keeping(&scene.watcher, "held-a", 128 * KIB, (unsigned)_i);
	ck_assert_int_eq(harness_remove(&scene.watcher, "held-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_uint_ge(bytes_of_root(&scene.watcher), _i ? 16 * KIB : 120 * KIB);
	expect_create(&scene.watcher, "held-b", 144 * KIB, -EDQUOT, "limits.bytes");
	/* Who has it may be giving pages back, and whoever unmaps it would wait for that: it is left as it is. */
	ck_assert(maps(&scene.daemon, "held-a"));
	(void)close(fd);
	while (bytes_of_root(&scene.watcher) || maps(&scene.daemon, "held-a"))
		(void)poll(NULL, 0, 10);
	(void)close(create_keeping(&scene.watcher, "held-b", 140 * KIB, 0));
	ck_assert_int_eq(harness_remove(&scene.watcher, "held-b", 0), 0);
	suite_end(&scene);
}
END_TEST

START_TEST(templates_limit_size_and_count)
{
	struct suite_scene scene;

	suite_begin(&scene, NULL, open_body);
	expect_create(&scene.watcher, "small-a", 0, -EFBIG, "max_size");
	expect_create(&scene.watcher, "small-a", 8 * KIB + 1, -EFBIG,
	    "8193B were asked for; expected at least 1 byte, and at most 8KiB, the max_size of template 'small-'");
	expect_create(&scene.watcher, "small-a", UINT64_MAX, -EFBIG, "max_size");
	expect_create(&scene.watcher, "desk", 4096, -EEXIST, "already");
	expect_create(&scene.watcher, "other", 4096, -EPERM, "no template");
	expect_create(&scene.watcher, "-small", 4096, -EINVAL, "begins with a letter");
	expect_create(&scene.watcher, "", 4096, -EINVAL, "begins with a letter");
	create(&scene.watcher, "small-a", 8 * KIB);
	create(&scene.watcher, "small-b", 1);
	expect_create(&scene.watcher, "small-b", 1, -EEXIST, "already");
	for (int round = 0; round < 50; round++) {
		expect_create(&scene.watcher, "small-c", 1, -EDQUOT, "there are 2 segments of template 'small-', as many as");
		ck_assert_int_eq(harness_remove(&scene.watcher, "small-a", 0), 0);
		create(&scene.watcher, "small-a", 1);
	}
	ck_assert_int_eq(harness_remove(&scene.watcher, "small-a", 0), 0);
	ck_assert_int_eq(harness_remove(&scene.watcher, "small-b", 0), 0);
	suite_end(&scene);
}
END_TEST

/* Leaves the daemon this many descriptors beyond those that it has. */
static void
squeeze(const struct harness_daemon *daemon, size_t n)
{
	struct rlimit limit;
	char path[64];
	int fd = -1;

	ck_assert_int_eq(prlimit(daemon->pid, RLIMIT_NOFILE, NULL, &limit), 0);
	/* The limit is one of numbers: n of those that are free are below it. */
	for (size_t n_free = 0; n_free <= n; n_free += access(path, F_OK) != 0)
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)daemon->pid, ++fd);
	limit.rlim_cur = (rlim_t)fd;
	ck_assert_int_eq(prlimit(daemon->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

/* Whether it was served, or told that there are no descriptors. */
static bool
ask_for_a_place(struct suite_scene *scene, struct harness_conn *conn)
{
	union suite_request request;
	struct harness_reply reply;
	ssize_t n;

	suite_dial(scene, conn, false);
	(void)harness_send(conn->fd, request.bytes, suite_fill_hello(&request, 1), NULL, 0);
	n = harness_receive(conn->fd, &reply);
	harness_assert(n > (ssize_t)sizeof(reply.header), "neither served nor told: %zd", n);
	if (reply.header.status == 0)
		return true;
	harness_assert(reply.header.status == -ENFILE, "status %d", reply.header.status);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), "LimitNOFILE"), "it does not say what to raise");
	harness_assert(harness_receive(conn->fd, &reply) == 0, "it did not hang up");
	harness_close(conn);
	return false;
}

START_TEST(without_descriptors_new_clients_are_told_and_old_ones_served)
{
	struct harness_conn conns[N_ASKERS];
	struct suite_scene scene;
	size_t n_served = 0, n_told = 0;

	apart_enter();
	suite_begin(&scene, NULL, suite_desk);
	squeeze(&scene.daemon, N_SPARE);
	for (size_t i = 0; i < N_ASKERS && n_told < 5; i++) {
		struct protocol_segment rows[4];

		if (ask_for_a_place(&scene, &conns[n_served]))
			n_served++;
		else
			n_told++;
		ck_assert_uint_eq(harness_list(&scene.watcher, rows, BASE_ARRAY_SIZE(rows)), 1);
	}
	harness_assert(n_told == 5, "%zu were served with %d descriptors, %zu told", n_served, N_SPARE, n_told);
	/* What needs one is refused, with the reason, and the session goes on. */
	if (n_served < N_SPARE)
		(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	while (n_served > 0)
		harness_close(&conns[--n_served]);
	/* Who comes before it has heard of their end is told as well. */
	harness_usage_await(&scene.watcher, scene.daemon.pid, &scene.before);
	suite_expect_clean(&scene);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	squeeze(&scene.daemon, 100);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_connections_refused_total"), n_told);
	ck_assert_uint_gt(suite_figure(&scene.daemon, "segmentd_connections_total"), n_told + 1);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_accept_rests_total"), 0);
	suite_end(&scene);
}
END_TEST

/*
 * The one in reserve could not be had again when it had been given up: it is, as soon as there are some, and then the next one who comes
 * without any is told again.
 */
START_TEST(the_reserve_comes_back)
{
	struct harness_conn waiting, other;
	union suite_request request;
	struct harness_reply reply;
	struct suite_scene scene;
	struct rlimit before, none;

	apart_enter();
	suite_begin(&scene, NULL, suite_desk);
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 1;
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &none, NULL), 0);
	/* Not even what is given up can be had: nobody is told, and nobody is lost. */
	suite_dial(&scene, &waiting, false);
	(void)harness_send(waiting.fd, request.bytes, suite_fill_hello(&request, 1), NULL, 0);
	harness_daemon_await_log(&scene.daemon, "cannot accept a client");
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &before, NULL), 0);
	ck_assert_int_gt(harness_receive(waiting.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	squeeze(&scene.daemon, 0);
	ck_assert(!ask_for_a_place(&scene, &other));
	ck_assert(!ask_for_a_place(&scene, &other));
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &before, NULL), 0);
	harness_close(&waiting);
	suite_expect_clean(&scene);
	suite_end(&scene);
}
END_TEST

/* While a worker is at its memory the limit is lowered below the number that this has. */
START_TEST(what_lies_above_a_limit_that_was_lowered_wants_a_higher_one)
{
	static const char body[] = "templates = ( { name = \"t-\"; max_size = \"64KiB\"; max_count = 4; mlock = false; } );\n";
	struct harness_conn other, conns[N_ASKERS];
	struct protocol_segment row = { 0 };
	struct protocol_attached attached;
	struct harness_reply reply;
	struct suite_scene scene;
	struct rlimit before;
	pid_t worker;
	int fd;

	apart_enter();
	suite_begin(&scene, "workers = 1;", body);
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, NULL, &before), 0);
	suite_dial(&scene, &other, true);
	for (size_t i = 0; i < N_ASKERS; i++)
		suite_dial(&scene, &conns[i], true);
	ck_assert_uint_eq(suite_workers_stop(&other, &scene.daemon, 64 * KIB, &worker, 1), 1);
	suite_send_create(&scene.watcher, "t-late", 64 * KIB);
	while (harness_find(&other, "t-late", &row) || row.state != PROTOCOL_PROVISIONING)
		;
	for (size_t i = 0; i < N_ASKERS; i++)
		harness_close(&conns[i]);
	while (suite_figure(&scene.daemon, "segmentd_sessions") > 3)
		;
	squeeze(&scene.daemon, N_SPARE);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	ck_assert_int_gt(harness_receive(scene.watcher.fd, &reply), (int)sizeof(reply.header));
	harness_assert(reply.header.status == -ENFILE, "status %d", reply.header.status);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), "LimitNOFILE"), "it does not say what to raise");
	ck_assert_int_eq(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &before, NULL), 0);
	ck_assert_int_eq(harness_create(&other, "t-later", 64 * KIB, &attached, &fd), 0);
	(void)close(fd);
	harness_close(&other);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

static void
await_log(struct harness_daemon *daemon, const char *text)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (!strstr(harness_daemon_log(daemon), text)) {
		ck_assert_uint_lt(harness_clock_ns(), until_ns);
		(void)harness_daemon_hear(daemon);
		(void)sched_yield();
	}
}

START_TEST(an_attachment_without_descriptors_is_refused_with_the_reason)
{
	struct suite_scene scene;

	apart_enter();
	suite_begin(&scene, NULL, suite_desk);
	/* What it has open for a store of descriptors it closes when it knows that this service manager has none. */
	await_log(&scene.daemon, "does not keep what is to outlive the daemon");
	squeeze(&scene.daemon, 0);
	expect_attach(&scene.watcher, "desk", -ENFILE, "LimitNOFILE");
	expect_create(&scene.watcher, "scratch-a", 4096, -EIO, "RLIMIT_NOFILE");
	/* Segments leave some to attachments: of few descriptors a quarter, which is more than these. */
	squeeze(&scene.daemon, 4);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	expect_create(&scene.watcher, "scratch-a", 4096, -EIO, "RLIMIT_NOFILE");
	squeeze(&scene.daemon, 100);
	create(&scene.watcher, "scratch-a", 4096);
	ck_assert_int_eq(harness_remove(&scene.watcher, "scratch-a", 0), 0);
	suite_end(&scene);
}
END_TEST

/* Refused or not, what it left behind is read away by workers, and has a descriptor of the daemon's until then. */
START_TEST(who_ends_with_descriptors_leaves_few_behind)
{
	enum { N = 1500, MOST = 400 };
	struct suite_scene scene;
	struct harness_usage usage;
	uint64_t most = 0;
	int memory = memfd_create("foreign", MFD_CLOEXEC);

	suite_begin(&scene, "limits = { clients = 4; };", open_body);
	for (int i = 0; i < N; i++) {
		int fd = harness_dial(scene.daemon.socket);

		harness_assert(fd >= 0, "connect: %s", strerror(-fd));
		(void)harness_send(fd, "abc", 3, &memory, 1);
		(void)close(fd);
		if (i % 50 == 0) {
			harness_usage_read(scene.daemon.pid, &usage);
			most = max_u64(most, usage.fds);
		}
	}
	harness_assert(most < MOST, "the daemon had %" PRIu64 " descriptors", most);
	(void)close(memory);
	/* They counted for this uid until they were gone. */
	harness_usage_await(&scene.watcher, scene.daemon.pid, &scene.before);
	suite_end(&scene);
}
END_TEST

static void
limit_descriptors(void *arg)
{
	struct rlimit limit = { .rlim_cur = 64, .rlim_max = 64 };

	(void)arg;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static size_t
count_text(const char *text, const char *part)
{
	size_t n = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		n++;
	}
	return n;
}

/* The daemon raises its limit as far as the hard one, and the reasons name that. */
START_TEST(segments_beyond_the_descriptors_fail_with_a_reason_that_names_them)
{
	enum { N = 100, N_FDS = 64 };
	static char text[N * 96];
	struct harness_daemon daemon;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;
	size_t len, n_failed, n_ready, n_shown = 0;

	len = (size_t)snprintf(text, sizeof(text), "segments = (\n");
	for (int i = 0; i < N; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "%s{ name = \"s%d\"; size = \"4KiB\"; required = false; prefault = false; mlock = false; }\n",
		    i ? ", " : "", i);
	(void)snprintf(text + len, sizeof(text) - len, ");");
	harness_daemon_prepare(&daemon, NULL, text);
	daemon.before_exec = limit_descriptors;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	/* Somebody can still ask, and why: even after the last one. */
	await_log(&daemon, "segment 's99'");
	harness_open(&conn, daemon.socket);
	for (int i = 0; i < N; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "s%d", i);
		(void)harness_wait(&conn, name);
		ck_assert_int_eq(harness_find(&conn, name, &row), 0);
		n_shown += row.state == PROTOCOL_FAILED;
	}
	n_ready = count_text(harness_daemon_log(&daemon), "(4 KiB) is ready");
	n_failed = count_text(harness_daemon_log(&daemon), "RLIMIT_NOFILE is 64 (its hard limit 64)");
	harness_assert(n_ready + n_failed == N && n_ready > 4 && n_failed >= N - N_FDS,
	    "%zu are ready, %zu failed of %d", n_ready, n_failed, N);
	/* Any of them may be ready, also the last: where no store was found meanwhile there are some descriptors more. */
	ck_assert_uint_eq(n_shown, n_failed);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tcase = tcase_create("limits");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, clients_of_a_uid_are_limited);
	tcase_add_test(tcase, attachments_of_a_uid_are_limited);
	tcase_add_test(tcase, a_mapping_alone_counts_as_attachment);
	tcase_add_test(tcase, bytes_of_a_uid_are_limited);
	tcase_add_loop_test(tcase, what_is_removed_counts_until_nobody_has_it, 0, 2);
	tcase_add_test(tcase, templates_limit_size_and_count);
	tcase_add_test(tcase, without_descriptors_new_clients_are_told_and_old_ones_served);
	tcase_add_test(tcase, the_reserve_comes_back);
	tcase_add_test(tcase, what_lies_above_a_limit_that_was_lowered_wants_a_higher_one);
	tcase_add_test(tcase, an_attachment_without_descriptors_is_refused_with_the_reason);
	tcase_add_test(tcase, who_ends_with_descriptors_leaves_few_behind);
	tcase_add_test(tcase, segments_beyond_the_descriptors_fail_with_a_reason_that_names_them);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
