/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Attachments end when the kernel says so, segments end when their lifetime says so. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/harness.h"

#define SIZE	(16 * 4096)
#define READ	PROTOCOL_ACCESS_READ
#define WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)
#define MAX_ROWS	64

static const char body[] =
    "segments = ( { name = \"book\"; size = \"64KiB\"; layout = \"book/1\"; } );"
    "templates = ( { name = \"scratch-%U-\"; max_size = \"1MiB\"; max_count = 3; },"
    "              { name = \"slow-\"; max_size = \"1MiB\"; max_count = 3; linger = \"300ms\"; } );";

static void *
map_fd(int fd, uint32_t access)
{
	void *map = mmap(NULL, SIZE, PROT_READ | (access == WRITE ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	harness_assert(map != MAP_FAILED, "mmap: %s", strerror(errno));
	return map;
}

static int
attach(struct harness_conn *conn, const char *name, uint32_t access, struct protocol_attached *ret_attached)
{
	int fd, r = harness_attach(conn, name, access, ret_attached, &fd);

	harness_assert(r == 0, "attach %s: %s", name, strerror(-r));
	return fd;
}

static void
expect_unsupervised(struct harness_conn *conn, const char *name, unsigned n)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row;

	do
		ck_assert_int_eq(harness_find(conn, name, &row), 0);
	while (row.unsupervised != n && harness_clock_ns() < deadline);
	harness_assert(row.unsupervised == n, "%u unsupervised, not %u", row.unsupervised, n);
}

START_TEST(attachments_are_counted_and_named)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_attached reader, writer;
	struct protocol_holder rows[MAX_ROWS];
	struct protocol_client clients[MAX_ROWS];
	int fd, n;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	fd = attach(&conn, "book", READ, &reader);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	fd = attach(&conn, "book", WRITE, &writer);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_uint_eq(writer.generation, reader.generation);
	ck_assert_uint_ne(writer.attachment, reader.attachment);
	ck_assert_uint_eq(writer.size_bytes, SIZE);
	harness_await_counts(&conn, "book", 1, 1);

	n = harness_holders(&conn, "book", rows, MAX_ROWS);
	ck_assert_int_eq(n, 2);
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(rows[i].pid, getpid());
		ck_assert_uint_eq(rows[i].uid, getuid());
		ck_assert_uint_eq(rows[i].session, conn.session);
		ck_assert_uint_eq(rows[i].flags, PROTOCOL_HOLDER_LIVES);
		ck_assert_uint_eq(rows[i].attachment, i == 0 ? reader.attachment : writer.attachment);
		ck_assert_uint_eq(rows[i].access, i == 0 ? READ : WRITE);
	}
	n = harness_clients(&conn, clients, MAX_ROWS);
	ck_assert_int_eq(n, 1);
	ck_assert_uint_eq(clients[0].attachments, 2);
	harness_daemon_stop(&daemon);
}
END_TEST

/* A page without commands, from the cursor on. Its rows. */
static unsigned
ask_brief(struct harness_conn *conn, uint64_t cursor, struct harness_reply *reply)
{
	struct protocol_holders request = { .cursor = cursor, .name = "book" };

	harness_fill(conn, &request.header, PROTOCOL_HOLDERS, sizeof(request));
	request.header.flags = PROTOCOL_BRIEF;
	ck_assert_int_eq(harness_send(conn->fd, &request, sizeof(request), NULL, 0), sizeof(request));
	ck_assert_int_gt(harness_receive(conn->fd, reply), 0);
	ck_assert_int_eq(reply->header.status, 0);
	ck_assert_uint_eq(reply->listed.row_size, PROTOCOL_BRIEF_SIZE);
	ck_assert_uint_eq(reply->size, sizeof(reply->listed) + reply->listed.n_rows * PROTOCOL_BRIEF_SIZE);
	return reply->listed.n_rows;
}

