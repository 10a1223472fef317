/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A successor that finds the service manager's store otherwise than the daemon before left it: what is there is taken over, and
 * what is not is told: which segment, how large, and who had it.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/box_pair.h"
#include "tests/system/lasting.h"

#define DESK	RELOADING_SEGMENT("desk", "")
#define BOOK	RELOADING_SEGMENT("book", "")
#define TWO	RELOADING_SEGMENTS(DESK ", " BOOK)

static struct harness_manager manager;
static struct lasting_guest guest, other;

static void
begin(void)
{
	harness_manager_start(&manager, NULL, TWO);
	lasting_arrive(&guest, &manager, "desk");
	lasting_arrive(&other, &manager, "book");
}

static void
end(void)
{
	lasting_leave(&guest);
	lasting_leave(&other);
	harness_manager_stop(&manager);
}

static void
expect_both_same(void)
{
	lasting_expect_same(&guest);
	lasting_expect_same(&other);
}

/* The sentence of what is lost. */
static void
expect_told(const char *log, const struct lasting_guest *lost, const char *why)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "segment '%s' of the segmentd before this one (generation %" PRIu64 ", 64 KiB) cannot be taken "
	    "over with its contents: %s", lost->name, lost->attached.generation, why);
	reloading_expect(log, text);
	(void)snprintf(text, sizeof(text), "its memory stays with who had it attached: pid %d (uid %u)", (int)getpid(), getuid());
	reloading_expect(log, text);
}

/* Killed and started again, as it is configured; what it logged since. */
static const char *
restart(void)
{
	return lasting_restart(&manager, NULL, TWO);
}

/* The end of the newest pair of the box that is stored. */
static int
stored_end(char side)
{
	uint64_t newest = 0;
	int fd = -1;

	for (unsigned i = 0; i < manager.n_stored; i++) {
		uint64_t n;
		char c;

		if (sscanf(manager.stored[i].name, "box-%" SCNu64 "-%c", &n, &c) == 2 && c == side && n >= newest) {
			newest = n;
			fd = manager.stored[i].fd;
		}
	}
	harness_assert(fd >= 0, "the box has no end '%c'", side);
	return fd;
}

START_TEST(a_store_that_keeps_nothing)
{
	const char *log;

	harness_manager_prepare(&manager, NULL, TWO);
	manager.max = (unsigned)_i;
	manager.stores_nothing = _i == 0;
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_arrive(&guest, &manager, "desk");
	harness_daemon_await_log(&manager.daemon, "FileDescriptorStoreMax=");
	log = restart();
	expect_told(log, &guest, "no descriptor of it was kept by a service manager");
	reloading_expect(log, "2 of its 2 segments are lost");
	lasting_expect_hangup(&guest);
	lasting_expect_lost(&guest, &manager);

	/* With room it is as ever. */
	harness_manager_lock(&manager);
	manager.max = 64;
	manager.stores_nothing = false;
	harness_manager_unlock(&manager);
	lasting_leave(&guest);
	(void)restart();
	lasting_arrive(&guest, &manager, "desk");
	lasting_arrive(&other, &manager, "book");
	(void)restart();
	expect_both_same();
	end();
}
END_TEST

START_TEST(names_of_others_and_names_twice)
{
	int memory = memfd_create("foreign", MFD_CLOEXEC), ends[2], pipes[2];
	static const char *const names[] = { "of-somebody", "box-", "box-1-a", "box-1-b", "box-1", "box-99999999999999999999-a", "state-dir",
	    "segmentd.socket", "other.socket" };
	int listens = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), streams = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_un unnamed = { .sun_family = AF_UNIX };
	const char *log;

	begin();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	/* Wherever they listen: the kernel finds a name for them. */
	ck_assert_int_eq(bind(listens, (const struct sockaddr *)&unnamed, sizeof(unnamed.sun_family)) | listen(listens, 1), 0);
	ck_assert_int_eq(bind(streams, (const struct sockaddr *)&unnamed, sizeof(unnamed.sun_family)) | listen(streams, 1), 0);
	for (int signal = SIGKILL, round = 0; round < 2; round++, signal = SIGUSR2) {
		(void)harness_manager_end(&manager, signal);
		for (unsigned i = 0; i < BASE_ARRAY_SIZE(names); i++) {
			harness_manager_store(&manager, names[i], memory);
			harness_manager_store(&manager, names[i], ends[0]);
			harness_manager_store(&manager, names[i], pipes[1]);
			if (i < 2)
				continue;
			harness_manager_store(&manager, names[i], listens);
			harness_manager_store(&manager, names[i], streams);
		}
		harness_manager_launch(&manager);
		harness_manager_await_ready(&manager);
		expect_both_same();
		log = harness_daemon_log(&manager.daemon);
		reloading_expect(log, "'of-somebody', which is not known: removed");
		reloading_expect(log, "'box-', which is not known: removed");
		reloading_expect(log, "'other.socket', which is not known, a socket that nobody serves");
		reloading_expect(log, "'segmentd.socket', which is not known, a socket that nobody serves");
		ck_assert_uint_eq(harness_manager_count(&manager, "other."), 0);
		ck_assert_uint_eq(harness_manager_count(&manager, "segmentd."), 0);
		ck_assert_uint_eq(harness_manager_count(&manager, "of-"), 0);
		(void)restart();
		expect_both_same();
		ck_assert_uint_eq(harness_manager_count(&manager, "state-dir"), 1);
	}
	end();
}
END_TEST

