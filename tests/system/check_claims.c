/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a client claims of a segment besides its name: a layout, a generation, whose it is; and what is the creator's, the
 * administrators' and nobody else's. (check_access has the bits.)
 */
#include "config.h"

#include "tests/system/suite.h"

#define PLAIN	"size = \"4KiB\"; prefault = false; mlock = false; "

enum {
	OWNER = 4242,			/* numbers that no database has to know */
	GROUP = 4343,
	STRANGER = 4444,
};

static const char body[] =
    "segments = (\n"
    "\t{ name = \"u640\"; owner = \"nobody\"; group = \"nogroup\"; mode = \"0640\"; " PLAIN "},\n"
    "\t{ name = \"u604\"; owner = \"nobody\"; group = \"nogroup\"; mode = \"0604\"; " PLAIN "},\n"
    "\t{ name = \"all-rw\"; mode = \"0666\"; layout = \"desk/3\"; " PLAIN "},\n"
    "\t{ name = \"plain\"; mode = \"0666\"; " PLAIN "} );\n"
    "templates = ( { name = \"scratch-\"; max_size = \"64KiB\"; max_count = 9; lifetime = \"persistent\";\n"
    "\tprefault = false; mlock = false; } );";

static size_t
set_name(char *field, const char *name, size_t size)
{
	memset(field, 0, PROTOCOL_NAME_SIZE);
	memcpy(field, name, strlen(name));
	return size;
}

static void
expect_attach(struct harness_conn *conn, const char *name, uint32_t access, int status, const char *text)
{
	union suite_request request = { .attach = { .access = access } };

	suite_refused(conn, PROTOCOL_ATTACH, &request, set_name(request.attach.name, name, sizeof(request.attach)), status, text);
}

START_TEST(writing_alone_and_unknown_bits_are_refused)
{
	static const uint32_t wrong[] = { 0, PROTOCOL_ACCESS_WRITE, 4, 7, UINT32_MAX };
	union suite_request request;
	struct suite_scene scene;

	suite_begin(&scene, NULL, body);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(wrong); i++)
		expect_attach(&scene.watcher, "plain", wrong[i], -EINVAL, "access must be read");
	request = (union suite_request){ .attach = { .access = SUITE_READ, .flags = 0x80 } };
	suite_refused(&scene.watcher, PROTOCOL_ATTACH, &request,
	    set_name(request.attach.name, "plain", sizeof(request.attach)), -EINVAL, "flags must be known");
	request = (union suite_request){ .remove = { .flags = 0x80 } };
	suite_refused(&scene.watcher, PROTOCOL_REMOVE, &request,
	    set_name(request.remove.name, "plain", sizeof(request.remove)), -EINVAL, "unknown flags");
	suite_end(&scene);
}
END_TEST

static void
attach_with_layout(struct harness_conn *conn, const char *name, const char *layout, int status)
{
	union suite_request request = { .attach = { .access = SUITE_READ } };
	struct harness_reply reply;
	int r;

	(void)set_name(request.attach.name, name, 0);
	(void)set_name(request.attach.layout, layout, 0);
	if (status < 0) {
		suite_refused(conn, PROTOCOL_ATTACH, &request, sizeof(request.attach), status, "has layout 'desk/3', not");
		return;
	}
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request.attach), &reply);
	harness_assert(r == 0 && reply.n_fds == 1, "'%s' with layout '%s': %d", name, layout, r);
	(void)close(reply.fds[0]);
}

START_TEST(another_layout_is_refused)
{
	struct suite_scene scene;

	suite_begin(&scene, NULL, body);
	attach_with_layout(&scene.watcher, "all-rw", "desk/3", 0);
	attach_with_layout(&scene.watcher, "all-rw", "", 0);
	attach_with_layout(&scene.watcher, "all-rw", "desk/4", -EPROTOTYPE);
	attach_with_layout(&scene.watcher, "all-rw", "desk/", -EPROTOTYPE);
	attach_with_layout(&scene.watcher, "all-rw", "desk/33", -EPROTOTYPE);
	/* Where the definition names none, nobody is refused for one. */
	attach_with_layout(&scene.watcher, "plain", "desk/4", 0);
	suite_end(&scene);
}
END_TEST

static int
attach_generation(struct harness_conn *conn, const char *name, uint64_t generation)
{
	union suite_request request = { .attach = { .access = SUITE_READ, .generation = generation } };
	struct harness_reply reply;
	int r;

	(void)set_name(request.attach.name, name, 0);
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request.attach), &reply);
	if (r == 0)
		(void)close(reply.fds[0]);
	else
		harness_assert(strstr(reply.bytes + sizeof(reply.header), "removed and made anew") || r != -ESTALE,
		    "%s", reply.bytes + sizeof(reply.header));
	return r;
}

