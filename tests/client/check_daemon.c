/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The library against the real daemon: what it attaches, creates and forgets is what the daemon counts. */
#include "config.h"

#include "client/segment.h"
#include "tests/harness.h"

#define BIG		(32 * MIB)
#define HUGE_PAGE	(2 * MIB)

static const char body[] =
    "segments = ( { name = \"book\"; size = \"1MiB\"; mlock = false; },\n"
    "\t{ name = \"big\"; size = \"32MiB\"; mlock = false; placement = \"prefer\"; },\n"
    "\t{ name = \"dark\"; size = \"64KiB\"; mlock = false; dump = false;\n"
    "\t  locks = ( { name = \"all\"; offset = \"0\"; length = \"64KiB\"; undo = \"4KiB\"; } ); },\n"
    "\t{ name = \"dark-sysv\"; size = \"64KiB\"; mlock = false; dump = false; backend = \"sysv\";\n"
    "\t  locks = ( { name = \"all\"; offset = \"0\"; length = \"64KiB\"; undo = \"4KiB\"; } ); } );\n"
    "templates = ( { name = \"new-\"; max_size = \"64MiB\"; max_count = 4; mlock = false; linger = \"0s\"; } );";

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct segment_client *client;
};

static void
scene_start(struct scene *scene)
{
	*scene = (struct scene){ .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, "", body);
	harness_open(&scene->conn, scene->daemon.socket);
	harness_assert(segment_connect(&scene->client, scene->daemon.socket) == 0, "%s", segment_error());
}

static void
scene_stop(struct scene *scene)
{
	segment_disconnect(scene->client);
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
}

static struct segment *
attach(struct scene *scene, const char *name, unsigned flags)
{
	struct segment *segment = NULL;
	int r = segment_attach(scene->client, name, NULL, flags, &segment);

	harness_assert(r == 0, "attach '%s': %d: %s", name, r, segment_error());
	return segment;
}

START_TEST(writer_is_read_and_both_are_counted)
{
	struct scene scene;
	struct segment *writer, *reader;

	scene_start(&scene);
	writer = attach(&scene, "book", SEGMENT_WRITE);
	reader = attach(&scene, "book", SEGMENT_READ);
	harness_await_counts(&scene.conn, "book", 1, 1);
	memset(segment_data(writer), 0x5a, segment_size(writer));
	ck_assert_int_eq(memcmp(segment_data(reader), segment_data(writer), MIB), 0);
	ck_assert_uint_eq(segment_generation(reader), segment_generation(writer));
	ck_assert_int_eq(segment_detach(writer), 0);
	harness_await_counts(&scene.conn, "book", 1, 0);
	ck_assert_int_eq(segment_detach(reader), 0);
	harness_await_counts(&scene.conn, "book", 0, 0);
	scene_stop(&scene);
}
END_TEST

START_TEST(large_mapping_lies_on_a_huge_page)
{
	struct scene scene;
	struct segment *segment;

	scene_start(&scene);
	segment = attach(&scene, "big", SEGMENT_WRITE | SEGMENT_POPULATE);
	ck_assert_uint_eq((uintptr_t)segment_data(segment) % HUGE_PAGE, 0);
	ck_assert_uint_eq(segment_size(segment), BIG);
	memset(segment_data(segment), 1, BIG);
	ck_assert_int_eq(segment_detach(segment), 0);
	scene_stop(&scene);
}
END_TEST

START_TEST(refusals_come_with_the_daemons_sentence)
{
	struct scene scene;
	struct segment *segment = NULL;

	scene_start(&scene);
	ck_assert_int_eq(segment_attach(scene.client, "nosuch", NULL, SEGMENT_READ, &segment), -ENOENT);
	ck_assert_ptr_nonnull(strstr(segment_error(), "nosuch"));
	ck_assert_int_eq(segment_create(scene.client, "book", MIB, 0, &segment), -EEXIST);
	ck_assert_int_eq(segment_create(scene.client, "other", MIB, 0, &segment), -EPERM);
	ck_assert_int_eq(segment_create(scene.client, "new-a", 65 * MIB, 0, &segment), -EFBIG);
	ck_assert_ptr_null(segment);
	scene_stop(&scene);
}
END_TEST

/* How many mappings of a process have this in their name, and how many of those its core would leave out. */
static void
count_dark(pid_t pid, const char *name, unsigned *ret_n, unsigned *ret_dark)
{
	char path[64], line[4096];
	cleanup_fclose FILE *f = NULL;
	bool within = false;

	*ret_n = *ret_dark = 0;
	(void)snprintf(path, sizeof(path), "/proc/%ld/smaps", (long)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (strchr("0123456789abcdef", line[0])) {
			within = strstr(line, name);
			*ret_n += within;
		} else if (within && strncmp(line, "VmFlags:", 8) == 0) {
			*ret_dark += strstr(line, " dd") != NULL;
		}
	}
}

