/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a removal that was killed has left: the next one gives it its name back, or removes what nobody has. Made by hand for what
 * seldom is, and by killing it at each of its system calls.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/audit/quarantine.h"
#include "tests/audit/rig.h"

#define QUARANTINE	".segmentd-quarantine-00000001"
#define REMOVE		AUDIT_CANDIDATE_REMOVE

static void
setup(void)
{
	rig_enter_private_shm();
	ck_assert_int_eq(chdir("/dev/shm"), 0);
}

/* Moves a file into a quarantine, as one that has this number. */
static void
leave(const char *name, ino_t inode)
{
	char path[512];

	ck_assert(mkdir(QUARANTINE, 0700) == 0 || errno == EEXIST);
	(void)snprintf(path, sizeof(path), QUARANTINE "/%ju", (uintmax_t)inode);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), QUARANTINE "/%ju/%s", (uintmax_t)inode, name);
	ck_assert_int_eq(rename(name, path), 0);
}

static ino_t
make_and_leave(const char *name)
{
	ino_t inode;

	rig_make(name, geteuid(), 0600);
	inode = rig_inode(name);
	leave(name, inode);
	return inode;
}

/* A new run, and a removal of what is not there. */
static void
settle(void)
{
	static const struct audit_candidate nothing = { .what = AUDIT_POSIX, .flags = REMOVE, .shm_id = -1, .name = "nothing" };

	rig_start();
	ck_assert_uint_eq(rig_judge_one(nothing)->verdict, AUDIT_GONE);
	rig_stop();
}

START_TEST(what_was_left_has_its_name_back)
{
	ino_t one = make_and_leave("one"), two = make_and_leave("new\nline");

	settle();
	ck_assert_uint_eq(rig_inode("one"), one);
	ck_assert_uint_eq(rig_inode("new\nline"), two);
	ck_assert_uint_eq(rig_count(), 2);
}
END_TEST

/* Whoever looks at objects finds it, not only who removes: as long as it has no name nobody could see it. */
START_TEST(who_only_looks_gives_it_back_too)
{
	static const struct audit_candidate nothing = { .what = AUDIT_POSIX, .shm_id = -1, .name = "nothing" };
	ino_t one = make_and_leave("one");

	rig_start();
	ck_assert_uint_eq(rig_judge_one(nothing)->verdict, AUDIT_GONE);
	rig_stop();
	ck_assert_uint_eq(rig_inode("one"), one);
	leave("one", one);
	rig_start();
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 1);
	ck_assert_str_eq(rig.strays[0].name, "one");
	ck_assert_uint_eq(rig.strays[0].inode, one);
	rig_stop();
	leave("one", one);
	rig_start();
	ck_assert_uint_eq(rig_judge(NULL, 0), 0);
	rig_stop();
	ck_assert_uint_eq(rig_inode("one"), one);
	ck_assert(!rig_exists(QUARANTINE));
}
END_TEST

/* Nor is it asked anything that would have it look at them: at its end it does. */
START_TEST(who_asks_of_something_else_or_nothing_gives_it_back_at_the_end)
{
	ino_t one = make_and_leave("one");
	cleanup_close int fd = memfd_create("memory", MFD_CLOEXEC);
	struct audit_object object = rig_object(fd);

	rig_start();
	ck_assert_uint_eq(rig_who(&object, 1), 1);
	ck_assert(!rig_exists("one"));
	rig_stop();
	ck_assert_uint_eq(rig_inode("one"), one);
	leave("one", one);
	rig_start();
	rig_stop();
	ck_assert_uint_eq(rig_inode("one"), one);
	ck_assert(!rig_exists(QUARANTINE));
}
END_TEST

/* The path of the one that is there, and of something in it. */
static void
find_quarantine(char *buf, size_t size, const char *entry)
{
	glob_t found;

	ck_assert_int_eq(glob(".segmentd-quarantine-*", GLOB_PERIOD, NULL, &found), 0);
	ck_assert_uint_eq(found.gl_pathc, 1);
	(void)snprintf(buf, size, "%s%s", found.gl_pathv[0], entry);
	globfree(&found);
}

