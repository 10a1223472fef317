/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who may attach what, as several uids and groups: bits as on a file, and `allow` beyond them. What one may not attach at
 * all does not exist for one, whatever is asked.
 */
#include "config.h"

#include "tests/harness.h"

#define READ	PROTOCOL_ACCESS_READ
#define WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)
#define OWNER	4001u
#define GROUP	4002u
#define ALLOWED	4003u
#define ALLOWED_GROUP	4004u
#define STRANGER	4009u

static const char body[] =
    "segments = ( { name = \"book\"; size = \"4KiB\"; owner = \"4001\"; group = \"4002\"; mode = \"0640\";"
    "               allow = ( { user = \"4003\"; access = \"r\"; }, { group = \"4004\"; access = \"rw\"; } ); },"
    "             { name = \"open\"; size = \"4KiB\"; owner = \"4001\"; group = \"4002\"; mode = \"0604\"; },"
    "             { name = \"closed\"; size = \"4KiB\"; owner = \"4001\"; mode = \"0000\"; } );"
    "templates = ( { name = \"scratch-%U-\"; max_size = \"1MiB\"; max_count = 3; } );";

struct identity {
	const char *who;
	uid_t uid;
	gid_t gid;
	gid_t group;			/* supplementary; 0: none */
	int read[3];			/* status for book, open, closed */
	int write[3];
};

/* A file's rule: only the first class that fits counts, so the group of "open" has less than others. */
static const struct identity identities[] = {
	{ "the owner", OWNER, STRANGER, 0, { 0, 0, -ENOENT }, { 0, 0, -ENOENT } },
	{ "the group", STRANGER, GROUP, 0, { 0, -ENOENT, -ENOENT }, { -EACCES, -ENOENT, -ENOENT } },
	{ "a supplementary group", STRANGER, STRANGER, GROUP, { 0, -ENOENT, -ENOENT },
	    { -EACCES, -ENOENT, -ENOENT } },
	{ "an allowed user", ALLOWED, STRANGER, 0, { 0, 0, -ENOENT }, { -EACCES, -EACCES, -ENOENT } },
	{ "an allowed group", STRANGER, ALLOWED_GROUP, 0, { 0, 0, -ENOENT }, { 0, -EACCES, -ENOENT } },
	{ "an allowed supplementary group", STRANGER, STRANGER, ALLOWED_GROUP, { 0, 0, -ENOENT },
	    { 0, -EACCES, -ENOENT } },
	{ "a stranger", STRANGER, STRANGER, 0, { -ENOENT, 0, -ENOENT }, { -ENOENT, -EACCES, -ENOENT } },
};

static const char *const names[] = { "book", "open", "closed" };

struct visit {
	const struct identity *identity;
	const char *socket;
};

static bool
is_listed(struct harness_conn *conn, const char *name)
{
	struct protocol_segment rows[16];
	size_t n = harness_list(conn, rows, BASE_ARRAY_SIZE(rows));

	for (size_t i = 0; i < n; i++) {
		if (streq(rows[i].name, name))
			return true;
	}
	return false;
}

static void
visit_segment(struct harness_conn *conn, const struct identity *identity, unsigned i)
{
	bool exists = identity->read[i] != -ENOENT;
	struct protocol_holder rows[16];
	struct protocol_segment row;
	int r;

	r = harness_attach(conn, names[i], READ, NULL, NULL);
	harness_assert(r == identity->read[i], "%s reads %s: %d", identity->who, names[i], r);
	r = harness_attach(conn, names[i], WRITE, NULL, NULL);
	harness_assert(r == identity->write[i], "%s writes %s: %d", identity->who, names[i], r);
	r = harness_find(conn, names[i], &row);
	harness_assert(r == (exists ? 0 : -ENOENT), "%s shows %s: %d", identity->who, names[i], r);
	r = harness_wait(conn, names[i]);
	harness_assert(r == (exists ? PROTOCOL_READY : -ENOENT), "%s waits for %s: %d", identity->who, names[i], r);
	r = harness_holders(conn, names[i], rows, BASE_ARRAY_SIZE(rows));
	harness_assert(exists ? r >= 0 : r == -ENOENT, "%s asks for holders of %s: %d", identity->who, names[i], r);
	harness_assert(is_listed(conn, names[i]) == exists, "%s lists %s", identity->who, names[i]);
	/* Only an administrator removes what a configuration declares; who cannot see it learns nothing. */
	r = harness_remove(conn, names[i], 0);
	harness_assert(exists ? r == -EPERM || r == -EACCES : r == -ENOENT, "%s removes %s: %d",
	    identity->who, names[i], r);
}

static void
visit(int control, void *arg)
{
	const struct visit *visit = arg;
	struct harness_conn conn;

	harness_become(visit->identity->uid, visit->identity->gid, &visit->identity->group,
	    visit->identity->group ? 1 : 0);
	harness_open(&conn, visit->socket);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(names); i++)
		visit_segment(&conn, visit->identity, i);
}

