/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A journal that takes nothing: anybody may fill the queue of its socket, which is everybody's, and what it has to write may hang
 * with its disk. The daemon goes on, and what it had to say comes when there is room.
 */
#include "config.h"

#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/system/reloading.h"
#include "tests/system/suite.h"

#define JOURNAL	"/run/systemd/journal"
#define DESK	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", ""))

static const struct sockaddr_un journal_address = { .sun_family = AF_UNIX, .sun_path = JOURNAL "/socket" };

/* The journal's socket, whose queue is full, in a /run of our own. */
static int
full_journal(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (unshare(CLONE_NEWNS) || harness_make_private("/run") || mount("tmpfs", "/run", "tmpfs", 0, "mode=755"))
		harness_skip("no mounts of our own are to be had: %s", strerror(errno));
	ck_assert(mkdir("/run/systemd", 0755) == 0 && mkdir(JOURNAL, 0755) == 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&journal_address, sizeof(journal_address)), 0);
	while (sendto(sender, "MESSAGE=noise\n", 14, MSG_DONTWAIT, (const struct sockaddr *)&journal_address,
	    sizeof(journal_address)) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	(void)close(sender);
	return fd;
}

/* As the service manager says it, where standard error is the journal's. */
static void
log_to_journal(void *arg)
{
	char stream[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	(void)setenv("JOURNAL_STREAM", stream, 1);
}

/* Takes what there is until the text came. */
static void
await_entry(int fd, const char *text)
{
	char entry[8192];
	ssize_t n;

	do {
		harness_await_readable(fd, text);
		n = recv(fd, entry, sizeof(entry) - 1, 0);
		ck_assert_int_gt((int)n, 0);
		entry[n] = '\0';
	} while (!strstr(entry, text));
}

START_TEST(a_journal_that_takes_nothing_holds_up_nobody)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	int fd;

	harness_need_root();
	fd = full_journal();
	harness_daemon_prepare(&daemon, NULL, DESK);
	daemon.before_exec = log_to_journal;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	for (unsigned i = 0; i < 20; i++)
		suite_serves(&daemon);
	await_entry(fd, "segment 'desk' (64 KiB) is ready");
	await_entry(fd, "ready after");
	harness_daemon_stop(&daemon);
	await_entry(fd, "stopping on signal");
	(void)close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("journalheld");
	TCase *tcase = tcase_create("journalheld");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_journal_that_takes_nothing_holds_up_nobody);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
