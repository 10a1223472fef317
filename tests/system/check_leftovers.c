/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a daemon that was killed leaves in /dev/shm, and what the next one makes of it: it takes over what is its own and fits,
 * with what is in it and who has it; removes what it does not want and nobody has; and keeps the rest until it is left.
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/segment.h"
#include "tests/system/opener.h"
#include "tests/system/reloading.h"
#include "tests/system/survivor.h"
#include "tests/system/telling.h"

#define SIZE	(4 * MIB)
#define N_RACES	4
#define DAEMON_KEYS	"memory_reserve = \"16MiB\"; workers = 2;"

#define POSIX(name, keys) \
	"{ name = \"" name "\"; size = \"4MiB\"; backend = \"posix\"; object = \"/s\"; mlock = false; " keys " }"
#define MEMFD	RELOADING_SEGMENT("other", "")
#define OPTIONAL	"required = false; "
#define LOCKS	"locks = ( { name = \"l\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"rollback\"; } ); "

/* An ordinary user may not lock as much. */
static const char locked[] = RELOADING_SEGMENTS("{ name = \"s\"; size = \"4MiB\"; backend = \"posix\"; object = \"/s\"; }");
static const char plain[] = RELOADING_SEGMENTS(POSIX("s", ""));
static const char without[] = RELOADING_SEGMENTS(MEMFD);

static struct {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct stat before;
	struct protocol_segment row;
} scene;

static void
begin(const char *body)
{
	opener_enter("mode=1777,size=32m");
	harness_daemon_start(&scene.daemon, DAEMON_KEYS, body);
	harness_open(&scene.conn, scene.daemon.socket);
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(harness_find(&scene.conn, "s", &scene.row), 0);
	ck_assert_int_eq(stat("/dev/shm/s", &scene.before), 0);
}

static void
restart(const char *body)
{
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	harness_daemon_configure(&scene.daemon, DAEMON_KEYS, body);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
}

/* Nothing of the daemon's is left: in /dev/shm but what the test has put there, and in its record. */
static void
end(unsigned n_left)
{
	char record[128];
	int status;

	(void)snprintf(record, sizeof(record), "%s/record", scene.daemon.state);
	harness_close(&scene.conn);
	ck_assert_int_eq(kill(scene.daemon.pid, SIGTERM), 0);
	status = harness_daemon_await_exit(&scene.daemon);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(opener_count(), n_left);
	ck_assert_int_eq(access(record, F_OK), -1);
	harness_daemon_remove(&scene.daemon);
}

static void
open_and_map(struct opener *opener)
{
	opener_start_bare(opener);
	opener_must(opener, 0, "write /s");
	opener_must(opener, 0, "map %d", (int)SIZE);
	opener_must(opener, 0, "set 4000000 6");
}

/* It is the one of before, with the byte that open_and_map() put there. */
static void
expect_same(void)
{
	struct protocol_segment row;
	struct stat now;
	char byte;
	cleanup_close int fd = shm_open("/s", O_RDONLY, 0);

	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(stat("/dev/shm/s", &now), 0);
	ck_assert(now.st_dev == scene.before.st_dev && now.st_ino == scene.before.st_ino);
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_eq(row.generation, scene.row.generation);
	ck_assert_uint_eq(row.resident_bytes, scene.row.resident_bytes);
	ck_assert_uint_eq(row.locked_bytes, scene.row.locked_bytes);
	ck_assert_int_eq(pread(fd, &byte, 1, 4000000), 1);
	ck_assert_int_eq(byte, 6);
}

static void
expect_other(void)
{
	struct protocol_segment row;
	struct stat now;

	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(stat("/dev/shm/s", &now), 0);
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_gt(row.generation, scene.row.generation);
}

/* Until it has been made anew, or taken over, after somebody let go. */
static void
await_ready_again(void)
{
	struct protocol_segment row;

	do
		ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	while (row.state != PROTOCOL_READY);
}

