/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration that was changed while no daemon ran: what differs is carried out as by a reload, and said, while whoever has
 * a segment notices what it would of a reload and nothing else.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/system/lasting.h"

#define BOOK	RELOADING_SEGMENT("book", "")
#define SIZED(size)	"{ name = \"desk\"; size = \"" size "\"; max_size = \"1MiB\"; prefault = false; mlock = false; }"
#define DESK(keys)	RELOADING_SEGMENT("desk", keys)
#define SCRATCH(keys)	"templates = ( { name = \"t-\"; max_size = \"1MiB\"; lifetime = \"persistent\"; prefault = false; " \
			"mlock = false; " keys " } );\n"

static const int signals[] = { SIGKILL, SIGUSR2 };
static struct harness_manager manager;
static struct lasting_guest guest;

/* What a definition becomes while a guest has it, and what the log says. */
static const struct change {
	const char *daemon_keys;
	const char *body;
	const char *said;
	bool is_closed;			/* nobody else gets the guest's */
	bool is_anew;			/* but another one once the guest has left */
	bool is_gone_after;		/* or none */
} changes[] = {
	{ NULL, RELOADING_SEGMENTS(DESK("mode = \"0640\";")), "reload: changed desk: mode" },
	{ NULL, RELOADING_SEGMENTS(DESK("owner = \"65534\";")), "reload: changed desk: owner" },
	{ NULL, RELOADING_SEGMENTS("{ name = \"desk\"; size = \"64KiB\"; backend = \"sysv\"; mlock = false; }"), "reload: refused desk: "
	    "backend \"memfd\" -> \"sysv\"" },
	{ NULL, RELOADING_SEGMENTS(DESK("max_size = \"2MiB\";")), "reload: refused desk: max_size \"64KiB\" -> \"2MiB\": nothing of "
	    "this is done" },
	{ NULL, RELOADING_SEGMENTS(DESK("locks = ( { name = \"l\"; offset = 0; length = 64; } );")), "reload: waits desk: locks: \"l\" added",
	    .is_anew = true },
	{ NULL, RELOADING_SEGMENTS(BOOK), "reload: removed desk: nobody attaches it any more; it stays until 1 attachment ends: pid",
	    .is_closed = true, .is_gone_after = true },
	{ NULL, RELOADING_SEGMENTS(DESK("") ", " BOOK) SCRATCH("max_count = 2;"), "'book' (64 KiB) is ready" },
	{ "keep_sessions = false;", RELOADING_SEGMENTS(DESK("")), "taken over" },
};

static void
end_daemon(int signal)
{
	ck_assert_int_eq(harness_manager_end(&manager, signal), signal == SIGKILL ? -SIGKILL : 0);
}

/* Started by another configuration: its log from there on has the text. */
static void
begin_daemon(const char *daemon_keys, const char *body, const char *text)
{
	size_t length = lasting_log_length(&manager);

	harness_daemon_configure(&manager.daemon, daemon_keys, body);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_await_log(&manager, length, text);
}

START_TEST(what_differs_is_carried_out)
{
	const struct change *change = &changes[_i / BASE_ARRAY_SIZE(signals)];
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK("")));
	lasting_arrive(&guest, &manager, "desk");
	end_daemon(signals[_i % BASE_ARRAY_SIZE(signals)]);
	begin_daemon(change->daemon_keys, change->body, change->said);
	lasting_expect_kept(&guest);
	if (change->is_closed)
		ck_assert_int_eq(harness_attach(&guest.conn, "desk", SUITE_READ, NULL, NULL), -ESHUTDOWN);
	else
		lasting_expect_same(&guest);
	lasting_leave(&guest);
	harness_open(&conn, manager.daemon.socket);
	if (change->is_gone_after) {
		harness_await_gone(&conn, "desk");
	} else {
		harness_await_counts(&conn, "desk", 0, 0);
		suite_ready(&conn, "desk");
		ck_assert_int_eq(harness_find(&conn, "desk", &row), 0);
		ck_assert_int_eq(row.generation == guest.attached.generation, !change->is_anew);
	}
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

/* Lower than what is in use: that stays, and nothing comes to it. */
START_TEST(limits_that_are_lower)
{
	struct harness_conn more = HARNESS_CONN_NULL;
	struct lasting_guest other;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK("") ", " BOOK));
	lasting_arrive(&guest, &manager, "desk");
	lasting_arrive(&other, &manager, "book");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		end_daemon(signals[i]);
		begin_daemon("limits = { clients = 1; attachments = 1; };", RELOADING_SEGMENTS(DESK("") ", " BOOK), "2 of 2 segments, 2 of 2 "
		    "connections, 2 attachments");
		lasting_expect_kept(&guest);
		lasting_expect_kept(&other);
		ck_assert_int_eq(harness_attach(&guest.conn, "desk", SUITE_READ, NULL, NULL), -EDQUOT);
		more.fd = harness_dial(manager.daemon.socket);
		ck_assert_int_ge(more.fd, 0);
		suite_farewell(more.fd, -EDQUOT, "", "a connection beyond the limit");
		close_fd(&more.fd);
	}
	ck_assert_int_eq(harness_detach(&other.conn, &other.attached), 0);
	lasting_leave(&other);
	lasting_leave(&guest);
	harness_manager_stop(&manager);
}
END_TEST

