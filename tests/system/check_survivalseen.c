/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a successor believes of what it finds: numbers that were given are not given again, a descriptor is what its row says or
 * nothing, a request that had its effect has no other, and who died meanwhile is dead. Rows are changed here as only damage, or the
 * worst moment for a kill, would leave them.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "client/control.h"
#include "daemon/ledger_rows.h"
#include "tests/harness_manager.h"
#include "tests/system/actor.h"

#define IDS_APART	65536		/* as a successor leaves */

#define MEMFD	"segments = ( { name = \"a\"; size = \"64KiB\"; mlock = false; } );"
#define LOCKED	"segments = ( { name = \"a\"; size = \"64KiB\"; mlock = false; " \
	"locks = ( { name = \"all\"; length = \"4KiB\"; undo = \"4KiB\"; } ); } );"
#define SCRATCH	"templates = ( { name = \"scratch-%U-\"; max_size = \"64KiB\"; mlock = false; } );"

static struct harness_manager manager;

/* Killed, when all that was answered has been taken from its queue; but for the request of a connection that goes with it. */
static void
kill_it(void)
{
	struct harness_conn pulse = HARNESS_CONN_NULL;
	struct protocol_segment row;

	harness_open(&pulse, manager.daemon.socket);
	(void)harness_find(&pulse, "none", &row);
	ck_assert_int_eq(harness_manager_end(&manager, SIGKILL), -SIGKILL);
	harness_close(&pulse);
}

static void
start_it(void)
{
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
}

static void
restart_it(void)
{
	kill_it();
	start_it();
}

/* To its last request; what an earlier daemon answered already comes before it. */
static void
expect_reply(struct harness_conn *conn)
{
	struct harness_reply reply;

	do {
		harness_assert(harness_receive(conn->fd, &reply) > 0, "the connection was hung up");
		for (unsigned i = 0; i < reply.n_fds; i++)
			(void)close(reply.fds[i]);
	} while (reply.header.serial != conn->serial);
	ck_assert_int_eq(reply.header.status, 0);
}

typedef void (*change_fn)(struct ledger_row *row, uint64_t value);

/* Changes the row of that kind, and of this session or in this segment's first place, while there is no daemon. */
static void
change_row(enum ledger_kind kind, uint64_t id, change_fn change, uint64_t value)
{
	struct ledger_row row;
	char path[sizeof(manager.daemon.state) + 16];
	unsigned n_changed = 0;
	off_t offset;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" LEDGER_FILE, manager.daemon.state);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	for (offset = sizeof(row); pread(fd, &row, sizeof(row), offset) == sizeof(row); offset += (off_t)sizeof(row)) {
		if (row.kind != kind || (kind == LEDGER_SESSION && row.body.session.id != id))
			continue;
		change(&row, value);
		row.sum = ledger_sum(&row);
		ck_assert_int_eq(pwrite(fd, &row, sizeof(row), offset), (ssize_t)sizeof(row));
		n_changed++;
	}
	(void)close(fd);
	ck_assert_uint_eq(n_changed, 1);
}

static void
set_last_id(struct ledger_row *row, uint64_t value)
{
	row->body.segment.last_id = (uint32_t)value;
}

START_TEST(ids_are_not_given_again)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached first, second;
	int first_fd, second_fd;

	harness_manager_start(&manager, NULL, MEMFD);
	restart_it();
	harness_open(&conn, manager.daemon.socket);
	ck_assert_int_eq(harness_attach(&conn, "a", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, &first, &first_fd), 0);
	ck_assert_uint_gt(first.attachment, IDS_APART);
	kill_it();
	/* As it is when so many have come and gone since the segment's row was written. */
	change_row(LEDGER_SEGMENT, 0, set_last_id, first.attachment - IDS_APART - 1);
	start_it();
	ck_assert_int_eq(harness_attach(&conn, "a", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, &second, &second_fd), 0);
	harness_assert(second.attachment > first.attachment, "id %u was given again, as %u", first.attachment, second.attachment);
	(void)close(first_fd);
	harness_await_counts(&conn, "a", 0, 1);
	(void)close(second_fd);
	harness_await_counts(&conn, "a", 0, 0);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

