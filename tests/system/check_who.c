/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who has a segment: every process that does is named, however it came to it, and nobody else. segmentd-audit is the real one,
 * with the test's rights or the daemon's own.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/system/keeper.h"
#include "tests/system/opener.h"
#include "tests/system/stranger.h"
#include "tests/system/suite.h"

#define SIZE	(64 * KIB)
#define KEY	0x5e67d6
#define ROWS	600
#define CROWD	500
#define KEPT	4		/* answers that a user may leave unread */

#define HELD(how)	((how) & ~(PROTOCOL_HAS_STOPPED | PROTOCOL_HAS_PID_NAMESPACE | PROTOCOL_HAS_IPC_NAMESPACE))

static const char book[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; } );\n";
static const char key[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; backend = \"sysv\"; "
    "key = 0x5e67d6; } );\n";
static const char object[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; "
    "backend = \"posix\"; object = \"/book\"; } );\n";

static struct harness_daemon daemon_;
static struct harness_conn conn;
static struct protocol_told told;
static struct protocol_process rows[ROWS];
static char text[512];

static void
begin(const char *body, bool is_served)
{
	harness_daemon_prepare(&daemon_, "memory_reserve = \"16MiB\"; workers = 1;", body);
	if (is_served)
		harness_daemon_serve_audit(&daemon_);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
}

static void
end(void)
{
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}

static int
who(void)
{
	return keeper_who(&conn, "book", &told, text, sizeof(text), rows, ROWS);
}

/*
 * On a host that has no processes but the test's, since of others it may be hidden what they have. Who is not root has to do with
 * the real one.
 */
static void
on_own_host(void (*body)(void))
{
	int status;
	pid_t pid;

	if (geteuid() != 0 || unshare(CLONE_NEWPID | CLONE_NEWNS)) {
		body();
		return;
	}
	pid = fork();
	harness_assert(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		harness_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		    mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc: %s", strerror(errno));
		body();
		_exit(0);
	}
	harness_assert(waitpid(pid, &status, 0) == pid && status == 0, "it ended with %x", (unsigned)status);
}

#define HOST_TEST(name)							\
	static void name##_body(void);					\
	START_TEST(name)						\
	{								\
		on_own_host(name##_body);				\
	}								\
	END_TEST							\
	static void name##_body(void)

/* All was looked at, and n processes have it. */
static void
expect(int n)
{
	int got = who();

	for (int i = 0; i < got && i < ROWS && got != n; i++)
		(void)fprintf(stderr, "pid %d (%s): how %x, %u maps, %u fds\n", rows[i].pid, rows[i].command, rows[i].how,
		    rows[i].n_maps, rows[i].n_fds);
	harness_assert(got == n, "%d have it, not %d: %s", got, n, text);
	harness_assert(!(told.flags & (PROTOCOL_TOLD_FAILED | PROTOCOL_TOLD_INCOMPLETE)), "%s", text);
}

/* Others on the real host may be hidden from the test. */
static void
expect_unseen(uint32_t n)
{
	if (told.n_hidden && getpid() != 1)
		return;
	harness_assert(told.n_hidden == 0, "%u are hidden: %s", told.n_hidden, text);
	harness_assert(told.n_unseen == n, "%u are unseen, not %u", told.n_unseen, n);
}

static const struct protocol_process *
row_of(pid_t pid)
{
	for (int i = 0; i < ROWS; i++)
		if (rows[i].pid == pid)
			return &rows[i];
	harness_fail("pid %d is not among them", (int)pid);
}

static void
expect_row(pid_t pid, uint32_t how, uint32_t n_maps, uint32_t n_fds)
{
	const struct protocol_process *row = row_of(pid);

	harness_assert(HELD(row->how) == how, "pid %d has it as %x, not %x", (int)pid, HELD(row->how), how);
	ck_assert_uint_eq(row->n_maps, n_maps);
	ck_assert_uint_eq(row->n_fds, n_fds);
	ck_assert_uint_eq(row->mapped_bytes, n_maps * SIZE);
	ck_assert_str_ne(row->command, "");
	ck_assert_uint_le(row->started_ns, clock_realtime_ns());
}

/* The only attachment's row. */
static struct protocol_holder
only_holder(void)
{
	struct protocol_holder holder;

	ck_assert_int_eq(harness_holders(&conn, "book", &holder, 1), 1);
	return holder;
}

/* Waits until the only attachment has lost its session. */
static struct protocol_holder
unsupervised_holder(void)
{
	uint64_t until_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_holder holder;

	do
		holder = only_holder();
	while (holder.session && clock_monotonic_ns() < until_ns);
	ck_assert(holder.flags & PROTOCOL_HOLDER_UNSUPERVISED);
	return holder;
}

#define MAP_RW	(PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_MAP_WRITE)
#define FD_RW	(PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_FD_WRITE)

HOST_TEST(client_is_named_as_long_as_it_has_it)
{
	struct keeper keeper;

	begin(book, true);
	expect(0);
	expect_unseen(0);
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	expect(1);
	expect_row(keeper.pid, FD_RW, 0, 1);
	ck_assert_uint_eq(rows[0].uid, geteuid());
	keeper_must(&keeper, 0, "map %zu 1", (size_t)SIZE);
	keeper_must(&keeper, 0, "close");
	expect(1);
	expect_row(keeper.pid, MAP_RW, 1, 0);
	ck_assert(only_holder().flags & PROTOCOL_HOLDER_LIVES);
	/* Given back to us, and kept all the same. */
	keeper_must(&keeper, 0, "detach");
	expect(1);
	ck_assert_uint_eq(only_holder().flags, PROTOCOL_HOLDER_UNSUPERVISED | PROTOCOL_HOLDER_LIVES);
	ck_assert_int_eq(only_holder().pid, keeper.pid);
	keeper_must(&keeper, 0, "hangup");
	expect(1);
	ck_assert_uint_eq(only_holder().flags, PROTOCOL_HOLDER_UNSUPERVISED | PROTOCOL_HOLDER_LIVES);
	keeper_must(&keeper, 0, "unmap");
	expect(0);
	expect_unseen(0);
	keeper_kill(&keeper);
	end();
}

HOST_TEST(reader_is_told_from_a_writer)
{
	struct keeper keeper;

	begin(book, true);
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_READ);
	keeper_must(&keeper, 0, "map %zu 0", (size_t)SIZE);
	expect(1);
	expect_row(keeper.pid, PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_FD_READ, 1, 1);
	keeper_kill(&keeper);
	end();
}

HOST_TEST(children_are_named_beside_their_parents)
{
	struct keeper keeper;
	pid_t child, orphan;

	begin(book, true);
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "map %zu 1", (size_t)SIZE);
	keeper_must(&keeper, 0, "close");
	child = (pid_t)keeper_do(&keeper, "fork");
	orphan = (pid_t)keeper_do(&keeper, "orphan");
	expect(3);
	expect_row(keeper.pid, MAP_RW, 1, 0);
	expect_row(child, MAP_RW, 1, 0);
	expect_row(orphan, MAP_RW, 1, 0);
	ck_assert_int_eq(only_holder().pid, keeper.pid);
	/* It ends; theirs does not. */
	keeper_kill(&keeper);
	ck_assert_uint_eq(unsupervised_holder().flags, PROTOCOL_HOLDER_UNSUPERVISED);
	ck_assert_str_eq(only_holder().command, "");
	expect(2);
	expect_unseen(0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(kill(orphan, SIGKILL), 0);
	harness_await_counts(&conn, "book", 0, 0);
	expect(0);
	end();
}

HOST_TEST(what_is_passed_on_is_the_receivers_and_in_flight_nobodys)
{
	struct keeper giver, taker;
	int ends[2];

	begin(book, true);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	keeper_start(&giver, daemon_.socket, ends[0]);
	keeper_start(&taker, daemon_.socket, ends[1]);
	keeper_must(&giver, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&giver, 0, "send");
	expect(1);
	expect_unseen(0);
	keeper_must(&giver, 0, "close");
	expect(0);
	expect_unseen(1);
	ck_assert_uint_eq(only_holder().flags, PROTOCOL_HOLDER_LIVES);
	keeper_must(&taker, 0, "take");
	expect(1);
	expect_unseen(0);
	expect_row(taker.pid, FD_RW, 0, 1);
	keeper_kill(&giver);
	(void)unsupervised_holder();
	expect(1);
	keeper_kill(&taker);
	harness_await_counts(&conn, "book", 0, 0);
	end();
}

HOST_TEST(zombie_has_nothing)
{
	struct keeper keeper;

	begin(book, true);
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "map %zu 1", (size_t)SIZE);
	expect(1);
	keeper_exit(&keeper);
	harness_await_counts(&conn, "book", 0, 0);
	expect(0);
	expect_unseen(0);
	harness_child_await_success(&keeper.child);
	end();
}

HOST_TEST(stopped_one_has_what_it_had)
{
	struct keeper keeper;
	siginfo_t info;

	begin(book, true);
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	ck_assert_int_eq(kill(keeper.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)keeper.pid, &info, WSTOPPED | WNOWAIT), 0);
	expect(1);
	ck_assert(rows[0].how & PROTOCOL_HAS_STOPPED);
	expect_row(keeper.pid, FD_RW, 0, 1);
	harness_await_counts(&conn, "book", 0, 1);
	ck_assert_int_eq(kill(keeper.pid, SIGCONT), 0);
	keeper_must(&keeper, 0, "close");
	expect(0);
	keeper_kill(&keeper);
	end();
}