START_TEST(a_segment_made_anew_is_another_generation)
{
	struct protocol_attached first, second;
	struct suite_scene scene;
	int fd;

	suite_begin(&scene, NULL, body);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-a", 4096, &first, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "old", 3, 0), 3);
	ck_assert_int_eq(attach_generation(&scene.watcher, "scratch-a", first.generation), 0);
	ck_assert_int_eq(harness_remove(&scene.watcher, "scratch-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(attach_generation(&scene.watcher, "scratch-a", first.generation), -ENOENT);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-a", 4096, &second, NULL), 0);
	ck_assert_uint_gt(second.generation, first.generation);
	ck_assert_int_eq(attach_generation(&scene.watcher, "scratch-a", first.generation), -ESTALE);
	ck_assert_int_eq(attach_generation(&scene.watcher, "scratch-a", second.generation), 0);
	ck_assert_int_eq(attach_generation(&scene.watcher, "scratch-a", 0), 0);
	/* An attachment of the old one gives nothing of the new one back. */
	ck_assert_int_eq(harness_detach(&scene.watcher, &first), 0);
	/* And its memory stays with who holds it. */
	{
		char text[3];

		ck_assert_int_eq(pread(fd, text, 3, 0), 3);
		ck_assert_mem_eq(text, "old", 3);
	}
	(void)close(fd);
	ck_assert_int_eq(harness_remove(&scene.watcher, "scratch-a", PROTOCOL_REMOVE_NOW), 0);
	suite_end(&scene);
}
END_TEST

static void
create_and_own(int control, void *arg)
{
	const struct suite_scene *scene = arg;
	union suite_request request = { .attach = { .access = SUITE_READ, .flags = PROTOCOL_ATTACH_OWNED } };
	struct protocol_client clients[8];
	struct harness_reply reply;
	struct harness_conn conn;
	int r;

	harness_become(OWNER, GROUP, NULL, 0);
	harness_open(&conn, scene->daemon.socket);
	r = harness_create(&conn, "scratch-mine", 4096, NULL, NULL);
	harness_assert(r == 0, "create: %s", strerror(-r));
	/* One's own, and root's; not another's. */
	(void)set_name(request.attach.name, "scratch-mine", 0);
	r = harness_ask(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request.attach), &reply);
	harness_assert(r == 0, "one's own: %s", strerror(-r));
	(void)close(reply.fds[0]);
	(void)set_name(request.attach.name, "plain", 0);
	r = harness_ask(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request.attach), &reply);
	harness_assert(r == 0, "root's: %s", strerror(-r));
	(void)close(reply.fds[0]);
	request = (union suite_request){ .attach = { .access = SUITE_READ, .flags = PROTOCOL_ATTACH_OWNED } };
	suite_refused(&conn, PROTOCOL_ATTACH, &request, set_name(request.attach.name, "u604", sizeof(request.attach)),
	    -EPERM, "belongs to uid 65534");
	/* What may be attached may not for that be removed; and clients see themselves alone. */
	request = (union suite_request){ .remove = { .flags = 0 } };
	suite_refused(&conn, PROTOCOL_REMOVE, &request, set_name(request.remove.name, "plain", sizeof(request.remove)),
	    -EPERM, "only the creator of segment");
	harness_assert(harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)) == 1 && clients[0].uid == OWNER,
	    "other uids' clients are shown");
	request = (union suite_request){ .header = { 0 } };
	suite_refused(&conn, PROTOCOL_METRICS, &request, sizeof(request.header), -EPERM, "only administrators may see the metrics");
	harness_say(control, "created");
	harness_expect(control, "seen");
	harness_assert(harness_remove(&conn, "scratch-mine", 0) == 0, "its creator removes it");
}

static void
meet_anothers(int control, void *arg)
{
	const struct suite_scene *scene = arg;
	struct harness_conn conn;

	(void)control;
	harness_become(STRANGER, GROUP, NULL, 0);
	harness_open(&conn, scene->daemon.socket);
	expect_attach(&conn, "scratch-mine", SUITE_READ, -ENOENT, "there is no segment");
	/* That a name is taken is no secret from who would create it. */
	harness_assert(harness_create(&conn, "scratch-mine", 4096, NULL, NULL) == -EEXIST, "created twice");
}

START_TEST(a_creator_owns_what_it_creates)
{
	struct harness_child owner = HARNESS_CHILD_NULL, stranger = HARNESS_CHILD_NULL;
	struct protocol_client clients[8];
	struct protocol_segment row;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, body);
	harness_child_start(&owner, create_and_own, &scene);
	harness_expect(owner.control, "created");
	harness_child_start(&stranger, meet_anothers, &scene);
	harness_child_await_success(&stranger);
	/* An administrator sees all. */
	ck_assert_int_eq(harness_find(&scene.watcher, "scratch-mine", &row), 0);
	ck_assert_uint_eq(row.owner, OWNER);
	ck_assert_uint_eq(row.mode, 0600);
	ck_assert_int_ge(harness_clients(&scene.watcher, clients, BASE_ARRAY_SIZE(clients)), 2);
	harness_say(owner.control, "seen");
	harness_child_await_success(&owner);
	harness_await_gone(&scene.watcher, "scratch-mine");
	suite_end(&scene);
}
END_TEST

START_TEST(an_administrator_removes_what_is_anothers)
{
	struct protocol_segment row;
	struct suite_scene scene;

	harness_need_root();
	suite_begin(&scene, NULL, body);
	ck_assert_int_eq(harness_remove(&scene.watcher, "u640", 0), 0);
	ck_assert_int_eq(harness_find(&scene.watcher, "u640", &row), -ENOENT);
	ck_assert_int_eq(harness_remove(&scene.watcher, "u640", 0), -ENOENT);
	ck_assert_int_eq(harness_find(&scene.watcher, "u604", &row), 0);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("claims");
	TCase *tcase = tcase_create("claims");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, writing_alone_and_unknown_bits_are_refused);
	tcase_add_test(tcase, another_layout_is_refused);
	tcase_add_test(tcase, a_segment_made_anew_is_another_generation);
	tcase_add_test(tcase, a_creator_owns_what_it_creates);
	tcase_add_test(tcase, an_administrator_removes_what_is_anothers);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
