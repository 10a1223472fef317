/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who comes in the middle of a removal, made sure of: segmentd-audit stands still where it has just taken the name away, or is
 * about to. Who had found the object before is one with an O_PATH descriptor of it, who opens it now without its name.
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/audit/rig.h"

#define NAME	"object"
#define PATH	"/dev/shm/" NAME

static struct audit_candidate candidate;
static int path_fd = -1;

static void
setup(void)
{
	rig_enter_private_shm();
	ck_assert_int_eq(chdir("/dev/shm"), 0);
	rig_make(NAME, geteuid(), 0600);
	candidate = rig_candidate(NAME, AUDIT_CANDIDATE_REMOVE);
	path_fd = open(NAME, O_PATH | O_CLOEXEC);
	ck_assert_int_ge(path_fd, 0);
}

static void
teardown(void)
{
	rig_stop();
}

/* Opens what was found before, says so, and keeps it until it is told otherwise. */
static void
open_late(int control, void *arg)
{
	char link[64], path[128];
	ssize_t n;
	int fd;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, O_RDWR | O_CLOEXEC | *(int *)arg);
	if (fd < 0) {
		harness_say(control, errno == EWOULDBLOCK ? "would wait" : strerror(errno));
		return;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	harness_say(control, streq(path, PATH) ? "named" : strstr(path, "quarantine") ? "set aside" : "lost");
	harness_expect(control, "end");
}

/* Somebody waits for the lease on the object. */
static bool
is_awaited(void)
{
	char line[256], inode[32];
	FILE *locks = fopen("/proc/locks", "re");
	bool found = false;

	ck_assert_ptr_nonnull(locks);
	(void)snprintf(inode, sizeof(inode), ":%ju ", (uintmax_t)candidate.inode);
	while (!found && fgets(line, sizeof(line), locks))
		found = strstr(line, "LEASE") && strstr(line, "BREAKING") && strstr(line, inode);
	(void)fclose(locks);
	return found;
}

static void
begin_late(struct harness_child *child, int flags)
{
	static int open_flags;
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	open_flags = flags;
	harness_child_start(child, open_late, &open_flags);
	while (!(flags & O_NONBLOCK) && !is_awaited()) {
		harness_assert(harness_clock_ns() < until_ns, "waited %d ms for somebody to wait for the lease", HARNESS_TIMEOUT_MS);
		(void)sched_yield();
	}
}

static void
expect(enum audit_verdict verdict, int error)
{
	rig_receive(AUDIT_JUDGE);
	ck_assert_uint_eq(rig.n_rows, 1);
	ck_assert_msg(rig.strays[0].verdict == verdict && rig.strays[0].error == error, "%s (%s)",
	    audit_verdict_name(rig.strays[0].verdict), strerror(-rig.strays[0].error));
}

static void
finish(struct harness_child *child, const char *word)
{
	harness_expect(child->control, word);
	harness_say(child->control, "end");
	harness_child_await_success(child);
}

START_TEST(who_comes_late_has_it_with_its_name)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	ck_assert(!rig_exists(NAME));
	begin_late(&child, 0);
	rig_let_go();
	expect(AUDIT_CHANGED, 0);
	finish(&child, "named");
	ck_assert_uint_eq(rig_inode(NAME), candidate.inode);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(who_would_not_wait_finds_it_again)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	begin_late(&child, O_NONBLOCK);
	harness_expect(child.control, "would wait");
	harness_child_await_success(&child);
	rig_let_go();
	expect(AUDIT_CHANGED, 0);
	ck_assert_uint_eq(rig_inode(NAME), candidate.inode);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(who_links_it_elsewhere_keeps_it)
{
	char link[64];

	if (geteuid() != 0)
		harness_skip("linking what has no name that one can reach takes CAP_DAC_READ_SEARCH");
	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	ck_assert_int_eq(linkat(AT_FDCWD, link, AT_FDCWD, "second", AT_SYMLINK_FOLLOW), 0);
	rig_let_go();
	expect(AUDIT_CHANGED, 0);
	ck_assert_uint_eq(rig_inode(NAME), candidate.inode);
	ck_assert_uint_eq(rig_inode("second"), candidate.inode);
	ck_assert_uint_eq(rig_count(), 2);
}
END_TEST

