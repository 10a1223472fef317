/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bench/bench.h"
#include "bench/wire.h"

/* A reply to HELLO or ATTACH, or the sentence that came instead. */
union reply {
	struct protocol_header header;
	struct protocol_welcome welcome;
	struct protocol_attached attached;
	char bytes[1024];
};

void
wire_address(const char *path, struct sockaddr_un *ret_address)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		bench_fail("%s: too long for a socket's path; set TMPDIR to a shorter one", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	*ret_address = address;
}

int
wire_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	wire_address(path, &address);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		bench_fail("connecting to %s: %s", path, strerror(errno));
	return fd;
}

ssize_t
wire_receive_fds(int fd, void *message, size_t size, int ret_fds[PROTOCOL_ATTACH_FDS])
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * PROTOCOL_ATTACH_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { message, size };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c;
	ssize_t n;

	memset(ret_fds, 0xff, sizeof(int) * PROTOCOL_ATTACH_FDS);	/* -1 each */
	n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return n;
}

ssize_t
wire_receive(int fd, void *message, size_t size, int *ret_fd)
{
	int fds[PROTOCOL_ATTACH_FDS];
	ssize_t n = wire_receive_fds(fd, message, size, fds);

	*ret_fd = fds[0];
	close_fd(&fds[1]);
	return n;
}

void
wire_send(int fd, struct protocol_header *request, uint64_t serial)
{
	request->serial = serial;
	if (send(fd, request, request->size, MSG_NOSIGNAL) != (ssize_t)request->size)
		bench_fail("the daemon takes no request: %s", strerror(errno));
}

void
wire_hello(int fd)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO },
		.magic = PROTOCOL_MAGIC,
		.version_min = PROTOCOL_VERSION,
		.version_max = PROTOCOL_VERSION,
	};

	wire_send(fd, &hello.header, 1);
}

void
wire_attach_init(struct protocol_attach *attach, const char *name)
{
	*attach = (struct protocol_attach){
		.header = { .size = sizeof(*attach), .type = PROTOCOL_ATTACH },
		.access = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	};
	(void)strncpy(attach->name, name, sizeof(attach->name) - 1);
}

/* Receives a reply that must be good. */
static void
wire_good(int fd, union reply *reply, int *ret_fd)
{
	ssize_t n = wire_receive(fd, reply, sizeof(*reply) - 1, ret_fd);

	if (n < (ssize_t)sizeof(reply->header))
		bench_fail("the daemon sent no reply: %s", n < 0 ? strerror(errno) : "it closed the connection");
	reply->bytes[n] = '\0';
	if (reply->header.status != 0)
		bench_fail("the daemon refused a request of type %u: %s (%s)", reply->header.type,
		    strerror(-reply->header.status), reply->bytes + sizeof(reply->header));
}

void
wire_welcome(int fd)
{
	union reply reply;
	int none;

	wire_good(fd, &reply, &none);
	if (reply.header.type != PROTOCOL_HELLO)
		bench_fail("the daemon answered type %u where HELLO was due", reply.header.type);
}

int
wire_either(int fd)
{
	union reply reply;
	int segment_fd;

	wire_good(fd, &reply, &segment_fd);
	if (reply.header.type == PROTOCOL_ATTACH && segment_fd < 0)
		bench_fail("the daemon attached without a descriptor");
	return segment_fd;
}

int
wire_attached(int fd)
{
	int segment_fd = wire_either(fd);

	if (segment_fd < 0)
		bench_fail("the daemon answered HELLO where ATTACH was due");
	return segment_fd;
}

int
wire_request(int fd, struct protocol_header *request, uint64_t serial, void *reply, size_t size)
{
	struct protocol_header *header = reply;
	ssize_t n;

	wire_send(fd, request, serial);
	/* A daemon that was killed and its successor may both answer the request before. */
	do {
		n = recv(fd, reply, size, 0);
		if (n < (ssize_t)sizeof(*header))
			bench_fail("the daemon sent no reply: %s", n < 0 ? strerror(errno) : "it closed the connection");
	} while (header->serial < serial);
	return header->status;
}

void
wire_attached_locked(int fd, struct wire_locked *ret_locked)
{
	union {
		struct protocol_attached attached;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;
	int fds[PROTOCOL_ATTACH_FDS];
	ssize_t n = wire_receive_fds(fd, &reply, sizeof(reply), fds);

	if (n < (ssize_t)sizeof(reply.attached) || reply.attached.header.status != 0)
		bench_fail("the daemon does not attach a segment with locks");
	if (fds[1] < 0)
		bench_fail("the daemon attached a segment with locks without control memory");
	*ret_locked = (struct wire_locked){ .attached = reply.attached, .fd = fds[0], .control_fd = fds[1] };
	if (n >= (ssize_t)(sizeof(reply.attached) + sizeof(ret_locked->first)))
		memcpy(&ret_locked->first, reply.bytes + sizeof(reply.attached), sizeof(ret_locked->first));
}

int
wire_attach_locked(const char *path, const char *name, uint32_t access, struct wire_locked *ret_locked)
{
	struct protocol_attach attach;
	int fd = wire_connect(path);

	wire_hello(fd);
	wire_welcome(fd);
	wire_attach_init(&attach, name);
	attach.access = access;
	wire_send(fd, &attach.header, 2);
	wire_attached_locked(fd, ret_locked);
	return fd;
}

void
wire_show(int fd, uint64_t serial, const char *name, struct protocol_segment *ret_row)
{
	struct protocol_show show = { .header = { .size = sizeof(show), .type = PROTOCOL_SHOW } };
	union {
		struct protocol_shown shown;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;

	(void)strncpy(show.name, name, sizeof(show.name) - 1);
	if (wire_request(fd, &show.header, serial, &reply, sizeof(reply)) != 0)
		bench_fail("the daemon does not show '%s'", name);
	*ret_row = reply.shown.segment;
}
