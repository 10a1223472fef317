/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* AUDIT_LIST and AUDIT_JUDGE: what is held and what is not, of every kind of thing that there may be in /dev/shm. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/audit/rig.h"

#define REMOVE	AUDIT_CANDIDATE_REMOVE
#define BOTH	(AUDIT_QUESTION_POSIX | AUDIT_QUESTION_SYSV)

static void
setup(void)
{
	rig_enter_private_shm();
	ck_assert_int_eq(chdir("/dev/shm"), 0);
	rig_start();
}

static void
teardown(void)
{
	rig_stop();
}

static void
expect(struct audit_candidate candidate, enum audit_verdict verdict, enum audit_proof proof)
{
	const struct audit_stray *stray = rig_judge_one(candidate);

	ck_assert_msg(stray->verdict == verdict && stray->proof == proof, "'%s' or segment %d: %s by %u (%s) instead of %s by %u",
	    candidate.name, (int)candidate.shm_id, audit_verdict_name(stray->verdict), stray->proof, strerror(-stray->error),
	    audit_verdict_name(verdict), proof);
}

/* What is held. */

enum hold {
	HOLD_MAPPED,
	HOLD_OPEN,
	HOLD_WRITABLE,
	HOLD_LEASED,
	HOLD_PATH,
};

struct holding {
	const char *name;
	enum hold how;
	uid_t uid;
};

static void
hold(int control, void *arg)
{
	const struct holding *holding = arg;
	int flags = holding->how == HOLD_PATH ? O_PATH : holding->how == HOLD_WRITABLE ? O_RDWR : O_RDONLY, fd;

	if (holding->uid)
		harness_become(holding->uid, holding->uid, NULL, 0);
	fd = open(holding->name, flags | O_CLOEXEC);
	harness_assert(fd >= 0, "open: %s", strerror(errno));
	if (holding->how == HOLD_MAPPED) {
		harness_assert(mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, "mmap: %s", strerror(errno));
		(void)close(fd);
	}
	if (holding->how == HOLD_LEASED) {
		(void)signal(SIGIO, SIG_IGN);
		harness_assert(fcntl(fd, F_SETLEASE, F_WRLCK) == 0, "lease: %s", strerror(errno));
	}
	harness_say(control, "holds");
	harness_expect(control, "end");
}

static void
expect_while_held(enum hold how, uid_t uid, enum audit_verdict verdict, enum audit_proof proof)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct holding holding = { "object", how, uid };
	ino_t inode;

	rig_make("object", uid, 0600);
	inode = rig_inode("object");
	harness_child_start(&child, hold, &holding);
	harness_expect(child.control, "holds");
	expect(rig_candidate("object", 0), verdict, proof);
	if (verdict == AUDIT_HELD) {
		/* Nor is it removed. */
		expect(rig_candidate("object", REMOVE), verdict, proof);
		ck_assert_uint_eq(rig_inode("object"), inode);
	}
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	expect(rig_candidate("object", 0), AUDIT_UNHELD, AUDIT_BY_LEASE);
	expect(rig_candidate("object", REMOVE), AUDIT_REMOVED, AUDIT_BY_LEASE);
	ck_assert_uint_eq(rig_count(), 0);
}

START_TEST(held_by_whatever_means_is_held)
{
	expect_while_held(HOLD_MAPPED, 0, AUDIT_HELD, AUDIT_BY_LEASE);
	expect_while_held(HOLD_OPEN, 0, AUDIT_HELD, AUDIT_BY_LEASE);
	expect_while_held(HOLD_WRITABLE, 0, AUDIT_HELD, AUDIT_BY_LEASE);
	expect_while_held(HOLD_LEASED, 0, AUDIT_HELD, AUDIT_BY_OPEN);
	/* Which keeps nothing alive. */
	expect_while_held(HOLD_PATH, 0, AUDIT_UNHELD, AUDIT_BY_LEASE);
}
END_TEST

START_TEST(another_user_holds_as_well_as_we)
{
	harness_need_root();
	expect_while_held(HOLD_MAPPED, HARNESS_NOBODY, AUDIT_HELD, AUDIT_BY_LEASE);
	expect_while_held(HOLD_WRITABLE, HARNESS_NOBODY, AUDIT_HELD, AUDIT_BY_LEASE);
	expect_while_held(HOLD_LEASED, HARNESS_NOBODY, AUDIT_HELD, AUDIT_BY_OPEN);
}
END_TEST

/* What is no object. */

static void
make_socket(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
}