static void
expect_failed(const char *words)
{
	ck_assert_int_eq(harness_wait(&scene.conn, "s"), PROTOCOL_FAILED);
	suite_expect_reason(&scene.conn, "s", words);
}

START_TEST(what_fits_is_taken_over_with_what_is_in_it_and_who_has_it)
{
	const char *body = geteuid() == 0 ? locked : plain;
	struct opener opener, next;

	begin(body);
	open_and_map(&opener);
	restart(body);
	expect_same();
	/* Who has it from before shares it with who comes, and is seen. */
	opener_start_bare(&next);
	opener_must(&next, 0, "write /s");
	opener_must(&next, 0, "map %d", (int)SIZE);
	opener_must(&next, 0, "set 5 7");
	opener_must(&opener, 7, "get 5");
	opener_kill(&next);
	ck_assert_int_eq(harness_find(&scene.conn, "s", &scene.row), 0);
	ck_assert_uint_eq(scene.row.others, 1);
	/* Again and again, and with nobody. */
	restart(body);
	expect_same();
	opener_kill(&opener);
	restart(body);
	expect_same();
	end(0);
}
END_TEST

START_TEST(a_client_of_before_is_the_same_to_the_next_daemon)
{
	struct survivor survivor;

	begin(plain);
	survivor_start(&survivor, scene.daemon.socket, 4000000);
	restart(plain);
	expect_same();
	survivor_expect_same(&survivor);
	end(0);
}
END_TEST

#define GROWING(size)	RELOADING_SEGMENTS("{ name = \"s\"; size = \"" size "\"; max_size = \"8MiB\"; backend = \"posix\"; " \
	"object = \"/s\"; mlock = false; }")

/* It was made larger while there was no daemon: who has it from before learns of that as of any growth. */
START_TEST(a_client_of_before_sees_it_grow)
{
	struct segment_client *client;
	struct segment *first, *second;

	begin(GROWING("4MiB"));
	ck_assert_int_eq(segment_connect(&client, scene.daemon.socket), 0);
	ck_assert_int_eq(segment_attach(client, "s", NULL, SEGMENT_WRITE, &first), 0);
	restart(GROWING("6MiB"));
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(segment_attach(client, "s", NULL, SEGMENT_READ, &second), 0);
	ck_assert_uint_eq(segment_generation(first), segment_generation(second));
	ck_assert_uint_eq(segment_size(second), 6 * MIB);
	ck_assert_uint_eq(segment_size(first), 6 * MIB);
	((char *)segment_data(first))[6 * MIB - 1] = 3;
	ck_assert_int_eq(((char *)segment_data(second))[6 * MIB - 1], 3);
	ck_assert_int_eq(segment_detach(first), 0);
	ck_assert_int_eq(segment_detach(second), 0);
	segment_disconnect(client);
	end(0);
}
END_TEST

START_TEST(rights_and_size_are_as_the_definition_says_now)
{
	struct protocol_segment row;
	struct opener opener, stranger;

	harness_need_root();
	begin(RELOADING_SEGMENTS("{ name = \"s\"; size = \"4MiB\"; max_size = \"8MiB\"; backend = \"posix\"; object = \"/s\"; "
	    "mlock = false; }"));
	open_and_map(&opener);
	restart(RELOADING_SEGMENTS("{ name = \"s\"; size = \"6MiB\"; max_size = \"8MiB\"; backend = \"posix\"; object = \"/s\"; "
	    "mlock = false; owner = \"4001\"; mode = \"0600\"; }"));
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_eq(row.generation, scene.row.generation);
	ck_assert_uint_eq(row.resident_bytes, 6 * MIB);
	opener_start(&stranger, 4001, 4001, 0);
	/* Of what somebody has a worker changes that. */
	while (opener_do(&stranger, "read /s") == -EACCES)
		(void)sched_yield();
	opener_must(&stranger, 0, "read /s");
	opener_must(&stranger, 0, "map %d", (int)SIZE);
	opener_must(&stranger, 6, "get 4000000");
	opener_kill(&stranger);
	opener_kill(&opener);
	end(0);
}
END_TEST

