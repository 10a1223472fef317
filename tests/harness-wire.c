/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The harness: a connection that speaks the protocol from its header alone, so that the client library's errors are not
 * the tests' errors, and that can break every rule of it.
 */
#include "config.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/harness.h"

int
harness_dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	return take_fd(&fd);
}

ssize_t
harness_send(int fd, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * 253)];
	} control;
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
	}
	n = sendmsg(fd, &message, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

ssize_t
harness_receive(int fd, struct harness_reply *reply)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * (PROTOCOL_FDS_MAX + 1))];
	} control;
	struct iovec part = { .iov_base = reply->bytes, .iov_len = PROTOCOL_MESSAGE_MAX };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	reply->n_fds = 0;
	reply->size = 0;
	if (harness_poll(&poll_fd, 1, HARNESS_TIMEOUT_MS) == 0)
		return -ETIMEDOUT;
	n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	reply->size = (size_t)n;
	reply->bytes[n] = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			reply->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			harness_assert(reply->n_fds <= PROTOCOL_FDS_MAX, "%u fds came", reply->n_fds);
			memcpy(reply->fds, CMSG_DATA(c), reply->n_fds * sizeof(int));
		}
	}
	return n;
}

void
harness_fill(struct harness_conn *conn, struct protocol_header *header, unsigned type, size_t size)
{
	header->size = (uint32_t)size;
	header->type = (uint16_t)type;
	header->flags = 0;
	header->serial = ++conn->serial;
	header->status = 0;
	header->zero = 0;
}

static ssize_t
receive_reply(const struct harness_conn *conn, struct harness_reply *reply)
{
	ssize_t n;

	while ((n = harness_receive(conn->fd, reply)) >= (ssize_t)sizeof(reply->header) && conn->is_lasting &&
	    reply->header.serial < conn->serial)
		for (unsigned i = 0; i < reply->n_fds; i++)
			(void)close(reply->fds[i]);
	return n;
}

int
harness_ask(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size,
    struct harness_reply *reply)
{
	ssize_t n;

	harness_fill(conn, request, type, size);
	n = harness_send(conn->fd, request, size, NULL, 0);
	if (n == -EPIPE || n == -ECONNRESET)
		return -ENOTCONN;
	harness_assert(n == (ssize_t)size, "sendmsg: %s", strerror((int)-n));
	n = receive_reply(conn, reply);
	if (n == 0 || n == -ECONNRESET)
		return -ENOTCONN;
	harness_assert(n >= (ssize_t)sizeof(reply->header), "no reply to request %u: %zd", type, n);
	harness_assert(reply->header.size == (uint32_t)n, "%u bytes announced, %zd came", reply->header.size, n);
	harness_assert(reply->header.flags & PROTOCOL_REPLY, "flags %#x", reply->header.flags);
	if (conn->takes_farewell && reply->header.serial == 0 && reply->header.type == 0 && reply->header.status < 0)
		return -ENOTCONN;
	harness_assert(reply->header.serial == conn->serial && reply->header.type == type,
	    "reply to serial %ju type %u where %ju, %u was asked: status %d, '%s'", (uintmax_t)reply->header.serial,
	    reply->header.type, (uintmax_t)conn->serial, type, reply->header.status,
	    reply->header.status < 0 ? reply->bytes + sizeof(reply->header) : "");
	if (reply->header.status < 0)
		harness_assert(reply->size > sizeof(reply->header) + 1 && reply->bytes[reply->size - 1] == 0,
		    "status %d comes without a sentence", reply->header.status);
	return reply->header.status;
}

