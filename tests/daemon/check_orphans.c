/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the rules of orphans make of names that come and go, in a directory of the test's own, with a judge that says what the
 * test wants to hear: which objects are asked about, when, and what follows from the answer.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/orphans.h"
#include "tests/harness.h"

#define N_MANY	450			/* more than two questions have room for */

static struct {
	struct event_base *base;
	struct orphans orphans;
	char dir[64];
	int dir_fd;
	struct orphans_ask *ask;	/* that is out */
	unsigned n_asks;
	int refuses;			/* the judge, with this */
	bool is_late;			/* it has others to judge before */
	const char *ours;
} rig;

static int
judge(struct orphans_ask *ask, void *arg)
{
	if (rig.refuses)
		return rig.refuses;
	ck_assert_ptr_null(rig.ask);
	rig.ask = ask;
	rig.n_asks++;
	if (!rig.is_late)
		orphans_send(ask);
	return 0;
}

static void
forget(struct orphans_ask *ask, void *arg)
{
	ck_assert_ptr_eq(rig.ask, ask);
	rig.ask = NULL;
}

static bool
is_ours(const char *name, void *arg)
{
	return rig.ours && streq(rig.ours, name);
}

struct rule {
	const char *posix;
	uint64_t after_ms;
	bool remove;
};

static int
set_rules(const struct rule *rules, size_t n)
{
	struct conf_orphan *list = calloc(n + 1, sizeof(*list));
	int r;

	for (size_t i = 0; i < n; i++)
		list[i] = (struct conf_orphan) { .file = strdup("f.conf"), .line = (unsigned)i + 1, .posix = strdup(rules[i].posix),
			.after_ms = rules[i].after_ms, .remove = rules[i].remove };
	r = orphans_set_rules(&rig.orphans, &list, &n);
	/* Nothing, where it took them. */
	conf_orphans_free(list, n);
	return r;
}

static void
begin(const struct rule *rules, size_t n)
{
	(void)strcpy(rig.dir, "/tmp/segmentd-orphans-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	rig.dir_fd = open(rig.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig.base = event_base_new();
	orphans_init(&rig.orphans, &(struct orphans_host) { .base = rig.base, .directory = rig.dir, .judge = judge,
	    .forget = forget, .is_ours = is_ours });
	ck_assert_int_eq(set_rules(rules, n), 0);
}

#define BEGIN(...)								\
	do {									\
		static const struct rule rules_[] = { __VA_ARGS__ };		\
		begin(rules_, BASE_ARRAY_SIZE(rules_));				\
	} while (0)
#define SET_RULES(...)								\
	do {									\
		static const struct rule rules_[] = { __VA_ARGS__ };		\
		ck_assert_int_eq(set_rules(rules_, BASE_ARRAY_SIZE(rules_)), 0);	\
	} while (0)

static void
end(void)
{
	DIR *dir;
	struct dirent *entry;

	orphans_deinit(&rig.orphans);
	event_base_free(rig.base);
	dir = fdopendir(rig.dir_fd);
	while ((entry = readdir(dir)))
		if (unlinkat(dirfd(dir), entry->d_name, 0))
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	(void)closedir(dir);
	ck_assert_int_eq(rmdir(rig.dir), 0);
}

/* Opens and closes it; makes it if it is not there. */
static void
touch(const char *name, int flags)
{
	int fd = openat(rig.dir_fd, name, flags | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	(void)close(fd);
}

static uint64_t
inode_of(const char *name)
{
	struct stat status;

	ck_assert_int_eq(fstatat(rig.dir_fd, name, &status, AT_SYMLINK_NOFOLLOW), 0);
	return status.st_ino;
}

static void
await_ask(void)
{
	while (!rig.ask)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
}

/* It is asked about exactly these. */
static void
expect_ask(const char *const *names, size_t n)
{
	await_ask();
	ck_assert_uint_eq(rig.ask->n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_str_eq(rig.ask->candidates[i].name, names[i]);
		ck_assert_uint_eq(rig.ask->candidates[i].what, AUDIT_POSIX);
		ck_assert_uint_eq(rig.ask->candidates[i].inode, inode_of(names[i]));
	}
}

#define EXPECT_ASK(...)									\
	do {										\
		static const char *const names_[] = { __VA_ARGS__ };			\
		expect_ask(names_, BASE_ARRAY_SIZE(names_));				\
	} while (0)

/* The same of all; and the loop goes on until that has been dealt with. */
static void
answer(enum audit_verdict verdict)
{
	struct orphans_ask *ask = take_ptr(rig.ask);
	size_t n = ask->n;

	for (size_t i = 0; i < n; i++)
		orphans_answer(ask, &(struct audit_stray) { .what = AUDIT_POSIX, .verdict = verdict, .proof = AUDIT_BY_LEASE,
		    .inode = ask->candidates[i].inode, .resident_bytes = 4096, .size_bytes = 8192, .shm_id = -1 });
	orphans_end(ask, 0, "");
	while (ask->is_out)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
}

/* Nothing but "fence" is asked about, which came after whatever else happened. */
static void
expect_quiet(const char *fence)
{
	const char *const names[] = { fence };

	touch(fence, O_WRONLY);
	expect_ask(names, 1);
	answer(AUDIT_HELD);
}

START_TEST(object_is_told_of_once)
{
	BEGIN({ "/x*", 1, false });
	touch("x1", O_WRONLY);
	touch("other", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	touch("x1", O_RDONLY);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	/* Another object of that name is news. */
	touch("x1.new", O_WRONLY);
	ck_assert_int_eq(renameat(rig.dir_fd, "x1.new", rig.dir_fd, "x1"), 0);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 2);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	end();
}
END_TEST

START_TEST(what_is_removed_is_forgotten)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	ck_assert_uint_eq(rig.orphans.freed_bytes, 4096);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	end();
}
END_TEST

START_TEST(what_came_under_the_name_meanwhile_is_looked_at)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	touch("x1", O_WRONLY);
	answer(_i ? AUDIT_GONE : AUDIT_REMOVED);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	EXPECT_ASK("x1");
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(what_is_gone_is_not_asked_about)
{
	BEGIN({ "/x*", 20, true });
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x1", 0), 0);
	ck_assert_int_eq(renameat(rig.dir_fd, "x2", rig.dir_fd, "y"), 0);
	expect_quiet("x3");
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 1);
	end();
}
END_TEST