START_TEST(what_is_not_wanted_and_nobody_has_is_removed)
{
	begin(plain);
	restart(without);
	harness_daemon_await_log(&scene.daemon, "the configuration has it no more, and it is removed: the kernel granted a write lease");
	while (opener_count())
		suite_serves(&scene.daemon);
	end(0);
}
END_TEST

/* The daemon and segmentd-audit were killed together, in the middle of a removal: what has no name then is found all the same. */
static void
restart_in_quarantine(const char *body)
{
	char place[128];

	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	(void)snprintf(place, sizeof(place), "/dev/shm/.segmentd-quarantine-00000001/%ju", (uintmax_t)scene.before.st_ino);
	ck_assert_int_eq(mkdir("/dev/shm/.segmentd-quarantine-00000001", 0700), 0);
	ck_assert_int_eq(mkdir(place, 0700), 0);
	(void)strcat(place, "/s");
	ck_assert_int_eq(rename("/dev/shm/s", place), 0);
	restart(body);
}

START_TEST(what_a_killed_removal_has_taken_the_name_of_is_found)
{
	struct stat now;

	begin(plain);
	restart_in_quarantine(plain);
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(stat("/dev/shm/s", &now), 0);
	ck_assert_uint_eq(now.st_ino, scene.before.st_ino);
	restart_in_quarantine(without);
	harness_daemon_await_log(&scene.daemon, "the configuration has it no more, and it is removed");
	while (access("/dev/shm/.segmentd-quarantine-00000001", F_OK) == 0)
		suite_serves(&scene.daemon);
	end(0);
}
END_TEST

/* In place of segmentd-audit: the first two have no answer, and the second dies with the name. The third is the real one. */
static void
write_dying_audit(char *path, size_t size)
{
	FILE *f;

	(void)snprintf(path, size, "%s/dying", scene.daemon.dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_gt(fprintf(f, "#!/bin/sh\ncd %s\nif mkdir first; then exit 1; fi\nif mkdir second; then\n"
	    "q=/dev/shm/.segmentd-quarantine-00000001; umask 077; mkdir $q $q/%ju; mv /dev/shm/s $q/%ju/s; exit 1\nfi\nexec %s\n",
	    scene.daemon.dir, (uintmax_t)scene.before.st_ino, (uintmax_t)scene.before.st_ino, harness_audit_program()), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0700), 0);
}

/* It is not told of as gone while it is in quarantine, which nobody would ever ask about. */
START_TEST(what_segmentd_audit_dies_over_is_removed_all_the_same)
{
	char path[256];

	begin(plain);
	write_dying_audit(path, sizeof(path));
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", path, 1), 0);
	restart(without);
	harness_daemon_await_log(&scene.daemon, "the configuration has it no more, and it is removed");
	while (opener_count() || access("/dev/shm/.segmentd-quarantine-00000001", F_OK) == 0)
		suite_serves(&scene.daemon);
	(void)snprintf(path, sizeof(path), "%s/second", scene.daemon.dir);
	ck_assert_int_eq(access(path, F_OK), 0);
	end(0);
}
END_TEST

/* Opens and closes it as fast as it can until it is gone for good: what it has has its name for as long. */
static void
run_racer(int control, void *arg)
{
	struct stat status;
	unsigned n = 0;

	harness_say(control, "begun");
	while (access(arg, F_OK) == 0) {
		int fd = shm_open("/s", O_RDWR, 0);

		if (fd < 0)
			continue;
		harness_assert(fstat(fd, &status) == 0 && status.st_nlink == 1, "after %u rounds it has an object without a name", n);
		(void)close(fd);
		n++;
	}
}