/* The name is another's when the object is to have it back: until that one is gone. */
START_TEST(who_waits_has_it_when_its_name_is_free)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	rig_make(NAME, geteuid(), 0600);
	begin_late(&child, 0);
	/* It has tried to give it back. */
	rig_run_to(SYS_renameat2, true);
	ck_assert_uint_ne(rig_inode(NAME), candidate.inode);
	ck_assert_int_eq(unlink(NAME), 0);
	rig_let_go();
	expect(AUDIT_CHANGED, 0);
	finish(&child, "named");
	ck_assert_uint_eq(rig_inode(NAME), candidate.inode);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(name_that_stays_anothers_is_left_to_it)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	ino_t other;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	rig_make(NAME, geteuid(), 0600);
	other = rig_inode(NAME);
	begin_late(&child, 0);
	rig_let_go();
	expect(AUDIT_KEPT, -EEXIST);
	harness_expect(child.control, "set aside");
	ck_assert_uint_eq(rig_inode(NAME), other);
	/* As long as somebody has it, it stays where it is; then the next removal removes it. */
	candidate = rig_candidate(NAME, AUDIT_CANDIDATE_REMOVE);
	candidate.inode++;
	ck_assert_uint_eq(rig_judge_one(candidate)->verdict, AUDIT_CHANGED);
	ck_assert_uint_eq(rig_count(), 2);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	ck_assert_uint_eq(rig_judge_one(candidate)->verdict, AUDIT_CHANGED);
	ck_assert_uint_eq(rig_inode(NAME), other);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

/* Who would not wait is gone, and the name another's: then nobody has the object, and nobody can. */
START_TEST(what_nobody_has_after_all_is_removed)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	ino_t other;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, true);
	rig_make(NAME, geteuid(), 0600);
	other = rig_inode(NAME);
	begin_late(&child, O_NONBLOCK);
	harness_expect(child.control, "would wait");
	harness_child_await_success(&child);
	rig_let_go();
	expect(AUDIT_REMOVED, 0);
	ck_assert_uint_eq(rig_inode(NAME), other);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

/* The object is replaced after the last look at its name. */
static ino_t
replace(void)
{
	ino_t inode;

	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, false);
	rig_make("new", geteuid(), 0600);
	inode = rig_inode("new");
	ck_assert_int_eq(rename("new", NAME), 0);
	return inode;
}

START_TEST(what_was_replaced_in_the_last_moment_is_given_back)
{
	ino_t other = replace();

	rig_let_go();
	expect(AUDIT_CHANGED, 0);
	ck_assert_uint_eq(rig_inode(NAME), other);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(what_was_replaced_twice_is_not_lost)
{
	ino_t second = replace(), third;

	rig_run_to(SYS_renameat2, true);
	rig_make(NAME, geteuid(), 0600);
	third = rig_inode(NAME);
	rig_let_go();
	expect(AUDIT_CHANGED, -EEXIST);
	ck_assert_uint_eq(rig_inode(NAME), third);
	/* Nobody has it, and it is not removed: nobody asked for that. */
	candidate.inode = third + 1;
	ck_assert_uint_eq(rig_judge_one(candidate)->verdict, AUDIT_CHANGED);
	ck_assert_uint_eq(rig_count(), 2);
	ck_assert_int_eq(unlink(NAME), 0);
	(void)rig_judge_one(candidate);
	ck_assert_uint_eq(rig_inode(NAME), second);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(what_is_gone_in_the_last_moment_is_gone)
{
	rig_begin_traced(&candidate, 1);
	rig_run_to(SYS_renameat2, false);
	ck_assert_int_eq(unlink(NAME), 0);
	rig_let_go();
	expect(AUDIT_GONE, 0);
	ck_assert_uint_eq(rig_count(), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lateopeners");
	TCase *tests = tcase_create("lateopeners");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, who_comes_late_has_it_with_its_name);
	tcase_add_test(tests, who_would_not_wait_finds_it_again);
	tcase_add_test(tests, who_links_it_elsewhere_keeps_it);
	tcase_add_test(tests, who_waits_has_it_when_its_name_is_free);
	tcase_add_test(tests, name_that_stays_anothers_is_left_to_it);
	tcase_add_test(tests, what_nobody_has_after_all_is_removed);
	tcase_add_test(tests, what_was_replaced_in_the_last_moment_is_given_back);
	tcase_add_test(tests, what_was_replaced_twice_is_not_lost);
	tcase_add_test(tests, what_is_gone_in_the_last_moment_is_gone);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
