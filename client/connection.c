/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One connection to the daemon: a blocking SOCK_SEQPACKET socket, one send and one receive a request. It believes nothing
 * that it is sent: a reply is taken only with the size, type and serial that it must have, and fds are closed wherever
 * they were not asked for. It does not reconnect by itself, has no lock and knows no segment: that is libsegment's part.
 */
#include "config.h"

#include "client/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"

/* More than any reply may bring: so too many fds are told from descriptors that ran out. */
#define CONTROL_FDS	(PROTOCOL_FDS_MAX + 1)

#define HELLO_SERIAL	1
#define ERRNO_MAX	4095

#define TRIES_NS		(10 * NS_PER_SEC)
#define TRIES_STEP_NS		(2 * NS_PER_SEC)	/* of one try, it counts for no more */
#define TRIES_AT_ONCE		3
#define TRY_LATER_MAX_NS	(100 * NS_PER_MS)

/* A message as it came, in the connection's buffer; owns its fds. */
struct message {
	size_t size_bytes;
	bool truncated;			/* longer than any message may be */
	bool fds_lost;			/* the kernel dropped fds */
	int fds[CONTROL_FDS];
	unsigned n_fds;
};

static int BASE_PRINTF(3, 4)
fail(struct connection *connection, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(connection->error, sizeof(connection->error), format, args);
	va_end(args);
	return r;
}

/* The peer broke the rules: nothing that it says is worth another look. */
static int BASE_PRINTF(2, 3)
fail_protocol(struct connection *connection, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	connection_close(connection);
	return fail(connection, -EPROTO, "the daemon broke the protocol: %s; the connection was closed "
	    "(are daemon and library of the same release?)", what);
}

static int
fail_broken(struct connection *connection)
{
	connection_close(connection);
	return fail(connection, -ENOTCONN, "the connection to segmentd was lost: the daemon was stopped or restarted");
}

static int
fail_nofile(struct connection *connection, int r)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return fail(connection, r, "no file descriptor could be had: this process has used up its RLIMIT_NOFILE of %llu "
	    "(raise it with `ulimit -n` or LimitNOFILE=, or close descriptors), or a security module forbids the transfer",
	    (unsigned long long)limit.rlim_cur);
}

static void
message_close_fds(struct message *message)
{
	for (unsigned i = 0; i < message->n_fds; i++)
		close_fd(&message->fds[i]);
	message->n_fds = 0;
}

static void
message_take_fds(struct message *message, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (message->n_fds < CONTROL_FDS)
				message->fds[message->n_fds++] = fd;
			else
				(void)close(fd);
		}
	}
}

/*
 * Receives one message. with_fds: without it there is no room for fds, and the kernel drops what comes. 0, or a negative
 * errno as recvmsg(2) had it; -ECONNRESET also for the end of file.
 */
