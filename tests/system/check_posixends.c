/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What others do to objects in /dev/shm: whoever writes one may cut it short, and no touch of the daemon's or a worker's is
 * their death; who opened one by name is waited for; and only what is the daemon's own goes with its segment.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/segment.h"
#include "tests/system/actor.h"
#include "tests/system/opener.h"
#include "tests/system/reloading.h"

#define SIZE	(4 * MIB)
#define N_ROUNDS	8
#define N_DEATHS	40
#define DAEMON_KEYS	"memory_reserve = \"16MiB\"; workers = 2;"

#define POSIX(name, keys) \
	"{ name = \"" name "\"; size = \"4MiB\"; backend = \"posix\"; object = \"/" name "\"; mlock = false; " keys " }"

/* An ordinary user may not lock as much. */
static const char plain_locked[] = RELOADING_SEGMENTS("{ name = \"s\"; size = \"4MiB\"; backend = \"posix\"; object = \"/s\"; }");
static const char plain[] = RELOADING_SEGMENTS(POSIX("s", ""));
static const char scrubbed[] = RELOADING_SEGMENTS(POSIX("s", "scrub = true;"));
/* A little is put right by the daemon itself, and much by a worker. */
static const char locked[] = RELOADING_SEGMENTS(POSIX("s", "mode = \"0600\"; locks = ("
    "{ name = \"few\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"rollback\"; },"
    "{ name = \"many\"; offset = \"2MiB\"; length = \"1MiB\"; undo = \"1MiB\"; on_death = \"zero\"; },"
    "{ name = \"near\"; at = \"8192\"; init = true; offset = \"12KiB\"; length = \"64B\"; on_death = \"zero\"; },"
    "{ name = \"far\"; at = \"3MiB\"; init = true; offset = \"3200KiB\"; length = \"512KiB\"; on_death = \"zero\"; } );") ", "
    "{ name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; }");

static struct {
	struct harness_daemon daemon;
	struct harness_conn conn;
} scene;

static void
begin(const char *body)
{
	opener_enter("mode=1777,size=16m");
	harness_daemon_start(&scene.daemon, DAEMON_KEYS, body);
	harness_open(&scene.conn, scene.daemon.socket);
	suite_ready(&scene.conn, "s");
}

static void
end(unsigned n_left)
{
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
	ck_assert_uint_eq(opener_count(), n_left);
}

static void
find(struct protocol_segment *row)
{
	ck_assert_int_eq(harness_find(&scene.conn, "s", row), 0);
}

static void
expect_reason(const char *words)
{
	struct harness_reply reply;

	ck_assert_int_eq(harness_show(&scene.conn, "s", &reply), 0);
	reloading_expect(harness_reason(&reply), words);
}

static void
open_and_map(struct opener *opener)
{
	opener_start_bare(opener);
	opener_must(opener, 0, "write /s");
	opener_must(opener, 0, "map %d", (int)SIZE);
}

START_TEST(what_a_writer_cut_is_handed_to_nobody)
{
	const char *body = geteuid() == 0 ? plain_locked : plain;
	union suite_request request;
	struct protocol_segment row;
	struct opener opener;

	begin(body);
	find(&row);
	ck_assert(row.flags & PROTOCOL_SEGMENT_UNSEALED);
	ck_assert(!(row.flags & PROTOCOL_SEGMENT_DEGRADED));
	open_and_map(&opener);
	opener_must(&opener, 0, "cut 4096");
	find(&row);
	ck_assert_int_eq(row.state, PROTOCOL_READY);
	ck_assert(row.flags & PROTOCOL_SEGMENT_DEGRADED);
	ck_assert_uint_eq(row.resident_bytes, 4096);
	ck_assert_uint_le(row.locked_bytes, 4096);
	expect_reason("a writer has cut /dev/shm/s to 4 KiB of its 4 MiB");
	(void)suite_fill(&request, PROTOCOL_ATTACH, sizeof(request.attach), 0);
	request.attach.access = PROTOCOL_ACCESS_READ;
	(void)snprintf(request.attach.name, sizeof(request.attach.name), "s");
	suite_refused(&scene.conn, PROTOCOL_ATTACH, &request, sizeof(request.attach), -EIO, "a writer has cut /dev/shm/s");
	/* It is made anew, while who cut it has the old one. */
	ck_assert_int_eq(harness_remove(&scene.conn, "s", PROTOCOL_REMOVE_NOW), 0);
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, body);
	suite_ready(&scene.conn, "s");
	find(&row);
	ck_assert(!(row.flags & PROTOCOL_SEGMENT_DEGRADED));
	ck_assert_uint_eq(row.resident_bytes, SIZE);
	opener_must(&opener, 4096, "size");
	end(0);
}
END_TEST

