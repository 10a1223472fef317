/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments in files on a disk of the test's own: an image that is mounted by a loop device, in a mount namespace that ends with
 * the test. What is on the disk is what is in the image: so that is looked at, copied as it is at one moment, as a machine that
 * goes down leaves it, and made so that it is full, or fails.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "client/segment.h"
#include "tests/system/filing.h"
#include "tests/system/reloading.h"
#include "tests/system/telling.h"

#define DISK_MIB	24
#define LARGE		(9 * MIB)
#define TRIES		5

static struct {
	char image[96];
	char disk[80];			/* where it is mounted */
} scene;

static int BASE_PRINTF(1, 2)
run(const char *format, ...)
{
	char command[512];
	va_list ap;
	int status;

	va_start(ap, format);
	(void)vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
mount_image(const char *image, const char *dir)
{
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	if (run("mount -o loop %s %s 2>/dev/null", image, dir))
		harness_skip("no image can be mounted by a loop device here");
}

static void
make_disk(unsigned mib, const char *options)
{
	if (run("truncate -s %uM %s && mkfs.ext4 -q -F -m 0 %s %s 2>/dev/null", mib, scene.image, options, scene.image))
		harness_skip("mkfs.ext4 makes no file system here");
	mount_image(scene.image, scene.disk);
}

static void
setup(void)
{
	filing_setup();
	harness_need_root();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		harness_skip("no mount namespace of the test's own: %s", strerror(errno));
	(void)snprintf(scene.image, sizeof(scene.image), "%s/image", filing.dir);
	(void)snprintf(scene.disk, sizeof(scene.disk), "%s/disk", filing.dir);
	(void)snprintf(filing.path, sizeof(filing.path), "%.64s/data", scene.disk);
	(void)snprintf(filing.mark, sizeof(filing.mark), "%s.segmentd", filing.path);
}

/* How many entries there are on the disk, beside its own. */
static unsigned
count_files(void)
{
	DIR *dir = opendir(scene.disk);
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.' && !streq(entry->d_name, "lost+found");
	(void)closedir(dir);
	return n;
}

/* Takes all that is left. */
static void
fill_disk(void)
{
	char path[96];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/filling", scene.disk);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	for (off_t at = 0, step = MIB; step >= 4096;) {
		if (posix_fallocate(fd, at, step) == 0)
			at += step;
		else
			step /= 2;
	}
}

/* Whether the image has these 16 bytes somewhere. */
static bool
is_on_disk(const char *marker)
{
	cleanup_close int fd = open(scene.image, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool found;
	void *map;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	found = memmem(map, (size_t)st.st_size, marker, 16);
	(void)munmap(map, (size_t)st.st_size);
	return found;
}

/* Another one each time, that is nowhere yet. */
static const char *
next_marker(void)
{
	static char marker[17];
	static unsigned n;

	(void)snprintf(marker, sizeof(marker), "%08x%08x", (unsigned)clock_realtime_ns(), 0x5e67u + ++n);
	return marker;
}

/* Room. */

START_TEST(a_full_disk_is_an_error_at_the_start)
{
	static const char *const texts[] = { "more are needed on the file system", "are free", "Remedy: ", NULL };

	make_disk(DISK_MIB, "");
	filing_begin(64 * MIB, 64 * MIB, "");
	filing_expect_failed(texts);
	filing_stop();
	ck_assert_uint_eq(count_files(), 0);
	/* As much of it as there is room for, it gets. */
	(void)filing_body(4 * MIB, 64 * MIB, "");
	harness_daemon_configure(&filing.daemon, NULL, filing.body);
	filing_restart();
	suite_ready(&filing.conn, "s");
	filing_end();
	ck_assert_uint_eq(count_files(), 1);
}
END_TEST

START_TEST(two_that_have_room_alone_are_not_both_had)
{
	struct harness_reply shown;
	const char *failed, *ready;
	char body[1024];

	make_disk(DISK_MIB, "");
	(void)snprintf(body, sizeof(body), "segments = ( { name = \"a\"; size = \"12MiB\"; backend = \"file\"; path = \"%s/a\"; "
	    "required = false; mlock = false; }, { name = \"b\"; size = \"12MiB\"; backend = \"file\"; path = \"%s/b\"; "
	    "required = false; mlock = false; } );", scene.disk, scene.disk);
	harness_daemon_start(&filing.daemon, NULL, body);
	harness_open(&filing.conn, filing.daemon.socket);
	failed = harness_wait(&filing.conn, "a") == PROTOCOL_FAILED ? "a" : "b";
	ready = *failed == 'a' ? "b" : "a";
	suite_ready(&filing.conn, ready);
	ck_assert_int_eq(harness_wait(&filing.conn, failed), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&filing.conn, failed, &shown), 0);
	harness_assert(strstr(harness_reason(&shown), "are free"), "%s", harness_reason(&shown));
	filing_end();
	ck_assert_uint_eq(count_files(), 1);
}
END_TEST

