/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments in /dev/shm, which is a small one of the test's own: programs open them by name, those that may; what is there
 * already is left alone; and where there is no room, a sentence says how much is missing, and nobody dies.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/system/opener.h"
#include "tests/system/reloading.h"

#define OWNER	4001u
#define GROUP	4002u
#define ALLOWED	4003u
#define ALLOWED_GROUP	4004u
#define STRANGER	4009u
#define SIZE	(256 * KIB)

#define POSIX(name, size, keys) \
	"{ name = \"" name "\"; size = \"" size "\"; backend = \"posix\"; object = \"/" name "\"; mlock = false; " keys " }"
#define OPTIONAL	"required = false; "

static const char book[] = RELOADING_SEGMENTS(POSIX("book", "256KiB", "owner = \"4001\"; group = \"4002\"; mode = \"0640\"; "
    "allow = ( { user = \"4003\"; access = \"r\"; }, { group = \"4004\"; access = \"rw\"; } );"));

/* A daemon with a /dev/shm of 8 MiB, and a client. */
static struct {
	struct harness_daemon daemon;
	struct harness_conn conn;
} scene;

static void
begin(const char *body)
{
	opener_enter("mode=1777,size=8m");
	harness_daemon_start(&scene.daemon, "memory_reserve = \"16MiB\"; workers = 1;", body);
	harness_open(&scene.conn, scene.daemon.socket);
}

/* Nothing of the daemon's is left there, but what the test has put there. */
static void
end(unsigned n_left)
{
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
	ck_assert_uint_eq(opener_count(), n_left);
}

/* The segment failed, and its reason has these words. */
static void
expect_failed(const char *name, const char *first, const char *second)
{
	struct harness_reply reply;
	const char *reason;

	ck_assert_int_eq(harness_wait(&scene.conn, name), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&scene.conn, name, &reply), 0);
	reason = harness_reason(&reply);
	reloading_expect(reason, first);
	reloading_expect(reason, second);
}

static void
retry(const char *name)
{
	struct protocol_retry request = { 0 };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
}

static const struct {
	const char *who;
	uid_t uid;
	gid_t gid, group;
	int read, write;
} identities[] = {
	{ "the owner", OWNER, STRANGER, 0, 0, 0 },
	{ "the group", STRANGER, GROUP, 0, 0, -EACCES },
	{ "a supplementary group", STRANGER, STRANGER, GROUP, 0, -EACCES },
	{ "an allowed user", ALLOWED, STRANGER, 0, 0, -EACCES },
	{ "an allowed group", STRANGER, ALLOWED_GROUP, 0, 0, 0 },
	{ "a stranger", STRANGER, STRANGER, 0, -EACCES, -EACCES },
	{ "the daemon's group", STRANGER, 0, 0, -EACCES, -EACCES },
};

START_TEST(programs_open_it_by_name_as_the_definition_says)
{
	struct opener opener;
	cleanup_close int fd = -1;
	char byte;

	harness_need_root();
	begin(book);
	fd = suite_attach(&scene.conn, "book", SUITE_WRITE);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(identities); i++) {
		long r;

		opener_start(&opener, identities[i].uid, identities[i].gid, identities[i].group);
		r = opener_do(&opener, "read /book");
		harness_assert(r == identities[i].read, "%s reads: %ld", identities[i].who, r);
		r = opener_do(&opener, "write /book");
		harness_assert(r == identities[i].write, "%s writes: %ld", identities[i].who, r);
		harness_assert(opener_do(&opener, "unlink /book") < 0, "%s unlinks", identities[i].who);
		if (r == 0) {
			opener_must(&opener, SIZE, "size");
			opener_must(&opener, 0, "map %d", (int)SIZE);
			opener_must(&opener, 0, "set %u %u", i, i + 7);
			opener_must(&opener, -EPERM, "chmod 511");
			ck_assert_int_eq(pread(fd, &byte, 1, i), 1);
			ck_assert_int_eq(byte, (int)i + 7);
		}
		opener_kill(&opener);
	}
	end(0);
}
END_TEST