static const char *const unfit[] = { "fifo", "socket", "link", "dangling", "directory", "one", "two" };

static void
make_unfit(void)
{
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	make_socket("socket");
	rig_make("aim", geteuid(), 0600);
	ck_assert_int_eq(symlink("aim", "link"), 0);
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	ck_assert_int_eq(mkdir("directory", 0700), 0);
	rig_make("directory/inside", geteuid(), 0600);
	rig_make("one", geteuid(), 0600);
	ck_assert_int_eq(link("one", "two"), 0);
}

START_TEST(what_is_no_object_is_left_alone)
{
	make_unfit();
	for (size_t i = 0; i < BASE_ARRAY_SIZE(unfit); i++) {
		ino_t inode = rig_inode(unfit[i]);

		expect(rig_candidate(unfit[i], 0), AUDIT_UNFIT, AUDIT_BY_NOTHING);
		expect(rig_candidate(unfit[i], REMOVE), AUDIT_UNFIT, AUDIT_BY_NOTHING);
		ck_assert_uint_eq(rig_inode(unfit[i]), inode);
	}
	/* With one name less it is one. */
	ck_assert_int_eq(unlink("two"), 0);
	expect(rig_candidate("one", REMOVE), AUDIT_REMOVED, AUDIT_BY_LEASE);
	ck_assert(rig_exists("aim"));
}
END_TEST

/* A fifo with nobody at its other end would hold who opens it plainly, and one with somebody would tell them. */
START_TEST(fifo_is_not_opened)
{
	int fd;

	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	fd = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	expect(rig_candidate("fifo", REMOVE), AUDIT_UNFIT, AUDIT_BY_NOTHING);
	(void)close(fd);
	expect(rig_candidate("fifo", REMOVE), AUDIT_UNFIT, AUDIT_BY_NOTHING);
}
END_TEST

/* Names. */

static const char longest[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";

static const char *const odd_names[] = { "new\nline", "\033[31mred", "\xff\xfe\x80", " ", "-rf", "...", "%s%n", "a\\b\"c", longest };

START_TEST(odd_names_are_names)
{
	ck_assert_uint_eq(strlen(longest), 255);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(odd_names); i++)
		rig_make(odd_names[i], geteuid(), 0600);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), BASE_ARRAY_SIZE(odd_names));
	for (size_t i = 0; i < BASE_ARRAY_SIZE(odd_names); i++) {
		size_t n_found = 0;

		for (size_t j = 0; j < BASE_ARRAY_SIZE(odd_names); j++)
			n_found += streq(rig.strays[j].name, odd_names[i]);
		ck_assert_uint_eq(n_found, 1);
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(odd_names); i++) {
		expect(rig_candidate(odd_names[i], REMOVE), AUDIT_REMOVED, AUDIT_BY_LEASE);
		ck_assert_str_eq(rig.strays[0].name, odd_names[i]);
	}
	ck_assert_uint_eq(rig_count(), 0);
}
END_TEST

/* What has become another. */

START_TEST(what_was_replaced_is_not_touched)
{
	struct audit_candidate candidate;
	ino_t inode;

	rig_make("object", geteuid(), 0600);
	candidate = rig_candidate("object", REMOVE);
	ck_assert_int_eq(rename("object", "elsewhere"), 0);
	expect(candidate, AUDIT_GONE, AUDIT_BY_NOTHING);
	rig_make("object", geteuid(), 0600);
	inode = rig_inode("object");
	expect(candidate, AUDIT_CHANGED, AUDIT_BY_LEASE);
	ck_assert_uint_eq(rig_inode("object"), inode);
	ck_assert_int_eq(unlink("object"), 0);
	ck_assert_int_eq(symlink("elsewhere", "object"), 0);
	expect(candidate, AUDIT_CHANGED, AUDIT_BY_NOTHING);
	ck_assert_int_eq(unlink("object"), 0);
	ck_assert_int_eq(mkdir("object", 0700), 0);
	expect(candidate, AUDIT_CHANGED, AUDIT_BY_NOTHING);
	candidate.device++;
	ck_assert_int_eq(rmdir("object"), 0);
	ck_assert_int_eq(rename("elsewhere", "object"), 0);
	expect(candidate, AUDIT_CHANGED, AUDIT_BY_LEASE);
	ck_assert_uint_eq(rig_count(), 1);
}
END_TEST

