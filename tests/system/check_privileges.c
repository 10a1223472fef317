/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who may do what: every row of the request table, asked by every kind of peer, about segments that they may have in every way
 * there is. A row without an expectation fails here, as one does whose privilege is another than was thought. And what is
 * refused to who may not attach a segment is, byte for byte, what is said of a name that nobody ever had.
 */
#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/requests.h"
#include "tests/system/suite.h"

#define OWNER		4001u
#define GROUP		4002u
#define ALLOWED		4003u
#define ALLOWED_GROUP	4004u
#define ALLOWED_RW	4005u
#define STRANGER	4009u
#define ADMIN_GROUP	"daemon"	/* every host has it */

static const char body[] =
    "segments = ( { name = \"book\"; size = \"4KiB\"; owner = \"4001\"; group = \"4002\"; mode = \"0640\";"
    "               allow = ( { user = \"4003\"; access = \"r\"; }, { user = \"4005\"; access = \"rw\"; },"
    "                         { group = \"4004\"; access = \"rw\"; } ); },"
    "             { name = \"open\"; size = \"4KiB\"; mode = \"0666\"; } );"
    "templates = ( { name = \"t-%U-\"; max_size = \"1MiB\"; max_count = 3; lifetime = \"persistent\"; } );";

/* How somebody stands to a segment: places in a row's outcomes. */
enum standing {
	NOTHING,
	READER,
	WRITER,
	CREATOR,			/* who may write, too */
	ADMINISTRATOR,			/* who may not attach it */
	ALL,				/* who administers, and may write */
	STANDING_N
};

static const char *const targets[] = { "book", "open", "t-4001-x" };
#define N_TARGETS	BASE_ARRAY_SIZE(targets)

/* Peers. */

struct peer {
	const char *who;
	uid_t uid;			/* that connects */
	gid_t gid;
	gid_t group;			/* supplementary; 0: none */
	bool administers;
	bool says_no_hello;
	bool is_in_user_namespace;	/* as root there */
	bool is_changed;		/* what connected is another uid by the time it asks */
	bool is_passed;			/* likewise: another process has the socket */
	uid_t asking_uid;
	enum standing standings[N_TARGETS];
};

static const struct peer peers[] = {
	{ .who = "a stranger", .uid = STRANGER, .gid = STRANGER, .standings = { NOTHING, WRITER, NOTHING } },
	{ .who = "the group", .uid = STRANGER, .gid = GROUP, .standings = { READER, WRITER, NOTHING } },
	{ .who = "a supplementary group", .uid = STRANGER, .gid = STRANGER, .group = GROUP, .standings = { READER, WRITER, NOTHING } },
	{ .who = "an allowed reader", .uid = ALLOWED, .gid = STRANGER, .standings = { READER, WRITER, NOTHING } },
	{ .who = "an allowed writer", .uid = ALLOWED_RW, .gid = STRANGER, .standings = { WRITER, WRITER, NOTHING } },
	{ .who = "an allowed group", .uid = STRANGER, .gid = ALLOWED_GROUP, .standings = { WRITER, WRITER, NOTHING } },
	{ .who = "the owner and creator", .uid = OWNER, .gid = OWNER, .standings = { WRITER, WRITER, CREATOR } },
	{ .who = "an administrator", .uid = STRANGER, .gid = STRANGER, .administers = true,
	    .standings = { ADMINISTRATOR, ALL, ADMINISTRATOR } },
	{ .who = "root", .administers = true, .standings = { ALL, ALL, ALL } },
	{ .who = "root without HELLO", .administers = true, .says_no_hello = true, .standings = { ALL, ALL, ALL } },
	{ .who = "a stranger that was root", .administers = true, .is_changed = true, .asking_uid = STRANGER,
	    .standings = { ALL, ALL, ALL } },
	{ .who = "root that was a stranger", .uid = STRANGER, .is_changed = true, .standings = { NOTHING, WRITER, NOTHING } },
	{ .who = "a stranger with root's socket", .administers = true, .is_passed = true, .asking_uid = STRANGER,
	    .standings = { ALL, ALL, ALL } },
	{ .who = "root with a stranger's socket", .uid = STRANGER, .gid = STRANGER, .is_passed = true,
	    .standings = { NOTHING, WRITER, NOTHING } },
	{ .who = "the owner as root of a user namespace", .uid = OWNER, .gid = OWNER, .is_in_user_namespace = true,
	    .standings = { WRITER, WRITER, CREATOR } },
	{ .who = "a stranger as root of a user namespace", .uid = STRANGER, .gid = STRANGER, .is_in_user_namespace = true,
	    .standings = { NOTHING, WRITER, NOTHING } },
};