START_TEST(a_size_that_was_raised)
{
	struct protocol_segment row;
	size_t length;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(SIZED("64KiB")));
	lasting_arrive(&guest, &manager, "desk");
	length = lasting_log_length(&manager);
	(void)lasting_restart(&manager, NULL, RELOADING_SEGMENTS(SIZED("512KiB")));
	lasting_await_log(&manager, length, "reload: grown desk");
	lasting_await_log(&manager, length, "'desk' has grown from 64 KiB to 512 KiB");
	lasting_expect_same(&guest);
	ck_assert_int_eq(harness_find(&guest.conn, "desk", &row), 0);
	ck_assert_uint_eq(row.size_bytes, 512 * 1024);
	/* Smaller is never: said, and said again. */
	length = lasting_log_length(&manager);
	(void)lasting_restart(&manager, NULL, RELOADING_SEGMENTS(SIZED("64KiB")));
	lasting_await_log(&manager, length, "reload: refused desk: size");
	lasting_expect_same(&guest);
	lasting_leave(&guest);
	harness_manager_stop(&manager);
}
END_TEST

START_TEST(a_segment_that_nobody_has_is_removed)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	size_t length;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK("")));
	length = lasting_log_length(&manager);
	(void)lasting_restart(&manager, NULL, RELOADING_SEGMENTS(RELOADING_SEGMENT("renamed", "")));
	lasting_await_log(&manager, length, "reload: removed desk: nobody holds it, its contents go");
	harness_open(&conn, manager.daemon.socket);
	harness_await_gone(&conn, "desk");
	suite_ready(&conn, "renamed");
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

/* What was created from it stays, and counts when it is there again. */
START_TEST(a_template_that_changes_and_goes)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	struct protocol_segment row;
	cleanup_close int fd = -1;
	static const struct {
		const char *body;
		int answer;
	} steps[] = {
		{ SCRATCH("max_count = 1; mode = \"0640\";"), -EDQUOT },
		{ "", -EPERM },
		{ SCRATCH("max_count = 1;"), -EDQUOT },
		{ SCRATCH("max_count = 2;"), 0 },
	};

	harness_manager_start(&manager, NULL, SCRATCH("max_count = 2;"));
	harness_open(&conn, manager.daemon.socket);
	conn.is_lasting = true;
	ck_assert_int_eq(harness_create(&conn, "t-one", 4096, &attached, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "kept", 4, 0), 4);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(steps); i++) {
		char bytes[4];
		int again;

		end_daemon(signals[i % 2]);
		begin_daemon(NULL, steps[i].body, "1 of 1 segments, 1 of 1 connections, 1 attachments");
		ck_assert_int_eq(harness_find(&conn, "t-one", &row), 0);
		ck_assert_uint_eq(row.generation, attached.generation);
		again = suite_attach(&conn, "t-one", SUITE_READ);
		ck_assert_int_eq(pread(again, bytes, 4, 0), 4);
		ck_assert_int_eq(memcmp(bytes, "kept", 4), 0);
		(void)close(again);
		harness_await_counts(&conn, "t-one", 0, 1);
		ck_assert_int_eq(harness_create(&conn, "t-two", 4096, NULL, NULL), steps[i].answer);
	}
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

/* It has what its segments are known by in the one where it was. */
START_TEST(another_state_dir_is_not_moved_to)
{
	char state[96], there[128];
	struct stat st;
	const char *log;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK("")));
	lasting_arrive(&guest, &manager, "desk");
	memcpy(state, manager.daemon.state, sizeof(state));
	(void)snprintf(manager.daemon.state, sizeof(manager.daemon.state), "%s/elsewhere", manager.daemon.dir);
	for (unsigned i = 0; i < 2; i++) {
		log = lasting_restart(&manager, NULL, RELOADING_SEGMENTS(DESK("")));
		reloading_expect(log, "daemon.state_dir: ");
		reloading_expect(log, "not done, since the segmentd before this one has segments in use");
		lasting_expect_same(&guest);
	}
	(void)snprintf(there, sizeof(there), "%s/ledger", state);
	ck_assert_int_eq(stat(there, &st), 0);
	(void)snprintf(there, sizeof(there), "%s/elsewhere/ledger", manager.daemon.dir);
	ck_assert_int_ne(stat(there, &st), 0);
	/* After a stop it is. */
	lasting_leave(&guest);
	ck_assert_int_eq(harness_manager_end(&manager, SIGTERM), 0);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	ck_assert_int_eq(stat(there, &st), 0);
	harness_manager_stop(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalchanged");
	TCase *tcase = tcase_create("changed");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, what_differs_is_carried_out, 0, (int)(BASE_ARRAY_SIZE(changes) * BASE_ARRAY_SIZE(signals)));
	tcase_add_test(tcase, limits_that_are_lower);
	tcase_add_test(tcase, a_size_that_was_raised);
	tcase_add_test(tcase, a_segment_that_nobody_has_is_removed);
	tcase_add_test(tcase, a_template_that_changes_and_goes);
	tcase_add_test(tcase, another_state_dir_is_not_moved_to);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