void
harness_open(struct harness_conn *conn, const char *path)
{
	struct protocol_hello hello = {
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct harness_reply reply;
	int r;

	*conn = (struct harness_conn)HARNESS_CONN_NULL;
	conn->fd = harness_dial(path);
	harness_assert(conn->fd >= 0, "%s: %s", path, strerror(-conn->fd));
	r = harness_ask(conn, PROTOCOL_HELLO, &hello.header, sizeof(hello), &reply);
	harness_assert(r == 0, "hello: %s", strerror(-r));
	harness_assert(reply.size == sizeof(reply.welcome), "a welcome of %zu bytes", reply.size);
	conn->session = reply.welcome.session;
}

void
harness_close(struct harness_conn *conn)
{
	close_fd(&conn->fd);
}

void
harness_expect_hangup(int fd)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(fd, &reply);

	if (n > 0) {
		harness_assert(reply.header.status == -EPROTO && reply.header.serial == 0 && reply.header.type == 0,
		    "status %d, serial %ju, type %u instead of a refusal", reply.header.status,
		    (uintmax_t)reply.header.serial, reply.header.type);
		harness_assert(reply.size > sizeof(reply.header) + 1, "the refusal has no sentence");
		n = harness_receive(fd, &reply);
	}
	harness_assert(n == 0 || n == -ECONNRESET, "the daemon did not hang up: %zd", n);
}

static int
take_attached(struct harness_reply *reply, int status, struct protocol_attached *ret_attached, int *ret_fd)
{
	if (status < 0) {
		harness_assert(reply->n_fds == 0, "an fd came with status %d", status);
		return status;
	}
	harness_assert(reply->n_fds == 1, "%u fds came", reply->n_fds);
	harness_assert(reply->size == sizeof(reply->attached), "%zu bytes came", reply->size);
	if (ret_attached)
		*ret_attached = reply->attached;
	if (ret_fd)
		*ret_fd = reply->fds[0];
	else
		(void)close(reply->fds[0]);
	return 0;
}

int
harness_attach(struct harness_conn *conn, const char *name, uint32_t access,
    struct protocol_attached *ret_attached, int *ret_fd)
{
	struct protocol_attach request = { .access = access };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	return take_attached(&reply, r, ret_attached, ret_fd);
}

int
harness_create(struct harness_conn *conn, const char *name, uint64_t size,
    struct protocol_attached *ret_attached, int *ret_fd)
{
	struct protocol_create request = { .size_bytes = size };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_CREATE, &request.header, sizeof(request), &reply);
	if (r == -EAGAIN) {
		/* It exists, and is being provisioned. */
		r = harness_wait(conn, name);
		if (r < 0)
			return r;
		return harness_attach(conn, name, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, ret_attached, ret_fd);
	}
	return take_attached(&reply, r, ret_attached, ret_fd);
}

int
harness_detach(struct harness_conn *conn, const struct protocol_attached *attached)
{
	struct protocol_detach request = {
		.attachment = attached->attachment, .generation = attached->generation,
	};
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_DETACH, &request.header, sizeof(request), &reply);
}

int
harness_remove(struct harness_conn *conn, const char *name, uint32_t flags)
{
	struct protocol_remove request = { .flags = flags };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	return harness_ask(conn, PROTOCOL_REMOVE, &request.header, sizeof(request), &reply);
}

/*
 * Asks for rows until there are no more. request ends with, or holds at cursor, the cursor that is to be moved on; each
 * row begins with its own.
 */
static int
ask_rows(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size,
    uint64_t *cursor, void *rows, size_t row_size, size_t max)
{
	struct harness_reply reply;
	size_t n = 0;

	do {
		int r = harness_ask(conn, type, request, size, &reply);

		if (r < 0)
			return r;
		harness_assert(reply.listed.row_size >= row_size, "rows of %u bytes", reply.listed.row_size);
		harness_assert(reply.size == sizeof(reply.listed) + (size_t)reply.listed.n_rows * reply.listed.row_size,
		    "%u rows of %u bytes in %zu", reply.listed.n_rows, reply.listed.row_size, reply.size);
		for (uint32_t i = 0; i < reply.listed.n_rows; i++, n++) {
			const char *row = reply.bytes + sizeof(reply.listed) + (size_t)i * reply.listed.row_size;

			harness_assert(n < max, "more than %zu rows", max);
			memcpy((char *)rows + n * row_size, row, row_size);
			memcpy(cursor, row, sizeof(*cursor));
		}
		harness_assert(reply.listed.n_rows > 0 || !(reply.header.flags & PROTOCOL_MORE),
		    "no row came, and more are said to follow");
	} while (reply.header.flags & PROTOCOL_MORE);
	return (int)n;
}