/* By what fails for a moment only: here by what somebody with our rights has put there for as long. */
START_TEST(what_could_not_be_removed_is_at_its_end)
{
	char quarantine[64], obstacle[80];
	struct audit_candidate candidate;

	rig_make("object", geteuid(), 0600);
	candidate = rig_candidate("object", REMOVE);
	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	find_quarantine(quarantine, sizeof(quarantine), "");
	find_quarantine(obstacle, sizeof(obstacle), "/obstacle");
	ck_assert_int_eq(mkdir(obstacle, 0700), 0);
	rig_let_go();
	rig_receive(AUDIT_JUDGE);
	ck_assert_uint_eq(rig.strays[0].verdict, AUDIT_REMOVED);
	ck_assert_int_eq(rmdir(obstacle), 0);
	ck_assert(rig_exists(quarantine));
	rig_stop();
	ck_assert(!rig_exists(quarantine));
	ck_assert_uint_eq(rig_count(), 0);
}
END_TEST

START_TEST(what_has_lost_its_name_is_removed_when_nobody_has_it)
{
	ino_t other;

	(void)make_and_leave("object");
	rig_make("object", geteuid(), 0600);
	other = rig_inode("object");
	settle();
	ck_assert_uint_eq(rig_inode("object"), other);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

/* While somebody has it. */
static ino_t
leave_held(const char *name, int *ret_fd)
{
	ino_t inode;

	rig_make(name, geteuid(), 0600);
	inode = rig_inode(name);
	*ret_fd = open(name, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(*ret_fd, 0);
	leave(name, inode);
	return inode;
}

START_TEST(what_somebody_has_waits_for_its_name)
{
	ino_t inode, other;
	int fd;

	inode = leave_held("object", &fd);
	rig_make("object", geteuid(), 0600);
	other = rig_inode("object");
	settle();
	ck_assert(rig.end.flags & AUDIT_UNSETTLED);
	ck_assert_uint_eq(rig_inode("object"), other);
	ck_assert(rig_exists(QUARANTINE));
	ck_assert_int_eq(unlink("object"), 0);
	settle();
	ck_assert(!(rig.end.flags & AUDIT_UNSETTLED));
	ck_assert_uint_eq(rig_inode("object"), inode);
	ck_assert_uint_eq(rig_count(), 1);
	(void)close(fd);
}
END_TEST

static const struct audit_stray *
find_kept(const char *name)
{
	const struct audit_stray *found = NULL;

	for (size_t i = 0; i < rig.n_rows; i++)
		if (rig.strays[i].verdict == AUDIT_KEPT) {
			ck_assert_ptr_null(found);
			found = &rig.strays[i];
		}
	if (found)
		ck_assert_str_eq(found->name, name);
	return found;
}

/* It has memory, and nobody else could see it. */
START_TEST(what_waits_is_listed)
{
	const struct audit_stray *kept;
	ino_t inode;
	int fd;

	inode = leave_held("object", &fd);
	rig_make("object", geteuid(), 0600);
	rig_start();
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 2);
	ck_assert(rig.end.flags & AUDIT_UNSETTLED);
	kept = find_kept("object");
	ck_assert_ptr_nonnull(kept);
	ck_assert_uint_eq(kept->inode, inode);
	ck_assert_int_eq(kept->error, -EEXIST);
	ck_assert_uint_eq(kept->size_bytes, 8);
	(void)close(fd);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 1);
	ck_assert(!(rig.end.flags & AUDIT_UNSETTLED));
	ck_assert_ptr_null(find_kept("object"));
	rig_stop();
}
END_TEST