HOST_TEST(process_of_another_pid_namespace_is_named_in_both)
{
	struct keeper keeper;

	begin(book, true);
	keeper_start_apart(&keeper, daemon_.socket);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	expect(1);
	expect_row(keeper.pid, FD_RW, 0, 1);
	ck_assert(rows[0].how & PROTOCOL_HAS_PID_NAMESPACE);
	ck_assert_int_eq(rows[0].inner_pid, 1);
	ck_assert_int_eq(only_holder().pid, keeper.pid);
	ck_assert(only_holder().flags & PROTOCOL_HOLDER_LIVES);
	keeper_kill(&keeper);
	end();
}

/* Who was attached has died; another process has its pid now, and the memory, too. */
HOST_TEST(pid_that_came_round_is_not_the_attachers)
{
	struct keeper first, second;
	struct protocol_holder holder;
	int ends[2], held[2];
	long answer;
	pid_t pid;
	char byte;

	harness_need_root();
	begin(book, true);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, held), 0);
	keeper_start(&first, daemon_.socket, ends[0]);
	keeper_start(&second, daemon_.socket, ends[1]);
	keeper_must(&first, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&first, 0, "send");
	ck_assert_uint_eq(only_holder().flags, PROTOCOL_HOLDER_LIVES);
	pid = first.pid;
	keeper_kill(&first);
	answer = keeper_do(&second, "take %d", (int)pid);
	if (answer == -EPERM || answer == -ENOSYS || answer == -EEXIST)
		harness_skip("nobody can be given the pid %d: %s", (int)pid, strerror((int)-answer));
	ck_assert_int_eq(answer, 0);
	harness_await_readable(ends[0], "the one with that pid");
	ck_assert_int_eq(recv(ends[0], &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 1);
	expect(1);
	expect_row(pid, FD_RW, 0, 1);
	holder = unsupervised_holder();
	ck_assert_int_eq(holder.pid, pid);
	ck_assert_uint_eq(holder.flags, PROTOCOL_HOLDER_UNSUPERVISED);
	ck_assert_str_eq(holder.command, "");
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	harness_await_counts(&conn, "book", 0, 0);
	keeper_kill(&second);
	end();
}