START_TEST(ids_come_round)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached first, second;
	int first_fd, second_fd;

	harness_manager_start(&manager, NULL, MEMFD);
	restart_it();
	harness_open(&conn, manager.daemon.socket);
	ck_assert_int_eq(harness_attach(&conn, "a", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, &first, &first_fd), 0);
	kill_it();
	/* The next one would be the one that is in use. */
	change_row(LEDGER_SEGMENT, 0, set_last_id, CONTROL_ID_MAX + first.attachment - 1 - IDS_APART);
	start_it();
	ck_assert_int_eq(harness_attach(&conn, "a", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, &second, &second_fd), 0);
	ck_assert_uint_ne(first.attachment, second.attachment);
	(void)close(first_fd);
	(void)close(second_fd);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

START_TEST(hello_may_be_said_again)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_hello hello = {
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct harness_reply reply;
	struct protocol_segment row;

	harness_manager_start(&manager, NULL, MEMFD);
	harness_open(&conn, manager.daemon.socket);
	restart_it();
	/* What is in the queue still when it was killed between the answer and the next look at it. */
	conn.serial--;
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_HELLO, &hello.header, sizeof(hello), &reply), 0);
	ck_assert_uint_eq(reply.welcome.session, conn.session);
	ck_assert_int_eq(harness_find(&conn, "a", &row), 0);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

static void
set_doing(struct ledger_row *row, uint64_t value)
{
	row->body.session.doing_serial = value;
}

/* A removal that may have had its effect when the daemon was killed, or none: is_done. */
static void
redo_removal(bool is_done)
{
	struct harness_conn conn = HARNESS_CONN_NULL, other = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	struct protocol_segment row;
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "scratch-%u-x", (unsigned)getuid());
	harness_manager_start(&manager, NULL, SCRATCH);
	harness_open(&conn, manager.daemon.socket);
	if (!is_done)
		ck_assert_int_eq(harness_create(&conn, name, 4096, &attached, &fd), 0);
	kill_it();
	change_row(LEDGER_SESSION, conn.session, set_doing, conn.serial + 1);
	start_it();
	/* Nobody has asked yet. */
	restart_it();
	harness_open(&other, manager.daemon.socket);
	if (is_done)
		ck_assert_int_eq(harness_create(&other, name, 4096, &attached, &fd), 0);
	else
		ck_assert_int_eq(harness_find(&other, name, &row), 0);
	ck_assert_int_eq(harness_remove(&conn, name, PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_find(&other, name, &row), is_done ? 0 : -ENOENT);
	/* The next one is a request like any other. */
	ck_assert_int_eq(harness_remove(&conn, name, PROTOCOL_REMOVE_NOW), is_done ? 0 : -ENOENT);
	ck_assert_int_eq(harness_find(&other, name, &row), -ENOENT);
	(void)close(fd);
	harness_close(&other);
	harness_close(&conn);
	harness_manager_stop(&manager);
}

START_TEST(a_removal_that_was_done_takes_no_other)
{
	redo_removal(true);
}
END_TEST

START_TEST(a_removal_that_was_not_done_is_done)
{
	redo_removal(false);
}
END_TEST

static void
set_socket_inode(struct ledger_row *row, uint64_t value)
{
	row->body.session.socket_inode = value;
}