START_TEST(what_writers_gave_back_or_added_is_told)
{
	struct protocol_segment row;
	struct opener opener;

	begin(plain);
	open_and_map(&opener);
	opener_must(&opener, 0, "punch 8192 %d", 1024 * 1024);
	find(&row);
	ck_assert(row.flags & PROTOCOL_SEGMENT_DEGRADED);
	expect_reason("a writer has given 1 MiB of /dev/shm/s back");
	opener_must(&opener, 0, "cut %d", 2 * (int)SIZE);
	expect_reason("a writer has made /dev/shm/s 8 MiB large, of which 4 MiB are the segment's");
	(void)close(suite_attach(&scene.conn, "s", SUITE_WRITE));
	opener_must(&opener, 0, "cut %d", (int)SIZE);
	for (int at = 8192; at < 8192 + 1024 * 1024; at += 4096)
		opener_must(&opener, 0, "set %d 1", at);
	find(&row);
	ck_assert(!(row.flags & PROTOCOL_SEGMENT_DEGRADED));
	end(0);
}
END_TEST

/* Has the lock, or mutex, of that name, and a section open. */
static void
hold_mutex(int control, void *arg)
{
	struct segment_client *client;
	struct segment *segment;
	char *data;

	harness_assert(segment_connect(&client, scene.daemon.socket) == 0 && segment_attach(client, "s", NULL, SEGMENT_WRITE, &segment) == 0,
	    "%s", segment_error());
	data = segment_data(segment);
	harness_assert(pthread_mutex_lock((pthread_mutex_t *)(void *)(data + *(const size_t *)arg)) == 0, "a mutex is not had");
	harness_say(control, "held");
	for (;;)
		(void)pause();
}

/* Owners of all kinds of locks are killed after, or while, the memory behind them is cut off. */
START_TEST(nobody_of_ours_dies_of_what_is_cut)
{
	static const size_t places[] = { 8192, 3 * MIB };
	struct harness_child mutexes[2] = { HARNESS_CHILD_NULL, HARNESS_CHILD_NULL };
	struct actor few, many;
	struct opener opener;
	pid_t daemon;

	begin(locked);
	daemon = scene.daemon.pid;
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		actor_start(&few, scene.daemon.socket, "s");
		actor_start(&many, scene.daemon.socket, "s");
		actor_must(&few, 0, "lock few");
		actor_must(&few, 0, "set few 3 77");
		actor_must(&many, 0, "lock many");
		actor_must(&many, 0, "set many %d 77", 2 * 1024 * 1024 / 8);
		for (unsigned i = 0; i < 2; i++) {
			harness_child_start(&mutexes[i], hold_mutex, (void *)&places[i]);
			harness_expect(mutexes[i].control, "held");
		}
		opener_start_bare(&opener);
		opener_must(&opener, 0, "write /s");
		if (round % 2)
			opener_must(&opener, 0, "cut 0");
		for (unsigned i = 0; i < 2; i++)
			harness_child_kill(&mutexes[i]);
		actor_kill(&few);
		actor_kill(&many);
		if (!(round % 2))
			opener_must(&opener, 0, "cut 0");
		opener_kill(&opener);
		harness_await_counts(&scene.conn, "s", 0, 0);
		(void)close(suite_attach(&scene.conn, "desk", SUITE_WRITE));
		ck_assert_int_eq(scene.daemon.pid, daemon);
		expect_reason("a writer has cut");
		ck_assert_int_eq(harness_remove(&scene.conn, "s", PROTOCOL_REMOVE_NOW), 0);
		(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, locked);
		suite_ready(&scene.conn, "s");
	}
	reloading_expect_not(harness_daemon_log(&scene.daemon), "SIGBUS");
	end(0);
}
END_TEST

/* Cuts it and makes it whole again, as fast as it can. */
static void
cut_and_mend(int control, void *arg)
{
	int fd = shm_open("/s", O_RDWR, 0);

	(void)arg;
	harness_assert(fd >= 0, "/s: %s", strerror(errno));
	harness_say(control, "begun");
	for (;;)
		(void)(ftruncate(fd, 4096) || ftruncate(fd, SIZE));
}