START_TEST(access_is_as_on_a_file)
{
	struct harness_daemon daemon;

	harness_need_root();
	harness_daemon_start(&daemon, NULL, body);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(identities); i++) {
		struct harness_child child = HARNESS_CHILD_NULL;
		struct visit arg = { .identity = &identities[i], .socket = daemon.socket };

		harness_child_start(&child, visit, &arg);
		harness_child_await_success(&child);
	}
	harness_daemon_stop(&daemon);
}
END_TEST

/* The answer to a name that is there and hidden, and to one that is not there, are the same but for the name. */
static void
compare_refusals(int control, void *arg)
{
	struct harness_conn conn;
	struct protocol_show request = { .name = "closed" };
	struct harness_reply hidden, absent;
	char *at;

	harness_become(STRANGER, STRANGER, NULL, 0);
	harness_open(&conn, arg);
	harness_assert(harness_ask(&conn, PROTOCOL_SHOW, &request.header, sizeof(request), &hidden) == -ENOENT,
	    "closed is there");
	(void)snprintf(request.name, sizeof(request.name), "absent");
	harness_assert(harness_ask(&conn, PROTOCOL_SHOW, &request.header, sizeof(request), &absent) == -ENOENT,
	    "absent is there");
	while ((at = strstr(hidden.bytes + sizeof(hidden.header), "closed")) != NULL)
		memcpy(at, "absent", 6);
	harness_assert(streq(hidden.bytes + sizeof(hidden.header), absent.bytes + sizeof(absent.header)),
	    "'%s' and '%s'", hidden.bytes + sizeof(hidden.header), absent.bytes + sizeof(absent.header));
}

START_TEST(hidden_is_as_absent)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	harness_daemon_start(&daemon, NULL, body);
	harness_child_start(&child, compare_refusals, daemon.socket);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
create_own(int control, void *arg)
{
	struct harness_conn conn;
	struct protocol_client clients[16];
	int r, fd;

	harness_become(OWNER, OWNER, NULL, 0);
	harness_open(&conn, arg);
	r = harness_create(&conn, "scratch-4001-x", 4096, NULL, &fd);
	harness_assert(r == 0, "create: %s", strerror(-r));
	r = harness_create(&conn, "scratch-4003-x", 4096, NULL, NULL);
	harness_assert(r == -EPERM, "created for another uid: %d", r);
	r = harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients));
	harness_assert(r == 1 && clients[0].uid == OWNER, "sees %d sessions", r);
	harness_say(control, "created");
	harness_expect(control, "remove");
	r = harness_remove(&conn, "scratch-4001-x", PROTOCOL_REMOVE_NOW);
	harness_assert(r == 0, "its creator removes: %s", strerror(-r));
	harness_say(control, "removed");
	harness_expect(control, "end");
}

static void
see_nothing_of_another(int control, void *arg)
{
	struct harness_conn conn;
	struct protocol_client clients[16];
	int r;

	harness_become(STRANGER, STRANGER, NULL, 0);
	harness_open(&conn, arg);
	r = harness_attach(&conn, "scratch-4001-x", READ, NULL, NULL);
	harness_assert(r == -ENOENT, "attached: %d", r);
	r = harness_remove(&conn, "scratch-4001-x", PROTOCOL_REMOVE_NOW);
	harness_assert(r == -ENOENT, "removed: %d", r);
	r = harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients));
	harness_assert(r == 1 && clients[0].uid == STRANGER, "sees %d sessions", r);
}

START_TEST(created_segment_is_its_creators)
{
	struct harness_daemon daemon;
	struct harness_child creator = HARNESS_CHILD_NULL, other = HARNESS_CHILD_NULL;
	struct protocol_client clients[16];
	struct harness_conn conn;
	struct protocol_segment row;

	harness_need_root();
	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_child_start(&creator, create_own, daemon.socket);
	harness_expect(creator.control, "created");
	harness_child_start(&other, see_nothing_of_another, daemon.socket);
	harness_child_await_success(&other);
	/* root administers, and sees all. */
	ck_assert_int_eq(harness_find(&conn, "scratch-4001-x", &row), 0);
	ck_assert_uint_eq(row.owner, OWNER);
	ck_assert_int_ge(harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)), 2);
	harness_say(creator.control, "remove");
	harness_expect(creator.control, "removed");
	harness_say(creator.control, "end");
	harness_child_await_success(&creator);
	harness_await_gone(&conn, "scratch-4001-x");
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("access");
	TCase *tcase = tcase_create("access");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, access_is_as_on_a_file);
	tcase_add_test(tcase, hidden_is_as_absent);
	tcase_add_test(tcase, created_segment_is_its_creators);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