/* Rows. */

typedef void (*fill_fn)(union suite_request *request, const char *name);

#define NAME(field)	(void)snprintf(field, sizeof(field), "%s", name)

static void
fill_hello(union suite_request *request, const char *name BASE_UNUSED)
{
	(void)suite_fill_hello(request, 1);
}

static void
fill_reading(union suite_request *request, const char *name)
{
	request->attach.access = SUITE_READ;
	NAME(request->attach.name);
}

static void
fill_writing(union suite_request *request, const char *name)
{
	request->attach.access = SUITE_WRITE;
	NAME(request->attach.name);
}

static void
fill_many(union suite_request *request, const char *name)
{
	struct protocol_attach_row *rows = (void *)(&request->many + 1);

	request->many.n_rows = 2;
	for (unsigned i = 0; i < 2; i++)
		rows[i].access = SUITE_WRITE;
	(void)snprintf(rows[0].name, sizeof(rows[0].name), "open");
	NAME(rows[1].name);
}

/* Of a size that no template has: who may have the name, hears of that. */
static void
fill_create(union suite_request *request, const char *name)
{
	NAME(request->create.name);
}

/* With flags that there are not: whoever may, is told so, and nothing happens. */
static void
fill_remove(union suite_request *request, const char *name)
{
	request->remove.flags = ~PROTOCOL_REMOVE_NOW;
	NAME(request->remove.name);
}

static void
fill_recover(union suite_request *request, const char *name)
{
	struct protocol_recover *recover = (void *)request;

	NAME(recover->name);
}

static void
fill_retry(union suite_request *request, const char *name)
{
	struct protocol_retry *retry = (void *)request;

	NAME(retry->name);
}

static void
fill_show(union suite_request *request, const char *name)
{
	NAME(request->show.name);
}

static void
fill_who(union suite_request *request, const char *name)
{
	struct protocol_who *who = (void *)request;

	NAME(who->name);
}

static void
fill_holders(union suite_request *request, const char *name)
{
	NAME(request->holders.name);
}

static void
fill_wait(union suite_request *request, const char *name)
{
	request->wait.progress_bytes = PROTOCOL_WAIT_STATE;
	NAME(request->wait.name);
}

static void
fill_locks(union suite_request *request, const char *name)
{
	struct protocol_locks *locks = (void *)request;

	NAME(locks->name);
}

static void
fill_detach(union suite_request *request, const char *name BASE_UNUSED)
{
	request->detach.attachment = 1;
	request->detach.generation = 1;
}

static void
fill_return(union suite_request *request, const char *name BASE_UNUSED)
{
	struct protocol_return *returned = (void *)request;

	returned->attachment = 1;
	returned->generation = 1;
}

static void
fill_subscribe(union suite_request *request, const char *name BASE_UNUSED)
{
	request->subscribe.flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL;
}

/* Likewise: of a uid there is one upload at a time. */
static void
fill_upload(union suite_request *request, const char *name BASE_UNUSED)
{
	struct protocol_upload *upload = (void *)request;

	upload->flags = ~(PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME);
}

static void
fill_nothing(union suite_request *request BASE_UNUSED, const char *name BASE_UNUSED)
{
}

