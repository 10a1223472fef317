/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether standard error is the journal's, and what an entry carries, at a socket that plays journald's part. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/base.h"
#include "systemd/journal.h"
#include "tests/service/suite.h"

#define N_MANY	40000		/* entries, more than are kept */

static char heard[65536];

/* Sets $JOURNAL_STREAM to fd's device and inode, each moved by an offset. */
static void
set_stream(int fd, unsigned device_offset, unsigned inode_offset, const char *tail)
{
	char value[128];
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	(void)snprintf(value, sizeof(value), "%ju:%ju%s", (uintmax_t)st.st_dev + device_offset,
	    (uintmax_t)st.st_ino + inode_offset, tail);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", value, 1), 0);
}

START_TEST(stream_that_is_stderr_is_seen)
{
	set_stream(STDERR_FILENO, 0, 0, "");
	ck_assert(journal_is_stderr());
}
END_TEST

START_TEST(stream_that_is_not_stderr_is_seen)
{
	int pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	set_stream(pipe_fds[1], 0, 0, "");
	ck_assert(!journal_is_stderr());
	/* What decides is where standard error goes, not the variable alone. */
	ck_assert_int_eq(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
	ck_assert(journal_is_stderr());
	set_stream(STDERR_FILENO, 1, 0, "");
	ck_assert(!journal_is_stderr());
	set_stream(STDERR_FILENO, 0, 1, "");
	ck_assert(!journal_is_stderr());
}
END_TEST

START_TEST(nonsense_is_no_stream)
{
	static const char *const values[] = { "", ":", "8", "8:", ":5", "a:b", "8 5", "99999999999999999999999:1" };
	size_t i;

	ck_assert_int_eq(unsetenv("JOURNAL_STREAM"), 0);
	ck_assert(!journal_is_stderr());
	for (i = 0; i < BASE_ARRAY_SIZE(values); i++) {
		ck_assert_int_eq(setenv("JOURNAL_STREAM", values[i], 1), 0);
		ck_assert_msg(!journal_is_stderr(), "taken for a stream: '%s'", values[i]);
	}
	set_stream(STDERR_FILENO, 0, 0, "x");
	ck_assert(!journal_is_stderr());
	set_stream(STDERR_FILENO, 0, 0, "");
	ck_assert_int_eq(close(STDERR_FILENO), 0);
	ck_assert(!journal_is_stderr());
}
END_TEST

/* Keeps our mounts from the rest of the machine. In a chroot "/" need not be a mount; /run then has to be one. */
static int
mounts_make_private(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return -1;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	return mount(NULL, "/run", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* A journald of our own in a mount namespace of our own; -1: not here, and why was printed. */
static int
fake_journald(void)
{
	if (mounts_make_private() < 0 || mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0) {
		printf("SKIP: journal entries: a mount namespace is not to be had here (%s), run as root\n",
		    strerror(errno));
		return -1;
	}
	ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
	ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
	return suite_bind("/run/systemd/journal/socket", SOCK_DGRAM);
}

/* Takes what was logged. A value with a newline travels with its length in binary: its NULs become spaces. */
static void
hear(int fd)
{
	ssize_t n = recv(fd, heard, sizeof(heard) - 1, MSG_DONTWAIT), i;

	ck_assert_int_gt(n, 0);
	for (i = 0; i < n; i++)
		if (heard[i] == '\0')
			heard[i] = ' ';
	heard[n] = '\0';
}

/* How many lines of what was heard are exactly this one. */
static int
heard_lines(const char *line)
{
	size_t len = strlen(line);
	const char *at = heard;
	int n = 0;

	while ((at = strstr(at, line))) {
		if ((at == heard || at[-1] == '\n') && at[len] == '\n')
			n++;
		at += len;
	}
	return n;
}

/* One that takes nothing for a while: everybody may fill its queue, and its disk may hang. */
START_TEST(what_it_has_no_room_for_comes_later)
{
	unsigned n_heard = 0, n_left_out;
	int fd = fake_journald();
	char line[64];

	if (fd < 0)
		return;
	for (unsigned i = 0; i < N_MANY; i++) {
		(void)snprintf(line, sizeof(line), "entry %u of many", i);
		ck_assert_int_eq(journal_send(LOG_INFO, NULL, line), 0);
	}
	ck_assert(journal_keeps_some());
	ck_assert(!journal_flush());
	(void)snprintf(line, sizeof(line), "MESSAGE=entry 0 of many");
	/* In their order, and none twice. */
	for (bool has_all = false; !has_all || recv(fd, heard, 1, MSG_PEEK | MSG_DONTWAIT) > 0;) {
		hear(fd);
		ck_assert_msg(heard_lines(line) == 1, "'%s' is expected: %s", line, heard);
		(void)snprintf(line, sizeof(line), "MESSAGE=entry %u of many", ++n_heard);
		has_all = journal_flush();
	}
	n_left_out = journal_left_out();
	printf("%u entries came later, %u of %u were left out\n", n_heard, n_left_out, N_MANY);
	ck_assert_uint_eq(n_heard + n_left_out, N_MANY);
	ck_assert_uint_eq(journal_left_out(), 0);
	ck_assert_int_eq(journal_send(LOG_INFO, NULL, "as ever"), 0);
	hear(fd);
	ck_assert_int_eq(heard_lines("MESSAGE=as ever"), 1);
	ck_assert_int_eq(heard_lines("SYSLOG_IDENTIFIER=check_journal"), 1);
}
END_TEST

START_TEST(at_the_end_it_is_waited_for_a_moment)
{
	int fd = fake_journald();
	uint64_t begun_ns;

	if (fd < 0)
		return;
	while (!journal_keeps_some())
		ck_assert_int_eq(journal_send(LOG_INFO, NULL, "one of many"), 0);
	begun_ns = clock_monotonic_ns();
	journal_end();
	ck_assert(journal_keeps_some());
	ck_assert_uint_lt(clock_monotonic_ns() - begun_ns, 20 * NS_PER_SEC);
	hear(fd);
	journal_end();
	ck_assert(!journal_keeps_some());
}
END_TEST

START_TEST(entry_carries_its_fields)
{
	static const char id[] = "0123456789abcdef0123456789abcdef";
	struct journal_fields fields = { .message_id = id, .segment = "order-book", .lock = "book", .client_pid = 4711,
		.has_client_uid = true, .client_uid = 0, .error = ENOSPC };
	int fd = fake_journald();

	if (fd < 0)
		return;
	ck_assert_int_eq(journal_send(LOG_WARNING, &fields, "no room for 'order-book'"), 0);
	hear(fd);
	ck_assert_int_eq(heard_lines("MESSAGE=no room for 'order-book'"), 1);
	ck_assert_int_eq(heard_lines("PRIORITY=4"), 1);
	ck_assert_int_eq(heard_lines("MESSAGE_ID=0123456789abcdef0123456789abcdef"), 1);
	ck_assert_int_eq(heard_lines("SEGMENT=order-book"), 1);
	ck_assert_int_eq(heard_lines("LOCK=book"), 1);
	ck_assert_int_eq(heard_lines("CLIENT_PID=4711"), 1);
	ck_assert_int_eq(heard_lines("CLIENT_UID=0"), 1);
	ck_assert_int_eq(heard_lines("ERRNO=28"), 1);
}
END_TEST

START_TEST(object_has_its_fields)
{
	char name[257] = "/";
	const struct journal_object object = { .name = name, .inode = 33, .has_id = true, .id = 7, .uid = 1000, .bytes = 8192,
		.resident_bytes = 4096, .proof = "the kernel says so", .rule = "/etc/segmentd/segmentd.conf:12" };
	struct journal_fields fields = { .object = &object };
	int fd = fake_journald();

	if (fd < 0)
		return;
	memset(name + 1, 'n', 255);
	ck_assert_int_eq(journal_send(LOG_NOTICE, &fields, "removed"), 0);
	hear(fd);
	ck_assert_ptr_nonnull(strstr(heard, name));
	ck_assert_int_eq(heard_lines("OBJECT_INODE=33"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_ID=7"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_UID=1000"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_BYTES=8192"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_RESIDENT=4096"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_PROOF=the kernel says so"), 1);
	ck_assert_int_eq(heard_lines("OBJECT_RULE=/etc/segmentd/segmentd.conf:12"), 1);
	/* A name may be any bytes. */
	(void)strcpy(name, "/a\nOBJECT_FORGED=1");
	ck_assert_int_eq(journal_send(LOG_NOTICE, &fields, "removed"), 0);
	hear(fd);
	ck_assert_int_eq(heard_lines("OBJECT"), 1);
}
END_TEST

START_TEST(absent_fields_are_not_sent)
{
	struct journal_fields fields = { 0 };
	int fd = fake_journald(), i;

	if (fd < 0)
		return;
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(journal_send(LOG_INFO, i ? &fields : NULL, "ready"), 0);
		hear(fd);
		ck_assert_int_eq(heard_lines("MESSAGE=ready"), 1);
		ck_assert_int_eq(heard_lines("PRIORITY=6"), 1);
		ck_assert_ptr_null(strstr(heard, "SEGMENT"));
		ck_assert_ptr_null(strstr(heard, "OBJECT"));
		ck_assert_ptr_null(strstr(heard, "CLIENT_"));
		ck_assert_ptr_null(strstr(heard, "ERRNO"));
		ck_assert_ptr_null(strstr(heard, "MESSAGE_ID"));
	}
}
END_TEST

START_TEST(text_is_bounded_and_begins_no_field)
{
	struct journal_fields fields = { .segment = "a\nSEGMENT_FORGED=1" };
	char text[20000];
	int fd = fake_journald();

	if (fd < 0)
		return;
	ck_assert_int_eq(journal_send(LOG_INFO, &fields, "one\nPRIORITY=0"), 0);
	hear(fd);
	/* With a newline in it a value travels with its length: its name stands alone on its line. */
	ck_assert_int_eq(heard_lines("MESSAGE"), 1);
	ck_assert_int_eq(heard_lines("SEGMENT"), 1);
	ck_assert_int_eq(heard_lines("PRIORITY=6"), 1);

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(journal_send(LOG_INFO, NULL, text), 0);
	hear(fd);
	ck_assert_uint_ge(strlen(heard), 4000);
	ck_assert_uint_le(strlen(heard), 4096 + 256);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("journal");
	TCase *tcase = tcase_create("journal");

	tcase_add_test(tcase, stream_that_is_stderr_is_seen);
	tcase_add_test(tcase, stream_that_is_not_stderr_is_seen);
	tcase_add_test(tcase, nonsense_is_no_stream);
	tcase_add_test(tcase, entry_carries_its_fields);
	tcase_add_test(tcase, what_it_has_no_room_for_comes_later);
	tcase_add_test(tcase, at_the_end_it_is_waited_for_a_moment);
	tcase_add_test(tcase, object_has_its_fields);
	tcase_add_test(tcase, absent_fields_are_not_sent);
	tcase_add_test(tcase, text_is_bounded_and_begins_no_field);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
