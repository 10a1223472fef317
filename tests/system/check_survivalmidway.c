/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that is ended in the middle of something: its successor does it, or does it anew, and whoever has a segment notices
 * nothing. A worker that stands still holds the daemon there; the kernel may have been quicker once in a while, and what comes of
 * it is the same then.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/system/actor.h"
#include "tests/system/lasting.h"

#define BOOK		RELOADING_SEGMENT("book", "")
#define DESK		RELOADING_SEGMENT("desk", "")
#define LOCKED		"{ name = \"desk\"; size = \"64KiB\"; }"
#define GROWING(size)	"{ name = \"desk\"; size = \"" size "\"; max_size = \"48MiB\"; mlock = false; }"
#define SCRUBBED	"{ name = \"desk\"; size = \"64KiB\"; scrub = true; mlock = false; }"
#define ZEROED		"{ name = \"ledger\"; size = \"8MiB\"; mlock = false; locks = ( { name = \"all\"; length = \"8MiB\"; " \
			"undo = \"4KiB\"; on_death = \"zero\"; } ); }"
#define SIZE		(64 * 1024)
#define GROWN		(48 << 20)

static const int ends[] = { SIGKILL, SIGUSR2, SIGABRT };
static struct harness_manager manager;
static struct lasting_guest guest;

/* Its worker, which stands still until the daemon has ended. -1: none does. */
static int worker_fd = -1;

static pid_t
find_worker(void)
{
	pid_t pids[16];
	size_t n = harness_children(manager.daemon.pid, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++)
		if (suite_is_worker(pids[i]))
			return pids[i];
	return 0;
}

/* Unless what it is to be held at is done already. */
static void
hold_worker(struct harness_conn *conn, const char *name)
{
	struct protocol_segment row = { .state = PROTOCOL_PROVISIONING };
	pid_t pid;

	while ((pid = find_worker()) == 0 && row.state != PROTOCOL_READY) {
		(void)poll(NULL, 0, 1);		/* a child of another process gives no event */
		ck_assert_int_eq(harness_find(conn, name, &row), 0);
	}
	if (pid)
		worker_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* It may have ended by now. */
	if (worker_fd >= 0)
		(void)syscall(SYS_pidfd_send_signal, worker_fd, SIGSTOP, NULL, 0);
}

/* It may have failed for a moment, while workers of the daemon before are on their way out. */
static void
await_ready(struct harness_conn *conn, const char *name)
{
	while (harness_wait(conn, name) != PROTOCOL_READY)
		(void)poll(NULL, 0, 1);
}

/* One that was stopped before it could ask to end with the daemon would keep what it has for ever. */
static void
end_daemon(int signal)
{
	ck_assert_int_eq(harness_manager_end(&manager, signal), signal == SIGUSR2 ? 0 : -signal);
	if (worker_fd >= 0)
		(void)syscall(SYS_pidfd_send_signal, worker_fd, SIGCONT, NULL, 0);
	close_fd(&worker_fd);
}

/* Returns where the successor's log begins. */
static size_t
end_and_launch(int signal)
{
	size_t length;

	end_daemon(signal);
	length = lasting_log_length(&manager);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	return length;
}

static void
finish(void)
{
	lasting_leave(&guest);
	harness_manager_stop(&manager);
}

static uint64_t
locked_bytes(void)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&guest.conn, "desk", &row), 0);
	return row.locked_bytes;
}

/* In slices, and by workers behind everybody else: who asks without pause would keep them from it. */
static void
await_locked(void)
{
	while (locked_bytes() != SIZE)
		(void)poll(NULL, 0, 1);
}

/* A large one is half made: without a name, or with one. */
static const char *const backends[] = { "memfd", "posix", "sysv" };

