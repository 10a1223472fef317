/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments that start with a file's contents: they have them before anybody can attach, to the last byte and again after each
 * scrub; and what is no such file fails its segment with a sentence, holds up nobody, and is not even opened.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "tests/system/suite.h"

#define LARGE	(37 * MIB + 123)	/* more than two pieces, and no whole page at the end */

static struct {
	char dir[64];
	char path[96];			/* of the file */
	char body[1024];
} scene;

static void
setup(void)
{
	(void)snprintf(scene.dir, sizeof(scene.dir), "/tmp/segmentd-init-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scene.dir));
	(void)snprintf(scene.path, sizeof(scene.path), "%s/contents", scene.dir);
}

static void
teardown(void)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "rm -rf %s", scene.dir);
	ck_assert_int_eq(system(command), 0);
}

static unsigned char
byte_of(uint64_t at)
{
	return (unsigned char)(1 + at * 7 + at / 4096 * 13);
}

/* A file of so many bytes, none of which is like its neighbour a page further. */
static void
write_file(uint64_t length)
{
	cleanup_close int fd = open(scene.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned char *map;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
	if (!length)
		return;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	for (uint64_t i = 0; i < length; i++)
		map[i] = byte_of(i);
	(void)munmap(map, length);
}

/* A segment "s" with the file, and one without that nobody holds up. */
static const char *
body(uint64_t size, const char *keys)
{
	(void)snprintf(scene.body, sizeof(scene.body), "segments = ( { name = \"s\"; size = %llu; init = \"%s\"; "
	    "required = false; mlock = false; %s }, { name = \"other\"; size = \"64KiB\"; mlock = false; } );",
	    (unsigned long long)size, scene.path, keys);
	return scene.body;
}

/* What it begins with is the file's, what is behind that is zero. */
static void
check_contents(int fd, uint64_t length, uint64_t size)
{
	unsigned char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	ck_assert_ptr_ne(map, MAP_FAILED);
	for (uint64_t i = 0; i < size; i++)
		harness_assert(map[i] == (i < length ? byte_of(i) : 0), "byte %llu of %llu is %u", (unsigned long long)i,
		    (unsigned long long)size, map[i]);
	(void)munmap(map, size);
}

static const struct {
	uint64_t length, size;
	const char *keys;
} copied[] = {
	{ LARGE, LARGE, "" },
	{ LARGE, LARGE, "prefault = false;" },
	{ LARGE, 64 * MIB, "page_size = \"base\";" },
	{ 5000, 8193, "" },
	{ 5000, 8193, "prefault = false;" },
	{ 4096, 4096, "" },
	{ 1, 3 * MIB, "" },
	{ 0, 4096, "" },
	{ 0, 4096, "prefault = false;" },
	{ 16 * MIB, 40 * MIB, "" },
};

START_TEST(contents_are_there_before_anybody_is)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_segment row;
	cleanup_close int fd = -1;

	write_file(copied[_i].length);
	harness_daemon_start(&daemon, NULL, body(copied[_i].size, copied[_i].keys));
	harness_open(&conn, daemon.socket);
	suite_ready(&conn, "s");
	fd = suite_attach(&conn, "s", SUITE_READ);
	check_contents(fd, copied[_i].length, copied[_i].size);
	ck_assert_int_eq(harness_find(&conn, "s", &row), 0);
	ck_assert_uint_eq(row.size_bytes, copied[_i].size);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(scrubbed_it_has_them_again)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;

	write_file(5000);
	harness_daemon_start(&daemon, NULL, body(8 * MIB, _i ? "scrub = true; prefault = false;" : "scrub = true;"));
	harness_open(&conn, daemon.socket);
	suite_ready(&conn, "s");
	for (int i = 0; i < 3; i++) {
		int fd = suite_attach(&conn, "s", SUITE_WRITE);

		check_contents(fd, 5000, 8 * MIB);
		ck_assert_int_eq(pwrite(fd, "another tenant's", 16, 4990), 16);
		ck_assert_int_eq(pwrite(fd, "another tenant's", 16, 5 * MIB), 16);
		(void)close(fd);
		harness_await_counts(&conn, "s", 0, 0);
		suite_ready(&conn, "s");
	}
	/* What is there when it is scrubbed counts: and what is not there fails it. */
	ck_assert_int_eq(unlink(scene.path), 0);
	(void)close(suite_attach(&conn, "s", SUITE_WRITE));
	harness_await_counts(&conn, "s", 0, 0);
	ck_assert_int_eq(harness_wait(&conn, "s"), PROTOCOL_FAILED);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
make_nothing(void)
{
}

static void
make_directory(void)
{
	ck_assert_int_eq(mkdir(scene.path, 0700), 0);
}

static void
make_fifo(void)
{
	ck_assert_int_eq(mkfifo(scene.path, 0600), 0);
}

static void
make_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", scene.path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

/* A link to one: making one needs more rights. */
static void
make_device(void)
{
	ck_assert_int_eq(symlink("/dev/zero", scene.path), 0);
}

static void
make_unreadable(void)
{
	write_file(100);
	ck_assert_int_eq(chmod(scene.path, 0), 0);
}

static void
make_too_large(void)
{
	write_file(8194);
}

static void
make_loop(void)
{
	ck_assert_int_eq(symlink(scene.path, scene.path), 0);
}

/* Files there say that they have a page, and have less. */
static void
make_short(void)
{
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK))
		harness_skip("no file of /sys/kernel/mm here");
	ck_assert_int_eq(symlink("/sys/kernel/mm/transparent_hugepage/enabled", scene.path), 0);
}

static const struct {
	void (*make)(void);
	const char *texts[3];
} refused[] = {
	{ make_nothing, { "No such file", "uid", "retry" } },
	{ make_directory, { "is a directory", "a regular file is expected", "retry" } },
	{ make_fifo, { "is a fifo", "a regular file is expected", "retry" } },
	{ make_socket, { "is a socket", "a regular file is expected", "retry" } },
	{ make_device, { "is a device", "a regular file is expected", "retry" } },
	{ make_unreadable, { "Permission denied", "cannot be read by the daemon's uid", "retry" } },
	{ make_too_large, { "has 8194 bytes", "size is 8193", "raise size" } },
	{ make_loop, { "Too many levels", "cannot be reached", "retry" } },
	{ make_short, { "became shorter", "renaming", "retry" } },
};

START_TEST(what_is_no_such_file_fails_its_segment_alone)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_reply shown;
	struct harness_usage before;
	const char *reason;

	refused[_i].make();
	harness_daemon_start(&daemon, NULL, body(8193, ""));
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "s"), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&conn, "s", &shown), 0);
	reason = harness_reason(&shown);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(refused[_i].texts); i++)
		harness_assert(strstr(reason, refused[_i].texts[i]), "'%s' is not in: %s", refused[_i].texts[i], reason);
	harness_assert(strstr(reason, scene.path), "no path: %s", reason);
	suite_ready(&conn, "other");
	/* Of its memory and of the worker's errand nothing is left: one segment, no more. */
	harness_usage_read(daemon.pid, &before);
	ck_assert_uint_eq(before.memfds, 1);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("init");
	TCase *tcase = tcase_create("init");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, contents_are_there_before_anybody_is, 0, BASE_ARRAY_SIZE(copied));
	tcase_add_loop_test(tcase, scrubbed_it_has_them_again, 0, 2);
	tcase_add_loop_test(tcase, what_is_no_such_file_fails_its_segment_alone, 0, BASE_ARRAY_SIZE(refused));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
