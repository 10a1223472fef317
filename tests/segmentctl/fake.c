/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The fake daemon: one client at a time, in a child that dies with its parent. */
#include "config.h"

#include "tests/segmentctl/fake.h"

#include <check.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/base.h"

struct message {
	struct protocol_header header;
	char body[PROTOCOL_MESSAGE_MAX - sizeof(struct protocol_header)];
};

static void
send_message(const struct fake_request *request, uint16_t flags, int32_t status, const void *body, size_t size, int fd)
{
	static struct message message;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = &message, .iov_len = sizeof(message.header) + size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	message.header = (struct protocol_header){
		.size = (uint32_t)iov.iov_len,
		.type = request->message.header.type,
		.flags = (uint16_t)(PROTOCOL_REPLY | flags),
		.serial = request->message.header.serial,
		.status = status,
	};
	memcpy(message.body, body, size);
	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	}
	(void)sendmsg(request->fd, &msg, MSG_NOSIGNAL);
}

void
fake_reply(const struct fake_request *request, const void *body, size_t size)
{
	send_message(request, 0, 0, body, size, -1);
}

void
fake_reply_more(const struct fake_request *request, const void *body, size_t size)
{
	send_message(request, PROTOCOL_MORE, 0, body, size, -1);
}

void
fake_reply_fd(const struct fake_request *request, const void *body, size_t size, int fd)
{
	send_message(request, 0, 0, body, size, fd);
}

void
fake_refuse(const struct fake_request *request, int status, const char *sentence)
{
	send_message(request, 0, status, sentence, strlen(sentence) + 1, -1);
}

void
fake_reply_rows(const struct fake_request *request, const void *rows, size_t n_rows, size_t row_size,
    size_t n_said, bool more)
{
	static char body[PROTOCOL_MESSAGE_MAX];
	uint32_t head[2] = { (uint32_t)n_said, (uint32_t)row_size };

	memcpy(body, head, sizeof(head));
	memcpy(body + sizeof(head), rows, n_rows * row_size);
	(more ? fake_reply_more : fake_reply)(request, body, sizeof(head) + n_rows * row_size);
}

void
fake_fill_segment(struct protocol_segment *row, uint64_t cursor, const char *name)
{
	*row = (struct protocol_segment){
		.cursor = cursor,
		.generation = cursor + 100,
		.size_bytes = GIB,
		.max_size_bytes = 2 * GIB,
		.resident_bytes = GIB,
		.locked_bytes = GIB,
		.huge_bytes = GIB,
		.progress_bytes = GIB,
		.total_bytes = GIB,
		.readers = 2,
		.writers = 1,
		.mode = 0640,
		.state = PROTOCOL_READY,
	};
	(void)snprintf(row->name, sizeof(row->name), "%s", name);
}

static void
welcome(const struct fake_request *request)
{
	struct protocol_welcome reply = { .version = PROTOCOL_VERSION, .session = 7, .release = "test" };

	fake_reply(request, (char *)&reply + sizeof(reply.header), sizeof(reply) - sizeof(reply.header));
}

static void
serve(int listener, fake_handler handler)
{
	for (;;) {
		struct fake_request request = { .fd = accept(listener, NULL, NULL) };

		if (request.fd < 0)
			_exit(1);
		/* A child a client: `create` holds one connection open while it uses another. */
		if (fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (recv(request.fd, &request.message, sizeof(request.message), 0) > 0)
				(request.message.header.type == PROTOCOL_HELLO ? welcome : handler)(&request);
			_exit(0);
		}
		(void)close(request.fd);
	}
}

void
fake_start(struct fake *fake, fake_handler handler)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener;

	strcpy(fake->directory, "/tmp/segmentctl-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fake->directory));
	(void)snprintf(fake->socket, sizeof(fake->socket), "%s/socket", fake->directory);
	strcpy(address.sun_path, fake->socket);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listener, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	fake->pid = fork();
	ck_assert_int_ge(fake->pid, 0);
	if (fake->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)signal(SIGCHLD, SIG_IGN);
		serve(listener, handler);
	}
	(void)close(listener);
}

void
fake_stop(struct fake *fake)
{
	ck_assert_int_eq(kill(fake->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(fake->pid, NULL, 0), fake->pid);
	(void)unlink(fake->socket);
	(void)rmdir(fake->directory);
}
