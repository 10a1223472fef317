/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reloads that meet something: another reload, what is being provisioned, files that are wrong or gone, or very much to read;
 * and a thousand of them in a row. Nothing that runs is disturbed, and nothing stays behind.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include "host/memory.h"
#include "tests/system/reloading.h"

#define DESK	RELOADING_SEGMENT("desk", "")
#define BOOK	RELOADING_SEGMENT("book", "")
#define BIG	"{ name = \"big\"; size = \"512MiB\"; page_size = \"base\"; mlock = false; required = false; "
#define TRIES	20
#define ROWS	4			/* connections that reload at once */

static void
send_plan(struct harness_conn *conn, uint32_t flags)
{
	union suite_request request = { .header = { 0 } };
	struct protocol_plan *plan = (void *)&request;

	plan->flags = flags;
	harness_fill(conn, &plan->header, PROTOCOL_PLAN, sizeof(*plan));
	harness_assert(harness_send(conn->fd, plan, sizeof(*plan), NULL, 0) == sizeof(*plan), "send");
}

static struct protocol_planned
receive_plan(struct harness_conn *conn)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(conn->fd, &reply);
	struct protocol_planned planned;

	harness_assert(n == sizeof(planned), "%zd bytes, status %d: %s", n, n > 0 ? reply.header.status : 0,
	    n > 24 ? reply.bytes + sizeof(reply.header) : "");
	memcpy(&planned, reply.bytes, sizeof(planned));
	return planned;
}

static struct protocol_planned
ask_plan(struct harness_conn *conn, uint32_t flags)
{
	send_plan(conn, flags);
	return receive_plan(conn);
}

START_TEST(reloads_at_once_are_done_one_after_the_other)
{
	struct harness_conn conns[ROWS];
	struct protocol_planned planned;
	struct suite_scene scene;

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	for (int i = 0; i < ROWS; i++)
		suite_dial(&scene, &conns[i], true);
	harness_daemon_configure(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	for (int i = 0; i < ROWS; i++) {
		send_plan(&conns[i], i % 2 ? PROTOCOL_PLAN_RELOAD : 0);
		ck_assert_int_eq(kill(scene.daemon.pid, SIGHUP), 0);
	}
	/* What the first reload has added is kept by all after it. */
	for (int i = 0; i < ROWS; i++) {
		planned = receive_plan(&conns[i]);
		ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_ADDED] + planned.counts[PROTOCOL_PLAN_KEPT], 2);
		ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REFUSED], 0);
	}
	suite_ready(&scene.watcher, "book");
	/* Who hangs up while its reload waits or runs leaves nothing; the daemon goes on. */
	for (int i = 0; i < ROWS; i++)
		send_plan(&conns[i], PROTOCOL_PLAN_RELOAD);
	for (int i = 0; i < ROWS; i++)
		harness_close(&conns[i]);
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_KEPT], 2);
	ck_assert_uint_eq(planned.n_lines, 0);
	(void)ask_plan(&scene.watcher, 0);
	harness_daemon_configure(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REMOVED], 1);
	harness_daemon_stop(&scene.daemon);
	harness_close(&scene.watcher);
}
END_TEST

/* A daemon at work on "big", one of whose two workers stands still in the middle. */
static pid_t
begin_big(struct suite_scene *scene)
{
	harness_daemon_start(&scene->daemon, "workers = 2;", RELOADING_SEGMENTS(DESK ", " BIG "}"));
	harness_open(&scene->watcher, scene->daemon.socket);
	return suite_worker_stop(&scene->daemon);
}

START_TEST(what_is_being_provisioned_can_be_removed)
{
	struct protocol_planned planned;
	struct protocol_segment row;
	struct suite_scene scene;
	pid_t stopped = begin_big(&scene);

	ck_assert_int_eq(harness_find(&scene.watcher, "big", &row), 0);
	if (row.state != PROTOCOL_PROVISIONING)
		harness_skip("it was provisioned before a worker could be stopped");
	harness_daemon_configure(&scene.daemon, "workers = 2;", RELOADING_SEGMENTS(DESK));
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REMOVED], 1);
	ck_assert_int_eq(harness_find(&scene.watcher, "big", &row), -ENOENT);
	ck_assert_int_eq(kill(stopped, SIGCONT), 0);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