/* It was somebody's run without our rights, and is listed for who may look; but not what a run that lives has for the moment. */
START_TEST(what_waits_for_another_users_run_is_listed)
{
	const struct audit_stray *kept;
	ino_t inode;
	int fd;

	harness_need_root();
	inode = make_and_leave("object");
	ck_assert_int_eq(chown(QUARANTINE, HARNESS_NOBODY, HARNESS_NOBODY), 0);
	rig_start();
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 1);
	kept = find_kept("object");
	ck_assert_ptr_nonnull(kept);
	ck_assert_uint_eq(kept->inode, inode);
	ck_assert_int_eq(kept->error, -EACCES);
	fd = open(QUARANTINE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 0);
	(void)close(fd);
	rig_stop();
}
END_TEST

/* Whoever keeps many waiting does not fill the log with them. */
START_TEST(many_that_wait_are_told_of_in_one_line)
{
	static char said[4096];
	int log = memfd_create("log", MFD_CLOEXEC), before = dup(STDERR_FILENO);
	ssize_t n;

	ck_assert(log >= 0 && before >= 0);
	for (unsigned i = 0; i < 50; i++) {
		char name[32];
		ino_t inode;

		(void)snprintf(name, sizeof(name), "object\x1b%u", i);
		rig_make(name, geteuid(), 0600);
		inode = rig_inode(name);
		ck_assert_int_ge(open(name, O_RDWR | O_CLOEXEC), 0);
		leave(name, inode);
		rig_make(name, geteuid(), 0600);
	}
	ck_assert_int_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
	settle();
	ck_assert_int_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
	n = pread(log, said, sizeof(said) - 1, 0);
	ck_assert_int_gt(n, 0);
	ck_assert_ptr_nonnull(strstr(said, "and 49 others have to wait"));
	ck_assert_ptr_eq(strchr(said, '\n'), said + n - 1);
	ck_assert_ptr_null(strchr(said, 0x1b));
}
END_TEST

