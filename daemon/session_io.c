/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Messages of a peer that may be hostile. Nothing here can be made to wait: a message is peeked into a buffer of the request's
 * bound, without room for fds (the kernel says that there are some: a worker looks at those of RETURN, and reads all others away), and what
 * cannot be sent at once is not sent.
 */
#include "config.h"

#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/session_parts.h"

#define SENTENCE_SIZE	1024
/* What a queue holds its sender decides: ten thousand small ones with a buffer of net.core.wmem_max, which took 12 ms to read away. */
#define SHUT_MESSAGES	32
#define BEHIND_MESSAGES	64	/* behind a request that waits, at once */

static int
session_send(struct session *session, const void *message, size_t size, const int *fds, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec io = { .iov_base = (void *)(uintptr_t)message, .iov_len = size };
	struct msghdr header = { .msg_iov = &io, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *rights;

		header.msg_control = control.buf;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(session->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? SESSION_E_FULL : -errno;
}

bool
session_has_room(struct session *session)
{
	struct pollfd poll_fd = { .fd = session->fd, .events = POLLOUT };
	char text[ACCOUNTS_TEXT_SIZE];

	if (session_charge_unread(session, sizeof(struct protocol_header), text) == SESSION_E_FULL)
		return false;
	/* One that has hung up finds out when it is sent to. */
	return poll(&poll_fd, 1, 0) != 0;
}

int
session_push(struct session *session, const struct protocol_header *message)
{
	return session_send(session, message, message->size, NULL, 0);
}

int
session_reply(struct session *session, const struct protocol_header *request, struct protocol_header *reply,
    size_t size, uint16_t flags, const int *fds, unsigned n_fds)
{
	char text[ACCOUNTS_TEXT_SIZE];
	int r;

	/* With fds there is one at most, and they are charged. */
	r = n_fds ? 0 : session_charge_unread(session, size, text);
	if (r == SESSION_E_AGAIN) {
		accounts_refused(session->host->accounts, session->identity.uid, ACCOUNTS_UNREAD, size);
		return session_refuse(session, request, -EDQUOT, "%s", text);
	}
	if (r)
		return r;
	*reply = (struct protocol_header) {
		.size = (uint32_t)size,
		.type = request->type,
		.flags = (uint16_t)(PROTOCOL_REPLY | flags),
		.serial = request->serial,
	};
	r = session_send(session, reply, size, fds, n_fds);
	if (r == 0) {
		session->status = 0;
		session->n_fds_in_flight += n_fds;
	} else if (n_fds)
		charge_deinit(&session->flight_charge);
	return r;
}

static int BASE_PRINTF(4, 0)
session_refuse_va(struct session *session, const struct protocol_header *about, int status, const char *format, va_list args)
{
	struct {
		struct protocol_header header;
		char text[SENTENCE_SIZE];
	} reply;
	int n = vsnprintf(reply.text, sizeof(reply.text), format, args);
	size_t len = n < 0 ? 0 : min_u64((uint64_t)n, sizeof(reply.text) - 1);
	char why[ACCOUNTS_TEXT_SIZE];
	int r;

	/* It is small: others of the uid do not keep it back. */
	if (session_charge_unread(session, sizeof(reply.header) + len + 1, why) == SESSION_E_FULL)
		return SESSION_E_FULL;
	reply.text[len] = '\0';
	reply.header = (struct protocol_header) {
		.size = (uint32_t)(sizeof(reply.header) + len + 1),
		.type = about->type,
		.flags = PROTOCOL_REPLY,
		.serial = about->serial,
		.status = status,
		.row = about->row,
	};
	r = session_send(session, &reply, reply.header.size, NULL, 0);
	if (r == 0)
		session->status = status;
	return r;
}

int
session_refuse(struct session *session, const struct protocol_header *request, int status, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = session_refuse_va(session, request, status, format, args);
	va_end(args);
	return r;
}

void
session_farewell(struct session *session, int status, const char *format, ...)
{
	static const struct protocol_header none = { 0 };
	va_list args;

	va_start(args, format);
	(void)session_refuse_va(session, &none, status, format, args);
	va_end(args);
}

/* Whoever handles the type has them looked at elsewhere, if it wants them at all. */
static bool
session_may_bring_fds(const struct protocol_header *request, size_t size)
{
	return size >= sizeof(*request) && request->type == PROTOCOL_RETURN;
}

ssize_t
session_receive(int fd, struct msghdr *message, int flags)
{
	ssize_t n;

	do
		n = recvmsg(fd, message, flags | MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	return n;
}

int
session_peek(struct session *session, void *buf, size_t size, size_t *ret_n)
{
	struct iovec io = { .iov_base = buf, .iov_len = size };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
	ssize_t n = session_receive(session->fd, &message, MSG_PEEK);

	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -EPIPE;
	if (n == 0)
		return -EPIPE;
	session->violation = NULL;
	session->brings_fds = message.msg_flags & MSG_CTRUNC;
	if (session->brings_fds && !session_may_bring_fds(buf, (size_t)n))
		session->violation = "file descriptors were sent along";
	else if (message.msg_flags & MSG_TRUNC)
		session->violation = "the message is longer than any request";
	else if ((size_t)n < sizeof(struct protocol_header))
		session->violation = "the message is shorter than its header";
	else if (((const struct protocol_header *)buf)->size != (size_t)n)
		session->violation = "the message has not the size that its header says";
	if (session->violation)
		return SESSION_E_VIOLATION;
	*ret_n = (size_t)n;
	return 0;
}

void
session_consume(struct session *session)
{
	(void)session_receive(session->fd, &(struct msghdr) { 0 }, 0);
}

/* One message from there on. Its size, or a negative errno. */
static ssize_t
session_peek_behind(struct session *session, bool *ret_brings_fds)
{
	struct msghdr message = { 0 };
	int offset = (int)session->behind_bytes;
	ssize_t n;

	if (setsockopt(session->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)))
		return -errno;
	n = session_receive(session->fd, &message, MSG_PEEK | MSG_TRUNC);
	*ret_brings_fds = message.msg_flags & MSG_CTRUNC;
	return n < 0 ? -errno : n;
}

/* No end of file, then: an empty message. */
static bool
session_is_open(const struct session *session)
{
	struct pollfd poll_fd = { .fd = session->fd, .events = POLLRDHUP };

	return poll(&poll_fd, 1, 0) <= 0;
}

bool
session_look_behind(struct session *session)
{
	const int none = -1;
	bool brings_fds = false;
	unsigned n_messages = 0;
	ssize_t n;

	while ((n = session_peek_behind(session, &brings_fds)) > 0 && n_messages++ < BEHIND_MESSAGES &&
	    (!brings_fds || !session->behind_bytes))
		session->behind_bytes += (uint32_t)n;
	(void)setsockopt(session->fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none));
	/* Those with the request itself are its own matter. What lies behind an empty one is not looked at, and it is no request. */
	if (n == 0 && session_is_open(session))
		session->violation = "an empty message was sent behind a request that waits";
	else if (n > 0)
		session->violation = n_messages > BEHIND_MESSAGES ? "too many requests were sent behind one that waits" :
		    "file descriptors were sent behind a request that waits";
	else
		return true;
	return false;
}

/* Whether there is a message in the queue; *ret_brings_fds: with descriptors. An end of file is none, an empty message is one. */
static bool
session_has_message(int fd, bool *ret_brings_fds)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = session_receive(fd, &message, MSG_PEEK);

	/* Each has credentials, which take all the room that there is. */
	*ret_brings_fds = n >= 0 && message.msg_flags & MSG_CTRUNC;
	return n > 0 || (n == 0 && (message.msg_controllen || *ret_brings_fds));
}

bool
session_shut(int fd)
{
	const int on = 1;
	bool brings_fds;

	(void)shutdown(fd, SHUT_RDWR);
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return true;
	for (unsigned n = 0; session_has_message(fd, &brings_fds); n++) {
		if (brings_fds || n == SHUT_MESSAGES)
			return false;
		(void)recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC);
	}
	return true;
}

void
session_hang_up(struct parcels *parcels, int *fd)
{
	if (*fd >= 0 && !session_shut(*fd) && parcels)
		parcels_end(parcels, fd, NULL);
	close_fd(fd);
}
