/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "tests/client/fake.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static int tell_fd = -1;

static int
listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	return fd;
}

void
fake_start(struct fake *fake, fake_fn fn, void *arg)
{
	int listen_fd, told[2];

	(void)snprintf(fake->dir, sizeof(fake->dir), "/tmp/segment-fake-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fake->dir));
	(void)snprintf(fake->path, sizeof(fake->path), "%s/socket", fake->dir);
	listen_fd = listen_at(fake->path);
	ck_assert_int_eq(pipe(told), 0);
	fake->pid = fork();
	ck_assert_int_ge(fake->pid, 0);
	if (fake->pid == 0) {
		(void)close(told[0]);
		tell_fd = told[1];
		fn(listen_fd, arg);
		_exit(0);
	}
	(void)close(told[1]);
	(void)close(listen_fd);
	fake->told_fd = told[0];
}

void
fake_stop(struct fake *fake)
{
	int status;

	ck_assert_int_eq(waitpid(fake->pid, &status, 0), fake->pid);
	(void)close(fake->told_fd);
	(void)unlink(fake->path);
	(void)rmdir(fake->dir);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the fake daemon failed: status 0x%x", status);
}

void
fake_await(struct fake *fake)
{
	char c;

	ck_assert_int_eq(read(fake->told_fd, &c, 1), 1);
}

void
fake_tell(void)
{
	fake_assert(write(tell_fd, "x", 1) == 1);
}

int
fake_accept_silent(int listen_fd)
{
	struct fake_request request;
	int fd = accept(listen_fd, NULL, NULL);

	fake_assert(fd >= 0);
	fake_expect(fd, PROTOCOL_HELLO, &request);
	fake_assert(request.header.serial == 1 && request.hello.magic == PROTOCOL_MAGIC);
	return fd;
}

void
fake_welcome(int fd)
{
	struct protocol_welcome welcome = {
		.header = { .size = sizeof(welcome), .type = PROTOCOL_HELLO, .flags = PROTOCOL_REPLY, .serial = 1 },
		.version = PROTOCOL_VERSION, .session = 7, .release = "fake",
	};

	fake_send(fd, &welcome, sizeof(welcome), NULL, 0);
}

int
fake_accept(int listen_fd)
{
	int fd = fake_accept_silent(listen_fd);

	fake_welcome(fd);
	return fd;
}

bool
fake_receive(int fd, struct fake_request *ret_request)
{
	ssize_t n;

	memset(ret_request, 0, sizeof(*ret_request));
	n = recv(fd, ret_request, sizeof(*ret_request), 0);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return false;
	fake_assert(n >= (ssize_t)sizeof(struct protocol_header) && ret_request->header.size == (size_t)n);
	fake_assert(ret_request->header.flags == (ret_request->header.type == PROTOCOL_DETACH ? PROTOCOL_QUIET : 0));
	fake_assert(ret_request->header.zero == 0 && ret_request->header.status == 0);
	return true;
}

void
fake_expect(int fd, enum protocol_type type, struct fake_request *ret_request)
{
	fake_assert(fake_receive(fd, ret_request));
	fake_assert(ret_request->header.type == type);
}

void
fake_send(int fd, const void *message, size_t size, const int *fds, unsigned n_fds)
{
	union {
		char bytes[CMSG_SPACE(253 * sizeof(int))];		/* as many as the kernel takes */
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		struct cmsghdr *cmsg = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	fake_assert(sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)size);
}

void
fake_refuse(int fd, const struct fake_request *request, int status, const char *sentence)
{
	struct {
		struct protocol_header header;
		char text[256];
	} reply = { .header = {
		.size = (uint32_t)(sizeof(struct protocol_header) + strlen(sentence) + 1),
		.type = request ? request->header.type : 0, .flags = PROTOCOL_REPLY,
		.serial = request ? request->header.serial : 0, .status = status,
	} };

	(void)snprintf(reply.text, sizeof(reply.text), "%s", sentence);
	fake_send(fd, &reply, reply.header.size, NULL, 0);
}

void
fake_answer(int fd, const struct fake_request *request)
{
	struct protocol_header reply = request->header;

	reply.size = sizeof(reply);
	reply.flags = PROTOCOL_REPLY;
	fake_send(fd, &reply, sizeof(reply), NULL, 0);
}

struct protocol_attached
fake_attached(const struct fake_request *request)
{
	struct protocol_attached reply = {
		.header = request->header, .generation = 5, .size_bytes = FAKE_SIZE, .map_bytes = FAKE_SIZE,
		.alignment_bytes = 4096, .attachment = 9, .access = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	};

	if (request->header.type == PROTOCOL_ATTACH)
		reply.access = request->attach.access;
	reply.header.size = sizeof(reply);
	reply.header.flags = PROTOCOL_REPLY;
	return reply;
}

int
fake_object(uint64_t size_bytes)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);

	fake_assert(fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0);
	return fd;
}

void
fake_attach(int fd, const struct fake_request *request)
{
	struct protocol_attached reply = fake_attached(request);
	cleanup_close int object = fake_object(reply.map_bytes);

	fake_send(fd, &reply, sizeof(reply), &object, 1);
}

void
fake_serve(int fd)
{
	struct fake_request request;

	while (fake_receive(fd, &request)) {
		if (request.header.type != PROTOCOL_DETACH)
			fake_attach(fd, &request);
	}
}

unsigned
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

unsigned
count_mappings(void)
{
	cleanup_fclose FILE *f = fopen("/proc/self/maps", "re");
	char line[4096];
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:") != NULL;
	return n;
}
