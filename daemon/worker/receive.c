/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whoever has a descriptor of a file system whose server is theirs has every call on it wait for ever: fstat(2), and also close(2),
 * at which such a server is asked whether it is done. So it is a worker that receives what clients send, which can be given up, and
 * the first call on it, F_GET_SEALS, is one that never leaves the kernel. Only what is proved to be what was asked for goes on to the
 * daemon.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "base/base.h"
#include "daemon/worker/receive.h"

#define SEALS	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define LINGER_US	1000
#define EMPTY_NS	(NS_PER_SEC / 4)	/* of reading away; whoever made that take so long has another turn when others had theirs */

static int
receive_refuse(struct job_result *result, int r, const char *what)
{
	(void)snprintf(result->text, sizeof(result->text), "%s", what);
	return r;
}

/* One fd and no more: for others there is no room, and the kernel drops them. *ret_fd: -1: none came. */
static int
receive_peek(int socket_fd, int *ret_fd, bool *ret_has_more)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char first[8];
	struct iovec iov = { .iov_base = first, .iov_len = sizeof(first) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int)),
	};
	const struct cmsghdr *rights;
	ssize_t n;

	*ret_fd = -1;
	do
		n = recvmsg(socket_fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	rights = CMSG_FIRSTHDR(&message);
	if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
	    rights->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(rights), sizeof(int));
	*ret_has_more = message.msg_flags & MSG_CTRUNC;
	return 0;
}

/*
 * All that can be said of it by who may wait: F_GET_SEALS came first, and what has those seals no file system is asked of. 0, -ESTALE,
 * or why it cannot be said.
 */
static int
receive_compare(int fd, const struct job_file *file)
{
	struct stat status;

	if (fstat(fd, &status))
		return -errno;
	return status.st_dev == file->device && status.st_ino == file->inode && (uint64_t)status.st_size == file->size_bytes &&
	    status.st_uid == geteuid() ? 0 : -ESTALE;
}

int
receive_object(int socket_fd, const struct job_file *file, struct job_result *result, int *ret_fd)
{
	bool has_more = false;
	int fd, seals, r;

	r = receive_peek(socket_fd, &fd, &has_more);
	if (r)
		return receive_refuse(result, r, r == -EPIPE ? "the connection was closed meanwhile" : "it cannot be received");
	if (fd < 0)
		return has_more ? receive_refuse(result, -EMFILE, "there was no descriptor left to take its own") :
		    receive_refuse(result, -EBADF, "no descriptor came with it");
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS)
		r = receive_refuse(result, -EBADF, "its descriptor is of no memory that segmentd has made");
	else if (has_more)
		r = receive_refuse(result, -E2BIG, "more than one descriptor came with it");
	else if ((r = receive_compare(fd, file)))
		(void)receive_refuse(result, r, r == -ESTALE ? "by the kernel's word (inode, size, owner) it is another object" :
		    "the kernel cannot say what it is");
	if (r == 0)
		*ret_fd = fd;
	else
		/* This may be where it ends. */
		(void)close(fd);
	return r;
}

static void
receive_on_alarm(int sig)
{
}

/* The end of a socket that lingers waits for its peer, or for a signal, whichever comes first. */
static void
receive_hurry(bool hurries)
{
	const struct sigaction action = { .sa_handler = receive_on_alarm };
	const struct itimerval interval = {
		.it_value.tv_usec = hurries ? LINGER_US : 0, .it_interval.tv_usec = hurries ? LINGER_US : 0,
	};

	/* Without it whoever waits too long is killed. */
	if (sigaction(SIGALRM, &action, NULL) == 0)
		(void)setitimer(ITIMER_REAL, &interval, NULL);
}

int
receive_discard(int socket_fd)
{
	struct msghdr message;
	ssize_t n;

	receive_hurry(true);
	do {
		message = (struct msghdr) { 0 };
		n = recvmsg(socket_fd, &message, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	receive_hurry(false);
	return 0;
}

/* As far as there is time for it; one message at least. */
static int
receive_empty_one(int socket_fd, uint64_t until_ns)
{
	const int on = 1;
	struct msghdr message;
	bool has_more;
	ssize_t n;

	/* For which there is no room either: so an empty message is told from the end of file. */
	if (setsockopt(socket_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return -errno;
	do {
		message = (struct msghdr) { 0 };
		n = recvmsg(socket_fd, &message, MSG_DONTWAIT);
		/* A peer that closed its end with something unread is told of once, before what is in the queue. */
		has_more = n < 0 ? errno == EINTR || errno == ECONNRESET : n > 0 || message.msg_flags & MSG_CTRUNC;
	} while (has_more && clock_monotonic_ns() < until_ns);
	return 0;
}

int
receive_empty(const int *socket_fds, unsigned n_sockets)
{
	uint64_t until_ns = clock_monotonic_ns() + EMPTY_NS;
	int r = 0;

	receive_hurry(true);
	for (unsigned i = 0; i < n_sockets && r == 0 && (i == 0 || clock_monotonic_ns() < until_ns); i++)
		r = receive_empty_one(socket_fds[i], until_ns);
	receive_hurry(false);
	return r;
}