START_TEST(what_is_being_provisioned_can_be_another)
{
	struct protocol_segment was, is;
	struct protocol_planned planned;
	struct suite_scene scene;
	pid_t stopped = begin_big(&scene);

	ck_assert_int_eq(harness_find(&scene.watcher, "big", &was), 0);
	if (was.state != PROTOCOL_PROVISIONING)
		harness_skip("it was provisioned before a worker could be stopped");
	/* What is live acts under the workers' hands. */
	harness_daemon_configure(&scene.daemon, "workers = 2;", RELOADING_SEGMENTS(DESK ", " BIG "mode = \"0644\"; }"));
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_CHANGED], 1);
	ck_assert_int_eq(harness_find(&scene.watcher, "big", &is), 0);
	ck_assert_uint_eq(is.generation, was.generation);
	ck_assert_uint_eq(is.mode, 0644);
	/* Anything else begins anew. */
	harness_daemon_configure(&scene.daemon, "workers = 2;", RELOADING_SEGMENTS(DESK ", { name = \"big\"; size = \"1MiB\"; "
	    "mlock = false; required = false; layout = \"other\"; }"));
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REPLACED], 1);
	suite_ready(&scene.watcher, "big");
	ck_assert_int_eq(harness_find(&scene.watcher, "big", &is), 0);
	ck_assert_uint_gt(is.generation, was.generation);
	ck_assert_uint_eq(is.size_bytes, MIB);
	ck_assert_int_eq(kill(stopped, SIGCONT), 0);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

START_TEST(a_thousand_reloads_leave_nothing)
{
	static const char *const bodies[] = {
		RELOADING_SEGMENTS(DESK ", " BOOK) "templates = ( { name = \"a-\"; max_size = \"1MiB\"; } );\n",
		RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "mode = \"0640\";") ", " RELOADING_SEGMENT("book",
		    "layout = \"x\";") ", " RELOADING_SEGMENT("more", "")) "templates = ( { name = \"b-\"; max_size = \"1MiB\"; } );\n",
	};
	struct harness_usage usage;
	struct protocol_planned planned;
	struct suite_scene scene;
	uint64_t resident_kib = 0;
	unsigned n = harness_has_sanitizers() ? 200 : 1000;
	int fd;

	harness_daemon_start(&scene.daemon, NULL, bodies[0]);
	harness_open(&scene.watcher, scene.daemon.socket);
	/* One that waits for somebody each time, and is taken back. */
	fd = suite_attach(&scene.watcher, "book", SUITE_READ);
	for (unsigned i = 0; i < n; i++) {
		if (i == n / 5) {
			harness_usage_read(scene.daemon.pid, &usage);
			resident_kib = harness_status_figure(scene.daemon.pid, "VmRSS:");
		}
		harness_daemon_configure(&scene.daemon, NULL, bodies[(i + 1) % 2]);
		planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
		ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_PROBLEM] + planned.counts[PROTOCOL_PLAN_REFUSED], 0);
		ck_assert_uint_eq(planned.counts[i % 2 ? PROTOCOL_PLAN_KEPT : PROTOCOL_PLAN_WAITS], 1);
	}
	harness_usage_await(&scene.watcher, scene.daemon.pid, &usage);
	if (!harness_has_sanitizers())
		harness_assert(harness_status_figure(scene.daemon.pid, "VmRSS:") <= resident_kib + 512,
		    "%ju KiB resident after %u reloads, %ju KiB after a fifth of them",
		    (uintmax_t)harness_status_figure(scene.daemon.pid, "VmRSS:"), n, (uintmax_t)resident_kib);
	(void)close(fd);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

static void
write_piece(const struct harness_daemon *daemon, int i, const char *name, const char *end)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/segments.d", daemon->dir);
	ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
	(void)snprintf(path, sizeof(path), "%s/segments.d/%d.conf", daemon->dir, i);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "segments = ( { name = \"%s-%d\"; size = \"64KiB\"; prefault = false; mlock = false; } %s\n", name, i, end);
	ck_assert_int_eq(fclose(f), 0);
}