START_TEST(a_connection_is_its_rows_or_nobodys)
{
	struct harness_conn conn = HARNESS_CONN_NULL, other = HARNESS_CONN_NULL;
	struct protocol_segment row;

	harness_manager_start(&manager, NULL, MEMFD);
	harness_open(&conn, manager.daemon.socket);
	harness_open(&other, manager.daemon.socket);
	kill_it();
	change_row(LEDGER_SESSION, conn.session, set_socket_inode, 1);
	start_it();
	harness_expect_hangup(conn.fd);
	ck_assert_int_eq(harness_find(&other, "a", &row), 0);
	harness_close(&other);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

static void
set_process(struct ledger_row *row, uint64_t value)
{
	row->body.session.process = value;
}

/* As where the kernel names no process any more, or another that has got the number. */
START_TEST(a_connection_of_the_dead_is_served_and_ends)
{
	struct harness_conn conn = HARNESS_CONN_NULL, other = HARNESS_CONN_NULL;
	struct protocol_detach detach = { 0 };
	struct protocol_attached attached;
	int fd;

	harness_manager_start(&manager, NULL, MEMFD);
	harness_open(&conn, manager.daemon.socket);
	harness_open(&other, manager.daemon.socket);
	ck_assert_int_eq(harness_attach(&conn, "a", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
	kill_it();
	change_row(LEDGER_SESSION, conn.session, set_process, 1);
	detach.attachment = attached.attachment;
	detach.generation = attached.generation;
	harness_fill(&conn, &detach.header, PROTOCOL_DETACH, sizeof(detach));
	ck_assert_int_eq(harness_send(conn.fd, &detach, sizeof(detach), NULL, 0), (ssize_t)sizeof(detach));
	start_it();
	expect_reply(&conn);
	harness_expect_hangup(conn.fd);
	(void)close(fd);
	harness_await_counts(&other, "a", 0, 0);
	harness_close(&other);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

static void
set_data_inode(struct ledger_row *row, uint64_t value)
{
	row->body.segment.data_inode = value;
}

static void
set_control_inode(struct ledger_row *row, uint64_t value)
{
	row->body.segment.control_inode = value;
}

/* Nobody gets memory that is not this segment's: it is made anew, and that is said. */
static void
expect_made_anew(change_fn change)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment before, after;

	harness_manager_start(&manager, NULL, LOCKED);
	harness_open(&conn, manager.daemon.socket);
	ck_assert_int_eq(harness_find(&conn, "a", &before), 0);
	kill_it();
	change_row(LEDGER_SEGMENT, 0, change, 1);
	start_it();
	harness_daemon_await_log(&manager.daemon, "cannot be taken over with its contents");
	ck_assert_int_eq(harness_find(&conn, "a", &after), 0);
	ck_assert_uint_ne(before.generation, after.generation);
	harness_close(&conn);
	harness_manager_stop(&manager);
}

START_TEST(memory_is_its_rows_or_nobodys)
{
	expect_made_anew(set_data_inode);
}
END_TEST

START_TEST(control_memory_is_its_rows_or_nobodys)
{
	expect_made_anew(set_control_inode);
}
END_TEST

/* Its connection is somebody else's by then, who has the memory, too: nothing but its own end tells that it is gone. */
START_TEST(who_dies_while_there_is_no_daemon_is_dead)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct actor owner, other;
	struct protocol_lock row;
	pid_t heir;

	harness_manager_start(&manager, NULL, LOCKED);
	harness_open(&conn, manager.daemon.socket);
	actor_start(&owner, manager.daemon.socket, "a");
	actor_start(&other, manager.daemon.socket, "a");
	actor_must(&owner, 0, "lock all");
	actor_must(&owner, 0, "set all 1 77");
	heir = (pid_t)actor_do(&owner, "fork");
	kill_it();
	actor_kill(&owner);
	start_it();
	actor_await_recoveries(&conn, "a", "all", 1, &row);
	actor_must(&other, 0, "lock all");
	actor_must(&other, 1, "recovered all");
	actor_must(&other, 0, "get all 1");
	actor_must(&other, 0, "unlock all");
	ck_assert_int_eq(kill(heir, SIGKILL), 0);
	harness_await_counts(&conn, "a", 0, 1);
	actor_kill(&other);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

/* Grown by the configuration that its successor is started with: what was there is locked, and what comes. */
START_TEST(what_grows_over_a_restart_is_locked_whole)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;

	harness_need_root();
	harness_manager_start(&manager, NULL,
	    "segments = ( { name = \"a\"; size = \"256KiB\"; max_size = \"1MiB\"; scrub = true; } );");
	harness_open(&conn, manager.daemon.socket);
	kill_it();
	harness_daemon_configure(&manager.daemon, NULL,
	    "segments = ( { name = \"a\"; size = \"512KiB\"; max_size = \"1MiB\"; scrub = true; } );");
	start_it();
	do
		ck_assert_int_eq(harness_find(&conn, "a", &row), 0);
	while (row.size_bytes != 512 << 10);
	harness_assert(row.locked_bytes == 512 << 10, "%ju bytes are locked", (uintmax_t)row.locked_bytes);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalseen");
	TCase *tcase = tcase_create("survivalseen");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, ids_are_not_given_again);
	tcase_add_test(tcase, ids_come_round);
	tcase_add_test(tcase, hello_may_be_said_again);
	tcase_add_test(tcase, a_removal_that_was_done_takes_no_other);
	tcase_add_test(tcase, a_removal_that_was_not_done_is_done);
	tcase_add_test(tcase, a_connection_is_its_rows_or_nobodys);
	tcase_add_test(tcase, a_connection_of_the_dead_is_served_and_ends);
	tcase_add_test(tcase, memory_is_its_rows_or_nobodys);
	tcase_add_test(tcase, control_memory_is_its_rows_or_nobodys);
	tcase_add_test(tcase, who_dies_while_there_is_no_daemon_is_dead);
	tcase_add_test(tcase, what_grows_over_a_restart_is_locked_whole);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