/* By standing: '.' is what whoever may is answered, 'n' -ENOENT, 'a' -EACCES, 'p' -EPERM, 'e' -EEXIST. */
#define ANYONE		"......"
#define ADMINISTRATORS	"pppp.."
#define READERS		"n....."
#define WRITERS		"na...."
#define CREATORS	"npp..."

struct row {
	enum protocol_type type;
	enum requests_privilege privilege;
	size_t size;
	fill_fn fill;
	const char *outcomes;
	int answer;			/* where it may */
};

#define SIZE_MANY	(sizeof(struct protocol_attach_many) + 2 * sizeof(struct protocol_attach_row))

static const struct row rows[] = {
	{ PROTOCOL_HELLO, REQUESTS_ANYONE, sizeof(struct protocol_hello), fill_hello, ANYONE, 0 },
	{ PROTOCOL_ATTACH, REQUESTS_ATTACHER, sizeof(struct protocol_attach), fill_reading, "n...a.", 0 },
	{ PROTOCOL_ATTACH, REQUESTS_ATTACHER, sizeof(struct protocol_attach), fill_writing, "na..a.", 0 },
	{ PROTOCOL_DETACH, REQUESTS_ANYONE, sizeof(struct protocol_detach), fill_detach, ANYONE, 0 },
	{ PROTOCOL_CREATE, REQUESTS_INSTANTIATOR, sizeof(struct protocol_create), fill_create, "peeepe", 0 },
	{ PROTOCOL_REMOVE, REQUESTS_CREATOR, sizeof(struct protocol_remove), fill_remove, CREATORS, -EINVAL },
	{ PROTOCOL_LIST, REQUESTS_ANYONE, sizeof(struct protocol_list), fill_nothing, ANYONE, 0 },
	{ PROTOCOL_SHOW, REQUESTS_READER, sizeof(struct protocol_show), fill_show, READERS, 0 },
	{ PROTOCOL_HOLDERS, REQUESTS_READER, sizeof(struct protocol_holders), fill_holders, READERS, 0 },
	{ PROTOCOL_CLIENTS, REQUESTS_ANYONE, sizeof(struct protocol_clients), fill_nothing, ANYONE, 0 },
	{ PROTOCOL_WAIT, REQUESTS_READER, sizeof(struct protocol_wait), fill_wait, READERS, 0 },
	{ PROTOCOL_METRICS, REQUESTS_ADMINISTRATOR, sizeof(struct protocol_header), fill_nothing, ADMINISTRATORS, 0 },
	{ PROTOCOL_SUBSCRIBE, REQUESTS_ANYONE, sizeof(struct protocol_subscribe), fill_subscribe, ANYONE, 0 },
	{ PROTOCOL_LOCKS, REQUESTS_READER, sizeof(struct protocol_locks), fill_locks, READERS, 0 },
	{ PROTOCOL_RECOVER, REQUESTS_WRITER, sizeof(struct protocol_recover), fill_recover, WRITERS, -EALREADY },
	{ PROTOCOL_PLAN, REQUESTS_ADMINISTRATOR, sizeof(struct protocol_plan), fill_nothing, ADMINISTRATORS, 0 },
	{ PROTOCOL_UPLOAD, REQUESTS_ADMINISTRATOR, sizeof(struct protocol_upload), fill_upload, ADMINISTRATORS, -EINVAL },
	{ PROTOCOL_PLAN_LINES, REQUESTS_ADMINISTRATOR, sizeof(struct protocol_plan_lines), fill_nothing, ADMINISTRATORS, -ENODATA },
	{ PROTOCOL_RETRY, REQUESTS_ADMINISTRATOR, sizeof(struct protocol_retry), fill_retry, ADMINISTRATORS, -EINVAL },
	{ PROTOCOL_ATTACH_MANY, REQUESTS_ATTACHER, SIZE_MANY, fill_many, "na..a.", 0 },
	{ PROTOCOL_WHO, REQUESTS_READER, sizeof(struct protocol_who), fill_who, READERS, 0 },
	{ PROTOCOL_WHO_ROWS, REQUESTS_ANYONE, sizeof(struct protocol_who_rows), fill_nothing, ANYONE, -ENODATA },
	{ PROTOCOL_RETURN, REQUESTS_ANYONE, sizeof(struct protocol_return), fill_return, ANYONE, -ESTALE },
	{ PROTOCOL_USERS, REQUESTS_ANYONE, sizeof(struct protocol_users), fill_nothing, ANYONE, 0 },
};
static_assert(PROTOCOL_TYPE_N == 25, "a request of a new type, and who may, belongs into these rows");

