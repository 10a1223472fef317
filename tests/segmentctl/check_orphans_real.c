/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `orphans` with the real segmentd-audit, in a /dev/shm and an IPC namespace of the test's own: programs that never heard of us
 * leave things behind, or do not.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/audit/python.h"
#include "tests/audit/rig.h"
#include "tests/harness.h"
#include "tests/segmentctl/run.h"

#define RUN(...) run_segmentctl("orphans", __VA_ARGS__, NULL)
#define KEY	0x5e96d

static void
begin(void)
{
	(void)setenv("SEGMENTD_AUDIT", AUDIT_BUILT, 1);
	rig_enter_private_shm();
}

/* A program in C that uses both kinds, until it is told to end, or is killed. */
static void
use_both(int control, void *arg)
{
	int fd = shm_open("/used", O_RDWR | O_CREAT | O_EXCL, 0600), id = shmget(KEY, 64 * KIB, IPC_CREAT | IPC_EXCL | 0600);
	char *mapped, *attached;

	harness_assert(fd >= 0 && ftruncate(fd, (off_t)MIB) == 0, "shm_open: %s", strerror(errno));
	mapped = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	harness_assert(mapped != MAP_FAILED && close(fd) == 0, "mmap: %s", strerror(errno));
	attached = id >= 0 ? shmat(id, NULL, 0) : (void *)-1;
	harness_assert(attached != (void *)-1, "shmat: %s", strerror(errno));
	memset(mapped, 'x', 512 * KIB);
	memset(attached, 'x', 64 * KIB);
	harness_say(control, "in use");
	harness_expect(control, "end");
}

START_TEST(what_the_dead_left_is_found_and_what_is_used_is_not)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct run *run;
	char creator[64];

	begin();
	harness_child_start(&child, use_both, NULL);
	harness_expect(child.control, "in use");
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "no orphan: 2 objects were looked at\n");
	ck_assert_str_eq(run->err, "");
	run = RUN("/used", "0x5e96d");
	assert_has(run->out, "write lease refused");
	assert_has(run->out, "nattch 1");
	/* Nor is it removed when asked for. */
	run = RUN("--remove", "--yes", "/used", "0x5e96d");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(rig_exists("used"));
	(void)snprintf(creator, sizeof(creator), "%d (gone)", (int)child.pid);
	harness_child_kill(&child);
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "/used");
	assert_has(run->out, "512 KiB");
	assert_has(run->out, "write lease granted");
	assert_has(run->out, "0x0005e96d");
	assert_has(run->out, "nattch 0");
	assert_has(run->out, creator);
	assert_has(run->out, "2 orphans, 576 KiB\n");
	run = RUN("--json");
	assert_has(run->out, "\"resident\": 524288");
	assert_has(run->out, "\"size\": 1048576");
	assert_has(run->out, "\"creator_lives\": false");
	assert_has(run->out, "\"wasted\": 589824");
}
END_TEST

START_TEST(removal_removes_what_was_listed_and_nothing_else)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct run *run;
	int id;

	begin();
	rig_make("left", 0, 0600);
	rig_make("kept", 0, 0600);
	id = shmget(IPC_PRIVATE, 4096, 0600);
	ck_assert_int_ge(id, 0);
	harness_child_start(&child, use_both, NULL);
	harness_expect(child.control, "in use");
	run = RUN("--remove", "--yes", "left");
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%s%s", run->out, run->err);
	assert_has(run->out, "removed  /left: ");
	ck_assert(!rig_exists("left"));
	ck_assert(rig_exists("kept"));
	run = RUN("--remove", "--yes");
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%s%s", run->out, run->err);
	assert_has(run->out, "2 of 2 removed");
	ck_assert(!rig_exists("kept"));
	ck_assert(rig_exists("used"));
	ck_assert_int_eq(shmget(KEY, 0, 0) >= 0, 1);
	ck_assert_int_eq(shmctl(id, IPC_STAT, &(struct shmid_ds){ 0 }), -1);
	/* And who uses the others never noticed. */
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(what_is_no_shared_memory_is_left_alone)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/shm/socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct run *run;

	begin();
	ck_assert_int_eq(mkfifo("/dev/shm/fifo", 0600), 0);
	ck_assert_int_eq(mkdir("/dev/shm/directory", 0700), 0);
	ck_assert_int_eq(symlink("/etc/passwd", "/dev/shm/link"), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	rig_make("new\nline\033[31m", 0, 0600);
	rig_make("two", 0, 0600);
	ck_assert_int_eq(link("/dev/shm/two", "/dev/shm/names"), 0);
	run = run_segmentctl("orphans", NULL);
	assert_has(run->out, "/new\\012line\\033[31m");
	assert_has(run->out, "1 orphan, ");
	assert_lacks(run->out, "fifo");
	run = RUN("--remove", "--yes", "fifo", "directory", "link", "socket", "two", "names");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->out, "unfit    /fifo: ");
	run = RUN("--remove", "--yes");
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%s%s", run->out, run->err);
	ck_assert(rig_exists("fifo") && rig_exists("directory") && rig_exists("link") && rig_exists("socket") && rig_exists("two"));
	ck_assert(!rig_exists("new\nline\033[31m"));
	(void)close(fd);
}
END_TEST