START_TEST(brief_page_has_as_many_as_a_message)
{
	static struct harness_reply reply;
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_attached attached[PROTOCOL_BRIEF_ROWS + 2];
	struct protocol_holder row;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(attached); i++)
		(void)attach(&conn, "book", i % 2 ? WRITE : READ, &attached[i]);
	ck_assert_uint_eq(ask_brief(&conn, 0, &reply), PROTOCOL_BRIEF_ROWS);
	ck_assert_uint_eq(reply.header.flags & PROTOCOL_MORE, PROTOCOL_MORE);
	for (size_t i = 0; i < PROTOCOL_BRIEF_ROWS; i++) {
		memcpy(&row, reply.bytes + sizeof(reply.listed) + i * PROTOCOL_BRIEF_SIZE, PROTOCOL_BRIEF_SIZE);
		ck_assert_uint_eq(row.attachment, attached[i].attachment);
		ck_assert_int_eq(row.pid, getpid());
		ck_assert_uint_eq(row.access, i % 2 ? WRITE : READ);
		ck_assert_uint_eq(row.session, conn.session);
	}
	ck_assert_uint_eq(ask_brief(&conn, row.cursor, &reply), 2);
	ck_assert_uint_eq(reply.header.flags & PROTOCOL_MORE, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(detached_but_mapped_stays_attached)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_attached attached;
	void *map;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	fd = attach(&conn, "book", READ, &attached);
	map = map_fd(fd, READ);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	ck_assert_int_eq(close(fd), 0);
	expect_unsupervised(&conn, "book", 1);
	harness_await_counts(&conn, "book", 1, 0);
	ck_assert_int_eq(munmap(map, SIZE), 0);
	harness_await_counts(&conn, "book", 0, 0);
	expect_unsupervised(&conn, "book", 0);
	harness_daemon_stop(&daemon);
}
END_TEST

/* The client never says detach: the kernel's word is enough. */
START_TEST(closing_is_detaching)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	fd = attach(&conn, "book", WRITE, NULL);
	harness_await_counts(&conn, "book", 0, 1);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
attach_and_hold(int control, void *arg)
{
	struct harness_conn conn;

	harness_open(&conn, arg);
	(void)map_fd(attach(&conn, "book", WRITE, NULL), WRITE);
	harness_say(control, "attached");
	harness_expect(control, "end");
}

START_TEST(killed_client_is_detached)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	struct harness_usage before;
	struct protocol_client clients[MAX_ROWS];

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	harness_child_start(&child, attach_and_hold, daemon.socket);
	harness_expect(child.control, "attached");
	harness_await_counts(&conn, "book", 0, 1);
	ck_assert_int_eq(harness_clients(&conn, clients, MAX_ROWS), 2);
	harness_child_kill(&child);
	harness_await_counts(&conn, "book", 0, 0);
	ck_assert_int_eq(harness_clients(&conn, clients, MAX_ROWS), 1);
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Attaches, has a child that lives on with the mapping, and says so. The child ends when `leash` does. */
struct leashed {
	const char *socket;
	int leash[2];
	bool exec;
};

static void
live_on_leash(const struct leashed *leashed, int fd)
{
	char byte;

	(void)close(leashed->leash[1]);
	if (leashed->exec) {
		(void)fcntl(fd, F_SETFD, 0);
		(void)dup2(leashed->leash[0], 0);
		(void)execl("/bin/cat", "cat", (char *)NULL);
		_exit(HARNESS_EXIT_FAILED);
	}
	(void)map_fd(fd, WRITE);
	(void)close(fd);
	_exit(read(leashed->leash[0], &byte, 1) == 0 ? 0 : HARNESS_EXIT_FAILED);
}

static void
attach_and_fork(int control, void *arg)
{
	const struct leashed *leashed = arg;
	struct harness_conn conn;
	int fd;

	harness_open(&conn, leashed->socket);
	fd = attach(&conn, "book", WRITE, NULL);
	if (harness_fork() == 0) {
		harness_close(&conn);
		(void)close(control);
		live_on_leash(leashed, fd);
	}
	harness_say(control, "forked");
	harness_expect(control, "end");
}