START_TEST(nobody_ends_with_an_object_that_has_no_name)
{
	struct harness_child racer = HARNESS_CHILD_NULL;
	char flag[128];

	begin(plain);
	(void)snprintf(flag, sizeof(flag), "%s/racing", scene.daemon.dir);
	for (unsigned i = 0; i < N_RACES; i++) {
		int fd = open(flag, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		ck_assert_int_ge(fd, 0);
		(void)close(fd);
		harness_child_start(&racer, run_racer, flag);
		harness_expect(racer.control, "begun");
		restart(without);
		ck_assert_int_eq(unlink(flag), 0);
		harness_child_await_success(&racer);
		while (opener_count())
			suite_serves(&scene.daemon);
		(void)unlink(scene.daemon.log);
		restart(plain);
		suite_ready(&scene.conn, "s");
	}
	end(0);
}
END_TEST

START_TEST(what_is_not_wanted_and_somebody_has_stays_until_they_are_gone)
{
	struct opener opener;
	char who[64];

	begin(plain);
	open_and_map(&opener);
	restart(without);
	(void)snprintf(who, sizeof(who), "it is kept, and removed when they are gone: %d (", (int)opener.child.pid);
	harness_daemon_await_log(&scene.daemon, "posix /s of segment 's' (4 MiB, inode ");
	harness_daemon_await_log(&scene.daemon, who);
	ck_assert_uint_eq(opener_count(), 1);
	/* Also by the next one that is killed. */
	restart(without);
	harness_daemon_await_log(&scene.daemon, "it is kept, and removed when they are gone");
	opener_must(&opener, 6, "get 4000000");
	opener_must(&opener, 0, "close");
	opener_must(&opener, 6, "get 4000000");
	ck_assert_uint_eq(opener_count(), 1);
	opener_must(&opener, 0, "unmap");
	while (opener_count())
		suite_serves(&scene.daemon);
	opener_kill(&opener);
	end(0);
}
END_TEST

START_TEST(what_is_kept_is_taken_over_when_it_is_wanted_again)
{
	struct opener opener;

	begin(plain);
	open_and_map(&opener);
	restart(without);
	harness_daemon_await_log(&scene.daemon, "it is kept, and removed when they are gone");
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, plain);
	expect_same();
	opener_kill(&opener);
	end(0);
}
END_TEST

/* What does not fit. */
static const struct {
	const char *before, *after;
	const char *words;
	bool is_taken_over;		/* once nobody has it */
} misfits[] = {
	{ plain, RELOADING_SEGMENTS("{ name = \"s\"; size = \"4MiB\"; max_size = \"8MiB\"; backend = \"posix\"; object = \"/s\"; "
	    "mlock = false; " OPTIONAL "}"), "it has 4 MiB, and max_size is 8 MiB now", false },
	{ RELOADING_SEGMENTS(POSIX("s", LOCKS)), RELOADING_SEGMENTS(POSIX("s", LOCKS OPTIONAL)), "its locks ended with that segmentd",
	    true },
};

START_TEST(what_does_not_fit_waits_for_who_has_it)
{
	struct opener opener;
	char who[32];

	begin(misfits[_i].before);
	open_and_map(&opener);
	(void)snprintf(who, sizeof(who), "%d (", (int)opener.child.pid);
	restart(misfits[_i].after);
	expect_failed(misfits[_i].words);
	suite_expect_reason(&scene.conn, "s", who);
	suite_expect_reason(&scene.conn, "s", "It is tried again when nobody has it");
	reloading_expect(reloading_hangup(&scene.daemon, DAEMON_KEYS, misfits[_i].after),
	    "s: it has failed, and is tried again when nobody has what a killed segmentd left of it");
	opener_must(&opener, 6, "get 4000000");
	opener_kill(&opener);
	await_ready_again();
	if (misfits[_i].is_taken_over)
		expect_same();
	else
		expect_other();
	end(0);
}
END_TEST