/* It was another one that had the name in the last moment: nobody asked for its removal, held or not. */
START_TEST(what_was_never_to_be_removed_is_not)
{
	ino_t inode;

	rig_make("object", geteuid(), 0600);
	inode = rig_inode("object");
	leave("object", inode + 1000);
	rig_make("object", geteuid(), 0600);
	settle();
	ck_assert(rig_exists(QUARANTINE));
	ck_assert_int_eq(unlink("object"), 0);
	settle();
	ck_assert_uint_eq(rig_inode("object"), inode);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(other_things_than_files_have_their_names_back)
{
	ck_assert_int_eq(mkdir("directory", 0700), 0);
	leave("directory", 77);
	ck_assert_int_eq(symlink("nowhere", "link"), 0);
	leave("link", 78);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	leave("fifo", 79);
	settle();
	ck_assert(rig_exists("directory") && rig_exists("link") && rig_exists("fifo"));
	ck_assert_uint_eq(rig_count(), 3);
}
END_TEST

static int
ask_until(const struct audit_stray *stray, void *arg)
{
	unsigned *left = arg;

	ck_assert_ptr_null(stray);
	return *left && --*left ? 0 : -ETIME;
}

/* As many as anybody likes to make: who lists is asked at each of them whether there is time. */
START_TEST(what_is_nothing_takes_no_time_that_is_over)
{
	cleanup_close int dir_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned left = 100;
	char path[64];

	ck_assert_int_eq(mkdir(QUARANTINE, 0700), 0);
	for (unsigned i = 1; i <= 200; i++) {
		(void)snprintf(path, sizeof(path), QUARANTINE "/%u", i);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	ck_assert_int_eq(quarantine_list(dir_fd, QUARANTINE, ask_until, &left), -ETIME);
	ck_assert_uint_eq(left, 0);
	left = UINT_MAX;
	ck_assert_int_eq(quarantine_list(dir_fd, QUARANTINE, ask_until, &left), 0);
	ck_assert_uint_ge(UINT_MAX - left, 400);
}
END_TEST

START_TEST(what_is_not_our_quarantine_is_left_alone)
{
	(void)make_and_leave("object");
	/* Somebody else could get in. */
	ck_assert_int_eq(chmod(QUARANTINE, 0755), 0);
	settle();
	ck_assert(!rig_exists("object"));
	ck_assert_int_eq(chmod(QUARANTINE, 01700), 0);
	settle();
	ck_assert(!rig_exists("object"));
	ck_assert_int_eq(chmod(QUARANTINE, 0700), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(QUARANTINE, HARNESS_NOBODY, HARNESS_NOBODY), 0);
		settle();
		ck_assert(!rig_exists("object"));
		ck_assert_int_eq(chown(QUARANTINE, 0, 0), 0);
	}
	ck_assert_int_eq(rename(QUARANTINE, "elsewhere"), 0);
	ck_assert_int_eq(symlink("elsewhere", QUARANTINE), 0);
	settle();
	ck_assert(!rig_exists("object"));
	ck_assert_int_eq(unlink(QUARANTINE), 0);
	rig_make(QUARANTINE, geteuid(), 0600);
	settle();
	ck_assert(rig_exists(QUARANTINE));
	ck_assert_int_eq(unlink(QUARANTINE), 0);
	ck_assert_int_eq(rename("elsewhere", QUARANTINE), 0);
	settle();
	ck_assert(rig_exists("object"));
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(quarantine_of_one_that_lives_is_left_alone)
{
	int fd;

	(void)make_and_leave("object");
	fd = open(QUARANTINE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	settle();
	ck_assert(!rig_exists("object"));
	(void)close(fd);
	settle();
	ck_assert(rig_exists("object"));
}
END_TEST

/* What else has got there, by an administrator, is kept, and so is the directory. */
START_TEST(what_we_did_not_leave_stays)
{
	ck_assert_int_eq(mkdir(QUARANTINE, 0700), 0);
	rig_make(QUARANTINE "/file", geteuid(), 0600);
	ck_assert_int_eq(mkdir(QUARANTINE "/1", 0700), 0);
	ck_assert_int_eq(mkdir(QUARANTINE "/1x", 0700), 0);
	rig_make(QUARANTINE "/1x/file", geteuid(), 0600);
	ck_assert_int_eq(symlink("/", QUARANTINE "/2"), 0);
	settle();
	ck_assert(rig_exists(QUARANTINE "/file") && rig_exists(QUARANTINE "/1x/file") && !rig_exists(QUARANTINE "/1"));
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

/* One cannot be asked for, either. */
START_TEST(quarantine_is_no_object)
{
	cleanup_close int fd = -1;

	ck_assert_int_eq(mkdir("/dev/shm/" QUARANTINE, 0700), 0);
	fd = open(QUARANTINE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	rig_start();
	ck_assert_uint_eq(rig_judge_one(rig_candidate(QUARANTINE, 0))->verdict, AUDIT_UNFIT);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 0);
	rig_stop();
}
END_TEST

/* Nobody hides memory by the name. */
START_TEST(file_that_is_called_as_a_quarantine_is_an_object)
{
	rig_make(QUARANTINE, geteuid(), 0600);
	rig_start();
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 1);
	ck_assert_uint_eq(rig.strays[0].verdict, AUDIT_UNHELD);
	ck_assert_uint_eq(rig_judge_one(rig_candidate(QUARANTINE, REMOVE))->verdict, AUDIT_REMOVED);
	rig_stop();
	ck_assert(!rig_exists(QUARANTINE));
}
END_TEST

/* Killed. */

static const char *const names[] = { "held", "one", "two", "new\nline" };

/* Lets it go on to its n-th system call from here, and kills it there. False: it has answered and waits for more. */
static bool
kill_at(unsigned n)
{
	bool has_answered = false;
	int status;

	ck_assert_int_eq(ptrace(PTRACE_SYSCALL, rig.pid, NULL, NULL), 0);
	for (unsigned i = 0; i < n;) {
		struct __ptrace_syscall_info info;
		bool is_asker;
		int sig;

		status = harness_await_state(rig.pid, 0, "segmentd-audit's next system call");
		ck_assert(WIFSTOPPED(status));
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80)) {
			ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, rig.pid, sizeof(info), &info), 0);
			is_asker = info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.args[0] == STDIN_FILENO;
			if (is_asker && info.entry.nr == SYS_recvfrom && has_answered)
				return false;
			has_answered = has_answered || (is_asker && info.entry.nr == SYS_sendto);
			i++;
			sig = 0;
		}
		if (i < n)
			ck_assert_int_eq(ptrace(PTRACE_SYSCALL, rig.pid, NULL, (void *)(intptr_t)sig), 0);
	}
	return true;
}