HOST_TEST(crowd_comes_in_pages)
{
	struct keeper keeper;
	struct harness_usage before;

	begin(book, true);
	keeper_start(&keeper, daemon_.socket, -1);
	expect(0);
	harness_usage_read(daemon_.pid, &before);
	keeper_must(&keeper, 0, "attach book %u", SUITE_WRITE);
	keeper_must(&keeper, 0, "crowd %d", CROWD - 1);
	expect(CROWD);
	for (int i = 0; i < CROWD; i++) {
		expect_row(rows[i].pid, FD_RW, 0, 1);
		ck_assert(i == 0 || rows[i].pid > rows[i - 1].pid);
	}
	end();
}

HOST_TEST(programs_that_open_it_by_name_are_named)
{
	uid_t uid = geteuid() == 0 ? HARNESS_NOBODY : geteuid();
	gid_t gid = geteuid() == 0 ? HARNESS_NOBODY : getegid();
	struct opener opener;

	opener_enter("mode=1777,size=8m");
	begin(object, true);
	opener_start(&opener, uid, gid, 0);
	opener_must(&opener, 0, "write /book");
	opener_must(&opener, 0, "map %zu", (size_t)SIZE);
	expect(1);
	expect_unseen(0);
	expect_row(opener.child.pid, MAP_RW | FD_RW, 1, 1);
	ck_assert_uint_eq(rows[0].uid, uid);
	opener_must(&opener, 0, "close");
	expect(1);
	expect_row(opener.child.pid, MAP_RW, 1, 0);
	opener_must(&opener, 0, "read /book");
	expect(1);
	expect_row(opener.child.pid, MAP_RW | PROTOCOL_HAS_FD_READ, 1, 1);
	opener_kill(&opener);
	expect(0);
	expect_unseen(0);
	end();
}

