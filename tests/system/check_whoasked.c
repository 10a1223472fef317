/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Asking who has a segment: without rights, without segmentd-audit, by many, and by those who do not read the answer. */
#include "config.h"

#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/system/looking.h"
#include "tests/system/stranger.h"

#define CROWD		300
#define ANSWER_BYTES	(512 * sizeof(struct protocol_process))	/* of one about so many */
#define ANSWERS		((int)(32 * MIB / ANSWER_BYTES))	/* that a uid may leave unread */
#define SOME		20		/* rows; room is made for eight at first */
#define ADMIN_GROUP	"daemon"
#define ADMIN		65533
#define FIRST_UID	3000
#define GROUPS_MAX	65536		/* of a process, by the kernel */
#define GROUPS_FREE	256		/* of a list of them, which is not charged */
#define FILLING_MAX	2000		/* connections that use up what all may have: half as many do */

/* The daemon's own rights are not enough: what it is not shown it counts, and says what would show it. */
LOOKING_TEST(without_rights_there_are_numbers)
{
	struct stranger stranger;

	harness_need_root();
	stranger_enter_namespace();
	looking_begin(looking_key, false);
	stranger_start(&stranger, HARNESS_NOBODY, HARNESS_NOBODY);
	stranger_must(&stranger, 0, "attach %d 0", LOOKING_KEY);
	stranger_must(&stranger, 0, "remap");
	looking_expect(0);
	ck_assert_uint_eq(looking.told.n_unseen, 2);
	ck_assert_uint_gt(looking.told.n_hidden, 0);
	ck_assert(looking.told.flags & PROTOCOL_TOLD_OWN_RIGHTS);
	harness_assert(strstr(looking.text, "segmentd-audit.socket"), "'%s' says how", looking.text);
	stranger_kill(&stranger);
	looking_end();
}

static void
lose_audit(void *arg)
{
	(void)setenv("SEGMENTD_AUDIT", "/nonexistent/segmentd-audit", 1);
}

LOOKING_TEST(without_the_program_a_sentence_says_so)
{
	int fd;

	harness_daemon_prepare(&looking.daemon, NULL, looking_book);
	looking.daemon.before_exec = lose_audit;
	harness_daemon_launch(&looking.daemon);
	harness_daemon_await_ready(&looking.daemon);
	harness_open(&looking.conn, looking.daemon.socket);
	fd = suite_attach(&looking.conn, "book", SUITE_READ);
	ck_assert_int_eq(looking_who(), 0);
	ck_assert(looking.told.flags & PROTOCOL_TOLD_FAILED);
	ck_assert_uint_eq(looking.told.n_unseen, 0);
	harness_assert(strstr(looking.text, "not installed"), "'%s' says why", looking.text);
	ck_assert_int_eq(looking_holder().pid, getpid());
	(void)close(fd);
	looking_end();
}

/* Those who ask while it is looked share what comes of it; and who goes away meanwhile is missed by nobody. */
LOOKING_TEST(many_may_ask_at_once)
{
	struct harness_conn conns[600];
	struct protocol_who request = { .name = "book" };
	struct harness_reply reply;
	struct harness_usage before;
	int fd;

	looking_begin(looking_book, true);
	fd = suite_attach(&looking.conn, "book", SUITE_READ);
	looking_expect(1);
	harness_usage_read(looking.daemon.pid, &before);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_open(&conns[i], looking.daemon.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		harness_fill(&conns[i], &request.header, PROTOCOL_WHO, sizeof(request));
		ck_assert_int_eq(harness_send(conns[i].fd, &request, sizeof(request), NULL, 0), sizeof(request));
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i += 2)
		harness_close(&conns[i]);
	for (size_t i = 1; i < BASE_ARRAY_SIZE(conns); i += 2) {
		ck_assert_int_ge(harness_receive(conns[i].fd, &reply), (int)sizeof(struct protocol_told));
		ck_assert_int_eq(reply.header.status, 0);
		ck_assert_uint_eq(((struct protocol_told *)(void *)&reply)->n_rows, 1);
		harness_close(&conns[i]);
	}
	looking_expect(1);
	harness_usage_await(&looking.conn, looking.daemon.pid, &before);
	(void)close(fd);
	looking_end();
}

