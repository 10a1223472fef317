/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Many segments at once, by the library and the real daemon: all of them, or none and nothing left of it, wherever it ends,
 * and who was in the way is named.
 */
#include "config.h"

#include <signal.h>
#include <sys/resource.h>

#include "client/segment.h"
#include "tests/system/suite.h"

#define N_SEGMENTS	200
#define N_LOCKED	40
#define N_LOCKS		12		/* of each: their rows do not all fit into one message */

struct scene {
	struct suite_scene suite;
	struct segment_client *client;
	struct segment_request requests[N_SEGMENTS];
	char names[N_SEGMENTS][32];
};

static void
describe(char *text, size_t size)
{
	size_t len = (size_t)snprintf(text, size, "segments = ( { name = \"shut\"; size = \"4KiB\"; mode = \"0600\"; "
	    "prefault = false; mlock = false; }");

	for (unsigned i = 0; i < N_SEGMENTS; i++)
		len += (size_t)snprintf(text + len, size - len,
		    ",\n{ name = \"s%u\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; }", i);
	for (unsigned i = 0; i < N_LOCKED; i++) {
		len += (size_t)snprintf(text + len, size - len,
		    ",\n{ name = \"l%u\"; size = \"4KiB\"; mode = \"0666\"; prefault = false; mlock = false; locks = ( ", i);
		for (unsigned j = 0; j < N_LOCKS; j++)
			len += (size_t)snprintf(text + len, size - len,
			    "%s{ name = \"k%u\"; offset = \"%u\"; length = \"8\"; undo = \"64\"; }", j ? ", " : "", j, j * 8);
		len += (size_t)snprintf(text + len, size - len, " ); }");
	}
	(void)snprintf(text + len, size - len, " );\ntemplates = ( { name = \"brief-\"; max_size = \"8MiB\"; max_count = 9;\n"
	    "mode = \"0666\"; mlock = false; linger = \"300ms\"; } );");
}

static void
scene_start(struct scene *scene, const char *keys)
{
	static char text[N_SEGMENTS * 100 + N_LOCKED * (120 + N_LOCKS * 80) + 1000];

	describe(text, sizeof(text));
	suite_begin(&scene->suite, keys, text);
	harness_assert(segment_connect(&scene->client, scene->suite.daemon.socket) == 0, "%s", segment_error());
}

static void
scene_stop(struct scene *scene)
{
	segment_disconnect(scene->client);
	suite_end(&scene->suite);
}

/* Requests for n segments, "PREFIX0" and so on. */
static void
fill(struct scene *scene, const char *prefix, size_t n, unsigned flags)
{
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(scene->names[i], sizeof(scene->names[i]), "%s%zu", prefix, i);
		scene->requests[i] = (struct segment_request){ .name = scene->names[i], .flags = flags, .error = 1 };
	}
}

static void
attach_all(struct scene *scene, size_t n)
{
	int r = segment_attach_many(scene->client, scene->requests, n);

	harness_assert(r == 0, "%d: %s", r, segment_error());
	for (size_t i = 0; i < n; i++)
		harness_assert(scene->requests[i].segment && scene->requests[i].error == 0, "request %zu", i);
}

static void
detach_all(struct scene *scene, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(segment_detach(scene->requests[i].segment), 0);
}

static size_t
count_attached(struct harness_conn *conn)
{
	static struct protocol_segment rows[N_SEGMENTS + N_LOCKED + 10];
	size_t n = harness_list(conn, rows, BASE_ARRAY_SIZE(rows)), n_attached = 0;

	for (size_t i = 0; i < n; i++)
		n_attached += rows[i].readers + rows[i].writers;
	return n_attached;
}

/* What was closed the kernel tells, soon. */
static void
await_attached(struct scene *scene, size_t n)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	size_t now;

	while ((now = count_attached(&scene->suite.watcher)) != n)
		harness_assert(harness_clock_ns() < deadline, "%zu are attached, not %zu", now, n);
}