HOST_TEST(programs_that_attach_it_by_key_are_named)
{
	uid_t uid = geteuid() == 0 ? HARNESS_NOBODY : geteuid();
	gid_t gid = geteuid() == 0 ? HARNESS_NOBODY : getegid();
	struct stranger stranger, other;
	struct keeper keeper;

	stranger_enter_namespace();
	begin(key, true);
	stranger_start(&stranger, uid, gid);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	expect(1);
	expect_unseen(0);
	expect_row(stranger.child.pid, MAP_RW, 1, 0);
	stranger_must(&stranger, 0, "remap");
	stranger_start(&other, uid, gid);
	stranger_must(&other, 0, "attach %d 010000", KEY);
	expect(2);
	expect_unseen(0);
	expect_row(stranger.child.pid, MAP_RW, 2, 0);
	ck_assert_uint_eq(HELD(row_of(other.child.pid)->how), PROTOCOL_HAS_MAP_READ);
	/* A client that has not attached it by its id yet has the page that stands in for it. */
	keeper_start(&keeper, daemon_.socket, -1);
	keeper_must(&keeper, 0, "attach book %u", SUITE_READ);
	expect(3);
	expect_row(keeper.pid, PROTOCOL_HAS_STAND_IN, 0, 0);
	keeper_kill(&keeper);
	stranger_kill(&stranger);
	stranger_kill(&other);
	expect(0);
	expect_unseen(0);
	end();
}

/* The daemon's own rights are not enough: what it is not shown it counts, and says what would show it. */
HOST_TEST(without_rights_there_are_numbers)
{
	struct stranger stranger;

	harness_need_root();
	stranger_enter_namespace();
	begin(key, false);
	stranger_start(&stranger, HARNESS_NOBODY, HARNESS_NOBODY);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "remap");
	expect(0);
	ck_assert_uint_eq(told.n_unseen, 2);
	ck_assert_uint_gt(told.n_hidden, 0);
	ck_assert(told.flags & PROTOCOL_TOLD_OWN_RIGHTS);
	harness_assert(strstr(text, "segmentd-audit.socket"), "'%s' says how", text);
	stranger_kill(&stranger);
	end();
}

static void
lose_audit(void *arg)
{
	(void)setenv("SEGMENTD_AUDIT", "/nonexistent/segmentd-audit", 1);
}

HOST_TEST(without_the_program_a_sentence_says_so)
{
	int fd;

	harness_daemon_prepare(&daemon_, NULL, book);
	daemon_.before_exec = lose_audit;
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	fd = suite_attach(&conn, "book", SUITE_READ);
	ck_assert_int_eq(who(), 0);
	ck_assert(told.flags & PROTOCOL_TOLD_FAILED);
	ck_assert_uint_eq(told.n_unseen, 0);
	harness_assert(strstr(text, "not installed"), "'%s' says why", text);
	ck_assert_int_eq(only_holder().pid, getpid());
	(void)close(fd);
	end();
}

