/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Asking who has a segment: without rights, without segmentd-audit, by many, and by those who do not read the answer. */
#include "config.h"

#include <inttypes.h>
#include <signal.h>

#include "tests/system/looking.h"
#include "tests/system/stranger.h"

#define CROWD		300
#define ANSWER_BYTES	(512 * sizeof(struct protocol_process))	/* of one about so many */
#define ANSWERS		((int)(32 * MIB / ANSWER_BYTES))	/* that a uid may leave unread */

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
	uint64_t until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
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
		harness_assert(clock_monotonic_ns() < until_ns, "%" PRIu64 " bytes are charged", memory_charged());
	(void)close(fd);
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
	tcase_add_test(tcase, what_cannot_be_asked_is_refused);
	tcase_add_test(tcase, pids_of_another_namespace_are_told_as_such);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
