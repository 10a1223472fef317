/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "tests/soak/board.h"
#include "tests/soak/rogue.h"

#define STRAY_BYTES	8192
#define HOG_BYTES	(UINT64_C(32) << 20)
#define REPLY_MS	5000		/* a daemon that does not answer them is no harm to others */

struct order {
	const struct rogue_misdeed *misdeed;
	uint64_t random;
	unsigned number;
};

void
rogue_wait(void)
{
	for (;;)
		(void)poll(NULL, 0, -1);
}

void
rogue_pause(struct rogue *rogue, uint32_t max_ms)
{
	(void)poll(NULL, 0, (int)soak_draw(&rogue->random, max_ms));
}

void
rogue_drop(struct harness_reply *reply)
{
	for (unsigned i = 0; i < reply->n_fds; i++)
		(void)close(reply->fds[i]);
	reply->n_fds = 0;
}

int
rogue_ask(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size, struct harness_reply *reply)
{
	struct pollfd poll_fd = { .fd = conn->fd, .events = POLLIN };
	ssize_t n;
	int r;

	harness_fill(conn, request, type, size);
	reply->n_fds = 0;
	n = harness_send(conn->fd, request, size, NULL, 0);
	if (n < 0) {
		soak_refused((int)n);
		return (int)n;
	}
	for (;;) {
		if (poll(&poll_fd, 1, REPLY_MS) != 1)
			return -ETIMEDOUT;
		n = harness_receive(conn->fd, reply);
		if (n <= 0) {
			soak_count(SOAK_HUNG_UP);
			return -ENOTCONN;
		}
		/* Events, and replies that came twice, for a daemon that was killed in between. */
		if (reply->header.serial == conn->serial || reply->header.type == 0)
			break;
		rogue_drop(reply);
	}
	r = reply->header.status;
	soak_refused(r);
	return r < 0 ? r : 0;
}

int
rogue_open(struct harness_conn *conn)
{
	struct protocol_hello hello = {
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct harness_reply reply;
	int r;

	*conn = (struct harness_conn) HARNESS_CONN_NULL;
	conn->fd = harness_dial(soak_board->socket);
	if (conn->fd < 0) {
		soak_refused(conn->fd);
		return conn->fd;
	}
	r = rogue_ask(conn, PROTOCOL_HELLO, &hello.header, sizeof(hello), &reply);
	if (r)
		harness_close(conn);
	else
		conn->session = reply.welcome.session;
	return r;
}

int
rogue_attach(struct harness_conn *conn, const char *name, uint32_t access, struct harness_reply *ret_reply)
{
	struct protocol_attach request = { .access = access };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	return rogue_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request), ret_reply);
}

int
rogue_create(struct harness_conn *conn, const char *name, uint64_t size, struct harness_reply *ret_reply)
{
	struct protocol_create request = { .size_bytes = size };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	return rogue_ask(conn, PROTOCOL_CREATE, &request.header, sizeof(request), ret_reply);
}

static void
become_rogue(struct rogue *rogue, unsigned number)
{
	*rogue = (struct rogue) { .random = soak_board->seed + (uint64_t)getpid(), .number = number, .uid = geteuid() };
	if (!soak_board->has_uids)
		return;
	rogue->uid = ROGUE_UID + number % ROGUE_UIDS;
	harness_become(rogue->uid, rogue->uid, NULL, 0);
	/* What became another user has lost its wish to end with its parent. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void
run_rogue(int control, void *arg)
{
	const struct order *order = arg;
	struct rogue rogue;

	(void)control;
	become_rogue(&rogue, order->number);
	for (;;) {
		order->misdeed->commit(&rogue);
		soak_count(SOAK_MISDEEDS);
	}
}

void
rogue_start(uint64_t *random, struct harness_child *ret_child)
{
	static unsigned n, n_wire, n_memory;
	struct order order = { .number = n++ };
	uint32_t i;

	if (!n_wire) {
		while (rogue_wire[n_wire].name)
			n_wire++;
		while (rogue_memory[n_memory].name)
			n_memory++;
	}
	i = soak_draw(random, n_wire + n_memory);
	order.misdeed = i < n_wire ? &rogue_wire[i] : &rogue_memory[i - n_wire];
	harness_child_start(ret_child, run_rogue, &order);
}

static void
run_hog(int control, void *arg)
{
	struct rogue rogue;

	(void)control;
	become_rogue(&rogue, *(unsigned *)arg);
	for (unsigned n = 0;; n++) {
		struct harness_reply reply;
		struct harness_conn conn;
		char name[48];

		(void)snprintf(name, sizeof(name), "hulk-%d-%u", (int)getpid(), n);
		if (rogue_open(&conn) == 0 && rogue_create(&conn, name, HOG_BYTES, &reply) == 0)
			continue;		/* the connection stays, and so does what came */
		(void)poll(NULL, 0, 20);
		if (conn.fd >= 0)
			harness_close(&conn);
	}
}

void
rogue_start_hog(struct harness_child *ret_child)
{
	static unsigned n;

	n++;
	harness_child_start(ret_child, run_hog, &n);
}

static void
leave_posix(struct rogue *rogue, bool is_held)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/dev/shm/stray-%d-%u", (int)getpid(), soak_draw(&rogue->random, 1000000));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (ftruncate(fd, STRAY_BYTES) == 0 && is_held) {
		char *map = mmap(NULL, STRAY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (map != MAP_FAILED)
			map[0] = 1;
		/* What it maps stands under its name for as long as it lives. */
		for (int i = 0; i < 100; i++) {
			harness_assert(access(path, F_OK) == 0, "%s was removed under its holder", path);
			(void)poll(NULL, 0, 10);
		}
		harness_assert(map == MAP_FAILED || map[0] == 1, "the memory of %s was taken", path);
	}
	(void)close(fd);
}

/* Between making and attaching it is anybody's guess, and may go: that is said of rules for System V memory. */
static void
leave_sysv(bool is_held)
{
	int id = shmget(IPC_PRIVATE, STRAY_BYTES, 0600);
	char *map = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	if (map == (void *)-1)
		return;
	map[0] = 1;
	for (int i = 0; i < 100 && is_held; i++)
		(void)poll(NULL, 0, 10);
	harness_assert(map[0] == 1, "the memory of a stray was taken");
	(void)shmdt(map);
}

static void
run_stray(int control, void *arg)
{
	uint32_t kind = *(uint32_t *)arg;
	struct rogue rogue = { .random = (uint64_t)getpid() };

	(void)control;
	soak_count(SOAK_STRAYS);
	if (kind & 1)
		leave_posix(&rogue, kind & 2);
	else
		leave_sysv(kind & 2);
}

void
rogue_start_stray(uint64_t *random, struct harness_child *ret_child)
{
	uint32_t kind = soak_draw(random, 4);

	harness_child_start(ret_child, run_stray, &kind);
}