/* Those who ask while it is looked share what comes of it; and who goes away meanwhile is missed by nobody. */
HOST_TEST(many_may_ask_at_once)
{
	struct harness_conn conns[40];
	struct protocol_who request = { .name = "book" };
	struct harness_reply reply;
	struct harness_usage before;
	int fd;

	begin(book, true);
	fd = suite_attach(&conn, "book", SUITE_READ);
	expect(1);
	harness_usage_read(daemon_.pid, &before);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_open(&conns[i], daemon_.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++) {
		harness_fill(&conns[i], &request.header, PROTOCOL_WHO, sizeof(request));
		ck_assert_int_eq(harness_send(conns[i].fd, &request, sizeof(request), NULL, 0), sizeof(request));
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i += 2)
		harness_close(&conns[i]);
	for (size_t i = 1; i < BASE_ARRAY_SIZE(conns); i += 2) {
		ck_assert_int_ge(harness_receive(conns[i].fd, &reply), (int)sizeof(struct protocol_told));
		ck_assert_int_eq(reply.header.status, 0);
		ck_assert_uint_eq(((struct protocol_told *)(void *)&reply)->n_rows, 1);
		harness_close(&conns[i]);
	}
	expect(1);
	harness_usage_await(&conn, daemon_.pid, &before);
	(void)close(fd);
	end();
}

/* Rows that are not read take memory: of an ordinary user few answers are kept. */
static void
leave_unread(int control, void *arg)
{
	struct harness_conn conns[KEPT + 1];
	struct protocol_who request = { .name = "book" };
	struct protocol_who_rows next = { 0 };
	struct harness_reply reply;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	for (int i = 0; i <= KEPT; i++) {
		int wanted = i < KEPT ? 0 : -EBUSY;

		harness_open(&conns[i], daemon_.socket);
		harness_assert(harness_ask(&conns[i], PROTOCOL_WHO, &request.header, sizeof(request), &reply) == wanted,
		    "the %dth is answered with %d", i, reply.header.status);
	}
	/* Read, and there is room again. */
	harness_assert(harness_ask(&conns[0], PROTOCOL_WHO_ROWS, &next.header, sizeof(next), &reply) == 0, "rows");
	harness_assert(harness_ask(&conns[0], PROTOCOL_WHO_ROWS, &next.header, sizeof(next), &reply) == -ENODATA, "rows once");
	harness_assert(harness_ask(&conns[KEPT], PROTOCOL_WHO, &request.header, sizeof(request), &reply) == 0, "%s",
	    reply.bytes + sizeof(reply.header));
}

HOST_TEST(answers_that_are_not_read_are_few)
{
	struct harness_child child;
	int fd;

	harness_need_root();
	begin(book, true);
	fd = suite_attach(&conn, "book", SUITE_READ);
	harness_child_start(&child, leave_unread, NULL);
	harness_child_await_success(&child);
	expect(1);
	(void)close(fd);
	end();
}

HOST_TEST(what_cannot_be_asked_is_refused)
{
	union suite_request request = { .show = { .name = "none" } };
	struct harness_reply reply;

	begin("segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; }, { name = \"far\"; size = \"1TiB\"; "
	    "required = false; } );\n", true);
	suite_refused(&conn, PROTOCOL_WHO, &request, sizeof(struct protocol_who), -ENOENT, "no segment");
	memset(&request, 0, sizeof(request));
	suite_refused(&conn, PROTOCOL_WHO_ROWS, &request, sizeof(struct protocol_who_rows), -ENODATA, "asked for no");
	/* One without memory has no holders. */
	ck_assert_int_eq(keeper_who(&conn, "far", &told, text, sizeof(text), rows, ROWS), 0);
	ck_assert_uint_eq(told.generation, 0);
	ck_assert_uint_eq(told.flags, 0);
	/* It goes while it is asked about. */
	memset(&request, 0, sizeof(request));
	(void)snprintf(request.show.name, sizeof(request.show.name), "book");
	harness_fill(&conn, &request.header, PROTOCOL_WHO, sizeof(struct protocol_who));
	ck_assert_int_gt(harness_send(conn.fd, &request, sizeof(struct protocol_who), NULL, 0), 0);
	suite_serves(&daemon_);
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	end();
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
	tcase_add_test(tcase, without_rights_there_are_numbers);
	tcase_add_test(tcase, without_the_program_a_sentence_says_so);
	tcase_add_test(tcase, many_may_ask_at_once);
	tcase_add_test(tcase, answers_that_are_not_read_are_few);
	tcase_add_test(tcase, what_cannot_be_asked_is_refused);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