START_TEST(while_it_provisions)
{
	char object[64], keys[128] = "", body[512];
	struct protocol_segment row;
	unsigned char *data;
	int fd;

	(void)snprintf(object, sizeof(object), "/segmentd-midway-%d", (int)getpid());
	if (_i == 1)
		(void)snprintf(keys, sizeof(keys), "object = \"%s\";", object);
	(void)snprintf(body, sizeof(body), RELOADING_SEGMENTS(DESK ", { name = \"slow\"; size = \"32MiB\"; mlock = false; required = false; "
	    "backend = \"%s\"; %s }"), backends[_i], keys);
	harness_manager_start(&manager, "workers = 1;", RELOADING_SEGMENTS(DESK));
	lasting_arrive(&guest, &manager, "desk");
	end_daemon(SIGKILL);
	harness_daemon_configure(&manager.daemon, "workers = 1;", body);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		hold_worker(&guest.conn, "slow");
		(void)end_and_launch(ends[i]);
		lasting_expect_same(&guest);
	}
	await_ready(&guest.conn, "slow");
	ck_assert_int_eq(harness_find(&guest.conn, "slow", &row), 0);
	ck_assert_uint_eq(row.resident_bytes, 32 << 20);
	fd = suite_attach(&guest.conn, "slow", SUITE_READ);
	if (_i < 2) {
		data = mmap(NULL, 32 << 20, PROT_READ, MAP_SHARED, fd, 0);
		ck_assert_ptr_ne(data, MAP_FAILED);
		for (size_t at = 0; at < 32 << 20; at += 4096)
			harness_assert(data[at] == 0, "byte %zu is %u", at, data[at]);
		(void)munmap(data, 32 << 20);
	}
	close_fd(&fd);
	finish();
	fd = shm_open(object, O_RDONLY, 0);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(while_it_drains)
{
	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK));
	lasting_arrive(&guest, &manager, "desk");
	(void)lasting_hangup(&manager, NULL, RELOADING_SEGMENTS(BOOK));
	suite_ready(&guest.conn, "book");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		lasting_await_log(&manager, end_and_launch(ends[i]), "2 of 2 segments, 1 of 1 connections, 1 attachments");
		lasting_expect_kept(&guest);
		ck_assert_int_eq(harness_attach(&guest.conn, "desk", SUITE_READ, NULL, NULL), -ESHUTDOWN);
		harness_await_counts(&guest.conn, "desk", 0, 1);
		suite_ready(&guest.conn, "book");
	}
	lasting_leave(&guest);
	harness_open(&guest.conn, manager.daemon.socket);
	harness_await_gone(&guest.conn, "desk");
	finish();
}
END_TEST

/* Who has it was given locked memory, and has it until the end: also of one that is removed while it is locked again. */
START_TEST(what_drains_is_locked_again)
{
	uint64_t figure;

	harness_need_root();
	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(LOCKED));
	lasting_arrive(&guest, &manager, "desk");
	ck_assert_uint_eq(locked_bytes(), SIZE);
	figure = harness_status_figure(manager.daemon.pid, "VmLck:");
	ck_assert_uint_ge(figure, SIZE / 1024);
	ck_assert_int_eq(harness_remove(&guest.conn, "desk", 0), 0);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		(void)end_and_launch(ends[i]);
		await_locked();
		ck_assert_uint_eq(harness_status_figure(manager.daemon.pid, "VmLck:"), figure);
		ck_assert_int_eq(harness_attach(&guest.conn, "desk", SUITE_READ, NULL, NULL), -ESHUTDOWN);
		lasting_expect_kept(&guest);
	}
	/* It is wanted again: nothing of it has changed. */
	(void)lasting_hangup(&manager, NULL, RELOADING_SEGMENTS(LOCKED));
	lasting_expect_same(&guest);
	ck_assert_uint_eq(locked_bytes(), SIZE);
	end_daemon(SIGKILL);
	harness_manager_launch(&manager);
	/* In its first turns, and so before it is locked, or at it, or after. */
	ck_assert_int_eq(harness_remove(&guest.conn, "desk", 0), 0);
	harness_manager_await_ready(&manager);
	await_locked();
	lasting_expect_kept(&guest);
	finish();
}
END_TEST

/* What is wanted is grown to; what is not wanted any more by then is not. */
START_TEST(while_it_grows)
{
	const char *wanted = _i % 2 ? RELOADING_SEGMENTS(GROWING("64KiB")) : RELOADING_SEGMENTS(GROWING("48MiB"));
	struct protocol_segment row;
	struct harness_reply shown;
	size_t length;

	harness_manager_start(&manager, "workers = 1;", RELOADING_SEGMENTS(GROWING("64KiB")));
	lasting_arrive(&guest, &manager, "desk");
	harness_daemon_configure(&manager.daemon, "workers = 1;", RELOADING_SEGMENTS(GROWING("48MiB")));
	ck_assert_int_eq(kill(manager.daemon.pid, SIGHUP), 0);
	do {
		ck_assert_int_eq(harness_find(&guest.conn, "desk", &row), 0);
		ck_assert_int_eq(harness_show(&guest.conn, "desk", &shown), 0);
	} while (row.size_bytes == SIZE && !strstr(harness_reason(&shown), "is being raised to"));
	end_daemon(ends[_i / 2]);
	length = lasting_log_length(&manager);
	harness_daemon_configure(&manager.daemon, "workers = 1;", wanted);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_expect_same(&guest);
	ck_assert_int_eq(harness_find(&guest.conn, "desk", &row), 0);
	if (_i % 2) {
		/* Or it has been done in between, and then it is too late. */
		suite_serves(&manager.daemon);
		reloading_expect_not(lasting_log(&manager, length), "has grown");
	} else if (row.size_bytes == SIZE) {
		lasting_await_log(&manager, length, "'desk' has grown from 64 KiB to 48 MiB");
		ck_assert_int_eq(harness_find(&guest.conn, "desk", &row), 0);
	}
	if (!(_i % 2))
		ck_assert_uint_eq(row.size_bytes, GROWN);
	lasting_expect_same(&guest);
	finish();
}
END_TEST