#define N_PIECES	10

#define FIELD(name, size)	"{ name = \"" name "\"; size = \"" size "\"; max_size = \"4TiB\"; mlock = false; page_size = \"base\"; }"

/* Sizes of two that each would fit, and both do not. */
static void
write_halves(char *text, size_t size)
{
	struct memory_headroom headroom;
	struct memory *memory;
	unsigned long long mib;

	ck_assert_int_eq(memory_new(&memory), 0);
	ck_assert_int_eq(memory_headroom(memory, 0, &headroom), 0);
	(void)memory_free(memory);
	mib = headroom.bytes / MIB * 6 / 10;
	(void)snprintf(text, size, "segments = ( { name = \"a\"; size = \"%lluMiB\"; max_size = \"4TiB\"; mlock = false; page_size = "
	    "\"base\"; }, { name = \"b\"; size = \"%lluMiB\"; max_size = \"4TiB\"; mlock = false; page_size = \"base\"; }, "
	    FIELD("c", "16MiB") " );\n", mib, mib);
}

/* A plan says what a reload then does, also where it depends on memory: of one size, of two together, and while some is given back. */
START_TEST(memory_that_is_not_there_is_foretold)
{
	struct protocol_planned plan, reload;
	struct suite_scene scene;
	char halves[512];

	suite_begin(&scene, "memory_reserve = \"1MiB\";",
	    RELOADING_SEGMENTS(FIELD("a", "64KiB") ", " FIELD("b", "64KiB") ", " FIELD("c", "16MiB")));
	suite_ready(&scene.watcher, "c");
	harness_daemon_configure(&scene.daemon, "memory_reserve = \"1MiB\";",
	    RELOADING_SEGMENTS(FIELD("a", "4TiB") ", " FIELD("b", "128KiB") ", " FIELD("c", "16MiB")));
	plan = ask_plan(&scene.watcher, 0);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_REFUSED], 1);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_GROWN], 1);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_KEPT], 1);
	reload = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_mem_eq(reload.counts, plan.counts, sizeof(plan.counts));

	/* Others take memory and give it back while this looks: then what was half of it is not any more. */
	for (unsigned try_ = 0; try_ < TRIES; try_++) {
		write_halves(halves, sizeof(halves));
		harness_daemon_configure(&scene.daemon, "memory_reserve = \"1MiB\";", halves);
		plan = ask_plan(&scene.watcher, 0);
		if (plan.counts[PROTOCOL_PLAN_REFUSED] == 1)
			break;
	}
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_REFUSED], 1);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_GROWN], 1);

	harness_daemon_configure(&scene.daemon, "memory_reserve = \"1MiB\";",
	    RELOADING_SEGMENTS(FIELD("a", "4TiB") ", " FIELD("b", "128KiB")));
	plan = ask_plan(&scene.watcher, 0);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_REFUSED], 0);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_GROWN], 1);
	ck_assert_uint_eq(plan.counts[PROTOCOL_PLAN_REMOVED], 1);
	reload = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_mem_eq(reload.counts, plan.counts, sizeof(plan.counts));
	suite_end(&scene);
}
END_TEST

START_TEST(one_bad_file_among_ten_changes_nothing)
{
	struct protocol_planned planned;
	struct suite_scene scene;
	char path[160];

	harness_daemon_prepare(&scene.daemon, NULL, RELOADING_SEGMENTS(DESK));
	for (int i = 0; i < N_PIECES; i++)
		write_piece(&scene.daemon, i, "part", ");");
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.watcher, scene.daemon.socket);
	write_piece(&scene.daemon, 3, "new", "");
	write_piece(&scene.daemon, 4, "new", ");");
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_PROBLEM], 1);
	reloading_expect(harness_daemon_log(&scene.daemon), "/segments.d/3.conf:");
	ck_assert_int_eq(harness_find(&scene.watcher, "part-3", &(struct protocol_segment){ 0 }), 0);
	ck_assert_int_eq(harness_find(&scene.watcher, "part-4", &(struct protocol_segment){ 0 }), 0);

	/* One that is gone is one that declares nothing; the main file is another matter. */
	write_piece(&scene.daemon, 3, "part", ");");
	(void)snprintf(path, sizeof(path), "%s/segments.d/7.conf", scene.daemon.dir);
	ck_assert_int_eq(unlink(path), 0);
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REMOVED], 2);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_ADDED], 1);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_KEPT], 9);
	ck_assert_int_eq(unlink(scene.daemon.config), 0);
	planned = ask_plan(&scene.watcher, PROTOCOL_PLAN_RELOAD);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_PROBLEM], 1);
	ck_assert_int_eq(harness_find(&scene.watcher, "desk", &(struct protocol_segment){ 0 }), 0);
	harness_close(&scene.watcher);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

