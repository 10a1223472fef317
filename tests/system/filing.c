/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A segment's file, seen from the outside. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/worker/mark.h"
#include "tests/system/filing.h"
#include "tests/system/reloading.h"

struct filing filing;

/* Also of a test that was skipped, or failed; not of a process that it has forked. */
static void
remove_directory(void)
{
	if (getpid() == filing.pid)
		filing_teardown();
}

void
filing_setup(void)
{
	filing = (struct filing) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .pid = getpid() };
	ck_assert_int_eq(atexit(remove_directory), 0);
	(void)snprintf(filing.dir, sizeof(filing.dir), "/tmp/segmentd-file-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(filing.dir));
	(void)snprintf(filing.path, sizeof(filing.path), "%s/data", filing.dir);
	(void)snprintf(filing.mark, sizeof(filing.mark), "%s.segmentd", filing.path);
}

void
filing_teardown(void)
{
	char command[192];

	/* What a test has mounted there is seen by that test alone. */
	(void)snprintf(command, sizeof(command), "umount -l %s/* 2>/dev/null; rm -rf --one-file-system %s", filing.dir, filing.dir);
	(void)!system(command);
}

const char *
filing_body(uint64_t size, uint64_t max_size, const char *keys)
{
	(void)snprintf(filing.body, sizeof(filing.body), "segments = ( { name = \"s\"; size = %llu; max_size = %llu; "
	    "backend = \"file\"; path = \"%s\"; required = false; placement = \"prefer\"; %s }, "
	    "{ name = \"other\"; size = \"64KiB\"; mlock = false; } );", (unsigned long long)size,
	    (unsigned long long)max_size, filing.path, keys);
	return filing.body;
}

static void
await_settled(void)
{
	harness_open(&filing.conn, filing.daemon.socket);
	(void)harness_wait(&filing.conn, "s");
	suite_ready(&filing.conn, "other");
}

void
filing_begin(uint64_t size, uint64_t max_size, const char *keys)
{
	harness_daemon_start(&filing.daemon, NULL, filing_body(size, max_size, keys));
	await_settled();
}

void
filing_stop(void)
{
	harness_close(&filing.conn);
	ck_assert_int_eq(kill(filing.daemon.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&filing.daemon), 0);
}

void
filing_kill(void)
{
	harness_close(&filing.conn);
	harness_daemon_kill(&filing.daemon);
}

void
filing_restart(void)
{
	harness_daemon_launch(&filing.daemon);
	harness_daemon_await_ready(&filing.daemon);
	await_settled();
}

void
filing_end(void)
{
	harness_close(&filing.conn);
	harness_daemon_stop(&filing.daemon);
}

void
filing_reload(uint64_t size, uint64_t max_size, const char *keys)
{
	(void)reloading_hangup(&filing.daemon, NULL, filing_body(size, max_size, keys));
}

void
filing_make(uint64_t size)
{
	cleanup_close int fd = open(filing.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
}

bool
filing_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static unsigned char
byte_of(uint64_t at, unsigned seed)
{
	return (unsigned char)(1 + at * 7 + at / 4096 * 13 + seed);
}

static unsigned char *
map(int fd, uint64_t size, int protection)
{
	unsigned char *bytes = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

	ck_assert_ptr_ne(bytes, MAP_FAILED);
	return bytes;
}

void
filing_store(int fd, uint64_t size, unsigned seed)
{
	unsigned char *bytes = map(fd, size, PROT_READ | PROT_WRITE);

	for (uint64_t i = 0; i < size; i++)
		bytes[i] = byte_of(i, seed);
	(void)munmap(bytes, size);
}

void
filing_expect(int fd, uint64_t size, unsigned seed)
{
	unsigned char *bytes = map(fd, size, PROT_READ);

	for (uint64_t i = 0; i < size; i++)
		harness_assert(bytes[i] == byte_of(i, seed), "byte %llu of %llu is %u", (unsigned long long)i,
		    (unsigned long long)size, bytes[i]);
	(void)munmap(bytes, size);
}

void
filing_write(uint64_t size, unsigned seed)
{
	int fd = suite_attach(&filing.conn, "s", SUITE_WRITE);

	filing_store(fd, size, seed);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
}

void
filing_read(uint64_t size, unsigned seed)
{
	int fd = suite_attach(&filing.conn, "s", SUITE_READ);

	filing_expect(fd, size, seed);
	(void)close(fd);
	harness_await_counts(&filing.conn, "s", 0, 0);
}

void
filing_expect_reason(const char *text)
{
	struct harness_reply shown;

	ck_assert_int_eq(harness_show(&filing.conn, "s", &shown), 0);
	harness_assert(strstr(harness_reason(&shown), text), "'%s' is not in: %s", text, harness_reason(&shown));
}

void
filing_expect_failed(const char *const *texts)
{
	ck_assert_int_eq(harness_wait(&filing.conn, "s"), PROTOCOL_FAILED);
	filing_expect_reason(filing.path);
	for (; *texts; texts++)
		filing_expect_reason(*texts);
}

void
filing_retry(void)
{
	union suite_request request = { .header = { 0 } };
	struct harness_reply reply;

	(void)snprintf(request.show.name, sizeof(request.show.name), "s");
	ck_assert_int_eq(harness_ask(&filing.conn, PROTOCOL_RETRY, &request.header, sizeof(request.show), &reply), 0);
}

void
filing_crash(void)
{
	cleanup_close int fd = open(filing.mark, O_RDWR | O_CLOEXEC);
	struct mark mark;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(mark_read(fd, &mark), 0);
	ck_assert_int_eq(mark.state, MARK_USED);
	mark.boot[0] = mark.boot[0] == '0' ? '1' : '0';
	ck_assert_int_eq(mark_write(fd, &mark), 0);
}

void
filing_await_synced(uint64_t since_ns)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct harness_reply reply;

	do {
		harness_assert(harness_clock_ns() < deadline_ns, "it was not written back");
		ck_assert_int_eq(harness_show(&filing.conn, "s", &reply), 0);
		ck_assert_uint_ne(reply.shown.file_flags & PROTOCOL_SHOWN_FILE, 0);
		(void)poll(NULL, 0, 1);		/* that it was done gives no event */
	} while (reply.shown.synced_ns < since_ns);
}

void
filing_write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
}