START_TEST(who_lacks_rights_is_told_what_and_gets_the_rest)
{
	const struct run *run;

	harness_need_root();
	begin();
	rig_make("of-root", 0, 0600);
	rig_make("of-nobody", HARNESS_NOBODY, 0600);
	ck_assert_int_ge(shmget(KEY, 4096, IPC_CREAT | 0600), 0);
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	run = run_segmentctl("orphans", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "/of-nobody");
	assert_has(run->out, "0x0005e96d");
	assert_lacks(run->out, "/of-root");
	assert_has(run->err, "1 of 3 objects could not be judged: that takes CAP_");
	assert_has(run->err, "segmentd-audit.socket");
	run = RUN("--remove", "--yes", "of-root");
	ck_assert_int_eq(run->status, SEGMENTCTL_NOT_PERMITTED);
	run = RUN("--remove", "--yes", "0x5e96d");
	ck_assert_msg(run->status == SEGMENTCTL_NOT_PERMITTED, "%s%s", run->out, run->err);
	run = RUN("--remove", "--yes", "of-nobody");
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%s%s", run->out, run->err);
	ck_assert(rig_exists("of-root"));
	ck_assert(!rig_exists("of-nobody"));
}
END_TEST

START_TEST(a_daemons_segments_are_no_orphans)
{
	struct harness_daemon daemon;
	const struct run *run;

	begin();
	harness_daemon_start(&daemon, NULL,
	    "segments = ( { name = \"by-name\"; size = \"64KiB\"; mlock = false; backend = \"posix\"; object = \"/of-the-daemon\"; },\n"
	    "  { name = \"by-key\"; size = \"64KiB\"; mlock = false; backend = \"sysv\"; key = 0x5e96d; },\n"
	    "  { name = \"private\"; size = \"64KiB\"; mlock = false; backend = \"sysv\"; } );\n");
	rig_make("stray", 0, 0600);
	run = run_segmentctl("orphans", NULL);
	assert_has(run->out, "/stray");
	assert_has(run->out, "1 orphan, ");
	run = RUN("--all");
	assert_has(run->out, "/of-the-daemon");
	assert_has(run->out, "0x0005e96d");
	harness_daemon_stop(&daemon);
}
END_TEST

/* Python's own shared memory, whose tracker is killed with it. */
START_TEST(what_python_left_is_found)
{
	struct python python;
	char object[80];

	python_must_be_there();
	begin();
	python_start(&python);
	(void)snprintf(object, sizeof(object), "/%s", python.name);
	assert_lacks(run_segmentctl("orphans", NULL)->out, object);
	python_kill(&python);
	assert_has(run_segmentctl("orphans", NULL)->out, object);
	assert_has(RUN("--json", object)->out, "\"resident\": 65536");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-orphans-real");
	TCase *tcase = tcase_create("orphans");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_the_dead_left_is_found_and_what_is_used_is_not);
	tcase_add_test(tcase, removal_removes_what_was_listed_and_nothing_else);
	tcase_add_test(tcase, what_is_no_shared_memory_is_left_alone);
	tcase_add_test(tcase, who_lacks_rights_is_told_what_and_gets_the_rest);
	tcase_add_test(tcase, a_daemons_segments_are_no_orphans);
	tcase_add_test(tcase, what_python_left_is_found);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
