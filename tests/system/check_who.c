/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who has a segment: every process that does is named, however it came to it, and nobody else. */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/system/looking.h"
#include "tests/system/opener.h"
#include "tests/system/stranger.h"

#define CROWD	500

LOOKING_TEST(client_is_named_as_long_as_it_has_it)
{
	struct keeper keeper;

	looking_begin(looking_book, true);
	looking_expect(0);
	looking_expect_unseen(0);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	looking_expect(1);
	looking_expect_row(keeper.pid, LOOKING_FD, 0, 1);
	ck_assert_uint_eq(looking.rows[0].uid, geteuid());
	keeper_must(&keeper, 0, "map %zu 1", (size_t)LOOKING_SIZE);
	keeper_must(&keeper, 0, "close");
	looking_expect(1);
	looking_expect_row(keeper.pid, LOOKING_MAP, 1, 0);
	ck_assert(looking_holder().flags & PROTOCOL_HOLDER_LIVES);
	/* Given back to us, and kept all the same. */
	keeper_must(&keeper, 0, "detach");
	looking_expect(1);
	ck_assert_uint_eq(looking_holder().flags, PROTOCOL_HOLDER_UNSUPERVISED | PROTOCOL_HOLDER_LIVES);
	ck_assert_int_eq(looking_holder().pid, keeper.pid);
	keeper_must(&keeper, 0, "hangup");
	looking_expect(1);
	ck_assert_uint_eq(looking_holder().flags, PROTOCOL_HOLDER_UNSUPERVISED | PROTOCOL_HOLDER_LIVES);
	keeper_must(&keeper, 0, "unmap");
	looking_expect(0);
	looking_expect_unseen(0);
	keeper_kill(&keeper);
	looking_end();
}

LOOKING_TEST(reader_is_told_from_a_writer)
{
	struct keeper keeper;

	looking_begin(looking_book, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_READ);
	keeper_must(&keeper, 0, "map %zu 0", (size_t)LOOKING_SIZE);
	looking_expect(1);
	looking_expect_row(keeper.pid, PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_FD_READ, 1, 1);
	keeper_kill(&keeper);
	looking_end();
}