START_TEST(close_begins_the_time_anew)
{
	BEGIN({ "/x*", 300, true });
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	/* Whatever is queued together counts from when it is read. */
	(void)event_base_loop(rig.base, EVLOOP_ONCE);
	while (rig.orphans.n_found == 0 && orphans_n_watched(&rig.orphans) < 2)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	touch("x1", _i ? O_RDONLY : O_WRONLY);
	await_ask();
	/* A machine that stood still may have both in one question, and then in that order. */
	ck_assert_str_eq(rig.ask->candidates[0].name, "x2");
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(held_is_left_alone_until_its_next_close)
{
	uint64_t answered_ns;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	/* The judge looks at it: that is a close, too. */
	touch("x1", O_RDONLY);
	answer(AUDIT_HELD);
	answered_ns = clock_monotonic_ns();
	touch("xfence", O_WRONLY);
	await_ask();
	if (streq(rig.ask->candidates[0].name, "x1"))
		ck_assert_uint_ge(clock_monotonic_ns() - answered_ns, 2 * NS_PER_SEC);
	answer(AUDIT_HELD);
	touch("x1", O_RDONLY);
	do {
		await_ask();
		if (streq(rig.ask->candidates[0].name, "x1"))
			break;
		answer(AUDIT_HELD);
	} while (true);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(merged_close_is_found_by_a_later_look)
{
	uint64_t answered_ns;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	touch("x1", O_RDONLY);
	answer(AUDIT_HELD);
	answered_ns = clock_monotonic_ns();
	/* Nothing happens any more. */
	EXPECT_ASK("x1");
	ck_assert_uint_ge(clock_monotonic_ns() - answered_ns, 2 * NS_PER_SEC - NS_PER_MS);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(later_looks_come_ever_later)
{
	const struct conf_orphan rule = { .after_ms = 30000 }, soon = { .after_ms = 0 };

	ck_assert_uint_eq(orphans_backoff_ns(&rule, 0), 60 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&rule, 1), 120 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&rule, 255), 24 * 3600 * NS_PER_SEC);
	ck_assert_uint_eq(orphans_backoff_ns(&soon, 0), 2 * NS_PER_SEC);
}
END_TEST

/* A question waits for its turn behind others'. */
START_TEST(close_while_the_question_waits_keeps_it_from_removal)
{
	BEGIN({ "/x*", 1, true });
	rig.is_late = true;
	touch("x1", O_WRONLY);
	touch("x2", O_WRONLY);
	EXPECT_ASK("x1", "x2");
	touch("x1", O_RDONLY);
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	ck_assert_uint_eq(rig.ask->candidates[1].flags, AUDIT_CANDIDATE_REMOVE);
	/* It goes to another who judges, after the first has looked at them. */
	touch("x2", O_RDONLY);
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[1].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 0);
	rig.is_late = false;
	EXPECT_ASK("x1", "x2");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 2);
	end();
}
END_TEST