/* The table itself says what there is. */
START_TEST(each_row_of_the_table_has_an_expectation)
{
	for (unsigned type = 0; type < PROTOCOL_TYPE_N; type++) {
		int privilege = requests_privilege_of(type);
		unsigned n = 0;

		for (unsigned i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
			if (rows[i].type != type)
				continue;
			n++;
			ck_assert_msg((int)rows[i].privilege == privilege, "type %u has privilege %d", type, privilege);
			ck_assert_uint_eq(strlen(rows[i].outcomes), STANDING_N);
		}
		ck_assert_msg((n > 0) == (privilege >= 0), "type %u has privilege %d, and %u expectations", type, privilege, n);
	}
	ck_assert_int_eq(requests_privilege_of(PROTOCOL_TYPE_N), -1);
}
END_TEST

/* The peer's process. */

struct visit {
	const struct peer *peer;
	const char *socket;
	int dialler;			/* a process that connects and passes its sockets on; or -1 */
};

static void
write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	harness_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path, strerror(errno));
}

static void
enter_user_namespace(const struct peer *peer)
{
	char map[64];

	harness_assert(unshare(CLONE_NEWUSER) == 0, "unshare: %s", strerror(errno));
	write_text("/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1", peer->uid);
	write_text("/proc/self/uid_map", map);
	(void)snprintf(map, sizeof(map), "0 %u 1", peer->gid);
	write_text("/proc/self/gid_map", map);
	harness_assert(getuid() == 0, "uid %u in the namespace", getuid());
}

/* Connects as the peer as often as it is told, and passes the sockets on; and lives as long as it may be told. */
static void
dial_for_another(const struct visit *visit, int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1) {
		cleanup_close int dialled = harness_dial(visit->socket);

		harness_assert(dialled >= 0, "dial: %s", strerror(-dialled));
		harness_assert(harness_send(fd, &byte, 1, &dialled, 1) == 1, "sendmsg: %s", strerror(errno));
	}
	_exit(0);
}

static int
dial(const struct visit *visit)
{
	struct harness_reply reply;
	int fd;

	if (visit->dialler >= 0) {
		harness_assert(write(visit->dialler, "", 1) == 1 && harness_receive(visit->dialler, &reply) == 1 && reply.n_fds == 1,
		    "no socket was passed on");
		return reply.fds[0];
	}
	if (visit->peer->is_changed)
		harness_assert(seteuid(visit->peer->uid) == 0, "seteuid: %s", strerror(errno));
	fd = harness_dial(visit->socket);
	harness_assert(fd >= 0, "dial: %s", strerror(-fd));
	if (visit->peer->is_changed)
		harness_assert(seteuid(0) == 0 && seteuid(visit->peer->asking_uid) == 0, "seteuid: %s", strerror(errno));
	return fd;
}

/* On a connection of its own. With what a name that is not there is answered, that name is as long. */
static int
ask(const struct visit *visit, const struct row *row, const char *name, struct harness_reply *reply)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	union suite_request request;
	int r;

	conn.fd = dial(visit);
	if (!visit->peer->says_no_hello && row->type != PROTOCOL_HELLO) {
		memset(&request, 0, sizeof(request));
		fill_hello(&request, name);
		r = harness_ask(&conn, PROTOCOL_HELLO, &request.header, sizeof(request.hello), reply);
		harness_assert(r == 0, "%s says hello: %d", visit->peer->who, r);
	}
	memset(&request, 0, sizeof(request));
	row->fill(&request, name);
	if (visit->peer->says_no_hello && row->type != PROTOCOL_HELLO) {
		harness_fill(&conn, &request.header, row->type, row->size);
		harness_assert(harness_send(conn.fd, &request, row->size, NULL, 0) == (ssize_t)row->size, "sendmsg");
		harness_expect_hangup(conn.fd);
		r = -EPROTO;
	} else {
		reply->n_fds = 0;
		r = harness_ask(&conn, row->type, &request.header, row->size, reply);
	}
	for (unsigned i = 0; r == 0 && i < reply->n_fds; i++)
		(void)close(reply->fds[i]);
	harness_close(&conn);
	return r;
}