LOOKING_TEST(children_are_named_beside_their_parents)
{
	struct keeper keeper;
	pid_t child, orphan;

	looking_begin(looking_book, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "map %zu 1", (size_t)LOOKING_SIZE);
	keeper_must(&keeper, 0, "close");
	child = (pid_t)keeper_do(&keeper, "fork");
	orphan = (pid_t)keeper_do(&keeper, "orphan");
	looking_expect(3);
	looking_expect_row(keeper.pid, LOOKING_MAP, 1, 0);
	looking_expect_row(child, LOOKING_MAP, 1, 0);
	looking_expect_row(orphan, LOOKING_MAP, 1, 0);
	ck_assert_int_eq(looking_holder().pid, keeper.pid);
	/* It ends; theirs does not. */
	keeper_kill(&keeper);
	ck_assert_uint_eq(looking_unsupervised().flags, PROTOCOL_HOLDER_UNSUPERVISED);
	ck_assert_str_eq(looking_holder().command, "");
	looking_expect(2);
	looking_expect_unseen(0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(kill(orphan, SIGKILL), 0);
	harness_await_counts(&looking.conn, "book", 0, 0);
	looking_expect(0);
	looking_end();
}

LOOKING_TEST(what_is_passed_on_is_the_receivers_and_in_flight_nobodys)
{
	struct keeper giver, taker;
	int ends[2];

	looking_begin(looking_book, true);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	keeper_start(&giver, looking.daemon.socket, ends[0]);
	keeper_start(&taker, looking.daemon.socket, ends[1]);
	keeper_must(&giver, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&giver, 0, "send");
	looking_expect(1);
	looking_expect_unseen(0);
	keeper_must(&giver, 0, "close");
	looking_expect(0);
	looking_expect_unseen(1);
	ck_assert_uint_eq(looking_holder().flags, PROTOCOL_HOLDER_LIVES);
	keeper_must(&taker, 0, "take");
	looking_expect(1);
	looking_expect_unseen(0);
	looking_expect_row(taker.pid, LOOKING_FD, 0, 1);
	keeper_kill(&giver);
	(void)looking_unsupervised();
	looking_expect(1);
	keeper_kill(&taker);
	harness_await_counts(&looking.conn, "book", 0, 0);
	looking_end();
}

LOOKING_TEST(zombie_has_nothing)
{
	struct keeper keeper;

	looking_begin(looking_book, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "map %zu 1", (size_t)LOOKING_SIZE);
	looking_expect(1);
	keeper_exit(&keeper);
	harness_await_counts(&looking.conn, "book", 0, 0);
	looking_expect(0);
	looking_expect_unseen(0);
	harness_child_await_success(&keeper.child);
	looking_end();
}

LOOKING_TEST(stopped_one_has_what_it_had)
{
	struct keeper keeper;
	siginfo_t info;

	looking_begin(looking_book, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	ck_assert_int_eq(kill(keeper.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)keeper.pid, &info, WSTOPPED | WNOWAIT), 0);
	looking_expect(1);
	ck_assert(looking.rows[0].how & PROTOCOL_HAS_STOPPED);
	looking_expect_row(keeper.pid, LOOKING_FD, 0, 1);
	harness_await_counts(&looking.conn, "book", 0, 1);
	ck_assert_int_eq(kill(keeper.pid, SIGCONT), 0);
	keeper_must(&keeper, 0, "close");
	looking_expect(0);
	keeper_kill(&keeper);
	looking_end();
}

LOOKING_TEST(process_of_another_pid_namespace_is_named_in_both)
{
	struct keeper keeper;

	looking_begin(looking_book, true);
	keeper_start_apart(&keeper, looking.daemon.socket);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	looking_expect(1);
	looking_expect_row(keeper.pid, LOOKING_FD, 0, 1);
	ck_assert(looking.rows[0].how & PROTOCOL_HAS_PID_NAMESPACE);
	ck_assert_int_eq(looking.rows[0].inner_pid, 1);
	ck_assert_int_eq(looking_holder().pid, keeper.pid);
	ck_assert(looking_holder().flags & PROTOCOL_HOLDER_LIVES);
	keeper_kill(&keeper);
	looking_end();
}

/* Who was attached has died; another process has its pid now, and the memory, too. */
LOOKING_TEST(pid_that_came_round_is_not_the_attachers)
{
	struct keeper first, second;
	struct protocol_holder holder;
	int ends[2], held[2];
	long answer;
	pid_t pid;
	char byte;

	harness_need_root();
	looking_begin(looking_book, true);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, held), 0);
	keeper_start(&first, looking.daemon.socket, ends[0]);
	keeper_start(&second, looking.daemon.socket, ends[1]);
	keeper_must(&first, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&first, 0, "send");
	ck_assert_uint_eq(looking_holder().flags, PROTOCOL_HOLDER_LIVES);
	pid = first.pid;
	keeper_kill(&first);
	answer = keeper_do(&second, "take %d", (int)pid);
	if (answer == -EPERM || answer == -ENOSYS || answer == -EEXIST)
		harness_skip("nobody can be given the pid %d: %s", (int)pid, strerror((int)-answer));
	ck_assert_int_eq(answer, 0);
	harness_await_readable(ends[0], "the one with that pid");
	ck_assert_int_eq(recv(ends[0], &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 1);
	looking_expect(1);
	looking_expect_row(pid, LOOKING_FD, 0, 1);
	holder = looking_unsupervised();
	ck_assert_int_eq(holder.pid, pid);
	ck_assert_uint_eq(holder.flags, PROTOCOL_HOLDER_UNSUPERVISED);
	ck_assert_str_eq(holder.command, "");
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	harness_await_counts(&looking.conn, "book", 0, 0);
	keeper_kill(&second);
	looking_end();
}