/* Until it is ready it is nobody's; then a reload says whose it is. */
START_TEST(nobody_comes_before_it_is_ready)
{
	struct opener opener;
	pid_t worker;
	long r;

	harness_need_root();
	opener_enter("mode=1777,size=8m");
	harness_daemon_prepare(&scene.daemon, "memory_reserve = \"16MiB\"; workers = 1;", book);
	opener_start(&opener, OWNER, STRANGER, 0);
	harness_daemon_launch(&scene.daemon);
	worker = suite_worker_stop(&scene.daemon);
	/* The object is made before its first page is asked for. Who gets it has a daemon that needs its worker no more. */
	r = opener_count() == 1 ? opener_do(&opener, "read /book") : -EACCES;
	if (r != -EACCES) {
		ck_assert_int_eq(r, 0);
		harness_daemon_await_log(&scene.daemon, "'book' (256 KiB) is ready");
	}
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	harness_daemon_await_ready(&scene.daemon);
	opener_must(&opener, 0, "write /book");
	(void)reloading_hangup(&scene.daemon, "memory_reserve = \"16MiB\"; workers = 1;", RELOADING_SEGMENTS(POSIX("book", "256KiB",
	    "owner = \"4001\"; mode = \"0400\";")));
	opener_must(&opener, -EACCES, "write /book");
	opener_must(&opener, 0, "read /book");
	(void)reloading_hangup(&scene.daemon, "memory_reserve = \"16MiB\"; workers = 1;", RELOADING_SEGMENTS(POSIX("book", "256KiB",
	    "")));
	opener_must(&opener, -EACCES, "read /book");
	opener_kill(&opener);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

/* What stands at a name, and what is said of it. */
static void
put_file(void)
{
	int fd = open("/dev/shm/x", O_RDWR | O_CREAT | O_EXCL, 0644);

	ck_assert(fd >= 0 && ftruncate(fd, 12345) == 0 && fchown(fd, OWNER, GROUP) == 0);
	(void)close(fd);
}

static void
put_own_file(void)
{
	int fd = open("/dev/shm/x", O_RDWR | O_CREAT | O_EXCL, 0600);

	ck_assert(fd >= 0 && ftruncate(fd, 3 * MIB) == 0);
	(void)close(fd);
}

static void
put_link(void)
{
	ck_assert_int_eq(symlink("/dev/shm/y", "/dev/shm/x"), 0);
}

static void
put_directory(void)
{
	ck_assert_int_eq(mkdir("/dev/shm/x", 0700), 0);
}

static void
put_fifo(void)
{
	ck_assert_int_eq(mkfifo("/dev/shm/x", 0700), 0);
}

static const struct {
	void (*put)(void);
	const char *first, *second;
	bool needs_root;
} taken[] = {
	{ put_file, "12.1 KiB, of uid 4001, mode 0644", "`rm /dev/shm/x`", true },
	{ put_own_file, "3 MiB, of our own uid", "nobody has it open or mapped", false },
	{ put_link, "a symbolic link of uid", "another name for object", false },
	{ put_directory, "a directory of uid", "remove it", false },
	{ put_fifo, "a fifo of uid", "remove it", false },
};

START_TEST(what_is_there_is_left_alone)
{
	struct stat before, after;

	if (taken[_i].needs_root)
		harness_need_root();
	opener_enter("mode=1777,size=8m");
	taken[_i].put();
	ck_assert_int_eq(lstat("/dev/shm/x", &before), 0);
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(POSIX("x", "64KiB", OPTIONAL) ", " POSIX("z", "64KiB", "")));
	harness_open(&scene.conn, scene.daemon.socket);
	expect_failed("x", taken[_i].first, taken[_i].second);
	suite_ready(&scene.conn, "z");
	end(1);
	ck_assert_int_eq(lstat("/dev/shm/x", &after), 0);
	ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size &&
	    before.st_ctim.tv_nsec == after.st_ctim.tv_nsec);
	/* Once it is gone, there is nothing in the way. */
	ck_assert_int_eq(remove("/dev/shm/x"), 0);
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(POSIX("x", "64KiB", "")));
	harness_daemon_stop(&scene.daemon);
}
END_TEST

/* What is in the way is told, and not that there is no room beside it. */
START_TEST(what_is_there_may_take_all_the_room)
{
	opener_enter("mode=1777,size=8m");
	opener_fill("/x");
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(POSIX("x", "4MiB", OPTIONAL)));
	harness_open(&scene.conn, scene.daemon.socket);
	expect_failed("x", "of our own uid", "`rm /dev/shm/x`");
	end(1);
}
END_TEST

START_TEST(who_maps_what_is_there_is_told)
{
	struct opener opener;
	char who[32];

	opener_enter("mode=1777,size=8m");
	opener_start_bare(&opener);
	opener_must(&opener, 0, "make /x 12345");
	opener_must(&opener, 0, "map 4096");
	opener_must(&opener, 0, "close");
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(POSIX("x", "64KiB", OPTIONAL)));
	harness_open(&scene.conn, scene.daemon.socket);
	(void)snprintf(who, sizeof(who), "%d (", (int)opener.child.pid);
	expect_failed("x", who, "has it");
	opener_kill(&opener);
	/* It has nobody now, and the next try says so. */
	retry("x");
	expect_failed("x", "nobody has it open or mapped", "`rm /dev/shm/x`");
	ck_assert_int_eq(unlink("/dev/shm/x"), 0);
	retry("x");
	suite_ready(&scene.conn, "x");
	end(0);
}
END_TEST