START_TEST(forked_child_keeps_the_attachment)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	struct leashed leashed = { .exec = _i == 1 };
	struct protocol_holder rows[MAX_ROWS];

	harness_daemon_start(&daemon, NULL, body);
	leashed.socket = daemon.socket;
	ck_assert_int_eq(pipe2(leashed.leash, O_CLOEXEC), 0);
	harness_open(&conn, daemon.socket);
	harness_child_start(&child, attach_and_fork, &leashed);
	harness_expect(child.control, "forked");
	harness_await_counts(&conn, "book", 0, 1);
	expect_unsupervised(&conn, "book", 0);
	harness_child_kill(&child);
	expect_unsupervised(&conn, "book", 1);
	harness_await_counts(&conn, "book", 0, 1);
	ck_assert_int_eq(harness_holders(&conn, "book", rows, MAX_ROWS), 1);
	ck_assert_uint_eq(rows[0].flags, PROTOCOL_HOLDER_UNSUPERVISED);
	ck_assert_uint_eq(rows[0].session, 0);
	ck_assert_int_eq(close(leashed.leash[1]), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

/* The program that attached becomes another one, with or without the fd. */
static void
attach_and_exec(int control, void *arg)
{
	const struct leashed *leashed = arg;
	struct harness_conn conn;
	int fd;

	harness_open(&conn, leashed->socket);
	fd = attach(&conn, "book", READ, NULL);
	(void)map_fd(fd, READ);
	(void)dup2(leashed->leash[0], 0);
	(void)fcntl(fd, F_SETFD, leashed->exec ? 0 : FD_CLOEXEC);
	harness_say(control, "attached");
	harness_expect(control, "exec");
	(void)execl("/bin/cat", "cat", (char *)NULL);
	_exit(HARNESS_EXIT_FAILED);
}

START_TEST(exec_keeps_what_the_program_inherits)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	struct leashed leashed = { .exec = _i == 1 };

	harness_daemon_start(&daemon, NULL, body);
	leashed.socket = daemon.socket;
	ck_assert_int_eq(pipe2(leashed.leash, O_CLOEXEC), 0);
	harness_open(&conn, daemon.socket);
	harness_child_start(&child, attach_and_exec, &leashed);
	harness_expect(child.control, "attached");
	harness_await_counts(&conn, "book", 1, 0);
	harness_say(child.control, "exec");
	if (leashed.exec) {
		expect_unsupervised(&conn, "book", 1);
		harness_await_counts(&conn, "book", 1, 0);
	} else
		harness_await_counts(&conn, "book", 0, 0);
	ck_assert_int_eq(close(leashed.leash[1]), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
attach_and_pass_on(int control, void *arg)
{
	struct harness_conn conn;
	int fd;

	harness_open(&conn, arg);
	fd = attach(&conn, "book", READ, NULL);
	harness_assert(harness_send(control, "fd", 2, &fd, 1) == 2, "sendmsg failed");
}

START_TEST(passed_on_fd_keeps_the_attachment)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	struct harness_reply reply;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_child_start(&child, attach_and_pass_on, daemon.socket);
	ck_assert_int_eq(harness_receive(child.control, &reply), 2);
	ck_assert_uint_eq(reply.n_fds, 1);
	harness_child_await_success(&child);
	expect_unsupervised(&conn, "book", 1);
	harness_await_counts(&conn, "book", 1, 0);
	ck_assert_int_eq(close(reply.fds[0]), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

/* An fd that lies unread in a socket is held, too. */
START_TEST(fd_in_flight_keeps_the_attachment)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	int pair[2], fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fd = attach(&conn, "book", READ, NULL);
	ck_assert_int_eq(harness_send(pair[0], "fd", 2, &fd, 1), 2);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(&conn, "book", 1, 0);
	ck_assert_int_eq(close(pair[0]), 0);
	harness_await_counts(&conn, "book", 1, 0);
	ck_assert_int_eq(close(pair[1]), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

/* A detach that comes twice is harmless; one of another session's attachment must be, too. */
START_TEST(detach_of_anothers_attachment_changes_nothing)
{
	struct harness_daemon daemon;
	struct harness_conn conn, other;
	struct protocol_attached attached;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_open(&other, daemon.socket);
	fd = attach(&conn, "book", READ, &attached);
	(void)harness_detach(&other, &attached);
	harness_await_counts(&conn, "book", 1, 0);
	expect_unsupervised(&conn, "book", 0);
	attached.attachment++;
	(void)harness_detach(&conn, &attached);
	attached.attachment--;
	attached.generation++;
	(void)harness_detach(&conn, &attached);
	attached.generation--;
	harness_await_counts(&conn, "book", 1, 0);
	expect_unsupervised(&conn, "book", 0);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	(void)harness_detach(&conn, &attached);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

static int
attach_with(struct harness_conn *conn, const char *layout, uint64_t generation, uint32_t flags)
{
	struct protocol_attach request = { .access = READ, .generation = generation, .flags = flags };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "book");
	(void)snprintf(request.layout, sizeof(request.layout), "%s", layout);
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	for (unsigned i = 0; i < reply.n_fds; i++)
		(void)close(reply.fds[i]);
	return r;
}

START_TEST(layout_and_generation_are_compared)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_segment row;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_find(&conn, "book", &row), 0);
	ck_assert_int_eq(attach_with(&conn, "", 0, 0), 0);
	ck_assert_int_eq(attach_with(&conn, "book/1", row.generation, 0), 0);
	ck_assert_int_eq(attach_with(&conn, "book/2", 0, 0), -EPROTOTYPE);
	ck_assert_int_eq(attach_with(&conn, "", row.generation + 1, 0), -ESTALE);
	ck_assert_int_eq(attach_with(&conn, "", 0, PROTOCOL_ATTACH_OWNED), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(created_segment_ends_with_its_last_attachment)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct protocol_attached attached;
	struct protocol_segment row;
	char name[64];
	void *map;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	(void)snprintf(name, sizeof(name), "scratch-%u-a", getuid());
	ck_assert_int_eq(harness_create(&conn, name, SIZE, &attached, &fd), 0);
	ck_assert_int_eq(harness_find(&conn, name, &row), 0);
	ck_assert_uint_eq(row.owner, getuid());
	ck_assert_uint_eq(row.mode, 0600);
	ck_assert(row.flags & PROTOCOL_SEGMENT_CREATED);
	ck_assert_uint_eq(row.size_bytes, SIZE);
	map = map_fd(fd, WRITE);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	expect_unsupervised(&conn, name, 1);
	ck_assert_int_eq(munmap(map, SIZE), 0);
	harness_await_gone(&conn, name);
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(linger_keeps_a_segment_for_a_while)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_attached attached, again;
	uint64_t detached_ns;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_create(&conn, "slow-a", SIZE, &attached, &fd), 0);
	ck_assert_int_eq(pwrite(fd, "kept", 4, 0), 4);
	ck_assert_int_eq(close(fd), 0);
	harness_await_counts(&conn, "slow-a", 0, 0);
	/* A next attachment finds it as it was, and its end begins the time anew. */
	fd = attach(&conn, "slow-a", WRITE, &again);
	ck_assert_uint_eq(again.generation, attached.generation);
	ck_assert_mem_eq(map_fd(fd, WRITE), "kept", 4);
	ck_assert_int_eq(harness_detach(&conn, &again), 0);
	ck_assert_int_eq(munmap(map_fd(fd, READ), SIZE), 0);
	harness_await_counts(&conn, "slow-a", 0, 1);
	harness_close(&conn);
	harness_open(&conn, daemon.socket);
	harness_await_counts(&conn, "slow-a", 0, 1);
	harness_daemon_stop(&daemon);

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_create(&conn, "slow-a", SIZE, &attached, &fd), 0);
	detached_ns = clock_monotonic_ns();
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "slow-a");
	ck_assert_uint_ge(clock_monotonic_ns() - detached_ns, 290 * NS_PER_MS);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(templates_say_what_may_be_created)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	char name[64];
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	(void)snprintf(name, sizeof(name), "scratch-%u-a", getuid() + 1);
	ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, NULL), -EPERM);
	ck_assert_int_eq(harness_create(&conn, "elsewhere", SIZE, NULL, NULL), -EPERM);
	(void)snprintf(name, sizeof(name), "scratch-%u-a", getuid());
	ck_assert_int_eq(harness_create(&conn, name, 2 * MIB, NULL, NULL), -EFBIG);
	ck_assert_int_eq(harness_create(&conn, name, UINT64_MAX, NULL, NULL), -EFBIG);
	ck_assert_int_lt(harness_create(&conn, name, 0, NULL, NULL), 0);
	ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, &fd), 0);
	ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, NULL), -EEXIST);
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(name, sizeof(name), "scratch-%u-%u", getuid(), i);
		ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, &fd), 0);
	}
	(void)snprintf(name, sizeof(name), "scratch-%u-last", getuid());
	ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, NULL), -EDQUOT);
	ck_assert_int_eq(harness_create(&conn, "book", SIZE, NULL, NULL), -EEXIST);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(created_segment_that_cannot_be_attached_is_not_left)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct protocol_segment row;
	int fd;

	harness_daemon_start(&daemon, "\tlimits = { attachments = 1; };", body);
	harness_open(&conn, daemon.socket);
	fd = attach(&conn, "book", READ, NULL);
	harness_usage_read(daemon.pid, &before);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(harness_create(&conn, "slow-a", SIZE, NULL, NULL), -EDQUOT);
		ck_assert_int_eq(harness_find(&conn, "slow-a", &row), -ENOENT);
	}
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(harness_create(&conn, "slow-a", SIZE, NULL, &fd), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "slow-a");
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(removed_segment_drains)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_usage before;
	struct protocol_segment row;
	bool now = _i == 1;
	void *map;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	fd = attach(&conn, "book", WRITE, NULL);
	map = map_fd(fd, WRITE);
	memcpy(map, "mine", 4);
	ck_assert_int_eq(harness_remove(&conn, "book", now ? PROTOCOL_REMOVE_NOW : 0), 0);
	if (now)
		ck_assert_int_eq(harness_find(&conn, "book", &row), -ENOENT);
	else {
		ck_assert_int_eq(harness_find(&conn, "book", &row), 0);
		ck_assert_uint_eq(row.state, PROTOCOL_DRAINING);
		ck_assert_int_eq(harness_attach(&conn, "book", READ, NULL, NULL), -ESHUTDOWN);
	}
	ck_assert_mem_eq(map, "mine", 4);
	ck_assert_int_eq(munmap(map, SIZE), 0);
	ck_assert_int_eq(close(fd), 0);
	harness_await_gone(&conn, "book");
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("attachments");
	TCase *tcase = tcase_create("attachments");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, attachments_are_counted_and_named);
	tcase_add_test(tcase, brief_page_has_as_many_as_a_message);
	tcase_add_test(tcase, detached_but_mapped_stays_attached);
	tcase_add_test(tcase, closing_is_detaching);
	tcase_add_test(tcase, killed_client_is_detached);
	tcase_add_loop_test(tcase, forked_child_keeps_the_attachment, 0, 2);
	tcase_add_loop_test(tcase, exec_keeps_what_the_program_inherits, 0, 2);
	tcase_add_test(tcase, passed_on_fd_keeps_the_attachment);
	tcase_add_test(tcase, fd_in_flight_keeps_the_attachment);
	tcase_add_test(tcase, detach_of_anothers_attachment_changes_nothing);
	tcase_add_test(tcase, layout_and_generation_are_compared);
	tcase_add_test(tcase, created_segment_ends_with_its_last_attachment);
	tcase_add_test(tcase, linger_keeps_a_segment_for_a_while);
	tcase_add_test(tcase, templates_say_what_may_be_created);
	tcase_add_test(tcase, created_segment_that_cannot_be_attached_is_not_left);
	tcase_add_loop_test(tcase, removed_segment_drains, 0, 2);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
