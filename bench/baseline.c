/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <event2/event.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/baseline.h"
#include "bench/wire.h"

#define BASELINE_BACKLOG	4096
#define BASELINE_EVENTS		256

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD		77
#endif

/* What a server has: its listener, or its end of the pair, and the segment that it hands out. */
struct server {
	int fd;
	int segment_fd;
	struct event_base *base;	/* BASELINE_LIBEVENT */
};

static void
server_reply(int fd, int segment_fd)
{
	char text[BASELINE_MESSAGE_SIZE] = { 0 };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { text, sizeof(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &segment_fd, sizeof(int));
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL);	/* a client that is gone is seen by the next recv */
}

/* Answers one connection until its end. */
static void
server_connection(int fd, int segment_fd)
{
	char text[BASELINE_MESSAGE_SIZE];

	while (recv(fd, text, sizeof(text), 0) > 0)
		server_reply(fd, segment_fd);
}

static void
server_pair(struct server *server)
{
	server_connection(server->fd, server->segment_fd);
}

/* Marks or asks for one byte far behind the data, as daemon/kernelcount.c does. */
static int
server_mark(int fd, int command, off_t slot)
{
	struct flock lock = {
		.l_type = command == F_OFD_GETLK ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET,
		.l_start = ((off_t)1 << 40) + slot, .l_len = 1,
	};

	return fcntl(fd, command, &lock);
}

/*
 * What no daemon can leave out that knows its attachments from the kernel: a description for each, marked; and for each
 * that was closed, reading the event and asking whether the mark is gone. It is no baseline of a goal, for a raw round trip
 * does without; it tells what of the distance to that is the mechanism's, and what is the daemon's.
 */
static void
server_marked(struct server *server)
{
	int inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char text[BASELINE_MESSAGE_SIZE], path[32], events[4096];
	off_t slot = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", server->segment_fd);
	(void)inotify_add_watch(inotify_fd, path, IN_CLOSE);
	while (recv(server->fd, text, sizeof(text), 0) > 0) {
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
		(void)server_mark(fd, F_OFD_SETLK, slot);
		server_reply(server->fd, fd);
		(void)close(fd);
		if (slot > 0 && read(inotify_fd, events, sizeof(events)) > 0)
			(void)server_mark(server->segment_fd, F_OFD_GETLK, slot - 1);
		slot++;
	}
}

/* A pidfd of who connected. COMPAT(linux 6.5): before SO_PEERPIDFD, from its pid. */
static int
server_peer(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(int);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

static void
server_cold(struct server *server)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int fd, pidfd;

	while ((fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct epoll_event event = { .events = EPOLLIN };

		pidfd = server_peer(fd);
		event.data.fd = pidfd;
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfd, &event);
		server_connection(fd, server->segment_fd);
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, pidfd, NULL);
		(void)close(pidfd);
		(void)close(fd);
	}
}

static void
server_epoll_event(struct server *server, int epoll_fd, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	char text[BASELINE_MESSAGE_SIZE];
	ssize_t n;

	if (fd == server->fd) {
		event.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (event.data.fd >= 0)
			(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
		return;
	}
	n = recv(fd, text, sizeof(text), 0);
	if (n > 0)
		server_reply(fd, server->segment_fd);
	else if (n == 0 || errno != EAGAIN)
		(void)close(fd);
}

static void
server_epoll(struct server *server)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = server->fd };
	struct epoll_event events[BASELINE_EVENTS];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int i, n;

	(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, server->fd, &event);
	for (;;) {
		n = epoll_wait(epoll_fd, events, BASELINE_EVENTS, -1);
		for (i = 0; i < n; i++)
			server_epoll_event(server, epoll_fd, events[i].data.fd);
	}
}

struct libevent_client {
	struct event *event;
	struct server *server;
};

static void
on_libevent_request(evutil_socket_t fd, short what, void *arg)
{
	struct libevent_client *client = arg;
	char text[BASELINE_MESSAGE_SIZE];
	ssize_t n = recv(fd, text, sizeof(text), 0);

	(void)what;
	if (n > 0) {
		server_reply(fd, client->server->segment_fd);
	} else if (n == 0 || errno != EAGAIN) {
		event_free(client->event);
		(void)close(fd);
		free(client);
	}
}