/* Takes what it can, and ends in the middle of it, perhaps of SIGBUS. */
static void
take_all_and_die(int control, void *arg)
{
	static const char *const names[] = { "few", "many" };
	struct segment_client *client;
	struct segment *segment;
	char *data;
	int r;

	(void)control, (void)arg;
	/* A sanitizer would tell of it. */
	(void)signal(SIGBUS, SIG_DFL);
	harness_assert(segment_connect(&client, scene.daemon.socket) == 0, "%s", segment_error());
	/* It is refused while it is short. */
	while ((r = segment_attach(client, "s", NULL, SEGMENT_WRITE, &segment)) == -EIO)
		;
	harness_assert(r == 0, "%s", segment_error());
	data = segment_data(segment);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		int lock = segment_find_lock(segment, names[i]);

		if (segment_trylock(segment, lock) == 0)
			(void)segment_modify(segment, lock, data + (i ? 2 * MIB : 0), 4096);
	}
	(void)pthread_mutex_trylock((pthread_mutex_t *)(void *)(data + 8192));
	(void)pthread_mutex_trylock((pthread_mutex_t *)(void *)(data + 3 * MIB));
	(void)raise(SIGKILL);
}

START_TEST(nobody_of_ours_dies_while_it_is_cut)
{
	struct harness_child cutter = HARNESS_CHILD_NULL;

	begin(locked);
	harness_child_start(&cutter, cut_and_mend, NULL);
	harness_expect(cutter.control, "begun");
	for (unsigned round = 0; round < N_DEATHS; round++) {
		struct harness_child child = HARNESS_CHILD_NULL;
		int status;

		harness_child_start(&child, take_all_and_die, NULL);
		status = harness_child_await(&child);
		/* Sanitizers turn a SIGBUS into an exit. */
		harness_assert(status == -SIGKILL || status == -SIGBUS || harness_has_sanitizers(),
		    "a client process ended with %d", status);
		(void)close(suite_attach(&scene.conn, "desk", SUITE_WRITE));
	}
	harness_child_kill(&cutter);
	harness_await_counts(&scene.conn, "s", 0, 0);
	end(0);
}
END_TEST

START_TEST(who_opened_it_by_name_is_waited_for)
{
	struct protocol_segment row;
	struct opener opener;

	begin(plain);
	find(&row);
	ck_assert_uint_eq(row.others, 0);
	open_and_map(&opener);
	opener_must(&opener, 0, "close");
	find(&row);
	ck_assert_uint_eq(row.others, 1);
	ck_assert(!(row.flags & PROTOCOL_SEGMENT_COUNTED));
	ck_assert_uint_eq(row.readers + row.writers, 0);
	ck_assert_int_eq(harness_remove(&scene.conn, "s", 0), 0);
	find(&row);
	ck_assert_int_eq(row.state, PROTOCOL_DRAINING);
	ck_assert_uint_eq(opener_count(), 1);
	opener_must(&opener, 0, "set 5 6");
	opener_kill(&opener);
	harness_await_gone(&scene.conn, "s");
	opener_await_count(0);
	end(0);
}
END_TEST

START_TEST(removed_now_its_name_is_free_and_its_memory_stays)
{
	struct opener opener, next;

	begin(plain);
	open_and_map(&opener);
	opener_must(&opener, 0, "set 4000000 6");
	ck_assert_int_eq(harness_remove(&scene.conn, "s", PROTOCOL_REMOVE_NOW), 0);
	harness_await_gone(&scene.conn, "s");
	opener_await_count(0);
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, plain);
	suite_ready(&scene.conn, "s");
	open_and_map(&next);
	opener_must(&next, 0, "get 4000000");
	opener_must(&opener, 6, "get 4000000");
	end(0);
}
END_TEST