static int
expected(const struct row *row, enum standing standing)
{
	switch (row->outcomes[standing]) {
	case 'n':
		return -ENOENT;
	case 'a':
		return -EACCES;
	case 'p':
		return -EPERM;
	case 'e':
		return -EEXIST;
	default:
		return row->answer;
	}
}

/* The names stand for each other in a reply, and nothing else differs. */
static void
expect_as_absent(const struct visit *visit, const struct row *row, const char *name, const struct harness_reply *reply)
{
	static struct harness_reply absent;
	char other[32];
	size_t len = strlen(name);

	/* As long, and nobody's. */
	(void)snprintf(other, sizeof(other), "%s", name);
	other[len - 1] = 'q';
	(void)ask(visit, row, other, &absent);
	for (size_t i = 0; i + len <= absent.size; i++)
		if (memcmp(absent.bytes + i, other, len) == 0)
			memcpy(absent.bytes + i, name, len);
	harness_assert(absent.size == reply->size && memcmp(absent.bytes, reply->bytes, absent.size) == 0,
	    "%s, request %u: of '%s' '%s', and of a name that is not there '%s'", visit->peer->who, row->type, name,
	    reply->bytes + sizeof(reply->header), absent.bytes + sizeof(absent.header));
}

static void
expect_listed(const struct visit *visit)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment listed[8];
	union suite_request hello;
	struct harness_reply reply;
	size_t n;

	conn.fd = dial(visit);
	memset(&hello, 0, sizeof(hello));
	fill_hello(&hello, NULL);
	harness_assert(harness_ask(&conn, PROTOCOL_HELLO, &hello.header, sizeof(hello.hello), &reply) == 0, "hello");
	n = harness_list(&conn, listed, BASE_ARRAY_SIZE(listed));
	for (unsigned i = 0; i < N_TARGETS; i++) {
		bool is_listed = false;

		for (size_t j = 0; j < n; j++)
			is_listed = is_listed || streq(listed[j].name, targets[i]);
		harness_assert(is_listed == (visit->peer->standings[i] != NOTHING), "%s: '%s' is %slisted", visit->peer->who, targets[i],
		    is_listed ? "" : "not ");
	}
	harness_close(&conn);
}

/* Whoever administers sees all, and the creator's part of it; others themselves, and nothing that tells of others. */
static void
expect_charged(const struct visit *visit)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_user users[8];
	union suite_request hello;
	struct harness_reply reply;
	bool sees_creator = false;
	int n;

	conn.fd = dial(visit);
	memset(&hello, 0, sizeof(hello));
	fill_hello(&hello, NULL);
	harness_assert(harness_ask(&conn, PROTOCOL_HELLO, &hello.header, sizeof(hello.hello), &reply) == 0, "hello");
	n = harness_users(&conn, users, BASE_ARRAY_SIZE(users));
	harness_assert(n > 0, "%s: %d", visit->peer->who, n);
	for (int i = 0; i < n; i++)
		sees_creator = sees_creator || (users[i].uid == OWNER && users[i].charges[PROTOCOL_CHARGED_SEGMENTS].used == 1);
	harness_assert(sees_creator == (visit->peer->administers || visit->peer->uid == OWNER), "%s: the creator is %sseen",
	    visit->peer->who, sees_creator ? "" : "not ");
	if (!visit->peer->administers) {
		harness_assert(n == 1 && users[0].uid == visit->peer->uid && !users[0].flags, "%s: %d rows, the first of uid %u",
		    visit->peer->who, n, users[0].uid);
		for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++)
			harness_assert(users[0].charges[i].share == PROTOCOL_UNLIMITED, "%s: what others leave is told", visit->peer->who);
	}
	harness_close(&conn);
}