/* It fails with r because of one request, or of none alone; nothing is left of it. */
static void
refused(struct scene *scene, size_t n, int r, size_t who, const char *text)
{
	int found = segment_attach_many(scene->client, scene->requests, n);

	harness_assert(found == r && strstr(segment_error(), text), "%d, not %d, with '%s': %s", found, r, text,
	    segment_error());
	for (size_t i = 0; i < n; i++)
		harness_assert(!scene->requests[i].segment && scene->requests[i].error == (i == who || who == n ? r : -ECANCELED),
		    "request %zu: %d", i, scene->requests[i].error);
}

static const size_t sizes[] = { 0, 1, 2, 63, 64, 65, 128, N_SEGMENTS };

START_TEST(all_are_attached_each_as_itself)
{
	size_t n = sizes[_i];
	struct segment *alone;
	struct scene scene;

	scene_start(&scene, NULL);
	for (int round = 0; round < 2; round++) {
		fill(&scene, "s", n, SEGMENT_WRITE);
		attach_all(&scene, n);
		await_attached(&scene, n);
		for (size_t i = 0; i < n; i++) {
			memcpy(segment_data(scene.requests[i].segment), &i, sizeof(i));
			ck_assert_int_eq(segment_attach(scene.client, scene.names[i], NULL, SEGMENT_READ, &alone), 0);
			ck_assert_int_eq(memcmp(segment_data(alone), &i, sizeof(i)), 0);
			ck_assert_uint_eq(segment_generation(alone), segment_generation(scene.requests[i].segment));
			ck_assert_int_eq(segment_detach(alone), 0);
		}
		detach_all(&scene, n);
		await_attached(&scene, 0);
	}
	scene_stop(&scene);
}
END_TEST

START_TEST(one_name_may_come_twice_and_each_has_its_access)
{
	struct scene scene;

	scene_start(&scene, NULL);
	fill(&scene, "s", 3, SEGMENT_READ);
	scene.requests[2].name = "s1";
	scene.requests[1].flags = SEGMENT_WRITE;
	attach_all(&scene, 3);
	harness_await_counts(&scene.suite.watcher, "s0", 1, 0);
	harness_await_counts(&scene.suite.watcher, "s1", 1, 1);
	strcpy(segment_data(scene.requests[1].segment), "one");
	ck_assert_str_eq(segment_data(scene.requests[2].segment), "one");
	detach_all(&scene, 3);
	scene_stop(&scene);
}
END_TEST

/* Those whose locks' rows did not fit are asked for them. */
START_TEST(locks_come_with_their_segments)
{
	struct scene scene;
	int lock;

	scene_start(&scene, NULL);
	for (unsigned flags = SEGMENT_READ; flags <= SEGMENT_WRITE; flags++) {
		fill(&scene, "l", N_LOCKED, flags);
		scene.requests[7].name = "s7";
		attach_all(&scene, N_LOCKED);
		for (size_t i = 0; i < N_LOCKED; i++) {
			struct segment *segment = scene.requests[i].segment;

			lock = segment_find_lock(segment, "k11");
			ck_assert_int_eq(lock, i == 7 ? -ENOENT : 11);
			if (i == 7 || !(flags & SEGMENT_WRITE))
				continue;
			ck_assert_int_eq(segment_lock(segment, lock), 0);
			ck_assert_int_eq(segment_set(segment, lock, (char *)segment_data(segment) + 88, &i, sizeof(i)), 0);
			ck_assert_int_eq(segment_unlock(segment, lock), 0);
		}
		detach_all(&scene, N_LOCKED);
		await_attached(&scene, 0);
	}
	scene_stop(&scene);
}
END_TEST