START_TEST(rule_that_goes_while_the_question_waits_removes_nothing)
{
	BEGIN({ "/x*", 1, true });
	rig.is_late = true;
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	SET_RULES({ "/x*", 1, false });
	orphans_send(rig.ask);
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 0);
	rig.is_late = false;
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	end();
}
END_TEST

START_TEST(writer_that_closes_while_it_is_judged_is_noticed)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	touch("x1", O_WRONLY);
	answer(AUDIT_HELD);
	EXPECT_ASK("x1");
	ck_assert_uint_eq(rig.n_asks, 2);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(what_cannot_be_removed_or_asked_about_is_told_once)
{
	static const struct {
		enum audit_verdict verdict;
		uint64_t n_kept, n_unknown;
	} cases[] = { { AUDIT_KEPT, 1, 0 }, { AUDIT_UNKNOWN, 0, 1 } };

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	for (int i = 0; i < 3; i++) {
		EXPECT_ASK("x1");
		answer(cases[_i].verdict);
		touch("x1", O_RDONLY);
	}
	ck_assert_uint_eq(rig.orphans.n_kept, cases[_i].n_kept);
	ck_assert_uint_eq(rig.orphans.n_unknown, cases[_i].n_unknown);
	ck_assert_uint_eq(rig.orphans.n_removed, 0);
	end();
}
END_TEST

START_TEST(only_regular_files_of_one_name_are_asked_about)
{
	BEGIN({ "/x*", 1, true });
	ck_assert_int_eq(mkdirat(rig.dir_fd, "xdir", 0700), 0);
	ck_assert_int_eq(mkfifoat(rig.dir_fd, "xfifo", 0700), 0);
	ck_assert_int_eq(symlinkat("xa\nb", rig.dir_fd, "xlink"), 0);
	touch("xtwo", O_WRONLY);
	ck_assert_int_eq(linkat(rig.dir_fd, "xtwo", rig.dir_fd, "ytwo", 0), 0);
	rig.ours = "xours";
	touch("xours", O_WRONLY);
	touch("xa\nb", O_WRONLY);
	EXPECT_ASK("xa\nb");
	answer(AUDIT_HELD);
	/* The same by the look at all of them, under other rules. */
	SET_RULES({ "/x*", 2, true });
	EXPECT_ASK("xa\nb");
	answer(AUDIT_HELD);
	end();
}
END_TEST

/* Users may mount file systems of their own on their files: the loop waits for none. */
START_TEST(what_is_mounted_on_a_name_holds_nobody_up)
{
	char path[96];
	int server;

	if (access("/dev/fuse", R_OK | W_OK) || unshare(CLONE_NEWNS))
		harness_skip("no FUSE, or no mounts of our own: %s", strerror(errno));
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	(void)snprintf(path, sizeof(path), "%s/x1", rig.dir);
	server = harness_mount_silent(path);
	expect_quiet("x2");
	close_fd(&server);
	ck_assert_int_eq(umount2(path, MNT_DETACH), 0);
	end();
}
END_TEST

