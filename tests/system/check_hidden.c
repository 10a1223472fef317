/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segment that one may not attach does not exist for one: what check_privileges shows of each reply holds for what is told
 * without being asked, for the numbers that are told of others, and for how long an answer takes.
 */
#include "config.h"

#include "tests/system/suite.h"

#define STRANGER	4009u
#define N_OPEN		32
#define N_ROUNDS	2000
#define TIMES		4		/* as long, at most: the host has other things to do, too */

static void
become_stranger(void)
{
	harness_become(STRANGER, STRANGER, NULL, 0);
}

/* Numbers. */

static void
expect_gaps(int control, void *arg)
{
	struct protocol_segment rows[N_OPEN];
	unsigned n_cursor_gaps = 0, n_generation_gaps = 0;
	struct harness_conn conn;

	become_stranger();
	harness_open(&conn, arg);
	harness_assert(harness_list(&conn, rows, N_OPEN) == N_OPEN, "not all are listed");
	for (unsigned i = 1; i < N_OPEN; i++) {
		harness_assert(rows[i].cursor > rows[i - 1].cursor && rows[i].generation > rows[i - 1].generation,
		    "numbers do not rise: cursors %ju, %ju, generations %ju, %ju", (uintmax_t)rows[i - 1].cursor,
		    (uintmax_t)rows[i].cursor, (uintmax_t)rows[i - 1].generation, (uintmax_t)rows[i].generation);
		n_cursor_gaps += rows[i].cursor - rows[i - 1].cursor > 1;
		n_generation_gaps += rows[i].generation - rows[i - 1].generation > 1;
	}
	/* Of a hundred million starts one has fewer. */
	harness_assert(n_cursor_gaps > N_OPEN / 3 && n_generation_gaps > N_OPEN / 3, "%u and %u gaps", n_cursor_gaps,
	    n_generation_gaps);
	harness_close(&conn);
}

/* So that a gap is no sign of what is hidden in it. */
START_TEST(numbers_have_gaps_where_nothing_is_hidden)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_daemon daemon;
	char text[N_OPEN * 100] = "segments = (";
	size_t len = strlen(text);

	harness_need_root();
	for (unsigned i = 0; i < N_OPEN; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s { name = \"open-%02u\"; size = \"4KiB\"; mode = \"0644\"; "
		    "prefault = false; mlock = false; }", i ? "," : "", i);
	(void)snprintf(text + len, sizeof(text) - len, " );");
	harness_daemon_start(&daemon, NULL, text);
	harness_child_start(&child, expect_gaps, daemon.socket);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Events. */

static const char two[] =
    "segments = ( { name = \"closed\"; size = \"4KiB\"; mode = \"0600\"; }, { name = \"open\"; size = \"4KiB\"; mode = \"0644\"; } );"
    "templates = ( { name = \"t-\"; max_size = \"1MiB\"; max_count = 3; lifetime = \"persistent\"; } );";

static void
follow(int control, void *arg)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };
	struct harness_reply reply;
	struct protocol_event event;
	struct harness_conn conn;

	become_stranger();
	harness_open(&conn, arg);
	harness_assert(harness_ask(&conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply) == 0, "subscribe");
	harness_say(control, "subscribed");
	harness_assert(harness_receive(conn.fd, &reply) == sizeof(event), "no event");
	memcpy(&event, reply.bytes, sizeof(event));
	harness_assert(event.kind == PROTOCOL_EVENT_ATTACHED && streq(event.segment, "open") && event.lost == 0,
	    "event %u of '%s' after %ju that were lost", event.kind, event.segment, (uintmax_t)event.lost);
	harness_close(&conn);
}

START_TEST(its_events_are_neither_told_nor_counted)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, two);
	harness_child_start(&child, follow, scene.daemon.socket);
	harness_expect(child.control, "subscribed");
	(void)close(suite_attach(&scene.watcher, "closed", SUITE_WRITE));
	harness_await_counts(&scene.watcher, "closed", 0, 0);
	/* Made and removed, and provisioned in between: root's own. */
	ck_assert_int_eq(harness_create(&scene.watcher, "t-roots", 4096, NULL, NULL), 0);
	ck_assert_int_eq(harness_remove(&scene.watcher, "t-roots", PROTOCOL_REMOVE_NOW), 0);
	(void)close(suite_attach(&scene.watcher, "open", SUITE_READ));
	harness_child_await_success(&child);
	harness_await_counts(&scene.watcher, "open", 0, 0);
	suite_end(&scene);
}
END_TEST

/* Time. */

static uint64_t
time_of(struct harness_conn *conn, unsigned type, union suite_request *request, size_t size, char *field, const char *name)
{
	uint64_t begun_ns = clock_monotonic_ns();
	struct harness_reply reply;
	int r;

	(void)snprintf(field, PROTOCOL_NAME_SIZE, "%s", name);
	r = harness_ask(conn, type, &request->header, size, &reply);
	harness_assert(r == -ENOENT || r == -EPERM, "request %u of '%s': %d", type, name, r);
	return clock_monotonic_ns() - begun_ns;
}

static int
compare_times(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

/* By turns, so that what the host does besides is the same for both. */
static void
expect_same_time(struct harness_conn *conn, unsigned type, union suite_request *request, size_t size, char *field)
{
	static uint64_t hidden_ns[N_ROUNDS], absent_ns[N_ROUNDS];
	uint64_t hidden, absent;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		hidden_ns[i] = time_of(conn, type, request, size, field, "closed");
		absent_ns[i] = time_of(conn, type, request, size, field, "absent");
	}
	qsort(hidden_ns, N_ROUNDS, sizeof(hidden_ns[0]), compare_times);
	qsort(absent_ns, N_ROUNDS, sizeof(absent_ns[0]), compare_times);
	hidden = hidden_ns[N_ROUNDS / 2];
	absent = absent_ns[N_ROUNDS / 2];
	printf("request %u: p50 %ju ns of what is hidden, %ju of what is not there\n", type, (uintmax_t)hidden, (uintmax_t)absent);
	(void)fflush(stdout);
	harness_assert(hidden < TIMES * absent && absent < TIMES * hidden, "request %u: %ju ns and %ju", type, (uintmax_t)hidden,
	    (uintmax_t)absent);
}

static void
measure(int control, void *arg)
{
	union suite_request request;
	struct harness_conn conn;

	become_stranger();
	harness_open(&conn, arg);
	memset(&request, 0, sizeof(request));
	expect_same_time(&conn, PROTOCOL_SHOW, &request, sizeof(request.show), request.show.name);
	memset(&request, 0, sizeof(request));
	request.attach.access = SUITE_READ;
	expect_same_time(&conn, PROTOCOL_ATTACH, &request, sizeof(request.attach), request.attach.name);
	memset(&request, 0, sizeof(request));
	request.create.size_bytes = 4096;
	expect_same_time(&conn, PROTOCOL_CREATE, &request, sizeof(request.create), request.create.name);
	harness_close(&conn);
}

START_TEST(the_answer_comes_as_fast)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_daemon daemon;

	harness_need_root();
	harness_daemon_start(&daemon, NULL, two);
	harness_child_start(&child, measure, daemon.socket);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hidden");
	TCase *tcase = tcase_create("hidden");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, numbers_have_gaps_where_nothing_is_hidden);
	tcase_add_test(tcase, its_events_are_neither_told_nor_counted);
	tcase_add_test(tcase, the_answer_comes_as_fast);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