/* Each is where it was, or removed as it should be; and the held one is where it was. */
static unsigned
expect_all_settled(const struct audit_candidate *candidates)
{
	unsigned n_left = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		ino_t inode = rig_inode(names[i]);

		ck_assert(inode == candidates[i].inode || (inode == 0 && i > 0));
		n_left += inode != 0;
	}
	ck_assert_uint_eq(rig_count(), n_left);
	return n_left;
}

START_TEST(killed_at_any_system_call_it_leaves_nothing_behind)
{
	unsigned step = harness_is_full() ? 1 : 5, n_all = 0, n_none = 0, n_kills = 0;
	bool is_killed = true;

	for (unsigned n = 1; is_killed; n += step) {
		struct audit_candidate candidates[BASE_ARRAY_SIZE(names)];
		unsigned n_left;
		int fd;

		for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
			rig_make(names[i], geteuid(), 0600);
			candidates[i] = rig_candidate(names[i], REMOVE);
		}
		fd = open(names[0], O_RDONLY | O_CLOEXEC);
		rig_begin_traced(candidates, BASE_ARRAY_SIZE(names));
		is_killed = kill_at(n);
		n_kills += is_killed;
		rig_kill();
		settle();
		n_left = expect_all_settled(candidates);
		n_all += n_left == BASE_ARRAY_SIZE(names);
		n_none += n_left == 1;
		(void)close(fd);
		for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
			(void)unlink(names[i]);
	}
	/* It was seen before anything was removed, and after everything was. */
	ck_assert_uint_gt(n_all, 0);
	ck_assert_uint_gt(n_none, 0);
	printf("killed %u times\n", n_kills);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("quarantine");
	TCase *tests = tcase_create("quarantine");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, what_was_left_has_its_name_back);
	tcase_add_test(tests, who_only_looks_gives_it_back_too);
	tcase_add_test(tests, who_asks_of_something_else_or_nothing_gives_it_back_at_the_end);
	tcase_add_test(tests, what_could_not_be_removed_is_at_its_end);
	tcase_add_test(tests, what_has_lost_its_name_is_removed_when_nobody_has_it);
	tcase_add_test(tests, what_somebody_has_waits_for_its_name);
	tcase_add_test(tests, what_waits_is_listed);
	tcase_add_test(tests, what_waits_for_another_users_run_is_listed);
	tcase_add_test(tests, many_that_wait_are_told_of_in_one_line);
	tcase_add_test(tests, what_was_never_to_be_removed_is_not);
	tcase_add_test(tests, other_things_than_files_have_their_names_back);
	tcase_add_test(tests, what_is_not_our_quarantine_is_left_alone);
	tcase_add_test(tests, quarantine_of_one_that_lives_is_left_alone);
	tcase_add_test(tests, what_we_did_not_leave_stays);
	tcase_add_test(tests, what_is_nothing_takes_no_time_that_is_over);
	tcase_add_test(tests, quarantine_is_no_object);
	tcase_add_test(tests, file_that_is_called_as_a_quarantine_is_an_object);
	tcase_add_test(tests, killed_at_any_system_call_it_leaves_nothing_behind);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