static int
message_receive(struct message *message, struct connection *connection, bool with_fds, int flags)
{
	union {
		char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = connection->buffer, .iov_len = sizeof(connection->buffer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	message->n_fds = 0;
	if (with_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	do
		n = recvmsg(connection->fd, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (with_fds)
		message_take_fds(message, &msg);
	if (n == 0) {
		message_close_fds(message);
		return -ECONNRESET;
	}
	message->size_bytes = (size_t)n;
	message->truncated = msg.msg_flags & MSG_TRUNC;
	message->fds_lost = msg.msg_flags & MSG_CTRUNC;
	return 0;
}

/* The daemon's sentence of a refusal, for people: control characters would let it move their cursor. */
static int
message_refusal(struct connection *connection, const struct protocol_header *header)
{
	size_t length = header->size - sizeof(*header);
	const char *text = connection->buffer + sizeof(*header);

	if (header->status < -ERRNO_MAX)
		return fail_protocol(connection, "a status of %d is no errno", (int)header->status);
	if (length == 0 || text[length - 1] != '\0')
		return fail_protocol(connection, "a refusal came without a sentence that ends");
	(void)snprintf(connection->error, sizeof(connection->error), "%s", text);
	for (char *p = connection->error; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return header->status;
}

/* Padding is zero; only a refusal of many rows says there which it means. */
static bool
has_padding(const struct protocol_header *header)
{
	return header->zero && !(header->type == PROTOCOL_ATTACH_MANY && header->status < 0);
}

/*
 * What holds for every message from the daemon. flags: that it may have. 0 and its header, or -EPROTO, or the last word of a
 * daemon that hangs up.
 */
static int
message_check(const struct message *message, struct connection *connection, unsigned flags,
    struct protocol_header *ret_header)
{
	struct protocol_header header;
	int r;

	if (message->truncated)
		return fail_protocol(connection, "a message is longer than %d bytes", PROTOCOL_MESSAGE_MAX);
	if (message->size_bytes < sizeof(header))
		return fail_protocol(connection, "a message of %zu bytes is shorter than a header", message->size_bytes);
	memcpy(&header, connection->buffer, sizeof(header));
	if (header.size != message->size_bytes)
		return fail_protocol(connection, "a message of %zu bytes says that it has %u", message->size_bytes,
		    (unsigned)header.size);
	if (!(header.flags & PROTOCOL_REPLY) || (header.flags & ~(PROTOCOL_REPLY | flags)) || has_padding(&header))
		return fail_protocol(connection, "a message is no reply (flags 0x%x)", (unsigned)header.flags);
	if (header.status > 0)
		return fail_protocol(connection, "a status of %d is no errno", (int)header.status);
	if (header.serial == 0 && header.type == 0 && header.status < 0) {
		r = message_refusal(connection, &header);
		connection_close(connection);
		return r;
	}
	*ret_header = header;
	return 0;
}

/*
 * The connection is broken, yet the daemon may have said why before it hung up: that is in the queue still. Returns its
 * status, or -ENOTCONN when it said nothing.
 */
static int
receive_last_word(struct connection *connection)
{
	struct protocol_header header;
	struct message message;
	int r;

	do {
		/* The error of the socket is reported once, ahead of what is queued. */
		r = message_receive(&message, connection, false, MSG_DONTWAIT);
		if (r == -ECONNRESET)
			r = message_receive(&message, connection, false, MSG_DONTWAIT);
		if (r < 0)
			return fail_broken(connection);
		r = message_check(&message, connection, PROTOCOL_MORE | PROTOCOL_PUSHED, &header);
	} while (r == 0);
	return r;
}

static bool
is_broken(int r)
{
	return r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN || r == -ECONNREFUSED;
}

/* fd: what goes with it; -1: nothing does. */
static int
send_with(struct connection *connection, const void *request, size_t size, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)request, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.align = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	do
		n = sendmsg(connection->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int
send_request(struct connection *connection, const void *request, size_t size)
{
	ssize_t n;

	do
		n = send(connection->fd, request, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int
check_welcome(struct connection *connection, const struct protocol_header *header)
{
	struct protocol_welcome welcome;
	int r;

	connection->hello_pending = false;
	if (header->status < 0) {
		r = message_refusal(connection, header);
		connection_close(connection);
		return r;
	}
	if (header->size != sizeof(welcome))
		return fail_protocol(connection, "its welcome has %u bytes, not %zu", (unsigned)header->size, sizeof(welcome));
	memcpy(&welcome, connection->buffer, sizeof(welcome));
	if (welcome.version != PROTOCOL_VERSION)
		return fail_protocol(connection, "it chose version %u, which was not offered", (unsigned)welcome.version);
	connection->version = welcome.version;
	connection->session = welcome.session;
	connection->features = welcome.features;
	return 0;
}

/*
 * Waits for the reply to the connection's last request. What is older is dropped: a daemon that was restarted in between
 * answers at least once, so a reply may come twice. 0: it is in the buffer, *message holds its fds.
 */
static int
receive_reply(struct connection *connection, bool with_fds, struct protocol_header *ret_header, struct message *message)
{
	struct protocol_header header;
	bool welcome;
	int r;

	for (;;) {
		r = message_receive(message, connection, with_fds, 0);
		if (is_broken(r))
			return receive_last_word(connection);
		if (r < 0) {
			connection_close(connection);
			return fail(connection, r, "receiving from segmentd failed: %s", strerrordesc_np(-r));
		}
		r = message_check(message, connection, PROTOCOL_MORE, &header);
		if (r < 0)
			break;
		welcome = header.type == PROTOCOL_HELLO && header.serial == HELLO_SERIAL;
		if (header.serial == connection->serial && !connection->hello_pending) {
			*ret_header = header;
			return 0;
		}
		if (header.serial == 0 || header.serial > connection->serial ||
		    (connection->hello_pending && !welcome)) {
			r = fail_protocol(connection, "a reply to request %llu came, where %llu was asked",
			    (unsigned long long)header.serial, (unsigned long long)connection->serial);
			break;
		}
		if (connection->hello_pending) {
			r = check_welcome(connection, &header);
			if (r < 0)
				break;
		}
		message_close_fds(message);
	}
	message_close_fds(message);
	return r;
}

/* Judges the reply to the request: its type, its status, its size and its fds. */
static int
check_reply(struct connection *connection, const struct protocol_header *header, const struct message *message,
    enum protocol_type type, size_t reply_size, unsigned n_fds)
{
	if (header->type != type)
		return fail_protocol(connection, "a reply of type %u came to a request of type %u", (unsigned)header->type,
		    (unsigned)type);
	if (message->n_fds > n_fds || (header->status < 0 && message->n_fds > 0))
		return fail_protocol(connection, "a reply brought %u fds that nobody asked for", message->n_fds);
	if (header->status < 0) {
		connection->row = header->row;
		return message_refusal(connection, header);
	}
	if (header->size > reply_size)
		return fail_protocol(connection, "a reply of type %u has %u bytes, more than %zu", (unsigned)type,
		    (unsigned)header->size, reply_size);
	return 0;
}

const char *
connection_socket_path(const char *path)
{
	if (!path)
		path = secure_getenv("SEGMENTD_SOCKET");
	return path && *path ? path : CONNECTION_DEFAULT_SOCKET;
}

static int
connect_to(struct connection *connection, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(connection, -ENAMETOOLONG, "the socket's path has %zu bytes, and %zu are allowed: '%.40s...'",
		    strlen(path), sizeof(address.sun_path) - 1, path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && fd < 3) {
		/* A program that closed its standard streams must not have them replaced by ours. */
		int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		r = -errno;
		(void)close(fd);
		fd = moved;
		errno = -r;
	}
	if (fd < 0)
		return errno == EMFILE ? fail_nofile(connection, -EMFILE) :
		    fail(connection, -errno, "no socket could be had: %s", strerrordesc_np(errno));
	do
		r = connect(fd, (struct sockaddr *)&address, sizeof(address));
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		r = -errno;
		if (r == -ENOENT || r == -ECONNREFUSED)
			return fail(connection, r, "there is no segmentd at '%s' (%s): is it running, and is "
			    "$SEGMENTD_SOCKET right?", path, strerrordesc_np(-r));
		return fail(connection, r, "connecting to segmentd at '%s' failed: %s", path, strerrordesc_np(-r));
	}
	connection->fd = take_fd(&fd);
	return 0;
}

int
connection_open(struct connection *connection, const char *path)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO, .serial = HELLO_SERIAL },
		.magic = PROTOCOL_MAGIC,
		.version_min = PROTOCOL_VERSION,
		.version_max = PROTOCOL_VERSION,
	};
	int r;

	connection->version = 0;
	connection->session = 0;
	connection->features = 0;
	r = connect_to(connection, connection_socket_path(path));
	if (r < 0)
		return r;
	connection->serial = HELLO_SERIAL;
	connection->hello_pending = true;
	r = send_request(connection, &hello, sizeof(hello));
	if (is_broken(r))
		return receive_last_word(connection);
	if (r < 0) {
		connection_close(connection);
		return fail(connection, r, "sending to segmentd failed: %s", strerrordesc_np(-r));
	}
	return 0;
}

void
connection_close(struct connection *connection)
{
	/* First forgotten, then closed: a child forked in between by another thread must not close a number reused. */
	int fd = take_fd(&connection->fd);

	connection->hello_pending = false;
	base_cleanup_close(&fd);
}

bool
connection_may_try_again(struct connection *connection, struct connection_tries *tries, int r)
{
	struct timespec later = { 0 };

	if (r != -ENOTCONN || connection->version)
		return false;
	if (!tries->n++)
		allotment_begin(&tries->time, TRIES_NS, TRIES_STEP_NS);
	if (!allotment_look(&tries->time)) {
		(void)fail(connection, r, "segmentd hung up before it answered, %u times within %u s: is it being restarted over and "
		    "over? Its log says why", tries->n, (unsigned)(TRIES_NS / NS_PER_SEC));
		return false;
	}
	if (tries->n > TRIES_AT_ONCE) {
		later.tv_nsec = (long)min_u64(NS_PER_MS << min_u64(tries->n - TRIES_AT_ONCE, 10), TRY_LATER_MAX_NS);
		(void)nanosleep(&later, NULL);
	}
	return true;
}

int
connection_greet(struct connection *connection)
{
	struct protocol_header header;
	struct message message;
	int r;

	if (connection->fd < 0)
		return fail(connection, -ENOTCONN, "there is no connection to segmentd");
	if (!connection->hello_pending)
		return 0;
	r = message_receive(&message, connection, false, 0);
	if (is_broken(r))
		return receive_last_word(connection);
	if (r < 0) {
		connection_close(connection);
		return fail(connection, r, "receiving from segmentd failed: %s", strerrordesc_np(-r));
	}
	r = message_check(&message, connection, 0, &header);
	if (r < 0)
		return r;
	if (header.type != PROTOCOL_HELLO || header.serial != HELLO_SERIAL)
		return fail_protocol(connection, "a reply of type %u came where its welcome was due", (unsigned)header.type);
	return check_welcome(connection, &header);
}

bool
connection_is_hung_up(const struct connection *connection)
{
	struct pollfd poll_fd = { .fd = connection->fd, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

/* Whether it is a reply to what had one before. */
static bool
is_answered_again(const struct connection *connection, const struct protocol_header *header)
{
	return !(header->flags & PROTOCOL_PUSHED) && !connection->hello_pending && header->serial &&
	    header->serial <= connection->serial;
}

int
connection_receive_pushed(struct connection *connection, enum protocol_type type, void *message, size_t size)
{
	struct protocol_header header;
	struct message received;
	int r;

	if (connection->fd < 0)
		return fail(connection, -ENOTCONN, "there is no connection to segmentd");
	do {
		r = message_receive(&received, connection, false, MSG_DONTWAIT);
		if (r == -EAGAIN)
			return r;
		if (is_broken(r))
			return receive_last_word(connection);
		if (r < 0) {
			connection_close(connection);
			return fail(connection, r, "receiving from segmentd failed: %s", strerrordesc_np(-r));
		}
		r = message_check(&received, connection, PROTOCOL_PUSHED | PROTOCOL_MORE, &header);
		if (r < 0)
			return r;
	} while (is_answered_again(connection, &header));
	if (!(header.flags & PROTOCOL_PUSHED) || header.serial || header.status || header.type != type)
		return fail_protocol(connection, "a message of type %u came that nobody asked for", (unsigned)header.type);
	if (header.size != size)
		return fail_protocol(connection, "a message of type %u has %u bytes, not %zu", (unsigned)type,
		    (unsigned)header.size, size);
	if (received.fds_lost)
		return fail_protocol(connection, "a message of type %u brought fds that nobody asked for", (unsigned)type);
	memcpy(message, connection->buffer, size);
	return 0;
}

/* As connection_request(); with: what goes with the request, or -1. */
static int
request_with(struct connection *connection, enum protocol_type type, struct protocol_header *request, size_t request_size, int with,
    void *reply, size_t reply_size, size_t *ret_size, int *fds, unsigned n_fds)
{
	struct protocol_header header;
	struct message message;
	int r;

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = -1;
	connection->row = 0;
	if (connection->fd < 0)
		return fail(connection, -ENOTCONN, "there is no connection to segmentd");
	*request = (struct protocol_header){
		.size = (uint32_t)request_size,
		.type = (uint16_t)type,
		.serial = ++connection->serial,
	};
	r = with < 0 ? send_request(connection, request, request_size) : send_with(connection, request, request_size, with);
	if (is_broken(r))
		return receive_last_word(connection);
	if (r < 0)
		return fail(connection, r, "sending to segmentd failed: %s", strerrordesc_np(-r));
	r = receive_reply(connection, n_fds > 0, &header, &message);
	if (r < 0)
		return r;
	r = check_reply(connection, &header, &message, type, reply_size, n_fds);
	if (r < 0)
		goto out;
	memcpy(reply, connection->buffer, header.size);
	*ret_size = header.size;
	if (n_fds > 0 && message.fds_lost) {
		/* Fewer came than there was room for: it was this process that had none left. */
		r = fail_nofile(connection, -EMFILE);
		goto out;
	}
	memcpy(fds ? fds : message.fds, message.fds, message.n_fds * sizeof(int));
	message.n_fds = 0;
out:
	message_close_fds(&message);
	return r;
}

int
connection_request(struct connection *connection, enum protocol_type type, struct protocol_header *request, size_t request_size,
    void *reply, size_t reply_size, size_t *ret_size, int *fds, unsigned n_fds)
{
	return request_with(connection, type, request, request_size, -1, reply, reply_size, ret_size, fds, n_fds);
}

int
connection_return(struct connection *connection, struct protocol_return *request, int fd, uint32_t *ret_wants)
{
	struct protocol_returned reply;
	size_t size;
	int r = request_with(connection, PROTOCOL_RETURN, &request->header, sizeof(*request), fd, &reply, sizeof(reply), &size,
	    NULL, 0);

	if (r == 0 && size != sizeof(reply))
		return fail_protocol(connection, "a reply of type %u has %zu bytes, not %zu", (unsigned)PROTOCOL_RETURN, size,
		    sizeof(reply));
	if (r == 0)
		*ret_wants = reply.wants;
	return r;
}

int
connection_post(struct connection *connection, enum protocol_type type,
    struct protocol_header *request, size_t request_size)
{
	int r;

	if (connection->fd < 0)
		return fail(connection, -ENOTCONN, "there is no connection to segmentd");
	*request = (struct protocol_header){
		.size = (uint32_t)request_size,
		.type = (uint16_t)type,
		.flags = PROTOCOL_QUIET,
		.serial = ++connection->serial,
	};
	r = send_request(connection, request, request_size);
	if (is_broken(r))
		return receive_last_word(connection);
	if (r < 0)
		return fail(connection, r, "sending to segmentd failed: %s", strerrordesc_np(-r));
	return 0;
}