/* A client: stores to all of it, and has it written to the disk. What segment_sync() says. */
static int
store_and_sync(uint64_t size, unsigned seed)
{
	struct segment_client *client;
	struct segment *segment;
	int r;

	harness_assert(segment_connect(&client, filing.daemon.socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "s", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	filing_store(segment_fd(segment), size, seed);
	r = segment_sync(segment);
	(void)segment_detach(segment);
	segment_disconnect(client);
	return r;
}

/* The last one's has no way to reserve: what is there is written once more. */
static const struct {
	const char *options, *keys;
} rooms[] = {
	{ "", "" },
	{ "", "prefault = false; mlock = false;" },
	{ "-O ^extent,^64bit,^has_journal", "prefault = false; mlock = false;" },
};

START_TEST(what_is_ready_has_its_room_whatever_others_take)
{
	make_disk(DISK_MIB, rooms[_i].options);
	filing_begin(LARGE, LARGE, rooms[_i].keys);
	suite_ready(&filing.conn, "s");
	fill_disk();
	ck_assert_int_eq(store_and_sync(LARGE, 1), 0);
	filing_stop();
	filing_restart();
	filing_read(LARGE, 1);
	filing_end();
}
END_TEST

START_TEST(a_growth_without_room_leaves_it_as_it_was)
{
	struct protocol_segment row;
	char filling[96];

	make_disk(DISK_MIB, "");
	filing_begin(MIB, 16 * MIB, "");
	suite_ready(&filing.conn, "s");
	filing_write(MIB, 2);
	fill_disk();
	filing_reload(9 * MIB, 16 * MIB, "");
	harness_daemon_await_log(&filing.daemon, "its size could not be raised from 1 MiB to 9 MiB");
	filing_expect_reason("are free");
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	ck_assert_uint_eq(row.size_bytes, MIB);
	filing_read(MIB, 2);
	(void)snprintf(filling, sizeof(filling), "%s/filling", scene.disk);
	ck_assert_int_eq(unlink(filling), 0);
	filing_reload(9 * MIB, 16 * MIB, "");
	do
		ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	while (row.size_bytes < 9 * MIB);
	filing_end();
}
END_TEST

/* A stop while it is being made leaves nothing of it, and says nothing of being ready. */
START_TEST(stopped_in_its_making_it_was_never_there)
{
	pid_t worker;

	make_disk(64, "");
	harness_daemon_prepare(&filing.daemon, "workers = 1;", filing_body(40 * MIB, 40 * MIB, ""));
	(void)run("sed -i 's/required = false/required = true/' %s", filing.daemon.config);
	harness_daemon_launch(&filing.daemon);
	worker = suite_worker_stop(&filing.daemon);
	ck_assert_int_eq(kill(filing.daemon.pid, SIGTERM), 0);
	/* Or the daemon has ended it by now. */
	(void)kill(worker, SIGCONT);
	ck_assert_int_eq(harness_daemon_await_exit(&filing.daemon), 0);
	if (!strstr(harness_daemon_log(&filing.daemon), "'s' (40 MiB) is ready")) {
		ck_assert_uint_eq(count_files(), 0);
		ck_assert_ptr_null(strstr(harness_daemon_log(&filing.daemon), "ready after"));
	}
	harness_daemon_remove(&filing.daemon);
}
END_TEST

/* Writing back. */

START_TEST(it_is_written_back_while_a_writer_is_attached)
{
	const char *marker;
	int fd;

	make_disk(DISK_MIB, "");
	filing_begin(LARGE, LARGE, "sync = \"50ms\";");
	suite_ready(&filing.conn, "s");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	for (int i = 0; i < 3; i++) {
		marker = next_marker();
		ck_assert_int_eq(pwrite(fd, marker, 16, (i + 1) * MIB + 100), 16);
		filing_await_synced(clock_realtime_ns());
		ck_assert(is_on_disk(marker));
	}
	(void)close(fd);
	filing_end();
}
END_TEST

/*
 * What is done, and then what was stored before is on the disk. The kernel may write it back by itself at any moment, but will
 * not do so each time just before.
 */
static void
expect_written_by(void (*act)(int *fd))
{
	bool was_absent = false;

	for (int i = 0; i < TRIES && !was_absent; i++) {
		const char *marker = next_marker();
		int fd = suite_attach(&filing.conn, "s", SUITE_WRITE);

		ck_assert_int_eq(pwrite(fd, marker, 16, 2 * MIB + 5), 16);
		was_absent = !is_on_disk(marker);
		act(&fd);
		harness_assert(is_on_disk(marker), "it is not on the disk");
		close_fd(&fd);
		if (!filing.daemon.pid)
			filing_restart();
		harness_await_counts(&filing.conn, "s", 0, 0);
	}
	harness_assert(was_absent, "it was on the disk before, each time");
}

static void
by_detaching(int *fd)
{
	uint64_t since_ns = clock_realtime_ns();

	close_fd(fd);
	filing_await_synced(since_ns);
}

static void
by_removing(int *fd)
{
	ck_assert_int_eq(harness_remove(&filing.conn, "s", PROTOCOL_REMOVE_NOW), 0);
	close_fd(fd);
	filing_reload(LARGE, LARGE, "");
	/* It has the file only when the one before has written it, and let it go. */
	suite_ready(&filing.conn, "s");
}

static void
by_stopping(int *fd)
{
	filing_stop();
	ck_assert(filing_exists(filing.mark));
}

static void
by_asking(int *fd)
{
	struct segment_client *client;
	struct segment *segment;

	/* A reader, and another one than who has stored. */
	harness_assert(segment_connect(&client, filing.daemon.socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "s", NULL, SEGMENT_READ, &segment) == 0, "%s", segment_error());
	harness_assert(segment_sync(segment) == 0, "%s", segment_error());
	(void)segment_detach(segment);
	segment_disconnect(client);
}

static void (*const acts[])(int *fd) = { by_detaching, by_removing, by_stopping, by_asking };

START_TEST(it_is_written_back_at_its_ends)
{
	make_disk(DISK_MIB, "");
	filing_begin(LARGE, LARGE, "");
	suite_ready(&filing.conn, "s");
	expect_written_by(acts[_i]);
	filing_end();
}
END_TEST

static void
signal_workers(int sig)
{
	pid_t pids[64];
	size_t n = harness_children(filing.daemon.pid, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], sig), 0);
}

