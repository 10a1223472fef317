/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Misdeeds by messages: halves, noise, floods, silence, descriptors along, connections that linger or storm. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/soak/board.h"
#include "tests/soak/rogue.h"

#define FLOOD		400
#define LINGERERS	120
#define FDS		40

static void
set_nonblocking(const struct harness_conn *conn)
{
	(void)fcntl(conn->fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

/* Messages as they should be, cut short or with a field of the header that is none. */
static void
send_halves(struct rogue *rogue)
{
	struct protocol_attach request = { .access = PROTOCOL_ACCESS_READ, .name = "desk" };
	struct harness_conn conn;
	size_t size = 1 + soak_draw(&rogue->random, sizeof(request));

	if (rogue_open(&conn))
		return;
	harness_fill(&conn, &request.header, 1 + soak_draw(&rogue->random, PROTOCOL_TYPE_N), sizeof(request));
	switch (soak_draw(&rogue->random, 6)) {
	case 0:
		request.header.size = soak_draw(&rogue->random, UINT32_MAX);
		break;
	case 1:
		request.header.flags = (uint16_t)soak_draw(&rogue->random, 65536);
		break;
	case 2:
		request.header.serial = soak_draw(&rogue->random, 3);
		break;
	case 3:
		memset(request.name, 'x', sizeof(request.name));
		size = sizeof(request);
		break;
	case 4:
		request.header.type = (uint16_t)soak_draw(&rogue->random, 65536);
		size = sizeof(request);
		break;
	default:
		break;
	}
	(void)harness_send(conn.fd, &request, size, NULL, 0);
	if (soak_draw(&rogue->random, 2))
		(void)poll(&(struct pollfd) { .fd = conn.fd, .events = POLLIN }, 1, 100);
	harness_close(&conn);
}

static void
send_noise(struct rogue *rogue)
{
	unsigned char bytes[PROTOCOL_REQUEST_MAX + 64];
	size_t size = soak_draw(&rogue->random, sizeof(bytes));
	int fd = harness_dial(soak_board->socket);

	if (fd < 0)
		return;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)soak_draw(&rogue->random, 256);
	(void)harness_send(fd, bytes, size, NULL, 0);
	if (poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, 200) == 1)
		soak_count(SOAK_HUNG_UP);
	(void)close(fd);
}

/* Requests of every kind that are right, as fast as they go. */
union suite_any {
	struct protocol_header header;
	struct protocol_list list;
	struct protocol_show show;
	struct protocol_holders holders;
	struct protocol_attach attach;
	struct protocol_wait wait;
	struct protocol_subscribe subscribe;
	struct protocol_who who;
};

static size_t
fill_some(struct rogue *rogue, struct harness_conn *conn, union suite_any *any)
{
	static const struct {
		unsigned type;
		size_t size, name_at;
	} kinds[] = {
		{ PROTOCOL_LIST, sizeof(struct protocol_list), 0 },
		{ PROTOCOL_SHOW, sizeof(struct protocol_show), offsetof(struct protocol_show, name) },
		{ PROTOCOL_HOLDERS, sizeof(struct protocol_holders), offsetof(struct protocol_holders, name) },
		{ PROTOCOL_WAIT, sizeof(struct protocol_wait), offsetof(struct protocol_wait, name) },
		{ PROTOCOL_CLIENTS, sizeof(struct protocol_list), 0 },
		{ PROTOCOL_USERS, sizeof(struct protocol_list), 0 },
		{ PROTOCOL_METRICS, sizeof(struct protocol_header), 0 },
		{ PROTOCOL_WHO, sizeof(struct protocol_who), offsetof(struct protocol_who, name) },
	};
	uint32_t i = soak_draw(&rogue->random, BASE_ARRAY_SIZE(kinds));

	memset(any, 0, sizeof(*any));
	if (kinds[i].name_at)
		(void)snprintf((char *)any + kinds[i].name_at, PROTOCOL_NAME_SIZE, "%s", soak_draw(&rogue->random, 4) ? "desk" : "none");
	if (kinds[i].type == PROTOCOL_WAIT)
		any->wait.progress_bytes = PROTOCOL_WAIT_STATE;
	harness_fill(conn, &any->header, kinds[i].type, kinds[i].size);
	return kinds[i].size;
}

/* Reads nothing, or much later. */
static void
flood(struct rogue *rogue)
{
	struct harness_conn conn;
	union suite_any any;

	if (rogue_open(&conn))
		return;
	set_nonblocking(&conn);
	for (int i = 0; i < FLOOD; i++) {
		size_t size = fill_some(rogue, &conn, &any);
		ssize_t n = harness_send(conn.fd, &any, size, NULL, 0);

		if (n == -EAGAIN && poll(&(struct pollfd) { .fd = conn.fd, .events = POLLOUT }, 1, 20) == 0)
			break;
		if (n < 0 && n != -EAGAIN) {
			soak_refused((int)n);
			break;
		}
	}
	rogue_pause(rogue, 200);
	harness_close(&conn);
}

/* Reads as fast as it asks: all the daemon's time, if it were given that. */
static void
gallop(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;
	union suite_any any;

	if (rogue_open(&conn))
		return;
	for (int i = 0; i < FLOOD; i++) {
		size_t size = fill_some(rogue, &conn, &any);

		conn.serial--;
		if (rogue_ask(&conn, any.header.type, &any.header, size, &reply) == -ENOTCONN)
			break;
		rogue_drop(&reply);
	}
	harness_close(&conn);
}