/* Of one end's queue nothing is there any more: of what there was when it was filled, or of what came since. */
START_TEST(a_box_is_cut_short)
{
	struct harness_conn late = HARNESS_CONN_NULL;
	char byte[64];
	const char *log;
	unsigned n = 0;
	bool has_filled = _i == 0;

	begin();
	(void)restart();
	harness_open(&late, manager.daemon.socket);
	late.is_lasting = true;
	(void)harness_manager_end(&manager, SIGKILL);
	while (recv(stored_end(has_filled ? 'b' : 'a'), byte, sizeof(byte), MSG_DONTWAIT) > 0)
		n++;
	harness_assert(n > 0, "there was nothing in it");
	n = (unsigned)lasting_log_length(&manager);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	log = lasting_log(&manager, n);
	if (has_filled) {
		reloading_expect(log, "2 of 2 segments, 2 of 3 connections");
		expect_both_same();
		harness_close(&late);
	} else {
		reloading_expect(log, "0 of 2 segments, 1 of 3 connections");
		expect_told(log, &guest, "it is not there any more");
		expect_told(log, &other, "it is not there any more");
		lasting_expect_hangup(&guest);
		lasting_expect_lost(&guest, &manager);
		ck_assert_int_eq(harness_find(&late, "desk", &(struct protocol_segment) { 0 }), 0);
		harness_close(&late);
	}
	end();
}
END_TEST

START_TEST(one_end_of_the_box_is_lost)
{
	char prefix[64] = "";

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	for (unsigned i = 0; i < manager.n_stored; i++)
		if (strstr(manager.stored[i].name, _i ? "-a" : "-b") && strncmp(manager.stored[i].name, "box-", 4) == 0)
			(void)snprintf(prefix, sizeof(prefix), "%.60s", manager.stored[i].name);
	harness_manager_drop(&manager, prefix);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	lasting_expect_kept(&guest);
	lasting_expect_kept(&other);
	if (strstr(harness_daemon_log(&manager.daemon), "2 of 2 segments")) {
		lasting_leave(&guest);
		lasting_arrive(&guest, &manager, "desk");
	} else {
		reloading_expect(harness_daemon_log(&manager.daemon), "cannot be taken over with its contents");
		lasting_expect_lost(&guest, &manager);
	}
	end();
}
END_TEST

START_TEST(rows_without_a_box)
{
	const char *log;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	harness_manager_drop(&manager, "box-");
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	log = harness_daemon_log(&manager.daemon);
	expect_told(log, &guest, "no descriptor of it was kept by a service manager");
	expect_told(log, &other, "no descriptor of it was kept by a service manager");
	reloading_expect(log, "2 of its 2 segments are lost");
	lasting_expect_hangup(&guest);
	lasting_expect_lost(&guest, &manager);
	end();
}
END_TEST

/* What lies in a pair of another version, and the labels beside it, are for whoever wrote it. */
START_TEST(a_box_from_the_future)
{
	struct {
		struct box_wire_header header;
		char rest[20];
	} message = { .header = { .magic = BOX_WIRE_MAGIC, .version = BOX_WIRE_VERSION + 1, .n_labels = 9, .flags = 7 } };
	int ends[2], memory = memfd_create("future", MFD_CLOEXEC);
	const char *log;

	begin();
	(void)harness_manager_end(&manager, SIGKILL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_gt(harness_send(ends[1], &message, sizeof(message), &memory, 1), 0);
	harness_manager_store(&manager, "box-900-a", ends[0]);
	harness_manager_store(&manager, "box-900-b", ends[1]);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	for (unsigned i = 0; i < 3; i++) {
		expect_both_same();
		log = restart();
		reloading_expect(log, "'box-900-a' is of a newer segmentd (version 2, this one reads up to 1): it stays");
		ck_assert_uint_eq(harness_manager_count(&manager, "box-900-"), 2);
	}
	/* And is as it was. */
	ck_assert_int_gt(recv(ends[0], &message, sizeof(message), MSG_DONTWAIT), 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalbad");
	TCase *tcase = tcase_create("survivalbad");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, a_store_that_keeps_nothing, 0, 3);
	tcase_add_test(tcase, names_of_others_and_names_twice);
	tcase_add_loop_test(tcase, a_box_is_cut_short, 0, 2);
	tcase_add_loop_test(tcase, one_end_of_the_box_is_lost, 0, 2);
	tcase_add_test(tcase, rows_without_a_box);
	tcase_add_test(tcase, a_box_from_the_future);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