/* What is stored while a worker is at it, by who is gone when it is done, is for the next time: and there is one. */
START_TEST(what_is_stored_meanwhile_is_written_back_too)
{
	uint64_t since_ns;
	int fd;

	make_disk(DISK_MIB, "");
	filing_begin(LARGE, LARGE, "sync = \"10ms\";");
	suite_ready(&filing.conn, "s");
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_await_synced(clock_realtime_ns());
	signal_workers(SIGSTOP);
	/* Nothing tells that one has the job; if none had it yet, this finds less and not more. */
	(void)poll(NULL, 0, 100);
	since_ns = clock_realtime_ns();
	ck_assert_int_eq(pwrite(fd, "x", 1, MIB), 1);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
	signal_workers(SIGCONT);
	filing_await_synced(since_ns);
	filing_end();
}
END_TEST

START_TEST(what_is_no_file_is_not_written_back)
{
	struct segment_client *client;
	struct segment *segment;

	make_disk(DISK_MIB, "");
	filing_begin(MIB, MIB, "");
	harness_assert(segment_connect(&client, filing.daemon.socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "other", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	ck_assert_int_eq(segment_sync(segment), -EINVAL);
	ck_assert_ptr_nonnull(strstr(segment_error(), "no file"));
	ck_assert_int_eq(segment_sync(NULL), -EINVAL);
	(void)segment_detach(segment);
	segment_disconnect(client);
	filing_end();
}
END_TEST

/* The machine goes down. */

START_TEST(what_was_synced_is_there_after_the_machine_went_down)
{
	char copy[96], copied[80];

	make_disk(DISK_MIB, "");
	filing_begin(LARGE, LARGE, "");
	suite_ready(&filing.conn, "s");
	ck_assert_int_eq(store_and_sync(LARGE, 3), 0);
	/* The disk as it is now, in another machine, which has another boot id. */
	(void)snprintf(copy, sizeof(copy), "%s/copy", filing.dir);
	(void)snprintf(copied, sizeof(copied), "%.64s/copied", filing.dir);
	ck_assert_int_eq(run("cp %s %s", scene.image, copy), 0);
	filing_end();
	mount_image(copy, copied);
	(void)snprintf(filing.path, sizeof(filing.path), "%.64s/data", copied);
	(void)snprintf(filing.mark, sizeof(filing.mark), "%s.segmentd", filing.path);
	filing_crash();
	filing_begin(LARGE, LARGE, "");
	suite_ready(&filing.conn, "s");
	filing_expect_reason("was in use when the machine went down");
	filing_read(LARGE, 3);
	filing_end();
}
END_TEST

/* The disk fails: behind the image is less than it says. */
START_TEST(what_does_not_reach_the_disk_is_told)
{
	static const char *const texts[] = { "not all that was stored reached the disk", NULL };
	struct harness_conn told = HARNESS_CONN_NULL;
	struct protocol_segment row;
	struct protocol_event event;
	char small[80];
	int fd;

	(void)snprintf(small, sizeof(small), "%.64s/small", filing.dir);
	ck_assert_int_eq(mkdir(small, 0700), 0);
	if (mount("tmpfs", small, "tmpfs", 0, "size=8m"))
		harness_skip("no tmpfs of the test's own: %s", strerror(errno));
	(void)snprintf(scene.image, sizeof(scene.image), "%s/image", small);
	make_disk(64, "-O ^has_journal -E nodiscard");
	filing_begin(32 * MIB, 32 * MIB, "on_unclean = \"fail\"; sync = \"50ms\";");
	suite_ready(&filing.conn, "s");
	harness_open(&told, filing.daemon.socket);
	ck_assert_int_eq(telling_subscribe(&told, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	fd = suite_attach(&filing.conn, "s", SUITE_WRITE);
	filing_store(fd, 32 * MIB, 4);
	do
		telling_next(&told, &event);
	while (event.kind != PROTOCOL_EVENT_UNSYNCED);
	ck_assert_str_eq(event.segment, "s");
	harness_daemon_await_log(&filing.daemon, "could not be written to the disk");
	filing_expect_reason("could not be written to the disk");
	ck_assert_int_eq(harness_find(&filing.conn, "s", &row), 0);
	ck_assert_uint_ne(row.flags & PROTOCOL_SEGMENT_DEGRADED, 0);
	/* It goes on in memory. */
	filing_expect(fd, 32 * MIB, 4);
	(void)close(fd);
	harness_close(&told);
	filing_stop();
	harness_daemon_await_log(&filing.daemon, "is not all on the disk");
	ck_assert(filing_exists(filing.mark));
	filing_restart();
	filing_expect_failed(texts);
	filing_end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("filedisk");
	TCase *tcase = tcase_create("filedisk");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, setup, filing_teardown);
	tcase_add_test(tcase, a_full_disk_is_an_error_at_the_start);
	tcase_add_test(tcase, two_that_have_room_alone_are_not_both_had);
	tcase_add_loop_test(tcase, what_is_ready_has_its_room_whatever_others_take, 0, BASE_ARRAY_SIZE(rooms));
	tcase_add_test(tcase, a_growth_without_room_leaves_it_as_it_was);
	tcase_add_test(tcase, stopped_in_its_making_it_was_never_there);
	tcase_add_test(tcase, it_is_written_back_while_a_writer_is_attached);
	tcase_add_loop_test(tcase, it_is_written_back_at_its_ends, 0, BASE_ARRAY_SIZE(acts));
	tcase_add_test(tcase, what_is_stored_meanwhile_is_written_back_too);
	tcase_add_test(tcase, what_is_no_file_is_not_written_back);
	tcase_add_test(tcase, what_was_synced_is_there_after_the_machine_went_down);
	tcase_add_test(tcase, what_does_not_reach_the_disk_is_told);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