/* Rows that are not read are charged: more than a uid may have in all are none of its. */
static void
leave_unread(int control, void *arg)
{
	static struct harness_conn conns[ANSWERS + 1];
	struct protocol_who request = { .name = "book" };
	struct protocol_who_rows next = { 0 };
	struct harness_reply reply;
	int n_refused = 0, refused = 0;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	for (int i = 0; i <= ANSWERS; i++) {
		harness_open(&conns[i], looking.daemon.socket);
		harness_fill(&conns[i], &request.header, PROTOCOL_WHO, sizeof(request));
		ck_assert_int_eq(harness_send(conns[i].fd, &request, sizeof(request), NULL, 0), sizeof(request));
	}
	for (int i = 0; i <= ANSWERS; i++) {
		ck_assert_int_gt(harness_receive(conns[i].fd, &reply), 0);
		if (reply.header.status == 0) {
			ck_assert_uint_eq(((struct protocol_told *)(void *)&reply)->n_rows, CROWD + 2);
			continue;
		}
		n_refused++;
		refused = i;
		ck_assert_int_eq(reply.header.status, -EDQUOT);
		harness_assert(strstr(reply.bytes + sizeof(reply.header), "bytes that are kept for its connections"), "it says: %s",
		    reply.bytes + sizeof(reply.header));
	}
	ck_assert_int_eq(n_refused, 1);
	harness_say(control, "full");
	harness_expect(control, "read");
	/* Read, and there is room again. */
	for (int status = 0; status == 0;) {
		status = harness_ask(&conns[!refused], PROTOCOL_WHO_ROWS, &next.header, sizeof(next), &reply);
		if (status == 0 && !(reply.header.flags & PROTOCOL_MORE))
			break;
		ck_assert_int_eq(status, 0);
		next.cursor += reply.listed.n_rows;
	}
	harness_assert(harness_ask(&conns[!refused], PROTOCOL_WHO_ROWS, &next.header, sizeof(next), &reply) == -ENODATA, "rows once");
	harness_assert(harness_ask(&conns[refused], PROTOCOL_WHO, &request.header, sizeof(request), &reply) == 0, "%s",
	    reply.bytes + sizeof(reply.header));
	harness_say(control, "asked");
	harness_expect(control, "end");
}

static uint64_t
memory_charged(void)
{
	return suite_figure(&looking.daemon, "segmentd_charged{kind=\"memory\"}");
}

LOOKING_TEST(answers_that_are_not_read_are_charged)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct harness_child child;
	struct keeper keeper;
	int fd;

	harness_need_root();
	looking_begin(looking_book, true);
	fd = suite_attach(&looking.conn, "book", SUITE_READ);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "crowd %d", CROWD - 1);
	harness_child_start(&child, leave_unread, NULL);
	harness_expect(child.control, "full");
	ck_assert_uint_eq(memory_charged(), ANSWERS * ANSWER_BYTES);
	/* Others are told all the same. */
	looking_expect(CROWD + 2);	/* with the test and its child */
	harness_say(child.control, "read");
	harness_expect(child.control, "asked");
	ck_assert_uint_eq(memory_charged(), ANSWERS * ANSWER_BYTES);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	while (memory_charged())
		harness_assert(harness_clock_ns() < until_ns, "%" PRIu64 " bytes are charged", memory_charged());
	(void)close(fd);
	looking_end();
}

/* As a uid, with the groups that we have, which the daemon keeps for it. False: it may not have them kept. */
static bool
connect_as(struct harness_conn *conn, uid_t uid)
{
	union suite_request request;
	struct harness_reply reply;
	size_t size = suite_fill_hello(&request, 1);

	*conn = (struct harness_conn)HARNESS_CONN_NULL;
	ck_assert_int_eq(seteuid(uid), 0);
	conn->fd = harness_dial(looking.daemon.socket);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_ge(conn->fd, 0);
	(void)harness_send(conn->fd, request.bytes, size, NULL, 0);
	ck_assert_int_gt(harness_receive(conn->fd, &reply), 0);
	if (reply.header.status == 0)
		return true;
	ck_assert_int_eq(reply.header.status, -EDQUOT);
	harness_close(conn);
	return false;
}

static void
have_groups(size_t n_groups)
{
	static gid_t groups[GROUPS_MAX];

	for (size_t i = 0; i < n_groups; i++)
		groups[i] = (gid_t)(100000 + i);
	harness_assert(setgroups(n_groups, groups) == 0, "setgroups: %s", strerror(errno));
}

/* One uid after the other takes all of it that it is given, until what is left for the next is less than one row takes. */
static void
use_memory_up(int control, void *arg)
{
	struct harness_conn conns[FILLING_MAX];
	unsigned n = 0, n_before;
	uid_t uid = FIRST_UID;

	do {
		n_before = n;
		for (size_t n_groups = GROUPS_MAX; n_groups > GROUPS_FREE; n_groups /= 2) {
			have_groups(n_groups);
			while (n < FILLING_MAX && connect_as(&conns[n], uid))
				n++;
		}
		uid++;
	} while (n > n_before);
	ck_assert_uint_lt(n, FILLING_MAX);
	harness_say(control, "full");
	harness_expect(control, "end");
}

static void
ask_in_want(const gid_t *groups, size_t n_groups)
{
	struct harness_conn conn;
	int n;

	harness_become(groups ? ADMIN : HARNESS_NOBODY, HARNESS_NOBODY, groups, n_groups);
	harness_open(&conn, looking.daemon.socket);
	n = keeper_who(&conn, "book", &looking.told, looking.text, sizeof(looking.text), looking.rows, LOOKING_ROWS);
	if (groups) {
		ck_assert_int_ge(n, SOME);
		ck_assert(!(looking.told.flags & PROTOCOL_TOLD_INCOMPLETE));
	} else {
		ck_assert_int_eq(n, 0);
		ck_assert(looking.told.flags & PROTOCOL_TOLD_INCOMPLETE);
	}
}