START_TEST(what_was_there_before_is_found)
{
	BEGIN({ "/none", 1, true });
	touch("x1", O_WRONLY);
	touch("y1", O_WRONLY);
	SET_RULES({ "/none", 1, true }, { "/y*", 1, true });
	EXPECT_ASK("y1");
	ck_assert(!rig.ask->is_seen[0]);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(first_rule_that_fits_counts)
{
	BEGIN({ "/xa*", 1, false }, { "/x*", 1, true });
	touch("xa1", O_WRONLY);
	EXPECT_ASK("xa1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, 0);
	ck_assert_uint_eq(rig.ask->rule_of[0]->line, 1);
	answer(AUDIT_UNHELD);
	touch("xb1", O_WRONLY);
	EXPECT_ASK("xb1");
	ck_assert_uint_eq(rig.ask->candidates[0].flags, AUDIT_CANDIDATE_REMOVE);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(rules_that_go_while_it_is_judged_take_nothing_with_them)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	if (_i)
		SET_RULES({ "/y*", 1, true });
	else
		SET_RULES({ "/x*", 1, false });
	answer(AUDIT_REMOVED);
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	touch(_i ? "y2" : "x2", O_WRONLY);
	await_ask();
	answer(AUDIT_HELD);
	ck_assert_int_eq(set_rules(NULL, 0), 0);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	/* Nothing is left that could happen. */
	while (event_base_loop(rig.base, EVLOOP_ONCE) == 0)
		;
	end();
}
END_TEST

START_TEST(last_rule_that_goes_waits_for_what_is_being_removed)
{
	struct orphans_ask *ask;

	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	ck_assert_int_eq(set_rules(NULL, 0), 0);
	ask = take_ptr(rig.ask);
	orphans_answer(ask, &(struct audit_stray) { .what = AUDIT_POSIX, .verdict = AUDIT_REMOVED, .inode = 1, .shm_id = -1 });
	orphans_end(ask, 0, "");
	while (event_base_loop(rig.base, EVLOOP_ONCE) == 0)
		;
	ck_assert_uint_eq(rig.orphans.n_removed, 1);
	ck_assert_ptr_null(rig.orphans.posix);
	end();
}
END_TEST

START_TEST(same_rules_change_nothing)
{
	BEGIN({ "/x*", 1, false });
	touch("x1", O_WRONLY);
	EXPECT_ASK("x1");
	answer(AUDIT_UNHELD);
	SET_RULES({ "/x*", 1, false });
	expect_quiet("x2");
	ck_assert_uint_eq(rig.orphans.n_found, 1);
	end();
}
END_TEST

START_TEST(many_are_asked_about_in_questions_of_some)
{
	bool was_asked[N_MANY] = { false };
	unsigned n = 0;
	char name[16];

	BEGIN({ "/x*", 0, true });
	for (int i = 0; i < N_MANY; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		touch(name, O_WRONLY);
	}
	while (n < N_MANY) {
		await_ask();
		ck_assert_uint_le(rig.ask->n, ORPHANS_BATCH);
		for (size_t i = 0; i < rig.ask->n; i++) {
			int which = atoi(rig.ask->candidates[i].name + 1);

			n += !was_asked[which];
			was_asked[which] = true;
			ck_assert_int_eq(unlinkat(rig.dir_fd, rig.ask->candidates[i].name, 0), 0);
		}
		answer(AUDIT_REMOVED);
	}
	ck_assert_uint_eq(rig.orphans.n_removed, N_MANY);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 0);
	end();
}
END_TEST

START_TEST(more_names_than_are_kept_are_looked_at_later)
{
	char name[16];

	BEGIN({ "/none", 1, true });
	rig.orphans.max_entries = 8;
	for (int i = 0; i < 16; i++) {
		(void)snprintf(name, sizeof(name), "x%d", i);
		touch(name, O_WRONLY);
	}
	SET_RULES({ "/x*", 1, true });
	await_ask();
	while (rig.orphans.n_removed < 16) {
		await_ask();
		ck_assert_uint_le(orphans_n_watched(&rig.orphans), 8);
		for (size_t i = 0; i < rig.ask->n; i++)
			ck_assert_int_eq(unlinkat(rig.dir_fd, rig.ask->candidates[i].name, 0), 0);
		answer(AUDIT_REMOVED);
	}
	end();
}
END_TEST

static unsigned
queue_length(void)
{
	cleanup_fclose FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	unsigned n = 0;

	ck_assert(f && fscanf(f, "%u", &n) == 1);
	return n;
}

START_TEST(lost_events_lead_to_a_look_at_all)
{
	unsigned n = queue_length();

	if (n > 100000) {
		printf("SKIPPED: fs.inotify.max_queued_events is %u, too long a queue to be filled\n", n);
		return;
	}
	BEGIN({ "/x*", 1, true });
	/* The scan that comes first is over. */
	expect_quiet("x0");
	for (unsigned i = 0; i < n; i++)
		touch(i % 2 ? "y1" : "y2", O_RDONLY);
	touch("xlost", O_WRONLY);
	ck_assert_int_eq(unlinkat(rig.dir_fd, "x0", 0), 0);
	EXPECT_ASK("xlost");
	ck_assert_uint_ge(rig.orphans.n_overflows, 1);
	answer(AUDIT_HELD);
	end();
}
END_TEST

START_TEST(judge_that_cannot_be_asked_is_asked_again_later)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	if (_i)
		rig.refuses = -ENOMEM;
	else
		await_ask();
	if (!_i)
		orphans_end(take_ptr(rig.ask), -ETIME, "it took too long");
	while (!rig.orphans.retry_ns)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	ck_assert_uint_eq(rig.orphans.retry_ns, 10 * NS_PER_SEC);
	rig.refuses = 0;
	/* One that comes new need not wait. */
	touch("x2", O_WRONLY);
	EXPECT_ASK("x2");
	answer(AUDIT_HELD);
	ck_assert_uint_eq(rig.orphans.retry_ns, 0);
	ck_assert_uint_eq(orphans_n_watched(&rig.orphans), 2);
	end();
}
END_TEST

