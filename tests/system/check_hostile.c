/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The kernel's marks can be disturbed by who holds an fd: they give accuracy, never safety. Whatever is done to them, no
 * memory that somebody maps is taken, everybody else is served, and all is well once the hostile one is gone. And an fd
 * whose close waits for an attacker's file system must not hold up the daemon.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/system/suite.h"

#define SIZE	(16 * 4096)
#define READ	PROTOCOL_ACCESS_READ
#define WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)
#define MARKS	((off_t)1 << 40)	/* where the daemon's marks begin */
#define LOST_MAX	2		/* workers of a uid that do not end */

static const char body[] =
    "segments = ( { name = \"book\"; size = \"64KiB\"; mode = \"0666\"; scrub = true; } );"
    "templates = ( { name = \"job-\"; max_size = \"1MiB\"; max_count = 10; mode = \"0666\"; linger = \"0s\"; } );";

static int
lay_lock(int fd, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = MARKS, .l_len = 0 };

	return fcntl(fd, F_OFD_SETLK, &lock);
}

static int
attach(struct harness_conn *conn, const char *name, uint32_t access, struct protocol_attached *ret_attached)
{
	int fd, r = harness_attach(conn, name, access, ret_attached, &fd);

	harness_assert(r == 0, "attach %s: %s", name, strerror(-r));
	return fd;
}

static char *
map_writable(int fd)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	harness_assert(map != MAP_FAILED, "mmap: %s", strerror(errno));
	return map;
}

/* Comes and goes, in this process. */
static void
pass_by(struct harness_conn *conn, const char *name)
{
	struct protocol_attached attached;
	int r, fd;

	r = harness_wait(conn, name);
	harness_assert(r == PROTOCOL_READY, "wait: %d", r);
	fd = attach(conn, name, WRITE, &attached);
	r = harness_detach(conn, &attached);
	harness_assert(r == 0, "detach: %s", strerror(-r));
	(void)close(fd);
}