/* Is told everything, and listens to nothing. */
static void
subscribe_and_sleep(struct rogue *rogue)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };
	struct harness_reply reply;
	struct harness_conn conn;

	if (rogue_open(&conn))
		return;
	(void)rogue_ask(&conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
	rogue_pause(rogue, 3000);
	harness_close(&conn);
}

/* Descriptors that nobody asked for, with messages that are right, or are not. */
static void
send_fds(struct rogue *rogue)
{
	int fds[FDS], n = 1 + (int)soak_draw(&rogue->random, FDS - 4), pair[2];
	struct harness_conn conn;
	union suite_any any;
	size_t size;

	if (rogue_open(&conn))
		return;
	set_nonblocking(&conn);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		harness_close(&conn);
		return;
	}
	for (int i = 0; i < n; i++)
		fds[i] = i % 3 == 0 ? memfd_create("rogue", MFD_CLOEXEC) : i % 3 == 1 ? dup(pair[0]) : dup(conn.fd);
	for (int i = 0; i < 4; i++) {
		size = fill_some(rogue, &conn, &any);
		if (i == 3)
			any.header.type = PROTOCOL_RETURN;
		if (harness_send(conn.fd, &any, size, fds, (unsigned)n) < 0)
			break;
	}
	for (int i = 0; i < n; i++)
		(void)close(fds[i]);
	(void)close(pair[0]);
	(void)close(pair[1]);
	rogue_pause(rogue, 50);
	harness_close(&conn);
}

/* Connections that say nothing, or only hello. */
static void
linger(struct rogue *rogue)
{
	struct harness_conn conns[LINGERERS];
	unsigned n = 1 + soak_draw(&rogue->random, LINGERERS - 1);

	for (unsigned i = 0; i < n; i++) {
		conns[i] = (struct harness_conn) HARNESS_CONN_NULL;
		if (i % 2)
			(void)rogue_open(&conns[i]);
		else
			conns[i].fd = harness_dial(soak_board->socket);
	}
	rogue_pause(rogue, 2000);
	for (unsigned i = 0; i < n; i++)
		if (conns[i].fd >= 0)
			harness_close(&conns[i]);
}

static void
come_and_go(struct rogue *rogue)
{
	for (uint32_t i = soak_draw(&rogue->random, 200); i > 0; i--) {
		int fd = harness_dial(soak_board->socket);

		if (fd >= 0)
			(void)close(fd);
	}
	rogue_pause(rogue, 20);
}

static void
shut_down_halves(struct rogue *rogue)
{
	struct harness_conn conn;
	union suite_any any;
	size_t size;

	if (rogue_open(&conn))
		return;
	set_nonblocking(&conn);
	size = fill_some(rogue, &conn, &any);
	(void)harness_send(conn.fd, &any, size, NULL, 0);
	(void)shutdown(conn.fd, soak_draw(&rogue->random, 2) ? SHUT_RD : SHUT_WR);
	(void)harness_send(conn.fd, &any, size, NULL, 0);
	rogue_pause(rogue, 100);
	harness_close(&conn);
}

/* Attaches without taking what comes: descriptors stay in flight. */
static void
leave_in_flight(struct rogue *rogue)
{
	struct harness_conn conns[LINGERERS];
	unsigned n = 1 + soak_draw(&rogue->random, LINGERERS - 1), opened = 0;

	for (unsigned i = 0; i < n && rogue_open(&conns[opened]) == 0; i++)
		opened++;
	for (unsigned i = 0; i < opened; i++) {
		struct protocol_attach request = { .access = PROTOCOL_ACCESS_READ, .name = "desk" };

		for (int k = 0; k < 3; k++) {
			harness_fill(&conns[i], &request.header, PROTOCOL_ATTACH, sizeof(request));
			(void)harness_send(conns[i].fd, &request, sizeof(request), NULL, 0);
		}
	}
	rogue_pause(rogue, 1000);
	for (unsigned i = 0; i < opened; i++)
		harness_close(&conns[i]);
}

static void
attach_and_detach(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;

	if (rogue_open(&conn))
		return;
	for (uint32_t i = soak_draw(&rogue->random, 300); i > 0; i--) {
		struct protocol_detach request = { 0 };

		if (rogue_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &reply))
			break;
		request.attachment = reply.attached.attachment;
		request.generation = reply.attached.generation;
		rogue_drop(&reply);
		if (soak_draw(&rogue->random, 4) && rogue_ask(&conn, PROTOCOL_DETACH, &request.header, sizeof(request), &reply) == -ENOTCONN)
			break;
	}
	harness_close(&conn);
}

/* All that it may have, until it is refused. */
static void
hoard_attachments(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;
	int fds[512];
	unsigned n = 0;

	if (rogue_open(&conn))
		return;
	while (n < BASE_ARRAY_SIZE(fds) && rogue_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &reply) == 0) {
		fds[n++] = reply.fds[0];
		reply.n_fds = 0;
	}
	rogue_pause(rogue, 1000);
	harness_close(&conn);
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
}

const struct rogue_misdeed rogue_wire[] = {
	{ "halves", send_halves },
	{ "noise", send_noise },
	{ "flood", flood },
	{ "gallop", gallop },
	{ "deaf subscriber", subscribe_and_sleep },
	{ "descriptors along", send_fds },
	{ "lingering", linger },
	{ "connect storm", come_and_go },
	{ "shut down", shut_down_halves },
	{ "in flight", leave_in_flight },
	{ "attach storm", attach_and_detach },
	{ "hoard", hoard_attachments },
	{ NULL, NULL },
};