static void
administer_in_want(int control, void *arg)
{
	const gid_t group = getgrnam(ADMIN_GROUP)->gr_gid;

	ask_in_want(&group, 1);
}

static void
look_in_want(int control, void *arg)
{
	ask_in_want(NULL, 0);
}

/* Others have used up what all may have: who administers is told all the same, more rows than are there at first. */
LOOKING_TEST(who_administers_is_told_when_memory_is_short)
{
	struct harness_child filling, child;
	struct rlimit limit;
	struct keeper keeper;

	harness_need_root();
	if (!getgrnam(ADMIN_GROUP))
		harness_skip("this host has no group " ADMIN_GROUP);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < 4 * FILLING_MAX)
		harness_skip("RLIMIT_NOFILE is %ju at most, and %d are needed", (uintmax_t)limit.rlim_max, 4 * FILLING_MAX);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	harness_daemon_prepare(&looking.daemon, "memory_reserve = \"16MiB\"; workers = 1; admin_group = \"" ADMIN_GROUP "\";",
	    looking_book);
	harness_daemon_serve_audit(&looking.daemon);
	harness_daemon_launch(&looking.daemon);
	harness_daemon_await_ready(&looking.daemon);
	harness_open(&looking.conn, looking.daemon.socket);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "crowd %d", SOME - 1);
	harness_child_start(&filling, use_memory_up, NULL);
	harness_expect(filling.control, "full");
	harness_child_start(&child, look_in_want, NULL);
	harness_child_await_success(&child);
	harness_child_start(&child, administer_in_want, NULL);
	harness_child_await_success(&child);
	harness_say(filling.control, "end");
	harness_child_await_success(&filling);
	looking_end();
}

LOOKING_TEST(what_cannot_be_asked_is_refused)
{
	union suite_request request = { .show = { .name = "none" } };
	struct harness_reply reply;

	looking_begin("segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; }, { name = \"far\"; size = \"1TiB\"; "
	    "required = false; } );\n", true);
	suite_refused(&looking.conn, PROTOCOL_WHO, &request, sizeof(struct protocol_who), -ENOENT, "no segment");
	memset(&request, 0, sizeof(request));
	suite_refused(&looking.conn, PROTOCOL_WHO_ROWS, &request, sizeof(struct protocol_who_rows), -ENODATA, "asked for no");
	/* One without memory has no holders. */
	ck_assert_int_eq(keeper_who(&looking.conn, "far", &looking.told, NULL, 0, NULL, 0), 0);
	ck_assert_uint_eq(looking.told.generation, 0);
	ck_assert_uint_eq(looking.told.flags, 0);
	/* It goes while it is asked about. */
	memset(&request, 0, sizeof(request));
	(void)snprintf(request.show.name, sizeof(request.show.name), "book");
	harness_fill(&looking.conn, &request.header, PROTOCOL_WHO, sizeof(struct protocol_who));
	ck_assert_int_gt(harness_send(looking.conn.fd, &request, sizeof(struct protocol_who), NULL, 0), 0);
	suite_serves(&looking.daemon);
	ck_assert_int_gt(harness_receive(looking.conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	looking_end();
}

/* segmentd-audit counts its processes otherwise than the daemon does: its pids are no attachments'. */
static void
ask_from_within(void)
{
	int fd, n;

	harness_daemon_launch(&looking.daemon);
	harness_daemon_await_ready(&looking.daemon);
	harness_open(&looking.conn, looking.daemon.socket);
	fd = suite_attach(&looking.conn, "book", SUITE_READ);
	n = looking_who();
	harness_assert(n >= 1, "nobody has it: flags %x, %u of %u hidden: %s", looking.told.flags, looking.told.n_hidden,
	    looking.told.n_seen, looking.text);
	ck_assert(looking.told.flags & PROTOCOL_TOLD_OTHER_PIDS);
	ck_assert_int_eq(looking_holder().pid, getpid());
	for (uint32_t i = 0; i < looking.told.n_rows; i++)
		ck_assert(looking.rows[i].pid != getpid() && looking.rows[i].how & PROTOCOL_HAS_PID_NAMESPACE);
	(void)close(fd);
	looking_end();
}

START_TEST(pids_of_another_namespace_are_told_as_such)
{
	harness_need_root();
	harness_daemon_prepare(&looking.daemon, "memory_reserve = \"16MiB\"; workers = 1;", looking_book);
	harness_daemon_serve_audit(&looking.daemon);
	world_on_own_host(ask_from_within);
	harness_daemon_remove(&looking.daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("whoasked");
	TCase *tcase = tcase_create("whoasked");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, without_rights_there_are_numbers);
	tcase_add_test(tcase, without_the_program_a_sentence_says_so);
	tcase_add_test(tcase, many_may_ask_at_once);
	tcase_add_test(tcase, answers_that_are_not_read_are_charged);
	tcase_add_test(tcase, who_administers_is_told_when_memory_is_short);
	tcase_add_test(tcase, what_cannot_be_asked_is_refused);
	tcase_add_test(tcase, pids_of_another_namespace_are_told_as_such);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