START_TEST(memory_is_kept_from_who_unlocks_its_own_mark)
{
	const char *name = _i == 0 ? "book" : "job-a";
	struct harness_daemon daemon;
	struct harness_conn conn, other;
	struct harness_usage before;
	struct protocol_segment row;
	char *map;
	int fd;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_open(&other, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	if (_i == 0)
		fd = attach(&conn, name, WRITE, NULL);
	else
		ck_assert_int_eq(harness_create(&conn, name, SIZE, NULL, &fd), 0);
	map = map_writable(fd);
	memcpy(map, "mine", 5);
	ck_assert_int_eq(lay_lock(fd, F_UNLCK), 0);
	ck_assert_int_eq(close(fd), 0);
	/* Events that make the daemon look, and nothing that speaks for the mapping but the lease. */
	for (unsigned i = 0; i < 4; i++) {
		int r = harness_find(&other, name, &row);

		harness_assert(r == 0 || r == -ENOENT, "find: %s", strerror(-r));
		if (r == 0 && row.state == PROTOCOL_READY && harness_attach(&other, name, WRITE, NULL, NULL) == 0)
			(void)harness_list(&other, (struct protocol_segment[16]){ 0 }, 16);
		ck_assert_str_eq(map, "mine");
	}
	harness_close(&conn);
	for (unsigned i = 0; i < 4; i++) {
		(void)harness_attach(&other, name, WRITE, NULL, NULL);
		(void)harness_list(&other, (struct protocol_segment[16]){ 0 }, 16);
		ck_assert_str_eq(map, "mine");
	}
	ck_assert_int_eq(munmap(map, SIZE), 0);
	if (_i == 0) {
		harness_await_counts(&other, name, 0, 0);
		ck_assert_int_eq(harness_wait(&other, name), PROTOCOL_READY);
		map = map_writable(attach(&other, name, WRITE, NULL));
		ck_assert_int_eq(map[0], 0);
	} else
		harness_await_gone(&other, name);
	harness_daemon_stop(&daemon);
}
END_TEST

struct hostile {
	const char *socket;
	short lock;			/* over all marks that can be */
	uint32_t access;
};

static void
disturb(int control, void *arg)
{
	const struct hostile *hostile = arg;
	struct harness_conn conn;
	int fd;

	if (geteuid() == 0)
		harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, hostile->socket);
	fd = attach(&conn, "book", hostile->access, NULL);
	/* A write lock does not go over the marks that others have: it takes what is free behind them. */
	for (off_t at = MARKS; at < MARKS + 4096; at++) {
		struct flock lock = { .l_type = hostile->lock, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

		(void)fcntl(fd, F_OFD_SETLK, &lock);
	}
	(void)lay_lock(fd, hostile->lock);
	harness_say(control, "disturbing");
	harness_expect(control, "end");
}

START_TEST(locks_over_all_marks_hold_up_nobody)
{
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct hostile hostile = { .lock = _i == 0 ? F_RDLCK : F_WRLCK, .access = _i == 0 ? READ : WRITE };
	struct harness_conn conn, honest;
	struct harness_usage before;
	struct protocol_attached attached;
	struct protocol_holder rows[64];
	char *map;
	int fd, n;

	/* Far fewer than come and go below: what looks held must not count against who let go of it. */
	harness_daemon_start(&daemon, "\tlimits = { attachments = 16; };", body);
	hostile.socket = daemon.socket;
	harness_open(&conn, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	harness_open(&honest, daemon.socket);
	harness_child_start(&child, disturb, &hostile);
	harness_expect(child.control, "disturbing");

	fd = attach(&honest, "book", WRITE, &attached);
	map = map_writable(fd);
	memcpy(map, "mine", 5);
	for (unsigned i = 0; i < 20; i++)
		pass_by(&conn, "book");
	ck_assert_str_eq(map, "mine");
	n = harness_holders(&conn, "book", rows, BASE_ARRAY_SIZE(rows));
	harness_assert(n >= 2, "%d holders", n);
	if (_i == 1) {
		bool unmarked = false;

		for (int i = 0; i < n; i++)
			unmarked |= rows[i].attachment == attached.attachment &&
			    (rows[i].flags & PROTOCOL_HOLDER_UNMARKED);
		harness_assert(unmarked, "the honest writer's row does not say that it is unmarked");
	}
	/* The honest one goes while the other is there, mapping first and then the rest. */
	harness_close(&honest);
	ck_assert_int_eq(close(fd), 0);
	pass_by(&conn, "book");
	ck_assert_str_eq(map, "mine");
	harness_child_kill(&child);
	pass_by(&conn, "book");
	ck_assert_str_eq(map, "mine");
	ck_assert_int_eq(munmap(map, SIZE), 0);
	harness_await_counts(&conn, "book", 0, 0);
	harness_usage_await(&conn, daemon.pid, &before);
	harness_daemon_stop(&daemon);
}
END_TEST

/* A lease is for the owner's uid: a client of the daemon's own may take one, and breaks take 45 s by default. */
START_TEST(leases_of_a_client_hold_up_nobody)
{
	struct harness_daemon daemon;
	struct harness_conn conn, other;
	uint64_t begin_ns;
	int fd, fds[4];

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	harness_open(&other, daemon.socket);
	(void)signal(SIGIO, SIG_IGN);
	fd = attach(&conn, "book", READ, NULL);
	(void)printf("a read lease is %s\n", fcntl(fd, F_SETLEASE, F_RDLCK) == 0 ? "had" : strerror(errno));
	begin_ns = harness_clock_ns();
	for (unsigned i = 0; i < 4; i++) {
		int r = harness_attach(&other, "book", i % 2 ? READ : WRITE, NULL, &fds[i]);

		harness_assert(r == 0, "attach %u: %s", i, strerror(-r));
	}
	harness_assert(harness_clock_ns() - begin_ns < 2 * NS_PER_SEC, "they waited for the lease");
	harness_daemon_stop(&daemon);
}
END_TEST

/*
 * A FUSE file whose server answers what it takes to open it, and nothing after that: a close waits for FLUSH for ever.
 */
static void
serve_fuse(int device)
{
	static union {
		struct fuse_in_header header;
		char bytes[1 << 17];
	} request;
	struct {
		struct fuse_out_header header;
		union {
			struct fuse_init_out init;
			struct fuse_entry_out entry;
			struct fuse_open_out open;
			struct fuse_attr_out attributes;
		};
	} reply;
	size_t size;

	while (read(device, &request, sizeof(request)) > 0) {
		memset(&reply, 0, sizeof(reply));
		switch (request.header.opcode) {
		case FUSE_INIT:
			reply.init.major = FUSE_KERNEL_VERSION;
			reply.init.minor = 31;
			reply.init.max_write = 4096;
			size = sizeof(reply.init);
			break;
		case FUSE_LOOKUP:
			reply.entry.nodeid = 2;
			reply.entry.attr = (struct fuse_attr){ .ino = 2, .mode = S_IFREG | 0666, .nlink = 1 };
			size = sizeof(reply.entry);
			break;
		case FUSE_OPEN:
			size = sizeof(reply.open);
			break;
		default:
			continue;		/* and never an answer */
		}
		reply.header.unique = request.header.unique;
		reply.header.len = (uint32_t)(sizeof(reply.header) + size);
		if (write(device, &reply, reply.header.len) < 0)
			return;
	}
}

struct fuse {
	int device;
	int fd;				/* of the file that cannot be closed */
	pid_t server;
};

/* Whether there is one here; the mount is of this process's own namespace. */
static bool
open_fuse(struct fuse *fuse, const char *dir)
{
	char path[128], options[128];

	fuse->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse->device < 0 || unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	(void)snprintf(path, sizeof(path), "%s/fuse", dir);
	if (mkdir(path, 0755) != 0)
		return false;
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse->device);
	if (mount("segmentd-test", path, "fuse", 0, options) != 0)
		return false;
	fuse->server = harness_fork();
	if (fuse->server == 0) {
		serve_fuse(fuse->device);
		_exit(0);
	}
	(void)close(fuse->device);
	(void)snprintf(path, sizeof(path), "%s/fuse/file", dir);
	fuse->fd = open(path, O_RDWR | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "%s/fuse", dir);
	(void)umount2(path, MNT_DETACH);
	return fuse->fd >= 0;
}

START_TEST(fd_that_cannot_be_closed_holds_up_nobody)
{
	struct protocol_list request = { 0 };
	struct harness_daemon daemon;
	struct harness_conn conn, other;
	struct harness_usage before;
	struct fuse fuse;
	uint64_t begin_ns;

	harness_need_root();
	harness_daemon_start(&daemon, NULL, body);
	if (!open_fuse(&fuse, daemon.dir))
		harness_skip("no FUSE file system can be mounted here: %s", strerror(errno));
	harness_open(&other, daemon.socket);
	harness_usage_read(daemon.pid, &before);
	harness_open(&conn, daemon.socket);
	harness_fill(&conn, &request.header, PROTOCOL_LIST, sizeof(request));
	begin_ns = harness_clock_ns();
	ck_assert_int_eq(harness_send(conn.fd, &request, sizeof(request), &fuse.fd, 1), sizeof(request));
	/* Answered or refused, but at once, and others likewise. */
	harness_await_readable(conn.fd, "an answer to what an fd came with");
	pass_by(&other, "book");
	harness_assert(harness_clock_ns() - begin_ns < 2 * NS_PER_SEC, "the daemon waited for the file system");
	harness_close(&conn);
	harness_usage_await(&other, daemon.pid, &before);
	harness_daemon_stop(&daemon);
	/* Its end aborts the file system, so that this process can close the file. */
	ck_assert_int_eq(kill(fuse.server, SIGKILL), 0);
}
END_TEST

/* A process that attached "book" over several connections, and brings its memory back over new ones, or something else. */
struct returner {
	const struct harness_daemon *daemon;
	uid_t uid;
	unsigned n;			/* connections */
	int bag;			/* from which it takes what it brings; -1: what it has */
	struct protocol_attached attached[LOST_MAX + 1];
	struct harness_conn conns[LOST_MAX + 1];
	int fds[LOST_MAX + 1];
};

static int
take_from(int bag)
{
	struct harness_reply reply;

	harness_assert(harness_receive(bag, &reply) > 0 && reply.n_fds == 1, "there is nothing to bring");
	return reply.fds[0];
}

static int
hear_status(struct harness_conn *conn)
{
	struct harness_reply reply;

	harness_await_readable(conn->fd, "an answer");
	harness_assert(harness_receive(conn->fd, &reply) > 0, "the daemon hung up");
	return reply.header.status;
}

static void
send_return(struct returner *returner, unsigned i)
{
	struct protocol_return asked = {
		.generation = returner->attached[i].generation, .attachment = returner->attached[i].attachment,
		.flags = PROTOCOL_RETURN_DATA,
	};
	int fd = returner->bag < 0 ? returner->fds[i] : take_from(returner->bag);

	harness_close(&returner->conns[i]);
	harness_open(&returner->conns[i], returner->daemon->socket);
	harness_fill(&returner->conns[i], &asked.header, PROTOCOL_RETURN, sizeof(asked));
	ck_assert_int_eq(harness_send(returner->conns[i].fd, &asked, sizeof(asked), &fd, 1), sizeof(asked));
}

static void
bring_back(int control, void *arg)
{
	struct returner *returner = arg;

	harness_become(returner->uid, returner->uid, NULL, 0);
	for (unsigned i = 0; i < returner->n; i++) {
		harness_open(&returner->conns[i], returner->daemon->socket);
		harness_assert(harness_wait(&returner->conns[i], "book") == PROTOCOL_READY, "it is not ready");
		returner->fds[i] = attach(&returner->conns[i], "book", WRITE, &returner->attached[i]);
	}
	harness_say(control, "attached");
	harness_expect(control, "bring");
	for (unsigned i = 0; i < returner->n; i++)
		send_return(returner, i);
	for (unsigned i = 0; i < returner->n && i < LOST_MAX; i++) {
		int status = hear_status(&returner->conns[i]);

		harness_assert(status == (returner->bag < 0 ? 0 : -EAGAIN), "the answer to what was brought is %d", status);
	}
	harness_say(control, "brought");
	harness_expect(control, "end");
	if (returner->n > LOST_MAX)
		(void)hear_status(&returner->conns[LOST_MAX]);
}

static const char unrequired[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; required = false; } );";