START_TEST(one_that_is_unknown_is_named_and_none_is_attached)
{
	static const size_t places[] = { 0, 9, 63, 64, 150, N_SEGMENTS - 1 };
	struct scene scene;

	scene_start(&scene, NULL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(places); i++) {
		fill(&scene, "s", N_SEGMENTS, SEGMENT_READ);
		scene.requests[places[i]].name = "nosuch";
		refused(&scene, N_SEGMENTS, -ENOENT, places[i], "'nosuch'");
		/* Not even for a moment, where they went with it in one message. */
		if (places[i] < 64)
			ck_assert_uint_eq(count_attached(&scene.suite.watcher), 0);
		await_attached(&scene, 0);
	}
	fill(&scene, "s", 10, SEGMENT_READ);
	scene.requests[4].name = "no such";
	refused(&scene, 10, -EINVAL, 4, "letters");
	fill(&scene, "s", 10, SEGMENT_READ);
	scene.requests[9].flags = 0;
	refused(&scene, 10, -EINVAL, 9, "neither");
	scene_stop(&scene);
}
END_TEST

static void
ask_as_nobody(int control, void *arg)
{
	struct scene *scene = arg;

	(void)control;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_assert(segment_connect(&scene->client, scene->suite.daemon.socket) == 0, "%s", segment_error());
	fill(scene, "s", 70, SEGMENT_WRITE);
	scene->requests[66].name = "shut";
	refused(scene, 70, -ENOENT, 66, "'shut'");
	fill(scene, "s", 20, SEGMENT_READ);
	scene->requests[3].flags |= SEGMENT_OWNED;
	attach_all(scene, 20);
	segment_disconnect(scene->client);
}

START_TEST(one_that_is_not_permitted_is_named)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct scene scene;

	harness_need_root();
	scene_start(&scene, NULL);
	harness_child_start(&child, ask_as_nobody, &scene);
	harness_child_await_success(&child);
	await_attached(&scene, 0);
	scene_stop(&scene);
}
END_TEST

/* Has "brief-x" be provisioned until the worker goes on. */
static pid_t
begin_slowly(struct scene *scene, struct harness_conn *conn)
{
	struct protocol_create create = { .size_bytes = 8 * MIB, .name = "brief-x" };
	struct protocol_segment row = { .state = PROTOCOL_DECLARED };
	pid_t worker = -1;
	int fd;

	harness_open(conn, scene->suite.daemon.socket);
	/* A first one, for which a worker is started. */
	ck_assert_int_eq(harness_create(conn, "brief-y", 8 * MIB, NULL, &fd), 0);
	worker = suite_worker_stop(&scene->suite.daemon);
	harness_fill(conn, &create.header, PROTOCOL_CREATE, sizeof(create));
	ck_assert_int_eq(harness_send(conn->fd, &create, sizeof(create), NULL, 0), sizeof(create));
	(void)close(fd);
	while (harness_find(&scene->suite.watcher, "brief-x", &row) != 0)
		continue;
	ck_assert_int_eq(row.state, PROTOCOL_PROVISIONING);
	return worker;
}

static void
wait_for_all(int control, void *arg)
{
	struct scene *scene = arg;

	harness_assert(segment_connect(&scene->client, scene->suite.daemon.socket) == 0, "%s", segment_error());
	fill(scene, "s", 100, SEGMENT_READ);
	scene->requests[70].name = "brief-x";
	attach_all(scene, 100);
	harness_say(control, "attached");
	harness_expect(control, "end");
}

START_TEST(who_may_wait_waits_for_what_is_provisioned)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct protocol_client clients[16];
	struct harness_conn conn;
	struct scene scene;
	int n_clients;
	pid_t worker;

	scene_start(&scene, "workers = 1;");
	worker = begin_slowly(&scene, &conn);
	fill(&scene, "s", 64, SEGMENT_READ);
	scene.requests[3].name = "brief-x";
	scene.requests[60].flags |= SEGMENT_NOWAIT;
	refused(&scene, 64, -EAGAIN, 3, "being provisioned");
	ck_assert_uint_eq(count_attached(&scene.suite.watcher), 0);
	/* There is nothing to wait for where another is refused for good. */
	fill(&scene, "s", 64, SEGMENT_READ);
	scene.requests[3].name = "brief-x";
	scene.requests[61].name = "nosuch";
	refused(&scene, 64, -ENOENT, 61, "'nosuch'");

	n_clients = harness_clients(&scene.suite.watcher, clients, BASE_ARRAY_SIZE(clients));
	harness_child_start(&child, wait_for_all, &scene);
	/* It, and its wait, and nothing attached meanwhile. */
	while (harness_clients(&scene.suite.watcher, clients, BASE_ARRAY_SIZE(clients)) < n_clients + 2)
		continue;
	await_attached(&scene, 0);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	harness_expect(child.control, "attached");
	await_attached(&scene, 100 + 1);
	harness_close(&conn);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	/* The creator's was never read, and ended with its connection. */
	harness_await_gone(&scene.suite.watcher, "brief-x");
	await_attached(&scene, 0);
	/* The worker goes when it has rested, and is no leak. */
	segment_disconnect(scene.client);
	harness_daemon_stop(&scene.suite.daemon);
}
END_TEST

