/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segmentd-audit that is killed in the middle of a removal, by the real daemon's rule: what has no name then is settled by the next
 * one, that the daemon starts for just that; and where there is none, the log and the metrics say where it is. The program that the
 * daemon starts is this one, which has the kernel kill it where a removal waits for who might come, and becomes segmentd-audit.
 */
#include "config.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/audit/rig.h"
#include "tests/system/reloading.h"
#include "tests/system/suite.h"

#define PLAN	"UNSETTLED_PLAN"	/* in the environment: a directory, whose files say what becomes of the next */
#define DESK	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", ""))
#define RULES	DESK "orphans = ( { posix = \"/left*\"; after = \"1ms\"; action = \"remove\"; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;
static char plan[64], program[80];

/* segmentd-audit's part. */

static void
die_at(uint32_t call)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog whole = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole))
		_exit(98);
}

static const char *
plan_of(const char *what)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", getenv(PLAN), what);
	return path;
}

static bool
is_planned(const char *what)
{
	return unlink(plan_of(what)) == 0;
}

static int
become_audit(void)
{
	if (is_planned("none"))
		return 0;
	if (is_planned("killed"))
		die_at(SYS_ppoll);
	if (is_planned("last"))
		(void)is_planned("segmentd-audit");
	(void)execl(AUDIT_BUILT, "segmentd-audit", (char *)NULL);
	return 99;
}

/* The test's. */

static void
make_plan(const char *what)
{
	cleanup_close int fd = -1;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", plan, what);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
}

static void
make_program(void)
{
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	ck_assert_int_eq(symlink(self, program), 0);
}

/* None answers at the daemon's start; the next one is started for the first removal, and dies over it. */
static void
begin(bool is_last)
{
	rig_enter_private_shm();
	(void)strcpy(plan, "/tmp/segmentd-test-plan-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(plan));
	(void)snprintf(program, sizeof(program), "%s/segmentd-audit", plan);
	make_program();
	make_plan("none");
	make_plan("killed");
	if (is_last)
		make_plan("last");
	(void)setenv(PLAN, plan, 1);
	(void)setenv("SEGMENTD_AUDIT", program, 1);
	harness_daemon_start(&daemon_, NULL, RULES);
}

static void
end(void)
{
	harness_daemon_stop(&daemon_);
	(void)unlink(program);
	ck_assert_int_eq(rmdir(plan), 0);
}

static void
await_removed(const char *name)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "POSIX object \"/%s\" was an orphan, and was removed", name);
	harness_daemon_await_log(&daemon_, text);
	ck_assert(!rig_exists(name));
}

/* Objects in it, whatever their names; those that are there under theirs are not counted. */
static size_t
count_set_aside(void)
{
	glob_t found = { 0 };
	size_t n;

	(void)glob("/dev/shm/.segmentd-quarantine-*/*/*", GLOB_PERIOD | GLOB_NOSORT, NULL, &found);
	n = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct stat status;

		n += lstat(found.gl_pathv[i], &status) == 0 && S_ISREG(status.st_mode);
	}
	globfree(&found);
	return n;
}

/* Nothing else is due, or will ever be. */
START_TEST(what_a_killed_removal_left_is_settled_and_removed)
{
	begin(false);
	rig_make("left", 0, 0600);
	await_removed("left");
	reloading_expect(harness_daemon_log(&daemon_), "'left', whose removal was not finished, has its name back");
	ck_assert_uint_eq(rig_count(), 0);
	end();
}
END_TEST

START_TEST(what_nobody_can_settle_is_told)
{
	begin(true);
	rig_make("left", 0, 0600);
	harness_daemon_await_log(&daemon_, "waits in /dev/shm/.segmentd-quarantine-*/INODE/");
	reloading_expect(harness_daemon_log(&daemon_), "while it was removing POSIX object \"/left\" (inode ");
	ck_assert_uint_eq(count_set_aside(), 1);
	ck_assert(!rig_exists("left"));
	ck_assert_uint_eq(suite_figure(&daemon_, "segmentd_audits_unsettled"), 1);
	make_program();
	/* Whoever asks anything now has it settled, and nobody has to wait for the daemon's next attempt. */
	rig_make("left2", 0, 0600);
	harness_daemon_await_log(&daemon_, "nothing waits in quarantine any more");
	await_removed("left2");
	await_removed("left");
	ck_assert_uint_eq(suite_figure(&daemon_, "segmentd_audits_unsettled"), 0);
	end();
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("unsettled");
	TCase *tcase = tcase_create("unsettled");

	if (argc > 0 && streq(argv[0], "segmentd-audit"))
		return become_audit();
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_a_killed_removal_left_is_settled_and_removed);
	tcase_add_test(tcase, what_nobody_can_settle_is_told);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