/* Its bytes are worth nothing to anybody any more, and the next one gets zeros. */
START_TEST(while_it_scrubs)
{
	struct harness_conn conn = HARNESS_CONN_NULL, last = HARNESS_CONN_NULL;
	struct protocol_segment row;
	char bytes[SIZE];
	int fd = -1;

	harness_manager_start(&manager, "workers = 1;", RELOADING_SEGMENTS(SCRUBBED));
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		lasting_arrive(&guest, &manager, "desk");
		harness_open(&conn, manager.daemon.socket);
		hold_worker(&conn, "desk");
		close_fd(&fd);
		harness_close(&last);
		lasting_leave(&guest);
		/* With another worker it may be done already. */
		do {
			(void)poll(NULL, 0, 1);
			ck_assert_int_eq(harness_find(&conn, "desk", &row), 0);
		} while (row.state == PROTOCOL_READY && row.writers);
		harness_close(&conn);
		(void)end_and_launch(ends[i]);
		/* Its next tenant stays until there is another: it is not scrubbed once more meanwhile. */
		harness_open(&last, manager.daemon.socket);
		do {
			suite_ready(&last, "desk");
			fd = -1;
		} while (harness_attach(&last, "desk", SUITE_READ, NULL, &fd) == -EAGAIN);
		ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
		for (size_t at = 0; at < sizeof(bytes); at++)
			harness_assert(bytes[at] == 0, "byte %zu is %d", at, bytes[at]);
	}
	close_fd(&fd);
	harness_close(&last);
	harness_manager_stop(&manager);
}
END_TEST

/* A lock whose bytes a worker puts right is claimed: the next daemon goes on with it, and it counts as one recovery. */
START_TEST(while_it_recovers)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_lock row;
	struct actor owner, other;

	harness_manager_start(&manager, "workers = 1;", RELOADING_SEGMENTS(ZEROED));
	harness_open(&conn, manager.daemon.socket);
	conn.is_lasting = true;
	suite_ready(&conn, "ledger");
	actor_start(&other, manager.daemon.socket, "ledger");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		actor_start(&owner, manager.daemon.socket, "ledger");
		actor_must(&owner, 0, "lock all");
		actor_must(&owner, 0, "set all %d 77", 1000 + i);
		hold_worker(&conn, "ledger");
		actor_kill(&owner);
		harness_await_counts(&conn, "ledger", 0, 1);
		(void)end_and_launch(ends[i]);
		actor_await_recoveries(&conn, "ledger", "all", i + 1, &row);
		actor_must(&other, 0, "lock all");
		actor_must(&other, 1, "recovered all");
		for (unsigned k = 0; k <= i; k++)
			actor_must(&other, 0, "get all %d", 1000 + k);
		actor_must(&other, 0, "unlock all");
		actor_look(&conn, "ledger", "all", &row);
		ck_assert_uint_eq(row.n_recoveries, i + 1);
		ck_assert_uint_eq(row.flags, 0);
		harness_await_counts(&conn, "ledger", 0, 1);
	}
	actor_kill(&other);
	harness_close(&conn);
	harness_manager_stop(&manager);
}
END_TEST

/* The service manager kills what its watchdog finds hung. */
START_TEST(while_it_hangs)
{
	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK));
	lasting_arrive(&guest, &manager, "desk");
	ck_assert_int_eq(kill(manager.daemon.pid, SIGSTOP), 0);
	(void)end_and_launch(SIGKILL);
	lasting_expect_same(&guest);
	finish();
}
END_TEST

/* Neither the new pair nor the end of the old one was heard of. */
START_TEST(while_it_renews_the_box)
{
	struct harness_conn conn = HARNESS_CONN_NULL;

	harness_manager_start(&manager, NULL, RELOADING_SEGMENTS(DESK ", " BOOK));
	lasting_arrive(&guest, &manager, "desk");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ends); i++) {
		harness_open(&conn, manager.daemon.socket);
		suite_ready(&conn, "book");
		harness_manager_set_deaf(&manager, true);
		/* A segment that goes renews it. */
		ck_assert_int_eq(harness_remove(&conn, "book", 0), 0);
		harness_close(&conn);
		end_daemon(ends[i]);
		harness_manager_set_deaf(&manager, false);
		harness_manager_launch(&manager);
		harness_manager_await_ready(&manager);
		lasting_expect_same(&guest);
	}
	finish();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalmidway");
	TCase *tcase = tcase_create("midway");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, while_it_provisions, 0, BASE_ARRAY_SIZE(backends));
	tcase_add_test(tcase, while_it_drains);
	tcase_add_test(tcase, what_drains_is_locked_again);
	tcase_add_loop_test(tcase, while_it_grows, 0, 2 * BASE_ARRAY_SIZE(ends));
	tcase_add_test(tcase, while_it_scrubs);
	tcase_add_test(tcase, while_it_recovers);
	tcase_add_test(tcase, while_it_hangs);
	tcase_add_test(tcase, while_it_renews_the_box);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
