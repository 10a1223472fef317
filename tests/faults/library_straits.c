/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Processes that have less than others: no /proc, no standard streams, no descriptor left; or a daemon that hangs up again and again,
 * and memory whose end is taken away as it is handed out. See library.h.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "tests/faults/descriptors.h"
#include "tests/faults/library.h"

#define HANG_UPS	6		/* more than are made up for at once */
#define FILE_BYTES	(64 * KIB)	/* of the segment "f" */
#define FDS_MAX		4		/* of a message */
#define PEERS_MAX	16

#ifndef PIDFD_GET_IPC_NAMESPACE
#define PIDFD_GET_IPC_NAMESPACE	_IO(0xff, 2)
#endif

/* As in a container without /proc: whoever has to know its IPC namespace asks for it in another way, which Linux 6.11 has. */
bool
library_hide_namespaces(void)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	cleanup_close int fd = pidfd < 0 ? -1 : ioctl(pidfd, PIDFD_GET_IPC_NAMESPACE, 0);
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns", (int)getpid());
	return fd >= 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", path, "tmpfs", 0, NULL) == 0 && access("/proc/self/ns/ipc", F_OK) < 0;
}

/* A program that has closed one has it not replaced by a descriptor of the library's: what it says would be written there. */
int
library_run_no_streams(void)
{
	unsigned armed = library_pause();
	int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), r;

	(void)close(STDIN_FILENO);
	library_resume(armed);
	r = library_run_events();
	armed = library_pause();
	harness_assert(fcntl(STDIN_FILENO, F_GETFD) < 0, "something is in place of the standard input");
	if (saved >= 0) {
		harness_assert(dup2(saved, STDIN_FILENO) == STDIN_FILENO, "dup2: %s", strerror(errno));
		(void)close(saved);
	}
	library_resume(armed);
	return r;
}

static void
limit(unsigned more)
{
	unsigned armed = library_pause();

	descriptors_limit(more);
	library_resume(armed);
}

static void
unlimit(void)
{
	unsigned armed = library_pause();

	descriptors_restore();
	library_resume(armed);
}

/* None is left for a connection; then none for what it is given. Both are refused with a sentence. */
int
library_run_no_descriptors(void)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r;

	limit(0);
	r = library_must_say(segment_connect(&client, NULL));
	harness_assert(r < 0 && !client, "%d without a descriptor", r);
	limit(1);
	r = library_must_say(segment_connect(&client, NULL));
	if (r == 0) {
		r = library_must_say(segment_attach(client, "m", NULL, SEGMENT_WRITE, &segment));
		harness_assert(r < 0 && !segment, "%d without a descriptor", r);
		segment_disconnect(client);
		r = r == -EMFILE ? 0 : r;
	}
	unlimit();
	return r ? r : library_attach("m", SEGMENT_WRITE, NULL);
}

struct hanger {
	int fd;
	char path[104];
	pthread_barrier_t begun;	/* a sanitizer allocates for a thread, too: nothing fails until that is done */
};