LOOKING_TEST(crowd_comes_in_pages)
{
	struct keeper keeper;
	struct harness_usage before;

	looking_begin(looking_book, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	looking_expect(0);
	harness_usage_read(looking.daemon.pid, &before);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "crowd %d", CROWD - 1);
	looking_expect(CROWD);
	for (int i = 0; i < CROWD; i++) {
		looking_expect_row(looking.rows[i].pid, LOOKING_FD, 0, 1);
		ck_assert(i == 0 || looking.rows[i].pid > looking.rows[i - 1].pid);
	}
	looking_end();
}

LOOKING_TEST(programs_that_open_it_by_name_are_named)
{
	bool is_root = geteuid() == 0;
	struct opener opener;

	opener_enter("mode=1777,size=8m");
	looking_begin(looking_object, true);
	if (is_root)
		opener_start(&opener, HARNESS_NOBODY, HARNESS_NOBODY, 0);
	else
		opener_start_bare(&opener);
	opener_must(&opener, 0, "write /book");
	opener_must(&opener, 0, "map %zu", (size_t)LOOKING_SIZE);
	looking_expect(1);
	looking_expect_unseen(0);
	looking_expect_row(opener.child.pid, LOOKING_MAP | LOOKING_FD, 1, 1);
	ck_assert_uint_eq(looking.rows[0].uid, is_root ? HARNESS_NOBODY : geteuid());
	opener_must(&opener, 0, "close");
	looking_expect(1);
	looking_expect_row(opener.child.pid, LOOKING_MAP, 1, 0);
	opener_must(&opener, 0, "read /book");
	looking_expect(1);
	looking_expect_row(opener.child.pid, LOOKING_MAP | PROTOCOL_HAS_FD_READ, 1, 1);
	opener_kill(&opener);
	looking_expect(0);
	looking_expect_unseen(0);
	looking_end();
}

LOOKING_TEST(programs_that_attach_it_by_key_are_named)
{
	uid_t uid = geteuid() == 0 ? HARNESS_NOBODY : geteuid();
	gid_t gid = geteuid() == 0 ? HARNESS_NOBODY : getegid();
	struct stranger stranger, other;
	struct keeper keeper;

	stranger_enter_namespace();
	looking_begin(looking_key, true);
	stranger_start(&stranger, uid, gid);
	stranger_must(&stranger, 0, "attach %d 0", LOOKING_KEY);
	looking_expect(1);
	looking_expect_unseen(0);
	looking_expect_row(stranger.child.pid, LOOKING_MAP, 1, 0);
	stranger_must(&stranger, 0, "remap");
	stranger_start(&other, uid, gid);
	stranger_must(&other, 0, "attach %d 010000", LOOKING_KEY);
	looking_expect(2);
	looking_expect_unseen(0);
	looking_expect_row(stranger.child.pid, LOOKING_MAP, 2, 0);
	ck_assert_uint_eq(LOOKING_HELD(looking_row(other.child.pid)->how), PROTOCOL_HAS_MAP_READ);
	/* A client that has not attached it by its id yet has the page that stands in for it. */
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_READ);
	looking_expect(3);
	looking_expect_row(keeper.pid, PROTOCOL_HAS_STAND_IN, 0, 0);
	keeper_kill(&keeper);
	stranger_kill(&stranger);
	stranger_kill(&other);
	looking_expect(0);
	looking_expect_unseen(0);
	looking_end();
}

/* The first of its own namespace has the id that the daemon's has, and is none of it. */
static void
attach_elsewhere(int control, void *arg)
{
	void *map;
	int id;

	harness_assert(unshare(CLONE_NEWIPC) == 0, "an IPC namespace: %s", strerror(errno));
	id = shmget(IPC_PRIVATE, LOOKING_SIZE, 0600);
	harness_assert(id == *(const int *)arg, "the id is %d there", id);
	map = shmat(id, NULL, 0);
	harness_assert(map != (void *)-1, "shmat: %s", strerror(errno));
	harness_say(control, "attached");
	harness_expect(control, "end");
}