/* The next event about a leftover. */
static void
expect_told(enum protocol_orphan what)
{
	struct protocol_event event;

	do
		telling_next(&scene.conn, &event);
	while (event.kind != PROTOCOL_EVENT_LEFTOVER);
	ck_assert_uint_eq(event.attachment, what);
	ck_assert_str_eq(event.segment, "s");
	ck_assert_str_eq(event.lock_name, "/s");
	ck_assert_int_eq(event.lock, -1);
	ck_assert_uint_eq(event.generation, scene.before.st_ino);
	ck_assert_uint_eq(event.uid, geteuid());
	ck_assert_uint_eq(event.total, SIZE);
	ck_assert_uint_eq(event.value, SIZE);
}

START_TEST(what_becomes_of_it_is_told_by_events_and_figures)
{
	struct opener opener;

	begin(plain);
	open_and_map(&opener);
	restart(misfits[0].after);
	expect_failed(misfits[0].words);
	ck_assert_int_eq(telling_subscribe(&scene.conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, without);
	expect_told(PROTOCOL_ORPHAN_KEPT);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_leftovers_kept"), 1);
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, plain);
	expect_told(PROTOCOL_ORPHAN_TAKEN);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_leftovers_kept"), 0);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_leftovers_taken_total"), 1);
	restart(misfits[0].after);
	expect_failed(misfits[0].words);
	ck_assert_int_eq(telling_subscribe(&scene.conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	opener_kill(&opener);
	expect_told(PROTOCOL_ORPHAN_REMOVED);
	ck_assert_uint_eq(suite_figure(&scene.daemon, "segmentd_leftovers_removed_total"), 1);
	end(0);
}
END_TEST

/* Nobody would ever see what was in it. */
START_TEST(what_nobody_has_and_does_not_fit_is_made_anew)
{
	begin(misfits[_i].before);
	if (misfits[_i].is_taken_over) {
		end(0);
		return;
	}
	restart(misfits[_i].after);
	expect_other();
	harness_daemon_await_log(&scene.daemon, misfits[_i].words);
	end(0);
}
END_TEST

START_TEST(another_segment_may_have_the_object_once_nobody_has_it)
{
	struct opener opener;
	struct protocol_segment row;

	begin(plain);
	open_and_map(&opener);
	restart(RELOADING_SEGMENTS(POSIX("t", OPTIONAL)));
	ck_assert_int_eq(harness_wait(&scene.conn, "t"), PROTOCOL_FAILED);
	suite_expect_reason(&scene.conn, "t", "it was that of segment 's'");
	opener_kill(&opener);
	do
		ck_assert_int_eq(harness_find(&scene.conn, "t", &row), 0);
	while (row.state != PROTOCOL_READY);
	end(0);
}
END_TEST

START_TEST(what_is_to_be_scrubbed_or_ends_with_its_clients_does)
{
	static const char *const bodies[] = {
		RELOADING_SEGMENTS(POSIX("s", "scrub = true; ")), RELOADING_SEGMENTS(POSIX("s", "lifetime = \"attached\"; ")),
	};
	struct opener opener, next;

	begin(bodies[_i]);
	open_and_map(&opener);
	restart(bodies[_i]);
	expect_same();
	opener_kill(&opener);
	if (_i == 1) {
		harness_await_gone(&scene.conn, "s");
		end(0);
		return;
	}
	/* The byte goes, and nobody sees it. */
	opener_start_bare(&next);
	for (;;) {
		suite_ready(&scene.conn, "s");
		opener_must(&next, 0, "write /s");
		opener_must(&next, 0, "map %d", (int)SIZE);
		if (opener_do(&next, "get 4000000") == 0)
			break;
		opener_must(&next, 0, "unmap");
		opener_must(&next, 0, "close");
	}
	opener_kill(&next);
	restart(bodies[_i]);
	expect_other();
	end(0);
}
END_TEST

/*
 * What would be scrubbed if nobody had it is not taken for a client's since somebody has it who is just ending, as the killed daemon's
 * workers may be: for half a second. On a machine with much load that may have been over.
 */
START_TEST(what_is_to_be_scrubbed_waits_for_who_is_just_ending)
{
	static const char body[] = RELOADING_SEGMENTS(POSIX("s", "scrub = true; "));
	struct protocol_segment row;
	struct opener opener;
	uint64_t begun_ns;
	bool is_in_time;
	int fd;

	begin(body);
	open_and_map(&opener);
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	begun_ns = clock_monotonic_ns();
	harness_daemon_launch(&scene.daemon);
	while ((fd = harness_dial(scene.daemon.socket)) < 0)
		(void)sched_yield();
	(void)close(fd);
	harness_open(&scene.conn, scene.daemon.socket);
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	if (row.state == PROTOCOL_READY)
		ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, NS_PER_SEC / 2);
	opener_kill(&opener);
	is_in_time = clock_monotonic_ns() - begun_ns < NS_PER_SEC / 2;
	harness_daemon_await_ready(&scene.daemon);
	if (is_in_time)
		expect_other();
	end(0);
}
END_TEST