/* Hangs up on some, as a daemon does that is stopped at once; the next ones find the real one. */
static void *
hang_up(void *arg)
{
	struct hanger *hanger = arg;
	char path[sizeof(hanger->path) + 8];
	int fd;

	(void)pthread_barrier_wait(&hanger->begun);
	for (unsigned n = 0; n < HANG_UPS && (fd = accept(hanger->fd, NULL, NULL)) >= 0; n++)
		(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s.new", hanger->path);
	harness_assert(symlink(getenv("SEGMENTD_SOCKET"), path) == 0 && rename(path, hanger->path) == 0, "%s: %s", path, strerror(errno));
	/* Whoever it did not accept is hung up on, too. */
	(void)close(hanger->fd);
	return NULL;
}

static void
hanger_begin(struct hanger *hanger, void *(*serve)(void *arg), pthread_t *ret_thread)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	(void)snprintf(hanger->path, sizeof(hanger->path), "%s-other", getenv("SEGMENTD_SOCKET"));
	(void)unlink(hanger->path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", hanger->path);
	hanger->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	harness_assert(hanger->fd >= 0 && bind(hanger->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(hanger->fd, HANG_UPS) == 0, "%s: %s", hanger->path, strerror(errno));
	(void)pthread_barrier_init(&hanger->begun, NULL, 2);
	r = pthread_create(ret_thread, NULL, serve, hanger);
	harness_assert(r == 0, "a thread: %s", strerror(r));
	(void)pthread_barrier_wait(&hanger->begun);
}

int
library_run_hang_ups(void)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	struct hanger hanger;
	unsigned armed = library_pause();
	pthread_t thread;
	int r, end;

	hanger_begin(&hanger, hang_up, &thread);
	library_resume(armed);
	r = library_must_say(segment_connect(&client, hanger.path));
	if (r == 0)
		r = library_must_say(segment_attach(client, "m", NULL, SEGMENT_READ, &segment));
	end = library_must_say(segment_detach(segment));
	segment_disconnect(client);
	armed = library_pause();
	/* It waits no more for those that do not come. */
	(void)shutdown(hanger.fd, SHUT_RDWR);
	(void)pthread_join(thread, NULL);
	(void)unlink(hanger.path);
	library_resume(armed);
	return r ? r : end;
}

static void
set_length(int fd, off_t length)
{
	harness_assert(ftruncate(fd, length) == 0, "ftruncate: %s", strerror(errno));
}

/* What has come from the one goes to the other; of a file that comes along the end is taken away first. False: it has hung up. */
static bool
pass_on(int from, int to)
{
	static char bytes[PROTOCOL_MESSAGE_MAX];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	const struct cmsghdr *cmsg;
	ssize_t n = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	int fd = -1;

	if (n <= 0)
		return false;
	cmsg = CMSG_FIRSTHDR(&message);
	if (cmsg) {
		harness_assert(cmsg->cmsg_len == CMSG_LEN(sizeof(fd)), "not one descriptor");
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		set_length(fd, FILE_BYTES / 2);
	}
	iov.iov_len = (size_t)n;
	n = sendmsg(to, &message, MSG_NOSIGNAL);
	close_fd(&fd);
	return n >= 0;
}

/* Who comes anew is not waited for until the one before has gone: a client may have both for a while. */
static void
take_peer(struct pollfd *pair, int peer)
{
	pair[0] = (struct pollfd) { .fd = peer, .events = POLLIN };
	pair[1] = (struct pollfd) { .fd = harness_dial(getenv("SEGMENTD_SOCKET")), .events = POLLIN };
	harness_assert(pair[1].fd >= 0, "the daemon: %s", strerror(-pair[1].fd));
}

static void
stand_between(struct pollfd *pair)
{
	if (pair[0].fd < 0 || ((!pair[0].revents || pass_on(pair[0].fd, pair[1].fd)) &&
	    (!pair[1].revents || pass_on(pair[1].fd, pair[0].fd))))
		return;
	close_fd(&pair[0].fd);
	close_fd(&pair[1].fd);
}

/* Between the daemon and its clients, until it is shut down. */
static void *
cut(void *arg)
{
	struct hanger *hanger = arg;
	struct pollfd fds[1 + 2 * PEERS_MAX] = { { .fd = hanger->fd, .events = POLLIN } };
	size_t n = 1;

	(void)pthread_barrier_wait(&hanger->begun);
	for (;;) {
		(void)poll(fds, n, -1);
		for (size_t i = 1; i < n; i += 2)
			stand_between(&fds[i]);
		if (fds[0].revents) {
			int peer = accept4(hanger->fd, NULL, NULL, SOCK_CLOEXEC);

			if (peer < 0)
				break;
			harness_assert(n < BASE_ARRAY_SIZE(fds), "it connects again and again");
			take_peer(&fds[n], peer);
			n += 2;
		}
	}
	for (size_t i = 1; i < n; i++)
		close_fd(&fds[i].fd);
	return NULL;
}

/* Another writer can take its end away at any time: whoever is just given it does not get what is not there, and no SIGBUS. */
static int
attach_cut(const char *path)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r = library_must_say(segment_connect(&client, path));

	if (r == 0) {
		r = library_must_say(segment_attach(client, "f", NULL, SEGMENT_WRITE, &segment));
		harness_assert(r < 0 && !segment, "%d of a file that was cut short", r);
		segment_disconnect(client);
	}
	return r == -EIO ? 0 : r;
}

int
library_run_cut(void)
{
	struct hanger hanger;
	unsigned armed = library_pause();
	char file[128];
	pthread_t thread;
	int r, fd;

	/* It is beside the socket. */
	(void)snprintf(file, sizeof(file), "%.*s/data", (int)(strrchr(getenv("SEGMENTD_SOCKET"), '/') - getenv("SEGMENTD_SOCKET")),
	    getenv("SEGMENTD_SOCKET"));
	fd = open(file, O_RDWR | O_CLOEXEC);
	harness_assert(fd >= 0, "%s: %s", file, strerror(errno));
	hanger_begin(&hanger, cut, &thread);
	library_resume(armed);
	r = attach_cut(hanger.path);
	armed = library_pause();
	(void)shutdown(hanger.fd, SHUT_RDWR);
	(void)pthread_join(thread, NULL);
	(void)close(hanger.fd);
	(void)unlink(hanger.path);
	set_length(fd, FILE_BYTES);
	(void)close(fd);
	library_resume(armed);
	return r;
}