static int
count_events(const struct segment_event *event)
{
	return event->what == SEGMENT_EVENT_ATTACHED || event->what == SEGMENT_EVENT_DETACHED;
}

struct heard {
	int n;
	int first;
};

static void
on_event(const struct segment_event *event, void *arg)
{
	struct heard *heard = arg;

	if (!count_events(event))
		return;
	if (heard->n++ == 0)
		heard->first = event->what;
}

/* Half of them is attached when the limit is met: nothing is charged for it, and nobody is told of it. */
START_TEST(a_uids_limit_in_the_middle_leaves_nothing)
{
	struct segment *watched, *sign;
	struct segment_client *other;
	struct heard heard = { 0 };
	struct scene scene;

	scene_start(&scene, "limits = { attachments = 100; };");
	ck_assert_int_eq(segment_connect(&other, scene.suite.daemon.socket), 0);
	ck_assert_int_eq(segment_attach(other, "s0", NULL, SEGMENT_READ, &watched), 0);
	ck_assert_int_ge(segment_event_fd(other), 0);
	for (int round = 0; round < 3; round++) {
		fill(&scene, "s", N_SEGMENTS, SEGMENT_WRITE);
		refused(&scene, N_SEGMENTS, -EDQUOT, 99, "limits.attachments");
		await_attached(&scene, 1);
		fill(&scene, "s", 60, SEGMENT_WRITE);
		attach_all(&scene, 60);
		ck_assert_uint_eq(count_attached(&scene.suite.watcher), 61);
		detach_all(&scene, 60);
		await_attached(&scene, 1);
	}
	/* In one message, and with locks, whose fds are more. */
	(void)segment_dispatch(other, on_event, &heard);
	fill(&scene, "s", 60, SEGMENT_WRITE);
	attach_all(&scene, 60);
	memset(&heard, 0, sizeof(heard));
	while (heard.n < 1)
		(void)segment_dispatch(other, on_event, &heard);
	for (int round = 0; round < 20; round++) {
		struct segment_request more[64];

		for (size_t i = 0; i < BASE_ARRAY_SIZE(more); i++)
			more[i] = (struct segment_request){ .name = i % 2 ? "l3" : "s0", .flags = SEGMENT_WRITE };
		ck_assert_int_eq(segment_attach_many(scene.client, more, BASE_ARRAY_SIZE(more)), -EDQUOT);
		ck_assert_int_eq(more[39].error, -EDQUOT);
		ck_assert_uint_eq(count_attached(&scene.suite.watcher), 61);
	}
	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(segment_attach(scene.client, "s0", NULL, SEGMENT_READ, &sign), 0);
	while (heard.n < 1)
		(void)segment_dispatch(other, on_event, &heard);
	ck_assert_int_eq(heard.first, SEGMENT_EVENT_ATTACHED);
	ck_assert_int_eq(heard.n, 1);
	ck_assert_int_eq(segment_detach(sign), 0);
	detach_all(&scene, 60);
	ck_assert_int_eq(segment_detach(watched), 0);
	segment_disconnect(other);
	scene_stop(&scene);
}
END_TEST