LOOKING_TEST(same_id_of_another_namespace_is_not_it)
{
	struct harness_child child;
	struct stranger stranger;
	int id;

	harness_need_root();
	stranger_enter_namespace();
	looking_begin(looking_key, true);
	id = stranger_find(LOOKING_KEY);
	harness_child_start(&child, attach_elsewhere, &id);
	harness_expect(child.control, "attached");
	looking_expect(0);
	stranger_start(&stranger, HARNESS_NOBODY, HARNESS_NOBODY);
	stranger_must(&stranger, 0, "attach %d 0", LOOKING_KEY);
	looking_expect(1);
	looking_expect_row(stranger.child.pid, LOOKING_MAP, 1, 0);
	looking_expect_unseen(0);
	stranger_kill(&stranger);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	looking_end();
}

/* The daemon maps what it locks, and the locks; a worker is at the pages of the other. */
LOOKING_TEST(daemons_own_processes_are_left_out)
{
	struct keeper keeper;
	pid_t worker;

	looking_begin("segments = ( { name = \"book\"; size = \"64KiB\"; placement = \"prefer\"; locks = ( { name = \"l\"; offset = \"0\"; "
	    "length = \"64B\"; } ); }, { name = \"large\"; size = \"512MiB\"; mlock = false; required = false; } );\n", true);
	worker = suite_worker_stop(&looking.daemon);
	looking_expect(0);
	looking_expect_unseen(0);
	ck_assert_int_eq(keeper_who(&looking.conn, "large", &looking.told, NULL, 0, looking.rows, LOOKING_ROWS), 0);
	looking_expect_unseen(0);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	looking_expect(1);
	looking_expect_row(keeper.pid, LOOKING_FD | PROTOCOL_HAS_CONTROL, 0, 1);
	keeper_kill(&keeper);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	looking_end();
}

LOOKING_TEST(who_has_a_file_is_named)
{
	char dir[] = "/tmp/segmentd-who-XXXXXX", body[256], path[64];
	struct keeper keeper;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/book", dir);
	(void)snprintf(body, sizeof(body), "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; backend = \"file\"; "
	    "path = \"%s\"; } );\n", path);
	looking_begin(body, true);
	keeper_start(&keeper, looking.daemon.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "map %zu 1", (size_t)LOOKING_SIZE);
	looking_expect(1);
	looking_expect_unseen(0);
	looking_expect_row(keeper.pid, LOOKING_MAP | LOOKING_FD, 1, 1);
	keeper_kill(&keeper);
	looking_expect(0);
	looking_end();
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/book.segmentd", dir);
	(void)unlink(path);
	(void)rmdir(dir);
}

int
main(void)
{
	Suite *suite = suite_create("who");
	TCase *tcase = tcase_create("who");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, client_is_named_as_long_as_it_has_it);
	tcase_add_test(tcase, reader_is_told_from_a_writer);
	tcase_add_test(tcase, children_are_named_beside_their_parents);
	tcase_add_test(tcase, what_is_passed_on_is_the_receivers_and_in_flight_nobodys);
	tcase_add_test(tcase, zombie_has_nothing);
	tcase_add_test(tcase, stopped_one_has_what_it_had);
	tcase_add_test(tcase, process_of_another_pid_namespace_is_named_in_both);
	tcase_add_test(tcase, pid_that_came_round_is_not_the_attachers);
	tcase_add_test(tcase, crowd_comes_in_pages);
	tcase_add_test(tcase, programs_that_open_it_by_name_are_named);
	tcase_add_test(tcase, programs_that_attach_it_by_key_are_named);
	tcase_add_test(tcase, same_id_of_another_namespace_is_not_it);
	tcase_add_test(tcase, daemons_own_processes_are_left_out);
	tcase_add_test(tcase, who_has_a_file_is_named);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