START_TEST(many_are_removed_at_once_and_others_stay)
{
	enum { N = 200 };
	static struct audit_candidate candidates[N + 2];
	struct harness_child child = HARNESS_CHILD_NULL;
	struct holding holding = { "object-7", HOLD_MAPPED, 0 };
	char name[32];

	for (int i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "object-%d", i);
		rig_make(name, i % 3 && geteuid() == 0 ? HARNESS_NOBODY : geteuid(), i % 2 ? 0600 : 0);
		candidates[i] = rig_candidate(name, REMOVE);
	}
	rig_make("bystander", geteuid(), 0600);
	/* The same twice, and one that is only to be judged. */
	candidates[N] = candidates[3];
	candidates[N + 1] = rig_candidate("bystander", 0);
	harness_child_start(&child, hold, &holding);
	harness_expect(child.control, "holds");
	ck_assert_uint_eq(rig_judge(candidates, N + 2), N + 2);
	for (int i = 0; i < N; i++) {
		ck_assert_str_eq(rig.strays[i].name, candidates[i].name);
		ck_assert_uint_eq(rig.strays[i].verdict, i == 7 ? AUDIT_HELD : AUDIT_REMOVED);
		ck_assert_int_eq(rig.strays[i].error, 0);
		ck_assert_uint_eq(rig.strays[i].size_bytes, 8);
	}
	ck_assert_uint_eq(rig.strays[N].verdict, AUDIT_GONE);
	ck_assert_uint_eq(rig.strays[N + 1].verdict, AUDIT_UNHELD);
	ck_assert_uint_eq(rig_count(), 2);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
}
END_TEST

/* System V. */

static int
make_segment(key_t key)
{
	int id = shmget(key, 8192, IPC_CREAT | IPC_EXCL | 0600);

	ck_assert_int_ge(id, 0);
	return id;
}

START_TEST(segments_are_judged_by_the_kernels_count)
{
	int id = make_segment(0x5e6d0001);
	char *p = shmat(id, NULL, 0);
	struct audit_candidate candidate;

	ck_assert_ptr_ne(p, (void *)-1);
	*p = 1;
	expect(rig_sysv_candidate(id, REMOVE), AUDIT_HELD, AUDIT_BY_NATTCH);
	ck_assert_uint_eq(rig.strays[0].n_attached, 1);
	candidate = rig_sysv_candidate(id, REMOVE);
	ck_assert_int_eq(shmdt(p), 0);
	/* What was attached since is another case. */
	expect(candidate, AUDIT_CHANGED, AUDIT_BY_NATTCH);
	expect(rig_sysv_candidate(id, 0), AUDIT_UNHELD, AUDIT_BY_NATTCH);
	ck_assert_uint_eq(rig.strays[0].resident_bytes, 4096);
	ck_assert_uint_eq(rig.strays[0].size_bytes, 8192);
	ck_assert_uint_eq(rig.strays[0].key, 0x5e6d0001);
	ck_assert_int_eq(rig.strays[0].creator, getpid());
	candidate = rig_sysv_candidate(id, REMOVE);
	expect(candidate, AUDIT_REMOVED, AUDIT_BY_NATTCH);
	ck_assert_int_eq(rig.strays[0].error, 0);
	expect(candidate, AUDIT_GONE, AUDIT_BY_NOTHING);
	/* Another one in its place of the table. */
	(void)make_segment(0x5e6d0001);
	expect(candidate, AUDIT_GONE, AUDIT_BY_NOTHING);
}
END_TEST

static void
make_as_nobody(int control, void *arg)
{
	int id;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	id = shmget(0x5e6d0002, 4096, IPC_CREAT | 0600);
	harness_assert(id >= 0 && send(control, &id, sizeof(id), 0) == sizeof(id), "%s", strerror(errno));
}

START_TEST(segments_of_others_are_removed)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	int id;

	harness_need_root();
	harness_child_start(&child, make_as_nobody, NULL);
	ck_assert_int_eq(recv(child.control, &id, sizeof(id), 0), sizeof(id));
	harness_child_await_success(&child);
	expect(rig_sysv_candidate(id, REMOVE), AUDIT_REMOVED, AUDIT_BY_NATTCH);
	ck_assert_uint_eq(rig.strays[0].uid, HARNESS_NOBODY);
}
END_TEST