START_TEST(what_does_not_fit_is_told_before_a_page_is_taken)
{
	begin(RELOADING_SEGMENTS(POSIX("small", "1MiB", "") ", " POSIX("large", "64MiB", OPTIONAL)));
	suite_ready(&scene.conn, "small");
	expect_failed("large", "64 MiB are needed in /dev/shm, but ", " of its 8 MiB are free. Remedy: `mount -o remount,size=");
	ck_assert_uint_eq(opener_count(), 1);
	opener_remount("size=80m");
	retry("large");
	suite_ready(&scene.conn, "large");
	end(0);
}
END_TEST

/* Each fits, and both do not: they are judged together, also while neither has a page. */
START_TEST(two_are_judged_together)
{
	struct protocol_segment rows[2];
	unsigned n_ready = 0;

	opener_enter("mode=1777,size=8m");
	harness_daemon_start(&scene.daemon, NULL, RELOADING_SEGMENTS(POSIX("a", "5MiB", OPTIONAL) ", " POSIX("b", "5MiB", OPTIONAL)));
	harness_open(&scene.conn, scene.daemon.socket);
	(void)harness_wait(&scene.conn, "a");
	(void)harness_wait(&scene.conn, "b");
	ck_assert_uint_eq(harness_list(&scene.conn, rows, 2), 2);
	for (unsigned i = 0; i < 2; i++)
		if (rows[i].state == PROTOCOL_READY)
			n_ready++;
		else
			expect_failed(rows[i].name, "5 MiB are needed in /dev/shm", "3 MiB of its 8 MiB are free");
	ck_assert_uint_eq(n_ready, 1);
	end(0);
}
END_TEST

#define GROWING(size)	RELOADING_SEGMENTS("{ name = \"s\"; size = \"" size "\"; max_size = \"12MiB\"; backend = \"posix\"; " \
	"object = \"/s\"; mlock = false; }")

/* Its room to grow takes none of /dev/shm's before it grows; then there has to be as much. */
START_TEST(what_it_cannot_grow_to_is_told_and_it_stays_as_it_was)
{
	struct protocol_segment row;
	struct harness_reply reply;

	begin(GROWING("4MiB"));
	suite_ready(&scene.conn, "s");
	reloading_expect(reloading_hangup(&scene.daemon, NULL, GROWING("10MiB")), "6 MiB are needed in /dev/shm, but 4 MiB of its 8 MiB");
	ck_assert_int_eq(harness_show(&scene.conn, "s", &reply), 0);
	reloading_expect(harness_reason(&reply), "6 MiB are needed in /dev/shm");
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_eq(row.size_bytes, 4 * MIB);
	opener_remount("size=16m");
	(void)reloading_hangup(&scene.daemon, NULL, GROWING("10MiB"));
	do
		ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	while (row.size_bytes != 10 * MIB);
	ck_assert_uint_eq(row.resident_bytes, 10 * MIB);
	ck_assert(!(row.flags & PROTOCOL_SEGMENT_DEGRADED));
	end(0);
}
END_TEST

/* It was judged, and others took the room meanwhile. */
START_TEST(what_others_took_meanwhile_costs_nobody_else)
{
	pid_t worker, daemon;

	opener_enter("mode=1777,size=8m");
	harness_daemon_prepare(&scene.daemon, "memory_reserve = \"16MiB\"; workers = 1;",
	    RELOADING_SEGMENTS(POSIX("late", "6MiB", OPTIONAL) ", " POSIX("small", "64KiB", OPTIONAL)));
	harness_daemon_launch(&scene.daemon);
	worker = suite_worker_stop(&scene.daemon);
	opener_fill("/filler");
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	harness_daemon_await_ready(&scene.daemon);
	daemon = scene.daemon.pid;
	harness_open(&scene.conn, scene.daemon.socket);
	(void)harness_wait(&scene.conn, "late");
	(void)harness_wait(&scene.conn, "small");
	/* Where the worker was faster than the filler there is nothing to see. */
	if (harness_wait(&scene.conn, "late") == PROTOCOL_FAILED)
		expect_failed("late", "are needed in /dev/shm, but ", "Remedy: ");
	ck_assert_int_eq(shm_unlink("/filler"), 0);
	if (harness_wait(&scene.conn, "late") == PROTOCOL_FAILED)
		retry("late");
	suite_ready(&scene.conn, "late");
	ck_assert_int_eq(kill(daemon, 0), 0);
	end(0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("posix");
	TCase *tcase = tcase_create("posix");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, programs_open_it_by_name_as_the_definition_says);
	tcase_add_test(tcase, nobody_comes_before_it_is_ready);
	tcase_add_loop_test(tcase, what_is_there_is_left_alone, 0, BASE_ARRAY_SIZE(taken));
	tcase_add_test(tcase, what_is_there_may_take_all_the_room);
	tcase_add_test(tcase, who_maps_what_is_there_is_told);
	tcase_add_test(tcase, what_does_not_fit_is_told_before_a_page_is_taken);
	tcase_add_test(tcase, two_are_judged_together);
	tcase_add_test(tcase, what_it_cannot_grow_to_is_told_and_it_stays_as_it_was);
	tcase_add_test(tcase, what_others_took_meanwhile_costs_nobody_else);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