/* A close of theirs waits in the kernel, where no signal reaches who closes, for as long as their server likes. */
START_TEST(files_that_cannot_be_closed_cost_a_user_two_workers)
{
	struct harness_child hostile = HARNESS_CHILD_NULL, honest = HARNESS_CHILD_NULL;
	struct returner of_hostile = { .uid = HARNESS_NOBODY, .n = LOST_MAX + 1 };
	struct returner of_honest = { .uid = HARNESS_NOBODY - 1, .n = 1, .bag = -1 };
	struct harness_daemon daemon;
	struct fuse fuse;
	int pair[2];

	harness_need_root();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	of_hostile.bag = pair[1];
	of_hostile.daemon = of_honest.daemon = &daemon;
	harness_daemon_start(&daemon, "await_returns = \"1h\";", unrequired);
	harness_child_start(&hostile, bring_back, &of_hostile);
	harness_child_start(&honest, bring_back, &of_honest);
	harness_expect(hostile.control, "attached");
	harness_expect(honest.control, "attached");
	harness_daemon_kill(&daemon);
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	/* Not before: the exec of a daemon would close it. */
	if (!open_fuse(&fuse, daemon.dir))
		harness_skip("no FUSE file system can be mounted here: %s", strerror(errno));
	for (unsigned i = 0; i < of_hostile.n; i++)
		ck_assert_int_eq(harness_send(pair[0], "x", 1, &fuse.fd, 1), 1);
	harness_say(hostile.control, "bring");
	harness_expect(hostile.control, "brought");
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_workers_lost"), LOST_MAX);
	harness_daemon_await_log(&daemon, "2 workers that let go of descriptors which uid 65534 had sent along were killed and do not end");
	/* Others' work goes on. */
	harness_say(honest.control, "bring");
	harness_expect(honest.control, "brought");
	ck_assert_uint_eq(suite_figure(&daemon, "segmentd_workers_lost"), LOST_MAX);
	/* The file system ends with its server, and they with it. */
	ck_assert_int_eq(kill(fuse.server, SIGKILL), 0);
	while (suite_figure(&daemon, "segmentd_workers_lost"))
		;
	harness_say(hostile.control, "end");
	harness_child_await_success(&hostile);
	harness_say(honest.control, "end");
	harness_child_await_success(&honest);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tcase = tcase_create("hostile");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, memory_is_kept_from_who_unlocks_its_own_mark, 0, 2);
	tcase_add_loop_test(tcase, locks_over_all_marks_hold_up_nobody, 0, 2);
	tcase_add_test(tcase, leases_of_a_client_hold_up_nobody);
	tcase_add_test(tcase, fd_that_cannot_be_closed_holds_up_nobody);
	tcase_add_test(tcase, files_that_cannot_be_closed_cost_a_user_two_workers);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