START_TEST(list_has_all_of_both_kinds)
{
	int id = make_segment(0x5e6d0003);
	size_t n, n_posix = 0;

	make_unfit();
	/* Ours, where nobody else may look. */
	ck_assert_int_eq(mkdir(".segmentd-quarantine-ffffffff", 0700), 0);
	n = rig_list(BOTH);
	ck_assert_uint_eq(n, BASE_ARRAY_SIZE(unfit) + 2);
	for (size_t i = 0; i < n; i++) {
		const struct audit_stray *stray = &rig.strays[i];

		n_posix += stray->what == AUDIT_POSIX;
		if (stray->what == AUDIT_SYSV)
			ck_assert_int_eq(stray->shm_id, id);
		else
			ck_assert_uint_eq(stray->verdict, streq(stray->name, "aim") ? AUDIT_UNHELD : AUDIT_UNFIT);
	}
	ck_assert_uint_eq(n_posix, n - 1);
	ck_assert_uint_eq(rig.end.n_seen, n);
	ck_assert_uint_eq(rig.end.n_hidden, 0);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_SYSV), 1);
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), n - 1);
	ck_assert_uint_eq(rig_list(0), 0);
}
END_TEST

/* More than a message has room for. */
START_TEST(long_list_comes_in_pieces)
{
	char name[32];

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "object-%d", i);
		rig_make(name, geteuid(), 0600);
	}
	ck_assert_uint_eq(rig_list(BOTH), 1000);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(rig.strays[i].verdict, AUDIT_UNHELD);
}
END_TEST

/* What an ordinary user can do. */

static void
ask_as_nobody(int control, void *arg)
{
	struct audit_candidate others = rig_candidate("others", REMOVE), own = rig_candidate("own", REMOVE);
	struct audit_candidate readable = rig_candidate("readable", REMOVE);

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	rig_start();
	expect(others, AUDIT_UNKNOWN, AUDIT_BY_NOTHING);
	harness_assert(rig.strays[0].error == -EACCES && rig.end.n_hidden == 1, "error %d", rig.strays[0].error);
	harness_assert(strstr(rig.end.text, "CAP_LEASE"), "the text is '%s'", rig.end.text);
	expect(readable, AUDIT_UNKNOWN, AUDIT_BY_NOTHING);
	expect(own, AUDIT_REMOVED, AUDIT_BY_LEASE);
	rig_stop();
}

START_TEST(without_rights_ones_own_are_removed_and_others_not_judged)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	rig_make("others", 0, 0600);
	rig_make("readable", 0, 0644);
	rig_make("own", HARNESS_NOBODY, 0600);
	harness_child_start(&child, ask_as_nobody, NULL);
	harness_child_await_success(&child);
	ck_assert_uint_eq(rig_count(), 2);
}
END_TEST

/* Users may mount file systems of their own on their files: nobody waits for what such a one says. */
START_TEST(what_is_mounted_on_a_name_holds_nobody_up)
{
	struct audit_candidate before;
	int server;

	rig_make("file", geteuid(), 0600);
	rig_make("other", geteuid(), 0600);
	before = rig_candidate("file", AUDIT_CANDIDATE_REMOVE);
	server = harness_mount_silent("/dev/shm/file");
	ck_assert_uint_eq(rig_list(AUDIT_QUESTION_POSIX), 2);
	for (size_t i = 0; i < 2; i++)
		ck_assert_uint_eq(rig.strays[i].verdict, streq(rig.strays[i].name, "file") ? AUDIT_UNFIT : AUDIT_UNHELD);
	ck_assert_uint_eq(rig_judge_one(before)->verdict, AUDIT_CHANGED);
	close_fd(&server);
	ck_assert_int_eq(umount2("/dev/shm/file", MNT_DETACH), 0);
	ck_assert_uint_eq(rig_judge_one(before)->verdict, AUDIT_REMOVED);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("strays");
	TCase *tests = tcase_create("strays");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, held_by_whatever_means_is_held);
	tcase_add_test(tests, another_user_holds_as_well_as_we);
	tcase_add_test(tests, what_is_no_object_is_left_alone);
	tcase_add_test(tests, fifo_is_not_opened);
	tcase_add_test(tests, odd_names_are_names);
	tcase_add_test(tests, what_was_replaced_is_not_touched);
	tcase_add_test(tests, many_are_removed_at_once_and_others_stay);
	tcase_add_test(tests, segments_are_judged_by_the_kernels_count);
	tcase_add_test(tests, segments_of_others_are_removed);
	tcase_add_test(tests, list_has_all_of_both_kinds);
	tcase_add_test(tests, long_list_comes_in_pieces);
	tcase_add_test(tests, without_rights_ones_own_are_removed_and_others_not_judged);
	tcase_add_test(tests, what_is_mounted_on_a_name_holds_nobody_up);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