/* What is under the name is not what the record says. */
START_TEST(what_was_put_in_its_place_is_left_alone)
{
	struct stat before, after;
	int fd;

	begin(plain);
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	ck_assert_int_eq(rename("/dev/shm/s", "/dev/shm/moved"), 0);
	fd = open("/dev/shm/s", O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert(fd >= 0 && ftruncate(fd, SIZE) == 0 && fstat(fd, &before) == 0);
	(void)close(fd);
	harness_daemon_configure(&scene.daemon, DAEMON_KEYS, RELOADING_SEGMENTS(POSIX("s", OPTIONAL)));
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
	expect_failed("an object /s is there already: 4 MiB, of our own uid");
	harness_daemon_await_log(&scene.daemon, "what is there now is another, by the kernel's word, and is left alone");
	ck_assert(stat("/dev/shm/s", &after) == 0 && after.st_ino == before.st_ino);
	end(2);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("leftovers");
	TCase *tcase = tcase_create("leftovers");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_fits_is_taken_over_with_what_is_in_it_and_who_has_it);
	tcase_add_test(tcase, a_client_of_before_is_the_same_to_the_next_daemon);
	tcase_add_test(tcase, a_client_of_before_sees_it_grow);
	tcase_add_test(tcase, rights_and_size_are_as_the_definition_says_now);
	tcase_add_test(tcase, what_is_not_wanted_and_nobody_has_is_removed);
	tcase_add_test(tcase, what_a_killed_removal_has_taken_the_name_of_is_found);
	tcase_add_test(tcase, what_segmentd_audit_dies_over_is_removed_all_the_same);
	tcase_add_test(tcase, nobody_ends_with_an_object_that_has_no_name);
	tcase_add_test(tcase, what_is_not_wanted_and_somebody_has_stays_until_they_are_gone);
	tcase_add_test(tcase, what_becomes_of_it_is_told_by_events_and_figures);
	tcase_add_test(tcase, what_is_kept_is_taken_over_when_it_is_wanted_again);
	tcase_add_loop_test(tcase, what_does_not_fit_waits_for_who_has_it, 0, BASE_ARRAY_SIZE(misfits));
	tcase_add_loop_test(tcase, what_nobody_has_and_does_not_fit_is_made_anew, 0, BASE_ARRAY_SIZE(misfits));
	tcase_add_test(tcase, another_segment_may_have_the_object_once_nobody_has_it);
	tcase_add_loop_test(tcase, what_is_to_be_scrubbed_or_ends_with_its_clients_does, 0, 2);
	tcase_add_test(tcase, what_is_to_be_scrubbed_waits_for_who_is_just_ending);
	tcase_add_test(tcase, what_was_put_in_its_place_is_left_alone);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