START_TEST(what_is_not_to_be_dumped_is_in_nobodys_core)
{
	struct segment *dark, *dark_sysv, *book;
	struct scene scene;
	unsigned n, n_dark;

	scene_start(&scene);
	dark = attach(&scene, "dark", SEGMENT_WRITE);
	dark_sysv = attach(&scene, "dark-sysv", SEGMENT_WRITE | SEGMENT_POPULATE);
	book = attach(&scene, "book", SEGMENT_WRITE);
	/* Data and control memory. */
	count_dark(getpid(), "/memfd:segmentd:dark (", &n, &n_dark);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(n_dark, 2);
	/* Control memory; and the page that stands in for the data, of which there is nothing to be seen. */
	count_dark(getpid(), "/memfd:segmentd:dark-sysv (", &n, &n_dark);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_ge(n_dark, 1);
	count_dark(getpid(), "/SYSV", &n, &n_dark);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(n_dark, 1);
	count_dark(getpid(), "/memfd:segmentd:book (", &n, &n_dark);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(n_dark, 0);
	/* The daemon's own say so of all of them, whatever their definitions do. */
	count_dark(scene.daemon.pid, "/memfd:segmentd:", &n, &n_dark);
	ck_assert_uint_ge(n, 3);
	ck_assert_uint_eq(n_dark, n);
	count_dark(scene.daemon.pid, "/SYSV", &n, &n_dark);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_eq(n_dark, n);
	ck_assert_int_eq(segment_detach(dark), 0);
	ck_assert_int_eq(segment_detach(dark_sysv), 0);
	ck_assert_int_eq(segment_detach(book), 0);
	scene_stop(&scene);
}
END_TEST

START_TEST(created_segment_is_waited_for_and_ends_with_its_attachment)
{
	struct scene scene;
	struct segment *segment;
	const char *data;

	scene_start(&scene);
	harness_assert(segment_create(scene.client, "new-a", 64 * MIB, 0, &segment) == 0, "%s", segment_error());
	ck_assert_uint_eq(segment_size(segment), 64 * MIB);
	data = segment_data(segment);
	ck_assert(data[0] == 0 && memcmp(data, data + 1, 64 * MIB - 1) == 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	harness_await_gone(&scene.conn, "new-a");
	scene_stop(&scene);
}
END_TEST

START_TEST(mapping_outlives_the_daemon_and_the_next_call_reconnects)
{
	struct scene scene;
	struct segment *before, *after;

	scene_start(&scene);
	before = attach(&scene, "book", SEGMENT_WRITE);
	memset(segment_data(before), 1, segment_size(before));
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	memset(segment_data(before), 2, segment_size(before));
	ck_assert_int_eq(segment_attach(scene.client, "book", NULL, SEGMENT_READ, &after), -ENOTCONN);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	after = attach(&scene, "book", SEGMENT_READ);
	ck_assert_int_eq(((char *)segment_data(before))[MIB - 1], 2);
	ck_assert_int_eq(segment_detach(before), 0);
	ck_assert_int_eq(segment_detach(after), 0);
	scene_stop(&scene);
}
END_TEST

struct heir {
	struct scene *scene;
	struct segment *segment;
};

static void
inherit(int control, void *arg)
{
	struct heir *heir = arg;
	struct segment *own;

	harness_expect(control, "detached");
	((char *)segment_data(heir->segment))[0] = 'h';
	own = attach(heir->scene, "book", SEGMENT_READ);
	harness_assert(((char *)segment_data(own))[0] == 'h', "another memory");
	harness_say(control, "attached");
	harness_expect(control, "counted");
	harness_assert(segment_detach(own) == 0, "%s", segment_error());
	harness_say(control, "gave back its own");
	harness_expect(control, "counted");
	harness_assert(segment_detach(heir->segment) == 0, "%s", segment_error());
	harness_say(control, "gave back all");
	harness_expect(control, "counted");
}

START_TEST(forked_child_keeps_what_its_parent_gave_back)
{
	struct scene scene;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct heir heir = { .scene = &scene };

	scene_start(&scene);
	heir.segment = attach(&scene, "book", SEGMENT_WRITE);
	harness_child_start(&child, inherit, &heir);
	ck_assert_int_eq(segment_detach(heir.segment), 0);
	harness_await_counts(&scene.conn, "book", 0, 1);
	harness_say(child.control, "detached");
	harness_expect(child.control, "attached");
	harness_await_counts(&scene.conn, "book", 1, 1);
	harness_say(child.control, "counted");
	harness_expect(child.control, "gave back its own");
	harness_await_counts(&scene.conn, "book", 0, 1);
	harness_say(child.control, "counted");
	harness_expect(child.control, "gave back all");
	harness_await_counts(&scene.conn, "book", 0, 0);
	harness_say(child.control, "counted");
	harness_child_await_success(&child);
	scene_stop(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon");
	TCase *tcase = tcase_create("daemon");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, writer_is_read_and_both_are_counted);
	tcase_add_test(tcase, large_mapping_lies_on_a_huge_page);
	tcase_add_test(tcase, refusals_come_with_the_daemons_sentence);
	tcase_add_test(tcase, what_is_not_to_be_dumped_is_in_nobodys_core);
	tcase_add_test(tcase, created_segment_is_waited_for_and_ends_with_its_attachment);
	tcase_add_test(tcase, mapping_outlives_the_daemon_and_the_next_call_reconnects);
	tcase_add_test(tcase, forked_child_keeps_what_its_parent_gave_back);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