#define MANY_TEXT_BYTES	470		/* of one definition, with the comment that fills it up */

/* 10 MiB of definitions; a tenth of that where all is ten times slower. */
static unsigned
n_many(void)
{
	return harness_has_sanitizers() ? 2300 : 23000;
}

static char *
make_many(void)
{
	unsigned n = n_many();
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "segments = (\n");
	for (unsigned i = 0; i < n; i++)
		(void)fprintf(f, "{ name = \"many-%u\"; size = \"64KiB\"; mode = \"0640\"; prefault = false; mlock = false; }%s\n# %0*u\n",
		    i, i + 1 < n ? "," : "", MANY_TEXT_BYTES - 90, i);
	(void)fprintf(f, ");\n");
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_uint_ge(size, n * (size_t)(10 * MIB) / 23000);
	return text;
}

START_TEST(ten_mebibytes_are_planned_while_others_are_served)
{
	struct harness_conn other;
	struct protocol_planned planned;
	struct suite_scene scene;
	uint64_t longest_ns = 0, began_ns;
	unsigned n_served = 0;
	char *many = make_many();

	suite_begin(&scene, NULL, RELOADING_SEGMENTS(DESK));
	suite_dial(&scene, &other, true);
	harness_daemon_configure(&scene.daemon, NULL, many);
	free(many);
	began_ns = clock_monotonic_ns();
	send_plan(&scene.watcher, 0);
	for (;;) {
		struct pollfd answered = { .fd = scene.watcher.fd, .events = POLLIN };
		uint64_t asked_ns = clock_monotonic_ns();

		(void)close(suite_attach(&other, "desk", SUITE_READ));
		longest_ns = max_u64(longest_ns, clock_monotonic_ns() - asked_ns);
		n_served++;
		if (poll(&answered, 1, 0))
			break;
	}
	planned = receive_plan(&scene.watcher);
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_ADDED], n_many());
	ck_assert_uint_eq(planned.counts[PROTOCOL_PLAN_REMOVED], 1);
	ck_assert_uint_eq(planned.n_lines, n_many() + 1);
	ck_assert_uint_gt(n_served, 10);
	(void)printf("planned in %ju ms, %u attachments meanwhile, the slowest of them %ju us\n",
	    (uintmax_t)((clock_monotonic_ns() - began_ns) / NS_PER_MS), n_served, (uintmax_t)(longest_ns / 1000));
	ck_assert_int_eq(harness_find(&scene.watcher, "many-1", &(struct protocol_segment){ 0 }), -ENOENT);
	harness_close(&other);
	harness_daemon_stop(&scene.daemon);
	harness_close(&scene.watcher);
}
END_TEST

static Suite *
suite_reloads(void)
{
	Suite *suite = suite_create("reloads");
	TCase *tcase = tcase_create("reloads");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, reloads_at_once_are_done_one_after_the_other);
	tcase_add_test(tcase, what_is_being_provisioned_can_be_removed);
	tcase_add_test(tcase, what_is_being_provisioned_can_be_another);
	tcase_add_test(tcase, a_thousand_reloads_leave_nothing);
	tcase_add_test(tcase, memory_that_is_not_there_is_foretold);
	tcase_add_test(tcase, one_bad_file_among_ten_changes_nothing);
	tcase_add_test(tcase, ten_mebibytes_are_planned_while_others_are_served);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(suite_reloads());
}