static void
walk(const struct visit *visit)
{
	static struct harness_reply reply;

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		for (unsigned j = 0; j < N_TARGETS; j++) {
			enum standing standing = visit->peer->standings[j];
			bool is_silent = visit->peer->says_no_hello && rows[i].type != PROTOCOL_HELLO;
			int r = ask(visit, &rows[i], targets[j], &reply);

			harness_assert(r == (is_silent ? -EPROTO : expected(&rows[i], standing)), "%s, request %u of '%s': %d%s%s",
			    visit->peer->who, rows[i].type, targets[j], r, r < 0 ? ": " : "",
			    r < 0 ? reply.bytes + sizeof(reply.header) : "");
			if (standing == NOTHING && rows[i].outcomes[NOTHING] != '.')
				expect_as_absent(visit, &rows[i], targets[j], &reply);
		}
	}
	if (!visit->peer->says_no_hello)
		expect_listed(visit);
	if (!visit->peer->says_no_hello)
		expect_charged(visit);
}

static void
become_peer(const struct peer *peer)
{
	const gid_t group = peer->administers && peer->uid ? getgrnam(ADMIN_GROUP)->gr_gid : peer->group;

	harness_become(peer->uid, peer->gid, &group, group != 0);
}

static void
come(int control, void *arg)
{
	struct visit *visit = arg;
	const struct peer *peer = visit->peer;
	int pair[2];

	if (peer->is_passed) {
		harness_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
		if (harness_fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)close(pair[0]);
			become_peer(peer);
			dial_for_another(visit, pair[1]);
		}
		visit->dialler = pair[0];
		harness_become(peer->asking_uid, peer->asking_uid, NULL, 0);
	} else if (peer->is_changed) {
		harness_assert(setgroups(0, NULL) == 0, "setgroups: %s", strerror(errno));
	} else {
		become_peer(peer);
	}
	if (peer->is_in_user_namespace)
		enter_user_namespace(peer);
	walk(visit);
}

static bool
has_user_namespaces(void)
{
	pid_t pid = harness_fork();

	if (pid == 0) {
		harness_become(OWNER, OWNER, NULL, 0);
		_exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
	}
	return harness_await_state(pid, 0, "a user namespace") == 0;
}

static void
create_target(int control, void *arg)
{
	struct harness_conn conn;

	harness_become(OWNER, OWNER, NULL, 0);
	harness_open(&conn, arg);
	harness_assert(harness_create(&conn, targets[2], 4096, NULL, NULL) == 0, "no segment was created");
	harness_close(&conn);
}

START_TEST(each_row_is_asked_by_every_kind_of_peer)
{
	const struct peer *peer = &peers[_i];
	struct visit visit = { .peer = peer, .dialler = -1 };
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_daemon daemon;

	harness_need_root();
	if (!getgrnam(ADMIN_GROUP))
		harness_skip("this host has no group " ADMIN_GROUP);
	if (peer->is_in_user_namespace && !has_user_namespaces())
		harness_skip("ordinary users may have no user namespaces here");
	harness_daemon_start(&daemon, "admin_group = \"" ADMIN_GROUP "\";", body);
	harness_child_start(&child, create_target, daemon.socket);
	harness_child_await_success(&child);
	visit.socket = daemon.socket;
	child = (struct harness_child) HARNESS_CHILD_NULL;
	harness_child_start(&child, come, &visit);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("privileges");
	TCase *tcase = tcase_create("privileges");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, each_row_of_the_table_has_an_expectation);
	tcase_add_loop_test(tcase, each_row_is_asked_by_every_kind_of_peer, 0, BASE_ARRAY_SIZE(peers));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