size_t
harness_list(struct harness_conn *conn, struct protocol_segment *rows, size_t max)
{
	struct protocol_list request = { 0 };
	int n = ask_rows(conn, PROTOCOL_LIST, &request.header, sizeof(request), &request.cursor,
	    rows, sizeof(*rows), max);

	harness_assert(n >= 0, "list: %s", strerror(-n));
	return (size_t)n;
}

int
harness_find(struct harness_conn *conn, const char *name, struct protocol_segment *ret_row)
{
	struct harness_reply reply;
	int r = harness_show(conn, name, &reply);

	if (r == 0)
		*ret_row = reply.shown.segment;
	return r;
}

int
harness_show(struct harness_conn *conn, const char *name, struct harness_reply *reply)
{
	struct protocol_show request = { 0 };
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_SHOW, &request.header, sizeof(request), reply);
	if (r == 0)
		harness_assert(reply->size > sizeof(reply->shown) + (size_t)reply->shown.reason_len +
		    reply->shown.keys_len && reply->bytes[reply->size - 1] == '\0', "lengths %u, %u in %zu bytes", reply->shown.reason_len,
		    reply->shown.keys_len, reply->size);
	return r;
}

const char *
harness_reason(const struct harness_reply *shown)
{
	return shown->shown.reason_len ? shown->bytes + sizeof(shown->shown) : "";
}

uint64_t
harness_node_bytes(const struct harness_reply *shown, unsigned node)
{
	const char *at = shown->bytes + sizeof(shown->shown) + shown->shown.reason_len + shown->shown.keys_len;
	unsigned long long bytes;
	unsigned number;

	for (; at && *at; at = strchr(at, '\n'), at += at ? 1 : 0)
		if (sscanf(at, "%u\t%llu", &number, &bytes) == 2 && number == node)
			return bytes;
	return 0;
}

int
harness_holders(struct harness_conn *conn, const char *name, struct protocol_holder *rows, size_t max)
{
	struct protocol_holders request = { 0 };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	return ask_rows(conn, PROTOCOL_HOLDERS, &request.header, sizeof(request), &request.cursor,
	    rows, sizeof(*rows), max);
}

int
harness_clients(struct harness_conn *conn, struct protocol_client *rows, size_t max)
{
	struct protocol_clients request = { 0 };

	return ask_rows(conn, PROTOCOL_CLIENTS, &request.header, sizeof(request), &request.cursor,
	    rows, sizeof(*rows), max);
}

int
harness_users(struct harness_conn *conn, struct protocol_user *rows, size_t max)
{
	struct protocol_users request = { 0 };

	return ask_rows(conn, PROTOCOL_USERS, &request.header, sizeof(request), &request.cursor,
	    rows, sizeof(*rows), max);
}

int
harness_wait(struct harness_conn *conn, const char *name)
{
	struct protocol_wait request = { .progress_bytes = PROTOCOL_WAIT_STATE };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_WAIT, &request.header, sizeof(request), &reply);
	return r < 0 ? r : (int)reply.waited.state;
}

void
harness_await_counts(struct harness_conn *conn, const char *name, unsigned readers, unsigned writers)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row;

	/* The daemon learns of an end by an event; a round trip or two later it has handled that. */
	for (;;) {
		int r = harness_find(conn, name, &row);

		harness_assert(r == 0, "%s: %s", name, strerror(-r));
		if (row.readers == readers && row.writers == writers)
			return;
		harness_assert(harness_clock_ns() < deadline, "%s: %u readers and %u writers, not %u and %u",
		    name, row.readers, row.writers, readers, writers);
	}
}

void
harness_await_gone(struct harness_conn *conn, const char *name)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row;

	for (;;) {
		int r = harness_find(conn, name, &row);

		if (r == -ENOENT)
			return;
		harness_assert(r == 0, "%s: %s", name, strerror(-r));
		harness_assert(harness_clock_ns() < deadline, "%s is still there, in state %u, with %u and %u",
		    name, row.state, row.readers, row.writers);
	}
}