START_TEST(what_stands_in_its_place_is_left_alone)
{
	struct stat before, after;
	int fd;

	begin(plain);
	ck_assert_int_eq(shm_unlink("/s"), 0);
	expect_reason("somebody has removed /dev/shm/s");
	fd = shm_open("/s", O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert(fd >= 0 && fstat(fd, &before) == 0);
	ck_assert_int_eq(harness_remove(&scene.conn, "s", 0), 0);
	harness_await_gone(&scene.conn, "s");
	harness_daemon_await_log(&scene.daemon, "/dev/shm/s is not the object that was made there any more");
	ck_assert_int_eq(stat("/dev/shm/s", &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	end(1);
}
END_TEST

/* A segment that is declared with the name of one that is held still. */
START_TEST(a_name_that_is_still_ours_is_told_as_ours)
{
	struct protocol_retry request = { .name = "t" };
	struct harness_reply reply;
	struct opener opener;

	begin(plain);
	open_and_map(&opener);
	(void)reloading_hangup(&scene.daemon, DAEMON_KEYS, RELOADING_SEGMENTS("{ name = \"t\"; size = \"4MiB\"; mlock = false; "
	    "backend = \"posix\"; object = \"/s\"; required = false; }"));
	ck_assert_int_eq(harness_wait(&scene.conn, "t"), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&scene.conn, "t", &reply), 0);
	reloading_expect(harness_reason(&reply), "object /s is still that of segment 's', which is on its way out");
	opener_kill(&opener);
	harness_await_gone(&scene.conn, "s");
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
	suite_ready(&scene.conn, "t");
	end(0);
}
END_TEST

/* Of a daemon that was killed the next one takes nothing over without its record; it says what is there, and what to do. */
START_TEST(what_a_killed_daemon_left_is_told_and_removed_by_hand)
{
	struct protocol_retry request = { .name = "s" };
	struct harness_reply reply;
	struct opener opener;
	char record[128];

	begin(plain);
	open_and_map(&opener);
	opener_must(&opener, 0, "set 5 6");
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	(void)snprintf(record, sizeof(record), "%s/record", scene.daemon.state);
	ck_assert_int_eq(unlink(record), 0);
	harness_daemon_configure(&scene.daemon, DAEMON_KEYS, RELOADING_SEGMENTS(POSIX("s", "required = false;")));
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
	ck_assert_int_eq(harness_wait(&scene.conn, "s"), PROTOCOL_FAILED);
	expect_reason("`rm /dev/shm/s`");
	expect_reason("has it");
	opener_must(&opener, 6, "get 5");
	opener_kill(&opener);
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
	ck_assert_int_eq(harness_wait(&scene.conn, "s"), PROTOCOL_FAILED);
	expect_reason("as a daemon leaves it that was killed. Remedy: `rm /dev/shm/s`, once nobody needs its contents");
	ck_assert_int_eq(unlink("/dev/shm/s"), 0);
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
	suite_ready(&scene.conn, "s");
	end(0);
}
END_TEST

START_TEST(it_is_scrubbed_once_nobody_has_it_by_name_either)
{
	struct opener opener, next;
	cleanup_close int fd = -1;

	begin(scrubbed);
	/* It is started first: what the test has it would have, too. */
	open_and_map(&opener);
	fd = suite_attach(&scene.conn, "s", SUITE_WRITE);
	opener_must(&opener, 0, "set 4000000 6");
	opener_must(&opener, 0, "punch 0 4096");
	close_fd(&fd);
	harness_await_counts(&scene.conn, "s", 0, 0);
	opener_must(&opener, 6, "get 4000000");
	opener_must(&opener, 0, "cut 4096");
	opener_kill(&opener);
	/* What was cut is whole again, too. */
	for (;;) {
		struct protocol_segment row;

		find(&row);
		if (row.state == PROTOCOL_READY && !(row.flags & PROTOCOL_SEGMENT_DEGRADED) && row.resident_bytes == SIZE)
			break;
	}
	open_and_map(&next);
	opener_must(&next, 0, "get 4000000");
	opener_must(&next, SIZE, "size");
	end(0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("posixends");
	TCase *tcase = tcase_create("posixends");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_a_writer_cut_is_handed_to_nobody);
	tcase_add_test(tcase, what_writers_gave_back_or_added_is_told);
	tcase_add_test(tcase, nobody_of_ours_dies_of_what_is_cut);
	tcase_add_test(tcase, nobody_of_ours_dies_while_it_is_cut);
	tcase_add_test(tcase, who_opened_it_by_name_is_waited_for);
	tcase_add_test(tcase, removed_now_its_name_is_free_and_its_memory_stays);
	tcase_add_test(tcase, what_stands_in_its_place_is_left_alone);
	tcase_add_test(tcase, a_name_that_is_still_ours_is_told_as_ours);
	tcase_add_test(tcase, what_a_killed_daemon_left_is_told_and_removed_by_hand);
	tcase_add_test(tcase, it_is_scrubbed_once_nobody_has_it_by_name_either);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