static void
on_libevent_connection(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct libevent_client *client;
	int client_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (client_fd < 0)
		return;
	client = calloc(1, sizeof(*client));
	if (!client)
		_exit(EXIT_FAILURE);
	client->server = server;
	client->event = event_new(server->base, client_fd, EV_READ | EV_PERSIST, on_libevent_request, client);
	(void)event_add(client->event, NULL);
}

static void
server_libevent(struct server *server)
{
	struct event *event;

	server->base = event_base_new();
	event = event_new(server->base, server->fd, EV_READ | EV_PERSIST, on_libevent_connection, server);
	(void)event_add(event, NULL);
	(void)event_base_dispatch(server->base);
}

static const struct {
	void (*serve)(struct server *server);
	bool listens;
	bool non_blocking;
} kinds[] = {
	[BASELINE_PAIR] = { server_pair, false, false },
	[BASELINE_MARKED] = { server_marked, false, false },
	[BASELINE_COLD] = { server_cold, true, false },
	[BASELINE_EPOLL] = { server_epoll, true, true },
	[BASELINE_LIBEVENT] = { server_libevent, true, true },
};

static int
baseline_segment(uint64_t size_bytes)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);
	void *data;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) != 0)
		bench_fail("the baseline's memfd: %s", strerror(errno));
	data = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED)
		bench_fail("the baseline's memfd cannot be mapped: %s", strerror(errno));
	(void)munmap(data, size_bytes);
	return fd;
}

static int
baseline_listen(struct baseline *baseline, bool non_blocking)
{
	struct sockaddr_un address;
	int fd;

	bench_make_directory(baseline->directory, sizeof(baseline->directory));
	(void)snprintf(baseline->path, sizeof(baseline->path), "%s/baseline.sock", baseline->directory);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (non_blocking ? SOCK_NONBLOCK : 0), 0);
	wire_address(baseline->path, &address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, BASELINE_BACKLOG) != 0)
		bench_fail("%s: %s", baseline->path, strerror(errno));
	return fd;
}

static void
baseline_child(const struct bench *bench, enum baseline_kind kind, int cpu, struct server *server)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	bench_pin(bench, 0, cpu);
	kinds[kind].serve(server);
	_exit(EXIT_SUCCESS);
}

void
baseline_start(struct bench *bench, enum baseline_kind kind, int cpu, uint64_t size_bytes,
    struct baseline *ret_baseline)
{
	struct baseline baseline = { .fd = -1 };
	struct server server = { .segment_fd = baseline_segment(size_bytes) };
	int pair[2];

	if (kinds[kind].listens) {
		server.fd = baseline_listen(&baseline, kinds[kind].non_blocking);
	} else {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
			bench_fail("socketpair: %s", strerror(errno));
		baseline.fd = pair[0];
		server.fd = pair[1];
	}
	(void)fflush(NULL);
	baseline.pid = fork();
	if (baseline.pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (baseline.pid == 0) {
		if (baseline.fd >= 0)
			(void)close(baseline.fd);
		baseline_child(bench, kind, cpu, &server);
	}
	bench_own(bench, baseline.pid);
	(void)close(server.fd);
	(void)close(server.segment_fd);
	*ret_baseline = baseline;
}

void
baseline_stop(struct bench *bench, struct baseline *baseline)
{
	close_fd(&baseline->fd);
	(void)kill(baseline->pid, SIGKILL);
	(void)waitpid(baseline->pid, NULL, 0);
	bench_disown(bench, baseline->pid);
	if (baseline->path[0])
		bench_remove_directory(baseline->directory);
}

int
baseline_connect(const struct baseline *baseline)
{
	return wire_connect(baseline->path);
}

void
baseline_ask(int fd)
{
	char text[BASELINE_MESSAGE_SIZE] = { 'F' };

	if (send(fd, text, sizeof(text), MSG_NOSIGNAL) != sizeof(text))
		bench_fail("the baseline's server takes no request: %s", strerror(errno));
}

int
baseline_receive(int fd)
{
	char text[BASELINE_MESSAGE_SIZE];
	int segment_fd;

	if (wire_receive(fd, text, sizeof(text), &segment_fd) != sizeof(text) || segment_fd < 0)
		bench_fail("the baseline's server sent no descriptor: %s", strerror(errno));
	return segment_fd;
}