START_TEST(ends_while_it_is_judged)
{
	BEGIN({ "/x*", 1, true });
	touch("x1", O_WRONLY);
	await_ask();
	end();
	ck_assert_ptr_null(rig.ask);
}
END_TEST

/* The names' own order and table, with more of them than the first room is for. */
START_TEST(names_come_in_the_order_in_which_they_are_due)
{
	struct orphans_names names;
	struct orphans_name *name;
	uint64_t last_ns = 0;
	char text[16];
	unsigned n = 0;

	ck_assert_int_eq(orphans_names_init(&names), 0);
	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(text, sizeof(text), "%u", i);
		name = orphans_names_add(&names, text);
		name->due_ns = i * UINT64_C(2654435761) % 10007;
		orphans_names_sort(&names, name);
	}
	for (unsigned i = 0; i < 5000; i += 3) {
		(void)snprintf(text, sizeof(text), "%u", i);
		name = orphans_names_find(&names, text);
		name->due_ns = 10007 - name->due_ns;
		orphans_names_sort(&names, name);
	}
	for (unsigned i = 1; i < 5000; i += 3) {
		(void)snprintf(text, sizeof(text), "%u", i);
		orphans_names_remove(&names, orphans_names_find(&names, text));
		ck_assert_ptr_null(orphans_names_find(&names, text));
	}
	while ((name = orphans_names_first(&names))) {
		ck_assert_uint_ge(name->due_ns, last_ns);
		last_ns = name->due_ns;
		orphans_names_unsort(&names, name);
		n++;
	}
	ck_assert_uint_eq(n, names.n);
	while (!orphans_names_free_some(&names, 0))
		;
	ck_assert_uint_eq(names.n, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/orphans");
	TCase *tcase = tcase_create("orphans");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, object_is_told_of_once);
	tcase_add_test(tcase, what_is_removed_is_forgotten);
	tcase_add_loop_test(tcase, what_came_under_the_name_meanwhile_is_looked_at, 0, 2);
	tcase_add_test(tcase, what_is_gone_is_not_asked_about);
	tcase_add_loop_test(tcase, close_begins_the_time_anew, 0, 2);
	tcase_add_test(tcase, held_is_left_alone_until_its_next_close);
	tcase_add_test(tcase, merged_close_is_found_by_a_later_look);
	tcase_add_test(tcase, later_looks_come_ever_later);
	tcase_add_test(tcase, close_while_the_question_waits_keeps_it_from_removal);
	tcase_add_test(tcase, rule_that_goes_while_the_question_waits_removes_nothing);
	tcase_add_test(tcase, writer_that_closes_while_it_is_judged_is_noticed);
	tcase_add_loop_test(tcase, what_cannot_be_removed_or_asked_about_is_told_once, 0, 2);
	tcase_add_test(tcase, only_regular_files_of_one_name_are_asked_about);
	tcase_add_test(tcase, what_is_mounted_on_a_name_holds_nobody_up);
	tcase_add_test(tcase, what_was_there_before_is_found);
	tcase_add_test(tcase, first_rule_that_fits_counts);
	tcase_add_loop_test(tcase, rules_that_go_while_it_is_judged_take_nothing_with_them, 0, 2);
	tcase_add_test(tcase, last_rule_that_goes_waits_for_what_is_being_removed);
	tcase_add_test(tcase, same_rules_change_nothing);
	tcase_add_test(tcase, many_are_asked_about_in_questions_of_some);
	tcase_add_test(tcase, more_names_than_are_kept_are_looked_at_later);
	tcase_add_test(tcase, lost_events_lead_to_a_look_at_all);
	tcase_add_loop_test(tcase, judge_that_cannot_be_asked_is_asked_again_later, 0, 2);
	tcase_add_test(tcase, ends_while_it_is_judged);
	tcase_add_test(tcase, names_come_in_the_order_in_which_they_are_due);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