/* What lingers still ends when its time has come, however often somebody nearly attaches it. */
START_TEST(what_is_undone_does_not_keep_what_lingers)
{
	uint64_t deadline;
	struct scene scene;
	struct segment *segment;
	int r;

	scene_start(&scene, "limits = { attachments = 1; };");
	ck_assert_int_eq(segment_create(scene.client, "brief-z", 4096, 0, &segment), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	harness_await_counts(&scene.suite.watcher, "brief-z", 0, 0);
	fill(&scene, "s", 2, SEGMENT_WRITE);
	scene.requests[0].name = "brief-z";
	refused(&scene, 2, -EDQUOT, 1, "limits.attachments");
	deadline = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	do {
		r = segment_attach_many(scene.client, scene.requests, 2);
		harness_assert(harness_clock_ns() < deadline, "it is still there: %d", r);
	} while (r == -EDQUOT);
	ck_assert_int_eq(r, -ENOENT);
	segment_disconnect(scene.client);
	harness_daemon_stop(&scene.suite.daemon);
}
END_TEST

START_TEST(a_client_without_descriptors_has_none_attached)
{
	static const unsigned spare[] = { 0, 1, 20, 64, 100 };
	struct rlimit limit, small;
	struct scene scene;
	int last;

	scene_start(&scene, NULL);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	last = dup(0);
	(void)close(last);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(spare); i++) {
		size_t n = spare[i] < 64 ? 64 : N_SEGMENTS;

		fill(&scene, "s", n, SEGMENT_READ);
		small = (struct rlimit){ .rlim_cur = (rlim_t)last + spare[i], .rlim_max = limit.rlim_max };
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
		refused(&scene, n, -EMFILE, n, "RLIMIT_NOFILE");
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		ck_assert_int_eq(dup(0), last);
		(void)close(last);
		await_attached(&scene, 0);
	}
	attach_all(&scene, N_SEGMENTS);
	detach_all(&scene, N_SEGMENTS);
	scene_stop(&scene);
}
END_TEST

START_TEST(a_daemon_without_descriptors_gives_none_and_keeps_none)
{
	struct harness_usage usage;
	struct rlimit limit, old;
	struct scene scene;

	scene_start(&scene, NULL);
	fill(&scene, "l", N_LOCKED, SEGMENT_WRITE);
	attach_all(&scene, N_LOCKED);
	detach_all(&scene, N_LOCKED);
	await_attached(&scene, 0);
	harness_usage_read(scene.suite.daemon.pid, &usage);
	ck_assert_int_eq(prlimit(scene.suite.daemon.pid, RLIMIT_NOFILE, NULL, &old), 0);
	limit = old;
	for (size_t spare = 0; spare < 2 * N_LOCKED; spare += 13) {
		limit.rlim_cur = usage.fds + spare;
		ck_assert_int_eq(prlimit(scene.suite.daemon.pid, RLIMIT_NOFILE, &limit, NULL), 0);
		/* Control's and data's of each. */
		refused(&scene, N_LOCKED, -ENFILE, spare / 2, "LimitNOFILE");
		ck_assert_uint_eq(count_attached(&scene.suite.watcher), 0);
	}
	ck_assert_int_eq(prlimit(scene.suite.daemon.pid, RLIMIT_NOFILE, &old, NULL), 0);
	attach_all(&scene, N_LOCKED);
	detach_all(&scene, N_LOCKED);
	scene_stop(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("many");
	TCase *tcase = tcase_create("many");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, all_are_attached_each_as_itself, 0, BASE_ARRAY_SIZE(sizes));
	tcase_add_test(tcase, one_name_may_come_twice_and_each_has_its_access);
	tcase_add_test(tcase, locks_come_with_their_segments);
	tcase_add_test(tcase, one_that_is_unknown_is_named_and_none_is_attached);
	tcase_add_test(tcase, one_that_is_not_permitted_is_named);
	tcase_add_test(tcase, who_may_wait_waits_for_what_is_provisioned);
	tcase_add_test(tcase, a_uids_limit_in_the_middle_leaves_nothing);
	tcase_add_test(tcase, what_is_undone_does_not_keep_what_lingers);
	tcase_add_test(tcase, a_client_without_descriptors_has_none_attached);
	tcase_add_test(tcase, a_daemon_without_descriptors_gives_none_and_keeps_none);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
